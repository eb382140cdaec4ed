//! What remains of a change of the list: a line in this command's log, of who made it and what it replaced.

use phonegate::call::GateEvent;
use phonegate::platform;
use phonegate::store::Block;
use phonegate::telemetry::diagnostic_text;

use super::{FOR_EVER, extent};
use crate::audit_log::AuditLog;
use crate::context::Context;
use crate::error::CommandError;
use crate::time;

/// The log, reader before anything is changed.
pub(super) struct BlockLog(AuditLog);

impl BlockLog {
    pub(super) fn start(context: &Context) -> Result<Self, CommandError> {
        AuditLog::start(context).map(Self)
    }

    /// A block was added, in place of another one.
    pub(super) fn added(&self, block: &Block, replaced: Option<&Block>) {
        let replaced = replaced.map(|block| format!("; replaces: {}", words(block))).unwrap_or_default();
        let text = format!("by {}: {}{replaced}", platform::user_name(), words(block));
        self.0.write(GateEvent::BlockAdded, &block.masked, &text);
    }

    pub(super) fn removed(&self, block: &Block) {
        let text = format!("by {}; it was: {}", platform::user_name(), words(block));
        self.0.write(GateEvent::BlockRemoved, &block.masked, &text);
    }

    /// Waits until the line is written.
    pub(super) fn close(&self, json: bool) {
        self.0.close(json, "the block list was changed");
    }
}

/// Formats a block: its reason, what it covers, and its end. The store has the reason as an administrator wrote it.
fn words(block: &Block) -> String {
    let until = block.until.map_or_else(|| FOR_EVER.to_owned(), |until| format!("until {}", time::utc(until)));
    format!("{}, {}, {until}", diagnostic_text(&block.reason), extent(block))
}
