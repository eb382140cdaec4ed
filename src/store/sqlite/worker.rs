//! The one thread that uses the database. It carries out all waiting jobs in one transaction, so they share a commit and
//! the time that the disk takes for it. Each job has a savepoint (S2). Callers wait in their tasks, so no thread of the
//! runtime is blocked.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::clock::Clock;
use super::codes::CodesInWal;
use super::counters;
use super::errors::to_store_error;
use crate::store::StoreError;
use crate::store::begin_queue::BeginQueue;
use crate::store::unreadable::Unreadable;

/// Maximum number of jobs that share a commit.
const BATCH: usize = 512;

/// The thread counts as working for this long after a commit.
const WORKING: Duration = Duration::from_secs(1);

/// How long dropping a store that was not closed waits for its thread.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// The transaction of a job.
pub(super) struct Tx<'a> {
    pub(super) database: &'a Connection,
    /// The store's clock, in milliseconds (S10).
    pub(super) now: i64,
    /// The wall clock, in milliseconds since 1970. Blocks end by the wall clock, because people choose their ends.
    pub(super) wall: i64,
    /// Set by a job that writes codes (S18).
    pub(super) has_codes: Cell<bool>,
    /// Records that are left out of lists.
    pub(super) unreadable: &'a Unreadable,
}

/// The thread and its queue. After `close`, or when this is dropped, the thread ends as soon as all jobs are done.
pub(super) struct Worker {
    jobs: Mutex<Option<Sender<Box<dyn Job>>>>,
    queue: BeginQueue,
    /// When the last transaction that could write was committed.
    last_commit: Arc<Mutex<Option<Instant>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Closed when the thread is about to end.
    ended: Mutex<Receiver<()>>,
}

/// How a job uses the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    /// It reads, and waits for no other process.
    Read,
    /// It may write.
    Write,
    /// It may write, and relies on the counters of calls. They are recounted before the first such job.
    Count,
}

/// A piece of work in a transaction.
trait Job: Send {
    fn access(&self) -> Access;

    fn work(&mut self, tx: &Tx<'_>);

    /// Returns the result to the caller, after the transaction was committed or failed.
    fn done(self: Box<Self>, committed: Result<(), StoreError>);
}

struct PendingJob<T, F> {
    access: Access,
    work: F,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    /// The place of a call that waits to begin.
    _place: Option<OwnedSemaphorePermit>,
}

impl<T, F> Job for PendingJob<T, F>
where
    T: Send,
    F: FnMut(&Tx<'_>) -> rusqlite::Result<T> + Send,
{
    fn access(&self) -> Access {
        self.access
    }

    fn work(&mut self, tx: &Tx<'_>) {
        // The caller timed out and assumes that nothing was written, so skip the job (S20).
        if self.reply.is_closed() {
            return;
        }
        self.result = Some(in_savepoint(tx, &mut self.work).map_err(|error| to_store_error(&error)));
    }

    fn done(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(StoreError::unavailable("the job was not carried out")),
            (Err(error), _) => Err(error),
        };
        // The caller may have stopped waiting.
        let _ = self.reply.send(result);
    }
}

impl Worker {
    /// Starts the thread, and gives it the database. `unreadable` gets the records that are left out of lists.
    pub(super) fn start(database: Connection, clock: Clock, unreadable: Arc<Unreadable>) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let (ending, ended) = channel();
        let last_commit = Arc::<Mutex<Option<Instant>>>::default();
        let committing = Arc::clone(&last_commit);
        let thread = std::thread::Builder::new().name("phonegate-store".to_owned()).spawn(move || {
            run(database, clock, &queue, &committing, &unreadable);
            drop(ending);
        })?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            queue: BeginQueue::default(),
            last_commit,
            thread: Mutex::new(Some(thread)),
            ended: Mutex::new(ended),
        })
    }

    /// Runs a job that may write, and waits until its transaction is on the disk.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_job(Access::Write, None, work).await
    }

    /// Runs a job that only reads. It waits for no other process.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnMut(&Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_job(Access::Read, None, work).await
    }

    /// As [`Worker::write`], for a job that begins a call. Refused at once if too many of these wait (S20).
    pub(super) async fn begin<T: Send + 'static>(
        &self,
        work: impl FnMut(&Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = self.queue.enter()?;
        self.run_job(Access::Count, Some(place), work).await
    }

    /// As [`Worker::write`], for a job that relies on the counters of calls.
    pub(super) async fn count<T: Send + 'static>(
        &self,
        work: impl FnMut(&Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_job(Access::Count, None, work).await
    }

    /// Returns whether the thread has committed a write within the last second.
    pub(super) fn is_working(&self) -> bool {
        self.last_commit.lock().is_some_and(|at| at.elapsed() < WORKING)
    }

    async fn run_job<T: Send + 'static>(
        &self,
        access: Access,
        place: Option<OwnedSemaphorePermit>,
        work: impl FnMut(&Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::unavailable("its thread has ended");
        let (reply, answer) = oneshot::channel();
        let job = Box::new(PendingJob { access, work, result: None, reply, _place: place });
        self.jobs.lock().as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(gone)?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Ends the thread, which closes the database and writes its journal back (S21). Returns false if that takes longer than
    /// `within`, because the disk does not answer.
    pub(super) fn close(&self, within: Duration) -> bool {
        *self.jobs.lock() = None;
        let is_stuck = self.ended.lock().recv_timeout(within) == Err(RecvTimeoutError::Timeout);
        if let Some(thread) = self.thread.lock().take_if(|_| !is_stuck) {
            let _ = thread.join();
        }
        !is_stuck
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.jobs.get_mut().is_some() {
            self.close(DROP_TIMEOUT);
        }
    }
}

fn run(
    mut database: Connection,
    mut clock: Clock,
    queue: &Receiver<Box<dyn Job>>,
    last_commit: &Mutex<Option<Instant>>,
    unreadable: &Unreadable,
) {
    let mut is_counted = false;
    let mut codes = CodesInWal::new();
    loop {
        let first = match codes.due() {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => queue.recv_timeout(due),
        };
        let first = match first {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => {
                codes.reset(&database);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut jobs = vec![first];
        jobs.extend(queue.try_iter().take(BATCH - 1));
        let access = jobs.iter().map(|job| job.access()).max().unwrap_or(Access::Read);
        let must_count = access == Access::Count && !is_counted;
        let committed = commit(&mut database, &mut clock, &mut jobs, (access, must_count), unreadable);
        if committed != Ok(false) {
            codes.were_written();
        }
        let committed = committed.map(|_| ()).map_err(|error| to_store_error(&error));
        is_counted |= must_count && committed.is_ok();
        if committed.is_ok() && access > Access::Read {
            *last_commit.lock() = Some(Instant::now());
        }
        jobs.into_iter().for_each(|job| job.done(committed.clone()));
    }
}

/// Returns whether codes were written.
fn commit(
    database: &mut Connection,
    clock: &mut Clock,
    jobs: &mut [Box<dyn Job>],
    (access, must_count): (Access, bool),
    unreadable: &Unreadable,
) -> rusqlite::Result<bool> {
    let behavior = match access {
        Access::Read => TransactionBehavior::Deferred,
        Access::Write | Access::Count => TransactionBehavior::Immediate,
    };
    let transaction = database.transaction_with_behavior(behavior)?;
    let changes = transaction.total_changes();
    let (now, wall, has_codes) = (clock.now(&transaction)?, clock.wall(), Cell::new(false));
    let tx = Tx { database: &transaction, now, wall, has_codes, unreadable };
    if must_count {
        counters::recount(&tx)?;
    }
    jobs.iter_mut().for_each(|job| job.work(&tx));
    // A read writes nothing to the disk.
    if transaction.total_changes() != changes {
        clock.record(&transaction, tx.now)?;
    }
    let has_codes = tx.has_codes.get();
    transaction.commit().map(|()| has_codes)
}

/// Runs a job so that a failure leaves nothing behind and does not affect the other jobs (S2).
fn in_savepoint<T>(tx: &Tx<'_>, work: &mut impl FnMut(&Tx<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    tx.database.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = work(tx);
    if result.is_err() {
        tx.database.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    tx.database.prepare_cached("RELEASE job")?.execute([])?;
    result
}
