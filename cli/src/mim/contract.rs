//! Finds the contract: the assembly against which the shim is compiled, and by which MIM knows it. Its file's name is
//! not documented, so it is known by what it defines.

use std::cmp::Reverse;
use std::fmt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use super::metadata::{Identity, Metadata, Unreadable};
use super::read_bounded;
use super::runtime::Runtime;
use crate::error::CommandError;

pub(super) const NAMESPACE: &str = "Microsoft.IdentityManagement.PhoneServiceProvider";
pub(super) const INTERFACE: &str = "IPhoneServiceProvider";
const METHODS: [&str; 3] = ["InitiateCall", "GetCallStatus", "GetFailureMessage"];
const STATUS: &str = "PhoneCallStatus";
const NAMES: [&str; 3] = ["Pending", "Success", "Failed"];

/// No assembly of .NET's or MIM's comes near it.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The GAC has two levels of folders: the assembly's name, and its version.
const GAC_DEPTH: usize = 3;

/// So many files that could not be read are named in an error.
const NAMED: usize = 5;

/// An assembly that defines the contract, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contract {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) version: Version,
    /// As .NET writes it: `31bf3856ad364e35`. None where the assembly is not signed.
    pub(crate) public_key_token: Option<String>,
    /// The runtime that it was compiled for, as `v2.0.50727`: an older one cannot load it.
    pub(crate) runtime: String,
    pub(crate) in_gac: bool,
}

/// An assembly's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) [u16; 4]);

/// What the search came upon.
#[derive(Debug)]
pub(crate) struct Found {
    /// The one to compile against: of those that the service's runtime loads, the newest in the service's folder, else
    /// the newest in the GAC.
    pub(crate) contract: Contract,
    /// The others, in the same order.
    pub(crate) others: Vec<Contract>,
    /// The files of the service's folder that could not be read, or lack a part of the contract.
    pub(crate) passed_over: Vec<PassedOver>,
}

/// A file that may have been meant.
#[derive(Debug)]
pub(crate) struct PassedOver {
    pub(crate) path: PathBuf,
    pub(crate) why: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, build, revision]) = self;
        write!(f, "{major}.{minor}.{build}.{revision}")
    }
}

/// As .NET names an assembly, with the runtime and the file.
impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, name, version, public_key_token, runtime, .. } = self;
        let token = public_key_token.as_deref().unwrap_or("null");
        write!(f, "{name}, Version={version}, PublicKeyToken={token} for {runtime}: {}", path.display())
    }
}

/// Where Windows keeps the assemblies that all programs share, for both generations of the runtime.
pub(crate) fn gac_folders(windows: &Path) -> Vec<PathBuf> {
    let roots = [windows.join("assembly"), windows.join("Microsoft.NET").join("assembly")];
    roots.iter().flat_map(|root| ["GAC_MSIL", "GAC_64"].map(|kind| root.join(kind))).collect()
}

/// Looks in the service's folder itself, and in all of the `gac` folders with those below them.
///
/// # Errors
/// Where no assembly defines the whole contract; tells what came near.
pub(crate) fn find(service_folder: &Path, gac: &[PathBuf], runtime: Option<&Runtime>) -> Result<Found, CommandError> {
    let mut files = Vec::new();
    let unusable = |error| {
        let folder = service_folder.display();
        CommandError::usage(format!("the service's folder {folder} cannot be read: {error}. Name it by --service-dir"))
    };
    programs(service_folder, 1, &mut files).map_err(unusable)?;
    let in_folder = files.len();
    for folder in gac {
        // A machine need not have every kind of GAC.
        let _ = programs(folder, GAC_DEPTH, &mut files);
    }
    let (mut contracts, mut passed_over) = (Vec::new(), Vec::new());
    for (index, path) in files.into_iter().enumerate() {
        match examine(&path, index >= in_folder) {
            Ok(contract) => contracts.extend(contract),
            Err(why) => passed_over.push(PassedOver { path, why }),
        }
    }
    let is_too_new = |contract: &Contract| runtime.is_some_and(|runtime| !runtime.loads(&contract.runtime));
    contracts.sort_by_key(|contract| (is_too_new(contract), contract.in_gac, Reverse(contract.version)));
    let mut contracts = contracts.into_iter();
    match contracts.next() {
        Some(contract) => {
            // What else the GAC has is of no interest then.
            passed_over.retain(|passed| passed.path.parent() == Some(service_folder));
            Ok(Found { contract, others: contracts.collect(), passed_over })
        }
        None => Err(not_found(service_folder, &passed_over)),
    }
}

fn not_found(service_folder: &Path, passed_over: &[PassedOver]) -> CommandError {
    let mut text = format!(
        "no assembly in {} or in the GAC defines {NAMESPACE}.{INTERFACE}. MIM has it from version 4.5.202.0 on: is this \
         the folder of MIM's service (else name it by --service-dir), and is MIM up to date?",
        service_folder.display()
    );
    for PassedOver { path, why } in passed_over.iter().take(NAMED) {
        text.push_str(&format!("\n  {}: {why}", path.display()));
    }
    if let Some(more) = passed_over.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more files that could not be read"));
    }
    CommandError::failed(text)
}

/// The libraries and programs in a folder and those below it, in a fixed order. Links are not followed.
fn programs(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.filter_map(Result::ok).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is = |ending| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending));
        match entry.file_type() {
            Ok(kind) if kind.is_file() && (is("dll") || is("exe")) => found.push(path),
            Ok(kind) if kind.is_dir() && depth > 1 => {
                // What may not be read holds nothing that could be compiled against.
                let _ = programs(&path, depth - 1, found);
            }
            _ => {}
        }
    }
    Ok(())
}

/// None where the file has nothing to do with the contract.
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

/// Whose interface it is, and what of the contract is missing there. None where the interface is not defined there.
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
