//! Sends requests to a web service, and reads their replies.

use std::time::{Duration, SystemTime};

use phonegate_net::https_client::{self, BodyError};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use super::super::BackendContext;
use super::super::backoff::RequestError;
use super::super::replies;
use super::super::start_queue::deadline_passed;
use super::auth::Auth;
use super::config::HttpConfig;
use super::request::Request;
use super::start::Stated;
use super::template::RenderError;
use crate::call::{Failure, FailureReason};
use crate::clock::{Deadline, Moment};
use crate::config::{ConfigError, build_https_client};
use crate::no_duplicate_keys::Json;
use crate::redact::diagnostic_text;

/// Maximum concurrent polls.
const MAX_POLLS: usize = 192;

/// Maximum concurrent requests that end calls or check the service.
const MAX_COMMANDS: usize = 256;

/// A web service.
pub(super) struct Api {
    client: Client,
    /// A description of the proxy. Empty if there is none.
    pub(super) proxy: String,
    /// Scheme, host and port.
    pub(super) origin: Url,
    pub(super) auth: Auth,
    polls: Semaphore,
    /// Separate from `polls`, so that ending a call does not wait for queued polls.
    commands: Semaphore,
}

/// Which queue a request waits in.
#[derive(Clone, Copy)]
pub(super) enum Queue {
    Polls,
    Commands,
}

/// Why a request has no usable reply.
pub(super) enum ApiError {
    /// The request cannot be written.
    NotWritten(RenderError),
    /// There is no token, so the request was not sent. The duration is the time until a token is requested again.
    NoToken(Failure, Duration),
    /// The deadline passed before the request could be sent.
    NotInTime,
    /// The request certainly did not reach the service. Text: the cause.
    NotSent(String),
    /// The request may have reached the service, but there is no reply. Text: the cause.
    Lost(String),
    /// The reply is not as the configuration declares it. Text: how it differs.
    Malformed(String),
    /// The service refused the request.
    Refused(Refusal),
}

/// A reply with an expected status.
pub(super) struct Reply {
    pub(super) body: Vec<u8>,
    /// The token that the request had.
    pub(super) token: Option<SecretString>,
}

/// A reply with a status of 400 or more.
pub(super) struct Refusal {
    pub(super) status: u16,
    /// What a refused start says. `None` for other requests.
    pub(super) stated: Option<Stated>,
    /// The token that the request had.
    pub(super) token: Option<SecretString>,
    pub(super) retry_after: Option<Duration>,
}

impl Api {
    /// # Errors
    /// A setting cannot work, or a secret cannot be read.
    pub(super) fn new(
        config: &HttpConfig,
        auth: Auth,
        origin: &Url,
        context: &BackendContext<'_>,
    ) -> Result<Self, ConfigError> {
        let section = (context.path.as_str(), config.ca_file.as_deref());
        let (builder, proxy) = context.network.https_client_builder(section, origin, context.base)?;
        let client = build_https_client(builder)?;
        let (polls, commands) = (Semaphore::new(MAX_POLLS), Semaphore::new(MAX_COMMANDS));
        Ok(Self { client, proxy, origin: origin.clone(), auth, polls, commands })
    }

    /// Returns the time by the service's clock.
    pub(super) async fn date(&self) -> Option<SystemTime> {
        https_client::date(&self.client, &self.origin).await
    }

    /// Returns the service's host and port, to show them.
    pub(super) fn host(&self) -> String {
        let port = self.origin.port().map(|port| format!(":{port}")).unwrap_or_default();
        diagnostic_text(&format!("{}{port}", self.origin.host_str().unwrap_or_default()))
    }

    /// Sends a request, and returns a reply with one of the statuses `expected`. It may be sent twice, so it must not start
    /// a call.
    pub(super) async fn send(&self, queue: Queue, request: &Request, expected: &[u16]) -> Result<Reply, ApiError> {
        let queue = match queue {
            Queue::Polls => &self.polls,
            Queue::Commands => &self.commands,
        };
        // The queue is never closed.
        let _permit = queue.acquire().await.ok();
        let sent = self.send_once(request, expected).await;
        if let Err(ApiError::Refused(Refusal { status: 401, token: Some(token), .. })) = &sent {
            // A token may be withdrawn before it expires.
            self.auth.forget(token);
            return self.send_once(request, expected).await;
        }
        sent
    }

    async fn send_once(&self, request: &Request, expected: &[u16]) -> Result<Reply, ApiError> {
        let (response, token) = self.respond(request, None).await?;
        accept(response, token, expected).await
    }

    /// Sends a request once, before `deadline`, and returns the reply without its body, and the token that the request had,
    /// if any.
    pub(super) async fn respond(
        &self,
        request: &Request,
        deadline: Option<&Deadline>,
    ) -> Result<(Response, Option<SecretString>), ApiError> {
        let mut builder = self.client.request(request.method.clone(), request.url.clone());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(content_type) = request.content_type {
            builder = builder.header(CONTENT_TYPE, content_type).body(request.body.to_vec());
        }
        let (builder, token) = self.auth.apply(builder, &request.body).await?;
        // The token may have been waited for.
        if deadline.is_some_and(|deadline| deadline.passed(Moment::now())) {
            return Err(ApiError::NotInTime);
        }
        let response = builder.send().await.map_err(ApiError::of_request)?;
        Ok((response, token))
    }
}

/// Reads a reply with one of the statuses `expected`. `token`: the one that the request had.
pub(super) async fn accept(
    response: Response,
    token: Option<SecretString>,
    expected: &[u16],
) -> Result<Reply, ApiError> {
    let status = response.status();
    if expected.contains(&status.as_u16()) {
        let body = https_client::body(response).await.map_err(ApiError::of_body)?;
        return Ok(Reply { body, token });
    }
    if is_refusal(status) {
        let refusal = Refusal::of(&response, token);
        // Read whole, the connection can be used again.
        let _ = https_client::body(response).await;
        return Err(ApiError::Refused(refusal));
    }
    let redirects = if status.is_redirection() { ", a redirect, which is not followed" } else { "" };
    Err(ApiError::Malformed(format!("has the status {}{redirects}", status.as_u16())))
}

/// Returns whether a status refuses the request.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Reads a reply as JSON.
pub(super) fn json(body: &[u8]) -> Result<Value, ApiError> {
    match replies::parse(body) {
        Some(Json(reply)) => Ok(reply),
        None => Err(ApiError::Malformed("is no JSON, or has a key twice".to_owned())),
    }
}

impl ApiError {
    /// Returns the error of a request without a reply.
    pub(super) fn of_request(error: reqwest::Error) -> Self {
        match error.is_connect() || error.is_builder() {
            true => Self::NotSent(https_client::describe(error)),
            false => Self::Lost(https_client::describe(error)),
        }
    }

    /// Returns the error of a reply that could not be read whole.
    pub(super) fn of_body(error: BodyError) -> Self {
        match error {
            BodyError::Lost(error) => Self::Lost(https_client::describe(error)),
            BodyError::TooLong => Self::Malformed("is longer than 1 MB".to_owned()),
        }
    }

    /// Returns the failure of a call for this error.
    pub(super) fn failure(&self) -> Failure {
        let failed = |sentence: String| Failure::new(FailureReason::CannotPlace, sentence);
        match self {
            Self::NotWritten(error) => failed(format!("The request to the provider cannot be written: {error}.")),
            // No number is part of the request for a token.
            Self::NoToken(failure, _) => failure.clone().of_backend(),
            Self::NotInTime => deadline_passed(),
            Self::NotSent(cause) | Self::Lost(cause) => {
                failed(format!("The provider cannot be reached: {}.", diagnostic_text(cause))).of_backend()
            }
            Self::Malformed(problem) => failed(format!("The provider's reply makes no sense: it {problem}.")),
            Self::Refused(refusal) => refusal.failure(),
        }
    }
}

impl RequestError for ApiError {
    fn is_transient(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Lost(_) | Self::Malformed(_) | Self::NoToken(..) => true,
            Self::NotWritten(_) | Self::NotInTime => false,
            Self::Refused(refusal) => refusal.status == 429 || refusal.status >= 500,
        }
    }

    fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }

    fn is_throttled(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 429)
    }

    fn retry_after(&self) -> Duration {
        match self {
            Self::Refused(refusal) => refusal.retry_after.unwrap_or_default(),
            Self::NoToken(_, retry_after) => *retry_after,
            _ => Duration::ZERO,
        }
    }
}

impl Refusal {
    /// Returns the refusal of a reply, without what its body says. `token`: the one that the request had.
    pub(super) fn of(response: &Response, token: Option<SecretString>) -> Self {
        let retry_after = replies::retry_after(response.headers());
        Self { status: response.status().as_u16(), stated: None, token, retry_after }
    }

    /// Returns the reason that the status alone gives.
    pub(super) fn reason(&self) -> FailureReason {
        match self.status {
            401 | 403 | 404 => FailureReason::NotConfigured,
            409 => FailureReason::AlreadyInProgress,
            429 => FailureReason::Throttled,
            _ => FailureReason::CannotPlace,
        }
    }

    /// Returns the failure that the status alone gives.
    pub(super) fn failure(&self) -> Failure {
        Failure::new(self.reason(), self).of_backend_if(replies::is_outage(self.status))
    }
}

/// `The provider refused with status 401: Unauthorized.`
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        write!(f, "The provider refused with status {}: {}.", self.status, known.unwrap_or("an unknown status"))
    }
}
