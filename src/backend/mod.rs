//! Telephony backends: what places a call and tells what becomes of it.
//!
//! A backend decides nothing about retries, deadlines or what the host sees; it knows nothing of the registry or of
//! other backends. It does not judge what a user pressed, either: [`Approver`] does.

mod file;
mod simulated;
pub mod sip;
pub mod twilio_studio;

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use phonegate_approval::policy::Policy;
use phonegate_approval::verdict::ProviderVerdicts;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use crate::approval::Approver;
pub use crate::call::CallRef;
use crate::call::{Call, CallEvent, Failure, Outcome, Progress};
use crate::config::{
    BackendConfig, BackendSettings, BackendType, Config, ConfigError, ErrorKind, FraudKey, NetworkConfig,
    NumbersConfig, PromptsConfig, Secret,
};
use crate::prompts::Prompts;
use file::FileConfig;
use simulated::SimulatedConfig;
use sip::SipConfig;
use twilio_studio::TwilioStudioConfig;

/// Places calls and follows them.
#[async_trait]
pub trait TelephonyBackend: Send + Sync {
    /// Places the call. Returns once the provider has taken it.
    ///
    /// If the call's deadline passes meanwhile, the returned future is polled on for a while, so that a reference
    /// which still arrives can be hung up.
    ///
    /// # Errors
    /// [`PlaceError`], which says whether the user's phone may have rung.
    async fn place(&self, call: &Call, on_step: StepSink<'_>) -> Result<CallRef, PlaceError>;

    /// Follows a call to its outcome, and reports its steps. May be dropped at any moment, and may be called
    /// again for the same reference, in a new process only if a call [outlives](Self::outlives_its_process) the old one.
    /// The call fails if a conversation with the user was interrupted and cannot be resumed.
    ///
    /// Only `approver` judges what the user pressed: with [`Approver::judge`], or by the state machine of
    /// `crates/approval` with [`Approver::attempts`].
    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome;

    /// Ends a call that has no outcome: best effort, and given up after [`HANG_UP_LIMIT`].
    ///
    /// # Errors
    /// Why it may still be ringing.
    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure>;

    /// Removes what the provider still holds of an ended call. As long as [`HANG_UP_LIMIT`].
    ///
    /// # Errors
    /// What remains there, and why.
    async fn clean_up(&self, _reference: &CallRef) -> Result<(), Failure> {
        Ok(())
    }

    /// How the audio of an answered call went, in one sentence for the log at the call's end, if the backend knows.
    fn summary(&self, _reference: &CallRef) -> Option<String> {
        None
    }

    /// What goes on as long as the gate runs, such as a registration, telling how it goes. Dropped at the gate's end.
    /// `is_service` is false in a process that runs for a short while beside a service, which keeps its registrations.
    async fn keep_up(&self, _tell: HealthSink<'_>, _is_service: bool) {}

    /// Ends what [`keep_up`](Self::keep_up) began. Called once, after that future was dropped;
    /// shutdown waits for it.
    async fn close(&self) {}

    /// Is it reachable, and are its credentials good? Rings nobody. Returns a few words about it.
    ///
    /// # Errors
    /// What is wrong.
    async fn check(&self) -> Result<String, Failure>;

    /// Does a call go on when this process ends, so that another one can follow it by its reference?
    fn outlives_its_process(&self) -> bool;

    /// The time by the provider's clock, to the second, if it tells it.
    async fn time(&self) -> Option<SystemTime> {
        None
    }
}

/// The longest that [`TelephonyBackend::hang_up`] and [`TelephonyBackend::clean_up`] may take.
pub const HANG_UP_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Receives the steps of a call that a backend reports.
pub type StepSink<'a> = &'a (dyn Fn(CallStep) + Send + Sync);

/// A step of a call, for the log and the store. Texts have no personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallStep {
    /// The call's progress. The engine ignores progress that it has already recorded.
    Progress(Progress),
    /// A server could not take the call, for this reason; another one is asked.
    ServerFailed(String),
    /// The trunk redirected the call to this server, which is asked now.
    Redirected(String),
    /// The call was requested again with other parameters, for this reason.
    Retried(&'static str),
    /// The call is forwarded to another phone.
    Forwarded,
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
        }
    }

    /// Returns the detail to log: a server or a reason.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::ServerFailed(text) | Self::Redirected(text) => Some(text),
            Self::Retried(text) => Some(text),
            Self::Progress(_) | Self::Forwarded => None,
        }
    }
}

/// Where a backend tells of a part of it, such as a trunk, whether it works. It may tell the same again.
pub type HealthSink<'a> = &'a (dyn Fn(&str, Result<(), Failure>) + Send + Sync);

/// Why a call could not be placed.
#[derive(Clone, Debug)]
pub struct PlaceError {
    /// May the phone have rung all the same?
    pub may_ring: MayRing,
    /// What went wrong.
    pub failure: Failure,
}

/// Whether a phone rang that should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayRing {
    /// Certainly not: another backend may be tried.
    No,
    /// Perhaps: nobody else may be asked.
    Yes,
}

/// A backend under its name in the configuration.
#[derive(Clone)]
pub struct NamedBackend {
    /// The name.
    pub name: Arc<str>,
    /// The backend.
    pub backend: Arc<dyn TelephonyBackend>,
    /// Whether its own verdict counts.
    pub provider_verdicts: ProviderVerdicts,
}

/// Every type of backend. A new one is a line here.
pub const BACKENDS: &[BackendType] = &[
    backend_type::<SimulatedConfig>("simulated").for_tests(),
    backend_type::<FileConfig>("file").for_tests(),
    backend_type::<TwilioStudioConfig>("twilio_studio"),
    backend_type::<SipConfig>("sip"),
];

/// Settings from which a backend is built.
pub trait BuildBackend: BackendSettings + DeserializeOwned + JsonSchema {
    /// Builds the backend. Does no network I/O, and starts no task.
    ///
    /// # Errors
    /// A secret cannot be read, or a setting cannot work.
    fn build(&self, context: &BackendContext<'_>) -> Result<Arc<dyn TelephonyBackend>, ConfigError>;
}

/// What a backend may know besides its own settings.
pub struct BackendContext<'a> {
    /// The path of its settings in the configuration: `backends.NAME`.
    pub path: String,
    /// The folder of the configuration, to which relative paths belong.
    pub base: &'a Path,
    /// The section `network`.
    pub network: &'a NetworkConfig,
    /// The section `numbers`.
    pub numbers: &'a NumbersConfig,
    /// The section `prompts`.
    pub prompts: &'a PromptsConfig,
    /// The recordings of `prompts`, for a backend that plays them itself.
    pub recordings: &'a Prompts,
    /// The rules by which entries are judged.
    pub policy: Policy,
    /// The key that reports a fraud.
    pub fraud_key: FraudKey,
}

impl BackendContext<'_> {
    /// Returns the error about the setting `key`.
    pub fn invalid(&self, key: &str, problem: impl Display) -> ConfigError {
        ConfigError::invalid(format!("{}.{key}", self.path), problem)
    }

    /// Reads the secret of the setting `key`.
    ///
    /// # Errors
    /// As [`Secret::resolve`].
    pub fn resolve(&self, key: &str, secret: &Secret) -> Result<SecretString, ConfigError> {
        secret.resolve(self.base, &format!("{}.{key}", self.path))
    }
}

/// Returns the type `name` of backends with the settings `T`.
pub const fn backend_type<T: BuildBackend>(name: &'static str) -> BackendType {
    BackendType::new::<T>(name, &Builder(build::<T>))
}

/// Builds a backend from its settings.
struct Builder(fn(&BackendConfig, &BackendContext<'_>) -> Built);

/// `None`: the settings are not those of the builder's type.
type Built = Option<Result<Arc<dyn TelephonyBackend>, ConfigError>>;

fn build<T: BuildBackend>(backend: &BackendConfig, context: &BackendContext<'_>) -> Built {
    backend.settings::<T>().map(|settings| settings.build(context))
}

/// Builds the backends in `use`, in the order in which they are tried. Relative paths in their settings belong to `base`.
/// Does no network I/O.
///
/// # Errors
/// A secret cannot be read, or a setting cannot work.
pub fn build_in_use(config: &Config, recordings: &Prompts, base: &Path) -> Result<Vec<NamedBackend>, ConfigError> {
    let policy = config.approval_policy()?;
    let build = |(name, backend): (&String, &BackendConfig)| {
        let context = BackendContext {
            path: format!("backends.{name}"),
            base,
            network: &config.network,
            numbers: &config.numbers,
            prompts: &config.prompts,
            recordings,
            policy,
            fraud_key: config.fraud.key,
        };
        let built = backend.builder::<Builder>().and_then(|Builder(build)| build(backend, &context));
        let unusable =
            || ConfigError::at(ErrorKind::BackendUnusable, &*context.path, "has a type that cannot be built");
        Ok(NamedBackend {
            name: name.as_str().into(),
            backend: built.ok_or_else(unusable)??,
            provider_verdicts: config.provider_verdicts(backend),
        })
    };
    config.in_use().map(build).collect()
}
