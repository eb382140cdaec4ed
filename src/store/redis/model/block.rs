//! The block list.

use serde::{Deserialize, Serialize};

use crate::call::NumberHash;
use crate::store::millis::{from_unix, to_unix};
use crate::store::{Block, BlockScope};

/// A block of the block list.
#[derive(Serialize, Deserialize)]
pub(in crate::store::redis) struct BlockRecord {
    number_hash: String,
    /// Whether the block covers exactly the number.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    number_only: bool,
    masked: Box<str>,
    reason: Box<str>,
    since_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_at: Option<i64>,
}

impl BlockRecord {
    pub(in crate::store::redis) fn new(block: &Block) -> Self {
        Self {
            number_hash: block.number.to_string(),
            number_only: block.scope == BlockScope::Number,
            masked: block.masked.clone(),
            reason: block.reason.clone(),
            since_at: to_unix(block.since),
            until_at: block.until.map(to_unix),
        }
    }

    /// Its field in the hash of blocks.
    pub(in crate::store::redis) fn field(&self) -> String {
        match self.number_only {
            true => format!("{}:number", self.number_hash),
            false => self.number_hash.clone(),
        }
    }

    pub(in crate::store::redis) fn to_block(&self) -> Option<Block> {
        Some(Block {
            number: NumberHash::parse(&self.number_hash)?,
            scope: if self.number_only { BlockScope::Number } else { BlockScope::Line },
            masked: self.masked.clone(),
            reason: self.reason.clone(),
            since: from_unix(self.since_at),
            until: self.until_at.map(from_unix),
        })
    }
}
