//! The block list (S11).

use std::time::SystemTime;

use crate::call::NumberHash;

/// An entry of the block list: a number that is not called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The number.
    pub number: NumberHash,
    /// Whether the block covers only the number, or also its extensions.
    pub scope: BlockScope,
    /// The number, masked.
    pub masked: Box<str>,
    /// The reason, without a full stop.
    pub reason: Box<str>,
    /// When it was blocked.
    pub since: SystemTime,
    /// When the block ends. `None`: never.
    pub until: Option<SystemTime>,
}

/// What a block covers. A number may have a block of each scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockScope {
    /// Exactly the number. Its extensions are called.
    Number,
    /// The number and all of its extensions. Only an administrator blocks a line.
    Line,
}

impl Block {
    /// Returns whether it has ended.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}
