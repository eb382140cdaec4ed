//! Who may use a file or a folder: access control lists.

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

/// Whoever has one of these can change a file, what is in a folder, or who else can.
const WRITE: u32 = FILE_WRITE_DATA
    | FILE_APPEND_DATA
    | FILE_DELETE_CHILD
    | DELETE
    | WRITE_DAC
    | WRITE_OWNER
    | GENERIC_WRITE
    | GENERIC_ALL;
const READ: u32 = FILE_READ_DATA | GENERIC_READ | GENERIC_ALL;

/// All that a file offers, in SDDL and as a number; what "modify" and "read" mean where Windows shows them.
const FULL: &str = "FA";
const MODIFY: u32 = 0x0013_01BF;
const READ_ONLY: u32 = 0x0012_0089;

/// Makes a folder for SYSTEM, administrators, and the given account, which may change what is in it. Without one:
/// for this process's user.
///
/// # Errors
/// Where it exists already, or cannot be made.
pub fn create_private_folder(path: &Path, grant: Grant<'_>) -> io::Result<()> {
    let descriptor = Descriptor::parse(&private(grant, Kind::Folder)?)?;
    let path = super::wide(path);
    // SAFETY: the path ends with a NUL, and the descriptor lives until the call is over.
    match unsafe { CreateDirectoryW(path.as_ptr(), &descriptor.attributes()) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Lets SYSTEM, administrators and the grantee alone use a folder and what is in it, whatever its parent says.
///
/// # Errors
/// Where this process may not.
pub fn protect_folder(path: &Path, grant: Grant<'_>) -> io::Result<()> {
    let descriptor = Descriptor::parse(&list(grant, Kind::Folder)?)?;
    set(path, descriptor.list()?, true)
}

/// Makes a file that SYSTEM and administrators alone can use, and the grantee read; opened for writing.
///
/// # Errors
/// Where it exists already, or cannot be made.
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
        // SAFETY: the handle was opened above, and nobody else has it.
        handle => Ok(unsafe { File::from_raw_handle(handle) }),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    File,
    Folder,
}

/// What something new is made with: a list, and an owner.
fn private(grant: Grant<'_>, kind: Kind) -> io::Result<String> {
    let list = list(grant, kind)?;
    Ok(match grant {
        // What a privileged process makes belongs to administrators, as the host's account must see.
        Grant::Administrators | Grant::Account(_) => format!("O:{ADMINISTRATORS}{list}"),
        Grant::CurrentUser => list,
    })
}

/// A protected list, in SDDL.
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

/// Who may use a file or a folder, to be kept, or given to another one.
pub struct SavedAccess(Access);

impl SavedAccess {
    /// Who may use what lies at a path.
    ///
    /// # Errors
    /// Where its list cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        Access::read(path).map(Self)
    }

    /// Lets the same ones use what lies at a path.
    ///
    /// # Errors
    /// Where this process may not.
    pub fn apply(&self, path: &Path) -> io::Result<()> {
        set(path, self.0.list, self.0.protected)
    }
}

/// Who can use what lies at a path, beyond SYSTEM, administrators and the grantee. This process's user is nobody else
/// where it is the grantee alone: the host, which runs as another one, could not tell it from a stranger.
///
/// # Errors
/// Where its list cannot be read.
pub fn exposure(path: &Path, grant: Grant<'_>) -> io::Result<Exposure> {
    examine(path, grant, READ)
}

/// Why others could have put something at a path. None where they cannot. Whoever can only read is not looked at, so
/// that nobody's name has to be asked for, which may ask the network, as long as all is well.
pub(super) fn why_unsafe(path: &Path, grant: Grant<'_>) -> io::Result<Option<String>> {
    Ok(examine(path, grant, 0)?.why_unsafe())
}

/// `reading`: the rights that make somebody a reader.
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

/// What the system tells of a file.
struct Access {
    /// Holds what the others point to.
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
        // SAFETY: the path ends with a NUL, and the others are places for the answers, or null where none is wanted.
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
        // SAFETY: the owner lies in the descriptor, which lives as long as this.
        unsafe { text_of(self.owner) }
    }

    /// To whom it grants what. What it denies is left out: who is counted may then be able to do less, never more.
    fn entries(&self) -> io::Result<Vec<(String, u32)>> {
        const EVERYBODY: &str = "S-1-1-0";
        if self.list.is_null() {
            // No list at all lets everybody do everything.
            return Ok(vec![(EVERYBODY.to_owned(), GENERIC_ALL)]);
        }
        // SAFETY: the list lies in the descriptor, which lives as long as this.
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
                // What a list of files does not have, and who can tell what it grants?
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
    // SAFETY: the path ends with a NUL; the list is null or lies in a descriptor that the caller keeps.
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

    /// For what is made, which must be over before this is dropped.
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
