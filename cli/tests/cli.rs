//! What the command promises to administrators and scripts: exit codes, outputs, and that a call never outlives it.

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use support::{HIDDEN, MASKED, NUMBER, Place, Ran, Running, at_a_desk, simulated, wait_for};

fn keys(record: &Value) -> Vec<&str> {
    record.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

fn events(ran: &Ran) -> Vec<String> {
    ran.records().iter().map(|record| record["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_demonstration_needs_no_configuration_and_leaves_nothing_behind() {
    let place = Place::empty();
    let ran = place.run(&["call", "--demo", "+1", "4255551212"]).exits(0);
    assert_eq!(ran.stdout, "Verified: the user approved.\n");
    for step in ["Calling +1******1212", "dialling by demo", "ringing", "answered"] {
        assert!(ran.stderr.lines().any(|line| line.ends_with(step)), "{step} in:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains('\u{1b}'), "no terminal, so plain lines: {:?}", ran.stderr);
    assert_eq!(place.path().read_dir().unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_verified_call_exits_with_0_and_tells_every_step_in_json() {
    let place = Place::simulated(None);
    let ran = place.run(&["call", "--json", NUMBER]).exits(0);
    assert_eq!(events(&ran), ["warning", "calling", "dialling", "ringing", "answered", "verified"]);
    let (calling, verified) = (ran.record("calling"), ran.record("verified"));
    assert_eq!(keys(&calling), ["event", "id", "number"]);
    assert_eq!(calling["number"], MASKED);
    for step in ["dialling", "ringing", "answered", "verified"] {
        let record = ran.record(step);
        assert_eq!(keys(&record), ["backend", "event", "id", "ms"]);
        assert_eq!((&record["backend"], &record["id"]), (&json!("phone"), &calling["id"]));
        assert!(record["ms"].as_u64() <= verified["ms"].as_u64(), "{record}");
    }
    assert_eq!(ran.stderr, "", "JSON stands alone");
}

#[test]
fn a_call_of_the_command_leaves_the_figures_of_the_service_alone() {
    let mut config = simulated(None, 0);
    config["metrics"] = json!({ "textfile": "phonegate.prom" });
    let place = Place::with(&config);
    let file = place.path().join("phonegate.prom");
    std::fs::write(&file, "the service's").unwrap();
    place.run(&["call", NUMBER]).exits(0);
    place.run(&["check"]).exits(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "the service's");
}

#[test]
fn a_failed_call_exits_with_1_and_tells_the_reason() {
    for (press, reason, code) in [
        ("5", "WrongKey", 12),
        ("none", "NoKeyPressed", 4),
        ("busy", "Unreachable", 102),
        ("no_answer", "Unreachable", 102),
        ("hang_up", "CallEnded", 10),
    ] {
        let place = Place::simulated(Some(press));
        let failed = place.run(&["call", "--json", NUMBER]).exits(1).record("failed");
        assert_eq!(keys(&failed), ["backend", "code", "event", "id", "ms", "reason", "text"]);
        assert_eq!((&failed["reason"], &failed["code"]), (&json!(reason), &json!(code)), "{press}");
        let ran = place.run(&["call", NUMBER]).exits(1);
        assert_eq!(ran.stdout, format!("Failed: {}\n", failed["text"].as_str().unwrap()));
        assert!(ran.stdout.contains(reason), "{}", ran.stdout);
    }
}

#[test]
fn a_number_that_is_refused_exits_with_1_and_is_neither_dialled_nor_shown() {
    let place = Place::simulated(None);
    for (number, reason) in
        [("911", "InvalidNumber"), ("555 1212 555 1212", "InvalidNumber"), ("+49 30 1234567", "CountryNotAllowed")]
    {
        let ran = place.run(&["call", "--json", number]).exits(1);
        let failed = ran.record("failed");
        assert_eq!(failed["reason"], reason, "{number}");
        assert!(!ran.all().contains(number) && !ran.all().contains("1234567"), "{}", ran.all());
        assert!(!events(&ran).contains(&"dialling".to_owned()));
    }
}

#[test]
fn a_next_backend_is_told_with_the_reason_why_the_first_refused() {
    let mut config = simulated(None, 0);
    config["use"] = json!(["broken", "phone"]);
    config["backends"]["broken"] = json!({ "type": "file", "path": "there/is/no/such/folder.txt" });
    let ran = Place::with(&config).run(&["call", "--json", NUMBER]).exits(0);
    let refused = ran.record("backend_refused");
    assert_eq!(keys(&refused), ["backend", "event", "id", "ms", "reason", "text"]);
    assert_eq!((&refused["backend"], &refused["reason"]), (&json!("broken"), &json!("CannotPlace")));
    assert_eq!(ran.record("verified")["backend"], "phone");
}

#[test]
fn a_call_of_the_file_backend_is_answered_by_editing_the_file() {
    for (word, code, stdout) in
        [("1;", 0, "Verified: the user approved.\n"), ("2;not me", 1, "Failed: not me (CannotPlace, code 117)\n")]
    {
        let place = Place::with(&at_a_desk());
        let running = Running::start(&mut place.command(&["call", NUMBER]));
        let line = place.rings(1);
        place.answer(word);
        assert!(line.contains("+14255551212"), "the file holds what is to be dialled: {line}");
        let ran = running.wait().exits(code);
        assert_eq!(ran.stdout, stdout);
        assert!(ran.stderr.contains(MASKED) && !ran.all().contains(HIDDEN), "{}", ran.all());
    }
}

#[test]
fn a_number_is_masked_in_all_that_is_shown_and_logged() {
    for press in [None, Some("busy")] {
        let place = Place::simulated(press);
        for arguments in [&["call", NUMBER][..], &["call", "--json", NUMBER], &["call", "+1", "(425)", "555-1212"]] {
            let ran = place.run(arguments);
            assert!(ran.all().contains(MASKED), "{}", ran.all());
            assert!(!ran.all().contains(HIDDEN) && !ran.all().contains("555-12"), "{}", ran.all());
        }
        assert!(place.log().contains(MASKED) && !place.log().contains(HIDDEN), "{}", place.log());
    }
}

#[test]
fn a_log_level_of_errors_alone_hides_no_step() {
    let mut config = simulated(None, 0);
    config["log"] = json!({ "level": "error" });
    let ran = Place::with(&config).run(&["call", "--json", NUMBER]).exits(0);
    assert!(events(&ran).contains(&"answered".to_owned()), "{}", ran.stdout);
}

#[test]
fn waits_that_suit_a_host_do_not_hold_up_what_is_shown() {
    let mut config = simulated(None, 600_000);
    // Held up by these waits, the ringing would be shown only with the failure at the deadline.
    config["call"] = json!({ "initiate_wait_ms": 60_000, "status_wait_ms": 60_000, "deadline_s": 20 });
    let place = Place::with(&config);
    let mut running = Running::start(&mut place.command(&["call", "--json", NUMBER]));
    running.read_until("ringing");
    running.signal("INT");
    running.wait().exits(130);
}

#[test]
fn a_signal_hangs_the_call_up_and_says_so() {
    for signal in ["INT", "TERM", "HUP"] {
        let place = Place::with(&simulated(None, 600_000));
        let mut running = Running::start(&mut place.command(&["call", "--json", NUMBER]));
        running.read_until("ringing");
        running.signal(signal);
        let failed = running.wait().exits(130).record("failed");
        assert_eq!(failed["reason"], "Interrupted");
        assert!(place.log().contains(r#""event":"ended""#), "the gate was shut down: {}", place.log());
    }
}

#[test]
fn a_human_reader_is_told_that_the_call_was_hung_up() {
    let place = Place::with(&simulated(None, 600_000));
    let running = Running::start(&mut place.command(&["call", NUMBER]));
    let log = place.path().join("state/phonegate/phonegate-tool.log");
    wait_for("the ringing", || std::fs::read_to_string(&log).ok()?.contains("ringing").then_some(()));
    running.signal("INT");
    assert_eq!(running.wait().exits(130).stdout, "Interrupted: the call was hung up.\n");
}

#[test]
fn a_reader_that_goes_away_neither_breaks_nor_ends_a_call() {
    let place = Place::simulated(Some("5"));
    let mut running = Running::start(&mut place.command(&["call", "--json", NUMBER]));
    running.leave_stdout();
    running.leave_stderr();
    running.wait().exits(1);
    assert!(place.log().contains("WrongKey"), "the call went to its end: {}", place.log());
}

#[test]
fn on_a_terminal_each_step_stays_above_a_moving_line() {
    let place = Place::empty();
    let mut command = Command::new("script");
    let line = format!("'{}' call --demo {NUMBER}", env!("CARGO_BIN_EXE_phonegate"));
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(place.path());
    command.env("TMPDIR", place.path()).env("TERM", "xterm");
    let output = command.output().expect("this test needs script: apt-get install bsdutils");
    let ran = Ran::from(output).exits(0);
    for step in ["dialling by demo", "ringing", "answered", "Verified: the user approved."] {
        assert!(ran.stdout.contains(step), "{step} in {:?}", ran.stdout);
    }
    assert!(ran.stdout.contains("ringing ("), "the moving line: {:?}", ran.stdout);
    assert!(ran.stdout.contains("\u{1b}[2K"), "the moving line is cleared: {:?}", ran.stdout);
}

#[test]
fn without_a_configuration_the_error_says_what_to_do() {
    let place = Place::empty();
    for arguments in [&["call", NUMBER][..], &["check"], &["twilio", "install-flow"]] {
        let ran = place.run(arguments).exits(2);
        for words in [place.config().to_str().unwrap(), "PHONEGATE_CONFIG", "--config FILE", "--demo"] {
            assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
        }
    }
}

#[test]
fn without_the_variable_the_configuration_lies_beside_the_program() {
    let place = Place::simulated(None);
    let program = place.path().join("phonegate");
    std::fs::copy(env!("CARGO_BIN_EXE_phonegate"), &program).unwrap();
    let output = Command::new(&program)
        .arg("check")
        .env_clear()
        .env("XDG_STATE_HOME", place.path().join("state"))
        .output()
        .unwrap();
    assert!(Ran::from(output).exits(0).stdout.contains("phone "));
}

#[test]
fn a_configuration_is_named_before_and_after_the_verb() {
    let (place, other) = (Place::empty(), Place::simulated(None));
    let path = other.config();
    let path = path.to_str().unwrap();
    place.run(&["--config", path, "call", NUMBER]).exits(0);
    place.run(&["call", NUMBER, "--config", path]).exits(0);
    let ran = place.run(&["call", "--demo", NUMBER, "--config", path]).exits(2);
    assert!(ran.stderr.contains("--demo needs no configuration"), "{}", ran.stderr);
}

#[test]
fn a_bad_configuration_exits_with_2_and_names_file_and_path() {
    let mut config = simulated(None, 0);
    config["backends"]["phone"]["press"] = json!("A");
    let place = Place::with(&config);
    for arguments in [&["call", NUMBER][..], &["check"], &["twilio", "install-flow"]] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr.contains(place.config().to_str().unwrap()), "{}", ran.stderr);
        assert!(ran.stderr.contains("backends.phone.press"), "{}", ran.stderr);
    }
    let ran = place.run(&["check", "--json"]).exits(2);
    let error = ran.record("error");
    assert_eq!(keys(&error), ["event", "hints", "kind", "text"]);
    assert!(error["text"].as_str().unwrap().contains("backends.phone.press"));
}

#[test]
fn a_configuration_named_by_a_relative_path_is_told_by_its_whole_path() {
    let mut config = simulated(None, 0);
    config["log"] = json!({ "directory": "phonegate.json" });
    let place = Place::with(&config);
    for arguments in [&["call", NUMBER][..], &["check"]] {
        let ran = place.run(&[arguments, &["--config", "phonegate.json"]].concat()).exits(2);
        let words = format!("error: {}: log.directory: ", place.config().display());
        assert!(ran.stderr.contains(&words), "{words} in {}", ran.stderr);
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let place = Place::empty();
    for arguments in [&[][..], &["call"], &["call", "--demo"], &["dial", NUMBER], &["check", "--fast"], &["twilio"]] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr.contains("Usage: "), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn help_teaches_examples_exit_codes_and_fields() {
    let place = Place::empty();
    for (arguments, words) in [
        (&["--help"][..], &["Examples:", "--demo", "PHONEGATE_CONFIG", "Exit codes:", "twilio"][..]),
        (&["call", "--help"], &["Examples:", "--json", "verified", "failed", "backend_refused", "130"]),
        (&["check", "--help"], &["Examples:", "not_used", "Exit codes:"]),
        (&["twilio", "install-flow", "--help"], &["Examples:", "--backend", "FW and 32 zeroes", "Exit codes:"]),
    ] {
        let ran = place.run(arguments).exits(0);
        for word in words {
            assert!(ran.stdout.contains(word), "{word} in {arguments:?}:\n{}", ran.stdout);
        }
    }
}

#[test]
fn the_schema_is_printed_whole_or_the_exit_code_says_so() {
    let place = Place::empty();
    let schema: Value = serde_json::from_str(&place.run(&["schema"]).exits(0).stdout).unwrap();
    assert!(schema["properties"]["use"].is_object());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["schema"]).stdout(full).output().unwrap();
    assert!(Ran::from(output).exits(1).stderr.contains("cannot write the schema"));
}
