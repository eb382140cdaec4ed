//! Windows.

mod account;
mod acl;
pub mod dpapi;
pub(super) mod event_log;
mod media_socket;
mod no_echo;
mod process_tree;
pub(super) mod proxy;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN,
    GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT, GetModuleFileNameW, GetModuleHandleExW, LOAD_LIBRARY_SEARCH_SYSTEM32,
    SetDefaultDllDirectories,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemWindowsDirectoryW, GetTickCount64};

pub use account::{Account, user_name};
pub use acl::{SavedAccess, create_private_file, create_private_folder, exposure, protect_folder};
pub use media_socket::MediaSocket;
pub use no_echo::NoEcho;
pub use process_tree::ProcessTree;

use super::{Grant, HOST_SERVICE};

/// Maximum length of a path in Windows, in UTF-16 units.
const MAX_PATH_UNITS: u32 = 32_768;

/// Returns the path of the library that contains this code, or of the program if it is linked into one.
pub fn module_path() -> Option<PathBuf> {
    let module = own_module(GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT)?;
    let mut units = vec![0u16; MAX_PATH_UNITS as usize];
    // SAFETY: the module is loaded, since this code is in it, and the buffer has as many units as is said.
    let length = unsafe { GetModuleFileNameW(module, units.as_mut_ptr(), MAX_PATH_UNITS) };
    wide_path(&units, length)
}

/// Returns the path that a function of Windows wrote. The length is 0 if it failed, and the whole buffer if the path
/// was cut.
fn wide_path(units: &[u16], length: u32) -> Option<PathBuf> {
    match units.get(..length as usize) {
        Some(path) if length > 0 && length < MAX_PATH_UNITS => Some(OsString::from_wide(path).into()),
        _ => None,
    }
}

/// Returns the folder of Windows, from the system: environment variables can be changed.
pub fn windows_folder() -> Option<PathBuf> {
    let mut units = vec![0u16; MAX_PATH_UNITS as usize];
    // SAFETY: the buffer has as many units as is said.
    let length = unsafe { GetSystemWindowsDirectoryW(units.as_mut_ptr(), MAX_PATH_UNITS) };
    wide_path(&units, length)
}

/// Keeps this library loaded until the process ends, so that its threads never lose their code.
pub fn pin_module() {
    own_module(GET_MODULE_HANDLE_EX_FLAG_PIN);
}

fn own_module(flag: u32) -> Option<HMODULE> {
    let mut module: HMODULE = std::ptr::null_mut();
    let address = own_module as fn(u32) -> Option<HMODULE>;
    let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | flag;
    // SAFETY: with FROM_ADDRESS the name is an address in a module, here our own; `module` is a place for the answer.
    let found = unsafe { GetModuleHandleExW(flags, address as *const u16, &mut module) };
    (found != 0).then_some(module)
}

/// Returns the folder for logs and state: `%ProgramData%\PhoneGate`.
pub fn state_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("ProgramData")?);
    folder.is_absolute().then(|| folder.join("PhoneGate"))
}

/// Creates a folder that only administrators and this user can use, or checks that others cannot write to an existing
/// one.
///
/// # Errors
/// If it cannot be created, is not a folder, belongs to another account, or others can write to it.
pub fn ensure_private_dir(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match create_private_folder(path, Grant::CurrentUser) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => return created,
    }
    let meta = std::fs::symlink_metadata(path)?;
    if meta.is_symlink() || !meta.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder, or is a link to one"));
    }
    match why_unsafe(path, true)? {
        None => Ok(()),
        Some(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{why}; run `phonegate install`"))),
    }
}

/// Finds an account that can change the file at a path or replace it, other than administrators, this user and, if
/// `trusts_host`, the host's account. Returns the path that it can change, which may be the file's folder, and a
/// description of who can. None if there is no such account.
///
/// # Errors
/// If the path is missing, or its permissions or those of its folder cannot be read.
pub fn untrusted_writer(path: &Path, trusts_host: bool) -> io::Result<Option<(PathBuf, String)>> {
    let path = std::path::absolute(path)?;
    let parts = if path.is_dir() { 1 } else { 2 };
    for part in path.ancestors().take(parts) {
        if let Some(why) = why_unsafe(part, trusts_host)? {
            return Ok(Some((part.to_owned(), why)));
        }
    }
    Ok(None)
}

fn why_unsafe(path: &Path, trusts_host: bool) -> io::Result<Option<String>> {
    let why = acl::why_unsafe(path, Grant::CurrentUser)?;
    if why.is_none() || !trusts_host {
        return Ok(why);
    }
    // The host's account may differ from that of this process: an administrator runs `phonegate check`.
    match Account::of_service(HOST_SERVICE)? {
        Some(account) => acl::why_unsafe(path, Grant::Account(&account)),
        None => Ok(why),
    }
}

/// Makes this process load libraries that are named without a folder from System32 only, not from the folder of the
/// program or PATH. Libraries that the program imports are loaded before this runs.
pub fn restrict_library_search() {
    // SAFETY: it changes a setting of this process. Every supported Windows has it, so the result is ignored.
    unsafe { SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32) };
}

/// Returns the text as the system expects it: UTF-16 that ends with a NUL.
fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// Does nothing: NTFS has a journal for names, and a folder cannot be flushed.
///
/// # Errors
/// None here.
pub fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns options that create a file. The permissions of its folder protect it.
pub fn private_file() -> OpenOptions {
    OpenOptions::new()
}

/// Does nothing: a new file has the permissions of its folder.
///
/// # Errors
/// None.
pub fn make_world_readable(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Returns the time since the machine started, including sleep. Its resolution is about 16 ms.
pub fn since_boot() -> Duration {
    // SAFETY: GetTickCount64 has no preconditions and cannot fail.
    Duration::from_millis(unsafe { GetTickCount64() })
}

/// Returns false: Windows reports a closed pipe only to a writer.
pub fn is_stdout_closed() -> bool {
    false
}
