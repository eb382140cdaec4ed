//! Adding to the list, and removing.

use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use phonegate::call::NumberKey;
use phonegate::store::{Block, BlockScope, KeyUse};

use super::trace::Trace;
use super::{Add, Record, Remove, end, extent, has_extension};
use crate::exit::{Exit, Trouble};
use crate::output;
use crate::store::Opened;

/// Stands for a number of which nothing but its key is known.
const UNKNOWN: &str = "(not known)";

pub(super) fn add(
    arguments: &Add,
    opened: &Opened,
    trace: impl FnOnce() -> Result<Trace, Trouble>,
) -> Result<Exit, Trouble> {
    let Wanted { block, older_keys, usage } = wanted(arguments, opened)?;
    let there = on_the_list(&[&[block.number], &*older_keys].concat(), opened)?;
    let (same, other): (Vec<_>, Vec<_>) = there.into_iter().partition(|there| there.scope == block.scope);
    let (replaced, other) = (last(same), last(other));
    let zone = TimeZone::system();
    if let Some(longer) = replaced.as_ref().filter(|there| !arguments.replace && outlasts(there, &block)) {
        return Err(Trouble::failed(format!(
            "{} is blocked already, {}: {}. That is longer than what this would put in its place; if you mean it, add \
             --replace",
            longer.masked,
            end(longer, &zone),
            longer.reason
        )));
    }
    let trace = trace()?;
    opened.use_number_keys(usage)?;
    opened.ask(opened.store.block(&block))?;
    // Unblocking an older key removes the blocks of both scopes, so the other one is moved to the current key first.
    if let Some(other) = other.as_ref().filter(|other| older_keys.contains(&other.number)) {
        opened.ask(opened.store.block(&Block { number: block.number, ..other.clone() }))?;
    }
    for key in older_keys {
        opened.ask(opened.store.unblock(key))?;
    }
    trace.added(&block, replaced.as_ref());
    if arguments.json {
        replaced.iter().for_each(|replaced| output::record(&Record::of("replaced", replaced)));
        output::record(&Record::of("block", &block));
        other.iter().for_each(|other| output::record(&Record::of("kept", other)));
    } else {
        output::result(&format!(
            "Blocked {} ({}) {}: {}",
            block.masked,
            extent(&block),
            end(&block, &zone),
            block.reason
        ));
        if let Some(replaced) = &replaced {
            output::result(&format!("replaces: {}, {}", replaced.reason, end(replaced, &zone)));
        }
        if let Some(other) = &other {
            output::result(&format!(
                "also blocked: {}, {}: {}; `phonegate blocks remove` lifts both",
                extent(other),
                end(other, &zone),
                other.reason
            ));
        }
    }
    trace.close(arguments.json);
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

fn wanted(arguments: &Add, opened: &Opened) -> Result<Wanted, Trouble> {
    let text = arguments.number.join(" ");
    let mut older_keys = Vec::new();
    let (number, masked, usage) = match (arguments.call, NumberKey::parse(text.trim())) {
        // The administrator may know it by its masked form alone.
        (Some(id), _) => {
            let (key, masked) = opened.of_call(id)?;
            (key, masked, KeyUse::WriteAny)
        }
        (None, Some(key)) => (key, of_key(key, arguments.json, opened)?, KeyUse::WriteAny),
        (None, None) => {
            let number = opened.number(&text)?;
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
                .ok_or_else(|| Trouble::usage("so many days are beyond this machine's calendar"))?,
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
fn on_the_list(keys: &[NumberKey], opened: &Opened) -> Result<Vec<Block>, Trouble> {
    let mut blocks = opened.ask(opened.store.blocks())?;
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
fn of_key(key: NumberKey, json: bool, opened: &Opened) -> Result<Box<str>, Trouble> {
    if let Some(masked) = opened.masked(key)? {
        return Ok(masked);
    }
    if let Some(block) = last(on_the_list(&[key], opened)?) {
        return Ok(block.masked);
    }
    output::warning(json, "no call to a number of this key is kept; is it the right one?");
    Ok(UNKNOWN.into())
}

pub(super) fn remove(
    arguments: &Remove,
    opened: &Opened,
    trace: impl FnOnce() -> Result<Trace, Trouble>,
) -> Result<Exit, Trouble> {
    let keys = opened.keys(&arguments.number.join(" "))?;
    let missing = || {
        Trouble::failed(
            "that number is not on the list; `phonegate blocks list` shows it (a number with an extension has a block of \
             its own), and `numbers.blocked` in the configuration is a list of its own",
        )
    };
    let blocks = on_the_list(&keys, opened)?;
    let masked = blocks.first().ok_or_else(missing)?.masked.clone();
    let trace = trace()?;
    let mut was_blocked = false;
    for key in keys {
        was_blocked |= opened.ask(opened.store.unblock(key))?;
    }
    if !was_blocked {
        return Err(missing());
    }
    let zone = TimeZone::system();
    if !arguments.json {
        output::result(&format!("{masked} is not on the block list any more."));
    }
    for block in &blocks {
        trace.removed(block);
        match arguments.json {
            true => output::record(&Record::of("removed", block)),
            false => {
                output::result(&format!("removed: {}, {}: {}", extent(block), end(block, &zone), block.reason));
            }
        }
    }
    trace.close(arguments.json);
    Ok(Exit::Done)
}
