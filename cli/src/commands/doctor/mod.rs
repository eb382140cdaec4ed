//! `phonegate doctor`: examines the installation, and writes a file for support.

mod bundle;
mod calls;
mod findings;
mod host;
mod scrub;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::Globals;
use crate::context::LIBRARY_LOG;
use crate::error::{CommandError, Exit};
use crate::output::{self, Spinner};
use bundle::Contents;
use calls::Tail;
use findings::{Findings, Verdict};
use phonegate_deploy::{read_bounded, settings};
use scrub::Scrubber;

/// Maximum size of a configuration that is read, in bytes.
const MAX_CONFIG: u64 = 1024 * 1024;

/// Number of lines of the log that are shown.
const SHOWN_LINES: usize = 5;

const HELP: &str = "\
Examples:
  phonegate doctor                          on the server, as an administrator
  phonegate doctor --zip for-support.zip    also writes a file for support
  phonegate doctor --json --service-dir \"D:\\MIM\\2010\\Service\"

It rings no phone, and changes nothing but its own log. It examines
  tool, library, shim    their versions, the version of the interface between them (ABI), and whether they fit
  service                state and account of FIMService; only on Windows
  service folder         its path, and how it was found
  runtime                the .NET runtime of the service
  contract               the assembly of MIM that the shim was compiled against
  MIM's settings         whether MfaSettings.xml names the shim, and nothing else
  configuration          the one that --config names, else the service's
  permissions            who else can read it or the calls in the store, or replace what MIM loads
  metrics                whether the metrics file can be written
  state folder           whether the service, and no other account, can write logs and state
  store                  whether the store of calls can be used
  PINs                   how many are set, if there is a pepper or calls ask for PINs
  backend, clock         whether each backend in use can place calls, and whether this machine's clock is right
  log, tool's log        the last lines

The zip file contains the report, the configuration, MfaSettings.xml and the ends of the logs. Secrets and telephone
numbers are removed from all of them. Look through the file before you pass it on.

--json prints one object a line:
  finding   part, result (ok, warning, failed or skipped), text
  log       line: one of the last lines of the service's log
  examined  ok (nothing failed), failed, warnings (numbers of findings), zip (the file; left out without --zip)

Exit codes:
  0  nothing failed; there may be warnings
  1  something failed
  2  wrong usage";

/// The arguments of `phonegate doctor`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The folder of MIM's service. [default: the folder of the registered service FIMService, else MIM's default]
    #[arg(long, value_name = "FOLDER")]
    service_dir: Option<PathBuf>,
    /// Writes a zip file for support, without secrets and telephone numbers. The file must not exist yet.
    #[arg(long, value_name = "FILE")]
    zip: Option<PathBuf>,
}

/// Examines the installation.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    if let Some(zip) = arguments.zip.as_deref().filter(|zip| zip.exists()) {
        return Err(bundle::exists(zip));
    }
    let spinner = Spinner::start(globals.json);
    spinner.set_message("examining the installation");
    let mut findings = Findings::default();
    host::machine(&mut findings);
    let folder = host::folder(arguments.service_dir.as_deref(), &mut findings);
    let mfa_settings = folder.as_ref().and_then(|folder| settings::read(&folder.join(settings::FILE_NAME)).ok());
    let config_path = calls::config_path(globals.config(), folder.as_deref());
    let config_text = config_path.as_ref().and_then(|path| read_bounded(path, MAX_CONFIG).ok());
    let config_text = config_text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let base = config_path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let scrubber = Scrubber::new(config_text.as_deref(), base, mfa_settings.as_deref())?;
    if let Some(folder) = &folder {
        host::installation(folder, mfa_settings.as_deref(), &mut findings);
    }
    let logs = calls::examine(config_path.as_deref(), &spinner, &mut findings);
    let logs = calls::logs(logs.as_deref(), &mut findings);
    for finding in &mut findings.0 {
        finding.text = scrubber.technical_text(&finding.text);
    }
    drop(spinner);

    let last: Vec<_> = last_lines(&logs).iter().map(|line| scrubber.log_line(line)).collect();
    if let Some(path) = &arguments.zip {
        let config = config_text.as_deref();
        let contents = Contents { findings: &findings, config, mfa_settings: mfa_settings.as_deref(), logs: &logs };
        bundle::write(path, &contents, &scrubber)?;
    }
    show(arguments, &findings, &last, globals.json);
    Ok(if findings.count(Verdict::Failed) == 0 { Exit::Done } else { Exit::Failed })
}

/// Returns the last lines of the service's log.
fn last_lines(logs: &[Tail]) -> &[String] {
    let lines = logs.iter().find(|log| log.name == LIBRARY_LOG).map_or([].as_slice(), |log| log.lines.as_slice());
    lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default()
}

fn show(arguments: &Arguments, findings: &Findings, last: &[String], json: bool) {
    let (failed, warnings) = (findings.count(Verdict::Failed), findings.count(Verdict::Warning));
    if json {
        findings.0.iter().for_each(output::json_line);
        last.iter().for_each(|line| output::json_line(&json!({ "event": "log", "line": line })));
        let mut end = json!({ "event": "examined", "ok": failed == 0, "failed": failed, "warnings": warnings });
        if let (Some(zip), Some(end)) = (&arguments.zip, end.as_object_mut()) {
            end.insert("zip".to_owned(), zip.display().to_string().into());
        }
        return output::json_line(&end);
    }
    output::print(&format!("{}\n", findings.table()));
    if !last.is_empty() {
        output::print(&format!("The last lines of {}:", LIBRARY_LOG));
        last.iter().for_each(|line| output::print(line));
        output::print("");
    }
    if let Some(zip) = &arguments.zip {
        output::print(&format!("Written: {}", zip.display()));
    }
    output::print(&findings.conclusion());
}
