//! A network, peers and phones of virtual time, in which an agent makes its calls.
//!
//! [`network`] carries messages and drives the agent. [`inspect`] reads all that the agent sends, and says what a
//! strict peer would refuse. [`story`] is a peer that a test plays by hand, and [`pbx`] is one that plays by itself, as
//! its [`plan`] says.

pub mod dialogs;
pub mod digest;
pub mod inspect;
pub mod network;
pub mod path;
pub mod pbx;
pub mod phones;
pub mod plan;
pub mod story;
pub mod text;
