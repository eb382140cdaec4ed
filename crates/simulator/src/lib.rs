//! Telephones in a browser, to try PhoneGate with.
//!
//! | module | what it is for |
//! |---|---|
//! | [`exchange`] | the telephones and their calls: rings them, passes on what is done at them |
//! | [`ending`] | how a call ends at an unattended telephone |
//! | `http` | serves HTTP with bounds |
//! | [`number`] | how a telephone number is written |
//! | [`recognition`] | what a prompt asks for, by comparing its audio with the recordings |
//! | [`sip`] | a callee of calls over SIP |
//! | [`studio`] | Twilio Studio's endpoints |
//! | [`view`] | what a page shows: telephones, calls, steps |
//! | [`web`] | the page with the telephones, and its web server |
//!
//! A line (`sip`, `studio`) receives a call from PhoneGate, rings a telephone by [`exchange::Exchange::ring`], does what
//! the [`exchange::Action`]s of its [`exchange::IncomingCall`] say, and reports what it hears. The page and the endings
//! act on telephones by [`exchange::Exchange::act`].

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
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        reason = "a failed test panics"
    )
)]

pub mod ending;
pub mod exchange;
mod http;
pub mod number;
pub mod recognition;
pub mod sip;
pub mod studio;
pub mod view;
pub mod web;
