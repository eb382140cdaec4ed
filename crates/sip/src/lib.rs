//! A SIP user agent (RFC 3261) that places calls, registers and probes servers. It does no I/O: it opens no sockets,
//! reads no clocks and starts no threads.
//!
//! [`agent`] has the user agent. [`message`] parses and writes messages, [`framing`] reads them from a byte stream, and
//! [`auth`] answers digest challenges. All state is bounded, and no input causes a panic.
//!
//! Fields that identify or route a message are parsed strictly: hosts, ports, tags, Call-ID, CSeq, Content-Length.
//! Everything else is parsed leniently, and only when it is needed.

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

pub mod agent;
pub mod auth;
mod body;
mod dialog;
pub mod framing;
mod invite;
pub mod message;
mod register;
mod transaction;
