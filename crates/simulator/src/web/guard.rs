//! The checks of each request, and the headers of each response.
//!
//! Other programs and other web pages of this computer can reach the server too. The token keeps both out; the check of
//! Host keeps out a page whose name was made to point to this computer (DNS rebinding), and the check of Origin one that
//! got hold of the token.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use crate::http::{Hosts, only};

/// Maximum time to receive the body of a request.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Nothing but the page's own files and requests.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
];

/// What a request must have.
pub(super) struct Guard {
    token: String,
    hosts: Hosts,
}

impl Guard {
    /// Creates a token of 128 random bits, for the server at this port.
    pub(super) fn new(port: u16) -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let token = random.iter().fold(String::new(), |mut token, byte| {
            let _ = write!(token, "{byte:02x}");
            token
        });
        Ok(Self { token, hosts: Hosts::new(port) })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    fn problem(&self, request: &Request) -> Option<&'static str> {
        let host = match self.hosts.check(request.headers()) {
            Ok(host) => host,
            Err(problem) => return Some(problem),
        };
        if !self.is_from_the_page(request, host) {
            return Some("The request is not from the simulator's own page.");
        }
        if !request.uri().query().is_some_and(|query| self.has_token(query)) {
            return Some("The token is missing or wrong: use the whole address that `phonegate simulate` prints.");
        }
        None
    }

    /// Returns whether the Origin is that of the page. A browser sends none when it loads the page.
    fn is_from_the_page(&self, request: &Request, host: &str) -> bool {
        if !request.headers().contains_key(ORIGIN) {
            return request.method() != Method::POST;
        }
        let origin = only(request.headers(), ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        origin == Some(host)
    }

    fn has_token(&self, query: &str) -> bool {
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        token.is_some_and(|token| bool::from(token.as_bytes().ct_eq(self.token.as_bytes())))
    }
}

/// Passes on a request that has the token and comes from the page.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.problem(&request) {
        Some(problem) => refuse(StatusCode::FORBIDDEN, problem),
        None => match timeout(BODY_WITHIN, next.run(request)).await {
            Ok(response) => response,
            Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "The body of the request did not arrive in time."),
        },
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns a response that says why a request was refused.
pub(super) fn refuse(status: StatusCode, why: &str) -> Response {
    (status, format!("{why}\n")).into_response()
}
