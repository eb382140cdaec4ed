//! The queue of calls to start, which limits the number of concurrent connections.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::{Failure, FailureReason};
use crate::clock::{Deadline, Moment};

/// Maximum concurrent starts.
const MAX_STARTS: usize = 64;

/// Maximum time that a start is queued.
const QUEUE_LIMIT: Duration = Duration::from_secs(10);

/// Permits to start calls. A queued start fails at its deadline, and when the gate shuts down.
pub(super) struct StartQueue(Semaphore);

impl Default for StartQueue {
    fn default() -> Self {
        Self(Semaphore::new(MAX_STARTS))
    }
}

impl StartQueue {
    /// Waits for a permit to start a call.
    ///
    /// # Errors
    /// There was no permit in time, or the gate shuts down. The call must not be started.
    pub(super) async fn acquire(&self, deadline: &Deadline) -> Result<SemaphorePermit<'_>, Failure> {
        match tokio::time::timeout(QUEUE_LIMIT, self.0.acquire()).await {
            Ok(Ok(permit)) if !deadline.passed(Moment::now()) => Ok(permit),
            Ok(Ok(_)) => {
                let sentence = "The call's deadline passed before it could be started.";
                Err(Failure::new(FailureReason::DeadlinePassed, sentence))
            }
            Ok(Err(_)) => Err(Failure::new(FailureReason::Interrupted, "PhoneGate is being shut down.")),
            Err(_) => {
                let sentence = "Too many calls are being started at the provider at once. Try again later.";
                Err(Failure::new(FailureReason::Throttled, sentence))
            }
        }
    }

    /// Keeps the queue open, and never completes. Dropping the future closes the queue: queued and later starts fail.
    pub(super) async fn keep_open(&self) {
        let _close = CloseOnDrop(&self.0);
        std::future::pending().await
    }
}

struct CloseOnDrop<'a>(&'a Semaphore);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
