//! Which backends work: judged by what became of the last calls that each had to do with, and by what it says itself
//! of what it keeps up. Told when it changes, and not with every call.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::notices::Notices;
use crate::call::{Failure, FailureReason};

/// So many failures without a success between them make a backend count as down: one call may fail by its own number.
const DOWN_AFTER: u32 = 2;

/// What is known of the backends of a gate.
#[derive(Default)]
pub(super) struct Health {
    /// How often each has failed since it last worked. Held while a line is written, which never waits, so that the
    /// lines come in the order of what they tell.
    failures: Mutex<BTreeMap<String, u32>>,
}

impl Health {
    /// Records how something went that a backend did: `None` if it went well.
    pub(super) fn judge(&self, backend: &str, failure: Option<&Failure>, notices: &Notices) {
        let problem = match failure.map(Failure::reason) {
            Some(FailureReason::CannotPlace | FailureReason::NotConfigured) => failure,
            // A provider that is asked too often, and our own doing, say nothing.
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
                    notices.up(backend);
                }
            }
            Some(failure) => {
                let count = failures.entry(backend.to_owned()).or_default();
                *count = count.saturating_add(1);
                if *count >= DOWN_AFTER {
                    notices.down(backend, failure, *count == DOWN_AFTER);
                }
            }
        }
    }
}
