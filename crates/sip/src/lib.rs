//! A SIP user agent (RFC 3261) that places calls, registers and probes servers. It does no I/O: it opens no sockets,
//! reads no clocks and starts no threads.
//!
//! # Where to read what
//!
//! | question | module |
//! |---|---|
//! | What can the caller do, and what is reported? | [`agent`]: `commands`, `event` |
//! | What happens to received bytes? | `agent::receive`, then [`framing`] (streams) and [`message`] (parsing) |
//! | What is one call? | `invite`: its `mod.rs` lists its files |
//! | When is a message sent again, and when does it time out? | `transaction`, `agent::timeouts` |
//! | Which Request-URI, Route and address has a request? | `dialog` |
//! | Where is the SDP in a body? | `body` |
//! | How does a registration stay alive? | `register` |
//! | Which credentials are sent for a challenge? | [`auth`] |
//!
//! # The path of a call
//!
//! [`place_call`](agent::UserAgent::place_call) sends an INVITE. Its responses become events: a provisional response is
//! [`Provisional`](agent::CallEvent::Provisional), a 2xx [`Established`](agent::CallEvent::Established), and any other final
//! response [`Ended`](agent::CallEvent::Ended), unless the agent sends the INVITE again. `Ended` says whether a phone may
//! have rung. The peer's re-INVITE, UPDATE and INFO become [`SdpOffer`](agent::CallEvent::SdpOffer) and
//! [`Info`](agent::CallEvent::Info), to which the caller responds.
//!
//! # Trust
//!
//! - The caller passes in only datagrams from addresses of the trunk.
//! - Call-ID, tags, branch and CSeq must match exactly; a request or response that does not match changes no call.
//! - Requests of a call go to the server that the INVITE went to, whatever host the peer names, and credentials only there.
//! - Within a call, credentials are never sent for a weaker algorithm than before.
//! - All state is bounded, and no input causes a panic.
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
pub mod body;
mod dialog;
pub mod framing;
mod invite;
pub mod message;
mod register;
mod transaction;
