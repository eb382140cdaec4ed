//! Decides what counts as an approval. It does no I/O: it opens no sockets, reads no clocks and has no source of
//! random numbers of its own.
//!
//! | module | what it does |
//! |---|---|
//! | [`policy`] | the method and its limits |
//! | [`attempts`] | what one call may say and expects: codes, scripts, the form kept in a store |
//! | [`script`] | the pieces to speak in one attempt, in order |
//! | [`secret`] | codes, PINs and entries: no `Debug`, zeroized, compared in constant time |
//! | [`verdict`] | the contract with the backends: an answer goes in, a verdict comes out |
//! | [`ivr`] | the state machine of a call whose audio this side has: keys and their times go in, prompts come out |
//!
//! Only this crate can create an [`Approval`](verdict::Approval). Any doubt is a [`Denial`](verdict::Denial).
//! All state is bounded, and no input causes a panic.

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

pub mod attempts;
pub mod ivr;
pub mod policy;
pub mod script;
pub mod secret;
pub mod verdict;
