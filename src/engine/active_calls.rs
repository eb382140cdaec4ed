//! The calls that this process drives.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use phonegate_approval::attempts::Attempts;

use super::Parts;
use super::ownership::EndCause;
use crate::approval::NumberPin;
use crate::call::{Attempt, NumberHash, Progress};
use crate::clock::{Deadline, Moment};

/// A call that this process drives or mirrors.
#[derive(Debug)]
pub(super) struct ActiveCall {
    pub(super) attempt: Attempt,
    pub(super) number: NumberHash,
    /// The number, masked.
    pub(super) masked: Box<str>,
    pub(super) deadline: Deadline,
    /// What the user is to press. `None` if another process drives the call, or if it is not known here.
    pub(super) attempts: Option<Arc<Attempts>>,
    /// The PIN of the number, if the method asks for one.
    pub(super) pin: Option<NumberPin>,
    /// The call's age when this process claimed it. `None` if this process began it.
    claimed_after: Option<Duration>,
    progress: Mutex<Progress>,
    /// Whether this process has published the outcome, or has ceded the call.
    is_published: AtomicBool,
}

impl ActiveCall {
    pub(super) fn new(
        attempt: Attempt,
        number: NumberHash,
        masked: Box<str>,
        deadline: Deadline,
        attempts: Option<Arc<Attempts>>,
    ) -> Self {
        let (progress, is_published) = (Mutex::new(Progress::Dialling), AtomicBool::new(false));
        Self { attempt, number, masked, deadline, attempts, pin: None, claimed_after: None, progress, is_published }
    }

    pub(super) fn with_pin(self, pin: Option<NumberPin>) -> Self {
        Self { pin, ..self }
    }

    /// Marks the call as claimed from another process, at this age.
    pub(super) fn claimed_after(self, age: Duration) -> Self {
        Self { claimed_after: Some(age), ..self }
    }

    /// Records progress. Returns whether the call had not come so far before.
    pub(super) fn advance(&self, progress: Progress) -> bool {
        let mut furthest = self.progress.lock();
        let is_news = progress > *furthest;
        *furthest = progress.max(*furthest);
        is_news
    }

    /// Returns the time since the host asked for the call.
    pub(super) fn age(&self) -> Duration {
        self.claimed_after.unwrap_or_default().saturating_add(Moment::now().since(self.deadline.start()))
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.claimed_after.is_some()
    }

    /// Marks the call as published. Returns false if it was already.
    pub(super) fn mark_published(&self) -> bool {
        !self.is_published.swap(true, Ordering::Relaxed)
    }

    /// Waits until the call must end. Shutdown takes precedence over the deadline.
    pub(super) async fn cancelled(&self, parts: &Parts) -> EndCause {
        tokio::select! {
            biased;
            () = parts.shutdown.cancelled() => EndCause::Shutdown,
            () = parts.clock_jumps.wait(&self.deadline) => EndCause::Deadline,
        }
    }
}

/// The calls that this process drives, by attempt.
#[derive(Default)]
pub(super) struct ActiveCalls(Mutex<HashMap<Attempt, Arc<ActiveCall>>>);

impl ActiveCalls {
    pub(super) fn insert(&self, call: &Arc<ActiveCall>) {
        self.0.lock().insert(call.attempt, Arc::clone(call));
    }

    pub(super) fn remove(&self, attempt: Attempt) {
        self.0.lock().remove(&attempt);
    }

    pub(super) fn contains(&self, attempt: Attempt) -> bool {
        self.0.lock().contains_key(&attempt)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub(super) fn all(&self) -> Vec<Arc<ActiveCall>> {
        self.0.lock().values().cloned().collect()
    }
}
