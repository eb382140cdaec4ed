//! Backend health, derived from recent call results and from each backend's background task. The health of the store is
//! tracked in the same way.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::notices::Notices;
use crate::call::{Failure, FailureReason};

/// Consecutive failures after which a backend counts as down. A single call may fail because of its number.
const DOWN_AFTER: u32 = 2;

/// The health of the backends of a gate, and of its store.
pub(super) struct BackendHealth {
    notices: Notices,
    /// Consecutive failures by backend. The lock is held while a change is logged, which never waits, so that log lines
    /// have the order of the changes.
    failures: Mutex<BTreeMap<String, u32>>,
}

impl BackendHealth {
    pub(super) fn new(notices: Notices) -> Self {
        Self { notices, failures: Mutex::default() }
    }

    /// Records a result of a backend: `None` if it succeeded. Reports a change of its health.
    pub(super) fn record_result(&self, backend: &str, failure: Option<&Failure>) {
        let problem = match failure.map(Failure::reason) {
            Some(FailureReason::CannotPlace | FailureReason::NotConfigured) => failure,
            // These failures say nothing about the backend: a limit was exceeded, or PhoneGate itself failed.
            Some(
                FailureReason::Throttled
                | FailureReason::Interrupted
                | FailureReason::DeadlinePassed
                | FailureReason::Internal,
            ) => return,
            _ => None,
        };
        let mut failures = self.failures.lock();
        match problem {
            None => {
                if failures.remove(backend).is_some_and(|count| count >= DOWN_AFTER) {
                    self.notices.up(backend);
                }
            }
            Some(failure) => {
                let count = failures.entry(backend.to_owned()).or_default();
                *count = count.saturating_add(1);
                if *count >= DOWN_AFTER {
                    self.notices.down(backend, failure, *count == DOWN_AFTER);
                }
            }
        }
    }
}
