//! Queries and restarts MIM's service.

use std::fmt;

use crate::Progress;

/// The state of a Windows service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It does not run.
    Stopped,
    /// It was asked to start.
    Starting,
    /// It was asked to stop.
    Stopping,
    /// It runs.
    Running,
    /// It was asked to continue after a pause.
    Continuing,
    /// It was asked to pause.
    Pausing,
    /// It is paused.
    Paused,
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Running => "running",
            Self::Continuing => "continuing",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
        })
    }
}

/// Returns the state of the service.
///
/// # Errors
/// If the state cannot be queried, with the reason.
pub fn state() -> Result<ServiceState, String> {
    control::state()
}

/// Stops the service if it runs, and starts it.
///
/// # Errors
/// If it does not run afterwards, with the reason and what to do.
pub fn restart(progress: &mut impl Progress) -> Result<(), String> {
    control::restart(progress)
}

#[cfg(not(windows))]
mod control {
    use super::{Progress, ServiceState};

    pub(super) fn state() -> Result<ServiceState, String> {
        Err("MIM's service runs only on Windows".to_owned())
    }

    pub(super) fn restart(_progress: &mut impl Progress) -> Result<(), String> {
        state().map(drop)
    }
}

#[cfg(windows)]
mod control {
    use std::time::{Duration, Instant};

    use phonegate::platform::HOST_SERVICE;
    use windows_service::service::{Service, ServiceAccess, ServiceState as WindowsState};
    use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

    use super::{Progress, ServiceState};

    /// Maximum time to reach a state. MIM's service finishes its workflows before it stops, and reads its configuration
    /// from SQL Server when it starts.
    const STATE_LIMIT: Duration = Duration::from_secs(180);
    const POLL_INTERVAL: Duration = Duration::from_millis(250);

    pub(super) fn state() -> Result<ServiceState, String> {
        status(&open(ServiceAccess::QUERY_STATUS)?)
    }

    pub(super) fn restart(progress: &mut impl Progress) -> Result<(), String> {
        let service = open(ServiceAccess::QUERY_STATUS | ServiceAccess::STOP | ServiceAccess::START)?;
        if !matches!(status(&service)?, ServiceState::Stopped | ServiceState::Stopping) {
            service.stop().map_err(|error| format!("{HOST_SERVICE} cannot be stopped: {}", reason(&error)))?;
        }
        let mut start = || {
            wait_for(&service, ServiceState::Stopped, progress)?;
            service
                .start::<&str>(&[])
                .map_err(|error| format!("{HOST_SERVICE} cannot be started: {}", reason(&error)))?;
            wait_for(&service, ServiceState::Running, progress)
        };
        start().map_err(|why| format!("{why}. Once it has stopped, start it: sc start {HOST_SERVICE}"))
    }

    fn open(access: ServiceAccess) -> Result<Service, String> {
        ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)
            .and_then(|manager| manager.open_service(HOST_SERVICE, access))
            .map_err(|error| format!("the service {HOST_SERVICE} cannot be opened: {}", reason(&error)))
    }

    fn status(service: &Service) -> Result<ServiceState, String> {
        let status = service.query_status().map_err(|error| format!("{HOST_SERVICE}: {}", reason(&error)))?;
        Ok(match status.current_state {
            WindowsState::Stopped => ServiceState::Stopped,
            WindowsState::StartPending => ServiceState::Starting,
            WindowsState::StopPending => ServiceState::Stopping,
            WindowsState::Running => ServiceState::Running,
            WindowsState::ContinuePending => ServiceState::Continuing,
            WindowsState::PausePending => ServiceState::Pausing,
            WindowsState::Paused => ServiceState::Paused,
        })
    }

    /// Waits until the service is in the state.
    fn wait_for(service: &Service, wanted: ServiceState, progress: &mut impl Progress) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let state = status(service)?;
            progress.activity(&format!("{HOST_SERVICE}: {state}"));
            if state == wanted {
                progress.event(&format!("{HOST_SERVICE} is {state}"));
                return Ok(());
            }
            if wanted == ServiceState::Running && state == ServiceState::Stopped {
                return Err(format!("{HOST_SERVICE} stopped while it was starting: see the Windows event log"));
            }
            if started.elapsed() > STATE_LIMIT {
                return Err(format!("{HOST_SERVICE} is {state} after {} s, and not {wanted}", STATE_LIMIT.as_secs()));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Returns the text of Windows, which the crate's error has as its source.
    fn reason(error: &windows_service::Error) -> String {
        match std::error::Error::source(error) {
            Some(source) => source.to_string(),
            None => error.to_string(),
        }
    }
}
