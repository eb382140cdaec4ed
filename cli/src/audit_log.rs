//! The audit log: lines in the log of this command that say who changed what in the store.

use std::time::Duration;

use phonegate::call::GateEvent;
use phonegate::telemetry::{Log, LogEntry};

use crate::context::Context;
use crate::error::CommandError;
use crate::output;

/// Maximum time to write the last lines.
const WITHIN: Duration = Duration::from_secs(5);

/// The audit log. Commands open it before they change anything, so that no change is made without a line.
pub(crate) struct AuditLog(Log);

impl AuditLog {
    /// Opens the log.
    pub(crate) fn start(context: &Context) -> Result<Self, CommandError> {
        Ok(Self(context.log()?))
    }

    /// Writes a line about a masked number.
    pub(crate) fn write(&self, event: GateEvent, masked: &str, text: &str) {
        self.0.write(&LogEntry { number: Some(masked), text: Some(text), ..LogEntry::new(event) });
    }

    /// Waits until the lines are written. If they are not, warns that `changed`, since the change itself was made.
    pub(crate) fn close(&self, json: bool, changed: &str) {
        if !self.0.close(WITHIN) {
            let text = format!(
                "{changed}, but the audit line was not written within {} s; check the disk of the log folder",
                WITHIN.as_secs()
            );
            output::warning(json, &text);
        }
    }
}
