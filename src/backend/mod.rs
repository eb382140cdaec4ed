//! Backends: each places calls with one kind of provider, and follows them.
//!
//! A backend does not decide about other backends, deadlines or what the host sees: the engine does. Nor does it judge
//! what a user pressed: the [`Approver`] does.

mod backoff;
mod basic_auth;
mod context;
mod exec;
mod file;
mod http;
mod random_id;
mod replies;
mod reported;
mod simulated;
pub mod sip;
mod start_queue;
pub mod twilio_studio;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use phonegate_approval::verdict::ProviderVerdicts;

use crate::approval::Approver;
pub use crate::call::CallRef;
use crate::call::{Call, CallEvent, Failure, Outcome, Progress};
use crate::config::BackendType;
pub use context::{BackendContext, BuildBackend, backend_type, build_in_use};
use exec::ExecConfig;
use file::FileConfig;
use http::HttpConfig;
use simulated::SimulatedConfig;
use sip::SipConfig;
use twilio_studio::TwilioStudioConfig;

/// Every type of backend.
pub const BACKENDS: &[BackendType] = &[
    backend_type::<SimulatedConfig>("simulated").for_tests(),
    backend_type::<FileConfig>("file").for_tests(),
    backend_type::<TwilioStudioConfig>("twilio_studio"),
    backend_type::<SipConfig>("sip"),
    backend_type::<ExecConfig>("exec"),
    backend_type::<HttpConfig>("http"),
];

/// A provider of calls: places calls, and follows them to their outcome.
///
/// # The contract
///
/// The engine is the only caller. `tests/backends` runs every backend through the same scenarios. Its tests, and the code,
/// cite these rules by number (`B8`).
///
/// ## Concurrency
/// - **B1** Methods are called concurrently for different calls, for up to `limits.concurrent_calls` of them. They
///   run on two threads that all backends share, so nothing may block: files and look-ups belong into
///   [`spawn_blocking`](tokio::task::spawn_blocking).
/// - **B2** The methods for one call are called one after the other: [`place`](Self::place),
///   [`follow`](Self::follow), [`hang_up`](Self::hang_up) if it has no outcome, [`summary`](Self::summary),
///   [`clean_up`](Self::clean_up). Two processes may follow one reference for a short time, when one has claimed the
///   call of the other.
/// - **B3** [`run_background`](Self::run_background), [`check`](Self::check) and [`time`](Self::time) run
///   concurrently with everything else. Calls may still be hung up while and after [`close`](Self::close) runs.
/// - **B4** A panic fails the call that it occurs in, and no other.
///
/// ## References
/// - **B5** A reference is unique in all processes and for all time: no two attempts have the same one, not even two
///   attempts of the same request.
/// - **B6** The store keeps it as text. It contains no telephone number, no code and no secret.
/// - **B7** Any text may come back as a reference: a damaged one, or one of an earlier version or of another process.
///   A text that is not a reference of this backend is sent nowhere, and never approves a call. It fails in `follow`. If
///   calls outlive their process, it fails in `hang_up`, too, and in a `clean_up` that sends something. An id of any form
///   that the provider chooses therefore needs something of ours beside it, such as a random GUID.
///
/// ## Outcomes
/// - **B8** Only the [`Approver`] approves: by [`Approver::judge`], or by the state machine of `crates/approval` with
///   [`Approver::attempts`]. The backend reports what was pressed in this handling of the request, with the number of
///   the entry attempt if the provider takes several entries, and what ended the entry
///   ([`Answer::Entry`](phonegate_approval::verdict::Answer::Entry)), and nothing else. Only an entry that `#` ended can
///   approve. If the provider takes several entries, the last one is reported.
/// - **B9** Anything else, including any uncertainty, is [`Outcome::Failed`]. The reasons `CannotPlace` and
///   `NotConfigured` count against the health of the backend, also in a [`PlaceError`]. After two [`PlaceError`]s in a
///   row, of calls to several numbers, that are [`Failure::of_backend`], calls skip the backend if they can ask another
///   one. So a failure is only of the backend if no called number or phone can cause it. `Throttled`, `Interrupted`,
///   `DeadlinePassed` and `Internal` do not change the health, nor does `InvalidNumber` in a [`PlaceError`], which a
///   backend may return without asking its provider. Any other reason shows that the backend works.
/// - **B10** [`MayRing::No`] means that the phone certainly does not ring and will not ring: the next backend is
///   asked then. A request that was sent and not answered is [`MayRing::Yes`].
/// - **B21** An outcome of `follow` means that the phone no longer rings: the engine releases the number, and does not
///   call `hang_up`. A backend that stops following hangs up first, for at most [`HANG_UP_LIMIT`], and its text says if
///   that failed. A call that was answered may end in `clean_up`.
///
/// ## What is dialled and spoken
/// - **B22** A backend dials the extension of the number
///   ([`PhoneNumber::extension`](crate::call::PhoneNumber::extension)) after the answer, or refuses the call as
///   `InvalidNumber` with [`MayRing::No`]. Its documentation says which languages it speaks, and how many entry attempts
///   a user has. If [`can_change_caller_id`](crate::config::BackendSettings::can_change_caller_id) returns true, the
///   callee sees [`Call::caller_id`] if it is set.
///
/// ## Processes
/// - **B11** [`outlives_its_process`](Self::outlives_its_process) always returns the same. If it is true, a call goes
///   on at the provider when the process ends, and another process with the same configuration can follow it, hang it
///   up and clean it up by its reference.
/// - **B12** If it is false, the call ends with its process. The engine fails it as
///   [`Interrupted`](crate::call::FailureReason::Interrupted) in another process, without asking the backend.
///
/// ## Cancellation
/// - **B13** The future of `follow` may be dropped at any time, and `follow` called again for the same reference. A
///   conversation that cannot be resumed fails the call. A call that outlives its process is followed once more after
///   its deadline, for at most 5 s, to learn how it failed.
/// - **B14** The future of `place` is not dropped at the deadline, but polled for 20 s more, so that a reference that
///   still arrives can be hung up. It is dropped after that, and when the process ends.
/// - **B15** The future of `run_background` is dropped at shutdown. `close` is called once after that, and shutdown
///   waits for it.
///
/// ## Time limits
/// - **B16** `place` and `follow` need no limit for a whole call: the engine enforces the deadline. Each request in
///   them needs one.
/// - **B17** `hang_up` and `clean_up` may each take [`HANG_UP_LIMIT`]. They are dropped then, and the log reports it.
/// - **B18** `check`, `time` and `close` end on their own, within the limits of their requests.
///
/// ## Texts
/// - **B19** Text of a provider goes through [`sanitize_untrusted`](crate::redact::sanitize_untrusted) if it is about
///   a call, and through [`diagnostic_text`](crate::redact::diagnostic_text) if it is about a connection or a
///   setting. Both hide long numbers, but not the three digits of a code: a text that may quote a request which contained
///   the code is left out.
/// - **B20** No text (failure, step, summary, state or check) contains a telephone number, keys that were pressed, a
///   code, a secret, or a URL with a password. Failures are whole sentences.
#[async_trait]
pub trait TelephonyBackend: Send + Sync {
    /// Places the call, and returns once the provider has accepted it. Rules B5, B6, B10, B14 and B22.
    ///
    /// # Errors
    /// The call was not placed. The error says whether the phone may ring.
    async fn place(&self, call: &Call, on_step: StepSink<'_>) -> Result<CallRef, PlaceError>;

    /// Follows a call to its outcome, and reports its steps. Rules B7 to B9, B11 to B13 and B21.
    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome;

    /// Ends a call that has no outcome. Rules B7 and B17.
    ///
    /// # Errors
    /// The phone may still ring.
    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure>;

    /// Removes what the provider still stores of an ended call. Rules B7 and B17.
    ///
    /// # Errors
    /// What remains there, and why.
    async fn clean_up(&self, _reference: &CallRef) -> Result<(), Failure> {
        Ok(())
    }

    /// Returns one sentence for the log about the audio of an answered call, if the backend has one.
    fn summary(&self, _reference: &CallRef) -> Option<String> {
        None
    }

    /// Runs for as long as the gate does, for instance to keep a registration, and reports the health of its parts.
    /// Rules B3 and B15.
    ///
    /// `is_service` is false in a short-lived process that runs while a service does. The service keeps its
    /// registrations.
    async fn run_background(&self, _health: HealthSink<'_>, _is_service: bool) {}

    /// Ends what [`run_background`](Self::run_background) began. Rules B3, B15 and B18.
    async fn close(&self) {}

    /// Checks that the provider can be reached and accepts the credentials. Rings no phone. Returns a short description.
    ///
    /// # Errors
    /// What is wrong.
    async fn check(&self) -> Result<String, Failure>;

    /// Returns whether a call goes on when its process ends. Rules B11 and B12.
    fn outlives_its_process(&self) -> bool;

    /// Returns the time by the provider's clock, accurate to a second, if the provider reports it.
    async fn time(&self) -> Option<SystemTime> {
        None
    }
}

/// Maximum time of [`TelephonyBackend::hang_up`], and of [`TelephonyBackend::clean_up`].
pub const HANG_UP_LIMIT: Duration = Duration::from_secs(10);

/// Ends a call that is no longer followed, by `end`, and returns `failure`. If the call cannot be ended, its text says so.
async fn abandon(end: impl Future<Output = Result<(), Failure>>, failure: Failure) -> Failure {
    match tokio::time::timeout(HANG_UP_LIMIT, end).await {
        Ok(Ok(())) => failure,
        _ => failure.explained("The phone may ring on."),
    }
}

/// Receives the steps of a call that a backend reports.
pub type StepSink<'a> = &'a (dyn Fn(CallStep) + Send + Sync);

/// A step of a call, for the log and the store. Texts contain no personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallStep {
    /// The call's progress. The engine ignores progress that it has already recorded.
    Progress(Progress),
    /// A server failed to place the call, for this reason. The next server is asked.
    ServerFailed(String),
    /// The trunk redirected the call to this server, which is asked next.
    Redirected(String),
    /// The call was requested again with other parameters, for this reason.
    Retried(&'static str),
    /// The call is forwarded to another phone.
    Forwarded,
    /// The program that places the call wrote this line to its standard error.
    ProgramOutput(String),
}

impl CallStep {
    /// Returns the event to log and to store.
    pub fn event(&self) -> CallEvent {
        match self {
            Self::Progress(progress) => (*progress).into(),
            Self::ServerFailed(_) => CallEvent::ServerFailed,
            Self::Redirected(_) => CallEvent::Redirected,
            Self::Retried(_) => CallEvent::Retried,
            Self::Forwarded => CallEvent::Forwarded,
            Self::ProgramOutput(_) => CallEvent::ProgramOutput,
        }
    }

    /// Returns the detail to log: a server, a reason or a line of a program.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::ServerFailed(text) | Self::Redirected(text) | Self::ProgramOutput(text) => Some(text),
            Self::Retried(text) => Some(text),
            Self::Progress(_) | Self::Forwarded => None,
        }
    }
}

/// Receives the health of a part of a backend, such as a trunk: its name, and whether it works. The same state may be
/// reported again.
pub type HealthSink<'a> = &'a (dyn Fn(&str, Result<(), Failure>) + Send + Sync);

/// Why a call could not be placed.
#[derive(Clone, Debug)]
pub struct PlaceError {
    /// Whether the phone may ring all the same.
    pub may_ring: MayRing,
    /// What went wrong.
    pub failure: Failure,
}

/// Whether a phone may ring although its call was not placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayRing {
    /// It certainly does not: another backend may be tried.
    No,
    /// It may: no other backend is tried.
    Yes,
}

/// A backend, with its name in the configuration.
#[derive(Clone)]
pub struct NamedBackend {
    /// The key of its settings in `backends`.
    pub name: Arc<str>,
    /// The backend itself.
    pub backend: Arc<dyn TelephonyBackend>,
    /// Whether the provider's own verdict approves calls.
    pub provider_verdicts: ProviderVerdicts,
}
