//! The program: what is started, and who may be able to change it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::config::ExecConfig;
use crate::backend::BackendContext;
use crate::call::{Failure, FailureReason};
use crate::config::{ConfigError, examine_file};
use crate::redact::diagnostic_text;

/// Maximum arguments, and maximum names of environment variables.
const MAX_LIST: usize = 64;

/// Maximum length of all arguments together, in bytes. Windows allows 32,767 UTF-16 units for a whole command line.
const MAX_ARGUMENTS: usize = 8_192;

/// The variables that a program gets if this process has them. `PATH` is set and not taken over, since it could name a
/// folder that others can write to.
const VARIABLES: &[&str] = if cfg!(windows) {
    &[
        "ALLUSERSPROFILE",
        "APPDATA",
        "COMPUTERNAME",
        "CommonProgramFiles",
        "LOCALAPPDATA",
        "NUMBER_OF_PROCESSORS",
        "OS",
        "PROCESSOR_ARCHITECTURE",
        "ProgramData",
        "ProgramFiles",
        "SystemDrive",
        "SystemRoot",
        "TEMP",
        "TMP",
        "USERDOMAIN",
        "USERNAME",
        "USERPROFILE",
        "windir",
    ]
} else {
    &["HOME", "LANG", "LC_ALL", "LOGNAME", "TMPDIR", "TZ", "USER"]
};

/// The program of a backend, with its arguments.
#[derive(Clone)]
pub(super) struct ProgramCommand {
    program: PathBuf,
    script: Option<PathBuf>,
    arguments: Vec<String>,
    /// The names of further variables.
    environment: Vec<String>,
}

impl ProgramCommand {
    /// # Errors
    /// A setting cannot work.
    pub(super) fn new(config: &ExecConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        let files = [("program", Some(&config.program)), ("script", config.script.as_ref())];
        for (key, path) in files {
            if path.is_some_and(|path| !path.is_absolute()) {
                return Err(context.invalid(key, "must be an absolute path, so that no other file is found"));
            }
        }
        let is_batch =
            |suffix: &std::ffi::OsStr| suffix.eq_ignore_ascii_case("bat") || suffix.eq_ignore_ascii_case("cmd");
        if config.program.extension().is_some_and(is_batch) {
            let problem = "is a batch file, which a shell would run; name the program that it starts";
            return Err(context.invalid("program", problem));
        }
        for (key, list) in [("arguments", &config.arguments), ("environment", &config.environment)] {
            if list.len() > MAX_LIST {
                return Err(context.invalid(key, format_args!("has more than {MAX_LIST} texts")));
            }
            if list.iter().any(|text| text.contains('\0')) {
                return Err(context.invalid(key, "has a NUL character"));
            }
        }
        if config.arguments.iter().map(String::len).sum::<usize>() > MAX_ARGUMENTS {
            return Err(context.invalid("arguments", format_args!("are longer than {MAX_ARGUMENTS} bytes together")));
        }
        if config.environment.iter().any(|name| name.is_empty() || name.contains('=')) {
            return Err(context.invalid("environment", "must have names of variables, such as \"PBX_ADDRESS\""));
        }
        Ok(Self {
            program: config.program.clone(),
            script: config.script.clone(),
            arguments: config.arguments.clone(),
            environment: config.environment.clone(),
        })
    }

    /// Checks that the program and its script are files that only administrators and the service's account can change.
    /// It blocks.
    ///
    /// # Errors
    /// One is missing, or others can change it.
    pub(super) fn check_files(&self) -> Result<(), Failure> {
        let script = self.script.iter().map(|script| ("script", script));
        [("program", &self.program)].into_iter().chain(script).try_for_each(|(what, path)| check_file(what, path))
    }

    /// Returns the command to start. Its standard streams are not set.
    pub(super) fn to_command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(&self.script);
        command.env_clear().env("PATH", search_path());
        let usual = VARIABLES.iter().copied().chain(self.environment.iter().map(String::as_str));
        command.envs(usual.filter_map(|name| Some((name, std::env::var_os(name)?))));
        // A folder that others can write to could hold a library that Windows loads.
        if let Some(folder) = self.script.as_ref().unwrap_or(&self.program).parent() {
            command.current_dir(folder);
        }
        command
    }

    /// Returns the name of the script or else of the program, without its folder.
    pub(super) fn name(&self) -> String {
        let file = self.script.as_ref().unwrap_or(&self.program);
        diagnostic_text(&file.file_name().unwrap_or_default().to_string_lossy())
    }
}

fn check_file(what: &str, path: &Path) -> Result<(), Failure> {
    let failure = |problem: String| Failure::new(FailureReason::NotConfigured, problem);
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(failure(format!("The {what} {shown} is not a file."))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(failure(format!("The {what} {shown} does not exist.")));
        }
        Err(error) => return Err(failure(format!("The {what} {shown} cannot be examined: {error}."))),
    }
    match examine_file(path) {
        None => Ok(()),
        Some(found) => Err(failure(format!(
            "The {what} {shown} is not run, since others can change it: {found}. Let only administrators and the \
             service's account change it."
        ))),
    }
}

/// Returns the folders in which the program finds other programs.
fn search_path() -> OsString {
    match crate::platform::windows_folder() {
        Some(windows) => {
            let system = windows.join("System32");
            let folders = [system.clone(), windows, system.join("Wbem"), system.join(r"WindowsPowerShell\v1.0")];
            std::env::join_paths(folders).unwrap_or_default()
        }
        None => "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
    }
}
