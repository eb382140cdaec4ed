//! `phonegate install`: installs PhoneGate into MIM's service. Makes all of its changes or none.

use std::path::{Path, PathBuf};

use clap::Args;
use phonegate_deploy::apply::apply;
use phonegate_deploy::plan::{self, Options, Plan};
use serde_json::json;

use super::deploy_progress::{DeployProgress, print_change, print_diff};
use crate::error::{CommandError, Exit};
use crate::{Globals, output};

/// The hash of the library that belongs to this program: see `build.rs`. `None` in a developer's build.
const LIBRARY_SHA256: Option<&str> = option_env!("PHONEGATE_LIBRARY_SHA256");

const HELP: &str = "\
Run it as an administrator, from the unpacked bundle. It finds the folder of MIM's service and the contract assembly
in it, compiles the shim against that assembly, and tries the configuration out. Only then does it change anything: it
copies the library, the tool and the shim into the folder, backs up MfaSettings.xml, and as the last step names the shim
in that file. If a step fails, all earlier steps are undone.

To install a newer version, run it from the newer bundle. If that version changes the schema of the call file, install
copies the file first. `phonegate revert --restore-calls` restores the copy.

The first installation:
  1. phonegate install            writes a phonegate.json into the service's folder, and stops
  2. edit that file, and put the files with its secrets into the same folder
  3. phonegate install --restart  installs, and restarts FIMService

Or write a phonegate.json first and pass it by --config FILE. Install copies it, and never replaces one that exists in
the service's folder.

Install refuses a bundle or a service folder that accounts other than administrators can write to, and a library that
does not belong to this bundle (by SHA-256; you may sign the library).

Examples:
  phonegate install --dry-run
  phonegate install --config contoso.json --restart
  phonegate install --service-dir \"D:\\MIM\\2010\\Service\"

--json prints one object a line:
  found      what, text: the service folder, the contract assembly, the result of checking each backend, MIM's
             default country, commands for the firewall rules of a SIP trunk (install does not run them)
  warning    text
  change     step, path, text, done (false with --dry-run)
  diff       text: how MfaSettings.xml changes, without its secrets
  installed  changed (number of changes), dry_run, restarted, to_edit (true: only a phonegate.json to edit was written)
  error      kind (usage or failed), text, hints

Exit codes:
  0  installed, or nothing had to be changed
  1  not installed, and every change was undone; or installed, but FIMService could not be restarted: the error says
     which, and why
  2  wrong usage, or the configuration must be written or corrected first";

/// The arguments of `phonegate install`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Shows what would be changed, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Restarts the service FIMService afterwards, so that it loads PhoneGate.
    #[arg(long)]
    restart: bool,
    /// Does not check whether the backends can place calls: for a trunk that is down now.
    #[arg(long)]
    skip_check: bool,
    /// Allows backends that approve without a telephone: for a laboratory, never in production.
    #[arg(long)]
    allow_test_backends: bool,
    /// Installs even if other accounts can write to the folder of the bundle or the service, or the library does not
    /// belong to this program. For a build of your own.
    #[arg(long)]
    trust_folder: bool,
    /// The folder of MIM's service. [default: the folder of the registered service FIMService, else MIM's default]
    #[arg(long, value_name = "FOLDER")]
    service_dir: Option<PathBuf>,
    /// The C# compiler, or a program with the same options. [default: csc.exe of .NET Framework 3.5, else of 4]
    #[arg(long, value_name = "PROGRAM")]
    csc: Option<PathBuf>,
}

/// Installs.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let json = globals.json;
    let plan = plan::plan(&arguments.options(globals.config()), &mut DeployProgress::start(json))?;
    show_findings(&plan, json);
    // A starter configuration is not ready to be loaded.
    let restarts = arguments.restart && !arguments.dry_run && !plan.writes_starter;
    if arguments.dry_run {
        show_changes(&plan, json);
    } else {
        let applied = apply(&plan, restarts, &mut DeployProgress::start(json))?;
        for path in applied.in_use {
            output::warning(json, &format!("{} is in use; a later install removes it", path.display()));
        }
    }
    print_summary(&plan, arguments, globals.json, restarts);
    Ok(if plan.writes_starter { Exit::Usage } else { Exit::Done })
}

impl Arguments {
    fn options<'a>(&'a self, config: Option<&'a Path>) -> Options<'a> {
        Options {
            service_dir: self.service_dir.as_deref(),
            config,
            csc: self.csc.as_deref(),
            library_sha256: LIBRARY_SHA256,
            skip_check: self.skip_check,
            allow_test_backends: self.allow_test_backends,
            trust_folder: self.trust_folder,
        }
    }
}

fn show_findings(plan: &Plan, json: bool) {
    for finding in &plan.findings {
        match json {
            true => output::json_line(&json!({ "event": "found", "what": finding.what, "text": finding.text })),
            false => output::print(&format!("{:<16} {}", finding.what, finding.text)),
        }
    }
    for text in &plan.warnings {
        output::warning(json, text);
    }
}

/// Shows what would be changed.
fn show_changes(plan: &Plan, json: bool) {
    for change in &plan.changes {
        print_change(json, change.step(), change.path(), &change.description(), false);
    }
    if let Some(diff) = &plan.diff {
        print_diff(json, diff);
    }
}

fn print_summary(plan: &Plan, arguments: &Arguments, json: bool, restarted: bool) {
    let (dry_run, to_edit) = (arguments.dry_run, plan.writes_starter);
    let changed = plan.changes.len();
    if json {
        return output::json_line(&json!({
            "event": "installed", "changed": changed, "dry_run": dry_run, "restarted": restarted, "to_edit": to_edit,
        }));
    }
    output::print(&match (to_edit, dry_run, changed) {
        (true, true, _) => "PhoneGate is not installed: the configuration must be edited first.".to_owned(),
        (true, false, _) => format!(
            "PhoneGate is not installed yet, and MIM runs as before. Edit {}: keep the backend that you have, name it \
             in `use`, and run install again.",
            plan.folder.join(phonegate::config::FILE_NAME).display()
        ),
        (false, true, 0) => "Nothing would be changed: PhoneGate is installed.".to_owned(),
        (false, true, changed) => format!("{changed} changes would be made. Nothing was changed."),
        (false, false, 0) => "Nothing had to be changed: PhoneGate was installed already.".to_owned(),
        (false, false, _) => format!("PhoneGate {} is installed.", env!("CARGO_PKG_VERSION")),
    });
    if !to_edit && !dry_run && changed > 0 && !restarted {
        output::print("MIM loads it when FIMService is restarted: phonegate install --restart");
    }
}
