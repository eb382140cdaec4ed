//! Why a store refuses to begin an attempt, and the message for the host.

use std::time::{Duration, SystemTime};

use time::macros::format_description;

use crate::call::{CallLimit, Failure, FailureReason};
use crate::clock;

/// Why a store refuses to begin an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The id is pending with another number.
    OtherNumber,
    /// Another call is ringing the number.
    InProgress,
    /// The number is on the block list.
    Blocked {
        /// The reason of the block.
        reason: Box<str>,
        /// The end of the block. `None`: it has no end.
        until: Option<SystemTime>,
    },
    /// A limit of the configuration admits no call.
    Limit {
        /// The limit.
        limit: CallLimit,
        /// A call is admitted after this time, unless other calls begin meanwhile (S12).
        after: Duration,
    },
}

impl Refusal {
    /// Returns the failure for the host. `number` is masked.
    pub fn failure(&self, number: &str) -> Failure {
        match self {
            Self::OtherNumber => Failure::new(
                FailureReason::AlreadyInProgress,
                "This request is already calling another number; that call goes on.",
            ),
            Self::InProgress => {
                Failure::new(FailureReason::AlreadyInProgress, format_args!("Another request is ringing {number} now."))
            }
            Self::Blocked { reason, until } => {
                let until = until.map_or_else(String::new, |until| format!(" until {}", utc(until)));
                Failure::new(FailureReason::Blocked, format_args!("{number} is on the block list{until}: {reason}."))
            }
            Self::Limit { limit, after } => {
                let what = match limit {
                    CallLimit::CallsPerNumber => format!("There were too many calls to {number}"),
                    CallLimit::CallsPerNumberPerDay => format!("There were too many calls to {number} within a day"),
                    CallLimit::CallsPerLine => format!("There are too many calls to the line of {number}"),
                    CallLimit::CallsPerMinute => "There were too many calls within a minute".to_owned(),
                    CallLimit::ConcurrentCalls => "Too many calls are in progress".to_owned(),
                    CallLimit::CallsPerDay => "There were too many calls within a day".to_owned(),
                    CallLimit::ByCountry => "There were too many calls to this country within a day".to_owned(),
                    CallLimit::Denials => format!("{number} is locked, because its last calls were not approved"),
                };
                let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
                let at = SystemTime::now().checked_add(Duration::from_secs(seconds)).map_or_else(String::new, utc);
                Failure::limited(*limit, format_args!("{what}. It will work again in {seconds} s, at {at}."))
            }
        }
    }
}

/// Formats a time for people: `2026-03-01 09:30:00 UTC`.
pub(crate) fn utc(time: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    clock::utc(time).format(format).unwrap_or_default()
}
