//! What is kept, in JSON: the scripts beside this read and write it, too. Times are in milliseconds since 1970.

mod attempt;
mod block;
mod update;

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::call::{CallId, HashedNumber};
use crate::store::{Owner, StoredNumber};

pub(super) use attempt::{Kept, Which, is_verified};
pub(super) use block::KeptBlock;
pub(super) use update::{KeptEnd, KeptStep, KeptUpdate};

/// By how much the clocks of two machines of a domain may differ: Kerberos bears no more
/// (<https://learn.microsoft.com/en-us/previous-versions/windows/it-pro/windows-10/security/threat-protection/security-policy-settings/maximum-tolerance-for-computer-clock-synchronization>).
const SKEW: Duration = Duration::from_secs(5 * 60);

/// The store's clock.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: i64,
    /// How long ago anything was that was not later than this is not known: the server's clock was set back.
    pub(super) doubt: i64,
}

impl Clock {
    /// How long ago something was that a node told with its own time.
    fn since(self, time: i64, told: i64) -> Duration {
        if time <= self.doubt {
            return Duration::MAX;
        }
        // The server may have been away for longer than its clock knows.
        let by_this_machine = SystemTime::now().duration_since(at(told)).unwrap_or_default();
        span(self.now - time).max(by_this_machine.saturating_sub(SKEW))
    }
}

/// A number's hash by one key.
#[derive(Serialize)]
pub(super) struct Hashed {
    fingerprint: String,
    number: String,
    line: String,
}

/// A number's hashes by all keys, the current one first.
pub(super) fn hashes(number: &StoredNumber) -> Vec<Hashed> {
    let current = HashedNumber { fingerprint: number.fingerprint, number: number.key, line: number.line };
    let hashed = |hashed: &HashedNumber| Hashed {
        fingerprint: hashed.fingerprint.to_string(),
        number: hashed.number.to_string(),
        line: hashed.line.to_string(),
    };
    std::iter::once(&current).chain(&number.otherwise).map(hashed).collect()
}

/// An id as it stands in keys.
pub(super) fn key(id: CallId) -> String {
    id.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn owner(owner: Owner) -> String {
    owner.0.as_simple().to_string()
}

pub(super) fn milliseconds(span: Duration) -> i64 {
    span.as_millis().try_into().unwrap_or(i64::MAX)
}

pub(super) fn span(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds.try_into().unwrap_or_default())
}

pub(super) fn since_1970(time: SystemTime) -> i64 {
    milliseconds(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn at(milliseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(span(milliseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
