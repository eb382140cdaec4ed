//! The tokens of an OAuth 2 client. One is requested at a time, and shared by all requests.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::Instant;

use super::api::ApiError;
use crate::call::{Failure, FailureReason};

/// A token is refreshed this long before it expires.
const REFRESH_MARGIN: Duration = Duration::from_secs(30);

/// Maximum time that a token is used.
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);

/// Maximum time of a request for a token.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// Pause after a failed request before the next one.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// A token and its expiry.
pub(super) struct Token {
    value: SecretString,
    /// When it is replaced, if another one is issued.
    refresh_at: Instant,
    expires_at: Instant,
}

impl Token {
    /// `requested_at`: when its request was sent.
    pub(super) fn new(value: SecretString, lifetime: Duration, requested_at: Instant) -> Self {
        let lifetime = lifetime.min(MAX_LIFETIME);
        let refresh_at = requested_at + lifetime.saturating_sub(REFRESH_MARGIN);
        Self { value, refresh_at, expires_at: requested_at + lifetime }
    }
}

/// The token in use, and the request for the next one.
#[derive(Default)]
pub(super) struct Tokens(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// The request that is in progress.
    request: Option<watch::Receiver<Option<TokenResult>>>,
    /// The last failure, and how long no token is requested.
    failure: Option<(Failure, Instant)>,
}

/// The result of a request for a token.
type TokenResult = Result<SecretString, Failure>;

impl Tokens {
    /// Returns a token that has not expired. If there is none, or it expires soon, runs `request`, unless another request
    /// is in progress or has just failed. A token that is still valid is used without waiting.
    ///
    /// # Errors
    /// There is no valid token, and none was issued.
    pub(super) async fn get<R>(&self, request: impl FnOnce() -> R) -> Result<SecretString, ApiError>
    where
        R: Future<Output = Result<Token, ApiError>> + Send + 'static,
    {
        let mut issued = {
            let mut state = self.0.lock();
            let now = Instant::now();
            let kept = state.token.as_ref().filter(|token| now < token.expires_at);
            let (valid, is_due) =
                (kept.map(|token| token.value.clone()), kept.is_none_or(|token| now >= token.refresh_at));
            let failed = state.failure.clone().filter(|(_, until)| now < *until);
            // A request whose task was dropped has no result.
            let in_progress = state.request.clone().filter(|request| request.has_changed().is_ok());
            match (valid, failed, in_progress) {
                (Some(valid), failed, in_progress) => {
                    if is_due && failed.is_none() && in_progress.is_none() {
                        self.start_request(&mut state, request());
                    }
                    return Ok(valid);
                }
                (None, Some((failure, until)), None) => return Err(ApiError::NoToken(failure, until - now)),
                (None, _, Some(in_progress)) => in_progress,
                (None, None, None) => self.start_request(&mut state, request()),
            }
        };
        let issued = issued.wait_for(Option::is_some).await.ok().and_then(|issued| issued.clone());
        let failed = || Err(Failure::new(FailureReason::Internal, "The request for a token was cut off."));
        issued.unwrap_or_else(failed).map_err(|failure| ApiError::NoToken(failure, RETRY_PAUSE))
    }

    /// Forgets a token that the service refused.
    pub(super) fn forget(&self, refused: &SecretString) {
        let mut state = self.0.lock();
        if state.token.as_ref().is_some_and(|token| is_same(&token.value, refused)) {
            state.token = None;
        }
    }

    /// Runs a request in a task of its own, since each of the calls that wait for it may be dropped.
    fn start_request<R>(&self, state: &mut State, request: R) -> watch::Receiver<Option<TokenResult>>
    where
        R: Future<Output = Result<Token, ApiError>> + Send + 'static,
    {
        let (sender, receiver) = watch::channel(None);
        state.request = Some(receiver.clone());
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let no_reply = |_| Err(ApiError::Lost(format!("there was no reply within {} s", REQUEST_LIMIT.as_secs())));
            let result = tokio::time::timeout(REQUEST_LIMIT, request).await.unwrap_or_else(no_reply);
            let issued = shared.lock().record_result(result.map_err(|error| failure_at_endpoint(&error)));
            sender.send_replace(Some(issued));
        });
        receiver
    }
}

impl State {
    fn record_result(&mut self, result: Result<Token, Failure>) -> TokenResult {
        self.request = None;
        match result {
            Ok(token) => {
                let value = token.value.clone();
                (self.token, self.failure) = (Some(token), None);
                Ok(value)
            }
            Err(failure) => {
                self.failure = Some((failure.clone(), Instant::now() + RETRY_PAUSE));
                Err(failure)
            }
        }
    }
}

fn is_same(a: &SecretString, b: &SecretString) -> bool {
    use secrecy::ExposeSecret;
    a.expose_secret() == b.expose_secret()
}

/// Returns the failure of a request for a token.
fn failure_at_endpoint(error: &ApiError) -> Failure {
    let failure = error.failure();
    match failure.reason() {
        // The token endpoint throttles, not the calls API.
        FailureReason::Throttled => {
            let sentence = "The provider's token endpoint refused the request as too many: try again later.";
            Failure::new(FailureReason::CannotPlace, sentence)
        }
        reason => {
            let text = failure.text().replacen("The provider", "The provider's token endpoint", 1);
            Failure::verbatim(reason, text)
        }
    }
}

#[cfg(test)]
mod tests;
