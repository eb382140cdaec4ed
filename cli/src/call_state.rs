//! How a call stands that has not ended.

use std::time::{Duration, SystemTime};

use phonegate::store::{Row, RowOutcome};

/// Longer than any call lasts: the longest deadline (`call.deadline_s`, 600 s), what a number is held after it, and some
/// seconds by which two clocks may differ. Whoever drove a call that is older is gone, and nobody has taken it up.
const GONE_AFTER: Duration = Duration::from_secs(11 * 60);

/// How far a call has come that has not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallState {
    /// Nobody's phone is known to ring.
    Dialling,
    /// It rings.
    Ringing,
    /// Somebody answered.
    Answered,
    /// It will not end: its process is gone.
    Gone,
}

impl CallState {
    /// None where it has ended.
    pub(crate) fn of(row: &Row) -> Option<Self> {
        let is_old = SystemTime::now().duration_since(row.started).is_ok_and(|age| age > GONE_AFTER);
        match row.outcome {
            RowOutcome::Verified | RowOutcome::Failed(_) => None,
            RowOutcome::Pending if is_old => Some(Self::Gone),
            RowOutcome::Pending if row.answered.is_some() => Some(Self::Answered),
            RowOutcome::Pending if row.ringing.is_some() => Some(Self::Ringing),
            RowOutcome::Pending => Some(Self::Dialling),
        }
    }

    /// For programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dialling => "dialling",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Gone => "gone",
        }
    }

    /// In a column.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Dialling => "dialling…",
            Self::Ringing => "ringing…",
            Self::Answered => "answered…",
            Self::Gone => "process is gone",
        }
    }
}
