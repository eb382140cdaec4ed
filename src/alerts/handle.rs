//! How the parts of a gate raise alerts.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Sender};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::direct::Destinations;
use super::outbox::{Deliver, Outbox, Raised};
use super::{Alert, AlertKind};
use crate::call::CallId;
use crate::platform;
use crate::store::AlertStore;
use crate::telemetry::{AlertResult, Log, Metrics};

/// Maximum number of raised alerts that the store does not have yet.
const MAX_RAISED: usize = 256;

/// Maximum number of alerts that wait to be delivered directly.
const MAX_DIRECT: usize = 16;

/// Maximum length of an alert's text, in characters.
const MAX_TEXT: usize = 2_000;

/// Raises alerts. Clones share the destinations and the queues.
#[derive(Clone, Default)]
pub struct Alerts(Option<Arc<Inner>>);

struct Inner {
    node: Box<str>,
    /// For the store.
    raised: Sender<Raised>,
    /// For kinds that are delivered directly.
    direct: Sender<Raised>,
    outbox: Arc<Outbox>,
    ending: CancellationToken,
    tasks: TaskTracker,
}

/// An alert to raise. It must have no personal data.
#[derive(Debug, Clone)]
pub struct NewAlert {
    /// The kind, by which destinations select alerts.
    pub kind: AlertKind,
    /// The key of a number, or the name of a backend or a limit. Each destination gets at most one alert an hour of the
    /// same kind and with the same `about`.
    pub about: Box<str>,
    /// The number, masked.
    pub number: Option<Box<str>>,
    /// The call that caused it.
    pub call: Option<CallId>,
    /// The backend's name.
    pub backend: Option<Box<str>>,
    /// What happened and what to do.
    pub text: Box<str>,
}

impl Alerts {
    /// Raises nothing, for a gate without destinations.
    pub fn none() -> Self {
        Self(None)
    }

    /// Starts the tasks that keep alerts in the store and deliver them. Without destinations there are no tasks.
    ///
    /// If `delivers` is false, this process only keeps its alerts in the store, where a service finds them.
    pub fn start(
        runtime: &Handle,
        destinations: Destinations,
        store: Arc<dyn AlertStore>,
        delivers: bool,
        log: Log,
        metrics: Metrics,
    ) -> Self {
        let destinations = destinations.into_vec().into_iter().map(|destination| Box::new(destination) as _).collect();
        Self::start_with(runtime, destinations, store, delivers, log, metrics)
    }

    pub(super) fn start_with(
        runtime: &Handle,
        destinations: Vec<Box<dyn Deliver>>,
        store: Arc<dyn AlertStore>,
        delivers: bool,
        log: Log,
        metrics: Metrics,
    ) -> Self {
        if destinations.is_empty() {
            return Self::none();
        }
        let ((raised, for_store), (direct, for_direct)) = (mpsc::channel(MAX_RAISED), mpsc::channel(MAX_DIRECT));
        let (ending, tasks) = (CancellationToken::new(), TaskTracker::new());
        let outbox = Arc::new(Outbox::new(destinations, store, ending.clone(), log, metrics));
        tasks.spawn_on(Arc::clone(&outbox).store_raised(for_store), runtime);
        tasks.spawn_on(Arc::clone(&outbox).deliver_directly(for_direct), runtime);
        if delivers {
            tasks.spawn_on(Arc::clone(&outbox).deliver_stored(), runtime);
        }
        let node = platform::machine_name().into();
        Self(Some(Arc::new(Inner { node, raised, direct, outbox, ending, tasks })))
    }

    /// Returns whether a destination wants alerts of this kind.
    pub fn wants(&self, kind: AlertKind) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.outbox.wants(kind))
    }

    /// Raises an alert. Never blocks: if too many wait already, the alert is dropped and counted.
    pub fn raise(&self, new: NewAlert) {
        let Some(inner) = self.0.as_ref().filter(|inner| inner.outbox.wants(new.kind)) else { return };
        let NewAlert { kind, about, number, call, backend, text } = new;
        let (at, node) = (SystemTime::now(), inner.node.clone());
        let text = text.chars().take(MAX_TEXT).collect::<String>().into();
        let alert = Alert { id: Uuid::new_v4(), kind, at, node, number, call, backend, text };
        let queue = match kind {
            AlertKind::Configuration | AlertKind::StoreDown | AlertKind::Test => &inner.direct,
            AlertKind::Fraud
            | AlertKind::Lockout
            | AlertKind::CapReached
            | AlertKind::BackendDown
            | AlertKind::BackendUp => &inner.raised,
        };
        if queue.try_send(Raised { alert, about }).is_err() {
            inner.outbox.count(kind, AlertResult::Dropped);
        }
    }

    /// Stops deliveries and waits until the store has every alert that was raised. The caller limits the time. A delivery
    /// that is interrupted is repeated by the next process.
    pub async fn close(&self) {
        if let Some(inner) = &self.0 {
            inner.ending.cancel();
            inner.tasks.close();
            inner.tasks.wait().await;
        }
    }
}
