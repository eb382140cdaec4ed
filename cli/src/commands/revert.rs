//! `phonegate revert`: removes PhoneGate from MIM, or restores what an older version needs.

use std::path::PathBuf;

use clap::Args;
use phonegate::store::Restore;
use phonegate_deploy::find::ServiceFolder;
use phonegate_deploy::revert::{self, Left, Options, Plan};
use phonegate_deploy::{backups, settings};
use serde_json::json;

use super::deploy_progress::{DeployProgress, print_change, print_diff};
use crate::context::{LIBRARY_LOG, LOG_FILE};
use crate::error::{CommandError, Exit};
use crate::{Globals, output};

/// Maximum number of calls that are listed one by one for a human reader.
const MAX_LISTED_CALLS: usize = 100;

const HELP: &str = "\
Run it as an administrator. It restores a backup of MfaSettings.xml, the newest one unless --backup names another, and
then removes the installed files: the shim, the library, the tool and the schema. The configuration, its secrets, the
logs, the calls and the backups stay; --purge also removes the configuration, the logs, the calls and their backups. The
replaced MfaSettings.xml is kept as a new backup. MIM runs without PhoneGate as soon as FIMService is restarted.

To return to an older version, run revert --restore-calls --restart, then phonegate install from the older bundle. An
upgrade that changes the schema of the call file copies the file first, and --restore-calls restores the newest such
copy. The newer file is kept under another name, and the calls that only it contains are listed. The block list of the
newer file is kept. No program may have the file open: without --restart, stop FIMService first.

Examples:
  phonegate revert --list
  phonegate revert --dry-run
  phonegate revert --restart
  phonegate revert --backup MfaSettings.xml.phonegate-backup-20261124T150600Z

--json prints one object a line:
  backup    name, provider (the file that MIM would load, or null), text; with --list
  diff      text: how MfaSettings.xml changes, without its secrets
  change    step (settings, calls, event_source, remove or purge), path, text, done (false with --dry-run)
  only_newer  id, number (masked), file: a call that is only in the newer file, which is kept; with --restore-calls
  left      path, text: a file that stays, and why
  reverted  changed (number of changes), dry_run, restarted
  error     kind (usage or failed), text, hints

Exit codes:
  0  reverted, or nothing had to be changed
  1  not reverted, or not completely
  2  wrong usage";

/// The arguments of `phonegate revert`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Lists the backups, the newest first.
    #[arg(long, conflicts_with_all = ["backup", "purge", "dry_run", "restart"])]
    list: bool,
    /// The backup to restore.
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    /// Also removes the configuration, the logs, the call file and its backups.
    #[arg(long)]
    purge: bool,
    /// Restores the call file from before an upgrade changed its schema. Keeps the newer file under another name.
    #[arg(long, conflicts_with_all = ["list", "purge"])]
    restore_calls: bool,
    /// Shows what would be changed, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Restarts the service FIMService, so that it runs without PhoneGate.
    #[arg(long)]
    restart: bool,
    /// The folder of MIM's service. [default: the folder of the registered service FIMService, else MIM's default]
    #[arg(long, value_name = "FOLDER")]
    service_dir: Option<PathBuf>,
}

/// Reverts.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let json = globals.json;
    if arguments.list {
        list_backups(arguments, json)?;
        return Ok(Exit::Done);
    }
    let plan = revert::plan(&arguments.options())?;
    for text in &plan.warnings {
        output::warning(json, text);
    }
    if let Some(diff) = plan.diff() {
        print_diff(json, &diff.unwrap_or_else(|error| format!("no diff: {error}")));
    }
    if arguments.dry_run {
        for step in plan.steps() {
            print_change(json, step.name(), step.path, &step.description, false);
        }
        show_newer_calls(plan.calls.as_ref(), json);
        print_summary(&plan, arguments, json, true);
        return Ok(Exit::Done);
    }
    let reverted = revert::apply(&plan, arguments.restart, &mut DeployProgress::start(json))?;
    show_newer_calls(plan.calls.as_ref().filter(|_| reverted.restored_calls), json);
    show_left(&reverted.left, json);
    print_summary(&plan, arguments, json, reverted.is_complete);
    Ok(if reverted.is_complete { Exit::Done } else { Exit::Failed })
}

impl Arguments {
    fn options(&self) -> Options<'_> {
        Options {
            service_dir: self.service_dir.as_deref(),
            backup: self.backup.as_deref(),
            restore_calls: self.restore_calls,
            purge: self.purge,
            logs: &[LIBRARY_LOG, LOG_FILE],
        }
    }
}

fn list_backups(arguments: &Arguments, json: bool) -> Result<(), CommandError> {
    let folder = ServiceFolder::find(arguments.service_dir.as_deref())?.path;
    let backups = backups::list(&folder)?;
    for backup in &backups {
        let provider = settings::read(&backup.path).and_then(|file| settings::provider(&file));
        let (provider, text) = match provider {
            Ok(Some(provider)) => (json!(provider), format!("names {provider}")),
            Ok(None) => (json!(null), "names no provider".to_owned()),
            Err(error) => (json!(null), error.to_string()),
        };
        match json {
            true => output::json_line(
                &json!({ "event": "backup", "name": backup.name, "provider": provider, "text": text }),
            ),
            false => output::print(&format!("{}  {text}", backup.name)),
        }
    }
    if backups.is_empty() && !json {
        output::print(&format!("There is no backup in {}.", folder.display()));
    }
    Ok(())
}

/// Lists the calls that only the newer file has.
fn show_newer_calls(restore: Option<&Restore>, json: bool) {
    let Some(restore) = restore else { return };
    let file = restore.kept.display().to_string();
    for call in restore.calls.iter().take(if json { usize::MAX } else { MAX_LISTED_CALLS }) {
        match json {
            true => output::json_line(
                &json!({ "event": "only_newer", "id": call.id, "number": call.number.as_deref(), "file": file }),
            ),
            false => output::print(&format!(
                "only in the newer file: call {} to {}",
                call.id,
                call.number.as_deref().unwrap_or("no valid number")
            )),
        }
    }
    let more = restore.calls.len().saturating_sub(MAX_LISTED_CALLS);
    if more > 0 && !json {
        output::print(&format!("and {more} more; --json lists all"));
    }
}

fn show_left(left: &[Left], json: bool) {
    for Left { path, reason } in left {
        let path = path.display().to_string();
        match json {
            true => output::json_line(&json!({ "event": "left", "path": path, "text": reason })),
            false => output::print(&format!("left: {path}: {reason}")),
        }
    }
}

fn print_summary(plan: &Plan, arguments: &Arguments, json: bool, is_complete: bool) {
    let (changed, dry_run) = (plan.steps().len(), arguments.dry_run);
    let restarted = arguments.restart && !dry_run;
    if json {
        let record = json!({ "event": "reverted", "changed": changed, "dry_run": dry_run, "restarted": restarted });
        return output::json_line(&record);
    }
    output::print(match (dry_run, changed) {
        (_, 0) => "There is nothing to revert: PhoneGate is not installed.",
        (true, _) => "Nothing was changed.",
        (false, _) if restarted => "MIM runs without PhoneGate.",
        (false, _) => "MIM runs without PhoneGate as soon as FIMService is restarted.",
    });
    if !is_complete {
        output::print("Not everything could be reverted: run revert again.");
    }
}
