//! Compiles the shim against the contract assembly of this machine, with the C# compiler that every Windows has.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::error::CommandError;
use crate::mim::contract::Contract;
use crate::mim::shim::{Shim, TITLE};

const SOURCE: &str = include_str!("../../../shim/CustomPhoneGate.cs");

/// What MIM loads.
pub(crate) const FILE_NAME: &str = "CustomPhoneGate.dll";

/// The compilers of Windows, below its folder. The older one first: what it compiles runs on both generations of .NET.
const COMPILERS: [&str; 2] = ["Microsoft.NET/Framework64/v3.5/csc.exe", "Microsoft.NET/Framework64/v4.0.30319/csc.exe"];

/// What a compiled shim is known by: it stands in the shim, and is the same for the same source and contract. The bytes
/// that a compiler writes are not.
pub(super) struct Mark(String);

impl Mark {
    pub(super) fn of(contract: &[u8]) -> Self {
        let mut hash = Sha256::new();
        // The source has a length, so that nothing can move from the one to the other.
        hash.update((SOURCE.len() as u64).to_le_bytes());
        hash.update(SOURCE);
        hash.update(contract);
        let hash: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{}+{hash}", env!("CARGO_PKG_VERSION")))
    }

    pub(super) fn is_in(&self, shim: &[u8]) -> bool {
        shim.windows(self.0.len()).any(|bytes| bytes == self.0.as_bytes())
    }

    /// As a source file, which adds no type to the assembly.
    fn source(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "[assembly: System.Reflection.AssemblyTitle(\"{TITLE}\")]\n\
             [assembly: System.Reflection.AssemblyProduct(\"PhoneGate\")]\n\
             [assembly: System.Reflection.AssemblyFileVersion(\"{version}\")]\n\
             [assembly: System.Reflection.AssemblyInformationalVersion(\"{}\")]\n",
            self.0
        )
    }
}

/// The compiler that was named, else the one below the folder of Windows that can read the contract.
pub(super) fn compiler(
    named: Option<&Path>,
    windows: Option<&Path>,
    contract: &Contract,
) -> Result<PathBuf, CommandError> {
    if let Some(named) = named {
        return match named.is_file() {
            true => Ok(named.to_owned()),
            false => Err(CommandError::usage(format!("--csc: there is no file {}", named.display()))),
        };
    }
    let Some(windows) = windows else {
        return Err(CommandError::usage("only Windows has a C# compiler of its own: name one by --csc"));
    };
    let mut candidates = COMPILERS.map(|compiler| windows.join(compiler));
    if !contract.runtime.starts_with("v2.") {
        // The older one reads no newer assembly.
        candidates.reverse();
    }
    let tried: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        CommandError::usage(format!(
            "there is no C# compiler: tried {}. Every .NET Framework has one; name it by --csc",
            tried.join(" and ")
        ))
    })
}

/// The shim, and the runtime that it is for. `work` is a folder that nobody else can write to.
pub(super) fn compile(
    compiler: &Path,
    contract: &Contract,
    contract_bytes: &[u8],
    mark: &Mark,
    work: &Path,
) -> Result<(Vec<u8>, String), CommandError> {
    let failed = |text: String| CommandError::failed(text);
    let cannot = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| failed(format!("{what}: {error}"))
    };
    let (source, version, output) =
        (work.join("CustomPhoneGate.cs"), work.join("AssemblyInfo.cs"), work.join(FILE_NAME));
    // A copy, since in a path of the site's a comma or a semicolon would be taken for the beginning of another one.
    let reference = work.join("contract.dll");
    std::fs::write(&source, SOURCE)
        .and_then(|()| std::fs::write(&reference, contract_bytes))
        .and_then(|()| std::fs::write(&version, mark.source()))
        .map_err(cannot("the compiler's input cannot be written"))?;
    let option = |name: &str, path: &Path| {
        let mut option = std::ffi::OsString::from(name);
        option.push(path);
        option
    };
    let ran = Command::new(compiler)
        .args(["/nologo", "/utf8output", "/codepage:65001", "/target:library", "/optimize+"])
        .arg(option("/out:", &output))
        .arg(option("/reference:", &reference))
        .args([&source, &version])
        .current_dir(work)
        .output()
        .map_err(cannot(&format!("{} cannot be run", compiler.display())))?;
    let words = [ran.stdout, ran.stderr].map(|words| String::from_utf8_lossy(&words).trim().to_owned()).join("\n");
    let words = words.trim();
    if !ran.status.success() {
        return Err(failed(format!(
            "the shim cannot be compiled against {}. {} ({}) says:\n{words}",
            contract.path.display(),
            compiler.display(),
            ran.status
        )));
    }
    let shim = std::fs::read(&output).map_err(|error| {
        failed(format!("{} wrote no {FILE_NAME} ({error}), and says:\n{words}", compiler.display()))
    })?;
    match Shim::read(&output) {
        Ok(read) if mark.is_in(&shim) => Ok((shim, read.runtime)),
        _ => Err(failed(format!("{} wrote something else than was asked for", compiler.display()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::mim::contract::Version;

    fn contract(runtime: &str) -> Contract {
        Contract {
            path: PathBuf::from("Contoso.dll"),
            name: "Contoso".to_owned(),
            version: Version([1, 0, 0, 0]),
            public_key_token: None,
            runtime: runtime.to_owned(),
            in_gac: false,
        }
    }

    /// Windows Server has .NET Framework 4 always, and 3.5 only as a feature.
    #[test]
    fn the_compiler_is_one_that_is_there_and_reads_the_contract() {
        let windows = tempfile::tempdir().unwrap();
        let [older, newer] = COMPILERS.map(|compiler| windows.path().join(compiler));
        let chosen =
            |runtime: &str| compiler(None, Some(windows.path()), &contract(runtime)).map_err(|error| error.text);
        assert!(chosen("v4.0.30319").unwrap_err().contains("there is no C# compiler"));
        let lay = |compiler: &Path| {
            std::fs::create_dir_all(compiler.parent().unwrap()).unwrap();
            std::fs::write(compiler, "").unwrap();
        };
        lay(&newer);
        for runtime in ["v4.0.30319", "v2.0.50727"] {
            assert_eq!(chosen(runtime).as_ref(), Ok(&newer), "{runtime}");
        }
        lay(&older);
        assert_eq!(chosen("v4.0.30319").as_ref(), Ok(&newer));
        assert_eq!(chosen("v2.0.50727").as_ref(), Ok(&older));
        assert!(compiler(None, None, &contract("v2.0.50727")).unwrap_err().text.contains("--csc"));
    }
}
