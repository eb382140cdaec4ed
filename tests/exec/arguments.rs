//! Files that the arguments of a program name, and interpreters that a script names: who may change them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::backend::TestBackend;
use crate::support::exec::{PYTHON, Program};
use crate::support::gate::{TestGate, id};
use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Writes a file into the program's folder that only this account can change.
fn write(program: &Program, name: &str, text: &str) -> String {
    let path = program.path(name);
    fs::write(&path, text).unwrap();
    set_mode(&path, 0o700);
    path.to_str().unwrap().to_owned()
}

/// What a check of the files says.
fn check(settings: &Value) -> Result<String, String> {
    let backend = TestBackend::new(settings);
    backend.runtime.block_on(backend.backend.check()).map_err(|failure| failure.text().to_owned())
}

fn python(arguments: &Value) -> Value {
    json!({ "type": "exec", "program": PYTHON, "arguments": arguments })
}

#[test]
fn a_script_in_the_arguments_is_examined_like_the_script() {
    let program = Program::new(&json!([{ "say": { "event": "ringing" } }, { "press": "right" }]));
    let settings = python(&json!(["-I", program.script()]));
    let gate = TestGate::start(json!({ "use": ["own"], "backends": { "own": settings } }));
    set_mode(&program.script(), 0o602);
    gate.initiate(id(1), "+1 4255551212");
    let (status, text) = gate.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.contains("place_call.py is not run, since others can change it: "), "{text}");
    assert_eq!(gate.snapshot(id(1)).failure.unwrap().reason(), FailureReason::NotConfigured);
    assert!(program.starts().is_empty());
    set_mode(&program.script(), 0o600);
    gate.initiate(id(2), "+1 4255551212");
    assert_eq!(gate.ends(id(2)), (CallStatus::Success, String::new()));
}

#[test]
fn a_start_warns_of_an_argument_that_others_can_change() {
    let program = Program::new(&json!([]));
    set_mode(&program.script(), 0o602);
    let settings = python(&json!(["-I", program.script()]));
    let strict = json!({ "use": ["own"], "backends": { "own": settings }, "strict_permissions": true });
    assert!(TestGate::why_not(strict).contains("place_call.py"), "a strict start is refused");
}

#[test]
fn a_file_after_an_equals_sign_is_examined() {
    let program = Program::new(&json!([]));
    let script = program.script().to_str().unwrap().to_owned();
    let settings = |argument: String| json!({ "type": "exec", "program": write(&program, "run", "#!/bin/sh\n"), "arguments": [argument] });
    for argument in [format!("--call={script}"), format!("--set=call={script}"), "--call=place_call.py".to_owned()] {
        set_mode(&program.script(), 0o600);
        check(&settings(argument.clone())).unwrap();
        set_mode(&program.script(), 0o602);
        let problem = check(&settings(argument.clone())).unwrap_err();
        assert!(problem.contains("others can change it"), "{argument}: {problem}");
    }
}

#[test]
fn the_relative_path_of_a_file_is_refused_as_an_argument() {
    let program = Program::new(&json!([]));
    let run = write(&program, "run", "#!/bin/sh\n");
    let settings = |argument: &str| json!({ "type": "exec", "program": run, "arguments": [argument] });
    for argument in ["place_call.py", "./place_call.py"] {
        let problem = check(&settings(argument)).unwrap_err();
        assert!(problem.contains("as `script`") && problem.contains("(NotConfigured"), "{problem}");
    }
    for argument in ["-v", "missing.py", "/missing/call.py", "/dev/null", ".", ""] {
        check(&settings(argument)).unwrap();
    }
}

#[test]
fn an_interpreter_that_others_can_change_is_not_run() {
    let program = Program::new(&json!([]));
    let last = write(&program, "last", "");
    let first = write(&program, "first", &format!("#! {last} -x\n"));
    let script = write(&program, "script", &format!("#!{first}\n"));
    let as_program = json!({ "type": "exec", "program": script });
    let as_script = json!({ "type": "exec", "program": "/bin/sh", "script": script });
    for settings in [as_program, as_script, python(&json!([script]))] {
        for interpreter in [&first, &last] {
            check(&settings).unwrap();
            set_mode(Path::new(interpreter), 0o702);
            let problem = check(&settings).unwrap_err();
            let expected = format!("The interpreter {interpreter} is not run, since others can change it");
            assert!(problem.contains(&expected), "{problem}");
            set_mode(Path::new(interpreter), 0o700);
        }
    }
}
