//! What calls need: the configuration, the backends, the clock, and what the log says of the last ones.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use phonegate::config::{FILE_NAME, PATH_VARIABLE};
use phonegate::platform::{self, Account, HOST_SERVICE};
use serde_json::Value;

use super::findings::{Findings, Verdict};
use crate::commands::check::{judges, with_judge};
use crate::context::{Context, END_WITHIN, LIBRARY_LOG, LOG_FILE as TOOL_LOG};
use crate::output::Spinner;
use crate::permissions::{self, StateFault};
use crate::writable;

/// Beyond it, log lines and certificates mislead.
const MAX_SKEW_S: i64 = 60;

/// Twilio's time is to the second, and so is ours at best.
const MEASURED_TO_S: i64 = 2;

/// So much of the end of a log is read, in bytes and in lines.
const TAIL_BYTES: u64 = 512 * 1024;
const TAIL_LINES: usize = 2_000;

/// The end of a log.
pub(super) struct Tail {
    pub(super) name: &'static str,
    pub(super) lines: Vec<String>,
}

/// Which configuration is meant: the one that is named, else the one that the service's library reads, unless this
/// process is told another one.
pub(super) fn config_path(named: Option<&Path>, service_folder: Option<&Path>) -> Option<PathBuf> {
    let told = std::env::var_os(PATH_VARIABLE).is_some_and(|path| !path.is_empty());
    match (named, service_folder.map(|folder| folder.join(FILE_NAME)).filter(|path| path.is_file())) {
        (Some(named), _) => Some(named.to_owned()),
        (None, Some(services)) if !told => Some(services),
        _ => phonegate::config::usual_path().ok(),
    }
}

/// Reads the configuration and asks the backends. Returns where the logs are, if that is known.
pub(super) fn examine(config: Option<&Path>, spinner: &Spinner, findings: &mut Findings) -> Option<PathBuf> {
    let context = match Context::load(config) {
        Ok(context) => context,
        Err(error) => {
            findings.add("configuration", Verdict::Failed, error.to_string());
            return platform::state_folder();
        }
    };
    let file = context.file.clone();
    findings.add("configuration", Verdict::Ok, file.display().to_string());
    for text in context.loaded.config.warnings() {
        findings.add("configuration", Verdict::Warning, text);
    }
    let account = Account::of_service(HOST_SERVICE).ok().flatten();
    let logs = permissions::state_folder(&context.loaded);
    let private = permissions::private_files(&file, &context.loaded);
    let files = permissions::too_wide(&private, account.as_ref());
    // The state folder has a line of its own.
    let of_store = permissions::store_too_wide(&context.loaded, account.as_ref());
    let of_store = of_store.into_iter().filter(|wide| Some(&wide.path) != logs.as_ref());
    for wide in files.into_iter().chain(permissions::changeable(&context.loaded, &private)).chain(of_store) {
        findings.add("permissions", Verdict::Warning, wide.to_string());
    }
    if let Some(why) = writable::why_no_metrics(&context.loaded) {
        findings.add("metrics", Verdict::Warning, why);
    }
    // Before this process makes it.
    if let Some(folder) = logs.as_deref().filter(|folder| folder.exists()) {
        let (verdict, why) = match permissions::state_fault(folder, account.as_ref()) {
            Ok(None) => (Verdict::Ok, "the service can write there, and nobody else".to_owned()),
            Ok(Some(StateFault::Wide(why))) => (Verdict::Warning, why),
            Ok(Some(StateFault::Unsafe(why) | StateFault::Lacking(why))) => (Verdict::Failed, why),
            Err(error) => (Verdict::Warning, format!("its permissions cannot be read: {error}")),
        };
        findings.add("state folder", verdict, format!("{}: {why}", folder.display()));
    }
    spinner.set_message("asking the store");
    match crate::store_reader::check(&context) {
        Ok(words) => {
            findings.add("store", Verdict::Ok, format!("{}: {words}", context.loaded.config.store.kind.name()))
        }
        Err(error) => findings.add("store", Verdict::Failed, error.message),
    }
    match crate::commands::pins::state(&context) {
        Ok(None) => {}
        Ok(Some(pins)) => match pins.warning() {
            Some(text) => findings.add("PINs", Verdict::Warning, text),
            None => findings.add("PINs", Verdict::Ok, pins.to_string()),
        },
        Err(error) => findings.add("PINs", Verdict::Failed, error.message),
    }
    let judges = judges(&context.loaded.config);
    let gate = match context.start(None) {
        Ok(gate) => gate,
        Err(error) => {
            findings.add("configuration", Verdict::Failed, error.to_string());
            return logs;
        }
    };
    spinner.set_message("asking the backends");
    for (name, answer) in gate.check() {
        let (verdict, words) = match &answer {
            Ok(words) => (Verdict::Ok, &**words),
            Err(failure) => (Verdict::Failed, failure.text()),
        };
        findings.add(
            "backend",
            verdict,
            format!("{name}: {}", with_judge(words, judges.iter().any(|judge| **judge == *name))),
        );
    }
    spinner.set_message("comparing the clocks");
    clocks(&gate.seconds_ahead(), findings);
    gate.shut_down(END_WITHIN);
    logs
}

fn clocks(ahead: &[(std::sync::Arc<str>, Option<i64>)], findings: &mut Findings) {
    let measured: Vec<_> = ahead.iter().filter_map(|(name, ahead)| Some((name, (*ahead)?))).collect();
    if measured.is_empty() {
        let why = "not measured: no provider in use has told its time (those that are reached by HTTPS do)";
        findings.add("clock", Verdict::Skipped, why);
    }
    for (name, ahead) in measured {
        let verdict = if ahead.abs() > MAX_SKEW_S { Verdict::Warning } else { Verdict::Ok };
        let text = match (ahead.abs(), ahead > 0) {
            (..=MEASURED_TO_S, _) => format!("as that of {name}"),
            (seconds, true) => format!("{seconds} s ahead of that of {name}"),
            (seconds, false) => format!("{seconds} s behind that of {name}"),
        };
        findings.add("clock", verdict, text);
    }
}

/// Reads the ends of the logs.
pub(super) fn logs(folder: Option<&Path>, findings: &mut Findings) -> Vec<Tail> {
    let Some(folder) = folder else {
        findings.add("log", Verdict::Skipped, "its folder is not known");
        return Vec::new();
    };
    let mut tails = Vec::new();
    for name in [LIBRARY_LOG, TOOL_LOG] {
        let path = folder.join(name);
        let part = if name == LIBRARY_LOG { "log" } else { "tool's log" };
        match tail(&path) {
            Ok(lines) => {
                findings.add(part, Verdict::Ok, format!("{}: {}", path.display(), in_words(&lines)));
                tails.push(Tail { name, lines });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = format!("there is no {} yet: nothing has been logged there", path.display());
                findings.add(part, Verdict::Skipped, text);
            }
            Err(error) => findings.add(part, Verdict::Warning, format!("{} cannot be read: {error}", path.display())),
        }
    }
    tails
}

fn tail(path: &Path) -> std::io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    // The service may be writing to it.
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may have been cut.
    let lines: Vec<_> = text.lines().skip(usize::from(start > 0)).map(str::to_owned).collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    Ok(lines.into_iter().skip(skipped).collect())
}

fn in_words(lines: &[String]) -> String {
    let of_level = |level: &str| {
        let is = |line: &&String| {
            serde_json::from_str::<Value>(line).is_ok_and(|record| record.get("level").is_some_and(|is| is == level))
        };
        lines.iter().filter(is).count()
    };
    format!("its last {} lines; warnings: {}, errors: {}", lines.len(), of_level("warn"), of_level("error"))
}
