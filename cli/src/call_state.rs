//! The state of a call that has not ended.

use std::time::{Duration, SystemTime};

use phonegate::store::{Row, RowOutcome};

/// The age at which a pending call has no process any more. It is longer than any call: the maximum of `call.deadline_s`
/// (600 s), the time for which a number is reserved after it, and the difference of two clocks.
const GONE_AFTER: Duration = Duration::from_secs(11 * 60);

/// The state of a call that has not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallState {
    /// The phone is not known to ring.
    Dialling,
    /// The phone rings.
    Ringing,
    /// The call was answered.
    Answered,
    /// The process of the call is gone, and no other has claimed the call.
    Gone,
}

impl CallState {
    /// Returns the state, or `None` if the call has ended.
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

    /// Returns the name that `--json` prints.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dialling => "dialling",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Gone => "gone",
        }
    }

    /// Returns the label for people.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Dialling => "dialling…",
            Self::Ringing => "ringing…",
            Self::Answered => "answered…",
            Self::Gone => "process is gone",
        }
    }
}
