//! What remains of a change of the list: a line in this command's log, of who made it and what it replaced.

use std::time::Duration;

use phonegate::config::Level;
use phonegate::platform;
use phonegate::store::Block;
use phonegate::telemetry::{Event, Log, diagnostic_text};

use super::FOR_EVER;
use crate::exit::Trouble;
use crate::setup::Setup;
use crate::when;

/// A disk that does not answer holds nobody up for longer.
const WITHIN: Duration = Duration::from_secs(5);

/// The log, opened before anything is changed.
pub(super) struct Trace(Log);

impl Trace {
    pub(super) fn start(setup: &Setup) -> Result<Self, Trouble> {
        Ok(Self(setup.log()?))
    }

    /// A block was added, in place of another one.
    pub(super) fn added(&self, block: &Block, replaced: Option<&Block>) {
        let replaced = replaced.map(|block| format!("; replaces: {}", words(block))).unwrap_or_default();
        self.write("block_added", block, &format!("by {}: {}{replaced}", platform::user_name(), words(block)));
    }

    pub(super) fn removed(&self, block: &Block) {
        self.write("block_removed", block, &format!("by {}; it was: {}", platform::user_name(), words(block)));
    }

    fn write(&self, event: &str, block: &Block, text: &str) {
        let event = Event { event, number: Some(&block.masked), text: Some(text), ..Event::default() };
        self.0.write(Level::Info, &event);
    }

    /// Waits until the line is written. False where it may not be.
    pub(super) fn close(&self) -> bool {
        self.0.close(WITHIN)
    }
}

/// Its reason, which stands in the store as somebody wrote it, and its end.
fn words(block: &Block) -> String {
    let until = block.until.map_or_else(|| FOR_EVER.to_owned(), |until| format!("until {}", when::utc(until)));
    format!("{}, {until}", diagnostic_text(&block.reason))
}
