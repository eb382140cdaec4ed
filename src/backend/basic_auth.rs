//! HTTP Basic authentication.

use crate::config::ConfigError;

/// Checks a user name or a password, which HTTP Basic sends encoded. `path` is its path in the configuration.
///
/// # Errors
/// It has a control character, which HTTP Basic does not allow (RFC 7617, section 2). The error does not show it.
pub(super) fn check_credential(path: &str, text: &str) -> Result<(), ConfigError> {
    let problem =
        "has a control character, such as a line break, which HTTP Basic cannot send; copy it again, as one line";
    match text.contains(char::is_control) {
        true => Err(ConfigError::invalid(path, problem)),
        false => Ok(()),
    }
}
