//! Errors of messages, headers and URIs.

use thiserror::Error;

/// Why a message, or one of its headers, cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Nothing but line ends came: a keep-alive, or an empty datagram.
    #[error("the message is empty")]
    Empty,
    /// The message is longer than the limit, in bytes.
    #[error("the message is longer than {limit} bytes")]
    TooLong {
        /// The limit that was exceeded, in bytes.
        limit: usize,
    },
    /// The message has more header lines than the limit.
    #[error("the message has more than {limit} headers")]
    TooManyHeaders {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// The first line is neither a request line nor a status line (RFC 3261, 7.1 and 7.2).
    #[error("the first line is neither a request line nor a status line")]
    StartLine,
    /// The version is not SIP/2.0. RFC 3261, 21.5.6, defines 505 for such a request, but the agent drops it.
    #[error("the version is not SIP/2.0")]
    Version,
    /// The empty line after the headers is missing.
    #[error("the empty line after the headers is missing")]
    HeadersNotEnded,
    /// Content-Length is greater than the rest of the datagram (RFC 3261, 18.3).
    #[error("Content-Length is {length}, but only {available} bytes arrived")]
    BodyCutShort {
        /// The value of Content-Length.
        length: usize,
        /// Bytes after the headers.
        available: usize,
    },
    /// The Request-URI cannot be read.
    #[error("the Request-URI cannot be used: {0}")]
    RequestUri(#[from] UriError),
    /// A header cannot be used.
    #[error("{name}: {problem}")]
    Header {
        /// The header's name in its usual spelling.
        name: &'static str,
        /// What is wrong with it.
        problem: HeaderProblem,
    },
}

impl MessageError {
    pub(crate) fn header(name: &'static str, problem: HeaderProblem) -> Self {
        Self::Header { name, problem }
    }
}

/// The problem of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderProblem {
    /// The message must have this header and does not.
    #[error("the header is missing")]
    Missing,
    /// The header occurs more than once, but may occur only once.
    #[error("the header occurs more than once")]
    Duplicated,
    /// The value does not follow the header's grammar.
    #[error("the value is malformed")]
    Malformed,
    /// The value is not UTF-8.
    #[error("the value is not UTF-8")]
    NotUtf8,
    /// A number is greater than its maximum.
    #[error("the number is out of range")]
    OutOfRange,
    /// The value, or a part of it, is longer than the limit in [`limits`](crate::message::limits).
    #[error("the value is too long")]
    TooLong,
    /// The list, or the list of parameters, has more elements than the limit in
    /// [`limits`](crate::message::limits).
    #[error("the list has too many elements")]
    TooMany,
    /// The method in CSeq differs from that of the request (RFC 3261, 8.1.1.5).
    #[error("the method differs from that of the request")]
    MethodMismatch,
    /// The URI in the value cannot be read.
    #[error("the URI cannot be used: {0}")]
    Uri(UriError),
}

/// Why a URI cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// The URI is longer than [`limits::URI`](crate::message::limits::URI).
    #[error("it is too long")]
    TooLong,
    /// The URI has no scheme.
    #[error("it has no scheme")]
    Scheme,
    /// The URI contains a blank, a control character, an angle bracket, or a quote; or its host or a parameter contains
    /// a character beyond ASCII.
    #[error("it contains a character that must be escaped")]
    Character,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("it contains an incomplete escape")]
    Escape,
    /// The user part is empty, or the URI has more than one `@`.
    #[error("its user part is malformed")]
    User,
    /// The host is neither a name, nor an IPv4 address, nor an IPv6 address in brackets.
    #[error("its host is malformed")]
    Host,
    /// The port is not a number up to 65535.
    #[error("its port is malformed")]
    Port,
    /// The URI has more parameters than [`limits::PARAMETERS`](crate::message::limits::PARAMETERS).
    #[error("it has too many parameters")]
    TooManyParameters,
}
