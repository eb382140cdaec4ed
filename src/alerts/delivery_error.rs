//! Why deliveries fail.

/// Why an alert was not delivered. The text has no secret, no address of a person and no telephone number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct DeliveryError {
    text: String,
    is_permanent: bool,
}

impl DeliveryError {
    /// An error after which another attempt may succeed, perhaps when an administrator has corrected something.
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), is_permanent: false }
    }

    /// An error after which no attempt will succeed.
    pub(super) fn permanent(text: &str) -> Self {
        Self { text: text.to_owned(), is_permanent: true }
    }

    /// Returns whether no further attempt should be made.
    pub fn is_permanent(&self) -> bool {
        self.is_permanent
    }
}
