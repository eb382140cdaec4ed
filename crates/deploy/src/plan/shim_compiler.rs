//! The shim's part of a plan: compiles it against the contract assembly of this machine, with the C# compiler that every
//! Windows has.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use phonegate::platform;
use sha2::{Digest, Sha256};

use super::files::read;
use super::notes::Notes;
use crate::contract::{self, Contract};
use crate::find::runtime::Runtime;
use crate::shim::{FILE_NAME, Shim, TITLE};
use crate::{DeployError, Progress};

const SOURCE: &str = include_str!("../../../../shim/CustomPhoneGate.cs");

/// The compilers of Windows, below its folder. The older one is preferred: both generations of .NET run its output.
const COMPILERS: [&str; 2] = ["Microsoft.NET/Framework64/v3.5/csc.exe", "Microsoft.NET/Framework64/v4.0.30319/csc.exe"];

/// Finds the contract and compiles the shim against it. `None` if the shim in `folder` is up to date. `work` is a folder
/// that no other account can write to.
///
/// # Errors
/// If there is no usable contract or compiler, or MIM's service could not load the shim.
pub(super) fn plan(
    folder: &Path,
    csc: Option<&Path>,
    work: &Path,
    notes: &mut Notes,
    progress: &mut impl Progress,
) -> Result<Option<Vec<u8>>, DeployError> {
    progress.activity("looking for the contract assembly");
    let windows = platform::windows_folder();
    let runtime = match Runtime::of(folder, windows.as_deref()) {
        Ok(runtime) => Some(runtime),
        Err(why) => {
            notes.warnings.push(format!("the .NET runtime of MIM's service is unknown: {why}"));
            None
        }
    };
    let contract = find_contract(folder, windows.as_deref(), runtime.as_ref(), notes)?;
    check_loads(runtime.as_ref(), &contract.runtime, "the contract")?;
    let contract_bytes = read(&contract.path)?;
    let fingerprint = Fingerprint::of(&contract_bytes);
    if fingerprint.is_current(&folder.join(FILE_NAME), runtime.as_ref()) {
        return Ok(None);
    }
    let compiler = choose_compiler(csc, windows.as_deref(), &contract)?;
    progress.activity("compiling the shim");
    let (shim, compiled_for) = compile(&compiler, &contract, &contract_bytes, &fingerprint, work)?;
    check_loads(runtime.as_ref(), &compiled_for, &format!("the output of {}", compiler.display()))?;
    notes.found("compiler", compiler.display().to_string());
    Ok(Some(shim))
}

fn find_contract(
    folder: &Path,
    windows: Option<&Path>,
    runtime: Option<&Runtime>,
    notes: &mut Notes,
) -> Result<Contract, DeployError> {
    let gac = windows.map(contract::gac_folders).unwrap_or_default();
    let contract::Found { contract, others, rejected } = contract::find(folder, &gac, runtime)?;
    notes.found("contract", contract.to_string());
    for other in others {
        notes.found("not used", other.to_string());
    }
    notes.warnings.extend(rejected.iter().map(|file| format!("{} {}", file.path.display(), file.why)));
    Ok(contract)
}

/// Returns an error if the runtime of MIM's service cannot load an assembly.
fn check_loads(runtime: Option<&Runtime>, compiled_for: &str, what: &str) -> Result<(), DeployError> {
    match runtime.filter(|runtime| !runtime.loads(compiled_for)) {
        None => Ok(()),
        Some(Runtime { version, known_by }) => Err(DeployError::failed(format!(
            "MIM's service runs on CLR {version} ({known_by}), which cannot load {what}: that is for {compiled_for}"
        ))
        .hint("install the Windows feature .NET Framework 3.5, or name its csc.exe by --csc")),
    }
}

/// Identifies the source and the contract that a shim was compiled from. The compiled shim contains it, because
/// compilers do not produce the same bytes twice.
struct Fingerprint(String);

impl Fingerprint {
    fn of(contract: &[u8]) -> Self {
        let mut hash = Sha256::new();
        // The length separates the two inputs.
        hash.update((SOURCE.len() as u64).to_le_bytes());
        hash.update(SOURCE);
        hash.update(contract);
        let hash: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{}+{hash}", env!("CARGO_PKG_VERSION")))
    }

    /// Returns whether the installed shim has this fingerprint and the runtime can load it.
    fn is_current(&self, shim: &Path, runtime: Option<&Runtime>) -> bool {
        std::fs::read(shim).is_ok_and(|shim| self.is_in(&shim))
            && Shim::read(shim).is_ok_and(|shim| runtime.is_none_or(|runtime| runtime.loads(&shim.runtime)))
    }

    fn is_in(&self, shim: &[u8]) -> bool {
        shim.windows(self.0.len()).any(|bytes| bytes == self.0.as_bytes())
    }

    /// Returns a source file with the fingerprint. It adds no type to the assembly.
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

/// Returns the `named` compiler, else one below the folder of Windows that can read the contract.
fn choose_compiler(named: Option<&Path>, windows: Option<&Path>, contract: &Contract) -> Result<PathBuf, DeployError> {
    const HINT: &str = "name a C# compiler by --csc";
    if let Some(named) = named {
        return match named.is_file() {
            true => Ok(named.to_owned()),
            false => Err(DeployError::usage(format!("--csc: there is no file {}", named.display()))),
        };
    }
    let Some(windows) = windows else {
        return Err(DeployError::usage("only Windows includes a C# compiler").hint(HINT));
    };
    let mut candidates = COMPILERS.map(|compiler| windows.join(compiler));
    if !contract.runtime.starts_with("v2.") {
        // The older compiler cannot read newer assemblies.
        candidates.reverse();
    }
    let tried: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        DeployError::usage(format!("there is no C# compiler: tried {}", tried.join(" and ")))
            .hint("install a .NET Framework: each includes a compiler")
            .hint(HINT)
    })
}

/// Returns the compiled shim, and the runtime that it was compiled for.
fn compile(
    compiler: &Path,
    contract: &Contract,
    contract_bytes: &[u8],
    fingerprint: &Fingerprint,
    work: &Path,
) -> Result<(Vec<u8>, String), DeployError> {
    let ran = run_compiler(compiler, contract_bytes, fingerprint, work).map_err(DeployError::failed)?;
    let output = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).trim().to_owned()).join("\n");
    let output = output.trim();
    let compiler = compiler.display();
    if !ran.status.success() {
        return Err(DeployError::failed(format!(
            "cannot compile the shim against {}. Output of {compiler} ({}):\n{output}",
            contract.path.display(),
            ran.status
        )));
    }
    let path = work.join(FILE_NAME);
    let shim = std::fs::read(&path).map_err(|error| {
        DeployError::failed(format!("{compiler} wrote no {FILE_NAME} ({error}). Its output:\n{output}"))
    })?;
    match Shim::read(&path) {
        Ok(read) if fingerprint.is_in(&shim) => Ok((shim, read.runtime)),
        _ => Err(DeployError::failed(format!("{compiler} wrote a {FILE_NAME} that is not the compiled shim"))),
    }
}

/// Writes the compiler's input into `work` and runs it there. The error is a message.
fn run_compiler(compiler: &Path, contract: &[u8], fingerprint: &Fingerprint, work: &Path) -> Result<Output, String> {
    let (source, version) = (work.join("CustomPhoneGate.cs"), work.join("AssemblyInfo.cs"));
    // A copy, because the compiler would split a path of the site at a comma or semicolon.
    let reference = work.join("contract.dll");
    std::fs::write(&source, SOURCE)
        .and_then(|()| std::fs::write(&reference, contract))
        .and_then(|()| std::fs::write(&version, fingerprint.source()))
        .map_err(|error| format!("cannot write the compiler's input: {error}"))?;
    let option = |name: &str, path: &Path| {
        let mut option = std::ffi::OsString::from(name);
        option.push(path);
        option
    };
    Command::new(compiler)
        .args(["/nologo", "/utf8output", "/codepage:65001", "/target:library", "/optimize+"])
        .arg(option("/out:", &work.join(FILE_NAME)))
        .arg(option("/reference:", &reference))
        .args([&source, &version])
        .current_dir(work)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", compiler.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::contract::Version;

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
    fn the_compiler_exists_and_can_read_the_contract() {
        let windows = tempfile::tempdir().unwrap();
        let [older, newer] = COMPILERS.map(|compiler| windows.path().join(compiler));
        let chosen = |runtime: &str| {
            choose_compiler(None, Some(windows.path()), &contract(runtime)).map_err(|error| error.to_string())
        };
        assert!(chosen("v4.0.30319").unwrap_err().contains("there is no C# compiler"));
        let install = |compiler: &Path| {
            std::fs::create_dir_all(compiler.parent().unwrap()).unwrap();
            std::fs::write(compiler, "").unwrap();
        };
        install(&newer);
        for runtime in ["v4.0.30319", "v2.0.50727"] {
            assert_eq!(chosen(runtime).as_ref(), Ok(&newer), "{runtime}");
        }
        install(&older);
        assert_eq!(chosen("v4.0.30319").as_ref(), Ok(&newer));
        assert_eq!(chosen("v2.0.50727").as_ref(), Ok(&older));
        assert!(choose_compiler(None, None, &contract("v2.0.50727")).unwrap_err().to_string().contains("--csc"));
    }
}
