//! The JSON in Redis, which the scripts read and write, too, and the JSON arguments of the scripts. Times are in
//! milliseconds; a field that ends in `_at` is a wall-clock time, since 1970.

mod attempt;
mod block;
mod change;

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::call::{CallId, HashedNumber};
use crate::store::millis::{from_unix, span};
use crate::store::{Owner, StoredNumber};

pub(super) use attempt::{AttemptKey, AttemptRecord, is_verified};
pub(super) use block::BlockRecord;
pub(super) use change::{ChangeArgs, EndArgs, StepRecord};

/// Maximum difference between the clocks of two machines of a domain: with a greater one, Kerberos fails
/// (<https://learn.microsoft.com/en-us/previous-versions/windows/it-pro/windows-10/security/threat-protection/security-policy-settings/maximum-tolerance-for-computer-clock-synchronization>).
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The store's clock.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: i64,
    /// The last time of which it is not known how long ago it was: the server's clock was set back.
    pub(super) unknown_until: i64,
}

impl Clock {
    /// Returns the age of an event, which a node recorded with the time `recorded_at` of its own wall clock (S10).
    fn age(self, time: i64, recorded_at: i64) -> Duration {
        if time <= self.unknown_until {
            return Duration::MAX;
        }
        // The server may have been stopped for longer than its clock shows.
        let by_this_machine = SystemTime::now().duration_since(from_unix(recorded_at)).unwrap_or_default();
        span(self.now.saturating_sub(time)).max(by_this_machine.saturating_sub(MAX_CLOCK_SKEW))
    }
}

/// A number's hashes by one secret.
#[derive(Serialize)]
pub(super) struct HashedRecord {
    fingerprint: String,
    number_hash: String,
    line_hash: String,
}

/// A number's hashes by all secrets, the current one first.
pub(super) fn hashes(number: &StoredNumber) -> Vec<HashedRecord> {
    let current = HashedNumber { fingerprint: number.fingerprint, number: number.hash, line: number.line_hash };
    let record = |hashed: &HashedNumber| HashedRecord {
        fingerprint: hashed.fingerprint.to_string(),
        number_hash: hashed.number.to_string(),
        line_hash: hashed.line.to_string(),
    };
    std::iter::once(&current).chain(&number.otherwise).map(record).collect()
}

/// An id in Redis keys and in JSON: 32 hexadecimal digits.
pub(super) fn id(id: CallId) -> String {
    id.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An owner in Redis keys and in JSON: 32 hexadecimal digits.
pub(super) fn owner(owner: Owner) -> String {
    owner.0.as_simple().to_string()
}
