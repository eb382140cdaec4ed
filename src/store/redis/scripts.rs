//! The scripts. Redis executes each as a whole, so each operation is atomic (S2).

use std::time::Duration;

use redis::Script;

use super::keys;
use crate::store::alerts::{
    ENDED_ALERT_RETENTION, MAX_ALERT_WAIT, MAX_ENDED_ALERTS, MAX_WAITING_ALERTS, MAX_WAITING_ALERTS_TOTAL,
    REPEAT_WINDOW, alert_lease,
};
use crate::store::denials::{DENIAL_RETENTION, MAX_LOCK};
use crate::store::limits::{DAY, DAY_BUCKET, MINUTE};
use crate::store::number_keys::{KEY_USE_INTERVAL, KEY_USE_RETENTION};
use crate::store::{DEADLINE_GRACE, LEASE, RENEW_EVERY};

/// If nothing was written to the server for this long, the server was unreachable: each node claims orphans, which
/// writes, every [`RENEW_EVERY`].
const CLOCK_GAP: Duration = RENEW_EVERY.saturating_add(Duration::from_secs(2));

/// The counters of a number are removed this long after its last call. The server removes them by its wall clock, which
/// may jump ahead when it is corrected after it was set back.
const COUNTER_TTL: Duration = DAY.saturating_mul(2);

/// A claim is returned again for this long.
const HANDOVER_TTL: Duration = DAY;

pub(super) struct Scripts {
    pub(super) begin: Script,
    pub(super) end: Script,
    pub(super) record: Script,
    pub(super) find: Script,
    pub(super) renew: Script,
    pub(super) claim_orphans: Script,
    pub(super) unblock: Script,
    pub(super) number_keys: Script,
    pub(super) sweep: Script,
    pub(super) pins: Script,
    pub(super) pins_page: Script,
    pub(super) unlock: Script,
    pub(super) locks_page: Script,
    pub(super) usage: Script,
    pub(super) use_approval: Script,
    pub(super) pepper: Script,
    pub(super) alerts: Script,
    pub(super) sweep_alerts: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let shared = [&constants(), &keys::in_lua(), include_str!("common.lua")].concat();
        let script = |clock: Clock, parts: &[&str]| {
            let writes = format!("local WRITES = {}\n", clock == Clock::Recorded);
            Script::new(&[writes.as_str(), &shared, &parts.concat()].concat())
        };
        let (counts, denials) = (include_str!("counts.lua"), include_str!("denials.lua"));
        let alerts = include_str!("alerts.lua");
        Self {
            begin: script(Clock::Recorded, &[counts, denials, include_str!("begin.lua")]),
            end: script(Clock::Recorded, &[denials, include_str!("end.lua")]),
            record: script(Clock::Recorded, &[counts, denials, include_str!("record.lua")]),
            find: script(Clock::Read, &[include_str!("find.lua")]),
            renew: script(Clock::Recorded, &[include_str!("renew.lua")]),
            claim_orphans: script(Clock::Recorded, &[include_str!("claim_orphans.lua")]),
            unblock: script(Clock::Read, &[include_str!("unblock.lua")]),
            number_keys: script(Clock::Read, &[include_str!("number_keys.lua")]),
            sweep: script(Clock::Read, &[include_str!("sweep.lua")]),
            pins: script(Clock::Recorded, &[include_str!("pins.lua")]),
            pins_page: script(Clock::Read, &[include_str!("pins_page.lua")]),
            unlock: script(Clock::Recorded, &[denials, include_str!("unlock.lua")]),
            locks_page: script(Clock::Read, &[include_str!("locks_page.lua")]),
            usage: script(Clock::Read, &[counts, include_str!("usage.lua")]),
            use_approval: script(Clock::Recorded, &[include_str!("use_approval.lua")]),
            pepper: script(Clock::Read, &[include_str!("pepper.lua")]),
            alerts: script(Clock::Recorded, &[alerts]),
            // In a server whose memory is full, the clock could not be written.
            sweep_alerts: script(Clock::Read, &[alerts]),
        }
    }
}

/// How a script uses the store's clock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// It records the time, because it writes.
    Recorded,
    /// It reads the time.
    Read,
}

/// Returns the constants of the scripts, with the values of Rust. Durations are in milliseconds.
fn constants() -> String {
    let durations = [
        ("LEASE", LEASE),
        ("DEADLINE_GRACE", DEADLINE_GRACE),
        ("CLOCK_GAP", CLOCK_GAP),
        ("MINUTE", MINUTE),
        ("DAY", DAY),
        ("DAY_BUCKET", DAY_BUCKET),
        ("COUNTER_TTL", COUNTER_TTL),
        ("HANDOVER_TTL", HANDOVER_TTL),
        ("KEY_USE_INTERVAL", KEY_USE_INTERVAL),
        ("KEY_USE_RETENTION", KEY_USE_RETENTION),
        ("MAX_LOCK", MAX_LOCK),
        ("DENIAL_RETENTION", DENIAL_RETENTION),
        ("ALERT_LEASE", alert_lease()),
        ("REPEAT_WINDOW", REPEAT_WINDOW),
        ("ENDED_ALERT_RETENTION", ENDED_ALERT_RETENTION),
        ("MAX_ALERT_WAIT", MAX_ALERT_WAIT),
    ];
    let counts = [
        ("MAX_WAITING_ALERTS", MAX_WAITING_ALERTS),
        ("MAX_WAITING_ALERTS_TOTAL", MAX_WAITING_ALERTS_TOTAL),
        ("MAX_ENDED_ALERTS", MAX_ENDED_ALERTS),
    ];
    let durations = durations.map(|(name, span)| format!("local {name} = {}\n", span.as_millis()));
    let counts = counts.map(|(name, count)| format!("local {name} = {count}\n"));
    [durations.concat(), counts.concat()].concat()
}
