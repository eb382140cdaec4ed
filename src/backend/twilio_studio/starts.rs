//! The queue of calls to start, which limits the number of concurrent connections.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::{Failure, FailureReason};
use crate::clock::{Deadline, Moment};

/// Maximum concurrent starts.
const MAX_STARTS: usize = 64;

/// Maximum time that a start is queued.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// Permits to start calls. A queued start is dropped at its deadline, and when the gate ends.
pub(super) struct Starts(Semaphore);

impl Default for Starts {
    fn default() -> Self {
        Self(Semaphore::new(MAX_STARTS))
    }
}

impl Starts {
    /// Waits for a permit to start a call.
    ///
    /// # Errors
    /// If there was no permit in time, or the gate has ended. The call must not be started.
    pub(super) async fn turn(&self, deadline: &Deadline) -> Result<SemaphorePermit<'_>, Failure> {
        match tokio::time::timeout(WAIT_LIMIT, self.0.acquire()).await {
            Ok(Ok(turn)) if !deadline.passed(Moment::now()) => Ok(turn),
            Ok(Ok(_)) => {
                let sentence = "The call's deadline passed before it could be started.";
                Err(Failure::new(FailureReason::DeadlinePassed, sentence))
            }
            Ok(Err(_)) => Err(Failure::new(FailureReason::Interrupted, "PhoneGate is being shut down.")),
            Err(_) => {
                let sentence = "Too many calls are being started at Twilio at once. Try again later.";
                Err(Failure::new(FailureReason::Throttled, sentence))
            }
        }
    }

    /// Never completes. Dropping the future closes the queue: queued and later starts fail.
    pub(super) async fn while_open(&self) {
        let _end = End(&self.0);
        std::future::pending().await
    }
}

struct End<'a>(&'a Semaphore);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
