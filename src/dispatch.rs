//! Drives one call from placing to outcome: the deadline, the next backend, hanging up, and the end of the gate.
//!
//! Each call is a task. Whatever becomes of the task (an outcome, the deadline, a panic, the end of the runtime under
//! it), the attempt is settled once and its number given free.

mod health;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::{HANG_UP_LIMIT, Named, PlaceError, Rang, Reference};
use crate::call::{Call, Failure, FailureReason, Outcome, Progress};
use crate::clock::Moment;
use crate::config::Level;
use crate::registry::Registry;
use crate::telemetry::{Event, Log};
use health::Health;

/// How long a place request that has outlived its call may still bring a reference to hang up.
const LATE_REFERENCE: Duration = Duration::from_secs(20);

/// How often ended calls are looked through for old ones.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Starts calls on a runtime and ends them all when it is told to.
pub(crate) struct Dispatcher {
    runtime: Handle,
    tasks: TaskTracker,
    shared: Arc<Shared>,
}

struct Shared {
    backends: Vec<Named>,
    registry: Arc<Registry>,
    log: Log,
    health: Health,
    ending: CancellationToken,
    /// Held to read from the moment that an outcome is known until it is told.
    telling: RwLock<()>,
}

/// What a call that was placed by a backend is known by.
type Line<'a> = (&'a Named, Reference);

/// Why the following of a call stopped.
enum Stop {
    Outcome(Outcome),
    /// Hang up, and fail so.
    HangUp(Failure),
    /// The phone may ring, but there is nothing to hang up.
    Ambiguous(Failure),
}

impl Dispatcher {
    pub(crate) fn new(runtime: Handle, backends: Vec<Named>, registry: Arc<Registry>, log: Log) -> Self {
        let ending = CancellationToken::new();
        let shared =
            Arc::new(Shared { backends, registry, log, health: Health::default(), ending, telling: RwLock::default() });
        let tasks = TaskTracker::new();
        tasks.spawn_on(Arc::clone(&shared).sweep(), &runtime);
        for named in &shared.backends {
            tasks.spawn_on(Arc::clone(&shared).keep_up(named.clone()), &runtime);
        }
        Self { runtime, tasks, shared }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Answers for a call that the registry has begun: it is settled, whatever happens.
    pub(crate) fn hold(&self, call: Call) -> Unsettled {
        Unsettled { shared: Arc::clone(&self.shared), call }
    }

    /// Drives a call to its outcome.
    pub(crate) fn start(&self, unsettled: Unsettled) {
        self.tasks.spawn_on(async move { unsettled.shared.drive(&unsettled.call).await }, &self.runtime);
    }

    /// Hangs up every call and waits until all is done.
    pub(crate) async fn end(&self) {
        self.shared.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Settles what is pending still, where [`Dispatcher::end`] has not come to its end in time.
    pub(crate) fn abandon(&self) {
        for call in self.shared.registry.pending_calls() {
            self.shared.settle(&call, None, Outcome::Failed(interrupted()));
        }
        // What a call's own task has just settled is told before the log closes.
        drop(self.shared.telling.write());
    }
}

/// A call on its way. Dropped, it leaves nothing pending, also where its task never ran to its end.
pub(crate) struct Unsettled {
    shared: Arc<Shared>,
    call: Call,
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        let failure = if std::thread::panicking() { defect() } else { interrupted() };
        // A second panic, out of a drop that the first one runs, would end the host's process.
        let settled = catch_unwind(AssertUnwindSafe(|| {
            self.shared.settle(&self.call, None, Outcome::Failed(failure));
            self.shared.registry.release(self.call.attempt, &self.call.number);
        }));
        settled.unwrap_or_else(std::mem::forget);
    }
}

impl Shared {
    async fn drive(&self, call: &Call) {
        let mut line = None;
        let driven = AssertUnwindSafe(self.place_and_follow(call, &mut line)).catch_unwind().await;
        let stop = driven.unwrap_or_else(|_| Stop::HangUp(defect()));
        let backend = line.as_ref().map(|(named, _)| &*named.name);
        match stop {
            Stop::Outcome(outcome) => {
                // In this order: who sees the outcome may ring the number again at once.
                self.registry.release(call.attempt, &call.number);
                self.settle(call, backend, outcome);
            }
            Stop::Ambiguous(failure) => {
                self.settle(call, backend, Outcome::Failed(failure));
                // The phone may be ringing, and nobody can tell until when.
                self.must_end(call).await;
                self.registry.release(call.attempt, &call.number);
            }
            Stop::HangUp(failure) => {
                self.settle(call, backend, Outcome::Failed(failure));
                if let Some((named, reference)) = &line {
                    self.end_line(call, named, "hang_up", named.backend.hang_up(reference)).await;
                }
                self.registry.release(call.attempt, &call.number);
            }
        }
        if let Some((named, reference)) = &line {
            self.end_line(call, named, "clean_up", named.backend.clean_up(reference)).await;
        }
    }

    async fn place_and_follow<'a>(&'a self, call: &Call, line: &mut Option<Line<'a>>) -> Stop {
        let mut refusals: Vec<(&str, Failure)> = Vec::new();
        for named in &self.backends {
            // Nobody is rung for a call that is over already.
            if let Some(failure) = self.must_end(call).now_or_never() {
                return Stop::Outcome(Outcome::Failed(failure));
            }
            self.note(call, Level::Info, "dialling", Some(&named.name));
            let mut placing = named.backend.place(call);
            let placed = tokio::select! {
                biased;
                placed = &mut placing => placed,
                failure = self.must_end(call) => {
                    // The phone may ring all the same: whatever reference comes now is hung up.
                    self.settle(call, Some(&named.name), Outcome::Failed(failure.clone()));
                    match tokio::time::timeout(LATE_REFERENCE, placing).await {
                        Ok(Ok(reference)) => *line = Some((named, reference)),
                        Ok(Err(late)) => self.refused(call, &named.name, &late.failure),
                        Err(_) => {
                            let silent = "The provider did not tell whether it placed the call; it may ring on.";
                            let silent = Failure::new(FailureReason::CannotPlace, silent);
                            self.refused(call, &named.name, &silent);
                        }
                    }
                    return Stop::HangUp(failure);
                }
            };
            match placed {
                Ok(reference) => {
                    self.note(call, Level::Info, "placed", Some(&named.name));
                    let (_, reference) = line.insert((named, reference));
                    return self.follow(call, named, reference).await;
                }
                Err(PlaceError { rang, failure }) => {
                    self.refused(call, &named.name, &failure);
                    refusals.push((&named.name, failure));
                    if rang == Rang::Perhaps {
                        return Stop::Ambiguous(all_refused(refusals));
                    }
                }
            }
        }
        Stop::Outcome(Outcome::Failed(all_refused(refusals)))
    }

    async fn follow(&self, call: &Call, named: &Named, reference: &Reference) -> Stop {
        let on_progress = |progress: Progress| {
            if self.registry.advance(call.attempt, progress) {
                self.note(call, Level::Info, progress.name(), Some(&named.name));
            }
        };
        tokio::select! {
            biased;
            failure = self.must_end(call) => Stop::HangUp(failure),
            outcome = named.backend.follow(reference, &on_progress) => {
                let failure = match &outcome {
                    Outcome::Verified => None,
                    Outcome::Failed(failure) => Some(failure),
                };
                self.health.judge(&named.name, failure, &self.log);
                Stop::Outcome(outcome)
            }
        }
    }

    /// Waits until the call may not go on: its deadline, or the end of the gate.
    async fn must_end(&self, call: &Call) -> Failure {
        tokio::select! {
            biased;
            () = self.ending.cancelled() => interrupted(),
            () = call.deadline.wait() => Failure::new(
                FailureReason::DeadlinePassed,
                "The call had no outcome before its deadline and was hung up.",
            ),
        }
    }

    /// Ends what the provider still has of a call, within bounds.
    async fn end_line(
        &self,
        call: &Call,
        named: &Named,
        what: &'static str,
        ending: impl Future<Output = Result<(), Failure>>,
    ) {
        let ended = AssertUnwindSafe(tokio::time::timeout(HANG_UP_LIMIT, ending)).catch_unwind().await;
        let failure = match ended {
            Ok(Ok(Ok(()))) => return self.note(call, Level::Debug, what, Some(&named.name)),
            Ok(Ok(Err(failure))) => failure,
            Ok(Err(_)) => Failure::new(FailureReason::CannotPlace, "The provider did not answer in time."),
            Err(_) => Failure::new(FailureReason::Internal, "A defect in PhoneGate."),
        };
        let event = Event { event: what, failure: Some(&failure), ..self.event(call, Some(&named.name)) };
        self.log.write(Level::Warn, &event);
    }

    /// The one place where an outcome reaches registry and log.
    fn settle(&self, call: &Call, backend: Option<&str>, outcome: Outcome) {
        let _telling = self.telling.read();
        let Some(outcome) = self.registry.settle(call.attempt, outcome, Moment::now()) else { return };
        match &outcome {
            Outcome::Verified => self.note(call, Level::Info, "verified", backend),
            Outcome::Failed(failure) => {
                let level = match failure.reason() {
                    FailureReason::Internal => Level::Error,
                    FailureReason::NotConfigured | FailureReason::CannotPlace | FailureReason::FraudReported => {
                        Level::Warn
                    }
                    _ => Level::Info,
                };
                let event = Event { number: Some(&call.number), failure: Some(failure), ..self.event(call, backend) };
                self.log.write(level, &Event { event: "failed", ..event });
            }
        }
    }

    fn refused(&self, call: &Call, backend: &str, failure: &Failure) {
        self.health.judge(backend, Some(failure), &self.log);
        let event = Event { event: "backend_refused", failure: Some(failure), ..self.event(call, Some(backend)) };
        self.log.write(Level::Warn, &event);
    }

    fn note(&self, call: &Call, level: Level, event: &str, backend: Option<&str>) {
        self.log.write(level, &Event { event, ..self.event(call, backend) });
    }

    fn event<'a>(&self, call: &'a Call, backend: Option<&'a str>) -> Event<'a> {
        let ms = Moment::now().since(call.deadline.start()).as_millis();
        Event { attempt: Some(call.attempt), backend, ms: Some(ms), ..Event::default() }
    }

    async fn keep_up(self: Arc<Self>, named: Named) {
        let tell = |part: &str, state: Result<(), Failure>| {
            let backend = format!("{} ({part})", named.name);
            self.health.judge(&backend, state.as_ref().err(), &self.log);
        };
        self.ending.run_until_cancelled(named.backend.keep_up(&tell)).await;
    }

    async fn sweep(self: Arc<Self>) {
        while tokio::time::timeout(SWEEP_EVERY, self.ending.cancelled()).await.is_err() {
            self.registry.sweep(Moment::now());
        }
    }
}

/// One failure that tells of all backends that were tried; its reason is the last one's.
fn all_refused(mut refusals: Vec<(&str, Failure)>) -> Failure {
    match refusals.pop() {
        None => Failure::new(FailureReason::Internal, "There was no backend to try."),
        Some((_, failure)) if refusals.is_empty() => failure,
        Some((name, failure)) => {
            let reason = failure.reason();
            refusals.push((name, failure));
            let texts: Vec<_> = refusals.iter().map(|(name, failure)| format!("{name}: {failure}")).collect();
            Failure::verbatim(reason, texts.join(" "))
        }
    }
}

fn defect() -> Failure {
    Failure::new(FailureReason::Internal, "A defect in PhoneGate ended the call; see its log.")
}

fn interrupted() -> Failure {
    Failure::new(FailureReason::Interrupted, "PhoneGate was shut down while the call was in progress.")
}

#[cfg(test)]
mod tests;
