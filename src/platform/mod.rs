//! What differs by operating system: where this library lies, where state goes, and what keeps the library loaded.
#![allow(unsafe_code, reason = "the operating system's own interfaces")]

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{module_path, own_folder, pin_module, private_file, since_boot, state_folder};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{module_path, own_folder, pin_module, private_file, since_boot, state_folder};
