//! The vocabulary of PhoneGate. It does no I/O except that [`clock`] reads the clocks.
//!
//! | module | what it does |
//! |---|---|
//! | [`call`] | a call: its id, number, progress and outcome |
//! | [`clock`] | deadlines that are never late, whatever happens to the clocks |
//! | [`limits`] | the limits that the configuration sets and a store enforces |
//! | [`level`] | the levels of the log |
//! | [`redact`] | makes text of other programs safe to show |
//! | [`failpoint`] | injects faults in debug builds, for tests |

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

pub mod call;
pub mod clock;
pub mod failpoint;
pub mod level;
pub mod limits;
pub mod redact;
