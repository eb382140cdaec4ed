//! The queue of calls that are to be started: many at once would need as many connections.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::{Failure, FailureReason};
use crate::clock::{Deadline, Moment};

/// The most starts at once.
const MAX_STARTS: usize = 64;

/// How long a start waits for its turn.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// Who may start a call. A start that waits rings nobody after its deadline, nor after the gate's end.
pub(super) struct Starts(Semaphore);

impl Default for Starts {
    fn default() -> Self {
        Self(Semaphore::new(MAX_STARTS))
    }
}

impl Starts {
    /// Waits for a turn.
    ///
    /// # Errors
    /// If none came in time, or the gate has ended: nobody may be rung.
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

    /// Never ends. When it is dropped, whoever waits is sent away, and nobody gets a turn any more.
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
