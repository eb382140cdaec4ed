//! `phonegate.json`: its types, its path, and its checks. Its keys never change, because files of administrators and
//! other programs depend on them.
//!
//! [`load`] reads and checks a file. Everything that can be checked without a network is checked here, or when a gate
//! starts.

mod alerts;
mod approval;
mod audit;
mod backend;
mod bounded;
mod country;
mod error;
mod file;
mod fraud;
mod limits;
mod load;
mod network;
mod numbers;
mod permissions;
mod privacy;
mod prompts;
mod routes;
mod schema;
mod secret;
mod store;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::call::Failure;
pub use crate::level::Level;
pub(crate) use alerts::alerts_of_refused;
pub use alerts::{AlertConfig, AlertKind, SmtpConfig, SmtpTls, SyslogConfig, WebhookConfig, WebhookFormat};
pub use approval::{ApprovalConfig, ApprovalMethod, PEPPER, PinConfig};
pub use audit::{AuditConfig, MetricsConfig};
use backend::UnreadBackends;
pub use backend::{BackendConfig, BackendSettings, BackendType, Judge, TestReason};
pub use bounded::Bounded;
pub use country::countries_of;
pub(crate) use country::country;
pub use error::{ConfigError, ErrorKind};
pub use file::{read_file, read_text};
pub use fraud::{FraudConfig, FraudKey};
pub use limits::{CountryLimits, DenialsConfig, LimitsConfig, LineLimits};
pub use load::{FILE_NAME, Loaded, MAX_FILE_BYTES, PATH_VARIABLE, default_path, load, load_with_text, parse};
pub use network::NetworkConfig;
pub(crate) use network::{build_https_client, client_identity, provider_url};
pub use numbers::{BackendNumbers, NumberType, NumbersConfig, WithoutPlus};
pub(crate) use permissions::examine_file;
pub use permissions::{TrustedPaths, UnsafePath};
pub use privacy::{NUMBER_KEY, PrivacyConfig};
pub use prompts::PromptsConfig;
pub use routes::RouteConfig;
pub(crate) use routes::is_e164;
pub use schema::schema;
pub use secret::Secret;
use store::UnreadStore;
pub use store::{StoreConfig, StoreSettings, StoreType};

/// The values that `type` may have in a configuration.
#[derive(Clone, Copy)]
pub struct Types {
    /// The types of backends.
    pub backends: &'static [BackendType],
    /// The types of stores. The first is the default.
    pub stores: &'static [StoreType],
}

/// The settings of PhoneGate, which phones a user for Microsoft Identity Manager. `use` and `backends` are required;
/// every other key has a default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "PhoneGate configuration")]
pub struct Config {
    /// Where an editor finds the schema of this file.
    #[serde(rename = "$schema", default)]
    pub schema: Option<String>,
    /// The backends by name, in the order in which they are tried. The next one is tried only when the one before
    /// certainly did not ring the user.
    #[serde(rename = "use")]
    #[schemars(length(min = 1))]
    pub backend_order: Vec<String>,
    /// The backends for the numbers of some countries. The numbers of other countries use `use`.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
    /// Allows test backends in `use` and `routes`: `simulated` and `file`, which approve without a telephone, and providers
    /// and trunks at loopback addresses without `local_peer`. Never together with a real backend.
    #[serde(default)]
    pub allow_test_backends: bool,
    /// Refuses to start if other accounts than those of administrators and of the service can change this file, its
    /// folder, a file of a secret, a `ca_file`, a `program` or `script`, `store.path` or `prompts.directory`. If false,
    /// each start only warns.
    #[serde(default)]
    pub strict_permissions: bool,
    /// The backends, each under a name of your choice.
    #[serde(rename = "backends")]
    #[schemars(with = "BTreeMap<String, BackendConfig>")]
    unread_backends: UnreadBackends,
    /// The backends by name.
    #[serde(skip)]
    pub backends: BTreeMap<String, BackendConfig>,
    /// Time limits of calls.
    #[serde(default)]
    pub call: CallConfig,
    /// Which numbers may be called.
    #[serde(default)]
    pub numbers: NumbersConfig,
    /// What users hear from a backend that plays recordings.
    #[serde(default)]
    pub prompts: PromptsConfig,
    /// What a user must do to approve.
    #[serde(default)]
    pub approval: ApprovalConfig,
    /// How many calls there may be.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What happens when a user reports that a call is not theirs.
    #[serde(default)]
    pub fraud: FraudConfig,
    /// The destinations of alerts about events that an administrator should act on, at most 16.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub alerts: Vec<AlertConfig>,
    /// Where calls are stored, so that they outlive the process.
    #[serde(rename = "store", default)]
    #[schemars(with = "StoreConfig")]
    unread_store: UnreadStore,
    /// The store.
    #[serde(skip)]
    pub store: StoreConfig,
    /// What is stored of ended calls, and for how long.
    #[serde(default)]
    pub audit: AuditConfig,
    /// How telephone numbers are hashed in the store.
    #[serde(default)]
    pub privacy: PrivacyConfig,
    /// Metrics for a monitoring system.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// How providers on the Internet are reached.
    #[serde(default)]
    pub network: NetworkConfig,
    /// The log.
    #[serde(default)]
    pub log: LogConfig,
    /// How much detail the messages about failures have that MIM gets.
    #[serde(default)]
    pub messages: Messages,
}

impl Config {
    /// Returns the settings that work but should be changed, each as a sentence that says what to do.
    pub fn warnings(&self) -> Vec<String> {
        let plain = self.secrets().filter(|(_, secret)| secret.is_plain()).map(|(path, _)| {
            format!(
                "{path}: the secret is in the configuration in plain text; \
                 use {{\"file\": PATH}}, {{\"env\": NAME}} or, on Windows, what `phonegate protect` prints"
            )
        });
        let tests = self
            .allow_test_backends
            .then(|| "allow_test_backends: calls may be approved without a telephone; never in production".to_owned());
        // An address without a scheme means http. With a user, it looks like an address of the scheme `user`.
        let has_password = |proxy: &String| {
            let with_host = url::Url::parse(proxy).ok().filter(url::Url::has_host);
            let url = with_host.or_else(|| url::Url::parse(&format!("http://{proxy}")).ok());
            url.is_some_and(|url| url.password().is_some())
        };
        let proxy = self.network.proxy.as_ref().filter(|proxy| has_password(proxy)).map(|_| {
            "network.proxy: the proxy's password is in the configuration in plain text; let only the service's \
             account read the file"
                .to_owned()
        });
        let of_file = plain.chain(proxy).chain(tests);
        of_file.chain(self.approval_warnings()).chain(self.backend_warnings()).chain(self.fraud_key_warning()).collect()
    }

    /// The warnings of the backends in use, each with its path.
    fn backend_warnings(&self) -> impl Iterator<Item = String> {
        self.in_use().flat_map(|(name, backend)| {
            backend.facts().warnings().into_iter().map(move |warning| format!("backends.{name}: {warning}"))
        })
    }

    /// Returns a warning if the recordings ask users to press zero, which does not report fraud here. Custom
    /// recordings are checked when the gate starts.
    fn fraud_key_warning(&self) -> Option<String> {
        let key = self.fraud.key;
        (key != FraudKey::default() && self.prompts.directory.is_none() && self.speaks()).then(|| {
            format!(
                "fraud.key: PhoneGate's own prompts say zero, and not {}; put recordings of `not_you` into \
                 prompts.directory",
                key.get()
            )
        })
    }

    /// Returns whether any backend in use plays the recordings of `prompts`.
    pub(crate) fn speaks(&self) -> bool {
        self.in_use().any(|(_, backend)| backend.facts().plays_recordings())
    }

    /// Returns the files with secrets, as the configuration names them.
    pub fn secret_files(&self) -> Vec<&Path> {
        self.secrets()
            .filter_map(|(_, secret)| match secret {
                Secret::File(file) => Some(file.as_path()),
                _ => None,
            })
            .collect()
    }

    /// Returns the files of certificate authorities, as the configuration names them.
    pub(crate) fn ca_files(&self) -> impl Iterator<Item = &Path> {
        let backends = self.backends.values().filter_map(|backend| backend.facts().ca_file());
        let alerts = self.alerts.iter().filter_map(AlertConfig::ca_file);
        backends.chain(alerts).chain(self.network.ca_file.as_deref()).chain(self.store.facts().ca_file())
    }

    /// Returns the programs that backends run, as the configuration names them.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Path> {
        self.backends.values().flat_map(|backend| backend.facts().trusted_files())
    }

    /// Returns the secrets, each with its path in the file.
    fn secrets(&self) -> impl Iterator<Item = (String, &Secret)> {
        let backends = self.backends.iter().flat_map(|(name, backend)| {
            let facts = backend.facts();
            let set = facts.secrets().into_iter().filter_map(|(key, secret)| Some((key.to_owned(), secret?)));
            set.chain(facts.named_secrets()).map(move |(key, secret)| (format!("backends.{name}.{key}"), secret))
        });
        let of_store = self.store.facts().secrets().into_iter();
        let store = of_store.map(|(key, secret)| (format!("store.{key}"), secret));
        let alerts = self.alerts.iter().enumerate().flat_map(|(index, alert)| alert.secrets(index));
        backends.chain(store).chain(self.privacy.secrets()).chain(self.approval.pin.secrets()).chain(alerts)
    }
}

/// How much detail GetFailureMessage returns. The log and the store always have all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Messages {
    /// All that is known of the failure, such as the provider's message.
    #[default]
    Full,
    /// Only a sentence, the reason and its code: no text of a provider, no country, no number.
    Brief,
}

impl Messages {
    /// Returns the message about a failure for a host.
    pub fn text(self, failure: &Failure) -> String {
        match self {
            Self::Full => failure.text().to_owned(),
            Self::Brief => failure.brief(),
        }
    }
}

/// Maximum of `call.deadline_s`, in seconds.
pub const MAX_DEADLINE_S: u64 = 600;

/// Time limits of calls.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CallConfig {
    /// Seconds from the request until a call without an outcome is hung up and fails.
    pub deadline_s: Bounded<1, MAX_DEADLINE_S, 90>,
    /// Milliseconds that InitiateCall waits for an outcome before it answers Pending.
    pub initiate_wait_ms: Bounded<0, 60_000, 0>,
    /// Milliseconds that GetCallStatus waits for an outcome before it returns Pending. At most 64 callers wait at a
    /// time.
    pub status_wait_ms: Bounded<0, 60_000, 5_000>,
    /// Seconds that the outcome of an ended call is kept.
    pub keep_finished_s: Bounded<1, 86_400, 600>,
    /// GetCallStatus returns Success once for each call, on one node of a farm; after that the call is Failed
    /// (AlreadyUsed). InitiateCall returns Pending in place of Success.
    pub single_use: bool,
}

/// The log.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// The least severe level that is written.
    pub level: Level,
    /// The folder of `phonegate.log`. Null: the operating system's folder for the state of programs.
    pub directory: Option<PathBuf>,
    /// Maximum size of the log and its older parts together, in megabytes.
    pub max_mb: Bounded<1, 10_000, 100>,
    /// On Windows: also reports to the Event Log (Application, source PhoneGate) each start, a refused configuration, a
    /// backend that is down or up again, fraud and defects.
    pub event_log: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: Level::default(), directory: None, max_mb: Bounded::default(), event_log: true }
    }
}
