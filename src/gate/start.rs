//! Starts a gate.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use phonegate_approval::policy;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::{Gate, MAX_STATUS_WAITS};
use crate::admission::{Admission, NumberHasher};
use crate::alerts::Alerts;
use crate::alerts::direct::Destinations;
use crate::approval::pins::{CheckError, Pepper, PinChecker};
use crate::backend;
use crate::call::{GateEvent, KeyFingerprint};
use crate::config::{Config, ConfigError, ErrorKind, FraudKey, Level, Loaded, PEPPER, TrustedPaths};
use crate::engine::{Engine, Routes, StorePolicy};
use crate::failpoint;
use crate::platform;
use crate::prompts::Prompts;
use crate::registry::Registry;
use crate::store::{self, CallStore};
use crate::telemetry::{CallCounts, CallObserver, Log, LogEntry, Metrics, PrometheusTextfile, Sinks, SystemLog, Tee};

/// Threads that drive all calls.
const WORKERS: usize = 2;

/// Maximum threads for blocking operations: files and name look-ups.
const BLOCKING_THREADS: usize = 8;

/// Maximum time of examining who can write to the configuration's files. Windows may ask a domain controller for the names
/// of accounts, and the host waits for the start.
const PERMISSIONS_WITHIN: Duration = Duration::from_secs(2);

/// The receivers of a gate's log lines and events.
pub struct LogTo {
    /// The file's name in the log's folder.
    pub file_name: &'static str,
    /// Another receiver of the lines.
    pub tee: Option<Tee>,
    /// Receives the events of calls, whatever the level of the log.
    pub observer: Option<CallObserver>,
    /// The operating system's log. Not used if the configuration disables it.
    pub system: Option<SystemLog>,
}

impl LogTo {
    /// Logs to a file with this name in the log's folder, and to nothing else.
    pub fn file(file_name: &'static str) -> Self {
        Self { file_name, tee: None, observer: None, system: None }
    }

    /// Starts the log of a configuration.
    ///
    /// # Errors
    /// If its folder cannot be used.
    pub fn start(self, config: &crate::config::LogConfig, base: &Path) -> Result<Log, ConfigError> {
        let folder = match &config.directory {
            Some(folder) => base.join(folder),
            None => platform::state_folder().ok_or_else(|| {
                ConfigError::at(
                    ErrorKind::StateFolder,
                    "log.directory",
                    "the user's state folder is not known (is HOME set?); name a folder here",
                )
            })?,
        };
        let unusable = |error: std::io::Error| {
            ConfigError::at(ErrorKind::StateFolder, "log.directory", format_args!("{}: {error}", folder.display()))
        };
        platform::ensure_private_dir(&folder).map_err(unusable)?;
        let max_bytes = config.max_mb.get().saturating_mul(1_000_000);
        let file = Some((folder.as_path(), self.file_name, max_bytes));
        let system = self.system.filter(|_| config.event_log);
        Log::start(config.level, Sinks { file, tee: self.tee, observer: self.observer, system }).map_err(unusable)
    }
}

impl Gate {
    /// Starts a gate. Reads secrets and opens the log and the store. Its only network I/O is one query of a store of
    /// type `redis`, for at most one second.
    ///
    /// # Errors
    /// If the configuration cannot work.
    pub fn start(loaded: Loaded, registry: Arc<Registry>, log_to: LogTo) -> Result<Self, ConfigError> {
        Self::start_with(loaded, registry, log_to, true)
    }

    /// As [`Gate::start`], for a short-lived process while a service runs. It claims no calls, because it would abandon
    /// them again.
    ///
    /// # Errors
    /// As [`Gate::start`].
    pub fn start_beside_service(loaded: Loaded, registry: Arc<Registry>, log_to: LogTo) -> Result<Self, ConfigError> {
        Self::start_with(loaded, registry, log_to, false)
    }

    fn start_with(
        loaded: Loaded,
        registry: Arc<Registry>,
        log_to: LogTo,
        is_service: bool,
    ) -> Result<Self, ConfigError> {
        let trusted = TrustedPaths::of(&loaded);
        let Loaded { config, base, file: _ } = loaded;
        let runtime = start_runtime(&config, &trusted)?;
        let policy = config.approval_policy()?;
        let hasher = NumberHasher::of(&config.privacy, &base)?;
        let number_keys = hasher.fingerprints();
        let admission = Admission::new(&config.numbers)?.hashing_with(hasher);
        // Loaded even if no backend plays prompts: a prompt that cannot be played fails the start, not a call.
        let prompts = Prompts::load(&config.prompts, config.approval.method.into(), &base)?;
        let backends = backend::build_in_use(&config, &prompts, &base)?;
        let destinations = Destinations::build(&config.alerts, &config.network, &base)?;
        let log = log_to.start(&config.log, &base)?;
        failpoint::hit("gate.start");
        registry.keep_finished_for(config.call.keep_finished_s.seconds());
        let (store, pins) = runtime.block_on(open_store(&config, &base, &number_keys, &log))?;
        let metrics = Metrics::new(backends.iter().map(|named| &*named.name))
            .map_err(|error| ConfigError::at(ErrorKind::Invalid, "metrics", error))?;
        let textfile = textfile(&config, &base, &registry, &metrics, &log);
        let handle = runtime.handle().clone();
        let alerts =
            Alerts::start(&handle, destinations, Arc::clone(&store) as _, is_service, log.clone(), metrics.clone());
        let store_and_policy = (store, StorePolicy::of(&config, policy, is_service).checking_pins(pins));
        let sinks = (log.clone(), metrics, alerts.clone());
        let backends_and_routes = (backends.clone(), Routes::of(&config, &backends));
        let engine = Engine::start(handle, backends_and_routes, Arc::clone(&registry), store_and_policy, sinks);
        log_start(&config, &prompts, &log);
        if !config.strict_permissions {
            // Runs on another thread: Windows may ask a domain controller for the names of accounts.
            let log = log.clone();
            runtime.spawn_blocking(move || warn_of_unsafe_paths(&trusted, &log));
        }
        if let Some(textfile) = &textfile {
            runtime.spawn(Arc::clone(textfile).write_loop());
        }
        Ok(Self {
            admission,
            registry,
            engine,
            backends,
            log,
            alerts,
            textfile,
            policy,
            call: config.call,
            messages: config.messages,
            waits: Semaphore::new(MAX_STATUS_WAITS),
            ended: AtomicBool::new(false),
            runtime: Mutex::new(Some(runtime)),
        })
    }
}

/// Starts the threads. With `strict_permissions`, examines the configuration's files first.
fn start_runtime(config: &Config, trusted: &TrustedPaths) -> Result<Runtime, ConfigError> {
    let runtime = runtime()
        .map_err(|error| ConfigError::new(ErrorKind::BackendUnusable, format_args!("cannot start threads: {error}")))?;
    if !config.strict_permissions {
        return Ok(runtime);
    }
    let trusted = trusted.clone();
    examine_within(PERMISSIONS_WITHIN, runtime, move || trusted.must_be_safe())
}

/// Returns the file of metrics, if the configuration names one.
fn textfile(
    config: &Config,
    base: &Path,
    registry: &Arc<Registry>,
    metrics: &Metrics,
    log: &Log,
) -> Option<Arc<PrometheusTextfile>> {
    let file = config.metrics.textfile.as_ref()?;
    let calls = Arc::clone(registry);
    let counts = move || CallCounts { known: calls.len(), pending: calls.pending() };
    Some(Arc::new(PrometheusTextfile::new(base.join(file), metrics.clone(), counts, log.clone())))
}

/// Opens the store, and checks that it fits the keys of this configuration.
async fn open_store(
    config: &Config,
    base: &Path,
    number_keys: &[KeyFingerprint],
    log: &Log,
) -> Result<(Arc<dyn CallStore>, Option<PinChecker>), ConfigError> {
    let store = store::open(config, base)?;
    store::check_number_keys(&*store, &config.store, base, number_keys).await?;
    let pins = pin_checker(config, base, &store, log)?;
    if let Some(pins) = &pins {
        store::check_pepper_at_start(&*store, &config.store, base, pins.fingerprint()).await?;
    }
    Ok((store, pins))
}

/// Logs the start, and warnings about the configuration.
fn log_start(config: &Config, prompts: &Prompts, log: &Log) {
    let backends: Vec<_> = config.in_use().map(|(name, _)| name.as_str()).collect();
    let started = format!(
        "PhoneGate {}, backends: {}; store: {}",
        env!("CARGO_PKG_VERSION"),
        backends.join(", "),
        config.store.type_name()
    );
    log.write(&LogEntry { text: Some(&started), ..LogEntry::new(GateEvent::Started) });
    for problem in config.warnings().into_iter().chain(zero_in_recordings(config, prompts)) {
        log.write(&LogEntry { text: Some(&problem), ..LogEntry::new(GateEvent::Configuration) });
    }
}

/// Returns the checker of PINs if the method asks for PINs.
fn pin_checker(
    config: &Config,
    base: &Path,
    store: &Arc<dyn CallStore>,
    log: &Log,
) -> Result<Option<PinChecker>, ConfigError> {
    if !policy::Method::from(config.approval.method).has_pin() {
        return Ok(None);
    }
    let pepper = Pepper::read(&config.approval.pin, base)?;
    let pepper = pepper.ok_or_else(|| ConfigError::invalid(PEPPER, "is missing"))?;
    let log = log.clone();
    let report = move |error: &CheckError| {
        let text = error.to_string();
        let level = if error.is_defect() { Level::Error } else { Level::Warn };
        log.write(&LogEntry { level, text: Some(&text), ..LogEntry::new(GateEvent::PinNotChecked) });
    };
    let checker = PinChecker::new(Arc::clone(store), pepper, config.approval.pin.limits());
    Ok(Some(checker.reporting_to(report)))
}

/// Runs an examination of permissions on a blocking thread, for at most `limit`. Returns the runtime if it found no
/// problem.
///
/// # Errors
/// What the examination found, or [`ErrorKind::UnsafePermissions`] if it does not end in time. It then goes on in its
/// thread, which nothing waits for, and its result is dropped.
fn examine_within(
    limit: Duration,
    runtime: Runtime,
    examine: impl FnOnce() -> Result<(), ConfigError> + Send + 'static,
) -> Result<Runtime, ConfigError> {
    let examined = runtime.block_on(async { tokio::time::timeout(limit, tokio::task::spawn_blocking(examine)).await });
    let refused = |problem: &dyn std::fmt::Display| {
        ConfigError::at(ErrorKind::UnsafePermissions, "strict_permissions", format_args!("{problem}"))
    };
    match examined {
        Ok(Ok(result)) => result.map(|()| runtime),
        Ok(Err(error)) => Err(refused(&format_args!("the permissions could not be examined: {error}"))),
        Err(_) => {
            // Dropping the runtime would wait for the thread.
            runtime.shutdown_background();
            Err(refused(&format_args!(
                "the accounts that can write to the configuration and its files could not be looked up in {limit:?}. \
                 Is a domain controller within reach? Set this key to false to start without waiting for them"
            )))
        }
    }
}

fn warn_of_unsafe_paths(trusted: &TrustedPaths, log: &Log) {
    for found in trusted.unsafe_paths() {
        let text = format!(
            "{found}. An account that can change it can approve calls: let only administrators and the service's \
             account write to it. With \"strict_permissions\": true, PhoneGate refuses to start instead of warning"
        );
        log.write(&LogEntry { text: Some(&text), ..LogEntry::new(GateEvent::UnsafePermissions) });
    }
}

/// Warns if languages without custom recordings say that zero reports fraud, but another key is configured.
fn zero_in_recordings(config: &Config, prompts: &Prompts) -> Option<String> {
    let zero = prompts.saying_zero().join(", ");
    let is_wrong = config.fraud.key != FraudKey::default() && config.speaks() && config.prompts.directory.is_some();
    (is_wrong && !zero.is_empty()).then(|| {
        let key = config.fraud.key.get();
        format!("fraud.key: without custom recordings of `not_you`, users hear zero and not {key} in {zero}")
    })
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("phonegate")
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_look_up_of_accounts_without_an_end_does_not_hold_the_start() {
        let (answer, no_answer) = mpsc::channel::<()>();
        let look_up = move || {
            let _ = no_answer.recv();
            Ok(())
        };
        let limit = Duration::from_millis(100);
        let error = examine_within(limit, runtime().unwrap(), look_up).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::UnsafePermissions);
        let text = error.to_string();
        assert!(text.contains("strict_permissions: ") && text.contains("could not be looked up in 100ms"), "{text}");
        // The look-up had no answer before the start was refused.
        drop(answer);
    }

    #[test]
    fn a_start_goes_on_after_an_examination_without_findings_alone() {
        let limit = Duration::from_secs(60);
        assert!(examine_within(limit, runtime().unwrap(), || Ok(())).is_ok());
        let found = || Err(ConfigError::at(ErrorKind::UnsafePermissions, "strict_permissions", "found"));
        let error = examine_within(limit, runtime().unwrap(), found).err().unwrap();
        assert!(error.to_string().contains("found"), "{error}");
    }
}
