//! Why a store lets no attempt begin, and the words for it.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::call::{Failure, FailureReason};

/// Why a store lets no attempt begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The id is pending with another number.
    OtherNumber,
    /// Another id rings the number.
    InProgress,
    /// The number is on the block list.
    Blocked {
        /// Why.
        reason: Box<str>,
        /// Until when, if not for ever.
        until: Option<SystemTime>,
    },
    /// There were too many calls to the number.
    NumberLimit {
        /// After that time there may be one again.
        after: Duration,
    },
    /// Too many calls are in progress.
    ConcurrentLimit {
        /// After that time one of them will have ended.
        after: Duration,
    },
    /// There were too many calls within a minute.
    MinuteLimit {
        /// After that time there may be one again.
        after: Duration,
    },
}

impl Refusal {
    /// What the host is told of a call to a number, which is given masked.
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
            Self::NumberLimit { after } => throttled(format_args!("There were too many calls to {number}"), *after),
            Self::ConcurrentLimit { after } => throttled(format_args!("Too many calls are in progress"), *after),
            Self::MinuteLimit { after } => throttled(format_args!("There were too many calls within a minute"), *after),
        }
    }
}

fn throttled(what: std::fmt::Arguments<'_>, after: Duration) -> Failure {
    let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
    let at = SystemTime::now().checked_add(Duration::from_secs(seconds)).map_or_else(String::new, utc);
    Failure::new(FailureReason::Throttled, format_args!("{what}. It will work again in {seconds} s, at {at}."))
}

fn utc(time: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    OffsetDateTime::from(time).format(format).unwrap_or_default()
}
