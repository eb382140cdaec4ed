//! Starts the tasks that run as long as the gate.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{Parts, takeover};
use crate::backend::NamedBackend;
use crate::call::Failure;
use crate::clock::Moment;

/// Interval at which ended calls are removed from the registry.
const SWEEP_REGISTRY_EVERY: Duration = Duration::from_secs(5);

/// Interval at which old attempts are removed from the store.
pub(super) const SWEEP_STORE_EVERY: Duration = Duration::from_secs(60 * 60);

/// Starts all background tasks. They end at shutdown.
pub(super) fn start(parts: &Arc<Parts>, tasks: &TaskTracker, runtime: &Handle, is_service: bool) {
    tasks.spawn_on(sweep_registry_loop(Arc::clone(parts)), runtime);
    tasks.spawn_on(sweep_store_loop(Arc::clone(parts)), runtime);
    tasks.spawn_on(takeover::renew_lease_loop(Arc::clone(parts)), runtime);
    tasks.spawn_on(takeover::claim_loop(Arc::clone(parts), tasks.clone()), runtime);
    for backend in &parts.backends {
        tasks.spawn_on(run_backend(Arc::clone(parts), backend.clone(), is_service), runtime);
    }
}

/// Runs the background task of a backend, such as its registration, and closes the backend at shutdown.
async fn run_backend(parts: Arc<Parts>, named: NamedBackend, is_service: bool) {
    let sink = |part: &str, state: Result<(), Failure>| {
        let name = format!("{} ({part})", named.name);
        parts.health.record_result(&name, state.as_ref().err());
    };
    parts.shutdown.run_until_cancelled(named.backend.run_background(&sink, is_service)).await;
    parts.shutdown.cancelled().await;
    named.backend.close().await;
}

async fn sweep_store_loop(parts: Arc<Parts>) {
    // The first sweep is not at the start: the clock of a machine that has just booted may be far ahead.
    while tokio::time::timeout(SWEEP_STORE_EVERY, parts.shutdown.cancelled()).await.is_err() {
        // If this fails, the next sweep removes it.
        let _ = parts.shutdown.run_until_cancelled(parts.store.sweep()).await;
    }
}

async fn sweep_registry_loop(parts: Arc<Parts>) {
    while tokio::time::timeout(SWEEP_REGISTRY_EVERY, parts.shutdown.cancelled()).await.is_err() {
        parts.registry.sweep(Moment::now());
    }
}
