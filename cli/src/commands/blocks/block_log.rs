//! The audit lines of changes of the block list.

use phonegate::call::GateEvent;
use phonegate::platform;
use phonegate::redact::diagnostic_text;
use phonegate::store::Block;

use super::{FOREVER, extent};
use crate::audit_log::AuditLog;
use crate::context::Context;
use crate::error::CommandError;
use crate::time;

/// The audit log of the block list.
pub(super) struct BlockLog(AuditLog);

impl BlockLog {
    /// Opens the log.
    pub(super) fn start(context: &Context) -> Result<Self, CommandError> {
        AuditLog::start(context).map(Self)
    }

    /// Writes that a block was added, and which one it replaced.
    pub(super) fn added(&self, block: &Block, replaced: Option<&Block>) {
        let replaced = replaced.map(|block| format!("; replaces: {}", describe(block))).unwrap_or_default();
        let text = format!("by {}: {}{replaced}", platform::user_name(), describe(block));
        self.0.write(GateEvent::BlockAdded, &block.masked, &text);
    }

    /// Writes that a block was removed.
    pub(super) fn removed(&self, block: &Block) {
        let text = format!("by {}; it was: {}", platform::user_name(), describe(block));
        self.0.write(GateEvent::BlockRemoved, &block.masked, &text);
    }

    /// Writes that a block which cannot be read was removed.
    pub(super) fn removed_unreadable(&self, masked: &str) {
        let text = format!("by {}; it could not be read", platform::user_name());
        self.0.write(GateEvent::BlockRemoved, masked, &text);
    }

    /// Waits until the lines are written.
    pub(super) fn close(&self, json: bool) {
        self.0.close(json, "the block list was changed");
    }
}

/// Formats a block: its reason, its scope and its end. The reason in the store may contain numbers.
fn describe(block: &Block) -> String {
    let until = block.until.map_or_else(|| FOREVER.to_owned(), |until| format!("until {}", time::utc(until)));
    format!("{}, {}, {until}", diagnostic_text(&block.reason), extent(block))
}
