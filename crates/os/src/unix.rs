//! Linux and its relatives.

mod media_socket;
mod no_echo;
mod process_tree;

use std::ffi::{CStr, OsStr, OsString};
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Exposure, Grant};
pub use media_socket::MediaSocket;
pub use no_echo::NoEcho;
pub use process_tree::ProcessTree;

/// Size of the buffer for a user's entry, in bytes. Entries are shorter.
const MAX_ENTRY_BYTES: usize = 16_384;

/// Maximum links that are followed to find a file, as in Linux's own look-up (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Returns the path of the library that contains this code, or of the program if it is linked into one.
pub fn module_path() -> Option<PathBuf> {
    let info = own_image()?;
    // SAFETY: dladdr filled `dli_fname` with a NUL-terminated path that lives as long as the image, which is this code.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    // A program's image is named as it was started, which may be without its folder.
    path.canonicalize().or_else(|_| std::env::current_exe()).ok()
}

/// Keeps this library loaded until the process ends, so that its threads never lose their code.
pub fn pin_module() {
    if let Some(info) = own_image() {
        let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
        // SAFETY: the path is the one dladdr gave for this image, which is loaded; the handle is never closed.
        unsafe { libc::dlopen(info.dli_fname, flags) };
    }
}

fn own_image() -> Option<libc::Dl_info> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    let address = (own_image as fn() -> Option<libc::Dl_info>) as *const libc::c_void;
    // SAFETY: the address is code of this image, and `info` is a valid place for the answer.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    // SAFETY: all zeroes is a valid Dl_info (null pointers), and dladdr wrote valid fields if it found something.
    let info = unsafe { info.assume_init() };
    (found != 0 && !info.dli_fname.is_null()).then_some(info)
}

/// Returns the folder for logs and state, by the XDG base directory specification: `$XDG_STATE_HOME/phonegate`, else
/// `~/.local/state/phonegate`.
pub fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|folder| folder.join("phonegate"))
}

/// Creates a folder that only this user can use, or checks that others cannot write to an existing one.
///
/// # Errors
/// If it cannot be created, is not a folder, belongs to another user, or others can write to it.
pub fn ensure_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let meta = std::fs::metadata(path)?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    let me = unsafe { libc::geteuid() };
    if meta.uid() != me && meta.uid() != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the folder belongs to another user"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "other users can write to the folder; remove that permission (chmod go-w)",
        ));
    }
    Ok(())
}

/// Returns options that create a file which only this user can read.
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Makes a file readable by every user, whatever the umask of this process.
///
/// # Errors
/// If this process may not change its permissions.
pub fn make_world_readable(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o644))
}

/// Returns the time since the machine started, including sleep. Zero if the system does not report it.
pub fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    let failed = unsafe { libc::clock_gettime(CLOCK, &mut time) } != 0;
    match (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(nanoseconds)) if !failed => Duration::new(seconds, nanoseconds),
        _ => Duration::ZERO,
    }
}

/// Returns the name of the user that this process runs as; behind sudo, also of the user who ran sudo.
pub fn user_name() -> String {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let me = unsafe { libc::geteuid() };
    let name = name_of(me).unwrap_or_else(|| format!("user {me}"));
    match std::env::var("SUDO_USER") {
        Ok(asker) if me == 0 && asker != name => format!("{asker} as {name}"),
        _ => name,
    }
}

fn name_of(user: libc::uid_t) -> Option<String> {
    let mut entry = MaybeUninit::<libc::passwd>::zeroed();
    let mut texts = [0; MAX_ENTRY_BYTES];
    let mut found = std::ptr::null_mut();
    // SAFETY: each pointer leads to a valid place, and there are as many bytes for the texts as is said.
    let failed = unsafe { libc::getpwuid_r(user, entry.as_mut_ptr(), texts.as_mut_ptr(), texts.len(), &mut found) };
    if failed != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the user was found, so the entry is filled; the name ends with a NUL and is in `texts`.
    let name = unsafe { CStr::from_ptr((*found).pw_name) };
    Some(name.to_string_lossy().into_owned())
}

/// Returns whether stdout is a pipe whose reader is gone, or a terminal that is gone.
pub fn is_stdout_closed() -> bool {
    let mut stdout = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
    // SAFETY: it is one valid pollfd, and the count is one. A closed descriptor is reported in `revents`.
    let ready = unsafe { libc::poll(&mut stdout, 1, 0) };
    ready > 0 && stdout.revents & (libc::POLLERR | libc::POLLHUP) != 0
}

/// An account with permissions of its own. It has no values on Unix, where only its owner may use a private file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {}

impl Account {
    /// Returns `None`: there is no such service.
    ///
    /// # Errors
    /// None here.
    pub fn of_service(_service: &str) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Returns the name that administrators know it by.
    pub fn name(&self) -> &str {
        match *self {}
    }
}

/// Creates a folder that only this user can use.
///
/// # Errors
/// If it exists, or cannot be created.
pub fn create_private_folder(path: &Path, _grant: Grant<'_>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Restricts a folder to its owner.
///
/// # Errors
/// If this process may not change its permissions.
pub fn protect_folder(path: &Path, _grant: Grant<'_>) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Creates a file that only this user can use, and opens it for writing.
///
/// # Errors
/// If it exists, or cannot be created.
pub fn create_private_file(path: &Path, _grant: Grant<'_>) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes the names in a folder to the disk.
///
/// # Errors
/// If the folder cannot be opened, or the disk fails.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The permissions of a file or a folder, to apply to another one.
pub struct SavedAccess {
    permissions: Permissions,
    owner: u32,
    group: u32,
}

impl SavedAccess {
    /// Reads the permissions of the file at `path`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self { permissions: meta.permissions(), owner: meta.uid(), group: meta.gid() })
    }

    /// Applies the permissions to the file at `path`.
    ///
    /// # Errors
    /// If this process may not change its permissions.
    pub fn apply(&self, path: &Path) -> io::Result<()> {
        let meta = std::fs::metadata(path)?;
        if (meta.uid(), meta.gid()) != (self.owner, self.group) {
            std::os::unix::fs::chown(path, Some(self.owner), Some(self.group))?;
        }
        std::fs::set_permissions(path, self.permissions.clone())
    }
}

/// Returns which users besides root and this one can use the file at `path`.
///
/// # Errors
/// If its permissions cannot be read.
pub fn exposure(path: &Path, _grant: Grant<'_>) -> io::Result<Exposure> {
    Ok(exposure_of(&std::fs::metadata(path)?))
}

fn exposure_of(meta: &Metadata) -> Exposure {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let me = unsafe { libc::geteuid() };
    let others = |group: u32, all: u32| {
        let who = [(group, "the file's group"), (all, "everybody")];
        who.into_iter().filter(|(bit, _)| meta.mode() & bit != 0).map(|(_, who)| who.to_owned()).collect()
    };
    Exposure {
        owner: (meta.uid() != me && meta.uid() != 0).then(|| format!("user {}", meta.uid())),
        readers: others(0o040, 0o004),
        writers: others(0o020, 0o002),
        lacks_grant: false,
    }
}

/// Finds a user other than root and this one who can change the file at a path or replace it. Returns the path that
/// this user can change, which may be a folder above the file, and a description of the user. `None` if there is none.
///
/// Every folder above the path is examined, and for each link on the way to the file, the link itself and every folder
/// above it. Above the file, a folder in which every user can create files is safe if it is sticky, as /tmp is: other
/// users can rename and remove only their own files there, and each step to the file must belong to root or this user.
///
/// Here the host runs as this user, so `trusts_host` changes nothing.
///
/// # Errors
/// If a part of the path is missing, its permissions cannot be read, or there are more links than the system follows.
pub fn untrusted_writer(path: &Path, _trusts_host: bool) -> io::Result<Option<(PathBuf, String)>> {
    let named = std::path::absolute(path)?;
    let (visited, file) = resolve(&named)?;
    let visited = visited.iter().map(PathBuf::as_path).rev();
    for part in named.ancestors().chain([file.as_path()]).chain(visited) {
        if let Some(why) = why_unsafe(part, part != named && part != file)? {
            return Ok(Some((part.to_owned(), why)));
        }
    }
    Ok(None)
}

/// Follows an absolute path as the system does. Returns the folders and links on the way, in their order, each named
/// without links above it, and the path of the file at the end.
fn resolve(path: &Path) -> io::Result<(Vec<PathBuf>, PathBuf)> {
    let mut visited = Vec::new();
    let mut current = PathBuf::new();
    let mut links = 0;
    // The next one is the last.
    let mut names = reversed_names(path);
    while let Some(name) = names.pop() {
        if name == "." {
            continue;
        }
        if name == ".." {
            current.pop();
            continue;
        }
        // If the name is the root, it replaces the path so far.
        current.push(name);
        visited.push(current.clone());
        if std::fs::symlink_metadata(&current)?.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = std::fs::read_link(&current)?;
            current.pop();
            names.extend(reversed_names(&target));
        }
    }
    Ok((visited, current))
}

fn reversed_names(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|name| name.as_os_str().to_owned()).collect()
}

fn why_unsafe(path: &Path, is_above: bool) -> io::Result<Option<String>> {
    const STICKY: u32 = 0o1000;
    let meta = std::fs::symlink_metadata(path)?;
    let exposure = if meta.is_symlink() {
        // Every user may follow it, whatever its mode; only its owner decides where it leads.
        Exposure { readers: Vec::new(), writers: Vec::new(), ..exposure_of(&meta) }
    } else if is_above && meta.mode() & STICKY != 0 {
        Exposure { writers: Vec::new(), ..exposure_of(&meta) }
    } else {
        exposure_of(&meta)
    };
    Ok(exposure.why_unsafe())
}
