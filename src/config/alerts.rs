//! The section `alerts`: which events are reported to which destinations.

mod check;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use super::NetworkConfig;
use super::bounded::Bounded;
use super::error::{ConfigError, ErrorKind};
use super::load::read;
use super::secret::Secret;
use crate::platform;
pub(super) use check::check_alerts;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A user reported that a call was not theirs.
    Fraud,
    /// A number was locked after calls that were not approved.
    Lockout,
    /// A daily limit was reached, such as `limits.calls_per_day`.
    CapReached,
    /// A backend cannot place calls.
    BackendDown,
    /// A backend, or the store, works again.
    BackendUp,
    /// The configuration was refused: every call fails.
    Configuration,
    /// The store cannot be used.
    StoreDown,
    /// A test by `phonegate alerts test`, which every destination gets. `on` cannot have it.
    #[schemars(skip)]
    Test,
}

impl AlertKind {
    /// Each kind that a configuration can name.
    pub const ALL: [Self; 7] = [
        Self::Fraud,
        Self::Lockout,
        Self::CapReached,
        Self::BackendDown,
        Self::BackendUp,
        Self::Configuration,
        Self::StoreDown,
    ];

    /// Returns its name in the configuration and in alerts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fraud => "fraud",
            Self::Lockout => "lockout",
            Self::CapReached => "cap_reached",
            Self::BackendDown => "backend_down",
            Self::BackendUp => "backend_up",
            Self::Configuration => "configuration",
            Self::StoreDown => "store_down",
            Self::Test => "test",
        }
    }
}

impl<'de> Deserialize<'de> for AlertKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let named = Self::ALL.into_iter().chain([Self::Test]).find(|kind| kind.name() == name);
        named.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            D::Error::custom(format_args!("is `{name}`, but must be one of {names}"))
        })
    }
}

/// A destination of alerts: exactly one of `smtp`, `webhook` and `syslog`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["smtp"], "properties": { "smtp": { "type": "object" } } },
    { "required": ["webhook"], "properties": { "webhook": { "type": "object" } } },
    { "required": ["syslog"], "properties": { "syslog": { "type": "object" } } }
]))]
pub struct AlertConfig {
    /// The kinds of alert that are sent to this destination.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub on: Vec<AlertKind>,
    /// Sends e-mails.
    #[serde(default)]
    pub smtp: Option<SmtpConfig>,
    /// Posts to a URL, such as that of a channel in Microsoft Teams.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
    /// Sends to a syslog server.
    #[serde(default)]
    pub syslog: Option<SyslogConfig>,
}

/// Sends e-mails.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// The mail server's host name or IP address, without a port. Its certificate must be valid for it.
    pub server: String,
    /// The server's port. Null: 587 for `starttls`, 465 for `implicit`, 25 for `none`.
    #[serde(default)]
    pub port: Option<Bounded<1, 65_535, 587>>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: SmtpTls,
    /// A PEM file with certificates of authorities that are trusted besides the operating system's, in place of those
    /// of `network.ca_file`.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The account at the mail server. Null: the server takes mail from this machine without an account.
    #[serde(default)]
    pub username: Option<String>,
    /// The account's password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// The sender's address, such as `phonegate@contoso.com`.
    pub from: String,
    /// The addresses of the receivers, at most 20.
    #[schemars(length(min = 1, max = 20))]
    pub to: Vec<String>,
}

/// How the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// By STARTTLS. A server that does not offer it gets no mail.
    #[default]
    StartTls,
    /// By TLS from the first byte.
    Implicit,
    /// Not at all: only to a server on this machine, and without an account.
    None,
}

impl SmtpConfig {
    /// Returns the server's port.
    pub fn port(&self) -> u16 {
        let default = match self.tls {
            SmtpTls::StartTls => 587,
            SmtpTls::Implicit => 465,
            SmtpTls::None => 25,
        };
        self.port.and_then(|port| port.get().try_into().ok()).unwrap_or(default)
    }
}

/// Posts each alert to a URL.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The URL. It is a secret, because anyone who knows it can post there. It must begin with https, except on this
    /// machine.
    pub url: Secret,
    /// Required for `json` only: the secret that signs each alert as standardwebhooks.com specifies, `whsec_` and the
    /// Base64 of 24 to 64 random bytes.
    #[serde(default)]
    pub key: Option<Secret>,
    /// The form of the alerts.
    #[serde(default)]
    pub format: WebhookFormat,
    /// A PEM file with certificates of authorities that are trusted besides the operating system's, in place of those
    /// of `network.ca_file`.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// The form of the alerts that a webhook gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// One JSON object, signed with `key`.
    #[default]
    Json,
    /// An Adaptive Card, as a workflow of Microsoft Teams takes it.
    Teams,
}

/// Sends to a syslog server, in the format of RFC 5424.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogConfig {
    /// The syslog server's host name or IP address, without a port. With TLS, its certificate must be valid for it.
    pub server: String,
    /// The server's port. Null: 6514 with TLS (RFC 5425), 514 without (TCP, RFC 6587).
    #[serde(default)]
    pub port: Option<Bounded<1, 65_535, 6514>>,
    /// Whether the connection is encrypted. If false, anyone between this machine and the server can read, change and
    /// forge the alerts.
    #[serde(default = "yes")]
    pub tls: bool,
    /// A PEM file with certificates of authorities that are trusted besides the operating system's, in place of those
    /// of `network.ca_file`.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

fn yes() -> bool {
    true
}

impl SyslogConfig {
    /// Returns the server's port.
    pub fn port(&self) -> u16 {
        let default = if self.tls { 6514 } else { 514 };
        self.port.and_then(|port| port.get().try_into().ok()).unwrap_or(default)
    }
}

impl AlertConfig {
    /// Returns the `ca_file` of the destination, if it has one.
    pub(super) fn ca_file(&self) -> Option<&Path> {
        let smtp = self.smtp.as_ref().and_then(|smtp| smtp.ca_file.as_deref());
        let webhook = || self.webhook.as_ref().and_then(|webhook| webhook.ca_file.as_deref());
        let syslog = || self.syslog.as_ref().and_then(|syslog| syslog.ca_file.as_deref());
        smtp.or_else(webhook).or_else(syslog)
    }

    /// Returns the secrets of the element `index`, each with its path in the configuration.
    pub(super) fn secrets(&self, index: usize) -> impl Iterator<Item = (String, &Secret)> {
        let password = self.smtp.as_ref().and_then(|smtp| Some(("smtp.password", smtp.password.as_ref()?)));
        let url = self.webhook.as_ref().map(|webhook| ("webhook.url", &webhook.url));
        let key = self.webhook.as_ref().and_then(|webhook| Some(("webhook.key", webhook.key.as_ref()?)));
        [password, url, key].into_iter().flatten().map(move |(key, secret)| (format!("alerts[{index}].{key}"), secret))
    }
}

/// The sections of a configuration that are needed to send an alert.
#[derive(Deserialize)]
struct Sections {
    #[serde(default)]
    alerts: Vec<AlertConfig>,
    #[serde(default)]
    network: NetworkConfig,
}

/// Reads `alerts` and `network` of a configuration that was refused as a whole. Returns `None` if the file is not JSON,
/// if these sections are not valid themselves, or if accounts that are not trusted could change the file or what these
/// sections name: they could have a password sent to a server of their own.
pub(crate) fn alerts_of_refused(path: &Path, refusal: &ConfigError) -> Option<(Vec<AlertConfig>, NetworkConfig)> {
    if refusal.kind() == ErrorKind::UnsafePermissions {
        return None;
    }
    let text = read(path).ok()?;
    let Sections { alerts, network } = serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text)).ok()?;
    check_alerts(&alerts).ok()?;
    let base = path.parent()?;
    let files = || {
        let secrets = alerts.iter().flat_map(|alert| alert.secrets(0)).filter_map(|(_, secret)| match secret {
            Secret::File(file) => Some(base.join(file)),
            _ => None,
        });
        let authorities = alerts.iter().filter_map(AlertConfig::ca_file).chain(network.ca_file.as_deref());
        secrets.chain(authorities.map(|file| base.join(file)))
    };
    // A missing file is reported when it is read.
    let is_safe = |file: &Path| !file.exists() || matches!(platform::untrusted_writer(file, true), Ok(None));
    let all_safe = is_safe(path) && files().all(|file| is_safe(&file));
    all_safe.then_some((alerts, network))
}
