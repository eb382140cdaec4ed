//! The gate of the process. The first call that needs it starts it, a shutdown ends it, and the next call starts
//! another.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use once_cell::sync::Lazy;
use parking_lot::Mutex;

use super::{ResultCode, callback, fork, guard};
use crate::TYPES;
use crate::alerts::AlertKind;
use crate::alerts::direct::{HourlyLimit, Undelivered, report_refusal};
use crate::call::{CallId, CallStatus, Failure, FailureReason, GateEvent};
use crate::clock::Moment;
use crate::config::{self, ConfigError, Level, Messages};
use crate::gate::{Gate, LogTo};
use crate::platform;
use crate::registry::{Registry, Snapshot};
use crate::telemetry::{Log, LogEntry, Sinks, Tee, system_log};

/// Maximum time to deliver the alert about a refused configuration.
const ALERT_LIMIT: Duration = Duration::from_secs(20);

/// Maximum time that a shutdown waits for that delivery.
const ALERT_GRACE: Duration = Duration::from_secs(2);

/// Minimum time between a failed start and the next one.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How long ended calls are kept until a configuration was read.
const KEEP_FINISHED: Duration = Duration::from_secs(600);

/// Maximum number of panics that are kept for the log while no gate runs.
const MAX_UNLOGGED: usize = 8;

/// The log's name in its folder.
const LOG_FILE: &str = "phonegate.log";

/// All calls of the process. They outlive the gate, so that the calls that a shutdown interrupted keep their messages.
pub(super) static REGISTRY: Lazy<Arc<Registry>> = Lazy::new(|| Arc::new(Registry::new(KEEP_FINISHED)));

/// The running gate. Reading it takes no lock.
static RUNNING: ArcSwapOption<Running> = ArcSwapOption::const_empty();

/// The statuses that a poll returns from the registry without the running gate: one bit for each [`CallStatus`]. Zero
/// while no gate runs.
///
/// Loading `RUNNING` costs as much as the rest of a poll, because it keeps the gate alive. The registry lives as long
/// as the process.
static DIRECT_STATUSES: AtomicU8 = AtomicU8::new(0);

/// Locked by the thread that starts or ends the gate. Others wait.
static START: Mutex<Start> = Mutex::new(Start::NEW);

/// Whether hosts get brief messages, as configured for the gate that runs or ran last. Messages outlive the gate.
static IS_BRIEF: AtomicBool = AtomicBool::new(false);

/// Whether approvals are used up, as configured for the gate that runs or ran last.
static IS_SINGLE_USE: AtomicBool = AtomicBool::new(false);

/// The panics that were caught while no gate ran. The next start logs them.
static UNLOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Running {
    gate: Gate,
    /// The file of its configuration.
    path: PathBuf,
}

struct Start {
    /// The path that the host named. It is kept after a failure.
    path: Option<PathBuf>,
    failure: Option<(Instant, StartError)>,
    /// The log of that failure.
    refusals: Option<Log>,
    /// The failures of which an alert was sent within the last hour.
    alerted: HourlyLimit,
    /// Gets a message when the thread of the last alert has ended.
    alerting: Option<Receiver<()>>,
}

/// Why the gate could not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StartError {
    /// The configuration cannot work.
    Config(ConfigError),
    /// PhoneGate panicked. The log says where.
    Defect,
}

impl StartError {
    /// Returns the failure of a call that needs the gate.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Config(error) => {
                Failure::new(FailureReason::NotConfigured, format_args!("PhoneGate cannot start: {error}"))
            }
            Self::Defect => Failure::new(FailureReason::Internal, "A defect in PhoneGate; see its log."),
        }
    }

    fn result(&self) -> (ResultCode, String) {
        match self {
            Self::Config(error) => (ResultCode::Config(error.kind()), error.to_string()),
            Self::Defect => (ResultCode::Internal, self.failure().text().to_owned()),
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Asks the running gate. Starts one if there is none.
pub(super) fn with_gate<T>(ask: impl FnOnce(&Gate) -> T) -> Result<T, StartError> {
    if let Some(running) = &*RUNNING.load() {
        return Ok(ask(&running.gate));
    }
    let running = START.lock().running(Some(RETRY_AFTER))?;
    Ok(ask(&running.gate))
}

/// Returns how much detail messages to hosts have, by the configuration that was read last. Full if none could be read.
pub(super) fn messages() -> Messages {
    if IS_BRIEF.load(Ordering::Relaxed) { Messages::Brief } else { Messages::Full }
}

/// Returns what is known of a call if no gate can be started, but no approval that the store would have to use up.
pub(super) fn snapshot_without_gate(id: CallId) -> Option<Snapshot> {
    let must_use_up = IS_SINGLE_USE.load(Ordering::Relaxed);
    REGISTRY.snapshot(id).filter(|snapshot| !must_use_up || snapshot.status != CallStatus::Success)
}

/// Returns the status of a call if a gate runs and would return the registry's status unchanged.
pub(super) fn status_without_gate(id: CallId) -> Option<CallStatus> {
    let answers = DIRECT_STATUSES.load(Ordering::Acquire);
    if answers == 0 {
        return None;
    }
    REGISTRY.status(id).filter(|status| answers & bit(*status) != 0)
}

fn bit(status: CallStatus) -> u8 {
    1 << status as i32
}

/// Starts the gate from the file at `path`.
pub(super) fn initialize(path: Option<PathBuf>) -> Result<(), (ResultCode, String)> {
    let path = path.map(absolute);
    let mut start = START.lock();
    if let Some(running) = &*RUNNING.load() {
        return match path {
            Some(path) if path != running.path => Err((
                ResultCode::AlreadyInitialized,
                "PhoneGate already runs with another configuration; call PhoneGateShutdown first.".to_owned(),
            )),
            _ => Ok(()),
        };
    }
    if path.is_some() {
        start.path = path;
    }
    start.running(None).map(|_| ()).map_err(|error| error.result())
}

/// Ends the gate, if one is running or starting.
pub(super) fn shut_down(timeout: Duration) -> ResultCode {
    let end = Instant::now() + timeout;
    let Some(mut start) = START.try_lock_until(end) else { return ResultCode::TimedOut };
    DIRECT_STATUSES.store(0, Ordering::Release);
    let running = RUNNING.swap(None);
    let Start { refusals, alerting, alerted, .. } = std::mem::replace(&mut *start, Start::NEW);
    start.alerted = alerted;
    drop(start);
    let left = || end.saturating_duration_since(Instant::now());
    let gate_ended = running.is_none_or(|running| running.gate.shut_down(left()));
    if let Some(ended) = alerting {
        // Best effort: a mail server that does not answer must not delay a shutdown further. The module is pinned, so
        // the thread may go on.
        let _ = ended.recv_timeout(left().min(ALERT_GRACE));
    }
    let all_logged = refusals.is_none_or(|refusals| refusals.close(left()));
    if gate_ended && all_logged { ResultCode::Ok } else { ResultCode::TimedOut }
}

/// Writes a line to the gate's log. Starts a gate if there is none. If it cannot start, the line goes to the log of
/// that failure.
pub(super) fn log(entry: &LogEntry<'_>) {
    if with_gate(|gate| gate.log(entry)).is_err()
        && let Some(refusals) = &START.lock().refusals
    {
        refusals.write(entry);
    }
}

/// Logs that a panic was caught. While no gate runs, the next start logs it: the log of a start is not open yet, and this
/// thread may hold the lock of the start.
pub(super) fn log_panic(text: &str) {
    if let Some(running) = &*RUNNING.load() {
        return running.gate.log(&LogEntry { text: Some(text), ..LogEntry::new(GateEvent::Defect) });
    }
    let mut unlogged = UNLOGGED.lock();
    if unlogged.len() < MAX_UNLOGGED {
        unlogged.push(text.to_owned());
    }
}

impl Start {
    const NEW: Self = Self { path: None, failure: None, refusals: None, alerted: HourlyLimit::new(), alerting: None };

    /// Returns the running gate, or starts one. With `retry_after`, returns the failure of an earlier start until that
    /// time has passed.
    fn running(&mut self, retry_after: Option<Duration>) -> Result<Arc<Running>, StartError> {
        if let Some(running) = RUNNING.load_full() {
            return Ok(running);
        }
        if let (Some(pause), Some((at, error))) = (retry_after, &self.failure)
            && at.elapsed() < pause
        {
            return Err(error.clone());
        }
        platform::pin_module();
        fork::watch();
        let started = guard::catch(|| self.start_gate()).unwrap_or(Err(StartError::Defect));
        let panics = std::mem::take(&mut *UNLOGGED.lock());
        match started {
            Ok(running) => {
                let running = Arc::new(running);
                for text in &panics {
                    running.gate.log(&LogEntry { text: Some(text), ..LogEntry::new(GateEvent::Defect) });
                }
                RUNNING.store(Some(Arc::clone(&running)));
                let all = [CallStatus::Pending, CallStatus::Success, CallStatus::Failed].into_iter();
                let answers = all.filter(|status| running.gate.returns_unchanged(*status)).map(bit).sum();
                DIRECT_STATUSES.store(answers, Ordering::Release);
                (self.failure, self.refusals, self.alerting) = (None, None, None);
                Ok(running)
            }
            Err(error) => {
                // A host that polls would fill the system's log with the same failure.
                let is_news = self.failure.as_ref().is_none_or(|(_, last)| *last != error);
                self.refusals = log_failed_start(&error, &panics, is_news);
                if let StartError::Config(refusal) = &error
                    && is_news
                    && self.alerted.admits(AlertKind::Configuration, &refusal.to_string(), Moment::now())
                {
                    self.alert(refusal);
                }
                self.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn path(&self) -> Result<PathBuf, ConfigError> {
        self.path.clone().map_or_else(config::default_path, Ok).map(absolute)
    }

    /// Sends an alert to the destinations that the refused configuration names.
    fn alert(&mut self, refusal: &ConfigError) {
        let Ok(path) = self.path() else { return };
        let (ended, alerting) = channel();
        let log = self.refusals.clone();
        let done = move |undelivered: Vec<Undelivered>| {
            for Undelivered { destination, error } in undelivered {
                let text = format!("configuration to {destination}: {error}");
                if let Some(log) = &log {
                    log.write(&LogEntry { text: Some(&text), ..LogEntry::new(GateEvent::AlertGivenUp) });
                }
            }
            // This fails if no shutdown waits for the message.
            let _ = ended.send(());
        };
        self.alerting = report_refusal(path, refusal.clone(), ALERT_LIMIT, done).is_ok().then_some(alerting);
    }

    fn start_gate(&self) -> Result<Running, StartError> {
        let path = self.path()?;
        let loaded = config::load(&path, &TYPES)?;
        // Set even if the gate cannot start: the error may name paths and accounts.
        IS_BRIEF.store(loaded.config.messages == Messages::Brief, Ordering::Relaxed);
        IS_SINGLE_USE.store(loaded.config.call.single_use, Ordering::Relaxed);
        let log_to =
            LogTo { tee: Some(Arc::new(callback::deliver)), system: Some(system_log()), ..LogTo::file(LOG_FILE) };
        let gate = Gate::start(loaded, Arc::clone(&REGISTRY), log_to).map_err(|error| error.in_file(&path))?;
        Ok(Running { gate, path })
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Logs why the gate could not start, and the panics before and during the start: in the default folder, because the
/// configuration may not be trusted; to the host's callback; and to the operating system's log, unless it was the same
/// failure before.
fn log_failed_start(error: &StartError, panics: &[String], is_news: bool) -> Option<Log> {
    let tee: Tee = Arc::new(callback::deliver);
    let system = || is_news.then(system_log);
    let log_to = LogTo { tee: Some(Arc::clone(&tee)), system: system(), ..LogTo::file(LOG_FILE) };
    let log = log_to
        .start(&config::LogConfig::default(), std::path::Path::new(""))
        .or_else(|_| Log::start(Level::Info, Sinks { tee: Some(tee), system: system(), ..Sinks::default() }))
        .ok()?;
    let failure = error.failure();
    for text in panics {
        let failure = (*error == StartError::Defect).then_some(&failure);
        log.write(&LogEntry { failure, text: Some(text), ..LogEntry::new(GateEvent::Defect) });
    }
    if let StartError::Config(error) = error {
        let text = error.to_string();
        log.write(&LogEntry { text: Some(&text), ..LogEntry::new(GateEvent::NotConfigured) });
    }
    Some(log)
}
