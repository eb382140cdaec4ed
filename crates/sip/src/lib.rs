//! A SIP user agent (RFC 3261) that places calls, registers and probes servers, without I/O: no sockets, no clocks, no
//! threads.
//!
//! [`agent`] has the user agent. [`message`] reads and writes messages, [`framing`] reads them from a stream that is cut
//! anywhere, and [`auth`] answers digest challenges. Everything has a limit, and no input causes a panic.
//!
//! What decides is read strictly: hosts, ports, tags, Call-ID, CSeq, Content-Length. The rest is read leniently, and
//! only when it is needed.

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
