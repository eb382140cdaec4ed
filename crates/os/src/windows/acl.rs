//! Permissions of files and folders: access control lists.

use std::fs::File;
use std::io;
use std::os::windows::io::FromRawHandle;
use std::path::Path;

use windows_sys::Win32::Foundation::{
    ERROR_SUCCESS, GENERIC_ALL, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW, SDDL_REVISION_1, SE_FILE_OBJECT,
    SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce, GetSecurityDescriptorControl,
    GetSecurityDescriptorDacl, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
    PSID, SE_DACL_PROTECTED, SECURITY_ATTRIBUTES, UNPROTECTED_DACL_SECURITY_INFORMATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateDirectoryW, CreateFileW, DELETE, FILE_APPEND_DATA, FILE_ATTRIBUTE_NORMAL, FILE_DELETE_CHILD,
    FILE_READ_DATA, FILE_WRITE_DATA, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::SystemServices::{
    ACCESS_ALLOWED_ACE_TYPE, ACCESS_ALLOWED_CALLBACK_ACE_TYPE, ACCESS_DENIED_ACE_TYPE, ACCESS_DENIED_CALLBACK_ACE_TYPE,
};

use super::account::{
    ADMINISTRATORS, CREATOR_OWNER, OWNER_RIGHTS, SYSTEM, TRUSTED_INSTALLER, current_user, name_of, text_of,
};
use crate::{Exposure, Grant};

/// Rights of which each lets an account change a file, the content of a folder, or the permissions of either.
const WRITE: u32 = FILE_WRITE_DATA
    | FILE_APPEND_DATA
    | FILE_DELETE_CHILD
    | DELETE
    | WRITE_DAC
    | WRITE_OWNER
    | GENERIC_WRITE
    | GENERIC_ALL;
const READ: u32 = FILE_READ_DATA | GENERIC_READ | GENERIC_ALL;

/// All rights, in SDDL, and the rights that Windows shows as "modify" and "read".
const FULL: &str = "FA";
const MODIFY: u32 = 0x0013_01BF;
const READ_ONLY: u32 = 0x0012_0089;

/// Creates a folder for SYSTEM, administrators and the grantee, which may change its content.
///
/// # Errors
/// If it exists, or cannot be created.
pub fn create_private_folder(path: &Path, grant: Grant<'_>) -> io::Result<()> {
    let descriptor = Descriptor::parse(&private(grant, Kind::Folder)?)?;
    let path = super::wide(path);
    // SAFETY: the path ends with a NUL, and the descriptor lives until the call is over.
    match unsafe { CreateDirectoryW(path.as_ptr(), &descriptor.attributes()) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Restricts a folder and its content to SYSTEM, administrators and the grantee, whatever the permissions of its
/// parent.
///
/// # Errors
/// If this process may not change its permissions.
pub fn protect_folder(path: &Path, grant: Grant<'_>) -> io::Result<()> {
    let descriptor = Descriptor::parse(&list(grant, Kind::Folder)?)?;
    set(path, descriptor.list()?, true)
}

/// Creates a file that only SYSTEM and administrators can use and the grantee can read, and opens it for writing.
///
/// # Errors
/// If it exists, or cannot be created.
pub fn create_private_file(path: &Path, grant: Grant<'_>) -> io::Result<File> {
    let descriptor = Descriptor::parse(&private(grant, Kind::File)?)?;
    let path = super::wide(path);
    let no = std::ptr::null_mut();
    // SAFETY: the path ends with a NUL, and the descriptor lives until the call is over.
    let handle = unsafe {
        CreateFileW(path.as_ptr(), GENERIC_WRITE, 0, &descriptor.attributes(), CREATE_NEW, FILE_ATTRIBUTE_NORMAL, no)
    };
    match handle {
        INVALID_HANDLE_VALUE => Err(io::Error::last_os_error()),
        // SAFETY: the handle was opened above, and has no other owner.
        handle => Ok(unsafe { File::from_raw_handle(handle) }),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    File,
    Folder,
}

/// Returns the security descriptor of a new file or folder, in SDDL: its owner and its list.
fn private(grant: Grant<'_>, kind: Kind) -> io::Result<String> {
    let list = list(grant, kind)?;
    Ok(match grant {
        // The host checks that files of a privileged process belong to administrators.
        Grant::Administrators | Grant::Account(_) => format!("O:{ADMINISTRATORS}{list}"),
        Grant::CurrentUser => list,
    })
}

/// Returns a list that inherits nothing, in SDDL.
fn list(grant: Grant<'_>, kind: Kind) -> io::Result<String> {
    let (inherited, rights) = match kind {
        Kind::Folder => ("OICI", MODIFY),
        Kind::File => ("", READ_ONLY),
    };
    let entry = |rights: &str, sid: &str| format!("(A;{inherited};{rights};;;{sid})");
    let more = match grant {
        Grant::Administrators => String::new(),
        Grant::Account(account) => entry(&format!("{rights:#x}"), &account.sid),
        Grant::CurrentUser => entry(FULL, &current_user()?),
    };
    Ok(format!("D:P{}{}{more}", entry(FULL, SYSTEM), entry(FULL, ADMINISTRATORS)))
}

/// The permissions of a file or a folder, to apply to another one.
pub struct SavedAccess(Access);

impl SavedAccess {
    /// Reads the permissions of the file at `path`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        Access::read(path).map(Self)
    }

    /// Applies the permissions to the file at `path`.
    ///
    /// # Errors
    /// If this process may not change its permissions.
    pub fn apply(&self, path: &Path) -> io::Result<()> {
        set(path, self.0.list, self.0.protected)
    }
}

/// Returns which accounts besides SYSTEM, administrators and the grantee can use the file at `path`. The user of this
/// process counts as another account unless it is the grantee: the host, which runs as another user, does not trust it.
///
/// # Errors
/// If its list cannot be read.
pub fn exposure(path: &Path, grant: Grant<'_>) -> io::Result<Exposure> {
    examine(path, grant, READ)
}

/// Describes which other account could have written to the file at `path`. `None` if none could. Accounts that can only
/// read are not examined: looking up their names may ask the network.
pub(super) fn why_unsafe(path: &Path, grant: Grant<'_>) -> io::Result<Option<String>> {
    Ok(examine(path, grant, 0)?.why_unsafe())
}

/// Examines a list. An account is a reader if it has one of the rights `reading`.
fn examine(path: &Path, grant: Grant<'_>, reading: u32) -> io::Result<Exposure> {
    let access = Access::read(path)?;
    let grantee = match grant {
        Grant::Account(account) => Some(account.sid.clone()),
        Grant::CurrentUser => Some(current_user()?),
        Grant::Administrators => None,
    };
    let may_own =
        |sid: &str| [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER].contains(&sid) || grantee.as_deref() == Some(sid);
    let trusted = |sid: &str| may_own(sid) || [CREATOR_OWNER, OWNER_RIGHTS].contains(&sid);
    let entries = access.entries()?;
    let others = |rights: u32| {
        let who = entries.iter().filter(|(sid, granted)| granted & rights != 0 && !trusted(sid));
        let mut names: Vec<_> = who.map(|(sid, _)| name_of(sid)).collect();
        names.sort();
        names.dedup();
        names
    };
    let granted = |sid: &str| entries.iter().filter(|(of, _)| of == sid).fold(0, |all, (_, rights)| all | rights);
    let owner = access.owner()?;
    let needed = if path.is_dir() { MODIFY } else { READ_ONLY };
    Ok(Exposure {
        owner: (!may_own(&owner)).then(|| name_of(&owner)),
        readers: others(reading),
        writers: others(WRITE),
        lacks_grant: matches!(grant, Grant::Account(account) if granted(&account.sid) & needed != needed),
    })
}

/// The owner and the list of a file.
struct Access {
    /// Owns the memory that the other fields point to.
    _descriptor: Descriptor,
    owner: PSID,
    list: *const ACL,
    protected: bool,
}

impl Access {
    fn read(path: &Path) -> io::Result<Self> {
        let path = super::wide(path);
        let mut owner: PSID = std::ptr::null_mut();
        let mut list: *mut ACL = std::ptr::null_mut();
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        let what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
        let no = std::ptr::null_mut();
        // SAFETY: the path ends with a NUL, and the others are places for the answers, or null for those that are not needed.
        let code = unsafe {
            GetNamedSecurityInfoW(
                path.as_ptr(),
                SE_FILE_OBJECT,
                what,
                &mut owner,
                no,
                &mut list,
                no.cast(),
                &mut descriptor,
            )
        };
        succeeded(code)?;
        let descriptor = Descriptor(descriptor);
        let (mut control, mut revision) = (0, 0);
        // SAFETY: the descriptor is valid, and the others are places for the answers.
        if unsafe { GetSecurityDescriptorControl(descriptor.0, &mut control, &mut revision) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { _descriptor: descriptor, owner, list, protected: control & SE_DACL_PROTECTED != 0 })
    }

    fn owner(&self) -> io::Result<String> {
        // SAFETY: the owner is in the descriptor, which lives as long as this.
        unsafe { text_of(self.owner) }
    }

    /// Returns the accounts, as SIDs, and the rights that each entry grants. Entries that deny rights are ignored: an
    /// account may then have fewer rights than returned, never more.
    fn entries(&self) -> io::Result<Vec<(String, u32)>> {
        const EVERYBODY: &str = "S-1-1-0";
        if self.list.is_null() {
            // Without a list, every account has all rights.
            return Ok(vec![(EVERYBODY.to_owned(), GENERIC_ALL)]);
        }
        // SAFETY: the list is in the descriptor, which lives as long as this.
        let count = unsafe { (*self.list).AceCount };
        let mut entries = Vec::new();
        for index in 0..u32::from(count) {
            let mut entry = std::ptr::null_mut();
            // SAFETY: the list is valid, and `entry` is a place for the answer.
            if unsafe { GetAce(self.list, index, &mut entry) } == 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: every entry begins with this header.
            let kind = u32::from(unsafe { (*entry.cast::<ACE_HEADER>()).AceType });
            match kind {
                ACCESS_DENIED_ACE_TYPE | ACCESS_DENIED_CALLBACK_ACE_TYPE => {}
                ACCESS_ALLOWED_ACE_TYPE | ACCESS_ALLOWED_CALLBACK_ACE_TYPE => {
                    let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
                    // SAFETY: entries of these kinds begin alike: a mask, and the SID in place.
                    let (rights, sid) = unsafe { ((*entry).Mask, text_of((&raw mut (*entry).SidStart).cast())?) };
                    entries.push((sid, rights));
                }
                // Lists of files have no other kinds. What such an entry grants is not known.
                _ => entries.push((EVERYBODY.to_owned(), GENERIC_ALL)),
            }
        }
        Ok(entries)
    }
}

fn set(path: &Path, list: *const ACL, protected: bool) -> io::Result<()> {
    let path = super::wide(path);
    let inheritance = match protected {
        true => PROTECTED_DACL_SECURITY_INFORMATION,
        false => UNPROTECTED_DACL_SECURITY_INFORMATION,
    };
    let what = DACL_SECURITY_INFORMATION | inheritance;
    let no = std::ptr::null_mut();
    // SAFETY: the path ends with a NUL; the list is null or in a descriptor that the caller keeps.
    succeeded(unsafe { SetNamedSecurityInfoW(path.as_ptr(), SE_FILE_OBJECT, what, no, no, list, std::ptr::null()) })
}

fn succeeded(code: u32) -> io::Result<()> {
    match code {
        ERROR_SUCCESS => Ok(()),
        code => Err(io::Error::from_raw_os_error(code as i32)),
    }
}

/// A security descriptor that the system allocated.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn parse(sddl: &str) -> io::Result<Self> {
        let sddl = super::wide(sddl);
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        let revision = SDDL_REVISION_1;
        let no = std::ptr::null_mut();
        // SAFETY: the text ends with a NUL; `descriptor` is a place for the answer.
        match unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(sddl.as_ptr(), revision, &mut descriptor, no)
        } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(Self(descriptor)),
        }
    }

    /// Returns attributes for a new file or folder. They must not be used after this descriptor is dropped.
    fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }

    fn list(&self) -> io::Result<*const ACL> {
        let (mut present, mut defaulted) = (0, 0);
        let mut list: *mut ACL = std::ptr::null_mut();
        // SAFETY: the descriptor is valid, and the others are places for the answers.
        match unsafe { GetSecurityDescriptorDacl(self.0, &mut present, &mut list, &mut defaulted) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(list),
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the system allocated it so that its user frees it by LocalFree.
        unsafe { LocalFree(self.0) };
    }
}
