//! Installs PhoneGate into Microsoft Identity Manager (MIM), and reverts that. It prints nothing: the caller shows the
//! plan, the progress and the errors.
//!
//! An installation is planned first: [`plan::plan`] examines the machine, compiles the shim, tries the configuration
//! out, and returns the changes. [`apply::apply`] makes all of them or none. [`revert::plan`] and [`revert::apply`] do
//! the same for the way back.
//!
//! | module | what it does |
//! |---|---|
//! | [`find`] | finds the folder of MIM's service and its .NET runtime |
//! | [`contract`] | finds the assembly that defines the interface of MIM's providers |
//! | [`shim`] | identifies a compiled `CustomPhoneGate.dll` |
//! | [`settings`] | reads and edits `MfaSettings.xml`, which names the provider |
//! | [`permissions`] | lists accounts that can read or change what they should not |
//! | [`plan`] | decides what an installation changes |
//! | [`apply`] | makes the changes of a plan, or none of them |
//! | [`backups`] | names and lists the backups of `MfaSettings.xml` |
//! | [`revert`] | removes an installation, and restores the settings or the calls of an older version |
//! | [`service`] | queries and restarts MIM's service |
//!
//! A module imports only from those above it and from the private ones: `assembly` (reads .NET metadata), `xml` (edits
//! XML without changing other bytes), `change` (the type of one change), `event_source`, `failpoint`, `path`.
//!
//! The crate depends on `phonegate` because a plan needs the gate itself: it loads the configuration as the library
//! will, starts a gate to try it out, compares file permissions with those that the library demands, and copies or
//! restores the calls of the SQLite store.

#![warn(missing_docs, unreachable_pub)]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]
#![deny(clippy::indexing_slicing, clippy::string_slice)]

pub mod apply;
mod assembly;
pub mod backups;
mod change;
pub mod contract;
mod error;
mod event_source;
mod failpoint;
pub mod find;
mod path;
pub mod permissions;
pub mod plan;
mod progress;
pub mod revert;
pub mod service;
pub mod settings;
pub mod shim;
mod xml;

pub use change::Change;
pub use error::{DeployError, ErrorKind};
pub use path::{is_same_file, read_bounded};
pub use progress::Progress;
