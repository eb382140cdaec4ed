//! Transactions (RFC 3261, 17; RFC 6026): retransmit each request until a response arrives, and each response until its
//! ACK arrives, within the limits of the timers.
//!
//! Both state machines do no I/O: they return what to send, and the agent sends it.

pub(crate) mod client;
pub(crate) mod server;

pub(crate) use client::{ClientKey, ClientTransaction};
pub(crate) use server::{ServerKey, ServerTransaction};
