//! Adding to the list, and removing.

use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use phonegate::call::NumberKey;
use phonegate::store::{Block, BlockScope, KeyUse};

use super::block_log::BlockLog;
use super::{Add, Record, end, extent, has_extension};
use crate::commands::stored_number::StoredNumber;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader::StoreReader;

/// Stands for a number of which nothing but its key is known.
const UNKNOWN: &str = "(not known)";

pub(super) fn add(
    arguments: &Add,
    reader: &StoreReader,
    log: impl FnOnce() -> Result<BlockLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    let Wanted { block, older_keys, usage } = wanted(arguments, reader, json)?;
    let there = on_the_list(&[&[block.number], &*older_keys].concat(), reader)?;
    let (same, other): (Vec<_>, Vec<_>) = there.into_iter().partition(|there| there.scope == block.scope);
    let (replaced, other) = (last(same), last(other));
    let zone = TimeZone::system();
    if let Some(longer) = replaced.as_ref().filter(|there| !arguments.replace && outlasts(there, &block)) {
        return Err(CommandError::failed(format!(
            "{} is blocked already, {}: {}. That is longer than what this would put in its place; if you mean it, add \
             --replace",
            longer.masked,
            end(longer, &zone),
            longer.reason
        )));
    }
    let log = log()?;
    reader.use_number_keys(usage)?;
    reader.block_on(reader.store.block(&block))?;
    // Unblocking an older key removes the blocks of both scopes, so the other one is moved to the current key first.
    if let Some(other) = other.as_ref().filter(|other| older_keys.contains(&other.number)) {
        reader.block_on(reader.store.block(&Block { number: block.number, ..other.clone() }))?;
    }
    for key in older_keys {
        reader.block_on(reader.store.unblock(key))?;
    }
    log.added(&block, replaced.as_ref());
    if json {
        replaced.iter().for_each(|replaced| output::json_line(&Record::of("replaced", replaced)));
        output::json_line(&Record::of("block", &block));
        other.iter().for_each(|other| output::json_line(&Record::of("kept", other)));
    } else {
        output::print(&format!(
            "Blocked {} ({}) {}: {}",
            block.masked,
            extent(&block),
            end(&block, &zone),
            block.reason
        ));
        if let Some(replaced) = &replaced {
            output::print(&format!("replaces: {}, {}", replaced.reason, end(replaced, &zone)));
        }
        if let Some(other) = &other {
            output::print(&format!(
                "also blocked: {}, {}: {}; `phonegate blocks remove` lifts both",
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
struct Wanted {
    block: Block,
    /// Hashes of the same number with other keys: it may be on the list under these too.
    older_keys: Vec<NumberKey>,
    /// Which keys the hash of the block may need.
    usage: KeyUse,
}

fn wanted(arguments: &Add, reader: &StoreReader, json: bool) -> Result<Wanted, CommandError> {
    let text = arguments.number.join(" ");
    let mut older_keys = Vec::new();
    let (number, masked, usage) = match (arguments.call, NumberKey::parse(text.trim())) {
        // The administrator may know it by its masked form alone.
        (Some(id), _) => {
            let (key, masked) = reader.of_call(id)?;
            (key, masked, KeyUse::WriteAny)
        }
        (None, Some(key)) => (key, of_key(key, json, reader)?, KeyUse::WriteAny),
        (None, None) => {
            let number = reader.number(&text)?;
            older_keys.extend(number.hashed_otherwise().iter().map(|hashed| hashed.number));
            (number.key(), number.to_string().into(), KeyUse::Write)
        }
    };
    let since = SystemTime::now();
    let until = match arguments.days {
        None => None,
        Some(days) => Some(
            since
                .checked_add(Duration::from_secs(u64::from(days) * 24 * 60 * 60))
                .ok_or_else(|| CommandError::usage("so many days are beyond this machine's calendar"))?,
        ),
    };
    let scope = match arguments.only_this_number || has_extension(&masked) {
        true => BlockScope::Number,
        false => BlockScope::Line,
    };
    let block = Block { number, scope, masked, reason: arguments.reason.clone(), since, until };
    Ok(Wanted { block, older_keys, usage })
}

/// Returns the blocks under these keys of a number.
fn on_the_list(keys: &[NumberKey], reader: &StoreReader) -> Result<Vec<Block>, CommandError> {
    let mut blocks = reader.block_on(reader.store.blocks())?;
    blocks.retain(|block| keys.contains(&block.number));
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

/// The masked number of a key, as far as it was called or is blocked.
fn of_key(key: NumberKey, json: bool, reader: &StoreReader) -> Result<Box<str>, CommandError> {
    if let Some(masked) = reader.masked(key)? {
        return Ok(masked);
    }
    if let Some(block) = last(on_the_list(&[key], reader)?) {
        return Ok(block.masked);
    }
    output::warning(json, "no call to a number of this key is kept; is it the right one?");
    Ok(UNKNOWN.into())
}

pub(super) fn remove(
    number: &StoredNumber,
    reader: &StoreReader,
    log: impl FnOnce() -> Result<BlockLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    let keys = reader.keys(&number.text())?;
    let missing = || {
        CommandError::failed(
            "that number is not on the list; `phonegate blocks list` shows it (a number with an extension has a block of \
             its own), and `numbers.blocked` in the configuration is a list of its own",
        )
    };
    let blocks = on_the_list(&keys, reader)?;
    let masked = blocks.first().ok_or_else(missing)?.masked.clone();
    let log = log()?;
    let mut was_blocked = false;
    for key in keys {
        was_blocked |= reader.block_on(reader.store.unblock(key))?;
    }
    if !was_blocked {
        return Err(missing());
    }
    let zone = TimeZone::system();
    if !json {
        output::print(&format!("{masked} is not on the block list any more."));
    }
    for block in &blocks {
        log.removed(block);
        match json {
            true => output::json_line(&Record::of("removed", block)),
            false => {
                output::print(&format!("removed: {}, {}: {}", extent(block), end(block, &zone), block.reason));
            }
        }
    }
    log.close(json);
    Ok(Exit::Done)
}
