//! The block list.

use serde::{Deserialize, Serialize};

use super::{at, since_1970};
use crate::call::NumberKey;
use crate::store::{Block, BlockScope};

/// A number that is not called.
#[derive(Serialize, Deserialize)]
pub(in crate::store::redis) struct KeptBlock {
    number: String,
    /// Whether the extensions of the number are called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    number_only: bool,
    masked: Box<str>,
    reason: Box<str>,
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

impl KeptBlock {
    pub(in crate::store::redis) fn new(block: &Block) -> Self {
        Self {
            number: block.number.to_string(),
            number_only: block.scope == BlockScope::Number,
            masked: block.masked.clone(),
            reason: block.reason.clone(),
            since: since_1970(block.since),
            until: block.until.map(since_1970),
        }
    }

    /// Its field among the blocks.
    pub(in crate::store::redis) fn field(&self) -> String {
        match self.number_only {
            true => format!("{}:number", self.number),
            false => self.number.clone(),
        }
    }

    pub(in crate::store::redis) fn into_block(self) -> Option<Block> {
        Some(Block {
            number: NumberKey::parse(&self.number)?,
            scope: if self.number_only { BlockScope::Number } else { BlockScope::Line },
            masked: self.masked,
            reason: self.reason,
            since: at(self.since),
            until: self.until.map(at),
        })
    }
}
