//! PhoneGate: the phone-call second factor for Microsoft Identity Manager.
//!
//! The path of one call: the host calls an export of [`abi`], which turns its pointers into a request. [`gate`] asks
//! [`admission`] whether the call may be placed, begins it in the [`registry`] and passes it to `engine`. On the gate's
//! own threads, `engine` writes it to the [`store`], lets a [`backend`] place it and follows it to its outcome, which
//! it publishes to the registry. When the host asks for the status, the gate reads the registry only.
//!
//! | module | what it is for |
//! |---|---|
//! | [`abi`] | the C boundary, described by `include/phonegate.h` |
//! | [`gate`] | initiate, status and failure message, over safe types |
//! | `engine` | drives each call from placing to outcome |
//! | [`alerts`] | notifies administrators of events that they should act on |
//! | [`backend`] | telephony: the contract, and a folder for each provider |
//! | [`approval`] | judges what users press, and keeps their PINs |
//! | [`store`] | what outlives the process: the contract, and memory, SQLite and Redis |
//! | [`registry`] | the state of every call of this process |
//! | [`admission`] | reads telephone numbers, and decides whether they may be called |
//! | [`prompts`] | the recordings that users hear |
//! | [`telemetry`] | the log and the metrics |
//! | [`config`] | `phonegate.json` |
//!
//! The table is in the order of the layers: a module imports only modules of lower layers, which `tests/imports.rs`
//! checks. Below them are crates: `phonegate-core` ([`call`], [`clock`], [`limits`], [`level`], [`redact`],
//! [`failpoint`]), `phonegate-net`, and `phonegate-os`, which is [`platform`] here.

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

/// The types of backends and stores that this library knows.
pub const TYPES: config::Types = config::Types { backends: backend::BACKENDS, stores: store::STORES };
