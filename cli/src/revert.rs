//! `phonegate revert`: MIM as it was before PhoneGate was installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use phonegate::config::{self, FILE_NAME};
use phonegate::{platform, store};
use serde_json::json;

use crate::context::{LIBRARY_LOG, LOG_FILE};
use crate::error::{CommandError, Exit};
use crate::install::backups::{self, Backup};
use crate::install::event_source;
use crate::install::files::{Lock, remove, remove_leftovers};
use crate::install::{self, SHIM};
use crate::mim::shim::Shim;
use crate::mim::{is_same_file, service, settings};
use crate::output::{self, Spinner};
use crate::revert_calls;

const HELP: &str = "\
Run it as an administrator. It puts a backup of MfaSettings.xml back, the newest one unless --backup names another, and
then removes what install laid down: the shim, the library, the tool and the schema. The configuration, its secrets, the
logs, the calls and the backups stay; --purge removes the configuration, the logs, the calls and their backups too. The
replaced MfaSettings.xml is kept as a new backup. MIM runs without PhoneGate as soon as FIMService is restarted.

To go back to an older version, run revert --restore-calls --restart, then phonegate install from the older bundle. An
upgrade that changes the schema of the call file copies the file first. --restore-calls restores the newest such copy. The
newer file is kept under another name; the calls that only it contains are listed. The block list of the newer file is
kept. No program may have the file open: without --restart, stop FIMService first.

Examples:
  phonegate revert --list
  phonegate revert --dry-run
  phonegate revert --restart
  phonegate revert --backup MfaSettings.xml.phonegate-backup-20261124T150600Z

--json prints one object a line:
  backup    name, provider (what it would let MIM load; absent where it names none): with --list
  diff      text: how MfaSettings.xml changes, without its secrets
  change    step (settings, calls, event_source, remove or purge), path, text, done (false: --dry-run)
  only_newer  id, number (masked), file: a call that is only in the newer file, which is kept; with --restore-calls
  left      path, text: what stays, and why
  reverted  changed (how many changes), dry_run, restarted
  error     text

Exit codes:
  0  reverted, or nothing was to be done
  1  it could not be reverted, or not everything could be done
  2  usage";

/// The arguments of `phonegate revert`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Lists the backups, the newest first.
    #[arg(long, conflicts_with_all = ["backup", "purge", "dry_run", "restart"])]
    list: bool,
    /// Which backup to put back.
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    /// Removes the configuration, the logs, the file of calls and its backups too.
    #[arg(long)]
    purge: bool,
    /// Restores the call file from before an upgrade changed its schema. Keeps the newer file under another name.
    #[arg(long, conflicts_with_all = ["list", "purge"])]
    restore_calls: bool,
    /// Shows what would be done, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Restarts the service FIMService, so that it runs without PhoneGate.
    #[arg(long)]
    restart: bool,
    /// The folder of MIM's service. Absent: the one of the registered service FIMService, else the usual one.
    #[arg(long, value_name = "FOLDER")]
    service_dir: Option<PathBuf>,
    /// Prints JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reverts.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit, CommandError> {
    let folder = service::folder(arguments.service_dir.as_deref())?.path;
    let backups =
        backups::list(&folder).map_err(|error| CommandError::failed(format!("{}: {error}", folder.display())))?;
    if arguments.list {
        list(&backups, &folder, arguments.json);
        return Ok(Exit::Done);
    }
    let plan = Plan::make(arguments, &folder, &backups)?;
    for text in &plan.warnings {
        output::warning(arguments.json, text);
    }
    if let Some(restore) = &plan.restore {
        tell_diff(arguments, restore);
    }
    if arguments.dry_run {
        for (step, path, text) in plan.steps() {
            tell(arguments, step, path, &text);
        }
        if let Some(restore) = &plan.calls {
            revert_calls::list(restore, arguments.json);
        }
        conclude(arguments, &plan, false, 0);
        return Ok(Exit::Done);
    }
    carry_out(arguments, &plan, &folder)
}

/// How MfaSettings.xml changes.
struct Restore {
    path: PathBuf,
    before: Vec<u8>,
    backup: PathBuf,
    after: Vec<u8>,
    /// The new backup, of what is there now.
    kept: PathBuf,
}

/// What is done to a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Settings,
    Calls,
    EventSource,
    Remove,
    Purge,
}

impl Step {
    /// Its name, for scripts.
    fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Calls => "calls",
            Self::EventSource => "event_source",
            Self::Remove => "remove",
            Self::Purge => "purge",
        }
    }
}

/// The logs of the library and of the tool, and how their older parts begin.
const LOGS: [&str; 2] = [LIBRARY_LOG, LOG_FILE];

struct Plan {
    restore: Option<Restore>,
    /// How the calls become those of an older version.
    calls: Option<store::Restore>,
    /// The library whose words the Event Log would show.
    event_source: Option<PathBuf>,
    /// What install laid down.
    remove: Vec<PathBuf>,
    /// The configuration, the logs and the calls.
    purge: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl Plan {
    fn make(arguments: &Arguments, folder: &Path, backups: &[Backup]) -> Result<Self, CommandError> {
        let restore = restore(arguments, folder, backups)?;
        let calls = arguments.restore_calls.then(|| revert_calls::plan(folder)).transpose()?;
        let mut remove: Vec<_> = install::laid_down().iter().map(|name| folder.join(name)).collect();
        let registered = event_source::registered().map(PathBuf::from);
        // Another folder's belongs to what is installed there.
        let is_ours = |library: &PathBuf| remove.iter().any(|ours| is_same_file(library, ours));
        let of_another = registered.as_ref().is_some_and(|library| !is_ours(library));
        let event_source = registered.filter(is_ours);
        let is_foreign = Shim::is_foreign(&folder.join(SHIM))?;
        remove.retain(|path| path.is_file() && !(is_foreign && path.ends_with(SHIM)));
        let (mut purge, mut warnings) = (Vec::new(), Vec::new());
        if arguments.purge {
            let is_here = restore.is_some() || !remove.is_empty() || folder.join(FILE_NAME).exists();
            let state = platform::state_folder().filter(|_| is_here && !of_another);
            purge = to_purge(folder, state, &mut warnings);
        }
        Ok(Self { restore, calls, event_source, remove, purge, warnings })
    }

    fn steps(&self) -> impl Iterator<Item = (Step, &Path, String)> {
        let settings = self.restore.iter().map(|restore| {
            let [name, kept] =
                [&restore.backup, &restore.kept].map(|path| path.file_name().unwrap_or_default().to_string_lossy());
            (Step::Settings, restore.path.as_path(), format!("put {name} back, and keep what is there as {kept}"))
        });
        let calls = self.calls.iter();
        let calls = calls.map(|calls| (Step::Calls, calls.file.as_path(), revert_calls::in_words(calls)));
        let source = self.event_source.iter();
        let source =
            source.map(|library| (Step::EventSource, library.as_path(), "take it from the Event Log".to_owned()));
        let removed = self.remove.iter().map(|path| (Step::Remove, path.as_path(), "remove".to_owned()));
        let purged = self.purge.iter().map(|path| (Step::Purge, path.as_path(), "remove".to_owned()));
        settings.chain(calls).chain(source).chain(removed).chain(purged)
    }
}

/// Which backup is to be put back. None where MIM does not load PhoneGate, and no backup is named.
fn restore(arguments: &Arguments, folder: &Path, backups: &[Backup]) -> Result<Option<Restore>, CommandError> {
    let path = folder.join(settings::FILE_NAME);
    let backup = match &arguments.backup {
        Some(name) => Some(backups.iter().find(|backup| backup.name == *name).ok_or_else(|| {
            CommandError::usage(format!("there is no backup {name} in {}; see revert --list", folder.display()))
        })?),
        None => backups.first(),
    };
    let before = settings::read(&path)?;
    if arguments.backup.is_none() {
        let named = names_shim(&before, folder).map_err(|error| {
            CommandError::usage(format!("{}. To put a backup back over it, name one by --backup", error.message))
        })?;
        if !named {
            return Ok(None);
        }
    }
    let Some(backup) = backup else {
        return Err(CommandError::failed(format!(
            "{} names PhoneGate, and there is no backup of it in {}. Take its entry CustomPhoneProvider away by hand, \
             or put a copy of your own back, and run revert again",
            path.display(),
            folder.display()
        )));
    };
    let after = settings::read(&backup.path)?;
    if names_shim(&after, folder)? {
        return Err(CommandError::usage(format!(
            "{} names PhoneGate itself; choose another one by --backup, see revert --list",
            backup.name
        )));
    }
    if before == after {
        return Ok(None);
    }
    let kept =
        backups::new_path(folder).map_err(|error| CommandError::failed(format!("{}: {error}", folder.display())))?;
    Ok(Some(Restore { path, before, backup: backup.path.clone(), after, kept }))
}

fn names_shim(file: &[u8], folder: &Path) -> Result<bool, CommandError> {
    let provider = settings::provider(file)?;
    Ok(provider.is_some_and(|path| is_same_file(Path::new(&path), &folder.join(SHIM))))
}

/// The configuration, the folder for state, and the logs and the file of calls where they are elsewhere.
fn to_purge(folder: &Path, state: Option<PathBuf>, warnings: &mut Vec<String>) -> Vec<PathBuf> {
    let config = folder.join(FILE_NAME);
    let (logs, calls) = match config::load(&config) {
        Ok(loaded) => {
            let place = |path: Option<PathBuf>| path.map(|path| loaded.base.join(path));
            (place(loaded.config.log.directory), place(loaded.config.store.path))
        }
        Err(error) if config.exists() => {
            warnings.push(format!("{error}\nLogs and calls stay where it may have named a place for them"));
            (None, None)
        }
        Err(_) => (None, None),
    };
    // SQLite has two files beside the one that is named.
    let calls = calls.into_iter().flat_map(|file| {
        let its_own = ["", "-wal", "-shm"].map(|end| {
            let mut path = file.clone().into_os_string();
            path.push(end);
            PathBuf::from(path)
        });
        its_own.into_iter().chain(store::kept_beside(&file))
    });
    let logs = logs.and_then(|logs| fs::read_dir(logs).ok()).into_iter().flatten().flatten();
    let is_log = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        LOGS.iter().any(|log| name.starts_with(log))
    };
    let logs: Vec<_> = logs.filter(is_log).map(|entry| entry.path()).collect();
    let mut all: Vec<_> = [config].into_iter().chain(state).chain(logs).chain(calls).collect();
    all.retain(|path| path.exists());
    all
}

fn carry_out(arguments: &Arguments, plan: &Plan, folder: &Path) -> Result<Exit, CommandError> {
    let lock = Lock::take(folder).map_err(CommandError::failed)?;
    if let Some(calls) = plan.calls.as_ref().filter(|_| !arguments.restart) {
        calls.must_be_unused().map_err(|text| CommandError::failed(format!("{text}. Nothing was changed")))?;
    }
    if let Some(restore) = &plan.restore {
        install::put_back(&restore.path, &restore.before, &restore.after, &restore.kept)?;
        if let Some((step, path, text)) = plan.steps().next() {
            tell(arguments, step, path, &text);
        }
    }
    if arguments.restart {
        let spinner = Spinner::start(arguments.json);
        service::restart(&spinner).map_err(|why| {
            CommandError::failed(format!("{} is as it was, but MIM has not loaded it: {why}", settings::FILE_NAME))
        })?;
    }
    let mut left = Vec::new();
    for (step, path, text) in plan.steps().filter(|(step, ..)| *step != Step::Settings) {
        let removed = match step {
            Step::Calls => plan.calls.as_ref().map_or(Ok(()), |calls| calls.carry_out().map_err(io::Error::other)),
            Step::EventSource => event_source::register(None),
            _ if path.is_dir() => fs::remove_dir_all(path),
            _ => remove(path),
        };
        match removed {
            Ok(()) => {
                tell(arguments, step, path, &text);
                if let Some(calls) = plan.calls.as_ref().filter(|_| step == Step::Calls) {
                    revert_calls::list(calls, arguments.json);
                }
            }
            Err(error) => left.push((path.to_owned(), error.to_string())),
        }
    }
    let failures = left.len();
    let in_use = |path| (path, "in use now; a later revert or install removes it".to_owned());
    left.extend(remove_leftovers(folder).into_iter().map(in_use));
    drop(lock);
    if !arguments.restore_calls && !arguments.purge {
        left.extend(revert_calls::hint(folder));
    }
    for (path, text) in left {
        let path = path.display().to_string();
        match arguments.json {
            true => output::json_line(&json!({ "event": "left", "path": path, "text": text })),
            false => output::print(&format!("left: {path}: {text}")),
        }
    }
    conclude(arguments, plan, arguments.restart, failures);
    Ok(if failures == 0 { Exit::Done } else { Exit::Failed })
}

fn list(backups: &[Backup], folder: &Path, json: bool) {
    for backup in backups {
        let provider = settings::read(&backup.path).and_then(|file| settings::provider(&file));
        let (provider, words) = match provider {
            Ok(Some(provider)) => (json!(provider), format!("names {provider}")),
            Ok(None) => (json!(null), "names no provider".to_owned()),
            Err(error) => (json!(null), error.message),
        };
        match json {
            true => output::json_line(
                &json!({ "event": "backup", "name": backup.name, "provider": provider, "text": words }),
            ),
            false => output::print(&format!("{}  {words}", backup.name)),
        }
    }
    if backups.is_empty() && !json {
        output::print(&format!("There is no backup in {}.", folder.display()));
    }
}

fn tell(arguments: &Arguments, step: Step, path: &Path, text: &str) {
    output::change(arguments.json, step.name(), path, text, !arguments.dry_run);
}

fn tell_diff(arguments: &Arguments, restore: &Restore) {
    // Of a damaged file it is not known what in it is secret.
    let no_diff = |error: CommandError| format!("no diff: {}", error.message);
    let diff = settings::diff(&restore.before, &restore.after).unwrap_or_else(no_diff);
    output::diff(arguments.json, &diff);
}

fn conclude(arguments: &Arguments, plan: &Plan, restarted: bool, failures: usize) {
    let (changed, dry_run) = (plan.steps().count(), arguments.dry_run);
    if arguments.json {
        let record = json!({ "event": "reverted", "changed": changed, "dry_run": dry_run, "restarted": restarted });
        return output::json_line(&record);
    }
    output::print(match (dry_run, changed) {
        (_, 0) => "Nothing is to be reverted: PhoneGate is not installed.",
        (true, _) => "Nothing was changed.",
        (false, _) if restarted => "MIM runs without PhoneGate.",
        (false, _) => "MIM runs without PhoneGate as soon as FIMService is restarted.",
    });
    if failures > 0 {
        output::print("Not everything could be done: run revert again.");
    }
}
