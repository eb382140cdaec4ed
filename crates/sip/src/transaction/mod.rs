//! Transactions (RFC 3261, 17; RFC 6026): each request is sent until it is answered, each response until it is
//! acknowledged, and neither for longer than the timers allow.
//!
//! Both state machines are values without I/O: they say what to send, and the agent sends it.

pub(crate) mod client;
pub(crate) mod server;

pub(crate) use client::{ClientKey, ClientTransaction};
pub(crate) use server::{ServerKey, ServerTransaction};
