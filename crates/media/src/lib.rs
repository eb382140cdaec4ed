//! The media of one telephone call: session descriptions, RTP, RTCP, SRTP and DTMF digits.
//!
//! [`session::MediaSession`] handles all received media of a call; the other modules are its parts.
//!
//! The crate does no I/O: it opens no sockets, reads no clocks and draws no random numbers. The caller passes in
//! received bytes, their source and the time; the crate returns digits and counts. All state is bounded.
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
