//! Limits of parsed messages.

/// Default maximum length of a message: 64 KB.
pub const MESSAGE: usize = 64 * 1024;
/// Default maximum length of a request in a datagram: 8 KB.
pub const DATAGRAM_REQUEST: usize = 8 * 1024;
/// Default maximum number of header lines in a message.
pub const HEADERS: usize = 200;
/// Maximum length of a URI, in bytes.
pub const URI: usize = 4 * 1024;
/// Maximum length of a Call-ID, a tag or a branch, in bytes.
pub const IDENTIFIER: usize = 1024;
/// Maximum length of a method, in bytes.
pub const METHOD: usize = 128;
/// Maximum number of elements of a list, such as Route, over all its header lines.
pub const LIST: usize = 64;
/// Maximum number of parameters of one URI or one header value.
pub const PARAMETERS: usize = 64;

/// Limits that the user of the crate can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of a message, in bytes.
    pub message: usize,
    /// Maximum length of a request in a datagram, in bytes. [`Self::message`] limits it too.
    pub datagram_request: usize,
    /// Maximum number of header lines in a message.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message: MESSAGE, datagram_request: DATAGRAM_REQUEST, headers: HEADERS }
    }
}
