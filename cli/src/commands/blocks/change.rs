//! Adds and removes blocks.

use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use phonegate::call::NumberHash;
use phonegate::store::{Block, BlockScope, KeyUse, RecordKind};
use serde_json::json;

use super::block_log::BlockLog;
use super::{Add, BlockRecord, end, extent, has_extension};
use crate::commands::stored_number::StoredNumber;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader::{KnownNumber, StoreReader, UNKNOWN_NUMBER, unknown_number};

pub(super) fn add(
    arguments: &Add,
    reader: &StoreReader,
    log: impl FnOnce() -> Result<BlockLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    let NewBlock { block, older_hashes, usage } = new_block(arguments, reader, json)?;
    let existing = on_the_list(&[&[block.number], &*older_hashes].concat(), reader)?;
    let (same, other): (Vec<_>, Vec<_>) = existing.into_iter().partition(|there| there.scope == block.scope);
    let (replaced, other) = (last(same), last(other));
    let zone = TimeZone::system();
    if let Some(longer) = replaced.as_ref().filter(|there| !arguments.replace && outlasts(there, &block)) {
        return Err(CommandError::failed(format!(
            "{} is blocked already, and for longer: {}: {}",
            longer.masked,
            end(longer, &zone),
            longer.reason
        ))
        .hint("add --replace to replace that block"));
    }
    let log = log()?;
    reader.use_number_keys(usage)?;
    reader.block_on(reader.store.block(&block))?;
    // Unblocking an older hash removes the blocks of both scopes, so the other one is moved to the current hash first.
    if let Some(other) = other.as_ref().filter(|other| older_hashes.contains(&other.number)) {
        reader.block_on(reader.store.block(&Block { number: block.number, ..other.clone() }))?;
    }
    for hash in older_hashes {
        reader.block_on(reader.store.unblock(hash))?;
    }
    log.added(&block, replaced.as_ref());
    if json {
        replaced.iter().for_each(|replaced| output::json_line(&BlockRecord::of("replaced", replaced)));
        output::json_line(&BlockRecord::of("block", &block));
        other.iter().for_each(|other| output::json_line(&BlockRecord::of("kept", other)));
    } else {
        output::print(&format!(
            "Blocked {} ({}) {}: {}",
            block.masked,
            extent(&block),
            end(&block, &zone),
            block.reason
        ));
        if let Some(replaced) = &replaced {
            output::print(&format!("replaced: {}, {}", replaced.reason, end(replaced, &zone)));
        }
        if let Some(other) = &other {
            output::print(&format!(
                "also blocked: {}, {}: {}; `phonegate blocks remove` removes both",
                extent(other),
                end(other, &zone),
                other.reason
            ));
        }
    }
    log.close(json);
    Ok(Exit::Done)
}

/// The block that `add` is to write.
struct NewBlock {
    block: Block,
    /// Hashes of the same number with other keys. The block list may contain the number under these keys, too.
    older_hashes: Vec<NumberHash>,
    /// The number keys that the hash of the block may need.
    usage: KeyUse,
}

fn new_block(arguments: &Add, reader: &StoreReader, json: bool) -> Result<NewBlock, CommandError> {
    let text = arguments.number.join(" ");
    let mut older_hashes = Vec::new();
    let (number, masked, usage) = match (arguments.call, NumberHash::parse(text.trim())) {
        // The administrator may know only the masked number.
        (Some(id), _) => {
            let (hash, masked) = reader.number_of_call(id)?;
            (hash, masked, KeyUse::WriteAny)
        }
        (None, Some(hash)) => (hash, masked_of(hash, json, reader)?, KeyUse::WriteAny),
        (None, None) => {
            let number = reader.number(&text)?;
            older_hashes.extend(number.hashed_otherwise().iter().map(|hashed| hashed.number));
            (number.hash(), number.to_string().into(), KeyUse::Write)
        }
    };
    let since = SystemTime::now();
    let until = match arguments.days {
        None => None,
        Some(days) => Some(
            since
                .checked_add(Duration::from_secs(u64::from(days) * 24 * 60 * 60))
                .ok_or_else(|| CommandError::usage("the end of the block is after the last supported year"))?,
        ),
    };
    let scope = match arguments.only_this_number || has_extension(&masked) {
        true => BlockScope::Number,
        false => BlockScope::Line,
    };
    let block = Block { number, scope, masked, reason: arguments.reason.clone(), since, until };
    Ok(NewBlock { block, older_hashes, usage })
}

/// Returns the blocks under these hashes of a number.
fn on_the_list(hashes: &[NumberHash], reader: &StoreReader) -> Result<Vec<Block>, CommandError> {
    let mut blocks = reader.block_on(reader.store.blocks())?;
    blocks.retain(|block| hashes.contains(&block.number));
    Ok(blocks)
}

/// Returns the block that ends last.
fn last(blocks: Vec<Block>) -> Option<Block> {
    blocks.into_iter().reduce(|last, other| if outlasts(&other, &last) { other } else { last })
}

fn outlasts(there: &Block, new: &Block) -> bool {
    match (there.until, new.until) {
        (None, until) => until.is_some(),
        (Some(there), Some(new)) => there > new,
        (Some(_), None) => false,
    }
}

/// Returns the masked number of a hash. It is known if the number was called or is blocked.
fn masked_of(hash: NumberHash, json: bool, reader: &StoreReader) -> Result<Box<str>, CommandError> {
    if let Some(masked) = reader.masked(hash)? {
        return Ok(masked);
    }
    if let Some(block) = last(on_the_list(&[hash], reader)?) {
        return Ok(block.masked);
    }
    Ok(unknown_number(json))
}

pub(super) fn remove(
    number: &StoredNumber,
    reader: &StoreReader,
    log: impl FnOnce() -> Result<BlockLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    let KnownNumber { hashes, masked } = reader.known_number(&number.text())?;
    let missing = || {
        CommandError::failed("the number is not on the block list")
            .hint("`phonegate blocks list` shows the list; a number with an extension has a block of its own")
            .hint("`numbers.blocked` in the configuration is a separate list")
    };
    let blocks = on_the_list(&hashes, reader)?;
    // A block that cannot be read is not on the list, and can be removed.
    if blocks.is_empty() && reader.store.unreadable().of(RecordKind::Block) == 0 {
        return Err(missing());
    }
    let log = log()?;
    let mut was_blocked = false;
    for hash in &hashes {
        was_blocked |= reader.block_on(reader.store.unblock(*hash))?;
    }
    if !was_blocked {
        return Err(missing());
    }
    let masked = blocks.first().map(|block| block.masked.clone()).or(masked).unwrap_or_else(|| UNKNOWN_NUMBER.into());
    let zone = TimeZone::system();
    if !json {
        output::print(&format!("{masked} is no longer on the block list."));
    }
    if blocks.is_empty() {
        log.removed_unreadable(&masked);
        if json {
            let number_hash = hashes.first().map(ToString::to_string);
            output::json_line(&json!({ "event": "removed", "number_hash": number_hash, "number": masked }));
        }
    }
    for block in &blocks {
        log.removed(block);
        match json {
            true => output::json_line(&BlockRecord::of("removed", block)),
            false => {
                output::print(&format!("removed: {}, {}: {}", extent(block), end(block, &zone), block.reason));
            }
        }
    }
    log.close(json);
    Ok(Exit::Done)
}
