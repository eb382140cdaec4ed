//! Drives one call from placing to outcome: the deadline, the next backend, hanging up, and the end of the gate.
//!
//! Each call is a task. Whatever becomes of the task (an outcome, the deadline, a panic, the end of the runtime under
//! it), the attempt is settled once and its number given free.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::{HANG_UP_LIMIT, Named, PlaceError, Rang, Reference};
use crate::call::{Call, Failure, FailureReason, Outcome, Progress};
use crate::clock::Moment;
use crate::config::Level;
use crate::registry::Registry;
use crate::telemetry::{Event, Log};

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
    ending: CancellationToken,
}

/// What a call that was placed by a backend is known by.
type Line<'a> = (&'a Named, Reference);

/// Why the following of a call stopped.
enum Stop {
    Outcome(Outcome),
    /// Hang up, and fail so.
    HangUp(Failure),
}

impl Dispatcher {
    pub(crate) fn new(runtime: Handle, backends: Vec<Named>, registry: Arc<Registry>, log: Log) -> Self {
        let ending = CancellationToken::new();
        let shared = Arc::new(Shared { backends, registry, log, ending });
        let tasks = TaskTracker::new();
        tasks.spawn_on(Arc::clone(&shared).sweep(), &runtime);
        Self { runtime, tasks, shared }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Drives a call that the registry has begun.
    pub(crate) fn start(&self, call: Call) {
        let guard = Unsettled { shared: Arc::clone(&self.shared), call };
        self.tasks.spawn_on(async move { guard.shared.drive(&guard.call).await }, &self.runtime);
    }

    /// Hangs up every call and waits until all is done.
    pub(crate) async fn end(&self) {
        self.shared.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A call on its way. Dropped, it leaves nothing pending, also where its task never ran to its end.
struct Unsettled {
    shared: Arc<Shared>,
    call: Call,
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.shared.settle(&self.call, None, Outcome::Failed(interrupted()));
        self.shared.registry.release(self.call.attempt, &self.call.number);
    }
}

impl Shared {
    async fn drive(&self, call: &Call) {
        let mut line = None;
        let driven = AssertUnwindSafe(self.place_and_follow(call, &mut line)).catch_unwind().await;
        let stop = driven.unwrap_or_else(|_| {
            let failure = Failure::new(FailureReason::Internal, "A defect in PhoneGate ended the call; see its log.");
            Stop::HangUp(failure)
        });
        let backend = line.as_ref().map(|(named, _)| &*named.name);
        match stop {
            Stop::Outcome(outcome) => {
                // In this order: who sees the outcome may ring the number again at once.
                self.registry.release(call.attempt, &call.number);
                self.settle(call, backend, outcome);
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
                    if let Ok(Ok(reference)) = tokio::time::timeout(LATE_REFERENCE, placing).await {
                        *line = Some((named, reference));
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
                        break;
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
            outcome = named.backend.follow(reference, &on_progress) => Stop::Outcome(outcome),
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
                self.log.write(level, &Event { event: "failed", failure: Some(failure), ..self.event(call, backend) });
            }
        }
    }

    fn refused(&self, call: &Call, backend: &str, failure: &Failure) {
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

fn interrupted() -> Failure {
    Failure::new(FailureReason::Interrupted, "PhoneGate was shut down while the call was in progress.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use uuid::Uuid;

    use super::*;
    use crate::admission::Admission;
    use crate::backend::{OnProgress, TelephonyBackend};
    use crate::call::{CallId, CallStatus};
    use crate::clock::Deadline;
    use crate::config::NumbersConfig;
    use crate::registry::Begun;

    /// Counts how often it was asked to ring somebody.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    #[async_trait]
    impl TelephonyBackend for Counting {
        async fn place(&self, _: &Call) -> Result<Reference, PlaceError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Reference::new("counted"))
        }

        async fn follow(&self, _: &Reference, _: OnProgress<'_>) -> Outcome {
            Outcome::Verified
        }

        async fn hang_up(&self, _: &Reference) -> Result<(), Failure> {
            Ok(())
        }

        async fn check(&self) -> Result<String, Failure> {
            Ok(String::new())
        }
    }

    #[tokio::test]
    async fn nobody_is_rung_for_a_call_that_is_over_already() {
        for (ended, span, rung) in [(true, 60, 0), (false, 0, 0), (false, 60, 1)] {
            let backend = Arc::new(Counting::default());
            let registry = Arc::new(Registry::new(Duration::from_secs(60)));
            let named = Named { name: "counting".into(), backend: Arc::<Counting>::clone(&backend) };
            let log = Log::start(Level::Error, None, None).unwrap();
            let dispatcher = Dispatcher::new(Handle::current(), vec![named], Arc::clone(&registry), log);
            if ended {
                dispatcher.end().await;
            }
            let numbers = NumbersConfig { default_country: Some("US".to_owned()), ..NumbersConfig::default() };
            let number = Admission::new(&numbers).unwrap().admit("+1 4255551212").unwrap();
            let id = CallId::new(Uuid::from_u128(1)).unwrap();
            let deadline = Deadline::after(Moment::now(), Duration::from_secs(span));
            let begun = registry.begin(id, Ok(number.clone()), deadline);
            let Begun::New(attempt) = begun else { panic!("{begun:?}") };
            dispatcher.start(Call { attempt, number, deadline });
            while registry.status(id) == Some(CallStatus::Pending) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(backend.0.load(Ordering::SeqCst), rung, "ended: {ended}, {span} s");
        }
    }
}
