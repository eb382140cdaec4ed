//! Reads the replies of providers, and says through which proxy they were asked.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::call::Failure;
use crate::no_duplicate_keys::Json;

/// Parses a reply as JSON. Returns `None` if it is not JSON, or has a key twice.
pub(super) fn parse(body: &[u8]) -> Option<Json> {
    serde_json::from_slice(body).ok()
}

/// Returns the pause of `Retry-After`, which has seconds or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

/// Returns whether a refusal with this status says that the provider does not work, whatever number is called: it does not
/// accept the credentials, or a server on the way cannot reach or use the next one (RFC 9110, section 15.6). The cause of
/// another status, such as 400 or 500, may be the number.
pub(super) fn is_outage(status: u16) -> bool {
    matches!(status, 401 | 502..=504)
}

/// Adds the proxy to a failure, for an administrator. `proxy` is empty if there is none.
pub(super) fn with_proxy(failure: Failure, proxy: &str) -> Failure {
    if proxy.is_empty() { failure } else { failure.explained(format_args!("Asked {proxy}.")) }
}
