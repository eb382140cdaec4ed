//! Finds the contract: the assembly that defines the interface of MIM's providers, against which the shim is compiled.
//! Its file name is not documented, so it is recognized by the types that it defines.

use std::cmp::Reverse;
use std::fmt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::assembly::{Identity, Metadata, Unreadable};
use crate::find::runtime::Runtime;
use crate::{DeployError, read_bounded};

pub(crate) const NAMESPACE: &str = "Microsoft.IdentityManagement.PhoneServiceProvider";
pub(crate) const INTERFACE: &str = "IPhoneServiceProvider";
const METHODS: [&str; 3] = ["InitiateCall", "GetCallStatus", "GetFailureMessage"];
const STATUS: &str = "PhoneCallStatus";
const NAMES: [&str; 3] = ["Pending", "Success", "Failed"];

/// Maximum size of an assembly. Those of .NET and MIM are far smaller.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Depth of the search below a folder of the GAC, which has two levels of folders: assembly name and version.
const GAC_DEPTH: usize = 3;

/// Maximum number of unreadable files that an error names.
const MAX_NAMED: usize = 5;

/// An assembly that defines the whole contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// The file.
    pub path: PathBuf,
    /// The assembly's name.
    pub name: String,
    /// The assembly's version.
    pub version: Version,
    /// In lower-case hexadecimal, such as `31bf3856ad364e35`. `None` if the assembly is not signed.
    pub public_key_token: Option<String>,
    /// The runtime that it was compiled for, such as `v2.0.50727`. An older one cannot load it.
    pub runtime: String,
    /// Whether it is in the global assembly cache (GAC).
    pub in_gac: bool,
}

/// An assembly's version: major, minor, build, revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub(crate) [u16; 4]);

/// The result of a search for the contract.
#[derive(Debug)]
pub struct Found {
    /// The contract to compile against: among those that the service's runtime can load, the newest in the service's
    /// folder, else the newest in the GAC.
    pub contract: Contract,
    /// The other contracts, in order of preference.
    pub others: Vec<Contract>,
    /// Files of the service's folder that cannot be read, or lack a part of the contract.
    pub rejected: Vec<RejectedFile>,
}

/// A file that may be the contract but cannot be used.
#[derive(Debug)]
pub struct RejectedFile {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be used. The text completes a sentence that begins with the path.
    pub why: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, build, revision]) = self;
        write!(f, "{major}.{minor}.{build}.{revision}")
    }
}

/// The display name of .NET, the runtime and the file.
impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, name, version, public_key_token, runtime, .. } = self;
        let token = public_key_token.as_deref().unwrap_or("null");
        write!(f, "{name}, Version={version}, PublicKeyToken={token} for {runtime}: {}", path.display())
    }
}

/// Returns the folders of the GAC for both generations of the runtime. `windows` is the folder of Windows.
pub fn gac_folders(windows: &Path) -> Vec<PathBuf> {
    let roots = [windows.join("assembly"), windows.join("Microsoft.NET").join("assembly")];
    roots.iter().flat_map(|root| ["GAC_MSIL", "GAC_64"].map(|kind| root.join(kind))).collect()
}

/// Searches the service's folder without subfolders, and the `gac` folders with subfolders.
///
/// # Errors
/// If no assembly defines the whole contract. The message names those that define a part.
pub fn find(service_folder: &Path, gac: &[PathBuf], runtime: Option<&Runtime>) -> Result<Found, DeployError> {
    let mut files = Vec::new();
    let unusable = |error| {
        let folder = service_folder.display();
        DeployError::usage(format!("cannot read the service's folder {folder}: {error}"))
            .hint("name it by --service-dir")
    };
    programs(service_folder, 1, &mut files).map_err(unusable)?;
    let in_folder = files.len();
    for folder in gac {
        // Not every machine has every kind of GAC.
        let _ = programs(folder, GAC_DEPTH, &mut files);
    }
    let (mut contracts, mut rejected) = (Vec::new(), Vec::new());
    for (index, path) in files.into_iter().enumerate() {
        match examine(&path, index >= in_folder) {
            Ok(contract) => contracts.extend(contract),
            Err(why) => rejected.push(RejectedFile { path, why }),
        }
    }
    let is_too_new = |contract: &Contract| runtime.is_some_and(|runtime| !runtime.loads(&contract.runtime));
    contracts.sort_by_key(|contract| (is_too_new(contract), contract.in_gac, Reverse(contract.version)));
    let mut contracts = contracts.into_iter();
    match contracts.next() {
        Some(contract) => {
            // Other files of the GAC are not relevant once a contract was found.
            rejected.retain(|file| file.path.parent() == Some(service_folder));
            Ok(Found { contract, others: contracts.collect(), rejected })
        }
        None => Err(not_found(service_folder, &rejected)),
    }
}

fn not_found(service_folder: &Path, rejected: &[RejectedFile]) -> DeployError {
    let mut text = format!("no assembly in {} or in the GAC defines {NAMESPACE}.{INTERFACE}", service_folder.display());
    for RejectedFile { path, why } in rejected.iter().take(MAX_NAMED) {
        text.push_str(&format!("\n  {}: {why}", path.display()));
    }
    if let Some(more) = rejected.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more files that could not be read"));
    }
    DeployError::failed(text)
        .hint("name the folder of MIM's service by --service-dir, if this is another one")
        .hint("update MIM: it has this interface from version 4.5.202.0 on")
}

/// Lists the libraries and programs in a folder and, up to `depth` levels, below it, in a fixed order. Links are not
/// followed.
fn programs(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.filter_map(Result::ok).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is = |ending| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending));
        match entry.file_type() {
            Ok(kind) if kind.is_file() && (is("dll") || is("exe")) => found.push(path),
            Ok(kind) if kind.is_dir() && depth > 1 => {
                // A folder that cannot be read has no usable contract.
                let _ = programs(&path, depth - 1, found);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the contract in a file, `None` if it does not define the interface, or why it cannot be used.
fn examine(path: &Path, in_gac: bool) -> Result<Option<Contract>, String> {
    let file = read_bounded(path, MAX_BYTES).map_err(|error| format!("cannot be read: {error}"))?;
    let read = Metadata::read(&file).and_then(|metadata| Ok((identity_and_gaps(&metadata)?, metadata.runtime)));
    match read {
        Err(Unreadable::NotManaged) | Ok((None, _)) => Ok(None),
        Err(Unreadable::Damaged(what)) => Err(format!("is damaged ({what})")),
        Ok((Some((identity, gaps)), runtime)) if gaps.is_empty() => Ok(Some(Contract {
            path: path.to_owned(),
            name: identity.name.to_owned(),
            version: Version(identity.version),
            public_key_token: public_key_token(identity.public_key),
            runtime: runtime.to_owned(),
            in_gac,
        })),
        Ok((Some((identity, gaps)), _)) => {
            let version = Version(identity.version);
            Err(format!("({} {version}) defines {INTERFACE}, but lacks {}", identity.name, gaps.join(", ")))
        }
    }
}

/// Returns the assembly's identity and the missing parts of the contract. `None` if it does not define the interface.
fn identity_and_gaps<'a>(metadata: &Metadata<'a>) -> Result<Option<(Identity<'a>, Vec<String>)>, Unreadable> {
    let Some(interface) = metadata.type_def(NAMESPACE, INTERFACE)?.filter(|found| found.is_interface()) else {
        return Ok(None);
    };
    let Some(identity) = metadata.identity()? else { return Ok(None) };
    let mut gaps = Vec::new();
    if !interface.is_public() {
        gaps.push("its being public".to_owned());
    }
    for method in METHODS {
        if !metadata.has_method(interface, method)? {
            gaps.push(format!("the method {method}"));
        }
    }
    match metadata.type_def(NAMESPACE, STATUS)? {
        None => gaps.push(format!("the type {STATUS}")),
        Some(status) => {
            for name in NAMES {
                if !metadata.has_field(status, name)? {
                    gaps.push(format!("{STATUS}.{name}"));
                }
            }
        }
    }
    Ok(Some((identity, gaps)))
}

fn public_key_token(key: &[u8]) -> Option<String> {
    let hash = Sha1::digest(key);
    let hex = hash.iter().rev().take(8).map(|byte| format!("{byte:02x}")).collect();
    (!key.is_empty()).then_some(hex)
}

#[cfg(test)]
mod tests;
