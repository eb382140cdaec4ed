//! The bundle for Windows, packed from what `make windows` built. `scripts/check-dist` checks its contents. These tests
//! show that the check passes, that it can fail, and that the bundle is enough to build and run a program.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::abi::{approves, fresh_id};
use support::project_folder;
use support::wine::{Wine, mingw, windows_build};
use tempfile::TempDir;

const NAME: &str = concat!("phonegate-", env!("CARGO_PKG_VERSION"), "-windows-x64");

/// Packs the bundle again and returns it.
fn packed() -> TempDir {
    // Fails if the build for Windows is missing or outdated.
    windows_build();
    let folder = tempfile::tempdir().unwrap();
    let output = script("dist").arg("--output").arg(folder.path()).arg("windows").output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    folder
}

fn script(name: &str) -> Command {
    Command::new(project_folder().join("scripts").join(name))
}

fn shown(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn check(folder: &Path, options: &[&str]) -> Output {
    script("check-dist").args(options).arg(archive(folder)).output().unwrap()
}

fn archive(folder: &Path) -> PathBuf {
    folder.join(format!("{NAME}.zip"))
}

/// Python's, as `scripts/dist` uses it.
fn python(program: &str, arguments: &[&Path]) {
    let output = Command::new("python3").arg("-c").arg(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
}

#[test]
fn the_bundle_keeps_its_promises_and_is_the_same_when_packed_again() {
    let folder = packed();
    let output = check(folder.path(), &["--again"]);
    assert!(output.status.success(), "{}", shown(&output));
}

#[test]
fn a_damaged_bundle_is_refused_with_all_that_is_broken() {
    let folder = packed();
    // Without the licence, with the tests' stand-in, a DLL that is another program, and a list that lacks a dependency.
    let damage = r#"
import sys, zipfile
source, top = sys.argv[1], sys.argv[2]
with zipfile.ZipFile(source) as packed:
    files = {name.removeprefix(top + "/"): packed.read(name) for name in packed.namelist()}
del files["LICENSE-MIT.txt"]
tool = files["phonegate.exe"]
files["bcryptprimitives.dll"] = b"MZ /home/somebody/.cargo/registry"
with zipfile.ZipFile(source, "w") as packed:
    for name, data in files.items():
        packed.writestr(f"{top}/{name}", data)
del files["bcryptprimitives.dll"]
files["LICENSE-MIT.txt"] = b"MIT"
files["phonegate.dll"] = tool + bytes(12_500_000)
files["licences/third-party.txt"] = files["licences/third-party.txt"].replace(b"\ntokio ", b"\nanother ")
files["README.html"] = files["README.html"].replace(b'href="docs/', b'href="nowhere/')
with zipfile.ZipFile(sys.argv[3], "w") as packed:
    for name in sorted(files):
        packed.writestr(f"{top}/{name}", files[name])
"#;
    let second = tempfile::tempdir().unwrap();
    fs::copy(archive(folder.path()).with_extension("zip.sha256"), archive(second.path()).with_extension("zip.sha256"))
        .unwrap();
    python(damage, &[&archive(folder.path()), Path::new(NAME), &archive(second.path())]);
    for (folder, complaints) in [
        (
            &folder,
            &[
                "the .sha256 does not belong to it",
                "the files are not sorted",
                "LICENSE-MIT is missing",
                "bcryptprimitives.dll is a stand-in of the tests",
                "bcryptprimitives.dll names a path of the machine: ",
            ][..],
        ),
        (
            &second,
            &[
                "phonegate.exe does not contain the hash of phonegate.dll",
                "phonegate.dll exports []",
                "phonegate.dll does not say its OriginalFilename",
                "bytes, the limit is ",
                "phonegate.dll has no texts for the Event Log",
                "third-party.txt lacks tokio ",
                "README.html: nowhere/operations.html leads nowhere",
            ][..],
        ),
    ] {
        let output = check(folder.path(), &[]);
        let text = shown(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for complaint in complaints {
            assert!(text.contains(complaint), "{complaint} is not in:\n{text}");
        }
    }
}

#[test]
fn a_program_is_built_with_the_bundle_alone_by_each_import_library_and_runs() {
    let folder = packed();
    python(
        "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])",
        &[&archive(folder.path()), folder.path()],
    );
    let bundle = folder.path().join(NAME);
    fs::write(bundle.join("phonegate.json"), approves().to_string()).unwrap();
    let wine = Wine::new();
    for library in ["phonegate.lib", "libphonegate.dll.a"] {
        // The files in the DLL's folder.
        let program = bundle.join(format!("with-{library}.exe"));
        let mut compiler = mingw("gcc");
        compiler.arg("-I").arg(bundle.join("include")).arg(bundle.join("examples/c/place_call.c"));
        let output = compiler.arg("-o").arg(&program).arg(bundle.join("lib").join(library)).output().unwrap();
        assert!(output.status.success(), "{library}: {}", shown(&output));
        let ran = wine.run(&program, &["+1 4255551212", fresh_id().to_str().unwrap()]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "Calling.\r\nVerified.\r\n"), "{library}");
    }
}
