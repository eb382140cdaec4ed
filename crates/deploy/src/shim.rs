//! Identifies a compiled shim, `CustomPhoneGate.dll`, without loading it.

use std::path::Path;

use crate::assembly::{Metadata, Unreadable};
use crate::contract::{INTERFACE, NAMESPACE, Version};
use crate::{DeployError, read_bounded};

/// The file's name, in the folder of MIM's service.
pub const FILE_NAME: &str = "CustomPhoneGate.dll";

/// Maximum size of the file. A shim has a few kilobytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The title of each shim, by which a damaged one is recognized.
pub(crate) const TITLE: &str = "PhoneGate for Microsoft Identity Manager";

/// A compiled shim.
#[derive(Debug, PartialEq, Eq)]
pub struct Shim {
    /// The version of the C ABI that it uses.
    pub abi: u32,
    /// The name of the assembly in which it expects the contract.
    pub contract: String,
    /// The version of that assembly.
    pub contract_version: Version,
    /// The .NET runtime that it was compiled for, such as `v2.0.50727`.
    pub runtime: String,
}

impl Shim {
    /// Reads a compiled shim.
    ///
    /// # Errors
    /// If it cannot be read, or is another file. The text completes a sentence that begins with the path.
    pub fn read(path: &Path) -> Result<Self, String> {
        let file = read_bounded(path, MAX_BYTES).map_err(|error| format!("cannot be read: {error}"))?;
        match Self::in_file(&file) {
            Ok(Some(shim)) => Ok(shim),
            Ok(None) => Err("is an assembly, but not PhoneGate's shim".to_owned()),
            Err(Unreadable::NotManaged) => Err("is not a .NET assembly".to_owned()),
            Err(Unreadable::Damaged(what)) => Err(format!("is damaged ({what})")),
        }
    }

    pub(crate) fn in_file(file: &[u8]) -> Result<Option<Self>, Unreadable> {
        let metadata = Metadata::read(file)?;
        let Some(shim) = metadata.type_def("", "CustomPhoneGate")? else { return Ok(None) };
        let (abi, assembly) =
            (metadata.constant(shim, "AbiVersion")?, metadata.type_ref_assembly(NAMESPACE, INTERFACE)?);
        let runtime = metadata.runtime.to_owned();
        Ok(abi.zip(assembly).map(|(abi, (contract, version))| Self {
            abi,
            contract: contract.to_owned(),
            contract_version: Version(version),
            runtime,
        }))
    }
}

/// Returns whether there is an assembly that is not PhoneGate's. Sites may have one with the same name.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn is_foreign(path: &Path) -> Result<bool, DeployError> {
    let file = match std::fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(DeployError::usage(format!("cannot read {}: {error}", path.display()))),
    };
    let has_title = || file.windows(TITLE.len()).any(|bytes| bytes == TITLE.as_bytes());
    Ok(match Shim::in_file(&file) {
        Ok(Some(_)) | Err(Unreadable::NotManaged) => false,
        Ok(None) | Err(Unreadable::Damaged(_)) => !has_title(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::process::Command;

    use super::*;

    #[test]
    fn a_compiled_shim_names_its_abi_and_contract() {
        let folder = tempfile::tempdir().unwrap();
        let compile = |out: &str, more: &[&str]| {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shim");
            let ran = Command::new("mcs")
                .args(["-sdk:2", "-target:library", &format!("-out:{out}")])
                .args(more.iter().map(|argument| argument.replace("SHIM", root)))
                .current_dir(folder.path())
                .status();
            assert!(ran.expect("this test needs mcs: apt-get install mono-mcs mono-devel").success());
        };
        compile("Some Contract.dll", &["SHIM/contract/PhoneServiceProvider.cs"]);
        compile("CustomPhoneGate.dll", &["-reference:Some Contract.dll", "SHIM/CustomPhoneGate.cs"]);
        let shim = Shim::read(&folder.path().join("CustomPhoneGate.dll"));
        assert_eq!(
            shim,
            Ok(Shim {
                abi: phonegate::abi::ABI_VERSION,
                contract: "Some Contract".to_owned(),
                contract_version: Version([0; 4]),
                runtime: "v2.0.50727".to_owned(),
            })
        );
        let other = Shim::read(&folder.path().join("Some Contract.dll"));
        assert_eq!(other, Err("is an assembly, but not PhoneGate's shim".to_owned()));
    }
}
