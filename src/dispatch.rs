//! Drives one call from placing to outcome: the deadline, the next backend, hanging up, and the end of the gate.
//!
//! Each call is a task. Whatever becomes of the task (an outcome, the deadline, a panic, the end of the runtime under
//! it), the attempt is settled once and its number given free. Nobody is rung before the store has the attempt, and
//! Success is told only after the store has it, too.

mod elsewhere;
mod health;
mod ledger;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::{HANG_UP_LIMIT, Named, PlaceError, Rang, Reference};
use crate::call::{Attempt, Call, Failure, FailureReason, NumberKey, Outcome, PhoneNumber, Progress};
use crate::clock::{Deadline, Moment};
use crate::config::Level;
use crate::registry::Registry;
use crate::store::{Begun, CallStore, Change, CurrentState};
use crate::telemetry::{Event, Log, Metrics};
pub(crate) use elsewhere::Known;
use elsewhere::LookUps;
use health::Health;
use ledger::Ledger;
pub(crate) use ledger::Rules;

/// How long a place request that has outlived its call may still bring a reference to hang up.
const LATE_REFERENCE: Duration = Duration::from_secs(20);

/// How often the registry, and how often the store, is looked through for what is old.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const SWEEP_STORE_EVERY: Duration = Duration::from_secs(60 * 60);

/// How soon the store is asked again whether a call is verified.
const VERIFY_AGAIN: Duration = Duration::from_millis(250);

/// Starts calls on a runtime and ends them all when it is told to.
pub(crate) struct Dispatcher {
    runtime: Handle,
    tasks: TaskTracker,
    shared: Arc<Shared>,
}

struct Shared {
    backends: Vec<Named>,
    registry: Arc<Registry>,
    ledger: Ledger,
    log: Log,
    metrics: Metrics,
    health: Health,
    ending: CancellationToken,
    /// What this process drives.
    flights: Mutex<HashMap<Attempt, Arc<Flight>>>,
    look_ups: LookUps,
    /// Held to read from the moment that an outcome is known until it is told.
    telling: RwLock<()>,
}

/// A call on its way: what the end of it needs to know.
#[derive(Debug)]
struct Flight {
    attempt: Attempt,
    number: NumberKey,
    masked: Box<str>,
    deadline: Deadline,
    /// How old it was when this process took it up from another one.
    taken_up_after: Option<Duration>,
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

impl Flight {
    /// How long ago the host asked for it.
    fn age(&self) -> Duration {
        self.taken_up_after.unwrap_or_default().saturating_add(Moment::now().since(self.deadline.start()))
    }
}

impl Dispatcher {
    pub(crate) fn new(
        runtime: Handle,
        backends: Vec<Named>,
        registry: Arc<Registry>,
        (store, rules): (Arc<dyn CallStore>, Rules),
        log: Log,
        metrics: Metrics,
    ) -> Self {
        let shared = Arc::new(Shared {
            backends,
            registry,
            ledger: Ledger::open(store, rules, &runtime, log.clone(), metrics.clone()),
            log,
            metrics,
            health: Health::default(),
            ending: CancellationToken::new(),
            flights: Mutex::default(),
            look_ups: LookUps::default(),
            telling: RwLock::default(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn_on(Arc::clone(&shared).sweep(), &runtime);
        tasks.spawn_on(Arc::clone(&shared).sweep_store(), &runtime);
        tasks.spawn_on(Arc::clone(&shared).keep_alive_and_take_up(tasks.clone()), &runtime);
        for named in &shared.backends {
            tasks.spawn_on(Arc::clone(&shared).keep_up(named.clone()), &runtime);
        }
        Self { runtime, tasks, shared }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Answers for an attempt that the registry has begun: it is settled, whatever happens.
    pub(crate) fn hold(&self, attempt: Attempt, number: &PhoneNumber, deadline: Deadline) -> Unsettled {
        Unsettled::new(
            &self.shared,
            Flight { attempt, number: number.key(), masked: number.to_string().into(), deadline, taken_up_after: None },
        )
    }

    /// Drives a call to its outcome.
    pub(crate) fn start(&self, unsettled: Unsettled, call: Call) {
        self.tasks.spawn_on(async move { unsettled.drive(call).await }, &self.runtime);
    }

    /// Takes note of a request that was refused before it could become a call.
    pub(crate) fn refused(&self, attempt: Attempt, number: Option<&PhoneNumber>, failure: Failure) {
        let ledger = &self.shared.ledger;
        self.shared.metrics.ended(&Outcome::Failed(failure.clone()), None, Duration::ZERO);
        ledger.refused(attempt, number.map(|number| ledger.stored(number)), failure);
    }

    /// Takes note that a pending call was asked for again.
    pub(crate) fn repeated(&self, attempt: Attempt) {
        self.shared.ledger.note(attempt, step("repeated_call", None, None));
    }

    /// Hangs up every call and waits until all is done.
    pub(crate) async fn end(&self) {
        self.shared.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Settles what is pending still, where [`Dispatcher::end`] has not come to its end in time.
    pub(crate) fn abandon(&self) {
        let flights: Vec<_> = self.shared.flights.lock().values().cloned().collect();
        for flight in flights {
            self.shared.ledger.fail_later(flight.attempt, interrupted(), true);
            self.shared.settle(&flight, None, Outcome::Failed(interrupted()), Moment::now());
        }
        // What a call's own task has just settled is told before the log closes.
        drop(self.shared.telling.write());
    }

    /// Waits until the store has all that it was told.
    pub(crate) async fn recorded(&self) {
        self.shared.ledger.recorded().await;
    }
}

/// A call on its way. Dropped, it leaves nothing pending, also where its task never ran to its end.
pub(crate) struct Unsettled {
    shared: Arc<Shared>,
    flight: Arc<Flight>,
    /// Another process drives it.
    is_elsewhere: bool,
}

impl Unsettled {
    fn new(shared: &Arc<Shared>, flight: Flight) -> Self {
        let flight = Arc::new(flight);
        shared.flights.lock().insert(flight.attempt, Arc::clone(&flight));
        Self { shared: Arc::clone(shared), flight, is_elsewhere: false }
    }

    async fn drive(self, call: Call) {
        let begun = tokio::select! {
            biased;
            begun = self.shared.ledger.begin(&call) => begun,
            failure = self.shared.must_end(&self.flight) => {
                return self.shared.refuse(&self.flight, &call.number, failure);
            }
        };
        match begun {
            Ok(Begun::New) => self.shared.place(&self.flight, &call).await,
            Ok(Begun::Elsewhere(generation)) => self.mirror(generation).await,
            Ok(Begun::Refused(refusal)) => {
                let failure = refusal.failure(&self.flight.masked);
                self.shared.refuse(&self.flight, &call.number, failure);
            }
            Err(error) => {
                let failure = Failure::new(FailureReason::CannotPlace, format_args!("Nobody was called: {error}."));
                self.shared.refuse(&self.flight, &call.number, failure);
            }
        }
    }
}

impl Unsettled {
    /// Takes a call up that another process has left.
    async fn resume(self, placed: Option<(Box<str>, Reference)>) {
        self.shared.resume(&self.flight, placed).await;
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        let failure = if std::thread::panicking() { defect() } else { interrupted() };
        // A second panic, out of a drop that the first one runs, would end the host's process.
        let settled = catch_unwind(AssertUnwindSafe(|| {
            let Self { shared, flight, is_elsewhere } = self;
            if *is_elsewhere {
                return shared.registry.forget(flight.attempt, flight.number);
            }
            if shared.settle(flight, None, Outcome::Failed(failure.clone()), Moment::now()) {
                shared.ledger.fail_later(flight.attempt, failure, true);
            }
            shared.registry.release(flight.attempt, flight.number);
            shared.flights.lock().remove(&flight.attempt);
        }));
        settled.unwrap_or_else(std::mem::forget);
    }
}

impl Shared {
    /// Ends a call that nobody was rung for.
    fn refuse(&self, flight: &Flight, number: &PhoneNumber, failure: Failure) {
        self.ledger.refused(flight.attempt, Some(self.ledger.stored(number)), failure.clone());
        self.registry.release(flight.attempt, flight.number);
        self.settle(flight, None, Outcome::Failed(failure), Moment::now());
    }

    async fn place(&self, flight: &Flight, call: &Call) {
        let mut line = None;
        let driven = AssertUnwindSafe(self.place_and_follow(flight, call, &mut line)).catch_unwind().await;
        let stop = driven.unwrap_or_else(|_| Stop::HangUp(defect()));
        self.finish(flight, line, stop).await;
    }

    /// Takes a call up that another process has placed and left.
    async fn resume(&self, flight: &Flight, placed: Option<(Box<str>, Reference)>) {
        self.note(flight, Level::Info, "taken_up", None);
        let Some((backend, reference)) = placed else {
            let lost = "PhoneGate was restarted before it was known whether the call had been placed.";
            return self.finish(flight, None, Stop::Ambiguous(Failure::new(FailureReason::Interrupted, lost))).await;
        };
        let Some(named) = self.backends.iter().find(|named| *named.name == *backend) else {
            let gone = format!("The call was placed by `{backend}`, which is not in use any more.");
            return self.finish(flight, None, Stop::Ambiguous(Failure::new(FailureReason::Interrupted, gone))).await;
        };
        let followed = AssertUnwindSafe(self.follow(flight, named, &reference)).catch_unwind().await;
        let stop = followed.unwrap_or_else(|_| Stop::HangUp(defect()));
        self.finish(flight, Some((named, reference)), stop).await;
    }

    async fn finish(&self, flight: &Flight, line: Option<Line<'_>>, stop: Stop) {
        let backend = line.as_ref().map(|(named, _)| &*named.name);
        match stop {
            Stop::Outcome(outcome) => {
                let at = Moment::now();
                let outcome = self.keep_outcome(flight, outcome).await;
                // In this order: who sees the outcome may ring the number again at once.
                self.registry.release(flight.attempt, flight.number);
                self.settle(flight, backend, outcome, at);
            }
            Stop::Ambiguous(failure) => {
                self.fail(flight, backend, failure).await;
                // The phone may be ringing, and nobody can tell until when.
                self.must_end(flight).await;
                self.give_free(flight).await;
            }
            Stop::HangUp(failure) => {
                self.fail(flight, backend, failure).await;
                if let Some((named, reference)) = &line {
                    self.end_line(flight, named, "hang_up", named.backend.hang_up(reference)).await;
                }
                self.give_free(flight).await;
            }
        }
        if let Some((named, reference)) = &line {
            self.end_line(flight, named, "clean_up", named.backend.clean_up(reference)).await;
        }
    }

    /// Lets the store have the outcome of a call that rings no more, before anybody is told. Returns what it is now.
    async fn keep_outcome(&self, flight: &Flight, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Verified => {
                let verified = tokio::select! {
                    biased;
                    verified = self.keep_verified(flight) => verified,
                    failure = self.must_end(flight) => Err(failure),
                };
                match verified {
                    Ok(()) => Outcome::Verified,
                    Err(failure) => {
                        self.ledger.fail(flight.attempt, &failure, true).await;
                        Outcome::Failed(failure)
                    }
                }
            }
            Outcome::Failed(failure) => {
                if failure.reason() == FailureReason::FraudReported {
                    self.ledger.block(flight.number, &flight.masked).await;
                    self.note(flight, Level::Warn, "blocked", None);
                }
                self.ledger.fail(flight.attempt, &failure, true).await;
                Outcome::Failed(failure)
            }
        }
    }

    /// Asks the store until it says that the call is verified, or is not.
    async fn keep_verified(&self, flight: &Flight) -> Result<(), Failure> {
        loop {
            match self.ledger.verify(flight.attempt).await {
                Ok(true) => return Ok(()),
                Ok(false) => break,
                Err(_) => tokio::time::sleep(VERIFY_AGAIN).await,
            }
        }
        // It has ended already: by an answer of the store that was lost, or in another process.
        loop {
            match self.ledger.find(flight.attempt.id).await {
                Ok(Some(current)) if current.attempt == flight.attempt => {
                    return match current.state {
                        CurrentState::Ended { outcome: Outcome::Verified, .. } => Ok(()),
                        CurrentState::Ended { outcome: Outcome::Failed(failure), .. } => Err(failure),
                        CurrentState::Pending { left, .. } if left.is_zero() => Err(too_late()),
                        CurrentState::Pending { .. } => Err(taken_over()),
                    };
                }
                Ok(_) => return Err(taken_over()),
                Err(_) => tokio::time::sleep(VERIFY_AGAIN).await,
            }
        }
    }

    /// Fails a call whose phone may still ring.
    async fn fail(&self, flight: &Flight, backend: Option<&str>, failure: Failure) {
        self.ledger.fail(flight.attempt, &failure, false).await;
        self.settle(flight, backend, Outcome::Failed(failure), Moment::now());
    }

    /// In this order: who begins with the number here asks the store, too.
    async fn give_free(&self, flight: &Flight) {
        self.ledger.release(flight.attempt).await;
        self.registry.release(flight.attempt, flight.number);
    }

    async fn place_and_follow<'a>(&'a self, flight: &Flight, call: &Call, line: &mut Option<Line<'a>>) -> Stop {
        let mut refusals: Vec<(&str, Failure)> = Vec::new();
        for named in &self.backends {
            // Nobody is rung for a call that is over already.
            if let Some(failure) = self.must_end(flight).now_or_never() {
                return Stop::Outcome(Outcome::Failed(failure));
            }
            self.note(flight, Level::Info, "dialling", Some(&named.name));
            let mut placing = named.backend.place(call);
            let placed = tokio::select! {
                biased;
                placed = &mut placing => placed,
                failure = self.must_end(flight) => {
                    // The phone may ring all the same: whatever reference comes now is hung up.
                    self.fail(flight, Some(&named.name), failure.clone()).await;
                    match tokio::time::timeout(LATE_REFERENCE, placing).await {
                        Ok(Ok(reference)) => *line = Some((named, reference)),
                        Ok(Err(late)) => self.refused(flight, &named.name, &late.failure),
                        Err(_) => {
                            let silent = "The provider did not tell whether it placed the call; it may ring on.";
                            let silent = Failure::new(FailureReason::CannotPlace, silent);
                            self.refused(flight, &named.name, &silent);
                        }
                    }
                    return Stop::HangUp(failure);
                }
            };
            match placed {
                Ok(reference) => {
                    let placed = Change::Placed { backend: Arc::clone(&named.name), reference: reference.clone() };
                    self.ledger.note(flight.attempt, placed);
                    self.log_step(flight, Level::Info, "placed", Some(&named.name));
                    let (_, reference) = line.insert((named, reference));
                    return self.follow(flight, named, reference).await;
                }
                Err(PlaceError { rang, failure }) => {
                    self.refused(flight, &named.name, &failure);
                    refusals.push((&named.name, failure));
                    if rang == Rang::Perhaps {
                        return Stop::Ambiguous(all_refused(refusals));
                    }
                }
            }
        }
        Stop::Outcome(Outcome::Failed(all_refused(refusals)))
    }

    async fn follow(&self, flight: &Flight, named: &Named, reference: &Reference) -> Stop {
        let on_progress = |progress: Progress| {
            if self.registry.advance(flight.attempt, progress) {
                self.note(flight, Level::Info, progress.name(), Some(&named.name));
                // Of one that was taken up, another process may have seen it.
                if progress == Progress::Answered && flight.taken_up_after.is_none() {
                    self.metrics.answered(&named.name, flight.age());
                }
            }
        };
        tokio::select! {
            biased;
            failure = self.must_end(flight) => Stop::HangUp(failure),
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
    async fn must_end(&self, flight: &Flight) -> Failure {
        tokio::select! {
            biased;
            () = self.ending.cancelled() => interrupted(),
            () = flight.deadline.wait() => Failure::new(
                FailureReason::DeadlinePassed,
                "The call had no outcome before its deadline and was hung up.",
            ),
        }
    }

    /// Ends what the provider still has of a call, within bounds.
    async fn end_line(
        &self,
        flight: &Flight,
        named: &Named,
        what: &'static str,
        ending: impl Future<Output = Result<(), Failure>>,
    ) {
        let ended = AssertUnwindSafe(tokio::time::timeout(HANG_UP_LIMIT, ending)).catch_unwind().await;
        let failure = match ended {
            Ok(Ok(Ok(()))) => return self.note(flight, Level::Debug, what, Some(&named.name)),
            Ok(Ok(Err(failure))) => failure,
            Ok(Err(_)) => Failure::new(FailureReason::CannotPlace, "The provider did not answer in time."),
            Err(_) => Failure::new(FailureReason::Internal, "A defect in PhoneGate."),
        };
        self.metrics.backend_failed(&named.name, failure.reason());
        let event = Event { event: what, failure: Some(&failure), ..self.event(flight, Some(&named.name)) };
        self.log.write(Level::Warn, &event);
        self.ledger.note(flight.attempt, step(what, Some(&named.name), Some(failure.text())));
    }

    /// Tells the outcome of a call that this process has driven. False where the call had one already.
    fn settle(&self, flight: &Flight, backend: Option<&str>, outcome: Outcome, at: Moment) -> bool {
        let told = self.tell(flight, backend, outcome, at);
        if let Some(outcome) = &told {
            self.metrics.ended(outcome, backend, flight.age());
        }
        told.is_some()
    }

    /// The one place where an outcome reaches registry and log. Returns it as it was kept, None where the call had one
    /// already.
    fn tell(&self, flight: &Flight, backend: Option<&str>, outcome: Outcome, at: Moment) -> Option<Outcome> {
        let _telling = self.telling.read();
        let outcome = self.registry.settle(flight.attempt, outcome, at)?;
        match &outcome {
            Outcome::Verified => self.log_step(flight, Level::Info, "verified", backend),
            Outcome::Failed(failure) => {
                let level = match failure.reason() {
                    FailureReason::Internal => Level::Error,
                    FailureReason::NotConfigured | FailureReason::CannotPlace | FailureReason::FraudReported => {
                        Level::Warn
                    }
                    _ => Level::Info,
                };
                let event =
                    Event { number: Some(&flight.masked), failure: Some(failure), ..self.event(flight, backend) };
                self.log.write(level, &Event { event: "failed", ..event });
            }
        }
        Some(outcome)
    }

    fn refused(&self, flight: &Flight, backend: &Arc<str>, failure: &Failure) {
        self.health.judge(backend, Some(failure), &self.log);
        self.metrics.backend_failed(backend, failure.reason());
        let name = "backend_refused";
        let event = Event { event: name, failure: Some(failure), ..self.event(flight, Some(backend)) };
        self.log.write(Level::Warn, &event);
        self.ledger.note(flight.attempt, step(name, Some(backend), Some(failure.text())));
    }

    /// A step of a call, for log and store.
    fn note(&self, flight: &Flight, level: Level, name: &str, backend: Option<&Arc<str>>) {
        self.log_step(flight, level, name, backend.map(|backend| &**backend));
        self.ledger.note(flight.attempt, step(name, backend, None));
    }

    fn log_step(&self, flight: &Flight, level: Level, event: &str, backend: Option<&str>) {
        self.log.write(level, &Event { event, ..self.event(flight, backend) });
    }

    fn event<'a>(&self, flight: &Flight, backend: Option<&'a str>) -> Event<'a> {
        Event { attempt: Some(flight.attempt), backend, ms: Some(flight.age().as_millis()), ..Event::default() }
    }

    async fn keep_up(self: Arc<Self>, named: Named) {
        let tell = |part: &str, state: Result<(), Failure>| {
            let backend = format!("{} ({part})", named.name);
            self.health.judge(&backend, state.as_ref().err(), &self.log);
        };
        self.ending.run_until_cancelled(named.backend.keep_up(&tell)).await;
    }

    async fn sweep_store(self: Arc<Self>) {
        loop {
            // What is old stays a while longer where the store is away.
            let _ = self.ending.run_until_cancelled(self.ledger.sweep()).await;
            if tokio::time::timeout(SWEEP_STORE_EVERY, self.ending.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    async fn sweep(self: Arc<Self>) {
        while tokio::time::timeout(SWEEP_EVERY, self.ending.cancelled()).await.is_err() {
            self.registry.sweep(Moment::now());
        }
    }
}

fn step(name: &str, backend: Option<&Arc<str>>, text: Option<&str>) -> Change {
    Change::Step { name: name.into(), backend: backend.cloned(), text: text.map(Into::into) }
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

fn too_late() -> Failure {
    Failure::new(FailureReason::DeadlinePassed, "The approval came after the call's deadline.")
}

fn taken_over() -> Failure {
    Failure::new(FailureReason::Interrupted, "Another process has taken this call over.")
}

fn interrupted() -> Failure {
    Failure::new(FailureReason::Interrupted, "PhoneGate was shut down while the call was in progress.")
}

#[cfg(test)]
mod tests;
