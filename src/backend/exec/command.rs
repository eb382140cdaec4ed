//! The program: what is started, and who may be able to change it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::config::{ExecConfig, possible_paths};
use crate::backend::BackendContext;
use crate::call::{Failure, FailureReason};
use crate::config::{ConfigError, examine_file};
use crate::redact::diagnostic_text;

/// Maximum arguments, and maximum names of environment variables.
const MAX_LIST: usize = 64;

/// Maximum length of all arguments together, in bytes. Windows allows 32,767 UTF-16 units for a whole command line.
const MAX_ARGUMENTS: usize = 8_192;

/// Maximum interpreters of a script, each the one of the one before. Linux runs no more.
#[cfg(unix)]
const MAX_INTERPRETERS: usize = 5;

/// Maximum bytes in which the interpreter of a script is looked for. Linux reads 256.
#[cfg(unix)]
const MAX_FIRST_LINE: u64 = 1_024;

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

    /// Checks that the program, its script and the files that arguments name, and their interpreters, are files that only
    /// administrators and the service's account can change. It blocks.
    ///
    /// # Errors
    /// One is missing, others can change it, or an argument names a file by a relative path.
    pub(super) fn check_files(&self) -> Result<(), Failure> {
        check_script("program", &self.program)?;
        self.script.iter().try_for_each(|script| check_script("script", script))?;
        self.arguments.iter().try_for_each(|argument| self.check_argument(argument))
    }

    fn check_argument(&self, argument: &str) -> Result<(), Failure> {
        for path in possible_paths(argument) {
            // An absolute path replaces the folder.
            let file = self.folder().join(path);
            if !file.is_file() {
                continue;
            }
            // A value after `=` may be a word, so it is no mistake if a file has the same name.
            if path.is_relative() && path == Path::new(argument) {
                let problem = format!(
                    "An argument is the relative path of the file {}. Name the file by its absolute path: a script as \
                     `script`, another file in `arguments`.",
                    file.display()
                );
                return Err(Failure::new(FailureReason::NotConfigured, problem));
            }
            check_script("argument", &file)?;
        }
        Ok(())
    }

    /// Returns the folder in which the program starts: that of the script or else of the program.
    fn folder(&self) -> &Path {
        let file = self.script.as_ref().unwrap_or(&self.program);
        file.parent().unwrap_or(file)
    }

    /// Returns the command to start. Its standard streams are not set.
    pub(super) fn to_command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(&self.script);
        command.env_clear().env("PATH", search_path());
        let usual = VARIABLES.iter().copied().chain(self.environment.iter().map(String::as_str));
        command.envs(usual.filter_map(|name| Some((name, std::env::var_os(name)?))));
        // A folder that others can write to could hold a library that Windows loads.
        command.current_dir(self.folder());
        command
    }

    /// Returns the name of the script or else of the program, without its folder.
    pub(super) fn name(&self) -> String {
        let file = self.script.as_ref().unwrap_or(&self.program);
        diagnostic_text(&file.file_name().unwrap_or_default().to_string_lossy())
    }
}

/// Checks a file that may be a script, and its interpreter.
fn check_script(what: &str, path: &Path) -> Result<(), Failure> {
    check_file(what, path)?;
    #[cfg(unix)]
    check_interpreters(path)?;
    Ok(())
}

/// Checks the interpreter that the first line of a script names, and the one of that, which may be a script, too.
#[cfg(unix)]
fn check_interpreters(script: &Path) -> Result<(), Failure> {
    let mut file = script.to_owned();
    for _ in 0..MAX_INTERPRETERS {
        let Some(interpreter) = interpreter(&file).filter(|path| path.is_absolute()) else { return Ok(()) };
        if !interpreter.try_exists().unwrap_or(true) {
            // The program may run the script without it. If not, it cannot be started.
            return Ok(());
        }
        check_file("interpreter", &interpreter)?;
        file = interpreter;
    }
    Ok(())
}

/// Returns the interpreter in the first line (`#!`) of a file. `None`: it has none, or cannot be read, and then it is no
/// script that runs.
#[cfg(unix)]
fn interpreter(file: &Path) -> Option<PathBuf> {
    use std::ffi::OsStr;
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;

    let mut start = Vec::new();
    std::fs::File::open(file).ok()?.take(MAX_FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\0')).find(|word| !word.is_empty())?;
    Some(OsStr::from_bytes(name).into())
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
