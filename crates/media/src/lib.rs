//! The media of one telephone call: session descriptions, RTP, RTCP, SRTP and DTMF digits.
//!
//! [`session::MediaSession`] receives a whole call; the other modules are its parts.
//!
//! Sans-IO: no function here opens a socket, reads a clock or draws a random number. The caller passes the bytes that
//! arrived, their source and the time, and gets back what they mean. Everything that grows has a limit.
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

pub mod dtmf;
pub mod receiver;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod session;
pub mod srtp;
