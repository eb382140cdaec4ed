//! `phonegate doctor`: everything that an administrator in error, and whoever helps, wants to know.

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
use crate::mim::{read_bounded, settings};
use crate::output::{self, Spinner};
use bundle::Contents;
use calls::Tail;
use findings::{Findings, Verdict};
use scrub::Scrubber;

/// The longest configuration that is read.
const MAX_CONFIG: u64 = 1024 * 1024;

/// So many lines of the log are shown.
const SHOWN_LINES: usize = 5;

const HELP: &str = "\
Examples:
  phonegate doctor                          on the server, as an administrator
  phonegate doctor --zip for-support.zip    the same, and a file for whoever helps
  phonegate doctor --json --service-dir \"D:\\MIM\\2010\\Service\"

It rings nobody, and changes nothing but the tool's own log. It looks at
  tool, library, shim    versions, the version of the interface between them (ABI), and whether they fit
  service                state and account of FIMService; only on Windows
  service folder         where it is, and how it was found
  runtime                the .NET runtime that the service uses
  contract               the assembly of MIM's that the shim was compiled against
  MIM's settings         whether MfaSettings.xml names the shim, and nothing else
  configuration          the one that is named, else the service's
  permissions            who else could read it or the calls that are kept, or replace what MIM loads
  metrics                where the file of figures cannot be written
  state folder           whether the service, and nobody else, can write its logs and state
  store                  whether the place where calls are kept can be used
  PINs                   how many are set, if there is a pepper or calls ask for PINs
  backend, clock         whether each backend in use could place calls, and whether this machine's clock is right
  log, tool's log        the last lines

The zip file has the report, the configuration, MfaSettings.xml and the ends of the logs. Secrets and telephone numbers
are taken out of all of them; look into it all the same before you hand it on.

--json prints one object a line:
  finding   part, result (ok, warning, failed or skipped), text
  log       line: one of the last lines of the service's log
  examined  ok (nothing failed), failed, warnings (how many), zip (the file, absent without --zip)
  error     text

Exit codes:
  0  nothing failed; there may be warnings
  1  something failed
  2  usage";

/// The arguments of `phonegate doctor`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The folder of MIM's service. Absent: the one of the registered service FIMService, else the usual one.
    #[arg(long, value_name = "FOLDER")]
    service_dir: Option<PathBuf>,
    /// Writes a zip file for whoever helps, without secrets and telephone numbers. It must not exist yet.
    #[arg(long, value_name = "FILE")]
    zip: Option<PathBuf>,
}

/// Looks at everything.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    if let Some(zip) = arguments.zip.as_deref().filter(|zip| zip.exists()) {
        return Err(CommandError::usage(format!("{} is there already; name another file", zip.display())));
    }
    let spinner = Spinner::start(globals.json);
    spinner.set_message("looking at the installation");
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
        finding.text = scrubber.words(&finding.text);
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

/// Those of the service's log.
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
