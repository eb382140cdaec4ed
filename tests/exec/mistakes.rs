//! Programs (`exec`) that do not keep the protocol: none approves a call, and the text says what is wrong.

use crate::support::exec::Program;
use crate::support::gate::{TestGate, id};
use crate::support::wait_until;
use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};

const NUMBER: &str = "+1 4255551212";

/// The reason and the text with which a call by a program with this plan fails.
fn fails(plan: &Value) -> (FailureReason, String) {
    let program = Program::new(plan);
    let gate = TestGate::start(json!({ "use": ["own"], "backends": { "own": program.settings() } }));
    gate.initiate(id(1), NUMBER);
    let (status, text) = gate.ends(id(1));
    assert_eq!(status, CallStatus::Failed, "{plan}");
    gate.end();
    wait_until("the program is gone", || program.is_gone());
    (gate.snapshot(id(1)).failure.unwrap().reason(), text)
}

/// Each ends as CannotPlace, with this part of a text.
fn each_fails(mistakes: &[(Value, &str)]) {
    for (plan, expected) in mistakes {
        let (reason, text) = fails(plan);
        assert_eq!(reason, FailureReason::CannotPlace, "{plan}: {text}");
        assert!(text.contains(expected), "{plan}: {text}");
    }
}

/// A right entry of the first attempt.
fn right() -> Value {
    json!({ "press": "right" })
}

#[test]
fn a_right_entry_does_not_count_if_the_program_does_anything_after_it() {
    let busy = json!({ "say": { "event": "failed", "reason": "Busy" } });
    each_fails(&[
        (json!([right(), right()]), "wrote a line after its verdict"),
        (json!([right(), busy]), "wrote a line after its verdict"),
        (json!([right(), { "say": { "event": "answered" } }]), "wrote a line after its verdict"),
        (json!([right(), { "write": "\n" }]), "wrote a line after its verdict"),
        (json!([right(), { "write": "x" }]), "ended its output in the middle of a line"),
        (json!([right(), { "exit": 1 }]), "did not end with success after its verdict (exit status: 1)"),
        (json!([right(), { "kill": true }]), "did not end with success after its verdict (signal: 9"),
        (json!([right(), { "error": "broke" }, { "exit": 2 }]), "(exit status: 2): broke."),
    ]);
}

#[test]
fn a_verdict_does_not_count_after_another_one() {
    let busy = json!({ "say": { "event": "failed", "reason": "Busy" } });
    each_fails(&[(json!([busy, right()]), "wrote a line after its verdict")]);
}

#[test]
fn a_program_that_stays_after_its_verdict_is_killed_and_fails() {
    each_fails(&[(
        json!([{ "deaf": true }, right(), { "sleep": 600 }]),
        "did not end within 10 s of its verdict. It was killed, so the phone may ring on.",
    )]);
}

#[test]
fn a_program_that_closes_its_output_and_stays_fails() {
    each_fails(&[(json!([right(), { "close_output": true }, { "sleep": 600 }]), "did not end within 10 s")]);
}

#[test]
fn an_output_that_another_process_holds_open_fails() {
    let plan = json!([{ "child": "escapes" }, right()]);
    let program = Program::new(&plan);
    let gate = TestGate::start(json!({ "use": ["own"], "backends": { "own": program.settings() } }));
    gate.initiate(id(1), NUMBER);
    let (status, text) = gate.ends(id(1));
    let child = program.lines("children")[0].clone();
    // It is in a session of its own, so only this test can end it.
    std::process::Command::new("/bin/kill").arg(child).status().unwrap();
    assert_eq!(status, CallStatus::Failed);
    assert!(text.contains("another process holds its output open"), "{text}");
}

#[test]
fn a_program_without_a_verdict_fails() {
    each_fails(&[
        (json!([]), "The program ended without a verdict (exit status: 0)."),
        (json!([{ "say": { "event": "answered" } }]), "The program ended without a verdict (exit status: 0)."),
        (
            json!([{ "error": "no line" }, { "exit": 3 }]),
            "The program ended without a verdict (exit status: 3): no line.",
        ),
        (json!([{ "kill": true }]), "The program ended without a verdict (signal: 9"),
        (json!([{ "close_output": true }]), "The program ended without a verdict (exit status: 0)."),
    ]);
}

#[test]
fn a_line_that_is_not_in_the_protocol_fails() {
    let say = |event: Value| json!([{ "say": event }, right()]);
    each_fails(&[
        (say(json!({ "event": "approved" })), "Line 1 of the program has the event \"approved\", which is not known."),
        (say(json!({ "event": "ready" })), "Line 1 of the program has an event that a call cannot have."),
        (say(json!({ "event": "failed", "reason": "WrongKey" })), "has the reason \"WrongKey\", which is not known."),
        (say(json!({ "event": "ringing", "x": 1 })), "Line 1 of the program (ringing) lacks a field"),
        (json!([{ "write": "\n" }, right()]), "Line 1 of the program is not a JSON object"),
        (json!([{ "write": "\u{feff}" }, right()]), "Line 1 of the program is not a JSON object"),
        (json!([{ "hex": "7b7dff0a" }, right()]), "Line 1 of the program is not a JSON object"),
    ]);
}

#[test]
fn an_entry_that_is_not_one_of_the_call_fails() {
    let pressed = |fields: &str| json!([{ "write": format!("{{\"event\":\"pressed\",{fields}}}\n") }]);
    each_fails(&[
        (pressed(r#""attempt":1,"digits":1,"ended_by":"pound""#), "(pressed) lacks a field"),
        (pressed(r#""attempt":1,"digits":"CODE""#), "(pressed) lacks a field"),
        (pressed(r#""attempt":2,"attempt":1,"digits":"CODE","ended_by":"pound""#), "has a key twice"),
    ]);
    for (plan, expected) in [
        (pressed(r#""attempt":1,"digits":"CODE","ended_by":"pause""#), FailureReason::WrongKey),
        (pressed(r#""attempt":1,"digits":"CODE","ended_by":"full""#), FailureReason::WrongKey),
        (pressed(r#""attempt":1,"digits":"CODECODE","ended_by":"pound""#), FailureReason::WrongKey),
        (pressed(r#""attempt":1,"digits":"","ended_by":"pound""#), FailureReason::WrongKey),
        (pressed(r#""attempt":1,"digits":"*","ended_by":"pound""#), FailureReason::WrongKey),
        (pressed(r#""attempt":1,"digits":"0","ended_by":"pound""#), FailureReason::FraudReported),
        (pressed(r#""attempt":2,"digits":"","ended_by":"pause""#), FailureReason::NoKeyPressed),
    ] {
        assert_eq!(fails(&plan).0, expected, "{plan}");
    }
}

/// The program says what the user did, and that counts: a number is not called again and again.
#[test]
fn an_entry_that_cannot_be_one_of_the_call_is_a_denial() {
    use FailureReason::{FraudReported, NoKeyPressed, WrongKey};
    let long = "1".repeat(65);
    for (attempt, digits, ended_by, expected, text) in [
        (3, "CODE", "pound", WrongKey, "is about attempt 3, but there are 2."),
        (0, "CODE", "pound", WrongKey, "is about attempt 0, but there are 2."),
        (3, "0", "pound", FraudReported, "is about attempt 3, but there are 2."),
        (3, "", "pause", NoKeyPressed, "is about attempt 3, but there are 2."),
        (1, "CODE#", "pound", WrongKey, "`digits` that are not 0 to 9 or *"),
        (1, "CODE ", "pound", WrongKey, "`digits` that are not 0 to 9 or *"),
        (1, "A", "pound", WrongKey, "`digits` that are not 0 to 9 or *"),
        (1, &long, "pound", WrongKey, "more than 64"),
    ] {
        let pressed = json!({ "event": "pressed", "attempt": attempt, "digits": digits, "ended_by": ended_by });
        let (reason, said) = fails(&json!([{ "write": format!("{pressed}\n") }]));
        assert_eq!(reason, expected, "{pressed}: {said}");
        assert!(said.contains(text), "{pressed}: {said}");
    }
}

#[test]
fn a_code_of_one_attempt_does_not_approve_another_one() {
    let entry = r#"{"event":"pressed","attempt":2,"digits":"CODE","ended_by":"pound"}"#;
    let program = Program::new(&json!([{ "write": format!("{entry}\n") }]));
    let gate = TestGate::start(json!({ "use": ["own"], "backends": { "own": program.settings() } }));
    // The codes of two attempts may be equal.
    let is_other = |call: &Value| call["attempts"][0] != call["attempts"][1];
    for n in 1..=20 {
        gate.initiate(id(n), NUMBER);
        let (status, _) = gate.ends(id(n));
        if is_other(program.calls().last().unwrap()) {
            assert_eq!(status, CallStatus::Failed);
            assert_eq!(gate.snapshot(id(n)).failure.unwrap().reason(), FailureReason::WrongKey);
            return;
        }
    }
    panic!("no call of 20 had two codes");
}

#[test]
fn a_denial_counts_whatever_the_program_does_next() {
    let pressed = |digits: &str, end: &str| json!({ "say": { "event": "pressed", "attempt": 1, "digits": digits, "ended_by": end } });
    for (verdict, expected) in [
        (pressed("0", "pound"), FailureReason::FraudReported),
        (json!({ "press": "wrong" }), FailureReason::WrongKey),
        (pressed("", "pause"), FailureReason::NoKeyPressed),
        (json!({ "say": { "event": "failed", "reason": "CallEnded" } }), FailureReason::CallEnded),
    ] {
        for (next, problem) in [(json!({ "exit": 1 }), "(exit status: 1)"), (right(), "wrote a line after its verdict")]
        {
            let plan = json!([verdict, next]);
            let (reason, text) = fails(&plan);
            assert_eq!(reason, expected, "{plan}");
            assert!(text.contains(problem), "{plan}: {text}");
        }
    }
}

#[test]
fn a_flood_of_output_ends_the_program() {
    let ringing = "{\"event\":\"ringing\"}\n";
    each_fails(&[
        (json!([{ "fill": ringing }, right()]), "wrote more than 65,536 bytes"),
        (json!([{ "fill": "\n" }, right()]), "Line 1 of the program is not a JSON object"),
        (json!([{ "fill": "x" }, right()]), "wrote a line of more than 4,096 bytes"),
        (json!([{ "flood_error": 2000 }, right()]), "wrote more than 1,000,000 bytes to standard error"),
    ]);
}

#[test]
fn only_the_first_lines_of_standard_error_are_logged() {
    let program = Program::new(&json!([{ "flood_error": 100 }, right()]));
    let gate = TestGate::start(json!({ "use": ["own"], "backends": { "own": program.settings() } }));
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    let log = gate.end();
    let lines = log.iter().filter(|line| line["event"] == "program_output");
    let lengths: Vec<_> = lines.map(|line| line["text"].as_str().unwrap().chars().count()).collect();
    assert_eq!(lengths, [200; 20]);
}
