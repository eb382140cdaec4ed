//! Searches among assemblies of a real compiler, intact and damaged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::assembly::TYPE_DEF;
use crate::shim::Shim;

const STUB: &str = include_str!("../../../../shim/contract/PhoneServiceProvider.cs");

/// A machine with a service's folder and a GAC.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(machine.service()).unwrap();
        machine
    }

    fn service(&self) -> PathBuf {
        self.folder.path().join("Service")
    }

    fn gac(&self) -> Vec<PathBuf> {
        gac_folders(&self.folder.path().join("Windows"))
    }

    fn find(&self) -> Result<Found, String> {
        find(&self.service(), &self.gac(), None).map_err(|error| error.to_string())
    }

    /// Compiles `source` into a file below this machine's folder, with more arguments for the compiler.
    fn compile(&self, file: &str, source: &str, more: &[&str]) -> PathBuf {
        let out = self.folder.path().join(file);
        std::fs::create_dir_all(out.parent().unwrap()).unwrap();
        let code = self.folder.path().join("source.cs");
        std::fs::write(&code, source).unwrap();
        let ran = Command::new("mcs")
            .args(["-sdk:2", "-langversion:3", "-target:library", &format!("-out:{}", out.display())])
            .args(more)
            .arg(&code)
            .output()
            .expect("this test needs mcs: apt-get install mono-mcs mono-devel");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        out
    }

    fn stub(&self, file: &str, version: &str) -> PathBuf {
        let version = format!("[assembly: System.Reflection.AssemblyVersion(\"{version}\")]");
        self.compile(file, &STUB.replacen("namespace", &format!("{version}\nnamespace"), 1), &[])
    }
}

#[test]
fn the_contract_is_found_by_any_file_name() {
    for name in ["Microsoft.IdentityManagement.PhoneServiceProviderContract.dll", "a b.DLL", "Ünbekannt.exe"] {
        let machine = Machine::new();
        let path = machine.stub(&format!("Service/{name}"), "4.5.202.0");
        let found = machine.find().unwrap();
        assert_eq!(found.contract.path, path);
        assert_eq!(found.contract.version.to_string(), "4.5.202.0");
        assert_eq!(found.contract.runtime, "v2.0.50727");
        assert_eq!(found.contract.public_key_token, None);
        assert!(found.others.is_empty() && found.rejected.is_empty(), "{found:?}");
    }
}

#[test]
fn an_assembly_that_only_uses_the_contract_is_not_it() {
    let machine = Machine::new();
    let stub = machine.stub("elsewhere/Contract.dll", "1.0.0.0");
    let shim = include_str!("../../../../shim/CustomPhoneGate.cs");
    machine.compile("Service/CustomPhoneGate.dll", shim, &[&format!("-reference:{}", stub.display())]);
    let error = machine.find().unwrap_err();
    assert!(error.contains("IPhoneServiceProvider") && error.contains("4.5.202.0"), "{error}");

    let contract = machine.stub("Service/Contract.dll", "1.0.0.0");
    assert_eq!(machine.find().unwrap().contract.path, contract);
}

/// Turns a managed library into a native one: clears its entry for the CLI header, the 15th data directory of a PE32
/// (<https://learn.microsoft.com/windows/win32/debug/pe-format>, "Optional Header Data Directories").
fn without_cli_header(mut library: Vec<u8>) -> Vec<u8> {
    let headers = u32::from_le_bytes(library[0x3C..0x40].try_into().unwrap()) as usize;
    let optional = headers + 24;
    assert_eq!(library[optional..optional + 2], [0x0B, 0x01], "a PE32");
    let entry = optional + 96 + 14 * 8;
    assert_ne!(library[entry..entry + 8], [0; 8], "a managed library");
    library[entry..entry + 8].fill(0);
    library
}

#[test]
fn native_libraries_and_other_files_cause_no_warning() {
    let machine = Machine::new();
    let managed = machine.stub("Elsewhere/Contract.dll", "1.0.0.0");
    std::fs::write(machine.service().join("native.dll"), without_cli_header(std::fs::read(managed).unwrap())).unwrap();
    std::fs::write(machine.service().join("text.dll"), "not a program").unwrap();
    std::fs::write(machine.service().join("empty.dll"), "").unwrap();
    std::fs::create_dir(machine.service().join("folder.dll")).unwrap();
    machine.stub("Service/Contract.dll", "1.0.0.0");
    assert!(machine.find().unwrap().rejected.is_empty());
}

#[test]
fn the_services_folder_precedes_the_gac_and_new_old() {
    let machine = Machine::new();
    let old_gac = machine.stub("Windows/assembly/GAC_MSIL/Contract/4.0.0.0__0123456789abcdef/Contract.dll", "4.0.0.0");
    assert_eq!(machine.find().unwrap().contract.path, old_gac);

    let gac = machine.stub("Windows/Microsoft.NET/assembly/GAC_64/C/v4.0_9.0.0.0__/Contract.dll", "9.0.0.0");
    assert_eq!(machine.find().unwrap().contract.path, gac);

    let old = machine.stub("Service/A.dll", "4.5.9.0");
    let new = machine.stub("Service/B.dll", "4.5.10.0");
    machine.stub("Service/below/C.dll", "99.0.0.0");
    let found = machine.find().unwrap();
    assert_eq!(found.contract.path, new);
    assert!(!found.contract.in_gac);
    assert_eq!(found.others.iter().map(|other| &other.path).collect::<Vec<_>>(), [&old, &gac, &old_gac]);
}

#[test]
fn an_incomplete_contract_is_rejected_with_what_it_lacks() {
    for (from, to, lacks) in [
        ("string GetFailureMessage(string callId);", "", "the method GetFailureMessage"),
        ("PhoneCallStatus GetCallStatus(", "PhoneCallStatus CallStatus(", "the method GetCallStatus"),
        ("            Success,\n", "", "PhoneCallStatus.Success"),
        ("            Failed,\n", "            Refused,\n", "PhoneCallStatus.Failed"),
        ("public enum", "} namespace Other { public enum", "the type PhoneCallStatus"),
        ("public interface", "interface", "its being public"),
    ] {
        let machine = Machine::new();
        let mut source = STUB.replace("\r\n", "\n").replacen(
            "        Success,\n        Failed,",
            "            Success,\n            Failed,\n",
            1,
        );
        assert!(source.contains(from), "{from}");
        source = source.replacen(from, to, 1);
        if lacks == "the type PhoneCallStatus" {
            source = format!("using Other;\n{source}");
        }
        machine.compile("Service/Contract.dll", &source, &[]);
        let error = machine.find().unwrap_err();
        assert!(error.contains(lacks) && error.contains("Contract.dll"), "{lacks}: {error}");
    }
}

#[test]
fn a_class_with_the_interfaces_name_is_not_the_contract() {
    let machine = Machine::new();
    let class = "namespace Microsoft.IdentityManagement.PhoneServiceProvider { public class IPhoneServiceProvider {} }";
    machine.compile("Service/Class.dll", class, &[]);
    let other = "namespace Microsoft.IdentityManagement { public interface IPhoneServiceProvider {} }";
    machine.compile("Service/Other.dll", other, &[]);
    machine.find().unwrap_err();
}

#[test]
fn a_signed_contract_has_the_token_that_sn_prints() {
    let machine = Machine::new();
    let key = machine.folder.path().join("key.snk");
    let made = Command::new("sn").arg("-k").arg(&key).output().expect("this test needs sn: apt-get install mono-devel");
    assert!(made.status.success());
    let path = machine.compile("Service/Contract.dll", STUB, &[&format!("-keyfile:{}", key.display())]);
    let shown = Command::new("sn").arg("-T").arg(&path).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let token = machine.find().unwrap().contract.public_key_token.unwrap();
    assert!(shown.contains(&token), "{token} in {shown}");
}

#[test]
fn all_assemblies_of_mono_are_readable() {
    let machine = Machine::new();
    machine.stub("Service/Contract.dll", "1.0.0.0");
    let runtime = PathBuf::from("/usr/lib/mono");
    assert!(runtime.join("gac").is_dir(), "this test needs Mono's assemblies: apt-get install mono-devel");
    let found = find(&machine.service(), &[runtime], None).map_err(|error| error.to_string()).unwrap();
    assert!(found.rejected.is_empty(), "{:?}", found.rejected);
    assert!(found.others.is_empty());
}

#[test]
fn a_damaged_file_is_reported_and_skipped() {
    let machine = Machine::new();
    let good = machine.stub("Service/good.dll", "1.0.0.0");
    let whole = std::fs::read(&good).unwrap();
    std::fs::write(machine.service().join("cut.dll"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(machine.service().join("head.dll"), &whole[..200]).unwrap();
    let found = machine.find().unwrap();
    assert_eq!(found.contract.path, good);
    let named: Vec<_> = found.rejected.iter().map(|file| file.path.file_name().unwrap()).collect();
    assert_eq!(named, ["cut.dll", "head.dll"]);

    std::fs::remove_file(good).unwrap();
    let error = machine.find().unwrap_err();
    assert!(error.contains("cut.dll: is damaged"), "{error}");
}

/// Reads everything from a file. The result does not matter.
fn read(file: &[u8]) {
    if let Ok(metadata) = Metadata::read(file) {
        let _ = identity_and_gaps(&metadata);
    }
    let _ = Shim::in_file(file);
}

#[test]
fn a_damaged_file_never_makes_the_reader_panic_or_hang() {
    let machine = Machine::new();
    let contract = machine.stub("Service/Contract.dll", "1.0.0.0");
    let shim = include_str!("../../../../shim/CustomPhoneGate.cs");
    let shim = machine.compile("CustomPhoneGate.dll", shim, &[&format!("-reference:{}", contract.display())]);
    let mut random = fastrand::Rng::with_seed(335);
    let start = Instant::now();
    for whole in [contract, shim].map(|path| std::fs::read(path).unwrap()) {
        (0..whole.len()).for_each(|length| read(&whole[..length]));
        let root = whole.windows(4).position(|bytes| bytes == b"BSJB").unwrap();
        // Most offsets and sizes are in the headers and the tables.
        let regions = [0..whole.len(), 0..0x400, root..root + 0x200];
        for round in 0..30_000 {
            let mut file = whole.clone();
            let region = regions[round % regions.len()].clone();
            for _ in 0..random.usize(1..=8) {
                let at = random.usize(region.clone());
                file[at] = match random.u8(0..4) {
                    0 => 0xFF,
                    1 => 0,
                    _ => random.u8(..),
                };
            }
            read(&file);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(300), "took {:?}", start.elapsed());
}

#[test]
fn half_a_million_types_are_searched_in_time() {
    let machine = Machine::new();
    let mut file = std::fs::read(machine.stub("Service/Contract.dll", "1.0.0.0")).unwrap();
    let find = |file: &[u8], what: &[u8]| file.windows(what.len()).position(|bytes| bytes == what).unwrap();
    let word = |file: &[u8], at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let root = find(&file, b"BSJB");
    let texts = root + word(&file, find(&file, b"#Strings") - 8);
    let name = (find(&file, b"IPhoneServiceProvider\0") - texts) as u8;
    // A stream with one table: interfaces of the right name, without a namespace. This many rows need wide columns.
    let rows = 500_000_u32;
    let mut tables = vec![0, 0, 0, 0, 2, 0, 0, 1];
    tables.extend((1_u64 << TYPE_DEF).to_le_bytes());
    tables.extend([0; 8]);
    tables.extend(rows.to_le_bytes());
    tables.extend([0x21, 0, 0, 0, name, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].repeat(rows as usize));
    // It is appended to the section with the metadata.
    let header = find(&file, b"#~\0") - 8;
    let at = file.len();
    file[header..header + 4].copy_from_slice(&((at - root) as u32).to_le_bytes());
    file[header + 4..header + 8].copy_from_slice(&(tables.len() as u32).to_le_bytes());
    file.extend(tables);
    let size = (file.len() as u32).to_le_bytes();
    let section = find(&file, b".text");
    file[section + 8..section + 12].copy_from_slice(&size);
    let raw = word(&file, section + 20) as u32;
    file[section + 16..section + 20].copy_from_slice(&(u32::from_le_bytes(size) - raw).to_le_bytes());
    let cli = raw as usize + 8;
    file[cli + 12..cli + 16].copy_from_slice(&(u32::from_le_bytes(size) - root as u32).to_le_bytes());

    let start = Instant::now();
    let metadata = Metadata::read(&file).unwrap();
    assert!(metadata.type_def("", "IPhoneServiceProvider").unwrap().is_some());
    assert!(metadata.type_def(NAMESPACE, INTERFACE).unwrap().is_none());
    assert!(start.elapsed() < Duration::from_secs(60), "took {:?}", start.elapsed());
}
