//! Calls by a program (`exec`): what the program gets, who may change it, what lets another backend be tried, and its end.
//! `mistakes` is about programs that do not keep the protocol, `arguments` about files that arguments and scripts name, and
//! `example` about the one in `examples`.

mod arguments;
mod example;
mod mistakes;
#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::backend::TestBackend;
use support::exec::{PYTHON, Program, is_running};
use support::gate::{TestGate, id};
use support::process::Held;
use support::wait_until;

const NUMBER: &str = "+1 4255551212";

fn rings_and(step: Value) -> Value {
    json!([{ "say": { "event": "ringing" } }, step])
}

fn gate_of(program: &Program) -> TestGate {
    TestGate::start(json!({ "use": ["own"], "backends": { "own": program.settings() } }))
}

/// A gate that tries a second program if the first one certainly rang no phone.
fn two(first: &Value, second: &Program) -> TestGate {
    TestGate::start(json!({ "use": ["first", "second"], "backends": { "first": first, "second": second.settings() } }))
}

#[test]
fn the_program_gets_the_call_as_one_line_of_json() {
    let program = Program::new(&rings_and(json!({ "press": "right" })));
    let gate = TestGate::start(json!({
        "use": ["own"], "backends": { "own": program.settings() }, "fraud": { "key": "9" },
        "approval": { "code_digits": 4 }, "prompts": { "attempts": 3, "by_country": { "US": "en-GB" } }
    }));
    gate.initiate(id(1), "+1 4255551212x345");
    assert_eq!(gate.ends(id(1)), (CallStatus::Success, String::new()));
    let [call] = &program.calls()[..] else { panic!("there is one call") };
    assert_eq!(call["version"], 1);
    assert_eq!(call["request_id"], id(1).to_string());
    assert_ne!(call["call_id"], call["request_id"]);
    assert_eq!((&call["number"], &call["extension"]), (&json!("+14255551212"), &json!("345")));
    assert_eq!((&call["language"], &call["method"]), (&json!("en-GB"), &json!("code")));
    assert_eq!(call["fraud_key"], "9");
    assert!((1..=90).contains(&call["deadline_s"].as_u64().unwrap()), "{call}");
    let attempts = call["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 3);
    for attempt in attempts {
        let code = attempt["code"].as_str().unwrap();
        assert_eq!((code.len(), attempt["spoken"].as_str().unwrap().replace(", ", "")), (4, code.to_owned()));
    }
    assert_eq!(call.as_object().unwrap().len(), 10, "every field is documented: {call}");
}

#[test]
fn the_method_pound_has_no_code() {
    let program = Program::new(&rings_and(json!({ "press": "right" })));
    let gate = TestGate::start(json!({
        "use": ["own"], "backends": { "own": program.settings() }, "approval": { "method": "pound" }
    }));
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    let nothing = json!({ "code": null, "spoken": null });
    assert_eq!(program.calls()[0]["attempts"], json!([nothing, nothing]));
}

#[test]
fn the_program_gets_no_environment_and_no_files_of_the_host() {
    // SAFETY: nextest gives each test a process of its own, and no other thread runs yet.
    unsafe {
        std::env::set_var("PHONEGATE_TEST_SECRET", "not-a-real-secret");
        std::env::set_var("PBX_ADDRESS", "192.0.2.1");
        std::env::set_var("PATH", "/tmp");
    }
    let program = Program::new(&rings_and(json!({ "press": "right" })));
    let settings = program.settings_with(json!({ "environment": ["PBX_ADDRESS"], "arguments": ["-I", "-X", "utf8"] }));
    let gate = TestGate::start(json!({ "use": ["own"], "backends": { "own": settings } }));
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    let start = &program.starts()[0];
    let environment = start["environment"].as_object().unwrap();
    assert_eq!(environment["PBX_ADDRESS"], "192.0.2.1");
    assert!(!environment.contains_key("PHONEGATE_TEST_SECRET"), "{environment:?}");
    assert!(environment["PATH"].as_str().unwrap().contains("/usr/bin"), "{environment:?}");
    assert_eq!(start["folder"], json!(program.script().parent().unwrap().canonicalize().unwrap()));
    assert_eq!(start["arguments"], json!([]));
    // The fourth is the one that lists them.
    assert_eq!(start["files"].as_array().unwrap().len(), 4, "{start}");
}

#[test]
fn an_argument_reaches_the_program_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let script = "import json, os, sys\nos.write(1, json.dumps({'event': 'failed', 'reason': 'Busy', 'text': sys.argv[1]}).encode() + b'\\n')";
    let settings =
        json!({ "type": "exec", "program": PYTHON, "arguments": ["-I", "-c", script, "$HOME; `x` \"y\" *"] });
    let gate = TestGate::start(json!({ "use": ["own"], "backends": { "own": settings } }));
    gate.initiate(id(1), NUMBER);
    let (_, text) = gate.ends(id(1));
    assert!(text.contains("The phone is busy: $HOME; `x` \"y\" *."), "{text}");
    assert!(!program.exists());
}

/// The texts of the lines `program_output` in the log, when the call has ended.
fn program_output(program: &Program, method: &str) -> (String, Vec<String>) {
    let gate = TestGate::start(json!({
        "use": ["own"], "backends": { "own": program.settings() }, "approval": { "method": method }
    }));
    gate.initiate(id(1), NUMBER);
    let (_, text) = gate.ends(id(1));
    let log = gate.end();
    for line in &log {
        assert!(!line["text"].to_string().contains("555121"), "no number: {line}");
        assert!(!line["text"].to_string().contains("ringing\\\""), "no standard output: {line}");
    }
    let lines: Vec<_> = log.iter().filter(|line| line["event"] == "program_output").collect();
    assert!(lines.iter().all(|line| line["backend"] == "own"), "{lines:?}");
    (text, lines.iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn standard_error_is_logged_without_numbers() {
    let program = Program::new(&json!([
        { "say": { "event": "ringing" } },
        { "error": "called NUMBER in line 7\u{1b}[31m" }, { "error": "" }, { "error": "then NUMBER" },
        { "say": { "event": "failed", "reason": "Voicemail", "text": "at +14255551212" } },
    ]));
    let (text, lines) = program_output(&program, "pound");
    assert_eq!(text, "An answering machine took the call: at +*******1212. (Voicemail, code 13)");
    assert_eq!(lines, ["called +*******1212 in line 7 [31m", "then +*******1212"]);
}

#[test]
fn standard_error_is_logged_without_the_code() {
    let program = Program::new(&json!([
        { "say": { "event": "ringing" } },
        { "error": "says CODE" }, { "error": "says SPOKEN" }, { "error": "LINES" },
        { "write": "{\"event\":\"failed\",\"reason\":\"Busy\",\"text\":\"after CODE\"}\n" },
    ]));
    let (text, lines) = program_output(&program, "code");
    assert_eq!(text, "The phone is busy: after ***. (Unreachable, code 102)");
    assert_eq!(lines, ["says ***", "says *, *, *", "*", "*", "*"]);
}

#[test]
fn a_program_that_cannot_be_started_lets_another_backend_ring() {
    let second = Program::new(&rings_and(json!({ "press": "right" })));
    let missing = json!({ "type": "exec", "program": "/usr/bin/there-is-no-such-program" });
    let not_executable = json!({ "type": "exec", "program": second.script() });
    let folder = json!({ "type": "exec", "program": "/usr/bin" });
    for first in [missing, not_executable, folder] {
        let gate = two(&first, &second);
        gate.initiate(id(1), NUMBER);
        assert_eq!(gate.ends(id(1)).0, CallStatus::Success, "{first}");
        assert!(gate.end().iter().any(|line| line["event"] == "backend_refused" && line["backend"] == "first"));
    }
}

#[test]
fn only_a_program_that_says_so_first_rang_no_phone() {
    let (refusal, busy) = (
        json!({ "say": { "event": "failed", "reason": "CannotPlace", "text": "no line", "may_ring": false } }),
        json!({ "say": { "event": "failed", "reason": "CannotPlace" } }),
    );
    let ringing = json!({ "say": { "event": "ringing" } });
    let not_rung = |reason: &str| json!([{ "say": { "event": "failed", "reason": reason, "may_ring": false } }]);
    for (plan, is_second_asked) in [
        (json!([refusal]), true),
        (not_rung("Unreachable"), true),
        (not_rung("Busy"), false),
        (not_rung("NoAnswer"), false),
        (not_rung("NoKeyPressed"), false),
        (not_rung("CallEnded"), false),
        (not_rung("Voicemail"), false),
        (json!([busy]), false),
        (json!([ringing, refusal]), false),
        (json!([refusal, refusal]), false),
        (json!([refusal, { "exit": 1 }]), false),
        (json!([{ "exit": 0 }]), false),
        (json!([{ "write": "<html>\n" }]), false),
    ] {
        let (first, second) = (Program::new(&plan), Program::new(&rings_and(json!({ "press": "right" }))));
        let gate = two(&first.settings(), &second);
        gate.initiate(id(1), NUMBER);
        let (status, text) = gate.ends(id(1));
        assert_eq!(status == CallStatus::Success, is_second_asked, "{plan}: {text}");
        assert_eq!(second.calls().len(), usize::from(is_second_asked), "{plan}");
    }
}

#[test]
fn a_program_that_others_can_change_is_not_run() {
    let program = Program::new(&rings_and(json!({ "press": "right" })));
    let gate = gate_of(&program);
    let set = |path: &std::path::Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let (script, folder) = (program.script(), program.script().parent().unwrap().to_owned());
    for (n, (path, bad, good)) in
        [(&script, 0o602, 0o600), (&script, 0o620, 0o600), (&folder, 0o777, 0o700)].into_iter().enumerate()
    {
        set(path, bad);
        let call = id(n as u128 + 1);
        gate.initiate(call, NUMBER);
        let (status, text) = gate.ends(call);
        assert_eq!(status, CallStatus::Failed);
        assert!(
            text.contains("is not run, since others can change it: ") && text.contains("can write to it"),
            "{text}"
        );
        assert_eq!(gate.snapshot(call).failure.unwrap().reason(), FailureReason::NotConfigured);
        set(path, good);
    }
    assert!(program.starts().is_empty());
    gate.initiate(id(9), NUMBER);
    assert_eq!(gate.ends(id(9)).0, CallStatus::Success);
}

#[test]
fn a_start_warns_of_a_script_that_others_can_change() {
    let program = Program::new(&json!([]));
    fs::set_permissions(program.script(), Permissions::from_mode(0o602)).unwrap();
    let log = gate_of(&program).end();
    let warned = log.iter().find(|line| line["event"] == "unsafe_permissions").unwrap();
    assert!(warned["text"].as_str().unwrap().contains("place_call.py: everybody can write to it"), "{warned}");
    let strict = json!({ "use": ["own"], "backends": { "own": program.settings() }, "strict_permissions": true });
    assert!(TestGate::why_not(strict).contains("place_call.py"), "a strict start is refused");
}

#[test]
fn the_deadline_closes_the_input_so_that_the_program_hangs_up() {
    let program = Program::new(&rings_and(json!({ "answer": true })));
    let gate = TestGate::start(json!({
        "use": ["own"], "backends": { "own": program.settings() }, "call": { "deadline_s": 3 }
    }));
    gate.initiate(id(1), NUMBER);
    gate.ends(id(1));
    wait_until("the program has hung up", || program.lines("hung_up").len() == 1);
    wait_until("the program is gone", || program.is_gone());
    wait_until("the hang-up is logged", || gate.log().iter().any(|line| line["event"] == "hang_up"));
    let log = gate.end();
    let hung_up = log.iter().find(|line| line["event"] == "hang_up").unwrap();
    assert!(hung_up["reason"].is_null(), "it succeeded: {hung_up}");
}

#[test]
fn a_program_that_does_not_hang_up_is_killed_with_its_children() {
    let program = Program::new(&json!([
        { "deaf": true }, { "child": true }, { "say": { "event": "ringing" } }, { "sleep": 600 }
    ]));
    let gate = TestGate::start(json!({
        "use": ["own"], "backends": { "own": program.settings() }, "call": { "deadline_s": 2 }
    }));
    gate.initiate(id(1), NUMBER);
    wait_until("it has a child", || program.lines("children").first().is_some_and(|id| is_running(id)));
    gate.ends(id(1));
    wait_until("the program and its child are gone", || program.is_gone());
    wait_until("the hang-up is logged", || gate.log().iter().any(|line| line["event"] == "hang_up"));
    let log = gate.end();
    let hung_up = log.iter().find(|line| line["event"] == "hang_up").unwrap();
    assert!(hung_up["text"].as_str().unwrap().contains("was killed; the phone may ring on"), "{hung_up}");
}

#[test]
fn a_program_that_ends_takes_its_children_with_it() {
    let program = Program::new(&json!([{ "child": true }, { "say": { "event": "ringing" } }, { "press": "right" }]));
    let gate = gate_of(&program);
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    wait_until("the program and its child are gone", || program.is_gone());
}

#[test]
fn no_program_is_left_when_the_gate_ends() {
    let plan = json!([{ "child": true }, { "say": { "event": "ringing" } }, { "answer": true }]);
    let program = Program::new(&plan);
    let gate = gate_of(&program);
    gate.initiate(id(1), NUMBER);
    wait_until("it runs", || program.lines("children").len() == 1);
    gate.end();
    assert_eq!(program.lines("hung_up").len(), 1, "it was asked to hang up");
    wait_until("the program and its child are gone", || program.is_gone());
}

/// A program that has written no line yet may ring a phone all the same.
#[test]
fn a_silent_program_hangs_up_when_the_gate_ends() {
    let program = Program::new(&json!([{ "sleep": 600 }]));
    let gate = gate_of(&program);
    gate.initiate(id(1), NUMBER);
    wait_until("it runs", || program.lines("started").len() == 1);
    // Shorter than the time for the first line.
    assert!(gate.gate().shut_down(Duration::from_secs(9)), "the gate ends in time");
    assert_eq!(program.lines("hung_up").len(), 1, "it was asked to hang up");
    wait_until("the program is gone", || program.is_gone());
}

#[test]
fn no_program_is_left_when_the_backend_is_dropped() {
    let plan = json!([{ "deaf": true }, { "child": true }, { "say": { "event": "ringing" } }, { "sleep": 600 }]);
    let program = Program::new(&plan);
    let backend = TestBackend::new(&program.settings_with(json!({ "arguments": ["-I"] })));
    backend.place(1, 1, NUMBER).unwrap();
    wait_until("it runs", || program.lines("children").len() == 1);
    drop(backend);
    wait_until("the program and its child are gone", || program.is_gone());
}

#[test]
fn a_further_call_waits_for_the_end_of_a_program() {
    // The step fails if two programs are at it.
    let program = Program::new(&rings_and(json!({ "alone": 0.2 })));
    let plan = json!([{ "say": { "event": "ringing" } }, { "alone": 0.2 }, { "press": "right" }]);
    program.plan(&plan);
    let settings = program.settings_with(json!({ "max_programs": 1 }));
    let gate = TestGate::start(json!({ "use": ["own"], "backends": { "own": settings } }));
    for n in 1..=4 {
        gate.initiate(id(n), &format!("+1 425555121{n}"));
    }
    for n in 1..=4 {
        assert_eq!(gate.ends(id(n)), (CallStatus::Success, String::new()));
    }
}

#[test]
fn a_check_asks_a_program_that_supports_it_and_reads_files_else() {
    let program = Program::new(&json!([]));
    let check = |settings: &Value| {
        let backend = TestBackend::new(settings);
        backend.runtime.block_on(backend.backend.check()).map_err(|failure| failure.text().to_owned())
    };
    assert_eq!(check(&program.settings()).unwrap(), "place_call.py; it is ready: 2 lines");
    for (plan, problem) in [
        (
            json!([{ "say": { "event": "failed", "reason": "CannotPlace", "text": "no PBX" } }]),
            "place the call: no PBX.",
        ),
        (json!([{ "say": { "event": "ringing" } }]), "Line 1 of the program has an event that a check cannot have."),
        (json!([{ "say": { "event": "ready" } }, { "exit": 3 }]), "after its verdict (exit status: 3)."),
        (json!([]), "The program ended without a verdict (exit status: 0)."),
    ] {
        program.plan_check(&plan);
        let text = check(&program.settings()).unwrap_err();
        assert!(text.contains(problem), "{plan}: {text}");
    }
    assert_eq!(program.starts().len(), 5);
    let silent = program.settings_with(json!({ "supports_check": false }));
    assert!(check(&silent).unwrap().contains("only administrators can change it"));
    fs::set_permissions(program.script(), Permissions::from_mode(0o602)).unwrap();
    for settings in [silent, program.settings()] {
        assert!(check(&settings).unwrap_err().contains("others can change it"));
    }
    assert_eq!((program.starts().len(), program.calls().len()), (5, 0));
}

/// In a C host, a write to a closed pipe would end the process: SIGPIPE.
#[test]
fn programs_that_end_at_once_neither_harm_the_host_nor_leave_anything() {
    // SAFETY: nextest gives each test a process of its own.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let gate =
        TestGate::start(json!({ "use": ["own"], "backends": { "own": { "type": "exec", "program": "/bin/true" } } }));
    let call = |n: u128| {
        gate.initiate(id(n), NUMBER);
        let (_, text) = gate.ends(id(n));
        assert!(text.contains("The program ended without a verdict (exit status: 0)."), "{text}");
    };
    // The first calls start threads that stay.
    (1..=20).for_each(call);
    let before = Held::now();
    (21..=60).for_each(call);
    wait_until("no file and no thread of a call is left", || {
        let now = Held::now();
        now.files <= before.files && now.threads <= before.threads
    });
}
