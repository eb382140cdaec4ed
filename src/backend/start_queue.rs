//! The queue of calls to start, which limits the number of concurrent connections.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::backoff::{RequestError, pause_before_start};
use super::{MayRing, PlaceError};
use crate::call::{Failure, FailureReason};
use crate::clock::{Deadline, Moment};

/// Maximum concurrent starts.
const MAX_STARTS: usize = 64;

/// Maximum time that a start is queued.
const QUEUE_LIMIT: Duration = Duration::from_secs(10);

/// Maximum number of requests to start a call. A provider has not processed a request that it refuses as one too many, so
/// another one is safe.
const MAX_START_TRIES: u32 = 3;

/// Permits to start calls. A queued start fails at its deadline, and when the gate shuts down.
pub(super) struct StartQueue(Semaphore);

impl Default for StartQueue {
    fn default() -> Self {
        Self(Semaphore::new(MAX_STARTS))
    }
}

impl StartQueue {
    /// Requests the start of a call when there is a permit, and again if that is safe and in time. `to_place_error` turns
    /// an error into that of the call.
    pub(super) async fn start<T, E: RequestError, A>(
        &self,
        deadline: &Deadline,
        request: impl Fn() -> A,
        to_place_error: impl Fn(&E) -> PlaceError,
    ) -> Result<T, PlaceError>
    where
        A: Future<Output = Result<T, E>>,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            let permit = self.acquire(deadline).await;
            let permit = permit.map_err(|failure| PlaceError { may_ring: MayRing::No, failure })?;
            let started = request().await;
            drop(permit);
            let error = match started {
                Ok(started) => return Ok(started),
                Err(error) => error,
            };
            let refused = to_place_error(&error);
            let is_repeatable = error.is_throttled() && refused.may_ring == MayRing::No;
            let pause = pause_before_start(error.retry_after());
            let in_time = pause.is_some_and(|pause| pause < deadline.left(Moment::now()));
            match pause {
                Some(pause) if is_repeatable && tries < MAX_START_TRIES && in_time => tokio::time::sleep(pause).await,
                _ => return Err(refused),
            }
        }
    }

    /// Waits for a permit to start a call.
    ///
    /// # Errors
    /// There was no permit in time, or the gate shuts down. The call must not be started.
    async fn acquire(&self, deadline: &Deadline) -> Result<SemaphorePermit<'_>, Failure> {
        match tokio::time::timeout(QUEUE_LIMIT, self.0.acquire()).await {
            Ok(Ok(permit)) if !deadline.passed(Moment::now()) => Ok(permit),
            Ok(Ok(_)) => Err(deadline_passed()),
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

/// Returns the failure of a call that was not started in time.
pub(super) fn deadline_passed() -> Failure {
    Failure::new(FailureReason::DeadlinePassed, "The call's deadline passed before it could be started.")
}

/// Returns whether the phone may ring although the provider refused the start with this HTTP status, for this reason.
pub(super) fn may_ring_after(status: u16, reason: FailureReason) -> MayRing {
    match status {
        _ if reason.may_have_rung() => MayRing::Yes,
        // After 408 it is unknown what the provider did; after 409 the phone may be ringing for another request.
        400..=407 | 410..=499 => MayRing::No,
        _ => MayRing::Yes,
    }
}

struct CloseOnDrop<'a>(&'a Semaphore);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
