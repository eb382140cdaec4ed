//! The queue of writes that no call waits for. Writes that the store cannot accept now wait in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::probe::StoreProbe;
use crate::call::GateEvent;
use crate::store::{AttemptChange, Block, RecordedChange, StoreError, StoreErrorKind};
use crate::telemetry::{LogEntry, StoreOperation};

/// How long a write waits for an answer of the store.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Pause before a failed write is repeated.
const WRITE_RETRY: Duration = Duration::from_millis(500);

/// Maximum changes in one write.
const MAX_BATCH: usize = 256;

/// Maximum number of waiting writes. Beyond it, changes that no end of a call depends on are dropped.
const MAX_WAITING: usize = 50_000;

/// A write that waits for the store.
enum QueuedWrite {
    Change(RecordedChange),
    Block(Block),
    /// A barrier: it is answered once all writes before it are done.
    Barrier(oneshot::Sender<()>),
}

/// Writes in the order in which they were queued.
pub(super) struct WriteQueue {
    sender: mpsc::UnboundedSender<QueuedWrite>,
    waiting: Arc<AtomicUsize>,
}

impl WriteQueue {
    /// Starts the task that writes.
    pub(super) fn start(runtime: &Handle, probe: StoreProbe) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        runtime.spawn(write_loop(receiver, Arc::clone(&waiting), probe));
        Self { sender, waiting }
    }

    /// Queues a change. If too many writes wait, drops it, unless it is the reference or the end of a call.
    pub(super) fn push(&self, change: RecordedChange) {
        let is_needed = matches!(
            change.change,
            AttemptChange::Placed { .. } | AttemptChange::Ended { .. } | AttemptChange::Released
        );
        if is_needed || self.waiting.load(Ordering::Relaxed) < MAX_WAITING {
            self.send(QueuedWrite::Change(change));
        }
    }

    pub(super) fn push_block(&self, block: Block) {
        self.send(QueuedWrite::Block(block));
    }

    /// Waits until all writes that were queued before are done.
    pub(super) async fn flush(&self) {
        let (barrier, done) = oneshot::channel();
        self.send(QueuedWrite::Barrier(barrier));
        let _ = done.await;
    }

    fn send(&self, write: QueuedWrite) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The receiver lives as long as the runtime. After that nothing is written.
        let _ = self.sender.send(write);
    }
}

/// Performs the writes until the queue is dropped.
async fn write_loop(mut receiver: mpsc::UnboundedReceiver<QueuedWrite>, waiting: Arc<AtomicUsize>, probe: StoreProbe) {
    let mut received = Vec::with_capacity(MAX_BATCH);
    let mut changes = Vec::with_capacity(MAX_BATCH);
    while receiver.recv_many(&mut received, MAX_BATCH).await > 0 {
        let count = received.len();
        for write in received.drain(..) {
            match write {
                QueuedWrite::Change(change) => changes.push(change),
                QueuedWrite::Block(block) => {
                    write_changes(&probe, &mut changes).await;
                    retry_until_stored(&probe, StoreOperation::Block, || probe.store.block(&block)).await;
                }
                QueuedWrite::Barrier(barrier) => {
                    write_changes(&probe, &mut changes).await;
                    let _ = barrier.send(());
                }
            }
        }
        write_changes(&probe, &mut changes).await;
        waiting.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Writes the changes and removes them. If the store refuses them together, writes each by itself, so that one refused
/// write does not prevent the others.
async fn write_changes(probe: &StoreProbe, changes: &mut Vec<RecordedChange>) {
    if changes.is_empty() {
        return;
    }
    let record = async |changes: &[RecordedChange]| {
        retry_until_stored(probe, StoreOperation::Record, || probe.store.record(changes)).await
    };
    let mut locks = record(changes).await;
    if locks.is_none() && changes.len() > 1 {
        for change in changes.chunks(1) {
            let of_change = record(change).await;
            locks.get_or_insert_default().extend(of_change.into_iter().flatten());
        }
    }
    locks.iter().flatten().for_each(|lock| probe.notices.number_locked(lock));
    changes.clear();
}

/// Repeats a store operation until it succeeds. Returns `None` if the store refuses it permanently.
async fn retry_until_stored<T, F: Future<Output = Result<T, StoreError>>>(
    probe: &StoreProbe,
    operation: StoreOperation,
    ask: impl Fn() -> F,
) -> Option<T> {
    loop {
        match probe.ask(operation, WRITE_LIMIT, ask()).await {
            Ok(done) => return Some(done),
            Err(error) if error.kind() != StoreErrorKind::Refused => tokio::time::sleep(WRITE_RETRY).await,
            Err(refused) => {
                let text = refused.to_string();
                probe.log.write(&LogEntry { text: Some(&text), ..LogEntry::new(GateEvent::StoreRefused) });
                return None;
            }
        }
    }
}
