//! Everything that differs by operating system: the path of this library, the folder for state, permissions, how to
//! keep the library loaded, sockets for audio, programs with all their children, a terminal that hides what is typed,
//! and three features of Windows: sealed secrets, the Event Log and a proxy for the machine.
//!
//! This is the lowest crate of the workspace: it imports no other one.

#![warn(missing_docs, unreachable_pub)]
#![deny(clippy::undocumented_unsafe_blocks)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod library;
mod peer_reader;
mod permissions;
mod prefetch;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{
    Account, MediaSocket, NoEcho, ProcessTree, SavedAccess, create_private_file, create_private_folder,
    ensure_private_dir, exposure, is_stdout_closed, make_world_readable, module_path, pin_module, private_file,
    protect_folder, since_boot, state_folder, sync_folder, untrusted_writer, user_name,
};

#[cfg(not(windows))]
mod unsupported;
#[cfg(not(windows))]
pub use unsupported::{EventLog, dpapi, machine_proxy, restrict_library_search, windows_folder};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::event_log::EventLog;
#[cfg(windows)]
pub use windows::proxy::machine_proxy;
#[cfg(windows)]
pub use windows::{
    Account, MediaSocket, NoEcho, ProcessTree, SavedAccess, create_private_file, create_private_folder, dpapi,
    ensure_private_dir, exposure, is_stdout_closed, make_world_readable, module_path, pin_module, private_file,
    protect_folder, restrict_library_search, since_boot, state_folder, sync_folder, untrusted_writer, user_name,
    windows_folder,
};

pub use library::LibraryVersion;
pub use peer_reader::{Arrival, PeerReader};
pub use permissions::{Exposure, Grant, HOST_SERVICE};
pub use prefetch::prefetch;

/// Returns the machine's name, which identifies a node of a farm.
pub fn machine_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// The machine's proxy, as WinHTTP stores it. It has several forms.
pub struct MachineProxy {
    /// `proxy:3128`, or `http=proxy:3128;https=other:3128`, with or without `http://`; separated by `;` or blanks.
    pub proxies: String,
    /// Hosts that are reached without the proxy: `<local>;*.contoso.local`.
    pub bypass: String,
}

/// The severity of an event in the Windows Event Log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSeverity {
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// Information.
    Information,
}
