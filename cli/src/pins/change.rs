//! Setting, removing and unlocking one PIN.

use std::time::SystemTime;

use phonegate::call::{GateEvent, NumberKey};
use phonegate::platform;
use phonegate::store::StoredPin;

use super::{Record, Reset, Set, Setter, Unlock, input, of_number};
use crate::audit_log::AuditLog;
use crate::exit::{Exit, Trouble};
use crate::output;
use crate::setup::Setup;
use crate::store::{Opened, admission};
use crate::when;

const CHANGED: &str = "the PIN was changed";

pub(super) fn set(
    arguments: &Set,
    setup: &Setup,
    opened: &Opened,
    log: impl FnOnce() -> Result<AuditLog, Trouble>,
) -> Result<Exit, Trouble> {
    let setter = Setter::new(setup)?;
    let pins = setter.pins(opened)?;
    // The error does not show what was read: it may be a PIN in the wrong place.
    let number = admission(setup)?.read(&arguments.number.join(" ")).map_err(|failure| {
        Trouble::usage(format!(
            "the number cannot be read ({}). Write it as +14255551212. The PIN is asked for, and is never an argument",
            failure.reason().name()
        ))
    })?;
    let pin = input::pin(arguments, &number, setter.rules)?;
    let replaced = of_number(&pins, &number);
    let log = log()?;
    super::set(&setter.into_checker(opened), &number, pin, opened)?;
    write_set(&log, &number.to_string(), replaced);
    match arguments.json {
        true => output::record(&set_record(number.key(), &number.to_string(), None, replaced.is_some())),
        false => {
            let instead = if replaced.is_some() { ", in place of the one that it had" } else { "" };
            output::result(&format!("The PIN of {number} is set{instead}."));
        }
    }
    log.close(arguments.json, CHANGED);
    Ok(Exit::Done)
}

/// Writes that a PIN was set, and which one it replaces.
pub(super) fn write_set(log: &AuditLog, masked: &str, replaced: Option<&StoredPin>) {
    let replaced = replaced.map(|pin| format!("; replaces: {}", words(pin))).unwrap_or_default();
    log.write(GateEvent::PinSet, masked, &format!("by {}{replaced}", platform::user_name()));
}

/// The line of `--json` about a PIN that was just set.
pub(super) fn set_record(key: NumberKey, masked: &str, line: Option<u64>, is_replaced: bool) -> Record<'_> {
    Record {
        event: "set",
        line,
        key: key.to_string(),
        number: masked,
        set: when::utc(SystemTime::now()),
        failures: None,
        locked_until: None,
        replaced: Some(is_replaced),
    }
}

pub(super) fn reset(
    arguments: &Reset,
    opened: &Opened,
    log: impl FnOnce() -> Result<AuditLog, Trouble>,
) -> Result<Exit, Trouble> {
    if arguments.all {
        return reset_all(arguments, opened, log);
    }
    let (keys, pin) = found(&arguments.number, opened)?;
    let log = log()?;
    if !opened.ask(opened.store.remove_pin(&keys))? {
        return Err(not_set());
    }
    write_removed(&log, &pin, arguments.json);
    if !arguments.json {
        output::result(&format!("{} has no PIN any more.", pin.masked));
    }
    log.close(arguments.json, CHANGED);
    Ok(Exit::Done)
}

fn reset_all(
    arguments: &Reset,
    opened: &Opened,
    log: impl FnOnce() -> Result<AuditLog, Trouble>,
) -> Result<Exit, Trouble> {
    let pins = opened.ask(opened.store.pins())?;
    let log = log()?;
    let removed = remove_all(&pins, opened, &log, arguments.json);
    // Also if only some were removed.
    log.close(arguments.json, "PINs were removed");
    let removed = removed?;
    if !arguments.json {
        output::result(&format!("PINs removed: {removed}."));
    }
    Ok(Exit::Done)
}

/// Removes PINs, and returns how many there were.
fn remove_all(pins: &[StoredPin], opened: &Opened, log: &AuditLog, json: bool) -> Result<usize, Trouble> {
    let mut removed = 0;
    for pin in pins {
        // Another process may have removed it meanwhile.
        if opened.ask(opened.store.remove_pin(&[pin.number]))? {
            write_removed(log, pin, json);
            removed += 1;
        }
    }
    Ok(removed)
}

/// Writes that a PIN was removed, into the log and as JSON.
fn write_removed(log: &AuditLog, pin: &StoredPin, json: bool) {
    log.write(GateEvent::PinRemoved, &pin.masked, &format!("by {}; it was: {}", platform::user_name(), words(pin)));
    if json {
        output::record(&Record::of("removed", pin));
    }
}

pub(super) fn unlock(
    arguments: &Unlock,
    opened: &Opened,
    log: impl FnOnce() -> Result<AuditLog, Trouble>,
) -> Result<Exit, Trouble> {
    let (keys, pin) = found(&arguments.number, opened)?;
    let log = log()?;
    if !opened.ask(opened.store.unlock_pin(&keys))? {
        return Err(not_set());
    }
    log.write(GateEvent::PinUnlocked, &pin.masked, &format!("by {}; it was: {}", platform::user_name(), words(&pin)));
    match arguments.json {
        true => output::record(&Record::of("unlocked", &pin)),
        false => {
            let was = if pin.locked_until.is_some() { "is not locked any more" } else { "was not locked" };
            output::result(&format!("The PIN of {} {was}; wrong PINs are counted from 0 again.", pin.masked));
        }
    }
    log.close(arguments.json, CHANGED);
    Ok(Exit::Done)
}

/// The keys of a number, and its PIN.
fn found(number: &[String], opened: &Opened) -> Result<(Vec<NumberKey>, StoredPin), Trouble> {
    let keys = opened.keys(&number.join(" "))?;
    let pins = opened.ask(opened.store.pins())?;
    let pin = pins.into_iter().find(|pin| keys.contains(&pin.number)).ok_or_else(not_set)?;
    Ok((keys, pin))
}

fn not_set() -> Trouble {
    Trouble::failed(
        "no PIN is set for that number; `phonegate pins list` shows those that have one (a number with an extension has a \
         PIN of its own)",
    )
}

/// Formats a PIN for the audit log: when it was set, the wrong PINs since then, and its lock.
fn words(pin: &StoredPin) -> String {
    let locked = pin.locked_until.map(|until| format!(", locked until {}", when::utc(until))).unwrap_or_default();
    format!("set {}, {} wrong PINs since{locked}", when::utc(pin.set_at), pin.failures)
}
