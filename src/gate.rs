//! The gate: initiate, status and failure message, over safe types.

mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::Policy;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::alerts::Alerts;
use crate::backend::{NamedBackend, TelephonyBackend};
use crate::call::{Call, CallEvent, CallId, CallStatus, Failure, FailureReason, GateEvent, PhoneNumber};
use crate::clock::{Deadline, Moment};
use crate::config::{Level, Messages};
use crate::engine::{Engine, Lookup};
use crate::failpoint;
use crate::redact::sanitize_untrusted;
use crate::registry::{Begun, Registry, Snapshot};
use crate::telemetry::{Log, LogEntry, PrometheusTextfile};
pub use start::LogTo;

/// Maximum callers of [`Gate::status`] that wait concurrently. Further callers do not wait, so that polling cannot
/// block all threads of a host.
const MAX_STATUS_WAITS: usize = 64;

/// Maximum names of delivery attributes in a log line.
const LOGGED_ATTRIBUTES: usize = 16;

/// A running gate: a configuration, its backends, and threads of its own.
pub struct Gate {
    admission: Admission,
    registry: Arc<Registry>,
    engine: Engine,
    backends: Vec<NamedBackend>,
    log: Log,
    alerts: Alerts,
    textfile: Option<Arc<PrometheusTextfile>>,
    policy: Policy,
    call: crate::config::CallConfig,
    messages: Messages,
    /// One for each caller of [`Gate::status`] that may wait.
    waits: Semaphore,
    ended: AtomicBool,
    runtime: Mutex<Option<Runtime>>,
}

/// A request of a host.
pub struct CallRequest<'a> {
    /// The host's id.
    pub id: CallId,
    /// The number as the user stored it.
    pub number: &'a str,
    /// The names of the delivery attributes.
    pub attributes: Vec<String>,
    /// The language that they ask for: a tag like `de-DE`.
    pub language: Option<String>,
}

/// A number as admission read it.
struct Admitted {
    /// The number, for the log and the audit. Also set if it may not be called.
    number: Option<PhoneNumber>,
    attempts: Option<Attempts>,
    /// The number to call, or why it may not be called.
    result: Result<PhoneNumber, Failure>,
}

/// The step that a shutdown did not finish in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownIncomplete {
    /// Calls may not have been hung up.
    HangingUp,
    /// The store may lack the last changes of calls.
    Recording,
    /// The store or the log was not closed.
    Closing,
}

impl Gate {
    /// Places a call, or refuses it. Does no I/O. Returns `None` if the gate is shut down.
    ///
    /// If the call is pending, waits for its end for up to `call.initiate_wait_ms`.
    pub fn initiate(&self, request: CallRequest<'_>) -> Option<CallStatus> {
        if self.ended.load(Ordering::Acquire) {
            return None;
        }
        let deadline = Deadline::after(Moment::now(), self.call.deadline_s.seconds());
        let Admitted { number, attempts, result } = self.admit(request.number);
        let language = request.language.map(Into::into);
        let masked = number.as_ref().map(ToString::to_string);
        let entry =
            |event: CallEvent| LogEntry { id: Some(request.id), number: masked.as_deref(), ..LogEntry::new(event) };
        let attempt = match self.registry.begin(request.id, result, deadline) {
            Begun::New(attempt) => {
                // Before anything else: from here on, the attempt cannot stay pending, whatever fails.
                let tracked = number.zip(attempts).map(|(number, attempts)| {
                    let attempts = Arc::new(attempts);
                    let caller_id = self.engine.caller_id_for(&number);
                    let call = Call { attempt, number, deadline, language, caller_id, attempts };
                    (self.engine.track(&call), call)
                });
                let attributes: Vec<_> =
                    request.attributes.iter().take(LOGGED_ATTRIBUTES).map(|name| sanitize_untrusted(name)).collect();
                failpoint::hit("gate.initiate");
                let started = entry(CallEvent::Requested);
                self.log.write(&LogEntry { attempt: Some(attempt), attributes: &attributes, ..started });
                if let Some((guard, call)) = tracked {
                    self.engine.drive(guard, call);
                }
                attempt
            }
            Begun::StillPending(attempt) => {
                self.log.write(&entry(CallEvent::RequestRepeated));
                attempt
            }
            Begun::Refused(failure, attempt) => {
                self.log_refused(entry(CallEvent::Refused), &failure);
                self.engine.record_refusal(attempt, number.as_ref(), failure);
                return Some(CallStatus::Failed);
            }
            Begun::RefusedRepeat(failure, attempt) => {
                self.log_refused(entry(CallEvent::RepeatRefused), &failure);
                self.engine.record_refused_repeat(attempt, &failure);
                return Some(CallStatus::Failed);
            }
        };
        // Waits for this attempt, not for the id, which may have a later attempt with another outcome.
        let until = Instant::now() + self.call.initiate_wait_ms.milliseconds();
        match self.registry.wait_for(attempt, until).unwrap_or(CallStatus::Failed) {
            // Only GetCallStatus returns Success, and uses it up.
            CallStatus::Success if self.call.single_use => Some(CallStatus::Pending),
            status => Some(status),
        }
    }

    /// Reads a number, decides whether it may be called, and makes the codes of the call.
    fn admit(&self, text: &str) -> Admitted {
        let reading = self.admission.examine(text);
        let number = reading.as_ref().ok().map(|reading| reading.number.clone());
        let attempts = Attempts::new(self.policy, |bytes| SystemRandom::new().fill(bytes));
        let result = reading.and_then(|reading| match (reading.refusal, &attempts) {
            (Some(refusal), _) => Err(refusal),
            (None, Err(error)) => {
                Err(Failure::new(FailureReason::Internal, format_args!("No code can be made: {error}.")))
            }
            (None, Ok(_)) => Ok(reading.number),
        });
        Admitted { number, attempts: attempts.ok(), result }
    }

    fn log_refused(&self, entry: LogEntry<'_>, failure: &Failure) {
        let collides = failure.reason() == FailureReason::AlreadyInProgress;
        let level = if collides { Level::Warn } else { entry.level };
        self.log.write(&LogEntry { level, status: Some(CallStatus::Failed), failure: Some(failure), ..entry });
    }

    /// Returns the status of a call. If it is pending, waits up to `call.status_wait_ms` for its end, or until the gate
    /// shuts down. At most 64 callers wait at a time; further callers do not wait.
    pub fn status(&self, id: CallId) -> CallStatus {
        let at_most = self.call.status_wait_ms.milliseconds();
        let permit = if at_most.is_zero() { None } else { self.waits.try_acquire().ok() };
        self.report(
            id,
            match permit {
                None => self.registry.status(id),
                Some(_permit) => self.registry.wait(id, Instant::now() + at_most, &self.ended),
            },
        )
    }

    /// As [`Gate::status`], but does not wait.
    pub fn status_at_once(&self, id: CallId) -> CallStatus {
        self.report(id, self.registry.status(id))
    }

    /// Returns the status to report for a call, given its status in the registry, if any. May confirm the status in the
    /// store, look the call up there, or use up its approval.
    fn report(&self, id: CallId, status: Option<CallStatus>) -> CallStatus {
        let confirmed = match status {
            // Using up an approval also confirms it.
            Some(CallStatus::Success) if self.call.single_use => CallStatus::Success,
            status => self.confirmed(id, status),
        };
        match confirmed {
            CallStatus::Success if self.call.single_use => self.engine.use_approval(id),
            confirmed => confirmed,
        }
    }

    fn confirmed(&self, id: CallId, status: Option<CallStatus>) -> CallStatus {
        match status {
            Some(CallStatus::Pending) => CallStatus::Pending,
            Some(status) if self.engine.is_shared() => self.engine.confirm(id, status),
            Some(status) => status,
            None => match self.engine.look_up(id) {
                Lookup::InProgress => CallStatus::Pending,
                Lookup::NotFound(failure) => {
                    self.log.write(&LogEntry::refused(CallEvent::Unknown, Some(id), &failure));
                    CallStatus::Failed
                }
            },
        }
    }

    /// Returns whether [`Gate::status`] returns this status from the registry as it is, without waiting and without
    /// asking the store.
    pub fn returns_unchanged(&self, status: CallStatus) -> bool {
        match status {
            CallStatus::Pending => self.call.status_wait_ms.milliseconds().is_zero(),
            CallStatus::Success => !self.engine.is_shared() && !self.call.single_use,
            CallStatus::Failed => !self.engine.is_shared(),
        }
    }

    /// Returns what this process knows of a call.
    pub fn snapshot(&self, id: CallId) -> Option<Snapshot> {
        self.registry.snapshot(id)
    }

    /// Waits until each outcome that [`Gate::snapshot`] shows is also logged and observed. A publication takes
    /// microseconds.
    pub fn finish_publishing(&self) {
        self.engine.finish_publishing();
    }

    /// Returns what is known of a call. Reads the store, for up to 250 ms, if this process does not know the call or another
    /// node may know better.
    ///
    /// # Errors
    /// If the call is not known, or the store does not answer in time.
    pub fn explain(&self, id: CallId) -> Result<Snapshot, Failure> {
        match self.registry.snapshot(id) {
            Some(snapshot) if !self.engine.is_shared() => Ok(snapshot),
            _ => self.engine.explain(id),
        }
    }

    /// Returns the message for a host about why a call failed.
    pub fn failure_message(&self, id: CallId) -> String {
        message(self.messages, self.explain(id))
    }

    /// Logs and records the refusal of a request that cannot be read.
    pub(crate) fn refuse(&self, id: CallId, failure: Failure) {
        self.log.write(&LogEntry { level: Level::Warn, ..LogEntry::refused(CallEvent::Refused, Some(id), &failure) });
        let now = Deadline::after(Moment::now(), Duration::ZERO);
        match self.registry.begin(id, Err(failure), now) {
            Begun::Refused(failure, attempt) => self.engine.record_refusal(attempt, None, failure),
            Begun::RefusedRepeat(failure, attempt) => self.engine.record_refused_repeat(attempt, &failure),
            Begun::New(_) | Begun::StillPending(_) => {}
        }
    }

    /// Checks all backends in use concurrently. Blocks until all have answered.
    pub fn check(&self) -> Vec<(Arc<str>, Result<String, Failure>)> {
        self.engine.runtime().block_on(futures_util::future::join_all(
            self.backends.iter().map(|named| async { (Arc::clone(&named.name), named.backend.check().await) }),
        ))
    }

    /// Returns how many seconds this machine's clock is ahead of the clock of each backend in use, with an error of about two
    /// seconds; `None` if the provider does not report its time. Blocks until all have answered.
    pub fn seconds_ahead(&self) -> Vec<(Arc<str>, Option<i64>)> {
        self.engine.runtime().block_on(futures_util::future::join_all(
            self.backends.iter().map(|named| async { (Arc::clone(&named.name), ahead_of(&*named.backend).await) }),
        ))
    }

    /// Writes a line to the gate's log.
    pub(crate) fn log(&self, entry: &LogEntry<'_>) {
        self.log.write(entry);
    }

    /// Hangs up all calls, and closes the store and the log, within `timeout`. Returns whether all of that was finished.
    pub fn shut_down(&self, timeout: Duration) -> bool {
        self.end(timeout, timeout).is_ok()
    }

    /// As [`Gate::shut_down`], but waits at most `for_store` of `within` for pending store writes after all calls are hung
    /// up.
    ///
    /// # Errors
    /// The first step that was not finished.
    pub fn end(&self, within: Duration, for_store: Duration) -> Result<(), ShutdownIncomplete> {
        let end = Instant::now() + within;
        self.ended.store(true, Ordering::Release);
        self.registry.wake();
        let Some(runtime) = self.runtime.lock().take() else { return Ok(()) };
        // The rest of the time is for the store and the log.
        let for_hanging_up = within * 3 / 4;
        let all_hung_up = ends_within(&runtime, for_hanging_up, self.engine.shut_down());
        // Before the log closes. A task that is aborted below finds its call published.
        self.engine.abandon();
        // Another node may begin the same request again, which this process no longer sees.
        if self.engine.is_shared() {
            self.registry.forget_successes();
        }
        // Half of the time: an unreachable store must not cost the log its last lines.
        let left = (end.saturating_duration_since(Instant::now()) / 2).min(for_store);
        let (flush, alerts) = (self.engine.flush(), self.alerts.clone());
        let recorded = async move {
            flush.await;
            alerts.close().await;
        };
        let all_recorded = ends_within(&runtime, left, recorded);
        if let Some(textfile) = self.textfile.clone() {
            // Half of the time: a slow folder must not cost the log its last lines.
            let left = end.saturating_duration_since(Instant::now()) / 2;
            // If it fails, the next process writes the file.
            ends_within(&runtime, left, async { drop(tokio::task::spawn_blocking(move || textfile.write()).await) });
        }
        // A name look-up may block a thread for much longer.
        runtime.shutdown_timeout(end.saturating_duration_since(Instant::now()) / 2);
        let is_closed = self.engine.close_store(end.saturating_duration_since(Instant::now()) / 2);
        self.log.write(&LogEntry::new(GateEvent::Ended));
        let log_is_closed = self.log.close(end.saturating_duration_since(Instant::now()));
        match (all_hung_up, all_recorded, is_closed && log_is_closed) {
            (true, true, true) => Ok(()),
            (false, ..) => Err(ShutdownIncomplete::HangingUp),
            (_, false, _) => Err(ShutdownIncomplete::Recording),
            (.., false) => Err(ShutdownIncomplete::Closing),
        }
    }
}

/// Runs `work` on the gate's threads. Returns whether it ended within `limit`.
///
/// This thread measures the time itself. A timer of the runtime needs the runtime's threads, and one that a defect blocks
/// must not hold the host's shutdown.
fn ends_within(runtime: &Runtime, limit: Duration, work: impl Future<Output = ()> + Send + 'static) -> bool {
    let (ended, has_ended) = channel();
    runtime.spawn(async move {
        work.await;
        // Fails if this took longer than the limit.
        let _ = ended.send(());
    });
    has_ended.recv_timeout(limit).is_ok()
}

/// Without [`Gate::shut_down`], calls fail as Interrupted, and nothing is waited for.
impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns the message for a host about a call.
pub(crate) fn message(messages: Messages, known: Result<Snapshot, Failure>) -> String {
    match known {
        Err(failure) | Ok(Snapshot { failure: Some(failure), .. }) => messages.text(&failure),
        Ok(Snapshot { status: CallStatus::Pending, .. }) => {
            "The call has not failed: it is still in progress.".to_owned()
        }
        Ok(_) => "The call has not failed: it was verified.".to_owned(),
    }
}

/// Returns how many seconds this machine's clock is ahead of the provider's, whose answer counts for the middle of the
/// request.
async fn ahead_of(backend: &dyn TelephonyBackend) -> Option<i64> {
    let (asked, began) = (SystemTime::now(), Instant::now());
    let theirs = backend.time().await?;
    let ours = asked + began.elapsed() / 2;
    let (seconds, sign) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead.as_secs(), 1),
        Err(behind) => (behind.duration().as_secs(), -1),
    };
    Some(sign * i64::try_from(seconds).ok()?)
}
