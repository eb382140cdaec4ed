//! Lines in this command's log of who changed what is kept in the store.

use std::time::Duration;

use phonegate::call::GateEvent;
use phonegate::telemetry::{Log, LogEntry};

use crate::context::Context;
use crate::error::CommandError;
use crate::output;

/// How long the end of a command waits for the disk.
const WITHIN: Duration = Duration::from_secs(5);

/// The log, reader before anything is changed.
pub(crate) struct AuditLog(Log);

impl AuditLog {
    pub(crate) fn start(context: &Context) -> Result<Self, CommandError> {
        Ok(Self(context.log()?))
    }

    /// Writes a line about a number, which is masked.
    pub(crate) fn write(&self, event: GateEvent, masked: &str, text: &str) {
        self.0.write(&LogEntry { number: Some(masked), text: Some(text), ..LogEntry::new(event) });
    }

    /// Waits until the lines are written, and warns if they may not be: the change itself has been made.
    pub(crate) fn close(&self, json: bool, changed: &str) {
        if !self.0.close(WITHIN) {
            let text = format!(
                "{changed}, but the line about it was not written within {} s; check the disk of the log folder",
                WITHIN.as_secs()
            );
            output::warning(json, &text);
        }
    }
}
