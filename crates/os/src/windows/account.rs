//! Accounts, and their security identifiers (SIDs) as text, such as `S-1-5-18`.

use std::io;

use windows_registry::LOCAL_MACHINE;
use windows_sys::Win32::Foundation::{CloseHandle, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{ConvertSidToStringSidW, ConvertStringSidToSidW};
use windows_sys::Win32::Security::{
    GetTokenInformation, LookupAccountNameW, LookupAccountSidW, PSID, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

pub(super) const SYSTEM: &str = "S-1-5-18";
pub(super) const ADMINISTRATORS: &str = "S-1-5-32-544";
pub(super) const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";
/// In an inherited list: the account that created the file, and its owner.
pub(super) const CREATOR_OWNER: &str = "S-1-3-0";
pub(super) const OWNER_RIGHTS: &str = "S-1-3-4";

/// A buffer for a SID, aligned for one. The longest SID has 68 bytes.
type SidBuffer = [u32; 32];

/// Size of the buffer for the name of an account or a domain, in UTF-16 units. Names are shorter.
const NAME_UNITS: usize = 512;

/// The registry's key of the services.
const SERVICES: &str = r"SYSTEM\CurrentControlSet\Services";

/// An account with permissions of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    pub(super) sid: String,
}

impl Account {
    /// Returns the account that a service of Windows runs as. `None` if there is no such service.
    ///
    /// # Errors
    /// If the account cannot be looked up, such as when no domain controller is reachable.
    pub fn of_service(service: &str) -> io::Result<Option<Self>> {
        let Ok(key) = LOCAL_MACHINE.open(format!(r"{SERVICES}\{service}")) else { return Ok(None) };
        // Drivers lack the value, and run as the system.
        let name = key.get_string("ObjectName").unwrap_or_else(|_| "LocalSystem".to_owned());
        let sid = if name.eq_ignore_ascii_case("LocalSystem") { SYSTEM.to_owned() } else { sid_of(&name)? };
        Ok(Some(Self { name, sid }))
    }

    /// Returns the name that administrators know it by: `CONTOSO\svcMIM`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Returns the name of the user that this process runs as: `CONTOSO\alice`.
pub fn user_name() -> String {
    current_user().map_or_else(|error| format!("a user that cannot be read ({error})"), |sid| name_of(&sid))
}

/// Returns the SID of the user that this process runs as.
pub(super) fn current_user() -> io::Result<String> {
    let mut token: HANDLE = std::ptr::null_mut();
    // SAFETY: the pseudo-handle of this process is always valid, and `token` is a place for the answer.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // A TOKEN_USER with the SID behind it, aligned for the pointer in it.
    let mut buffer = [0u64; 32];
    let size = size_of_val(&buffer) as u32;
    let mut needed = 0;
    // SAFETY: the token is open, and the buffer has as many bytes as the call says.
    let got = unsafe { GetTokenInformation(token, TokenUser, buffer.as_mut_ptr().cast(), size, &mut needed) };
    let error = io::Error::last_os_error();
    // SAFETY: the handle was opened above, and is used no more.
    unsafe { CloseHandle(token) };
    if got == 0 {
        return Err(error);
    }
    // SAFETY: the call wrote a TOKEN_USER at the buffer's start, which is aligned for it.
    let user = unsafe { &*buffer.as_ptr().cast::<TOKEN_USER>() };
    // SAFETY: its SID is in the buffer, too.
    unsafe { text_of(user.User.Sid) }
}

/// Returns a SID as text.
///
/// # Safety
/// `sid` must point to a valid SID.
pub(super) unsafe fn text_of(sid: PSID) -> io::Result<String> {
    let mut units: *mut u16 = std::ptr::null_mut();
    // SAFETY: the caller promises a valid SID; `units` is a place for the answer.
    if unsafe { ConvertSidToStringSidW(sid, &mut units) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut length = 0;
    // SAFETY: the text ends with a NUL, before which every unit may be read.
    while unsafe { *units.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: `length` units were read above.
    let text = String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(units, length) });
    // SAFETY: the system allocated the text so that its user frees it by LocalFree.
    unsafe { LocalFree(units.cast()) };
    Ok(text)
}

fn sid_of(name: &str) -> io::Result<String> {
    // `.\name` is an account of this machine.
    let units = super::wide(name.strip_prefix(r".\").unwrap_or(name));
    let mut sid: SidBuffer = [0; _];
    let mut sid_size = size_of::<SidBuffer>() as u32;
    let mut domain = [0u16; NAME_UNITS];
    let mut domain_units = NAME_UNITS as u32;
    let mut kind = 0;
    // SAFETY: the name ends with a NUL, and each buffer has as many bytes or units as the call says.
    let found = unsafe {
        LookupAccountNameW(
            std::ptr::null(),
            units.as_ptr(),
            sid.as_mut_ptr().cast(),
            &mut sid_size,
            domain.as_mut_ptr(),
            &mut domain_units,
            &mut kind,
        )
    };
    if found == 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(error.kind(), format!("the account {name} cannot be looked up: {error}")));
    }
    // SAFETY: the call wrote a SID into the buffer.
    unsafe { text_of(sid.as_mut_ptr().cast()) }
}

/// Returns the name of the account with a SID, or the SID itself if the name cannot be looked up.
pub(super) fn name_of(sid: &str) -> String {
    let units = super::wide(sid);
    let mut binary: PSID = std::ptr::null_mut();
    // SAFETY: the text ends with a NUL; `binary` is a place for the answer.
    if unsafe { ConvertStringSidToSidW(units.as_ptr(), &mut binary) } == 0 {
        return sid.to_owned();
    }
    let (mut name, mut domain) = ([0u16; NAME_UNITS], [0u16; NAME_UNITS]);
    let (mut name_units, mut domain_units) = (NAME_UNITS as u32, NAME_UNITS as u32);
    let mut kind = 0;
    // SAFETY: the SID was made above, and each buffer has as many units as the call says.
    let found = unsafe {
        LookupAccountSidW(
            std::ptr::null(),
            binary,
            name.as_mut_ptr(),
            &mut name_units,
            domain.as_mut_ptr(),
            &mut domain_units,
            &mut kind,
        )
    };
    // SAFETY: the system allocated it so that its user frees it by LocalFree.
    unsafe { LocalFree(binary) };
    // Afterwards the counts are without the NUL.
    let text = |units: &[u16], length: u32| String::from_utf16_lossy(units.get(..length as usize).unwrap_or_default());
    match (found, text(&domain, domain_units), text(&name, name_units)) {
        (0, ..) => sid.to_owned(),
        (_, domain, name) if domain.is_empty() => name,
        (_, domain, name) => format!(r"{domain}\{name}"),
    }
}
