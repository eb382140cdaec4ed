//! Examines the folder of MIM's service, and the service.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use phonegate::abi::ABI_VERSION;
use phonegate::platform::{self, Account, HOST_SERVICE};
use serde::Deserialize;

use super::findings::{Findings, Verdict};
use crate::commands::library_version::Library;
use phonegate_deploy::contract::{self, Contract, Found};
use phonegate_deploy::find::ServiceFolder;
use phonegate_deploy::find::runtime::Runtime;
use phonegate_deploy::service::{self, ServiceState};
use phonegate_deploy::shim::{FILE_NAME as SHIM, Shim};
use phonegate_deploy::{is_same_file, permissions, settings};

const INSTALL_AGAIN: &str = "run `phonegate install` again";

/// Maximum time to load the library.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two checks whether the library is loaded.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The answer of `phonegate --json library-version`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Library(Library),
    Error { text: String },
}

/// Examines this program, and the service of the machine.
pub(super) fn machine(findings: &mut Findings) {
    let place = std::env::current_exe().map_or_else(|error| error.to_string(), |path| path.display().to_string());
    let version = env!("CARGO_PKG_VERSION");
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    let text = format!("version {version}, ABI {ABI_VERSION}, {system} {processor}: {place}");
    findings.add("tool", Verdict::Ok, text);
    if !cfg!(windows) {
        return findings.add("service", Verdict::Skipped, "only on Windows");
    }
    match (service::state(), Account::of_service(HOST_SERVICE)) {
        (Err(why), _) => findings.add("service", Verdict::Failed, why),
        (Ok(state), account) => {
            let verdict = if state == ServiceState::Running { Verdict::Ok } else { Verdict::Warning };
            let account = match account {
                Ok(Some(account)) => account.name().to_owned(),
                Ok(None) => "an account that is not registered".to_owned(),
                Err(error) => format!("an account that cannot be read ({error})"),
            };
            findings.add("service", verdict, format!("{HOST_SERVICE} is {state}, and runs as {account}"));
        }
    }
}

/// Finds the folder of MIM's service.
pub(super) fn folder(named: Option<&Path>, findings: &mut Findings) -> Option<PathBuf> {
    if named.is_none() && !cfg!(windows) {
        findings.add("service folder", Verdict::Skipped, "only on Windows, or with --service-dir");
        return None;
    }
    match ServiceFolder::find(named) {
        Ok(folder) => {
            findings.add("service folder", Verdict::Ok, format!("{} ({})", folder.path.display(), folder.found_by));
            Some(folder.path)
        }
        Err(error) => {
            findings.add("service folder", Verdict::Failed, error.to_string());
            None
        }
    }
}

/// Examines what `phonegate install` put into the folder, and what it must fit.
pub(super) fn installation(folder: &Path, mfa_settings: Option<&[u8]>, findings: &mut Findings) {
    let account = Account::of_service(HOST_SERVICE).ok().flatten();
    if let Some(danger) = permissions::check_service_folder(folder, account.as_ref()) {
        findings.add("permissions", Verdict::Warning, danger);
    }
    let runtime = Runtime::of(folder, platform::windows_folder().as_deref());
    match &runtime {
        Ok(runtime) => findings.add("runtime", Verdict::Ok, format!("CLR {} ({})", runtime.version, runtime.known_by)),
        Err(why) => findings.add("runtime", Verdict::Warning, why),
    }
    let runtime = runtime.ok();
    let contract = contract_in(folder, runtime.as_ref(), findings);
    let library = library_in(folder, findings);
    shim_in(folder, runtime.as_ref(), contract.as_ref(), library.as_ref(), findings);
    settings_in(folder, mfa_settings, findings);
}

fn contract_in(folder: &Path, runtime: Option<&Runtime>, findings: &mut Findings) -> Option<Contract> {
    let gac = platform::windows_folder().map(|windows| contract::gac_folders(&windows)).unwrap_or_default();
    let Found { contract, others, rejected } = match contract::find(folder, &gac, runtime) {
        Ok(found) => found,
        Err(error) => {
            findings.add("contract", Verdict::Failed, error.to_string());
            return None;
        }
    };
    match runtime {
        Some(runtime) if !runtime.loads(&contract.runtime) => {
            let why = format!("{contract}: the service's CLR, {}, cannot load it", runtime.version);
            findings.add("contract", Verdict::Failed, why);
        }
        _ => findings.add("contract", Verdict::Ok, contract.to_string()),
    }
    for other in others {
        findings.add("contract", Verdict::Ok, format!("also found, not used: {other}"));
    }
    for file in rejected {
        findings.add("contract", Verdict::Warning, format!("skipped: {} {}", file.path.display(), file.why));
    }
    Some(contract)
}

fn library_in(folder: &Path, findings: &mut Findings) -> Option<Library> {
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let path = folder.join(format!("{prefix}phonegate{suffix}"));
    let place = path.display();
    if !path.is_file() {
        findings.add("library", Verdict::Failed, format!("{place} does not exist: run `phonegate install`"));
        return None;
    }
    match ask_library(&path) {
        Ok(library) => {
            let Library { version, abi } = &library;
            let same = *version == env!("CARGO_PKG_VERSION");
            let verdict = if same { Verdict::Ok } else { Verdict::Warning };
            let remark = if same { "" } else { "; this tool is of another version" };
            findings.add("library", verdict, format!("version {version}, ABI {abi}: {place}{remark}"));
            Some(library)
        }
        Err(why) => {
            findings.add("library", Verdict::Failed, format!("{place} cannot be loaded: {why}; {INSTALL_AGAIN}"));
            None
        }
    }
}

/// Loads the library in another process, because a damaged one could end this one.
fn ask_library(path: &Path) -> Result<Library, String> {
    let tool = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(tool)
        .args(["--json", "library-version"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let started = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if started.elapsed() > LOAD_TIMEOUT {
            // The process may have ended in the meantime.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("it was not loaded within {} s", LOAD_TIMEOUT.as_secs()));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match serde_json::from_slice(&output.stdout) {
        // A library that answers and then ends the process is not sound.
        Ok(Answer::Library(library)) if output.status.success() => Ok(library),
        Ok(Answer::Error { text }) => Err(text),
        Ok(Answer::Library(_)) | Err(_) => Err(format!("loading it ended the process ({})", output.status)),
    }
}

fn shim_in(
    folder: &Path,
    runtime: Option<&Runtime>,
    contract: Option<&Contract>,
    library: Option<&Library>,
    findings: &mut Findings,
) {
    let path = folder.join(SHIM);
    let place = path.display();
    if !path.is_file() {
        return findings.add("shim", Verdict::Failed, format!("{place} does not exist: run `phonegate install`"));
    }
    let shim = match Shim::read(&path) {
        Ok(shim) => shim,
        Err(why) => return findings.add("shim", Verdict::Failed, format!("{place} {why}; {INSTALL_AGAIN}")),
    };
    let Shim { abi, contract: name, contract_version: version, runtime: compiled_for } = &shim;
    let is = format!("ABI {abi}, for {compiled_for} and {name} {version}: {place}");
    let (verdict, but) = match (library, runtime, contract) {
        (Some(library), _, _) if library.abi != *abi => {
            (Verdict::Failed, format!("; the library has ABI {}: {INSTALL_AGAIN}", library.abi))
        }
        (_, Some(runtime), _) if !runtime.loads(compiled_for) => {
            (Verdict::Failed, format!("; the service's CLR, {}, cannot load it: {INSTALL_AGAIN}", runtime.version))
        }
        (_, _, Some(contract)) if contract.name != *name || contract.version != *version => {
            let now = format!("; the contract is now {} {}: {INSTALL_AGAIN}", contract.name, contract.version);
            (Verdict::Warning, now)
        }
        _ => (Verdict::Ok, String::new()),
    };
    findings.add("shim", verdict, is + &but);
}

fn settings_in(folder: &Path, mfa_settings: Option<&[u8]>, findings: &mut Findings) {
    const PART: &str = "MIM's settings";
    let path = folder.join(settings::FILE_NAME);
    let Some(file) = mfa_settings else {
        let why = settings::read(&path)
            .err()
            .map_or_else(|| "the file has changed in the meantime".to_owned(), |error| error.to_string());
        return findings.add(PART, Verdict::Failed, why);
    };
    let shim = folder.join(SHIM);
    let named = match settings::provider(file) {
        Ok(named) => named,
        Err(error) => return findings.add(PART, Verdict::Failed, error.to_string()),
    };
    let (verdict, text) = match named.as_deref() {
        None => (Verdict::Failed, "no CustomPhoneProvider is named: run `phonegate install`".to_owned()),
        Some(named) if is_same_file(Path::new(named), &shim) => (Verdict::Ok, format!("the provider is {named}")),
        Some(named) if named.contains('"') => {
            (Verdict::Failed, format!("the provider is {named}: the quotation marks break it; {INSTALL_AGAIN}"))
        }
        Some(named) if Path::new(named).is_file() => {
            (Verdict::Warning, format!("the provider is {named}, not {}", shim.display()))
        }
        Some(named) => (Verdict::Failed, format!("the provider is {named}, which does not exist; {INSTALL_AGAIN}")),
    };
    findings.add(PART, verdict, text);
    let others = settings::other_entries(file).unwrap_or_default();
    if !others.is_empty() {
        let text = format!("other entries in addition to the provider: {}; {INSTALL_AGAIN}", others.join(", "));
        findings.add(PART, Verdict::Warning, text);
    }
}
