//! Notifies administrators of fraud, locked numbers, daily limits, backends and the store: each notice is a line of the
//! log and, if a destination is configured for its kind, an alert.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::alerts::{AlertKind, Alerts, NewAlert};
use crate::call::{Attempt, Call, CallEvent, CallLimit, Country, Failure, GateEvent, NumberHash};
use crate::store::{ALERT_REPEAT_WINDOW, Lockout, utc};
use crate::telemetry::{Log, LogEntry, Metrics};

/// The name of the store in log lines about backends.
pub(super) const THE_STORE: &str = "the store";

/// Minimum time between two reports of the same condition.
///
/// Longer than the time in which the store drops an alert that repeats another: the store may get the first one some time
/// after it was raised.
const REPORTED_EVERY: Duration = ALERT_REPEAT_WINDOW.saturating_add(Duration::from_secs(5 * 60));

/// Maximum number of conditions of which the last report is remembered. Beyond it no further daily limit is reported, so
/// that calls to many numbers cannot fill the log.
const MAX_REPORTED: usize = 10_000;

/// A repeated failure of a backend, or of the store.
pub(super) struct Outage {
    /// Whether it worked until then, so that this is logged.
    pub(super) is_first: bool,
    /// Whether the called numbers may be the cause, so that calls still ask the backend.
    pub(super) may_be_number: bool,
    /// Whether all calls that failed were to one number.
    pub(super) has_one_number: bool,
}

/// Writes the notices of a gate. Clones share the times of the last reports.
#[derive(Clone)]
pub(super) struct Notices {
    log: Log,
    metrics: Metrics,
    alerts: Alerts,
    /// The time of the last report of each condition, by its kind and what it is about.
    reported: Arc<Mutex<HashMap<String, Instant>>>,
    /// When the alert about the present outage of each backend was raised.
    outages: Arc<Mutex<HashMap<String, SystemTime>>>,
}

impl Notices {
    pub(super) fn new(log: Log, metrics: Metrics, alerts: Alerts) -> Self {
        Self { log, metrics, alerts, reported: Arc::default(), outages: Arc::default() }
    }

    /// Reports that a user reported fraud and that exactly this number was blocked. Returns the text of the log line.
    pub(super) fn blocked(&self, attempt: Attempt, number: NumberHash, masked: &str, days: u64) -> String {
        let text = format!(
            "the number is not called for {days} days; `phonegate blocks remove {}` lifts the block",
            attempt.id
        );
        let blocked = LogEntry::new(CallEvent::Blocked);
        self.log.write(&LogEntry { attempt: Some(attempt), number: Some(masked), text: Some(&text), ..blocked });
        self.alerts.raise(NewAlert {
            number: Some(masked.into()),
            call: Some(attempt.id),
            ..alert(
                AlertKind::Fraud,
                number,
                format!(
                    "A user said on the phone that they had not asked for this call: another person may have begun a \
                     password reset or the activation of a role in their name. Look the request up in MIM, and talk to \
                     the user. {}",
                    sentence(&text)
                ),
            )
        });
        text
    }

    /// Reports that a number was locked after denials.
    pub(super) fn number_locked(&self, lock: &Lockout) {
        let Lockout { attempt, number, masked, until } = lock;
        self.metrics.locked_out();
        let text = format!(
            "the number is not called until {}, because its last calls were not approved; `phonegate limits unlock {}` \
             ends the lock",
            utc(*until),
            attempt.id
        );
        let locked_out = LogEntry::new(CallEvent::LockedOut);
        self.log.write(&LogEntry { attempt: Some(*attempt), number: Some(masked), text: Some(&text), ..locked_out });
        self.alerts.raise(NewAlert {
            number: Some(masked.clone()),
            call: Some(attempt.id),
            ..alert(
                AlertKind::Lockout,
                number,
                format!(
                    "A number is locked. {} Another person may know the password, or the user does not know what to \
                     press. Ask the user whether the calls were theirs; `phonegate calls --number ID` shows them.",
                    sentence(&text)
                ),
            )
        });
    }

    /// Reports that a daily limit refused a call, each limit at most once an hour. Ignores other limits.
    pub(super) fn refused(&self, limit: CallLimit, after: Duration, call: &Call) {
        let (about, what) = match limit {
            CallLimit::CallsPerNumberPerDay => {
                (call.number.hash().to_string(), format!("calls to {} are refused", call.number))
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
            "the daily limit {limit} is reached, so {what} until {until}; `phonegate report` shows which numbers are \
             called; raise the limit if the calls are honest"
        );
        let masked = (limit == CallLimit::CallsPerNumberPerDay).then(|| call.number.to_string());
        let (attempt, reached) = (Some(call.attempt), LogEntry::new(CallEvent::CapReached));
        self.log.write(&LogEntry { attempt, number: masked.as_deref(), text: Some(&text), ..reached });
        self.alerts.raise(NewAlert {
            number: masked.map(Into::into),
            call: Some(call.attempt.id),
            ..alert(AlertKind::CapReached, about, sentence(&text))
        });
    }

    /// Reports that a backend, or the store, has failed repeatedly.
    pub(super) fn down(&self, backend: &str, failure: &Failure, outage: Outage) {
        if outage.is_first {
            let down = LogEntry::new(GateEvent::BackendDown);
            self.log.write(&LogEntry { backend: Some(backend), failure: Some(failure), ..down });
        }
        let kind = if backend == THE_STORE { AlertKind::StoreDown } else { AlertKind::BackendDown };
        // Called for every failure, not only the first: one within an hour of the last alert is reported after that
        // hour.
        if self.is_news(kind, backend) {
            self.outages.lock().insert(backend.to_owned(), SystemTime::now());
            let number = match (outage.may_be_number, outage.has_one_number) {
                (false, _) => "",
                (true, true) => {
                    " All calls that failed were to one number, which may be the cause, so calls still ask this backend."
                }
                (true, false) => " The called numbers may be the cause, so calls still ask this backend.",
            };
            let text = format!("PhoneGate cannot use {backend}: {}{number} Run `phonegate check`.", failure.text());
            self.alerts.raise(NewAlert { backend: Some(backend.into()), ..alert(kind, backend, text) });
        }
    }

    /// Reports that a backend, or the store, works again.
    pub(super) fn up(&self, backend: &str) {
        self.log.write(&LogEntry { backend: Some(backend), ..LogEntry::new(GateEvent::BackendUp) });
        // Only if an alert reported the outage. Its hour distinguishes it from an earlier outage.
        let Some(since) = self.outages.lock().remove(backend) else { return };
        let hour = since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() / 3600);
        let about = format!("{backend} {hour}");
        let text = format!("PhoneGate can use {backend} again.");
        self.alerts.raise(NewAlert { backend: Some(backend.into()), ..alert(AlertKind::BackendUp, about, text) });
    }

    /// Returns whether this was not reported within the last hour, and remembers it as reported now.
    fn is_news(&self, kind: AlertKind, about: &str) -> bool {
        let mut reported = self.reported.lock();
        reported.retain(|_, at| at.elapsed() < REPORTED_EVERY);
        let what = format!("{} {about}", kind.name());
        let has_room = kind != AlertKind::CapReached || reported.len() < MAX_REPORTED;
        let is_news = has_room && !reported.contains_key(&what);
        if is_news {
            reported.insert(what, Instant::now());
        }
        is_news
    }
}

/// Returns an alert without a number, a call or a backend.
fn alert(kind: AlertKind, about: impl std::fmt::Display, text: String) -> NewAlert {
    NewAlert { kind, about: about.to_string().into(), number: None, call: None, backend: None, text: text.into() }
}

/// Turns a text for the log into a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
