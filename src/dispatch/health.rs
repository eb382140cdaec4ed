//! Which backends work: judged by what became of the last call that each had to do with, and by what it says itself
//! of what it keeps up. Told when it changes, and not with every call.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::call::{Failure, FailureReason};
use crate::config::Level;
use crate::telemetry::{Event, Log};

/// What is known of the backends of a gate.
#[derive(Default)]
pub(super) struct Health {
    down: Mutex<BTreeSet<String>>,
}

impl Health {
    /// Takes note of what became of something that a backend did: None where it went well.
    pub(super) fn judge(&self, backend: &str, failure: Option<&Failure>, log: &Log) {
        match failure {
            Some(failure) => match failure.reason() {
                FailureReason::CannotPlace | FailureReason::NotConfigured | FailureReason::Throttled => {
                    self.is_down(backend, failure, log);
                }
                // Our own doing, which says nothing about the backend.
                FailureReason::Interrupted | FailureReason::DeadlinePassed | FailureReason::Internal => {}
                _ => self.is_up(backend, log),
            },
            None => self.is_up(backend, log),
        }
    }

    fn is_down(&self, backend: &str, failure: &Failure, log: &Log) {
        if self.down.lock().insert(backend.to_owned()) {
            let event = Event { backend: Some(backend), failure: Some(failure), ..Event::default() };
            log.write(Level::Warn, &Event { event: "backend_down", ..event });
        }
    }

    fn is_up(&self, backend: &str, log: &Log) {
        if self.down.lock().remove(backend) {
            log.write(Level::Info, &Event { event: "backend_up", backend: Some(backend), ..Event::default() });
        }
    }
}
