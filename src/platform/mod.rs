//! What differs by operating system: where this library lies, where state goes, and what keeps the library loaded, who may
//! use a file.
#![allow(unsafe_code, reason = "the operating system's own interfaces")]

mod access;
mod library;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{
    Account, SavedAccess, create_private_file, create_private_folder, exposure, module_path, own_folder, pin_module,
    private_file, protect_folder, since_boot, state_folder,
};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{
    Account, SavedAccess, create_private_file, create_private_folder, exposure, module_path, own_folder, pin_module,
    private_file, protect_folder, since_boot, state_folder,
};

pub use access::{Exposure, Grant, HOST_SERVICE};
pub use library::LibraryVersion;
