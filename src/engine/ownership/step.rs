//! The actions and inputs of the machine.

use std::sync::Arc;

use phonegate_approval::verdict::{Approval, ProviderVerdicts};

use super::super::failures::{deadline_passed, interrupted};
use crate::backend::{NamedBackend, PlaceError};
use crate::call::{Failure, Outcome};
use crate::store::{AttemptState, StoreError};

/// Which process owns an attempt, according to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Ownership {
    /// This process, or none: the store does not have the attempt.
    Local,
    /// Another process has claimed it and will publish its outcome.
    Remote,
    /// Another process has claimed it and could not follow it, so this process has to hang up.
    RemoteAbandoned,
}

/// Why a call must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum EndCause {
    /// The gate shuts down.
    Shutdown,
    /// The deadline has passed.
    Deadline,
}

/// What the task passes to the machine in addition to the answer to an action.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Conditions {
    pub(in crate::engine) is_shutting_down: bool,
    pub(in crate::engine) is_deadline_passed: bool,
    /// Whether the lease of this process was certainly valid, without a break, since the attempt began.
    pub(in crate::engine) is_lease_held: bool,
}

/// The properties of a backend on which decisions depend.
#[derive(Clone, Debug)]
pub(in crate::engine) struct BackendTraits {
    pub(in crate::engine) name: Arc<str>,
    /// Whether its calls go on when their process ends.
    pub(in crate::engine) outlives_process: bool,
    /// Whether the provider's own verdict approves its calls.
    pub(in crate::engine) provider_verdicts: ProviderVerdicts,
}

impl BackendTraits {
    pub(in crate::engine) fn of(named: &NamedBackend) -> Self {
        Self {
            name: Arc::clone(&named.name),
            outlives_process: named.backend.outlives_its_process(),
            provider_verdicts: named.provider_verdicts,
        }
    }
}

/// What the store has recorded about the placing of a claimed attempt.
#[derive(Clone, Debug)]
pub(in crate::engine) enum ClaimedCall {
    /// The store does not know whether a backend placed it.
    Unknown,
    /// It was placed by a backend that this process does not use.
    UnknownBackend(Box<str>),
    /// It was placed by the backend of this index.
    Placed(usize),
}

/// The answer to an [`Action`].
#[derive(Clone, Debug)]
pub(in crate::engine) enum Input {
    /// To [`Action::Begin`]: the store has the attempt.
    Begun,
    /// To [`Action::Begin`]: the request is pending as another attempt, of this generation.
    AlreadyOwned(u64),
    /// To [`Action::Begin`]: refused, failed, or interrupted by an [`EndCause`].
    NotBegun(Failure),
    /// To [`Action::Place`] and [`Action::AwaitReference`]: the backend placed the call and returned its reference.
    Placed,
    /// To the same.
    NotPlaced(PlaceError),
    /// To [`Action::Place`] with `may_skip`: the backend was not asked, because it is down.
    Skipped,
    /// To [`Action::Place`] and [`Action::Follow`]: neither has ended, but the call must.
    MustEnd(EndCause),
    /// To [`Action::Follow`].
    Outcome(Outcome),
    /// To [`Action::Follow`]: this process does not know what approves the call.
    CannotJudge,
    /// To [`Action::FinalPoll`] and [`Action::PollForFraud`]: how the provider says that the call failed. An error says why
    /// it fails if the provider does not say that.
    Polled(Result<Failure, Failure>),
    /// To [`Action::Verify`]: whether the store confirmed the approval.
    Verified(Result<bool, StoreError>),
    /// To [`Action::End`]: whether the attempt was this process's to end. True also if the end was queued.
    Ended(bool),
    /// To [`Action::ReadState`]: the stored state of the attempt, `None` if it is not the latest one of its id.
    State(Result<Option<AttemptState>, StoreError>),
    /// To [`Action::HangUp`]: whether the phone certainly no longer rings.
    HungUp(bool),
    /// To [`Action::AwaitWrites`]: whether the store has all of the call.
    Written(bool),
    /// To any other action.
    Done,
    /// To any action: its code panicked. Taken as the worst possible answer.
    Panicked,
}

/// The next action of the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Action {
    /// Begin the attempt in the store.
    Begin,
    /// Ask the backend of this index to place the call.
    Place {
        index: usize,
        /// Whether the backend may be left out if it is down, because another one can be asked.
        may_skip: bool,
    },
    /// Wait a while longer for the reference of a call that has failed while it was being placed.
    AwaitReference,
    /// Follow the call.
    Follow,
    /// Ask the provider once how the call ended: its deadline passed while no process may have followed it.
    FinalPoll,
    /// End the attempt as verified.
    Verify(Approval),
    /// Wait before the store is asked again.
    Pause,
    /// Block the number, because the user reported fraud.
    Block,
    /// End the attempt as failed. `release`: its phone certainly no longer rings.
    End { failure: Failure, release: bool },
    /// End the attempt as failed without waiting for the store, by the queue of writes.
    QueueEnd { failure: Failure, release: bool },
    /// Read the state of the attempt from the store.
    ReadState,
    /// Release the number in this process; the end in the store has released it there.
    ReleaseLocally,
    /// Release the number in the store, then in this process.
    Release,
    /// Publish the outcome.
    Publish(Outcome),
    /// Leave the attempt to the process that owns it.
    Cede,
    /// Hang up.
    HangUp,
    /// Wait for the deadline or for shutdown.
    AwaitEnd,
    /// Ask the provider once whether fraud was reported before the call was hung up.
    PollForFraud,
    /// Log the backend's summary of the audio.
    LogSummary,
    /// Wait until all changes of the call are in the store. Shutdown ends the wait.
    AwaitWrites,
    /// Remove the provider's record of the call.
    CleanUp,
    /// Follow the attempt of this generation, which another process owns. The machine has ended.
    Mirror(u64),
    /// Record and publish the failure of a call for which no phone rang. The machine has ended.
    Reject(Failure),
    /// The machine has ended.
    Done,
}

impl Conditions {
    pub(super) fn end_cause(self) -> Option<EndCause> {
        match self {
            Self { is_shutting_down: true, .. } => Some(EndCause::Shutdown),
            Self { is_deadline_passed: true, .. } => Some(EndCause::Deadline),
            _ => None,
        }
    }
}

impl EndCause {
    pub(in crate::engine) fn failure(self) -> Failure {
        match self {
            Self::Shutdown => interrupted(),
            Self::Deadline => deadline_passed(),
        }
    }
}
