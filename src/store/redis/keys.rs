//! The Redis keys of a site: one constructor each, for Rust and for the scripts.

use std::fmt::Display;

use super::config::Site;

/// The beginning of the keys of all sites: a hash tag, so that they are in one slot of a cluster.
pub(super) const HASH_TAG: &str = "{phonegate}";

/// A key that a site has once. In a script, `keys.NAME`.
#[derive(Clone, Copy)]
pub(super) struct Single(&'static str);

/// A key for each item of a kind. In a script, `keys.NAME(item)`.
#[derive(Clone, Copy)]
pub(super) struct PerItem(&'static str);

/// A hash with the store's clock (S10). `last`: its latest time; `wall`: the server's clock then; `back_at`: when the
/// server was reachable again; `unknown_until`: the last time of which the age is unknown.
pub(super) const CLOCK: Single = Single("clock");

/// The sequence of the last attempt.
pub(super) const SEQUENCE: Single = Single("sequence");

/// The sequence of the first attempt that may still exist.
pub(super) const FIRST_SEQUENCE: Single = Single("first_sequence");

/// An attempt by its sequence, as JSON.
pub(super) const ATTEMPT: PerItem = PerItem("attempt");

/// A list of the steps of an attempt, by its sequence, as JSON.
pub(super) const STEPS: PerItem = PerItem("steps");

/// A hash of the sequences of an id's attempts by generation; `latest` has that of the latest one.
pub(super) const ID: PerItem = PerItem("id");

/// The sequence of the attempt that holds a number (S8).
const RINGING: PerItem = PerItem("ringing");

/// A sorted set of the attempts to a number within a day, by when they began.
const NUMBER: PerItem = PerItem("number");

/// A sorted set of the attempts to a line within a minute, by when they began.
const LINE: PerItem = PerItem("line");

/// A sorted set of all attempts within a minute, by when they began.
const MINUTE: Single = Single("minute");

/// A sorted set of all pending attempts, by deadline.
const PENDING: Single = Single("pending");

/// A sorted set of the pending attempts to a line, by deadline.
const PENDING_LINE: PerItem = PerItem("pending_line");

/// A hash of the number of attempts that began in each bucket of a day.
const DAY: Single = Single("day");

/// The same, of the attempts to a country.
const COUNTRY: PerItem = PerItem("country");

/// A set of the countries that have such a hash.
const COUNTRIES: Single = Single("countries");

/// A sorted set of the pending attempts of an owner, by deadline.
const OWNER: PerItem = PerItem("owner");

/// A sorted set of the owners, by their last renewal.
const OWNERS: Single = Single("owners");

/// The last claim of an owner, as JSON (S9).
const HANDOVER: PerItem = PerItem("handover");

/// A sorted set of the ended attempts, by when they ended.
const ENDED: Single = Single("ended");

/// The denials and the lock of a number, as JSON.
const DENIALS: PerItem = PerItem("denials");

/// A sorted set of the numbers that have denials, by the last one.
const DENIED: Single = Single("denied");

/// The current hash of a number whose denials were moved from this hash, for as long as a lock can last.
const REHASHED: PerItem = PerItem("rehashed");

/// A hash of the blocks, as JSON. Field `NUMBER:number` is a block of exactly a number, field `NUMBER` of a whole line.
pub(super) const BLOCKS: Single = Single("blocks");

/// A hash of when numbers were last hashed with each secret, by fingerprint. `none`: without a secret.
const NUMBER_KEYS: Single = Single("number_keys");

/// A hash of the PINs by number, as JSON.
const PINS: Single = Single("pins");

/// A hash of how many PINs have numbers that were hashed with each secret, by fingerprint.
const PIN_NUMBER_KEYS: Single = Single("pin_number_keys");

/// The fingerprint of the pepper of all PINs.
const PEPPER: Single = Single("pepper");

/// A hash of the alerts by id, as JSON.
pub(super) const ALERTS: Single = Single("alerts");

/// A hash of the id of the last alert for each `DESTINATION:ABOUT`.
const ALERT_SUBJECTS: Single = Single("alert_subjects");

/// A sorted set of the alerts that wait, by when they were added.
const ALERTS_WAITING: Single = Single("alerts_waiting");

/// A sorted set of the other alerts, by when they ended.
const ALERTS_ENDED: Single = Single("alerts_ended");

/// A sorted set of the urgent alerts that wait for a destination, by when they can be claimed.
const ALERTS_URGENT: PerItem = PerItem("alerts_urgent");

/// The same, of the other alerts that wait for it.
const ALERTS_DUE: PerItem = PerItem("alerts_due");

/// A key that never exists. It is deleted in order to write (`run_if_writable`).
pub(super) const NOTHING: Single = Single("nothing");

const SINGLES: [Single; 19] = [
    CLOCK,
    SEQUENCE,
    FIRST_SEQUENCE,
    MINUTE,
    PENDING,
    DAY,
    COUNTRIES,
    OWNERS,
    ENDED,
    DENIED,
    BLOCKS,
    NUMBER_KEYS,
    PINS,
    PIN_NUMBER_KEYS,
    PEPPER,
    ALERTS,
    ALERT_SUBJECTS,
    ALERTS_WAITING,
    ALERTS_ENDED,
];

const PER_ITEM: [PerItem; 14] = [
    ATTEMPT,
    STEPS,
    ID,
    RINGING,
    NUMBER,
    LINE,
    PENDING_LINE,
    COUNTRY,
    OWNER,
    HANDOVER,
    DENIALS,
    REHASHED,
    ALERTS_URGENT,
    ALERTS_DUE,
];

/// The keys of one site.
pub(super) struct Keys {
    /// Ends with a colon, which no site name contains, so no key belongs to two sites.
    prefix: String,
}

impl Keys {
    pub(super) fn of_site(site: Option<&Site>) -> Self {
        let prefix = match site.map_or(Site::DEFAULT, Site::as_str) {
            Site::DEFAULT => format!("{HASH_TAG}:"),
            site => format!("{HASH_TAG}@{site}:"),
        };
        Self { prefix }
    }

    /// The beginning of every key.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn single(&self, Single(name): Single) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn per_item(&self, PerItem(name): PerItem, item: impl Display) -> String {
        format!("{}{name}:{item}", self.prefix)
    }
}

/// Returns the constructors of all keys in Lua. A script gets the prefix as its only key.
pub(super) fn in_lua() -> String {
    let singles = SINGLES.map(|Single(name)| format!("keys.{name} = KEYS[1] .. '{name}'\n"));
    let per_item =
        PER_ITEM.map(|PerItem(name)| format!("function keys.{name}(item) return KEYS[1] .. '{name}:' .. item end\n"));
    ["local keys = {}\n", &singles.concat(), &per_item.concat()].concat()
}
