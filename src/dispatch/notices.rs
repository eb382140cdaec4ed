//! What an administrator hears of beyond the single call: fraud, locked numbers, daily caps, backends and the store. Each is
//! a line of the log and, if the configuration wants it, an alert.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::ledger::THE_STORE;
use crate::alerts::{AlertKind, Alerts, NewAlert};
use crate::call::{Attempt, Call, CallLimit, Country, Failure, NumberKey};
use crate::config::Level;
use crate::store::{Lockout, utc};
use crate::telemetry::{Event, Log, Metrics};

/// How long something that goes on is not reported again.
const REPORTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// Maximum number of things whose last report is remembered. Beyond it nothing new is reported, so that calls to many
/// numbers cannot fill the log.
const MAX_REPORTED: usize = 10_000;

/// Writes the notices of a gate. Clones share what was reported.
#[derive(Clone)]
pub(super) struct Notices {
    log: Log,
    metrics: Metrics,
    alerts: Alerts,
    /// When something that goes on was reported, by what it is.
    reported: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Notices {
    pub(super) fn new(log: Log, metrics: Metrics, alerts: Alerts) -> Self {
        Self { log, metrics, alerts, reported: Arc::default() }
    }

    /// A user reported a fraud, and exactly that number was blocked. Returns the text of the log line.
    pub(super) fn blocked(&self, attempt: Attempt, number: NumberKey, masked: &str, days: u64) -> String {
        let text = format!(
            "the number is not called for {days} days; `phonegate blocks remove {}` lifts the block",
            attempt.id
        );
        let event = Event { attempt: Some(attempt), number: Some(masked), text: Some(&text), ..Event::default() };
        self.log.write(Level::Warn, &Event { event: "blocked", ..event });
        self.alerts.raise(NewAlert {
            number: Some(masked.into()),
            call: Some(attempt.id),
            ..alert(
                AlertKind::Fraud,
                number,
                format!(
                    "A user said on the phone that they had not asked for this call: somebody else may have begun a \
                     password reset or the activation of a role in their name. Look the request up in MIM, and talk to \
                     the user. {}",
                    sentence(&text)
                ),
            )
        });
        text
    }

    /// A number was locked after denials.
    pub(super) fn locked_out(&self, lockout: &Lockout) {
        let Lockout { attempt, number, masked, until } = lockout;
        self.metrics.locked_out();
        let text = format!(
            "the number is not called until {}, because its last calls were not approved; `phonegate limits unlock {}` \
             ends the lock",
            utc(*until),
            attempt.id
        );
        let event = Event { attempt: Some(*attempt), number: Some(masked), text: Some(&text), ..Event::default() };
        self.log.write(Level::Warn, &Event { event: "locked_out", ..event });
        self.alerts.raise(NewAlert {
            number: Some(masked.clone()),
            call: Some(attempt.id),
            ..alert(
                AlertKind::Lockout,
                number,
                format!(
                    "A number is locked. {} Somebody may be trying to get in, or the user does not know what to press: \
                     look at the calls with `phonegate calls --number`, and talk to the user.",
                    sentence(&text)
                ),
            )
        });
    }

    /// A limit refused a call. Reports a daily cap, each at most once an hour.
    pub(super) fn refused(&self, limit: CallLimit, after: Duration, call: &Call) {
        let (about, what) = match limit {
            CallLimit::CallsPerNumberPerDay => {
                (call.number.key().to_string(), "calls to this number are refused".to_owned())
            }
            CallLimit::ByCountry => {
                let country = call.number.country().map_or("", Country::as_str);
                (country.to_owned(), format!("calls to {country} are refused"))
            }
            CallLimit::CallsPerDay => (String::new(), "all calls are refused".to_owned()),
            _ => return,
        };
        let about = format!("{} {about}", limit.name());
        if !self.is_news(AlertKind::CapReached, &about) {
            return;
        }
        let until = SystemTime::now().checked_add(after).map_or_else(String::new, utc);
        let text = format!(
            "{limit} is reached, so {what} until {until}; look with `phonegate calls` who is called so often, or raise \
             the limit"
        );
        let masked = (limit == CallLimit::CallsPerNumberPerDay).then(|| call.number.to_string());
        let event =
            Event { attempt: Some(call.attempt), number: masked.as_deref(), text: Some(&text), ..Event::default() };
        self.log.write(Level::Warn, &Event { event: "cap_reached", ..event });
        self.alerts.raise(NewAlert {
            number: masked.map(Into::into),
            call: Some(call.attempt.id),
            ..alert(AlertKind::CapReached, about, sentence(&text))
        });
    }

    /// Something that a backend, or the store, did failed, and so did what it did before. `is_first` if it worked before
    /// that.
    pub(super) fn down(&self, backend: &str, failure: &Failure, is_first: bool) {
        if is_first {
            let event = Event { backend: Some(backend), failure: Some(failure), ..Event::default() };
            self.log.write(Level::Warn, &Event { event: "backend_down", ..event });
        }
        let kind = if backend == THE_STORE { AlertKind::StoreDown } else { AlertKind::BackendDown };
        // Also later: what went down again within the hour of its last alert is reported after that hour.
        if self.is_news(kind, backend) {
            let text = format!("It does not work: {} `phonegate check` asks it whether it does.", failure.text());
            self.alerts.raise(NewAlert { backend: Some(backend.into()), ..alert(kind, backend, text) });
        }
    }

    /// A backend, or the store, works again.
    pub(super) fn up(&self, backend: &str) {
        let event = Event { backend: Some(backend), ..Event::default() };
        self.log.write(Level::Info, &Event { event: "backend_up", ..event });
        let text = "It works again.".to_owned();
        self.alerts.raise(NewAlert { backend: Some(backend.into()), ..alert(AlertKind::BackendUp, backend, text) });
    }

    /// Returns whether this was not reported within the last hour, and remembers it as reported now.
    fn is_news(&self, kind: AlertKind, about: &str) -> bool {
        let mut reported = self.reported.lock();
        reported.retain(|_, at| at.elapsed() < REPORTED_EVERY);
        let what = format!("{} {about}", kind.name());
        let is_news = !reported.contains_key(&what) && reported.len() < MAX_REPORTED;
        if is_news {
            reported.insert(what, Instant::now());
        }
        is_news
    }
}

/// An alert about something.
fn alert(kind: AlertKind, about: impl std::fmt::Display, text: String) -> NewAlert {
    NewAlert { kind, about: about.to_string().into(), number: None, call: None, backend: None, text: text.into() }
}

/// A text of the log as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
