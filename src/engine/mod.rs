//! Drives one call from placing to outcome: the deadline, the next backend, hanging up, and the end of the gate.
//!
//! Each call is a task. Whatever becomes of the task (an outcome, the deadline, a panic, the end of the runtime under
//! it), the attempt is settled once and its number given free. Nobody is rung before the store has the attempt, and
//! Success is told only after the store has it, too.

mod drive;
mod elsewhere;
mod health;
mod lease;
mod ledger;
mod notices;
mod outcome;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use phonegate_approval::attempts::Attempts;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::Alerts;
use crate::approval::NumberPin;
use crate::approval::pins::number_keys;
use crate::backend::{CallRef, NamedBackend};
use crate::call::{
    Attempt, Call, CallEvent, Failure, FailureReason, NumberKey, Outcome, PhoneNumber, Progress, StoredOutcome,
};
use crate::clock::{Deadline, Moment};
use crate::registry::Registry;
use crate::store::{AttemptChange, Begun, CallStore, Refusal, StoreError};
use crate::telemetry::{Log, Metrics};
pub(crate) use elsewhere::Known;
use elsewhere::LookUps;
use health::Health;
pub(crate) use ledger::Rules;
use ledger::{Ledger, Watch};
use notices::Notices;

/// How often the registry, and how often the store, is looked through for what is old.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const SWEEP_STORE_EVERY: Duration = Duration::from_secs(60 * 60);

/// Starts calls on a runtime and ends them all when it is told to.
pub(crate) struct Engine {
    runtime: Handle,
    tasks: TaskTracker,
    shared: Arc<Shared>,
}

struct Shared {
    backends: Vec<NamedBackend>,
    registry: Arc<Registry>,
    ledger: Ledger,
    log: Log,
    metrics: Metrics,
    notices: Notices,
    health: Arc<Health>,
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
    /// What the user is to press. `None` if another process drives the call, or if it is not known here.
    attempts: Option<Arc<Attempts>>,
    /// The PIN of its number, if the method asks for one.
    pin: Option<NumberPin>,
    /// How old it was when this process took it up from another one.
    taken_up_after: Option<Duration>,
    progress: Mutex<Progress>,
    /// Has its outcome been told, or is it another process's to tell?
    is_told: AtomicBool,
}

impl Flight {
    fn new(
        attempt: Attempt,
        number: NumberKey,
        masked: Box<str>,
        deadline: Deadline,
        attempts: Option<Arc<Attempts>>,
    ) -> Self {
        let (progress, is_told) = (Mutex::new(Progress::Dialling), AtomicBool::new(false));
        Self { attempt, number, masked, deadline, attempts, pin: None, taken_up_after: None, progress, is_told }
    }

    /// Notes how far it has come. False where that is not news.
    fn advance(&self, progress: Progress) -> bool {
        let mut furthest = self.progress.lock();
        let is_news = progress > *furthest;
        *furthest = progress.max(*furthest);
        is_news
    }

    /// How long ago the host asked for it.
    fn age(&self) -> Duration {
        self.taken_up_after.unwrap_or_default().saturating_add(Moment::now().since(self.deadline.start()))
    }
}

impl Engine {
    pub(crate) fn new(
        runtime: Handle,
        backends: Vec<NamedBackend>,
        registry: Arc<Registry>,
        (store, rules): (Arc<dyn CallStore>, Rules),
        (log, metrics, alerts): (Log, Metrics, Alerts),
    ) -> Self {
        let health = Arc::<Health>::default();
        let is_service = rules.claims_orphans();
        let notices = Notices::new(log.clone(), metrics.clone(), alerts);
        let watch = Watch {
            store: Arc::clone(&store),
            log: log.clone(),
            metrics: metrics.clone(),
            notices: notices.clone(),
            health: Arc::clone(&health),
        };
        let shared = Arc::new(Shared {
            backends,
            registry,
            ledger: Ledger::open(store, rules, &runtime, watch),
            log,
            metrics,
            notices,
            health,
            ending: CancellationToken::new(),
            flights: Mutex::default(),
            look_ups: LookUps::default(),
            telling: RwLock::default(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn_on(Arc::clone(&shared).sweep(), &runtime);
        tasks.spawn_on(Arc::clone(&shared).sweep_store(), &runtime);
        tasks.spawn_on(Arc::clone(&shared).keep_alive(), &runtime);
        tasks.spawn_on(Arc::clone(&shared).take_all_up(tasks.clone()), &runtime);
        for named in &shared.backends {
            tasks.spawn_on(Arc::clone(&shared).keep_up(named.clone(), is_service), &runtime);
        }
        Self { runtime, tasks, shared }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Answers for an attempt that the registry has begun: it is settled, whatever happens.
    pub(crate) fn hold(&self, call: &Call) -> Unsettled {
        let Call { attempt, number, deadline, attempts, .. } = call;
        let attempts = Some(Arc::clone(attempts));
        let pin = self.shared.ledger.pin_of(&number_keys(number));
        let flight = Flight::new(*attempt, number.key(), number.to_string().into(), *deadline, attempts);
        let flight = Flight { pin, ..flight };
        Unsettled::new(&self.shared, flight)
    }

    /// Drives a call to its outcome.
    pub(crate) fn start(&self, unsettled: Unsettled, call: Call) {
        self.tasks.spawn_on(async move { unsettled.drive(call).await }, &self.runtime);
    }

    /// Takes note of a request that was refused before it could become a call.
    pub(crate) fn refused(&self, attempt: Attempt, number: Option<&PhoneNumber>, failure: Failure) {
        let ledger = &self.shared.ledger;
        self.shared.metrics.ended(&StoredOutcome::Failed(failure.clone()), None, Duration::ZERO);
        ledger.refused(attempt, number.map(|number| ledger.stored(number)), failure);
    }

    /// Takes note of a request that was refused while a call of the same id goes on.
    pub(crate) fn refused_repeat(&self, attempt: Attempt, failure: &Failure) {
        self.shared.ledger.note(attempt, step(CallEvent::RepeatRefused, None, Some(failure.text())));
    }

    /// Hangs up every call and waits until all is done.
    pub(crate) async fn end(&self) {
        self.shared.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Settles what is pending still, where [`Engine::end`] has not come to its end in time.
    pub(crate) fn abandon(&self) {
        let flights: Vec<_> = self.shared.flights.lock().values().cloned().collect();
        for flight in flights {
            self.shared.ledger.fail_later(flight.attempt, interrupted(), false);
            self.shared.settle(&flight, None, Outcome::Failed(interrupted()), Moment::now());
        }
        // What a call's own task has just settled is told before the log closes.
        drop(self.shared.telling.write());
    }

    /// Waits until the store has all that it was told.
    pub(crate) async fn recorded(&self) {
        self.shared.ledger.recorded().await;
    }

    /// Lets go of the store. False where that took longer than `within`.
    pub(crate) fn close_store(&self, within: Duration) -> bool {
        self.shared.ledger.close(within)
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
            begun = self.begin(&call) => begun,
            failure = self.shared.must_end(&self.flight) => {
                return self.shared.refuse(&self.flight, &call.number, failure);
            }
        };
        match begun {
            Ok((Begun::New, begun)) => self.shared.place(&self.flight, &call, begun).await,
            Ok((Begun::AlreadyOwned(generation), _)) => self.mirror(generation).await,
            Ok((Begun::Refused(refusal), _)) => {
                if let Refusal::Limit { limit, after } = refusal {
                    self.shared.notices.refused(limit, after, &call);
                }
                let failure = refusal.failure(&self.flight.masked);
                self.shared.refuse(&self.flight, &call.number, failure);
            }
            Err(failure) => self.shared.refuse(&self.flight, &call.number, failure),
        }
    }

    async fn begin(&self, call: &Call) -> Result<(Begun, Moment), Failure> {
        if let Some(pin) = &self.flight.pin
            && let Some(failure) = pin.refusal().await
        {
            return Err(failure);
        }
        self.shared.ledger.begin(call).await.map_err(|error| store_away(&error))
    }

    /// Takes a call up that another process has left.
    async fn resume(self, placed: Option<(Box<str>, CallRef)>) {
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
                // Whether its phone rings is not known.
                shared.ledger.fail_later(flight.attempt, failure, false);
            }
            shared.registry.release(flight.attempt, flight.number);
            shared.flights.lock().remove(&flight.attempt);
        }));
        settled.unwrap_or_else(std::mem::forget);
    }
}

impl Shared {
    async fn keep_up(self: Arc<Self>, named: NamedBackend, is_service: bool) {
        let tell = |part: &str, state: Result<(), Failure>| {
            let backend = format!("{} ({part})", named.name);
            self.health.judge(&backend, state.as_ref().err(), &self.notices);
        };
        self.ending.run_until_cancelled(named.backend.keep_up(&tell, is_service)).await;
        self.ending.cancelled().await;
        named.backend.close().await;
    }

    async fn sweep_store(self: Arc<Self>) {
        // Not at once: a machine's clock may be far ahead when it starts.
        while tokio::time::timeout(SWEEP_STORE_EVERY, self.ending.cancelled()).await.is_err() {
            // What is old stays a while longer where the store is away.
            let _ = self.ending.run_until_cancelled(self.ledger.sweep()).await;
        }
    }

    async fn sweep(self: Arc<Self>) {
        while tokio::time::timeout(SWEEP_EVERY, self.ending.cancelled()).await.is_err() {
            self.registry.sweep(Moment::now());
        }
    }
}

fn step(event: CallEvent, backend: Option<&Arc<str>>, text: Option<&str>) -> AttemptChange {
    AttemptChange::Step { event, backend: backend.cloned(), text: text.map(Into::into) }
}

fn store_away(error: &StoreError) -> Failure {
    Failure::new(FailureReason::CannotPlace, format_args!("Nobody was called: {error}."))
}

fn defect() -> Failure {
    Failure::new(FailureReason::Internal, "A defect in PhoneGate ended the call; see its log.")
}

fn too_late() -> Failure {
    Failure::new(FailureReason::DeadlinePassed, "The approval came after the call's deadline.")
}

fn unconfirmed(reason: FailureReason, error: &StoreError) -> Failure {
    let before = match reason {
        FailureReason::Interrupted => "PhoneGate was shut down",
        _ => "the deadline",
    };
    let sentence = format_args!("The call was approved, but the store did not confirm that before {before}: {error}.");
    Failure::new(reason, sentence)
}

fn lost() -> Failure {
    Failure::new(FailureReason::Interrupted, "The call was approved, but the store has lost it.")
}

fn interrupted() -> Failure {
    Failure::new(FailureReason::Interrupted, "PhoneGate was shut down while the call was in progress.")
}

#[cfg(test)]
mod tests;
