//! The C and C++ examples compile without a warning, run to both outcomes, and valgrind finds no fault in them or in
//! the library under them.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::abi::{approves, fresh_id, is_busy};
use support::{built_library, project_folder, tool};
use tempfile::TempDir;

/// The exit code of valgrind if it has found an error.
const FOUND: i32 = 99;

const STRICT: [&str; 6] = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-O1"];

/// A compiled program with a folder of its own, which holds its configuration, log and state.
struct Program {
    folder: TempDir,
}

/// The examples, compiled as strictly as compilers can.
fn examples() -> [Program; 2] {
    let example = |path| project_folder().join("examples").join(path);
    let mut c = tool("gcc", "gcc");
    c.arg("-std=c99");
    let mut cpp = tool("g++", "g++");
    cpp.arg("-std=c++17");
    [Program::compile(c, &example("c/place_call.c")), Program::compile(cpp, &example("cpp/place_call.cpp"))]
}

impl Program {
    fn compile(mut compiler: Command, source: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = built_library();
        let output = compiler
            .args(STRICT)
            .arg("-I")
            .arg(project_folder().join("include"))
            .arg(source)
            .arg("-o")
            .arg(folder.path().join("program"))
            .arg(&library)
            .arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    /// A program that a test provides.
    fn of(source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program.c");
        std::fs::write(&path, source).unwrap();
        Self::compile(tool("gcc", "gcc"), &path)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    /// Runs the program in its folder by `command`. Returns its exit code and its output.
    fn run(&self, mut command: Command, config: &Value, arguments: &[&str]) -> (i32, String, String) {
        let path = self.folder.path().join("phonegate.json");
        std::fs::write(&path, support::gate::with_test_defaults(config.clone()).to_string()).unwrap();
        let Output { status, stdout, stderr } = command
            .args(arguments)
            .env("PHONEGATE_CONFIG", path)
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    fn alone(&self) -> Command {
        Command::new(self.path())
    }

    /// Under valgrind: any error, and anything that is definitely or possibly lost, ends with [`FOUND`].
    fn under_valgrind(&self) -> Command {
        let mut command = tool("valgrind", "valgrind");
        command
            .args(["--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite,possible", "--num-callers=60"])
            .arg(format!("--error-exitcode={FOUND}"))
            .arg(format!("--suppressions={}", project_folder().join("tests/support/valgrind.supp").display()))
            .arg(self.path());
        command
    }
}

/// A program that makes a call and then does what `fault` says.
fn seeded(fault: &str) -> Program {
    Program::of(&format!(
        r#"
        #include "phonegate.h"
        #include <stdlib.h>
        static char read_first(const volatile char *text) {{ return text[0]; }}
        int main(void) {{
            size_t needed = 0;
            char *text;
            GetFailureMessage("none", NULL, 0, &needed);
            text = malloc(needed);
            if (text == NULL || (needed == 0 && read_first(text))) return 1;
            {fault}
            return PhoneGateShutdown(60000);
        }}
        "#
    ))
}

#[test]
fn a_verified_call_ends_with_zero() {
    for program in examples() {
        let id = fresh_id();
        let arguments = ["+1 4255551212", id.to_str().unwrap()];
        let (code, stdout, stderr) = program.run(program.alone(), &approves(), &arguments);
        assert_eq!((code, stdout.as_str()), (0, "Calling.\nVerified.\n"), "{stderr}");
        assert!(stderr.contains(r#""event":"verified""#), "progress is shown: {stderr}");
    }
}

#[test]
fn a_failed_call_ends_with_one_and_its_reason() {
    for program in examples() {
        let id = fresh_id();
        let cases = [
            ("+1 4255551212", id.to_str().unwrap(), "The simulated phone is busy. (Unreachable, code 102)"),
            ("+1 4255551212", "no GUID", "The call id is not a GUID. (UnknownCall)"),
        ];
        for (number, id, reason) in cases {
            let (code, stdout, stderr) = program.run(program.alone(), &is_busy(), &[number, id]);
            assert_eq!((code, stdout), (1, format!("Calling.\nFailed: {reason}\n")), "{stderr}");
        }
        let (code, _, stderr) = program.run(program.alone(), &approves(), &[]);
        assert_eq!(code, 2);
        assert!(stderr.starts_with("usage: "), "{stderr}");
    }
}

#[test]
fn without_a_configuration_the_reason_names_the_file() {
    for program in examples() {
        let id = fresh_id();
        let arguments = ["+1 4255551212", id.to_str().unwrap()];
        let (code, stdout, stderr) = program.run(program.alone(), &Value::Null, &arguments);
        assert_eq!(code, 1);
        assert!((stdout + &stderr).contains("phonegate.json"), "{stderr}");
    }
}

/// Runs an example under valgrind to each of its outcomes.
fn is_clean(program: &Program) {
    for (config, number, expected) in
        [(approves(), "+1 4255551212", 0), (is_busy(), "+1 4255551212", 1), (Value::Null, "+1 4255551212", 1)]
    {
        let id = fresh_id();
        let arguments = [number, id.to_str().unwrap()];
        // On a busy machine, valgrind may be too slow for the time limits of a call, which is not a memory error.
        let is_too_slow = |text: &str| text.contains("PhoneGate stood still") || text.contains("no answer within");
        let mut runs = (0..5).map(|_| program.run(program.under_valgrind(), &config, &arguments));
        let (code, stdout, stderr) = runs
            .find(|(code, stdout, _)| *code != 1 || !is_too_slow(stdout))
            .expect("one of five runs is quick enough for the call's own limits");
        assert_eq!(code, expected, "{stdout}{stderr}");
    }
}

#[test]
fn valgrind_finds_nothing_in_the_c_program() {
    let [c, _] = examples();
    is_clean(&c);
}

#[test]
fn valgrind_finds_nothing_in_the_cpp_program() {
    let [_, cpp] = examples();
    is_clean(&cpp);
}

#[test]
fn valgrind_finds_a_fault_that_is_there() {
    let sound = seeded("free(text);");
    let (code, _, stderr) = sound.run(sound.under_valgrind(), &approves(), &[]);
    assert_eq!(code, 0, "the program without a fault: {stderr}");
    for (fault, report) in [
        ("text = NULL;", "definitely lost"),
        ("if (read_first(text) == 'x') exit(3);\nfree(text);", "uninitialised"),
        ("GetFailureMessage(\"none\", text, needed + 1, NULL); text[needed] = 1; free(text);", "Invalid write"),
        // The capacity is too large for the buffer, so the library itself writes beyond its end.
        ("free(text); text = malloc(4); GetFailureMessage(\"none\", text, needed, NULL); free(text);", "Invalid write"),
        // The id has no NUL, so the library itself reads beyond its end.
        ("text[0] = 'x'; text = realloc(text, 1); GetCallStatus(text); free(text);", "Invalid read"),
    ] {
        let program = seeded(fault);
        let (code, _, stderr) = program.run(program.under_valgrind(), &approves(), &[]);
        assert_eq!(code, FOUND, "{fault}: {stderr}");
        assert!(stderr.contains(report), "{fault}: {stderr}");
    }
}
