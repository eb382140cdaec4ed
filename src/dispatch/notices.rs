//! What an administrator hears of beyond the single call: fraud, locked numbers, daily caps, backends and the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::call::{Attempt, Call, CallLimit, Country, Failure, NumberKey};
use crate::config::Level;
use crate::store::{Lockout, utc};
use crate::telemetry::{Event, Log, Metrics};

/// The interval at which a cap that keeps refusing calls is reported.
const CAP_REPORTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// Maximum number of caps whose last report is remembered. Beyond it no further cap is reported, so that calls to many
/// numbers cannot fill the log.
const MAX_CAPS: usize = 10_000;

/// Writes the notices of a gate. Clones share what was reported.
#[derive(Clone)]
pub(super) struct Notices {
    log: Log,
    metrics: Metrics,
    caps: Arc<Mutex<HashMap<Cap, Instant>>>,
}

/// A daily cap that was reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Cap {
    Number(NumberKey),
    Country(Option<Country>),
    All,
}

impl Notices {
    pub(super) fn new(log: Log, metrics: Metrics) -> Self {
        Self { log, metrics, caps: Arc::default() }
    }

    /// A user reported a fraud, and exactly that number was blocked. Returns the text of the log line.
    pub(super) fn blocked(&self, attempt: Attempt, masked: &str, days: u64) -> String {
        let text = format!(
            "the number is not called for {days} days; `phonegate blocks remove {}` lifts the block",
            attempt.id
        );
        let event = Event { attempt: Some(attempt), number: Some(masked), text: Some(&text), ..Event::default() };
        self.log.write(Level::Warn, &Event { event: "blocked", ..event });
        text
    }

    /// A number was locked after denials.
    pub(super) fn locked_out(&self, lockout: &Lockout) {
        let Lockout { attempt, number: _, masked, until } = lockout;
        self.metrics.locked_out();
        let text = format!(
            "the number is not called until {}, because its last calls were not approved; `phonegate limits unlock {}` \
             ends the lock",
            utc(*until),
            attempt.id
        );
        let event = Event { attempt: Some(*attempt), number: Some(masked), text: Some(&text), ..Event::default() };
        self.log.write(Level::Warn, &Event { event: "locked_out", ..event });
    }

    /// A limit refused a call. Reports a daily cap, each at most once an hour.
    pub(super) fn refused(&self, limit: CallLimit, after: Duration, call: &Call) {
        let country = call.number.country().copied();
        let (cap, what) = match limit {
            CallLimit::CallsPerNumberPerDay => {
                (Cap::Number(call.number.key()), "calls to this number are refused".to_owned())
            }
            CallLimit::ByCountry => (
                Cap::Country(country),
                format!("calls to {} are refused", country.as_ref().map_or("", Country::as_str)),
            ),
            CallLimit::CallsPerDay => (Cap::All, "all calls are refused".to_owned()),
            _ => return,
        };
        if !self.is_news(cap) {
            return;
        }
        let until = SystemTime::now().checked_add(after).map_or_else(String::new, utc);
        let text = format!(
            "{limit} is reached, so {what} until {until}: look with `phonegate calls` who is called so often, or raise \
             the limit"
        );
        let masked = matches!(cap, Cap::Number(_)).then(|| call.number.to_string());
        let event =
            Event { attempt: Some(call.attempt), number: masked.as_deref(), text: Some(&text), ..Event::default() };
        self.log.write(Level::Warn, &Event { event: "cap_reached", ..event });
    }

    fn is_news(&self, cap: Cap) -> bool {
        let mut caps = self.caps.lock();
        caps.retain(|_, reported| reported.elapsed() < CAP_REPORTED_EVERY);
        let is_news = !caps.contains_key(&cap) && caps.len() < MAX_CAPS;
        if is_news {
            caps.insert(cap, Instant::now());
        }
        is_news
    }

    /// A backend, or the store, works no more.
    pub(super) fn down(&self, backend: &str, failure: &Failure) {
        let event = Event { backend: Some(backend), failure: Some(failure), ..Event::default() };
        self.log.write(Level::Warn, &Event { event: "backend_down", ..event });
    }

    /// A backend, or the store, works again.
    pub(super) fn up(&self, backend: &str) {
        let event = Event { backend: Some(backend), ..Event::default() };
        self.log.write(Level::Info, &Event { event: "backend_up", ..event });
    }
}
