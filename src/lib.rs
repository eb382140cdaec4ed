//! PhoneGate: the phone-call second factor for Microsoft Identity Manager.
//!
//! The way of one call: the host's thread comes through [`abi`], which turns its pointers into a request; [`gate`]
//! asks [`admission`] whether the call may be placed, begins it in the [`registry`] and hands it to `engine`. There,
//! on the gate's own threads, a [`backend`] places it and follows it to its outcome, which goes back into the
//! registry. The host's later questions read the registry alone.
//!
//! | module | what it is for |
//! |---|---|
//! | [`abi`] | the C boundary, described by `include/phonegate.h` |
//! | [`gate`] | the three questions of a host, over safe types |
//! | [`call`] | the vocabulary |
//! | [`admission`] | may this call be placed? |
//! | [`alerts`] | notifies administrators of events that they should act on |
//! | [`approval`] | judges what users press, and keeps their PINs |
//! | [`registry`] | the state of every call |
//! | `engine` | drives one call from placing to outcome |
//! | [`store`] | what outlives the process |
//! | [`backend`] | telephony |
//! | [`prompts`] | what users hear |
//! | [`config`] | `phonegate.json` |
//! | [`telemetry`] | the log, and figures |
//! | [`clock`] | deadlines that nothing stretches |
//! | [`platform`] | what differs by operating system |

#![warn(missing_docs, unreachable_pub)]
#![deny(unsafe_code, clippy::undocumented_unsafe_blocks)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]
#![deny(clippy::indexing_slicing, clippy::string_slice)]

pub mod abi;
pub mod admission;
pub mod alerts;
pub mod approval;
pub mod backend;
pub mod config;
mod engine;
pub mod gate;
mod no_duplicate_keys;
pub mod prompts;
pub mod registry;
pub mod store;
mod sync;
pub mod telemetry;

pub use phonegate_core::{call, clock, failpoint, level, limits, redact};
pub use phonegate_os as platform;

/// The types of backends that this library knows.
pub const TYPES: config::Types = config::Types { backends: backend::BACKENDS };
