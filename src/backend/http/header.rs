//! The headers of requests: which names are allowed, and which values can be sent.

use reqwest::header::{HeaderName, HeaderValue};

use crate::config::ConfigError;

/// Headers that the connection, the body or the proxy defines.
const FORBIDDEN: [&str; 13] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads the name of a header. `path` is its path in the configuration.
///
/// # Errors
/// It is not one, or one that is not allowed.
pub(super) fn name(path: &str, name: &str) -> Result<HeaderName, ConfigError> {
    if name.contains(['{', '}']) {
        return Err(ConfigError::invalid(path, "has a placeholder in the name of a header"));
    }
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(ConfigError::invalid(path, "is not the name of a header"));
    };
    match FORBIDDEN.contains(&parsed.as_str()) {
        true => Err(ConfigError::invalid(path, "is a header that PhoneGate sets itself; remove it")),
        false => Ok(parsed),
    }
}

/// Returns the value of a header. `None`: it has characters other than printable ASCII.
pub(super) fn value(text: &str) -> Option<HeaderValue> {
    let is_plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let mut value = HeaderValue::from_str(text).ok().filter(|_| is_plain)?;
    value.set_sensitive(true);
    Some(value)
}

/// Reads the value of a header, or a part of one. `path` is its path in the configuration.
///
/// # Errors
/// It cannot be sent. The error does not show it.
pub(super) fn configured_value(path: &str, text: &str) -> Result<HeaderValue, ConfigError> {
    let problem = "has characters that a header cannot contain, such as a line break or an accented letter; use \
                   printable ASCII characters only, and copy a secret again";
    value(text).ok_or_else(|| ConfigError::invalid(path, problem))
}
