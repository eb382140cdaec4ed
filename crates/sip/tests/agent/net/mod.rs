//! A network, peers and phones in virtual time, with which an agent makes its calls.
//!
//! [`network`] carries messages and drives the agent. [`inspect`] checks everything that the agent sends, as a strict
//! peer would. [`scenario`] is a peer that a test scripts step by step, and [`pbx`] is one that acts by itself, according
//! to its [`plan`].

pub mod dialogs;
pub mod digest;
pub mod inspect;
pub mod network;
pub mod path;
pub mod pbx;
pub mod phones;
pub mod plan;
pub mod scenario;
pub mod text;
