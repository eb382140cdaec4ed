//! The user name and the password.

use std::fmt;

use zeroize::Zeroizing;

use super::AuthError;

/// The maximum length of a user name and of a password, in bytes.
pub const MAX_CREDENTIAL_LENGTH: usize = 1024;

/// A user name and a password.
///
/// Both are erased from memory when the value is dropped. `Debug` shows neither.
#[derive(Clone)]
pub struct Credentials {
    username: Zeroizing<String>,
    password: Zeroizing<String>,
}

impl Credentials {
    /// Copies a user name and a password.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidCredentials`] if one of them is longer than [`MAX_CREDENTIAL_LENGTH`], or if the user name
    /// is empty or contains a control character, which could break a header line.
    pub fn new(username: &str, password: &str) -> Result<Self, AuthError> {
        let is_too_long = username.len().max(password.len()) > MAX_CREDENTIAL_LENGTH;
        if is_too_long || username.is_empty() || username.contains(char::is_control) {
            return Err(AuthError::InvalidCredentials);
        }
        Ok(Self { username: Zeroizing::new(username.to_owned()), password: Zeroizing::new(password.to_owned()) })
    }

    pub(super) fn username(&self) -> &[u8] {
        self.username.as_bytes()
    }

    pub(super) fn password(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn debug_shows_neither_name_nor_password() {
        let shown = format!("{:?}", Credentials::new("gate-user", "sesame-word").unwrap());
        assert!(!shown.contains("gate") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn unusable_credentials_are_refused() {
        let long = "x".repeat(MAX_CREDENTIAL_LENGTH + 1);
        for (username, password) in
            [("", "p"), ("u\r\nVia: x", "p"), ("u\0", "p"), ("u\u{85}", "p"), (&*long, "p"), ("u", &*long)]
        {
            assert_eq!(Credentials::new(username, password).unwrap_err(), AuthError::InvalidCredentials);
        }
        for (username, password) in [("u", ""), ("a \"b\" \\c", "p"), ("Jürgen", "電話"), ("u", "a\nb:c")] {
            assert!(Credentials::new(username, password).is_ok(), "{username}");
        }
    }
}
