//! Ends the lock of one number.

use phonegate::call::GateEvent;
use phonegate::platform;
use phonegate::store::NumberLock;
use serde::Serialize;

use super::Unlock;
use crate::audit_log::AuditLog;
use crate::exit::{Exit, Trouble};
use crate::output;
use crate::store::{KnownNumber, Opened};
use crate::when;

/// Shown in place of a number of which only the key is known.
const UNKNOWN: &str = "(not known)";

/// The line of `--json`. Scripts depend on its names.
#[derive(Serialize)]
struct Record<'a> {
    event: &'static str,
    key: String,
    number: &'a str,
    was_locked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locks: Option<u32>,
}

pub(super) fn run(
    arguments: &Unlock,
    opened: &Opened,
    log: impl FnOnce() -> Result<AuditLog, Trouble>,
) -> Result<Exit, Trouble> {
    let KnownNumber { keys, masked } = opened.known_number(&arguments.number.join(" "))?;
    let locks = opened.ask(opened.store.locks())?;
    let lock = locks.into_iter().find(|lock| keys.contains(&lock.number));
    let masked = lock.as_ref().map(|lock| lock.masked.clone()).or(masked).unwrap_or_else(|| {
        output::warning(arguments.json, "no call to a number with this key is kept; check that it is the right one");
        UNKNOWN.into()
    });
    let log = log()?;
    let was_locked = opened.ask(opened.store.unlock(&keys))?;
    let by = format!("by {}", platform::user_name());
    match (was_locked, &lock) {
        (true, Some(lock)) => log.write(GateEvent::Unlocked, &masked, &format!("{by}; it was: {}", words(lock))),
        // It was locked after the list was read.
        (true, None) => log.write(GateEvent::Unlocked, &masked, &by),
        // Its denials are reset nevertheless, which is logged, too.
        (false, _) => log.write(GateEvent::DenialsReset, &masked, &format!("{by}; it was not locked")),
    }
    if arguments.json {
        let lock = lock.as_ref().filter(|_| was_locked);
        output::record(&Record {
            event: "unlocked",
            key: keys.first().map(ToString::to_string).unwrap_or_default(),
            number: &masked,
            was_locked,
            since: lock.map(|lock| when::utc(lock.since)),
            until: lock.map(|lock| when::utc(lock.until)),
            locks: lock.map(|lock| lock.locks),
        });
    } else if was_locked {
        output::result(&format!("{masked} is not locked any more; denials are counted from 0 again."));
    } else {
        output::result(&format!(
            "{masked} was not locked; denials are counted from 0 again. `phonegate limits list` shows what is locked (a \
             number with an extension has a lock of its own)."
        ));
    }
    log.close(arguments.json, "the number was unlocked");
    Ok(Exit::Done)
}

/// Formats a lock for the audit log.
fn words(lock: &NumberLock) -> String {
    let NumberLock { since, until, locks, .. } = lock;
    format!("locked from {} until {}, lock {locks} in a row", when::utc(*since), when::utc(*until))
}
