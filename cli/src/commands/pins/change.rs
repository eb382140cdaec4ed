//! Sets, removes and unlocks PINs.

use std::time::SystemTime;

use phonegate::call::{GateEvent, NumberHash};
use phonegate::platform;
use phonegate::store::StoredPin;

use super::{PinRecord, PinSetter, Reset, Set, input, of_number};
use crate::audit_log::AuditLog;
use crate::commands::stored_number::StoredNumber;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader::{StoreReader, admission};
use crate::time;

const CHANGED: &str = "the PIN was changed";

pub(super) fn set(
    arguments: &Set,
    context: &Context,
    reader: &StoreReader,
    log: impl FnOnce() -> Result<AuditLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    let setter = PinSetter::new(context)?;
    let pins = setter.pins(reader)?;
    // The error does not show what was read: it may be a PIN in the wrong place.
    let number = admission(context)?.read(&arguments.number.join(" ")).map_err(|failure| {
        CommandError::usage(format!("the number cannot be read ({})", failure.reason().name()))
            .hint("write the number as +14255551212; the PIN is asked for, and is never an argument")
    })?;
    let Some(pin) = input::pin(arguments, &number, setter.rules)? else {
        output::note("Cancelled: no PIN was set.");
        return Ok(Exit::Interrupted);
    };
    let replaced = of_number(&pins, &number);
    let log = log()?;
    super::set(&setter.into_checker(reader), &number, pin, reader)?;
    write_set(&log, &number.to_string(), replaced);
    match json {
        true => output::json_line(&set_record(number.hash(), &number.to_string(), None, replaced.is_some())),
        false => {
            let instead = if replaced.is_some() { ", and replaces the one before" } else { "" };
            output::print(&format!("The PIN of {number} is set{instead}."));
        }
    }
    log.close(json, CHANGED);
    Ok(Exit::Done)
}

/// Writes that a PIN was set, and which one it replaces.
pub(super) fn write_set(log: &AuditLog, masked: &str, replaced: Option<&StoredPin>) {
    let replaced = replaced.map(|pin| format!("; replaces: {}", describe(pin))).unwrap_or_default();
    log.write(GateEvent::PinSet, masked, &format!("by {}{replaced}", platform::user_name()));
}

/// Returns the line of `--json` about a PIN that was just set.
pub(super) fn set_record(hash: NumberHash, masked: &str, line: Option<u64>, is_replaced: bool) -> PinRecord<'_> {
    PinRecord {
        event: "set",
        line,
        number_hash: hash.to_string(),
        number: masked,
        set: time::utc(SystemTime::now()),
        failures: None,
        locked_until: None,
        replaced: Some(is_replaced),
    }
}

pub(super) fn reset(
    arguments: &Reset,
    reader: &StoreReader,
    log: impl FnOnce() -> Result<AuditLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    if arguments.all {
        return reset_all(reader, log, json);
    }
    let (hashes, pin) = found(&arguments.number.join(" "), reader)?;
    let log = log()?;
    if !reader.block_on(reader.store.remove_pin(&hashes))? {
        return Err(not_set());
    }
    write_removed(&log, &pin, json);
    if !json {
        output::print(&format!("{} no longer has a PIN.", pin.masked));
    }
    log.close(json, CHANGED);
    Ok(Exit::Done)
}

fn reset_all(
    reader: &StoreReader,
    log: impl FnOnce() -> Result<AuditLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    let pins = reader.block_on(reader.store.pins())?;
    let log = log()?;
    let removed = remove_all(&pins, reader, &log, json);
    // Some may have been removed even if an error occurred.
    log.close(json, "PINs were removed");
    let removed = removed?;
    if !json {
        output::print(&format!("PINs removed: {removed}."));
    }
    Ok(Exit::Done)
}

/// Removes PINs, and returns how many there were.
fn remove_all(pins: &[StoredPin], reader: &StoreReader, log: &AuditLog, json: bool) -> Result<usize, CommandError> {
    let mut removed = 0;
    for pin in pins {
        // Another process may have removed it in the meantime.
        if reader.block_on(reader.store.remove_pin(&[pin.number]))? {
            write_removed(log, pin, json);
            removed += 1;
        }
    }
    Ok(removed)
}

/// Writes that a PIN was removed, to the audit log and as JSON.
fn write_removed(log: &AuditLog, pin: &StoredPin, json: bool) {
    log.write(GateEvent::PinRemoved, &pin.masked, &format!("by {}; it was: {}", platform::user_name(), describe(pin)));
    if json {
        output::json_line(&PinRecord::of("removed", pin));
    }
}

pub(super) fn unlock(
    number: &StoredNumber,
    reader: &StoreReader,
    log: impl FnOnce() -> Result<AuditLog, CommandError>,
    json: bool,
) -> Result<Exit, CommandError> {
    let (hashes, pin) = found(&number.text(), reader)?;
    let log = log()?;
    if !reader.block_on(reader.store.unlock_pin(&hashes))? {
        return Err(not_set());
    }
    log.write(
        GateEvent::PinUnlocked,
        &pin.masked,
        &format!("by {}; it was: {}", platform::user_name(), describe(&pin)),
    );
    match json {
        true => output::json_line(&PinRecord::of("unlocked", &pin)),
        false => {
            let was = if pin.locked_until.is_some() { "is no longer locked" } else { "was not locked" };
            output::print(&format!("The PIN of {} {was}; wrong PINs are counted from 0 again.", pin.masked));
        }
    }
    log.close(json, CHANGED);
    Ok(Exit::Done)
}

/// Finds the hashes of a number, and its PIN.
fn found(number: &str, reader: &StoreReader) -> Result<(Vec<NumberHash>, StoredPin), CommandError> {
    let hashes = reader.hashes(number)?;
    let pins = reader.block_on(reader.store.pins())?;
    let pin = pins.into_iter().find(|pin| hashes.contains(&pin.number)).ok_or_else(not_set)?;
    Ok((hashes, pin))
}

fn not_set() -> CommandError {
    CommandError::failed("no PIN is set for that number")
        .hint("`phonegate pins list` shows the numbers with a PIN; a number with an extension has a PIN of its own")
}

/// Formats a PIN for the audit log: when it was set, the wrong PINs since then, and its lock.
fn describe(pin: &StoredPin) -> String {
    let locked = pin.locked_until.map(|until| format!(", locked until {}", time::utc(until))).unwrap_or_default();
    format!("set {}, {} wrong PINs since{locked}", time::utc(pin.set_at), pin.failures)
}
