//! The settings of a web service that places calls.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::infobip::InfobipConfig;
use crate::call::{FailureReason, Progress};
use crate::config::{Bounded, Secret};

/// Calls by a web service whose requests and replies the configuration declares.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpConfig {
    /// A service that PhoneGate knows. It replaces every other key but `ca_file` and `local_peer`.
    pub(super) preset: Option<PresetConfig>,
    /// Secrets by name, for the placeholder `{secrets.NAME}`.
    pub(super) secrets: BTreeMap<String, Secret>,
    /// How each request authenticates. Absent: by what its own headers say.
    pub(super) auth: Option<AuthConfig>,
    /// The request that starts a call. It must use `{call_id}`, so that no two are equal.
    pub(super) start: Option<StartConfig>,
    /// Where the reply to `start` has the service's id of the call: a JSON pointer (RFC 6901) such as `/id`, to a text or a
    /// whole number. Absent: the service uses `{call_id}`.
    pub(super) reference: Option<String>,
    /// The request that asks for the state of a call, and how its reply is read.
    pub(super) poll: Option<PollConfig>,
    /// How a reply to `poll` says what the user pressed. PhoneGate judges it.
    pub(super) pressed: Option<PressedConfig>,
    /// How a reply to `poll` says that the user approved, if the service judges by itself. It needs
    /// `accept_provider_verdict`.
    pub(super) approved: Option<ApprovedConfig>,
    /// Why a call failed, by the text at `poll.state`, `approved.pointer` or `start.error`. A state that is not
    /// declared fails as `CannotPlace`. A refused start is never `FraudReported`.
    pub(super) failed: BTreeMap<String, ReasonConfig>,
    /// The request that ends a call.
    pub(super) hang_up: Option<RequestConfig>,
    /// The request by which `phonegate check` asks whether the service works. It must ring no phone.
    pub(super) check: Option<CheckConfig>,
    /// Whether the service's own verdict (`approved`) approves calls.
    pub(super) accept_provider_verdict: Option<bool>,
    /// Allows a service at a loopback address. Any user of this machine could listen there in its place and approve
    /// calls, so without this key such a service is a test backend.
    pub(super) local_peer: bool,
    /// A PEM file with certificates of authorities that are trusted in addition to those of the operating system. It
    /// replaces `network.ca_file`.
    pub(super) ca_file: Option<PathBuf>,
}

/// A service that PhoneGate knows.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PresetConfig {
    /// A voice scenario at Infobip.
    Infobip(InfobipConfig),
}

/// A text with placeholders. Its `Debug` shows nothing of it, since it may hold a secret.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Text(String);

impl Text {
    pub(super) fn get(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// JSON whose texts may have placeholders. Its `Debug` shows nothing of it, since it may hold a secret.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct JsonBody(pub(super) Value);

impl fmt::Debug for JsonBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The method of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum MethodConfig {
    Get,
    #[default]
    Post,
    Put,
    Patch,
    Delete,
    /// Only of a check.
    #[serde(skip)]
    Head,
}

impl From<MethodConfig> for reqwest::Method {
    fn from(method: MethodConfig) -> Self {
        match method {
            MethodConfig::Get => Self::GET,
            MethodConfig::Post => Self::POST,
            MethodConfig::Put => Self::PUT,
            MethodConfig::Patch => Self::PATCH,
            MethodConfig::Delete => Self::DELETE,
            MethodConfig::Head => Self::HEAD,
        }
    }
}

/// How requests authenticate.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthConfig {
    /// A user name and a password (RFC 7617).
    Basic(BasicConfig),
    /// A fixed token in `Authorization: Bearer`.
    Bearer(Secret),
    /// A secret as the value of a header.
    Header(HeaderConfig),
    /// A token by OAuth 2 client credentials (RFC 6749, section 4.4), which is requested when the last one expires.
    Oauth2(Oauth2Config),
    /// A signature of each request.
    HmacSha256(HmacConfig),
}

/// A user name and a password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BasicConfig {
    /// The user name.
    pub(super) username: String,
    /// The password.
    pub(super) password: Secret,
}

/// A secret in a header.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderConfig {
    /// The name of the header, such as `X-Api-Key`.
    pub(super) name: String,
    /// Its whole value.
    pub(super) value: Secret,
}

/// A client of an OAuth 2 authorization server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Oauth2Config {
    /// The token endpoint.
    pub(super) token_url: String,
    /// The client's id. It and the secret are sent by HTTP Basic.
    pub(super) client_id: String,
    /// The client's secret.
    pub(super) client_secret: Secret,
    /// The scopes, separated by blanks. Absent: the server's default.
    #[serde(default)]
    pub(super) scope: Option<String>,
}

/// A signature: HMAC-SHA256 of the time stamp, a dot and the body, as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HmacConfig {
    /// The key. Its bytes are those of the text.
    pub(super) key: Secret,
    /// The header with the signature.
    pub(super) header: String,
    /// The header with the time stamp: seconds since 1970-01-01 UTC.
    pub(super) timestamp_header: String,
}

/// A request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestConfig {
    /// The method.
    #[serde(default)]
    pub(super) method: MethodConfig,
    /// The URL, at the server of `start`. Its path and query may have placeholders.
    pub(super) url: Text,
    /// Headers, with placeholders in their values.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Text>,
    /// The fields of a form, with placeholders in their values.
    #[serde(default)]
    pub(super) form: Option<BTreeMap<String, Text>>,
    /// A JSON body, with placeholders in its texts.
    #[serde(default)]
    pub(super) json: Option<JsonBody>,
}

// It has the keys of `RequestConfig` and one more. With `serde(flatten)`, an error would lose the path of its key.
/// The request that starts a call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartConfig {
    /// The method.
    #[serde(default)]
    pub(super) method: MethodConfig,
    /// The URL: https, or http for this machine. Its path and query may have placeholders.
    pub(super) url: Text,
    /// Headers, with placeholders in their values.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Text>,
    /// The fields of a form, with placeholders in their values.
    #[serde(default)]
    pub(super) form: Option<BTreeMap<String, Text>>,
    /// A JSON body, with placeholders in its texts.
    #[serde(default)]
    pub(super) json: Option<JsonBody>,
    /// Where a refusal (a status of 400 or more) says why: a JSON pointer to a text of the table `failed`.
    #[serde(default)]
    pub(super) error: Option<String>,
}

/// The request that asks for the state of a call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PollConfig {
    /// The URL, at the server of `start`. It is requested with GET.
    pub(super) url: Text,
    /// Headers, with placeholders in their values.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Text>,
    /// Milliseconds between two polls.
    #[serde(default)]
    pub(super) every_ms: Bounded<200, 30_000, 1_000>,
    /// Whether the service returns the result of a call only once. Then no other process can take over the call.
    #[serde(default)]
    pub(super) once: bool,
    /// How a reply names the call that it is about.
    pub(super) names: NamesConfig,
    /// Where a reply has the state of the call: a JSON pointer to a text.
    pub(super) state: String,
    /// The states of a call that goes on, and what each means.
    #[serde(default)]
    pub(super) pending: BTreeMap<String, PendingConfig>,
    /// A JSON pointer to a list that is empty while the call goes on. Such a reply need not name the call.
    #[serde(default)]
    pub(super) empty: Option<String>,
}

/// Where a reply names the call that it is about. A reply about another call fails. At least one of the two is needed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NamesConfig {
    /// A JSON pointer to the service's id of the call.
    pub(super) reference: Option<String>,
    /// A JSON pointer to `{call_id}`.
    pub(super) call_id: Option<String>,
}

/// The progress of a call that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PendingConfig {
    /// The call was not answered yet.
    Ringing,
    /// The call was answered.
    Answered,
}

impl From<PendingConfig> for Progress {
    fn from(pending: PendingConfig) -> Self {
        match pending {
            PendingConfig::Ringing => Self::Ringing,
            PendingConfig::Answered => Self::Answered,
        }
    }
}

/// Where a reply has the entry of the user.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PressedConfig {
    /// The text at `poll.state` that says that the call has ended with an entry.
    pub(super) state: String,
    /// A JSON pointer to the keys. They must be a text: a number would lose the zero of `07`. Null: none was pressed.
    pub(super) digits: String,
    /// A JSON pointer to the number of the entry attempt: 1 for `{spoken_1}`. Absent: the service asks for one entry only.
    #[serde(default)]
    pub(super) attempt: Option<String>,
    /// What ended the entry. Absent: the keys include the `#`, and an entry without it approves nothing.
    #[serde(default)]
    pub(super) ended_by: Option<EndedByConfig>,
}

/// How a reply says what ended an entry. With any other text, the entry is wrong.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndedByConfig {
    /// A JSON pointer to the text.
    pub(super) pointer: String,
    /// The text for the key `#`. Only such an entry can approve.
    pub(super) pound: String,
    /// The text for a pause.
    #[serde(default)]
    pub(super) pause: Option<String>,
    /// The text if the service collects no more keys.
    #[serde(default)]
    pub(super) full: Option<String>,
}

/// How a reply says that the user approved.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovedConfig {
    /// A JSON pointer to the verdict. A text that is neither `text` nor in `failed` fails as `WrongKey`.
    pub(super) pointer: String,
    /// The exact text of an approval.
    pub(super) text: String,
    /// The text at `poll.state` that an approval needs, too. Required if `pointer` is not that of `poll.state`.
    #[serde(default)]
    pub(super) state: Option<String>,
}

/// The reason of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum ReasonConfig {
    NoKeyPressed,
    WrongKey,
    CallEnded,
    Voicemail,
    InvalidNumber,
    AlreadyInProgress,
    Unreachable,
    CountryNotAllowed,
    FraudReported,
    CannotPlace,
    Throttled,
    NotConfigured,
}

impl From<ReasonConfig> for FailureReason {
    fn from(reason: ReasonConfig) -> Self {
        match reason {
            ReasonConfig::NoKeyPressed => Self::NoKeyPressed,
            ReasonConfig::WrongKey => Self::WrongKey,
            ReasonConfig::CallEnded => Self::CallEnded,
            ReasonConfig::Voicemail => Self::Voicemail,
            ReasonConfig::InvalidNumber => Self::InvalidNumber,
            ReasonConfig::AlreadyInProgress => Self::AlreadyInProgress,
            ReasonConfig::Unreachable => Self::Unreachable,
            ReasonConfig::CountryNotAllowed => Self::CountryNotAllowed,
            ReasonConfig::FraudReported => Self::FraudReported,
            ReasonConfig::CannotPlace => Self::CannotPlace,
            ReasonConfig::Throttled => Self::Throttled,
            ReasonConfig::NotConfigured => Self::NotConfigured,
        }
    }
}

/// The request by which the service is checked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckConfig {
    /// The method.
    #[serde(default)]
    pub(super) method: CheckMethodConfig,
    /// The URL, at the server of `start`.
    pub(super) url: Text,
    /// Headers, with placeholders in their values.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Text>,
    /// The status of the reply if the service works.
    #[serde(default)]
    pub(super) status: Bounded<200, 599, 200>,
}

/// The method of a check, which changes nothing at the service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum CheckMethodConfig {
    #[default]
    Get,
    Head,
}
