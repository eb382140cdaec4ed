//! MIM's service: where its folder is, what it runs as, and how to restart it.

use std::path::{Path, PathBuf};

use phonegate::platform::HOST_SERVICE;

use crate::error::CommandError;
use crate::output::Spinner;

/// The service's program, in its folder.
pub(crate) const PROGRAM: &str = "Microsoft.ResourceManagement.Service.exe";

/// Where MIM's documentation says that the service lies, below the folder for programs.
const USUAL_FOLDER: &str = r"Microsoft Forefront Identity Manager\2010\Service";

/// The folder of MIM's service, and how it was found.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) found_by: &'static str,
}

/// Finds the folder of MIM's service: the one that is named, else that of the registered service, else the usual one.
///
/// # Errors
/// Where there is no such folder.
pub(crate) fn folder(named: Option<&Path>) -> Result<Folder, CommandError> {
    let of_image = || image_path().and_then(|image| program(&image).parent().map(Path::to_owned));
    let usual = || std::env::var_os("ProgramFiles").map(|programs| Path::new(&programs).join(USUAL_FOLDER));
    let found = match named {
        Some(named) => Some((std::path::absolute(named).unwrap_or_else(|_| named.to_owned()), "--service-dir")),
        None => of_image()
            .map(|path| (path, "where the registered service FIMService lies"))
            .or_else(|| usual().map(|path| (path, "the usual folder"))),
    };
    match found {
        Some((path, found_by)) if path.is_dir() => Ok(Folder { path, found_by }),
        Some((path, found_by)) => Err(CommandError::usage(format!(
            "there is no folder {} ({found_by}); name the folder of MIM's service by --service-dir",
            path.display()
        ))),
        None => Err(CommandError::usage(format!(
            "the service {HOST_SERVICE} is not registered on this machine; name its folder by --service-dir"
        ))),
    }
}

/// The program in the registry's words, which may be in quotation marks and have arguments behind it.
fn program(image: &str) -> PathBuf {
    let image = image.trim();
    let path = match image.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        // Without quotation marks it may have blanks in it.
        None => match image.to_ascii_lowercase().find(".exe") {
            Some(at) => image.get(..at + ".exe".len()).unwrap_or(image),
            None => image,
        },
    };
    PathBuf::from(expanded(path))
}

/// With the variables of the environment, `%ProgramFiles%`, in place. One that is not set stays as it is.
fn expanded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    while let Some(name) = parts.next() {
        match (std::env::var(name), parts.next()) {
            (Ok(value), Some(rest)) => expanded.extend([value.as_str(), rest]),
            (Err(_), Some(rest)) => expanded.extend(["%", name, "%", rest]),
            (_, None) => expanded.extend(["%", name]),
        }
    }
    expanded
}

#[cfg(windows)]
fn image_path() -> Option<String> {
    let key = windows_registry::LOCAL_MACHINE.open(format!(r"SYSTEM\CurrentControlSet\Services\{HOST_SERVICE}"));
    key.and_then(|key| key.get_string("ImagePath")).ok()
}

#[cfg(not(windows))]
fn image_path() -> Option<String> {
    None
}

#[cfg(not(windows))]
mod control {
    use super::Spinner;

    /// What the service does, in a word.
    pub(crate) fn state() -> Result<&'static str, String> {
        Err("only Windows has services like MIM's".to_owned())
    }

    /// Stops the service and starts it again.
    pub(crate) fn restart(_live: &Spinner) -> Result<(), String> {
        state().map(drop)
    }
}

#[cfg(windows)]
mod control {
    use std::time::{Duration, Instant};

    use phonegate::platform::HOST_SERVICE;
    use windows_service::service::{Service, ServiceAccess, ServiceState};
    use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

    use super::Spinner;

    /// MIM's service ends its workflows first, and reads its configuration from SQL Server at its start.
    const LIMIT: Duration = Duration::from_secs(180);
    const LOOK_EVERY: Duration = Duration::from_millis(250);

    /// What the service does, in a word.
    pub(crate) fn state() -> Result<&'static str, String> {
        Ok(word(status(&open(ServiceAccess::QUERY_STATUS)?)?))
    }

    /// Stops the service, if it runs, and starts it.
    pub(crate) fn restart(spinner: &Spinner) -> Result<(), String> {
        let service = open(ServiceAccess::QUERY_STATUS | ServiceAccess::STOP | ServiceAccess::START)?;
        if !matches!(status(&service)?, ServiceState::Stopped | ServiceState::StopPending) {
            service.stop().map_err(|error| format!("{HOST_SERVICE} cannot be stopped: {}", why(&error)))?;
        }
        let start = || {
            reach(&service, ServiceState::Stopped, spinner)?;
            service.start::<&str>(&[]).map_err(|error| format!("{HOST_SERVICE} cannot be started: {}", why(&error)))?;
            reach(&service, ServiceState::Running, spinner)
        };
        start().map_err(|why| format!("{why}. See that it runs again, once it has stopped: sc start {HOST_SERVICE}"))
    }

    fn open(access: ServiceAccess) -> Result<Service, String> {
        ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)
            .and_then(|manager| manager.open_service(HOST_SERVICE, access))
            .map_err(|error| format!("the service {HOST_SERVICE} cannot be opened: {}", why(&error)))
    }

    fn status(service: &Service) -> Result<ServiceState, String> {
        let status = service.query_status();
        status.map(|status| status.current_state).map_err(|error| format!("{HOST_SERVICE}: {}", why(&error)))
    }

    /// Waits until the service is in that state.
    fn scope(service: &Service, wanted: ServiceState, spinner: &Spinner) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let state = status(service)?;
            spinner.set_message(format!("{HOST_SERVICE}: {}", word(state)));
            if state == wanted {
                spinner.print(&format!("{HOST_SERVICE} is {}", word(state)));
                return Ok(());
            }
            if wanted == ServiceState::Running && state == ServiceState::Stopped {
                return Err(format!("{HOST_SERVICE} stopped while it was starting: see the Windows event log"));
            }
            if started.elapsed() > LIMIT {
                let (is, wanted) = (word(state), word(wanted));
                return Err(format!("{HOST_SERVICE} is {is} after {} s, and not {wanted}", LIMIT.as_secs()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn word(state: ServiceState) -> &'static str {
        match state {
            ServiceState::Stopped => "stopped",
            ServiceState::StartPending => "starting",
            ServiceState::StopPending => "stopping",
            ServiceState::Running => "running",
            ServiceState::ContinuePending => "continuing",
            ServiceState::PausePending => "pausing",
            ServiceState::Paused => "paused",
        }
    }

    /// What Windows says, which the crate's error keeps as its source.
    fn why(error: &windows_service::Error) -> String {
        match std::error::Error::source(error) {
            Some(source) => source.to_string(),
            None => error.to_string(),
        }
    }
}

pub(crate) use control::{restart, state};
