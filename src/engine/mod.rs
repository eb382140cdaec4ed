//! Drives one call from request to outcome: the backends in their order, the deadline, hanging up, and shutdown.
//!
//! | module | what it is for |
//! |---|---|
//! | `ownership` | decides what happens to an attempt, as a state machine without I/O |
//! | `call_task` | performs the decisions for one call, with the backends and the store |
//! | `routes` | which backends are asked for a number |
//! | `call_guard` | ends a call whose task ends early |
//! | `active_calls` | the calls that this process drives |
//! | `publisher` | the only way of an outcome to the registry and the log |
//! | `store_client` | the store, with time limits, a lease and a queue |
//! | `takeover` | renews the lease, and claims the calls of processes that are gone |
//! | `mirror` | follows a call that another process drives |
//! | `lookup`, `queries` | reads the store for calls that the registry does not know |
//! | `backend_health`, `notices` | what administrators are notified of |
//! | `background` | starts what runs as long as the gate |
//!
//! # Concurrency
//! Each call has one task, and only this task performs its actions, one at a time. All tasks share `Parts`, whose members
//! may be used from any thread; no lock is held across an `await`. The registry serializes what happens to one id: each
//! change names the attempt, and one for an earlier attempt changes nothing.
//!
//! Four others may touch a call concurrently with its task: a backend's steps, [`Engine::abandon`] at the end of the
//! shutdown, the drop of its [`CallGuard`], and a look-up of its id. The first outcome that reaches the [`Publisher`] is
//! published; any later one is dropped.

mod active_calls;
mod backend_health;
mod background;
mod call_guard;
mod call_task;
mod failures;
mod lookup;
mod mirror;
mod notices;
mod ownership;
mod publisher;
mod queries;
mod routes;
mod store_client;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::Alerts;
use crate::approval::pins::number_hashes;
use crate::backend::NamedBackend;
use crate::call::{Attempt, Call, CallEvent, Failure, Outcome, PhoneNumber, StoredOutcome};
use crate::clock::{ClockJumps, Moment};
use crate::registry::Registry;
use crate::store::CallStore;
use crate::telemetry::{Log, Metrics};
use active_calls::{ActiveCall, ActiveCalls};
use backend_health::BackendHealth;
pub(crate) use call_guard::CallGuard;
use failures::interrupted;
pub(crate) use lookup::Lookup;
use lookup::Lookups;
use notices::Notices;
use ownership::BackendTraits;
use publisher::{Publisher, step};
pub(crate) use routes::Routes;
pub(crate) use store_client::StorePolicy;
use store_client::{StoreClient, StoreProbe};

/// Drives calls on a runtime until it is shut down.
pub(crate) struct Engine {
    runtime: Handle,
    tasks: TaskTracker,
    parts: Arc<Parts>,
    log: Log,
    metrics: Metrics,
}

/// The state that all tasks of an engine share.
struct Parts {
    /// The backends in use.
    backends: Vec<NamedBackend>,
    routes: Routes,
    /// What the machine of each call knows of `backends`.
    backend_traits: Arc<[BackendTraits]>,
    registry: Arc<Registry>,
    store: Arc<StoreClient>,
    publisher: Publisher,
    notices: Notices,
    health: Arc<BackendHealth>,
    active: ActiveCalls,
    lookups: Lookups,
    shutdown: CancellationToken,
    clock_jumps: ClockJumps,
}

impl Engine {
    /// Starts an engine with the backends in use and the routes to them.
    pub(crate) fn start(
        runtime: Handle,
        (backends, routes): (Vec<NamedBackend>, Routes),
        registry: Arc<Registry>,
        (store, policy): (Arc<dyn CallStore>, StorePolicy),
        (log, metrics, alerts): (Log, Metrics, Alerts),
    ) -> Self {
        let is_service = policy.is_service();
        let notices = Notices::new(log.clone(), metrics.clone(), alerts);
        let health = Arc::new(BackendHealth::new(notices.clone(), metrics.clone()));
        let probe = StoreProbe {
            store: Arc::clone(&store),
            log: log.clone(),
            metrics: metrics.clone(),
            notices: notices.clone(),
            health: Arc::clone(&health),
        };
        let store = Arc::new(StoreClient::open(store, policy, &runtime, probe));
        let publisher = Publisher::new(Arc::clone(&registry), Arc::clone(&store), log.clone(), metrics.clone());
        let backend_traits = backends.iter().map(BackendTraits::of).collect();
        let parts = Arc::new(Parts {
            backends,
            routes,
            backend_traits,
            registry,
            store,
            publisher,
            notices,
            health,
            active: ActiveCalls::default(),
            lookups: Lookups::default(),
            shutdown: CancellationToken::new(),
            clock_jumps: ClockJumps::default(),
        });
        let tasks = TaskTracker::new();
        background::start(&parts, &tasks, &runtime, is_service);
        Self { runtime, tasks, parts, log, metrics }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Returns the caller id for calls to a number. `None`: that of the backend.
    pub(crate) fn caller_id_for(&self, number: &PhoneNumber) -> Option<Arc<str>> {
        self.parts.routes.caller_id(number)
    }

    /// Guards a call that the registry has begun: from now on it cannot stay pending.
    pub(crate) fn track(&self, request: &Call) -> CallGuard {
        let Call { attempt, number, deadline, attempts, .. } = request;
        let attempts = Some(Arc::clone(attempts));
        let pin = self.parts.store.pin_of(&number_hashes(number));
        let call = ActiveCall::new(*attempt, number.hash(), number.to_string().into(), *deadline, attempts);
        CallGuard::new(&self.parts, call.with_pin(pin))
    }

    /// Drives a call to its outcome.
    pub(crate) fn drive(&self, guard: CallGuard, request: Call) {
        self.spawn(guard.drive(request));
    }

    /// Counts and records a request that was refused before it could become a call.
    pub(crate) fn record_refusal(&self, attempt: Attempt, number: Option<&PhoneNumber>, failure: Failure) {
        self.metrics.ended(&StoredOutcome::Failed(failure.clone()), None, Duration::ZERO);
        self.parts.store.record_refusal(attempt, number, failure);
    }

    /// Records a request that was refused while a call of the same id goes on.
    pub(crate) fn record_refused_repeat(&self, attempt: Attempt, failure: &Failure) {
        self.parts.store.record(attempt, step(CallEvent::RepeatRefused, None, Some(failure.text())));
    }

    /// Begins to hang up every call. The future waits until all tasks have ended.
    pub(crate) fn shut_down(&self) -> impl Future<Output = ()> + Send + use<> {
        self.parts.shutdown.cancel();
        self.tasks.close();
        let tasks = self.tasks.clone();
        async move { tasks.wait().await }
    }

    /// Fails every call that is still pending, if [`Engine::shut_down`] did not end in time.
    pub(crate) fn abandon(&self) {
        for call in self.parts.active.all() {
            self.parts.store.fail_later(call.attempt, interrupted(), false);
            self.parts.publisher.finish(&call, None, Outcome::Failed(interrupted()), Moment::now());
        }
        // An outcome that a call's own task has just published is logged before the log closes.
        self.finish_publishing();
    }

    /// Waits until every outcome that the registry has is also logged.
    pub(crate) fn finish_publishing(&self) {
        self.parts.publisher.wait();
    }

    /// Returns a future that waits until the store has all that was queued for it.
    pub(crate) fn flush(&self) -> impl Future<Output = ()> + Send + use<> {
        let store = Arc::clone(&self.parts.store);
        async move { store.flush().await }
    }

    /// Closes the store. Returns false if that took longer than `within`.
    pub(crate) fn close_store(&self, within: Duration) -> bool {
        self.parts.store.close(within)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }
}

#[cfg(test)]
mod tests;
