//! Requests to Twilio's REST API, and their errors.

use std::path::Path;
use std::time::{Duration, SystemTime};

use phonegate_net::https_client::{self, BodyError};
use reqwest::{Client, Method, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use url::Url;

use super::super::backoff::RequestError;
use super::super::basic_auth::check_credential;
use super::super::replies;
use super::TwilioStudioConfig;
use crate::call::{Failure, FailureReason};
use crate::config::{ConfigError, NetworkConfig, Secret, build_https_client, provider_url};
use crate::redact::{diagnostic_text, sanitize_untrusted};

/// Maximum concurrent polls. Each needs a connection with its buffers; a queued poll needs little memory.
const MAX_POLLS: usize = 192;

/// Maximum concurrent requests that end or delete calls. If each takes a second, 2,560 calls can be ended within
/// [`HANG_UP_LIMIT`](super::HANG_UP_LIMIT).
const MAX_COMMANDS: usize = 256;

/// Twilio's REST API for one account.
pub(super) struct Api {
    client: Client,
    /// A description of the proxy. Empty if there is none.
    pub(super) proxy: String,
    base: Url,
    user: String,
    password: SecretString,
    polls: Semaphore,
    /// Separate from `polls`, so that ending a call does not wait for queued polls.
    commands: Semaphore,
}

/// Why a request has no usable reply.
pub(super) enum ApiError {
    /// The request certainly did not reach Twilio. Text: the cause.
    NotSent(String),
    /// The request may have reached Twilio, but there is no reply. Text: the cause.
    Lost(String),
    /// Twilio sent a reply that it does not document.
    Malformed,
    /// Twilio refused the request.
    Refused(Refusal),
}

/// A reply with a status of 400 or more.
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Twilio's own code, such as 20003: <https://www.twilio.com/docs/api/errors>.
    code: Option<u32>,
    /// Twilio's message, sanitized.
    message: String,
    retry_after: Option<Duration>,
}

impl Api {
    /// `path` is that of the backend in the configuration.
    ///
    /// # Errors
    /// A setting cannot work, or a secret cannot be read.
    pub(super) fn new(
        path: &str,
        config: &TwilioStudioConfig,
        network: &NetworkConfig,
        base: &Path,
    ) -> Result<Self, ConfigError> {
        let at = |key: &str| format!("{path}.{key}");
        let need = |key, prefix, sid: &str| match is_sid(prefix, sid) {
            true => Ok(sid.to_owned()),
            false => Err(ConfigError::invalid(at(key), format_args!("must be {prefix} and 32 hexadecimal digits"))),
        };
        let account = need("account_sid", "AC", &config.account_sid)?;
        let password_of = |key, secret: &Secret| {
            let password = secret.resolve(base, &at(key))?;
            check_credential(&at(key), password.expose_secret())?;
            Ok::<_, ConfigError>(password)
        };
        let (user, password) = match (&config.api_key_sid, &config.api_key_secret, &config.auth_token) {
            (Some(key), Some(secret), None) => {
                (need("api_key_sid", "SK", key)?, password_of("api_key_secret", secret)?)
            }
            (None, None, Some(token)) => (account, password_of("auth_token", token)?),
            _ => {
                let problem = "needs either `api_key_sid` and `api_key_secret`, or `auth_token`, and not both";
                return Err(ConfigError::invalid(path, problem));
            }
        };
        let url = provider_url(&at("base_url"), &config.base_url)?;
        let section = (path, config.ca_file.as_deref());
        let (builder, proxy) = network.https_client_builder(section, &url, base)?;
        let client = build_https_client(builder)?;
        let (polls, commands) = (Semaphore::new(MAX_POLLS), Semaphore::new(MAX_COMMANDS));
        Ok(Self { client, proxy, base: url, user, password, polls, commands })
    }

    /// Returns the time by Twilio's clock.
    pub(super) async fn date(&self) -> Option<SystemTime> {
        https_client::date(&self.client, &self.base).await
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ApiError> {
        self.read(Some(&self.polls), Method::GET, path, &[]).await
    }

    /// Returns the first page of a list, with at most `size` entries.
    pub(super) async fn get_page<T: DeserializeOwned>(&self, path: &[&str], size: u32) -> Result<T, ApiError> {
        self.read(Some(&self.polls), Method::GET, path, &[("PageSize", &size.to_string())]).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &[&str], form: &[(&str, &str)]) -> Result<T, ApiError> {
        self.read(Some(&self.commands), Method::POST, path, form).await
    }

    /// Like [`Api::post`], but is not queued: the caller holds a permit of [`StartQueue`](super::super::start_queue::StartQueue).
    pub(super) async fn post_at_once<T: DeserializeOwned>(
        &self,
        path: &[&str],
        form: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        self.read(None, Method::POST, path, form).await
    }

    /// Deletes a resource. One that no longer exists counts as deleted.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<(), ApiError> {
        match self.send(Some(&self.commands), Method::DELETE, path, &[]).await {
            Err(ApiError::Refused(Refusal { status: 404, .. })) => Ok(()),
            sent => sent.map(drop),
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        queue: Option<&Semaphore>,
        method: Method,
        path: &[&str],
        form: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        let body = self.send(queue, method, path, form).await?;
        parse(&body).ok_or(ApiError::Malformed)
    }

    /// Sends a request, and returns the body of a successful reply.
    async fn send(
        &self,
        queue: Option<&Semaphore>,
        method: Method,
        path: &[&str],
        form: &[(&str, &str)],
    ) -> Result<Vec<u8>, ApiError> {
        let _permit = match queue {
            // The queue is never closed.
            Some(queue) => queue.acquire().await.ok(),
            None => None,
        };
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request =
            self.client.request(method.clone(), url).basic_auth(&self.user, Some(self.password.expose_secret()));
        if method == Method::GET {
            request = request.query(form);
        } else if !form.is_empty() {
            request = request.form(form);
        }
        let response = request.send().await.map_err(|error| match error.is_connect() || error.is_builder() {
            true => ApiError::NotSent(https_client::describe(error)),
            false => ApiError::Lost(https_client::describe(error)),
        })?;
        match (response.status(), &method) {
            (StatusCode::NO_CONTENT, &Method::DELETE) => {}
            (StatusCode::OK | StatusCode::CREATED, &Method::GET | &Method::POST) => {}
            (status, _) if status.is_client_error() || status.is_server_error() => {
                return Err(ApiError::Refused(Refusal::read(response, &self.password).await));
            }
            _ => return Err(ApiError::Malformed),
        }
        https_client::body(response).await.map_err(|error| match error {
            BodyError::Lost(error) => ApiError::Lost(https_client::describe(error)),
            BodyError::TooLong => ApiError::Malformed,
        })
    }
}

impl RequestError for ApiError {
    fn is_transient(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Lost(_) | Self::Malformed => true,
            Self::Refused(refusal) => refusal.status == 429 || refusal.status >= 500,
        }
    }

    fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed)
    }

    fn is_throttled(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 429)
    }

    fn retry_after(&self) -> Duration {
        match self {
            Self::Refused(refusal) => refusal.retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}

impl ApiError {
    /// Returns the failure of a call for this error.
    pub(super) fn failure(&self) -> Failure {
        let lost = |cause: &str| {
            let sentence = format!("Twilio cannot be reached: {}.", diagnostic_text(cause));
            Failure::new(FailureReason::CannotPlace, sentence).of_backend()
        };
        match self {
            Self::NotSent(cause) | Self::Lost(cause) => lost(cause),
            Self::Malformed => Failure::new(FailureReason::CannotPlace, "Twilio's reply makes no sense."),
            Self::Refused(refusal) => Failure::new(refusal.reason(), refusal).of_backend_if(refusal.is_outage()),
        }
    }
}

impl Refusal {
    /// Reads a refusal. `secret` is removed from its message, since Twilio could quote it from the request.
    async fn read(response: Response, secret: &SecretString) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Error {
            code: Option<u32>,
            message: String,
        }
        let status = response.status();
        let retry_after = replies::retry_after(response.headers());
        let body = https_client::body(response).await.unwrap_or_default();
        let error: Error = parse(&body).unwrap_or_default();
        // A refusal of a start may quote its parameters, which hold the codes of the call.
        let message = match error.message.contains("code_") || error.message.contains("spoken_") {
            true => "its message is left out, since it quotes the codes of the call".to_owned(),
            false => sanitize_untrusted(&error.message.replace(secret.expose_secret(), "…")),
        };
        Self { status: status.as_u16(), code: error.code, message, retry_after }
    }

    /// Returns whether Twilio does not work, whatever number is called. Twilio's codes from 20000 to 20999 are about the
    /// account and the flow.
    fn is_outage(&self) -> bool {
        let is_general = matches!((self.status, self.code), (403 | 404, Some(20_000..=20_999)));
        is_general || replies::is_outage(self.status)
    }

    pub(super) fn reason(&self) -> FailureReason {
        match (self.status, self.code) {
            // The callee's number. The codes are those of https://www.twilio.com/docs/api/errors.
            (_, Some(21211 | 21214 | 21217 | 21401 | 21421 | 13223 | 13224)) => FailureReason::InvalidNumber,
            // The account's permissions by country.
            (_, Some(21215 | 21216 | 13227)) => FailureReason::CountryNotAllowed,
            // The caller id.
            (_, Some(21210 | 21212 | 21213 | 21606)) => FailureReason::NotConfigured,
            (401 | 403 | 404, _) => FailureReason::NotConfigured,
            (429, _) => FailureReason::Throttled,
            (409, _) => FailureReason::AlreadyInProgress,
            _ => FailureReason::CannotPlace,
        }
    }
}

/// `Twilio refused with status 401, error 20003: Authenticate.`
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Twilio refused with status {}", self.status)?;
        if let Some(code) = self.code {
            write!(f, ", error {code}")?;
        }
        match self.message.trim_end_matches('.') {
            "" => {
                let known = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
                write!(f, ": {}.", known.unwrap_or("without a message"))
            }
            message => write!(f, ": {message}."),
        }
    }
}

/// Parses a reply, in which null is the same as an absent key. Returns `None` if it is no `T`, or has a key twice.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_value(replies::parse(body)?.without_nulls()).ok()
}

/// Returns whether a text is an identifier of Twilio: a prefix of two letters, and 32 hexadecimal digits.
pub(super) fn is_sid(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
