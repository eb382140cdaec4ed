//! Loads the Windows DLL into programs in C and C++, under Wine. tests/dist.rs tests its exports and imports.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::abi::{approves, fresh_id, is_busy, rings_on};
use support::project_folder;
use support::wine::{self, Ran, Wine, mingw, windows_build, windows_path};
use tempfile::TempDir;

/// A compiled program in a folder with the DLL and its configuration.
struct Program {
    folder: TempDir,
}

/// Compiles the examples with all warnings as errors.
fn examples() -> [Program; 2] {
    let example = |path| project_folder().join("examples").join(path);
    let mut c = mingw("gcc");
    c.arg("-std=c99");
    let mut cpp = mingw("g++");
    // mingw's libraries are not part of Windows.
    cpp.args(["-std=c++17", "-static"]);
    [Program::compile(c, &example("c/place_call.c")), Program::compile(cpp, &example("cpp/place_call.cpp"))]
}

impl Program {
    fn compile(mut compiler: Command, source: &Path) -> Self {
        let program = Self { folder: tempfile::tempdir().unwrap() };
        let dll = program.folder.path().join("phonegate.dll");
        fs::copy(windows_build().dll, &dll).unwrap();
        let output = compiler
            .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-I"])
            .arg(project_folder().join("include"))
            .arg(source)
            .arg("-o")
            .arg(program.path())
            .arg(dll)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
        program
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("program.exe")
    }

    fn run(&self, wine: &Wine, config: &Value, arguments: &[&str]) -> Ran {
        fs::write(self.folder.path().join("phonegate.json"), config.to_string()).unwrap();
        wine.run(&self.path(), arguments)
    }
}

#[test]
fn a_verified_call_exits_with_zero() {
    let wine = Wine::new();
    for program in examples() {
        let ran = program.run(&wine, &approves(), &["+1 4255551212", fresh_id().to_str().unwrap()]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "Calling.\r\nVerified.\r\n"));
        assert!(ran.stderr.contains(r#""event":"verified""#), "progress is shown");
    }
}

#[test]
fn a_failed_call_exits_with_one_and_prints_its_reason() {
    let wine = Wine::new();
    let id = fresh_id();
    for program in examples() {
        for (id, reason) in [
            (id.to_str().unwrap(), "The simulated phone is busy. (Unreachable, code 102)"),
            ("no GUID", "The call id is not a GUID. (UnknownCall)"),
        ] {
            let ran = program.run(&wine, &is_busy(), &["+1 4255551212", id]);
            assert_eq!((ran.code, ran.stdout), (Some(1), format!("Calling.\r\nFailed: {reason}\r\n")));
        }
        let ran = program.run(&wine, &approves(), &[]);
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.starts_with("usage: "));
    }
}

#[test]
fn a_bad_configuration_is_explained_with_its_path() {
    let wine = Wine::new();
    for program in examples() {
        let ran = program.run(&wine, &json!({ "use": ["nothing"] }), &["+1 4255551212", fresh_id().to_str().unwrap()]);
        assert_eq!(ran.code, Some(1));
        let path = windows_path(&program.folder.path().join("phonegate.json"));
        assert!((ran.stdout + &ran.stderr).contains(&path), "{path}");
    }
}

#[test]
fn the_environments_configuration_takes_precedence() {
    let wine = Wine::new();
    let [program, _] = examples();
    let path = program.folder.path().join("other.json");
    fs::write(&path, is_busy().to_string()).unwrap();
    fs::write(program.folder.path().join("phonegate.json"), approves().to_string()).unwrap();
    let mut command = wine.command(&program.path(), &["+1 4255551212", fresh_id().to_str().unwrap()]);
    command.env("PHONEGATE_CONFIG", windows_path(&path));
    assert_eq!(wine::finish(command).code, Some(1));
}

/// Hosts free libraries while their threads are busy, and exit while calls are pending. The host would crash if the code
/// were unloaded, and hang if the library waited for its threads.
#[test]
fn a_freed_library_stays_loaded_and_its_host_exits_well() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("free.c");
    fs::write(
        &source,
        r#"
        #include "phonegate.h"
        #include <windows.h>
        typedef phonegate_status (*initiate)(const char *, const char *, const char *);
        typedef phonegate_status (*status)(const char *);
        int main(int argc, char **argv) {
            HMODULE library = LoadLibraryW(L"phonegate.dll");
            initiate begin;
            status ask;
            if (library == NULL || argc != 2) return 10;
            begin = (initiate)(void (*)(void))GetProcAddress(library, "InitiateCall");
            ask = (status)(void (*)(void))GetProcAddress(library, "GetCallStatus");
            if (begin("+1 4255551212", argv[1], NULL) != PHONEGATE_PENDING) return 11;
            if (!FreeLibrary(library)) return 12;
            Sleep(500); /* its threads go on */
            if (GetModuleHandleW(L"phonegate.dll") != library) return 13;
            return ask(argv[1]) == PHONEGATE_PENDING ? 0 : 14;
        }
        "#,
    )
    .unwrap();
    let program = Program::compile(mingw("gcc"), &source);
    assert!(!headers(&program.path()).contains("phonegate.dll"), "nothing else keeps the library");
    let ran = program.run(&Wine::new(), &rings_on(), &[fresh_id().to_str().unwrap()]);
    assert_eq!(ran.code, Some(0));
}

#[test]
fn the_tool_prints_its_version() {
    let ran = Wine::new().run(&windows_build().tool, &["--version"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), concat!("phonegate ", env!("CARGO_PKG_VERSION"), "\n")));
}

/// Returns objdump's description of a file's headers.
fn headers(file: &Path) -> String {
    let output = mingw("objdump").arg("-p").arg(file).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
