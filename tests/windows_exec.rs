//! Calls by a program (`exec`) on Windows, under Wine: a host in C loads the DLL, and a program in C places its calls.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::project_folder;
use support::wine::{Ran, Wine, mingw, windows_debug_build as windows_build, windows_path};
use tempfile::TempDir;

const CALLS: [[&str; 2]; 2] = [
    ["6f9619ff-8b86-d011-b42d-00c04fc964f1", "+1 4255551212"],
    ["6f9619ff-8b86-d011-b42d-00c04fc964f2", "+1 4255551213"],
];

/// A host with the DLL, and a program for its backend: each in a folder of its own.
struct Machine {
    wine: Wine,
    host: TempDir,
    program: TempDir,
}

impl Machine {
    /// A machine whose program does this with each call, until its deadline in seconds.
    fn new(task: &str, deadline_s: u32) -> Self {
        let machine = Self { wine: Wine::new(), host: private_folder(), program: private_folder() };
        let dll = machine.host.path().join("phonegate.dll");
        fs::copy(windows_build().dll, &dll).unwrap();
        compile("host.c", &machine.host.path().join("host.exe"), Some(&dll));
        compile("program.c", &machine.program(), None);
        let config = json!({
            "use": ["own"],
            "backends": { "own": {
                "type": "exec", "program": windows_path(&machine.program()),
                "arguments": [task, "two words", "\"q\" \\"], "environment": ["PBX_ADDRESS"],
            } },
            "numbers": { "default_country": "US" },
            "call": { "deadline_s": deadline_s },
            // Hang-ups that succeed are lines of this level.
            "log": { "directory": windows_path(&machine.host.path().join("log")), "level": "debug", "event_log": false },
        });
        fs::write(machine.host.path().join("phonegate.json"), config.to_string()).unwrap();
        machine
    }

    fn program(&self) -> PathBuf {
        self.program.path().join("program.exe")
    }

    /// Runs the host in the program's folder, where it finds what the program writes.
    fn run(&self, task: &str, calls: &[[&str; 2]]) -> Ran {
        let arguments: Vec<_> = [task].into_iter().chain(calls.iter().flatten().copied()).collect();
        let mut command = self.wine.command(&self.host.path().join("host.exe"), &arguments);
        command.current_dir(self.program.path());
        command.env("PBX_ADDRESS", "192.0.2.1").env("PHONEGATE_TEST_SECRET", "not-a-real-secret");
        self.wine.finish(command)
    }
}

fn private_folder() -> TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn compile(source: &str, program: &Path, library: Option<&Path>) {
    let mut gcc = mingw("gcc");
    gcc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-I"]).arg(project_folder().join("include"));
    gcc.arg(project_folder().join("tests/support/exec").join(source)).args(library).arg("-o").arg(program);
    let output = gcc.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The lines about an event in what the host has logged.
fn logged(ran: &Ran, event: &str) -> Vec<Value> {
    let lines = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == event).collect()
}

#[test]
fn a_windows_program_approves_in_a_cleared_environment() {
    let machine = Machine::new("approve", 60);
    let ran = machine.run("call", &CALLS[..1]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "verified\r\n"));

    let start = fs::read_to_string(machine.program.path().join("start")).unwrap();
    let all = |kind: &str| -> Vec<&str> { start.lines().filter_map(|line| line.strip_prefix(kind)).collect() };
    let variables = all("variable ");
    assert!(variables.contains(&"PBX_ADDRESS=192.0.2.1"), "{start}");
    assert!(variables.iter().any(|variable| variable.eq_ignore_ascii_case(r"SystemRoot=C:\windows")), "{start}");
    assert!(!start.contains("not-a-real-secret"), "{start}");
    let path = variables.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap();
    assert!(path.split(';').all(|folder| folder.to_lowercase().starts_with(r"c:\windows")), "{path}");
    assert_eq!(all("argument "), ["approve", "two words", "\"q\" \\"]);
    let folder = windows_path(machine.program.path());
    assert_eq!(all("folder "), [folder.as_str()]);

    // It has none of the host's open files but the one that the host marked as inheritable, which shows that the list has
    // them. Wine holds the current folder open.
    let mut files: Vec<_> = all("file ").into_iter().filter(|file| !file.ends_with(&folder)).collect();
    files.sort_unstable();
    let names: Vec<_> = files.iter().map(|file| file.rsplit('\\').next().unwrap()).collect();
    assert_eq!(names, ["marked", "start"], "{start}");
    assert_eq!(all("pipes "), ["3"], "{start}");
}

#[test]
fn a_windows_program_that_ends_takes_its_child_with_it() {
    let ran = Machine::new("leave", 60).run("call", &CALLS[..1]);
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), ["verified", "process ended", "process ended"]);
}

/// The calls run at the same time: a program that had the input of the other one would keep it open.
#[test]
fn windows_programs_hang_up_when_the_deadline_ends_their_input() {
    let ran = Machine::new("hang_up", 3).run("call", &CALLS);
    assert!(ran.stdout.lines().all(|line| line.starts_with("failed: ") && line.contains("DeadlinePassed")), "{ran:?}");
    let hung_up = logged(&ran, "hang_up");
    assert!(hung_up.len() == 2 && hung_up.iter().all(|line| line["reason"].is_null()), "{hung_up:?}");
}

#[test]
fn a_windows_program_that_hangs_is_killed_with_its_child() {
    let ran = Machine::new("hang", 3).run("call", &CALLS[..1]);
    let printed: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(printed[1..], ["process ended", "process ended"], "while the host runs");
    assert!(printed[0].contains("DeadlinePassed"), "{ran:?}");
    let hung_up = logged(&ran, "hang_up");
    assert!(hung_up[0]["text"].as_str().unwrap().contains("was killed; the phone may ring on"), "{hung_up:?}");
}

#[test]
fn windows_ends_program_and_child_when_the_host_dies() {
    let machine = Machine::new("hang", 60);
    assert_eq!(machine.run("die", &CALLS[..1]).code, Some(9));
    assert_eq!(machine.run("watch", &[]).stdout.lines().collect::<Vec<_>>(), ["process ended", "process ended"]);
}

/// Wine shows the permissions of Linux as an access control list.
#[test]
fn a_windows_program_that_others_can_change_is_not_run() {
    let machine = Machine::new("approve", 60);
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for (path, bad, good) in [(machine.program(), 0o707, 0o700), (machine.program.path().to_owned(), 0o707, 0o700)] {
        set(&path, bad);
        let ran = machine.run("call", &CALLS[..1]);
        set(&path, good);
        assert!(
            ran.stdout.contains("is not run, since others can change it: ") && ran.stdout.contains("NotConfigured")
        );
        assert!(!machine.program.path().join("start").exists());
    }
    assert_eq!(machine.run("call", &CALLS[..1]).stdout, "verified\r\n");
}
