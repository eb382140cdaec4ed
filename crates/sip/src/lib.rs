//! SIP messages (RFC 3261) without I/O.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]
#![warn(missing_docs, unreachable_pub)]

pub mod framing;
pub mod message;
