//! References to placed calls.

/// A backend's identifier of a call that it has placed. It is text, so that it can be stored, and holds no personal
/// data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRef(String);

impl CallRef {
    /// Creates a reference.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the reference's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
