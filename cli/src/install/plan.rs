//! What there is to do: everything is looked at, compiled and tried out here, before the first change.

use std::path::{Path, PathBuf};

use phonegate::config::{self, BackendConfig, Config, FILE_NAME, Loaded, PATH_VARIABLE, TrustedPaths, UnsafePath};
use phonegate::gate::Gate;
use phonegate::platform::{self, Account, Grant, HOST_SERVICE};

use super::bundle::Bundle;
use super::chosen::Chosen;
use super::steps::{Change, FileKind, StateFolder};
use super::{Arguments, backups, bundle, calls, event_source, firewall, shim};
use crate::context::{Context, END_WITHIN};
use crate::error::CommandError;
use crate::mim::country::DefaultCountry;
use crate::mim::runtime::Runtime;
use crate::mim::shim::Shim;
use crate::mim::{contract, service, settings};
use crate::output::Spinner;
use crate::permissions::{self, StateFault};

const STARTER: &str = include_str!("starter.json");
const SCHEMA: &str = "phonegate.schema.json";

/// What was found, and what is to be done about it.
pub(super) struct Plan {
    pub(super) folder: PathBuf,
    pub(super) account: Option<Account>,
    /// What and where, for whoever reads.
    pub(super) found: Vec<(&'static str, String)>,
    pub(super) warnings: Vec<String>,
    pub(super) changes: Vec<Change>,
    /// How MfaSettings.xml changes, without its secrets.
    pub(super) diff: Option<String>,
    /// The configuration has to be written first: the changes lay a starter, and nothing else.
    pub(super) starts: bool,
}

/// Looks at everything.
pub(super) fn prepare(arguments: &Arguments, config: Option<&Path>, spinner: &Spinner) -> Result<Plan, CommandError> {
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    let service::Folder { path: folder, found_by } = service::folder(arguments.service_dir.as_deref())?;
    found.push(("service folder", format!("{} ({found_by})", folder.display())));
    let account = Account::of_service(HOST_SERVICE)
        .map_err(|error| CommandError::failed(format!("the account of {HOST_SERVICE}: {error}")))?;
    match &account {
        Some(account) => {
            let state = service::state().map_or_else(|why| why, str::to_owned);
            found.push(("service", format!("{HOST_SERVICE} as {}, {state}", account.name())));
        }
        None => warnings.push(format!(
            "the service {HOST_SERVICE} is not registered on this machine, so its account is not known: only \
             administrators will be able to read the configuration. Run install again once it is registered"
        )),
    }
    if !arguments.trust_folder {
        bundle::must_be_safe(&folder, "replace what MIM loads, and what administrators run there")?;
    }
    warnings.extend(permissions::could_replace(&folder, account.as_ref()));

    let settings_path = folder.join(settings::FILE_NAME);
    let before = settings::read(&settings_path)?;
    let shim_path = folder.join(shim::FILE_NAME);
    let shim_text = shim_path.to_str().ok_or_else(|| {
        CommandError::usage(format!("{} cannot be written into {}", shim_path.display(), settings::FILE_NAME))
    })?;
    let after = settings::with_provider(&before, shim_text)?;
    if Shim::is_foreign(&shim_path)? {
        return Err(CommandError::usage(format!(
            "{} is there already, and is not PhoneGate's. Rename it, and change {} where that names it, then run install \
             again",
            shim_path.display(),
            settings::FILE_NAME
        )));
    }

    let work = WorkFolder::new()?;
    let bundle = Bundle::open(&work.path, arguments.trust_folder)?;
    spinner.set_message("looking for the contract assembly");
    let windows = platform::windows_folder();
    let runtime = match Runtime::of(&folder, windows.as_deref()) {
        Ok(runtime) => Some(runtime),
        Err(why) => {
            warnings.push(format!("which .NET runtime MIM's service uses is not known: {why}"));
            None
        }
    };
    let gac = windows.as_deref().map(contract::gac_folders).unwrap_or_default();
    let contract::Found { contract, others, passed_over } = contract::find(&folder, &gac, runtime.as_ref())?;
    found.push(("contract", contract.to_string()));
    found.extend(others.iter().map(|other| ("not taken", other.to_string())));
    warnings.extend(passed_over.iter().map(|over| format!("{} {}", over.path.display(), over.why)));
    must_load(runtime.as_ref(), &contract.runtime, "the contract")?;
    let contract_bytes = read(&contract.path)?;
    let mark = shim::Mark::of(&contract_bytes);
    let is_current = std::fs::read(&shim_path).is_ok_and(|shim| mark.is_in(&shim))
        && Shim::read(&shim_path).is_ok_and(|shim| runtime.as_ref().is_none_or(|runtime| runtime.loads(&shim.runtime)));
    let new_shim = if is_current {
        None
    } else {
        let compiler = shim::compiler(arguments.csc.as_deref(), windows.as_deref(), &contract)?;
        spinner.set_message("compiling the shim");
        let (compiled, compiled_for) = shim::compile(&compiler, &contract, &contract_bytes, &mark, &work.path)?;
        must_load(runtime.as_ref(), &compiled_for, &format!("what {} compiles", compiler.display()))?;
        found.push(("compiler", compiler.display().to_string()));
        Some(compiled)
    };

    let mut changes = Vec::new();
    let config_path = folder.join(FILE_NAME);
    let chosen = Chosen::find(config, &config_path)?;
    let country = settings::default_country(&before)?;
    if let Chosen::Starter = chosen {
        warnings.extend(not_named());
        if let Some(country) = &country {
            found.push(("default country", country.advice(None)));
        }
        let starter = starter(country.as_ref().and_then(DefaultCountry::main));
        found.push(("configuration", format!("{} (not there yet)", config_path.display())));
        changes.extend(file("schema", folder.join(SCHEMA), config::schema().into_bytes(), FileKind::Other));
        changes.extend(file("configuration", config_path, starter.into_bytes(), FileKind::Private));
        return Ok(Plan { folder, account, found, warnings, changes, diff: None, starts: true });
    }
    if let Some(elsewhere) = std::env::var_os(PATH_VARIABLE).filter(|path| !path.is_empty()) {
        warnings.push(format!(
            "{PATH_VARIABLE} is set to {}: if it is set for MIM's service too, that is what PhoneGate reads, and not {}",
            Path::new(&elsewhere).display(),
            config_path.display()
        ));
    }
    let (loaded, contents) = chosen.load(&config_path)?;
    if !arguments.allow_test_backends {
        refuse_test_backends(&loaded.config)?;
    }
    warnings.extend(loaded.config.warnings());
    found.push(("configuration", chosen.in_words(&config_path)));
    if let Some(country) = &country {
        let configured = loaded.config.numbers.default_country.as_deref();
        match country.agrees_with(configured) {
            true => found.push(("default country", country.advice(configured))),
            false => warnings.push(country.advice(configured)),
        }
    }
    found.extend(firewall::rules(&loaded.config, &folder).into_iter().map(|rule| ("firewall", rule)));
    let secrets = permissions::private_files(&config_path, &loaded);
    let inside = |path: &Path| matches!((path.canonicalize(), folder.canonicalize()), (Ok(path), Ok(folder)) if path.starts_with(&folder));
    let corrected = |path: &PathBuf| secrets.contains(path) && inside(path);
    // The folder and the secrets have warnings of their own.
    let others = |found: &UnsafePath| found.path != folder && !secrets.contains(&found.path);
    warnings.extend(changeable(&loaded, corrected)?.into_iter().filter(others).map(|found| found.to_string()));
    let state = state_folder(&loaded, account.as_ref())?;
    let calls = calls::back_up(&loaded, &config_path, state.as_ref())?;
    changes.extend(state.into_iter().chain(calls));
    let gate = start(loaded, &config_path, &work.path)?;
    if arguments.skip_check {
        warnings.push("no backend was asked whether it could place calls (--skip-check)".to_owned());
    } else {
        spinner.set_message("asking the backends");
        found.extend(ask_backends(&gate)?);
    }
    gate.shut_down(END_WITHIN);

    changes.extend(contents.and_then(|contents| file("configuration", config_path, contents, FileKind::Private)));
    for wide in permissions::too_wide(&secrets, account.as_ref()) {
        // What lies elsewhere may be meant for other programs, too.
        match inside(&wide.path) {
            true => changes.push(Change::Protect { path: wide.path, why: wide.why }),
            false => warnings.push(wide.to_string()),
        }
    }
    changes.extend(file("schema", folder.join(SCHEMA), config::schema().into_bytes(), FileKind::Other));
    changes.extend(file("tool", folder.join(tool_name()), bundle.tool, FileKind::Program));
    let library = folder.join(library_name());
    let event_source = event_source::is_missing(&library).then(|| Change::EventSource { library: library.clone() });
    changes.extend(file("library", library, bundle.library, FileKind::Other));
    changes.extend(new_shim.and_then(|contents| file("shim", shim_path, contents, FileKind::Other)));
    changes.extend(event_source);
    let mut diff = None;
    if after != before {
        let cleared = settings::others(&before)?;
        if !cleared.is_empty() {
            found.push(("to be cleared", format!("{} of {}", cleared.join(", "), settings_path.display())));
        }
        diff = Some(settings::diff(&before, &after)?);
        let path = backups::new_path(&folder)
            .map_err(|error| CommandError::failed(format!("{}: {error}", folder.display())))?;
        changes.push(Change::Backup { path, contents: before.clone(), of: settings_path.clone() });
        changes.push(Change::Settings { path: settings_path, before, contents: after });
    }
    Ok(Plan { folder, account, found, warnings, changes, diff, starts: false })
}

/// The names of what install lays down, the configuration aside.
pub(crate) fn laid_down() -> [String; 4] {
    [shim::FILE_NAME.to_owned(), library_name(), tool_name(), SCHEMA.to_owned()]
}

fn tool_name() -> String {
    format!("phonegate{}", std::env::consts::EXE_SUFFIX)
}

pub(super) fn library_name() -> String {
    format!("{}phonegate{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).map_err(|error| CommandError::failed(format!("{} cannot be read: {error}", path.display())))
}

/// A change where the file has other contents.
fn file(step: &'static str, path: PathBuf, contents: Vec<u8>, kind: FileKind) -> Option<Change> {
    let there = std::fs::read(&path);
    let replaces = path.exists();
    let same = there.is_ok_and(|there| there == contents);
    (!same).then_some(Change::File { step, path, contents, file: kind, replaces })
}

/// A folder for the time of this command, that nobody else can write to.
struct WorkFolder {
    path: PathBuf,
    _outer: tempfile::TempDir,
}

impl WorkFolder {
    fn new() -> Result<Self, CommandError> {
        let cannot = |error| CommandError::failed(format!("a folder for temporary files cannot be made: {error}"));
        let outer = tempfile::tempdir().map_err(cannot)?;
        // Where Windows has the temporary files of services, every user can write into the outer one.
        let path = outer.path().join("work");
        // Where this user is no administrator, that fails: there may be a --dry-run all the same.
        platform::create_private_folder(&path, Grant::Administrators)
            .or_else(|_| platform::ensure_private_dir(&path))
            .map_err(cannot)?;
        Ok(Self { path, _outer: outer })
    }
}

/// The first configuration, for the country of MIM's own settings.
fn starter(country: Option<&str>) -> String {
    const COUNTRY: &str = "\"default_country\": \"US\"";
    match country {
        Some(country) => STARTER.replace(COUNTRY, &format!("\"default_country\": \"{country}\"")),
        None => STARTER.to_owned(),
    }
}

/// Returns a warning if there is a configuration beside this program, which is not used.
fn not_named() -> Option<String> {
    let beside = std::env::current_exe().ok()?.with_file_name(FILE_NAME);
    beside.exists().then(|| {
        let beside = beside.display();
        format!("{beside} is not used. To install it: phonegate install --config \"{beside}\"")
    })
}

/// Returns the paths of the configuration that other accounts can still change after install has set its permissions.
///
/// # Errors
/// If the service would refuse to start because of that.
fn changeable(loaded: &Loaded, corrected: impl Fn(&PathBuf) -> bool) -> Result<Vec<UnsafePath>, CommandError> {
    let found = TrustedPaths::of(loaded).unsafe_paths();
    let found: Vec<_> = found.into_iter().filter(|found| !corrected(&found.path)).collect();
    if !loaded.config.strict_permissions || found.is_empty() {
        return Ok(found);
    }
    let list: Vec<_> = found.iter().map(ToString::to_string).collect();
    Err(not_usable(format!(
        "strict_permissions: {}. PhoneGate would not start. Let only administrators write there",
        list.join("; ")
    )))
}

pub(super) fn not_usable(error: String) -> CommandError {
    CommandError::usage(format!("{error}\nNothing was changed. Mend the configuration and run install again"))
}

fn must_load(runtime: Option<&Runtime>, compiled_for: &str, what: &str) -> Result<(), CommandError> {
    match runtime.filter(|runtime| !runtime.loads(compiled_for)) {
        None => Ok(()),
        Some(Runtime { version, known_by }) => Err(CommandError::failed(format!(
            "MIM's service runs on CLR {version} ({known_by}), which cannot load {what}: that is for {compiled_for}. Turn \
             the Windows feature .NET Framework 3.5 on, or name its csc.exe by --csc"
        ))),
    }
}

fn refuse_test_backends(config: &Config) -> Result<(), CommandError> {
    let for_tests = |name: &&String| config.backends.get(*name).is_some_and(BackendConfig::is_for_tests);
    match config.use_order.iter().find(for_tests) {
        None => Ok(()),
        Some(name) => Err(not_usable(format!(
            "use: `{name}` approves without a telephone. On a laboratory's server, add --allow-test-backends"
        ))),
    }
}

/// Does the folder for logs and state have to be made or mended?
fn state_folder(loaded: &Loaded, account: Option<&Account>) -> Result<Option<Change>, CommandError> {
    let is_named = loaded.config.log.directory.is_some();
    let Some(path) = permissions::state_folder(loaded) else {
        return Err(CommandError::failed(
            "the folder for logs and state is not known (is ProgramData set?)".to_owned(),
        ));
    };
    if std::fs::symlink_metadata(&path).is_err() {
        return Ok(Some(Change::StateFolder { path, state: StateFolder::Missing }));
    }
    let fault = permissions::state_fault(&path, account)
        .map_err(|error| CommandError::failed(format!("the permissions of {}: {error}", path.display())))?;
    let state = match fault {
        // Whose folder it is, and what else is in it, is known to the administrator alone.
        Some(StateFault::Unsafe(why)) if is_named => {
            return Err(not_usable(format!(
                "log.directory: {}: {why}. PhoneGate keeps no state where others can write",
                path.display()
            )));
        }
        Some(StateFault::Lacking(why)) if is_named => {
            return Err(not_usable(format!("log.directory: {}: {why}. Let it modify what is there", path.display())));
        }
        Some(StateFault::Unsafe(why)) => StateFolder::Unsafe(why),
        Some(StateFault::Lacking(why)) => StateFolder::Wide(why),
        Some(StateFault::Wide(why)) if !is_named => StateFolder::Wide(why),
        Some(StateFault::Wide(_)) | None => return Ok(None),
    };
    Ok(Some(Change::StateFolder { path, state }))
}

/// Starts what the service would start, so that all of the configuration and its secrets are read.
fn start(mut loaded: Loaded, file: &Path, work: &Path) -> Result<Gate, CommandError> {
    // Not the service's own folder, which need not be there yet.
    loaded.config.log.directory = Some(work.join("log"));
    // Checked before, with the permissions as they will be after the installation.
    loaded.config.strict_permissions = false;
    Context { file: file.to_owned(), loaded }.start(None).map_err(|error| {
        not_usable(format!("{error}\n(Relative paths in it belong to {})", file.parent().unwrap_or(file).display()))
    })
}

/// What each backend answers. An error where one could place no calls.
fn ask_backends(gate: &Gate) -> Result<Vec<(&'static str, String)>, CommandError> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (name, answer) in gate.check() {
        match answer {
            Ok(words) => found.push(("backend", format!("{name}: {words}"))),
            Err(failure) => problems.push(format!("backend `{name}`: {failure}")),
        }
    }
    match problems.is_empty() {
        true => Ok(found),
        false => Err(CommandError::failed(format!(
            "{}\nNothing was changed. Mend that and run install again, or add --skip-check",
            problems.join("\n")
        ))),
    }
}
