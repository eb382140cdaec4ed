//! `phonegate install`: PhoneGate into MIM's service, in one command that changes all or nothing.

pub(crate) mod backups;
mod bundle;
mod calls;
mod chosen;
pub(crate) mod event_source;
pub(crate) mod files;
mod firewall;
mod library_hash;
mod plan;
mod shim;
mod steps;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::error::{CommandError, Exit};
use crate::mim::service;
use crate::output::{self, Spinner};
use files::{Lock, remove_leftovers};
use plan::Plan;
pub(crate) use plan::laid_down;
pub(crate) use shim::FILE_NAME as SHIM;
pub(crate) use steps::put_back;

const HELP: &str = "\
Run it as an administrator, from the unpacked bundle. It finds the folder of MIM's service and the contract assembly
in it, compiles the shim against that, tries the configuration out, and only then changes anything: it copies the
library, the tool and the shim into the folder, backs MfaSettings.xml up, and names the shim there as its last step.
What fails on the way is undone. To install a newer version, run it from the newer bundle: if that version
changes the schema of the call file, install copies the file first. `phonegate revert --restore-calls` restores the copy.

The first time:
  1. phonegate install            lays a phonegate.json into the service's folder, and stops
  2. edit that file, and put its secrets beside it
  3. phonegate install --restart  installs, and restarts FIMService

Or write a phonegate.json first and pass it by --config FILE: install copies it, and never replaces one that is in the
service's folder already.

Install refuses a bundle or a service folder that accounts other than administrators can write to, and a library that is
not the one of this bundle (by SHA-256; you may sign the library).

Examples:
  phonegate install --dry-run
  phonegate install --config contoso.json --restart
  phonegate install --service-dir \"D:\\MIM\\2010\\Service\"

--json prints one object a line:
  found      what, text: the service folder, the contract assembly, what each backend answers, the default country
             that MIM had, the commands for the firewall rules of a SIP trunk (they are not run)
  warning    text
  change     step, path, text, done (false: --dry-run)
  diff       text: how MfaSettings.xml changes, without its secrets
  installed  changed (how many changes), dry_run, restarted, to_edit (true: a starter was laid, nothing is installed yet)
  error      text

Exit codes:
  0  installed, or nothing was to be done
  1  it could not be installed, and nothing is left changed; or it is installed, and FIMService could not be
     restarted: the error says which, and why
  2  usage, or the configuration has to be written or mended first";

/// The arguments of `phonegate install`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Shows what would be done, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Restarts the service FIMService afterwards, so that it loads PhoneGate.
    #[arg(long)]
    restart: bool,
    /// Does not ask the backends whether they could place calls: for a trunk that is down now.
    #[arg(long)]
    skip_check: bool,
    /// Installs also what approves without a telephone: for a laboratory, never in production.
    #[arg(long)]
    allow_test_backends: bool,
    /// Installs even if other accounts can write to the bundle's or the service's folder, or the library is not the one
    /// that this program is shipped with. For a build of your own.
    #[arg(long)]
    trust_folder: bool,
    /// The folder of MIM's service. Absent: the one of the registered service FIMService, else the usual one.
    #[arg(long, value_name = "FOLDER")]
    service_dir: Option<PathBuf>,
    /// The C# compiler, or a program that takes the same options. Absent: csc.exe of .NET Framework 3.5, else of 4.
    #[arg(long, value_name = "PROGRAM")]
    csc: Option<PathBuf>,
    /// Prints JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Installs.
pub(crate) fn run(arguments: &Arguments, config: Option<&Path>) -> Result<Exit, CommandError> {
    let json = arguments.json;
    let plan = {
        let spinner = Spinner::start(json);
        plan::prepare(arguments, config, &spinner)?
    };
    show(&plan, json);
    if arguments.dry_run {
        for change in &plan.changes {
            tell_change(json, change, false);
        }
        if let Some(diff) = &plan.diff {
            output::diff(json, diff);
        }
    }
    let lock = (!arguments.dry_run).then(|| Lock::take(&plan.folder)).transpose();
    let lock = lock.map_err(|text| CommandError::failed(text))?;
    if lock.is_some() {
        steps::make(&plan.changes, plan.account.as_ref(), |change| tell_change(json, change, true))?;
    }
    let restarted = arguments.restart && !arguments.dry_run && !plan.starts;
    if restarted {
        let spinner = Spinner::start(json);
        service::restart(&spinner).map_err(|why| {
            CommandError::failed(format!("PhoneGate is installed, but MIM has not loaded it yet: {why}"))
        })?;
    }
    // After a restart, also of what was loaded until then; by every install, since an earlier one may have been cut short.
    if lock.is_some() {
        for path in remove_leftovers(&plan.folder) {
            output::warning(json, &format!("{} is in use; a later install removes it", path.display()));
        }
    }
    drop(lock);
    conclude(&plan, arguments, restarted);
    Ok(if plan.starts { Exit::Usage } else { Exit::Done })
}

fn show(plan: &Plan, json: bool) {
    for (what, text) in &plan.found {
        match json {
            true => output::json_line(&json!({ "event": "found", "what": what, "text": text })),
            false => output::print(&format!("{what:<16} {text}")),
        }
    }
    for text in &plan.warnings {
        output::warning(json, text);
    }
}

fn tell_change(json: bool, change: &steps::Change, done: bool) {
    output::change(json, change.step(), change.path(), &change.in_words(), done);
}

fn conclude(plan: &Plan, arguments: &Arguments, restarted: bool) {
    let dry_run = arguments.dry_run;
    let changed = plan.changes.len();
    if arguments.json {
        return output::json_line(&json!({
            "event": "installed", "changed": changed, "dry_run": dry_run, "restarted": restarted, "to_edit": plan.starts,
        }));
    }
    output::print(&match (plan.starts, dry_run, changed) {
        (true, true, _) => "PhoneGate is not installed: the configuration would have to be edited first.".to_owned(),
        (true, false, _) => format!(
            "PhoneGate is not installed yet, and MIM runs as before. Edit {}: keep the backend that you have, name it \
             in `use`, and run install again.",
            plan.folder.join(phonegate::config::FILE_NAME).display()
        ),
        (false, true, 0) => "Nothing would be changed: PhoneGate is installed.".to_owned(),
        (false, true, changed) => format!("{changed} things would be changed; nothing was."),
        (false, false, 0) => "Nothing had to be changed: PhoneGate was installed already.".to_owned(),
        (false, false, _) => format!("PhoneGate {} is installed.", env!("CARGO_PKG_VERSION")),
    });
    if !plan.starts && !dry_run && changed > 0 && !restarted {
        output::print("MIM loads it when FIMService is restarted: phonegate install --restart");
    }
}
