//! Examines what calls need: the configuration, the store, the backends, the clock and the logs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phonegate::config::{FILE_NAME, PATH_VARIABLE};
use phonegate::platform::{self, Account, HOST_SERVICE};
use serde_json::Value;

use super::findings::{Findings, Verdict};
use crate::commands::check::{judges, with_judge};
use crate::commands::pins;
use crate::context::{Context, END_WITHIN, LIBRARY_LOG, LOG_FILE as TOOL_LOG};
use crate::output::Spinner;
use crate::store_reader;
use crate::writable;
use phonegate_deploy::permissions::{self, StateFolderProblem};

/// Maximum difference between this clock and a provider's, in seconds. With more, log lines and certificates mislead.
const MAX_SKEW_S: i64 = 60;

/// Accuracy of the comparison, in seconds: Twilio reports its time in whole seconds.
const ACCURACY_S: i64 = 2;

/// Maximum bytes and lines that are read from the end of a log.
const TAIL_BYTES: u64 = 512 * 1024;
const TAIL_LINES: usize = 2_000;

/// The end of a log.
pub(super) struct Tail {
    pub(super) name: &'static str,
    pub(super) lines: Vec<String>,
}

/// Returns the path of the configuration to examine: the one that the arguments or the environment name, else the one in
/// the service's folder, else the default one.
pub(super) fn config_path(named: Option<&Path>, service_folder: Option<&Path>) -> Option<PathBuf> {
    let is_in_environment = std::env::var_os(PATH_VARIABLE).is_some_and(|path| !path.is_empty());
    match (named, service_folder.map(|folder| folder.join(FILE_NAME)).filter(|path| path.is_file())) {
        (Some(named), _) => Some(named.to_owned()),
        (None, Some(services)) if !is_in_environment => Some(services),
        _ => phonegate::config::default_path().ok(),
    }
}

/// Examines the configuration, the store and the backends. Returns the folder of the logs, if it is known.
pub(super) fn examine(config: Option<&Path>, spinner: &Spinner, findings: &mut Findings) -> Option<PathBuf> {
    let context = match Context::load(config) {
        Ok(context) => context,
        Err(error) => {
            findings.add("configuration", Verdict::Failed, error.to_string());
            return platform::state_folder();
        }
    };
    let logs = permissions::state_folder(&context.loaded);
    configuration(&context, logs.as_deref(), findings);
    // Examined before `Context::start` creates it.
    if let Some(folder) = logs.as_deref().filter(|folder| folder.exists()) {
        state_folder(folder, findings);
    }
    spinner.set_message("asking the store");
    store(&context, findings);
    backends(context, spinner, findings);
    logs
}

/// Examines the configuration, and the permissions of the files that it names.
fn configuration(Context { file, loaded }: &Context, logs: Option<&Path>, findings: &mut Findings) {
    findings.add("configuration", Verdict::Ok, file.display().to_string());
    for text in loaded.config.warnings() {
        findings.add("configuration", Verdict::Warning, text);
    }
    let account = Account::of_service(HOST_SERVICE).ok().flatten();
    let private = permissions::private_files(file, loaded);
    let files = permissions::check_private_files(&private, account.as_ref());
    // The state folder has a finding of its own.
    let of_store = permissions::check_store(loaded, account.as_ref());
    let of_store = of_store.into_iter().filter(|wide| Some(&*wide.path) != logs);
    for wide in files.into_iter().chain(permissions::check_other_paths(loaded, &private)).chain(of_store) {
        findings.add("permissions", Verdict::Warning, wide.to_string());
    }
    if let Some(why) = writable::why_no_metrics(loaded) {
        findings.add("metrics", Verdict::Warning, why);
    }
}

/// Examines the permissions of the folder for logs and state.
fn state_folder(folder: &Path, findings: &mut Findings) {
    let account = Account::of_service(HOST_SERVICE).ok().flatten();
    let (verdict, why) = match permissions::check_state_folder(folder, account.as_ref()) {
        Ok(None) => (Verdict::Ok, "only the service and administrators can write there".to_owned()),
        Ok(Some(StateFolderProblem::Readable(why))) => (Verdict::Warning, why),
        Ok(Some(StateFolderProblem::Unsafe(why) | StateFolderProblem::NotWritable(why))) => (Verdict::Failed, why),
        Err(error) => (Verdict::Warning, format!("its permissions cannot be read: {error}")),
    };
    findings.add("state folder", verdict, format!("{}: {why}", folder.display()));
}

/// Examines the store, and the PINs in it.
fn store(context: &Context, findings: &mut Findings) {
    match store_reader::check(context) {
        Ok(text) => {
            findings.add("store", Verdict::Ok, format!("{}: {text}", context.loaded.config.store.type_name()));
        }
        Err(error) => findings.add("store", Verdict::Failed, error.to_string()),
    }
    match pins::state(context) {
        Ok(None) => {}
        Ok(Some(pins)) => match pins.warning() {
            Some(text) => findings.add("PINs", Verdict::Warning, text),
            None => findings.add("PINs", Verdict::Ok, pins.to_string()),
        },
        Err(error) => findings.add("PINs", Verdict::Failed, error.to_string()),
    }
}

/// Asks the backends, and compares their clocks with this machine's.
fn backends(context: Context, spinner: &Spinner, findings: &mut Findings) {
    let judges = judges(&context.loaded.config);
    let gate = match context.start(None) {
        Ok(gate) => gate,
        Err(error) => return findings.add("configuration", Verdict::Failed, error.to_string()),
    };
    spinner.set_message("asking the backends");
    for (name, answer) in gate.check() {
        let (verdict, text) = match &answer {
            Ok(text) => (Verdict::Ok, &**text),
            Err(failure) => (Verdict::Failed, failure.text()),
        };
        let is_judge = judges.iter().any(|judge| **judge == *name);
        findings.add("backend", verdict, format!("{name}: {}", with_judge(text, is_judge)));
    }
    spinner.set_message("comparing the clocks");
    clocks(&gate.seconds_ahead(), findings);
    gate.shut_down(END_WITHIN);
}

fn clocks(ahead: &[(Arc<str>, Option<i64>)], findings: &mut Findings) {
    let measured: Vec<_> = ahead.iter().filter_map(|(name, ahead)| Some((name, (*ahead)?))).collect();
    if measured.is_empty() {
        let why = "not compared: no backend in use reports its time (those that use HTTPS do)";
        findings.add("clock", Verdict::Skipped, why);
    }
    for (name, ahead) in measured {
        let verdict = if ahead.abs() > MAX_SKEW_S { Verdict::Warning } else { Verdict::Ok };
        let text = match (ahead.abs(), ahead > 0) {
            (..=ACCURACY_S, _) => format!("agrees with {name}"),
            (seconds, true) => format!("{seconds} s ahead of {name}"),
            (seconds, false) => format!("{seconds} s behind {name}"),
        };
        findings.add("clock", verdict, text);
    }
}

/// Examines the logs, and returns their ends.
pub(super) fn logs(folder: Option<&Path>, findings: &mut Findings) -> Vec<Tail> {
    let Some(folder) = folder else {
        findings.add("log", Verdict::Skipped, "the folder of the logs is not known");
        return Vec::new();
    };
    let mut tails = Vec::new();
    for name in [LIBRARY_LOG, TOOL_LOG] {
        let path = folder.join(name);
        let part = if name == LIBRARY_LOG { "log" } else { "tool's log" };
        match tail(&path) {
            Ok(lines) => {
                findings.add(part, Verdict::Ok, format!("{}: {}", path.display(), summary(&lines)));
                tails.push(Tail { name, lines });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = format!("{} does not exist: nothing was logged yet", path.display());
                findings.add(part, Verdict::Skipped, text);
            }
            Err(error) => findings.add(part, Verdict::Warning, format!("{} cannot be read: {error}", path.display())),
        }
    }
    tails
}

/// Reads the last lines of a file.
fn tail(path: &Path) -> std::io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    // The service may be appending to it.
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may be incomplete.
    let lines: Vec<_> = text.lines().skip(usize::from(start > 0)).map(str::to_owned).collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    Ok(lines.into_iter().skip(skipped).collect())
}

/// Counts the warnings and errors of these lines.
fn summary(lines: &[String]) -> String {
    let of_level = |level: &str| {
        let is = |line: &&String| {
            serde_json::from_str::<Value>(line).is_ok_and(|record| record.get("level").is_some_and(|is| is == level))
        };
        lines.iter().filter(is).count()
    };
    format!("its last {} lines; warnings: {}, errors: {}", lines.len(), of_level("warn"), of_level("error"))
}
