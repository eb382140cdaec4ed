//! Exit codes and output of the command, and that no call outlives it.

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
fn demo_needs_no_configuration_and_leaves_nothing() {
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
fn a_verified_call_exits_with_0_and_every_step_in_json() {
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
    assert_eq!(ran.stderr, "", "there is only JSON");
}

#[test]
fn the_command_does_not_write_the_metrics_of_the_service() {
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
fn a_failed_call_exits_with_1_and_its_reason() {
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
fn a_refused_number_exits_with_1_and_is_not_dialled() {
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
fn the_refusal_of_the_first_backend_is_shown() {
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
fn numbers_are_masked_in_output_and_log() {
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
fn the_log_level_hides_no_step() {
    let mut config = simulated(None, 0);
    config["log"] = json!({ "level": "error" });
    let ran = Place::with(&config).run(&["call", "--json", NUMBER]).exits(0);
    assert!(events(&ran).contains(&"answered".to_owned()), "{}", ran.stdout);
}

#[test]
fn waits_for_hosts_do_not_delay_the_progress() {
    let mut config = simulated(None, 600_000);
    // With these waits, the ringing would be shown only together with the failure at the deadline.
    config["call"] = json!({ "initiate_wait_ms": 60_000, "status_wait_ms": 60_000, "deadline_s": 20 });
    let place = Place::with(&config);
    let mut running = Running::start(&mut place.command(&["call", "--json", NUMBER]));
    running.read_until("ringing");
    running.signal("INT");
    running.wait().exits(130);
}

#[test]
fn a_signal_hangs_up_the_call() {
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
fn an_interrupted_call_says_that_it_was_hung_up() {
    let place = Place::with(&simulated(None, 600_000));
    let running = Running::start(&mut place.command(&["call", NUMBER]));
    let log = place.path().join("state/phonegate/phonegate-tool.log");
    wait_for("the ringing", || std::fs::read_to_string(&log).ok()?.contains("ringing").then_some(()));
    running.signal("INT");
    assert_eq!(running.wait().exits(130).stdout, "Interrupted: the call was hung up.\n");
}

#[test]
fn a_closed_pipe_does_not_end_a_call() {
    let place = Place::simulated(Some("5"));
    let mut running = Running::start(&mut place.command(&["call", "--json", NUMBER]));
    running.close_stdout();
    running.close_stderr();
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
fn the_default_configuration_is_beside_the_program() {
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
fn config_and_json_work_before_and_after_the_command() {
    let (place, other) = (Place::empty(), Place::simulated(None));
    let path = other.config();
    let path = path.to_str().unwrap();
    place.run(&["--config", path, "call", NUMBER]).exits(0);
    place.run(&["call", NUMBER, "--config", path]).exits(0);
    for arguments in [["--json", "check", "--config", path], ["check", "--config", path, "--json"]] {
        place.run(&arguments).exits(0).record("checked");
    }
    let ran = place.run(&["call", "--demo", NUMBER, "--config", path]).exits(2);
    assert!(ran.stderr.contains("--demo needs no configuration"), "{}", ran.stderr);
}

#[test]
fn every_command_takes_json_and_prints_errors_as_json() {
    let place = Place::empty();
    let help = place.run(&["--help"]).exits(0).stdout;
    let list = help.split_once("Install and configure:").unwrap().1.split_once("\nOptions:").unwrap().0;
    let commands: Vec<_> = list.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    assert_eq!(commands.len(), 19, "{commands:?}");
    for command in commands {
        let help = place.run(&[command, "--help"]).exits(0).stdout;
        assert!(help.contains("--json"), "{command}: {help}");
        let error = place.run(&["--json", command, "--no-such-argument"]).exits(2).record("error");
        assert_eq!(keys(&error), ["event", "hints", "kind", "text"]);
        assert_eq!(error["kind"], "usage", "{command}");
    }
}

#[test]
fn an_error_is_followed_by_its_hints() {
    let place = Place::empty();
    let ran = place.run(&["check", "--json"]).exits(2);
    let error = ran.record("error");
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines[0], format!("error: {}", error["text"].as_str().unwrap()));
    let hints: Vec<_> = error["hints"].as_array().unwrap().iter().map(|hint| hint.as_str().unwrap()).collect();
    assert!(!hints.is_empty(), "{error}");
    assert_eq!(lines[1..], hints.iter().map(|hint| format!("hint: {hint}")).collect::<Vec<_>>());
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
fn errors_show_the_absolute_path_of_the_configuration() {
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
fn the_schema_is_printed_whole_or_exits_with_1() {
    let place = Place::empty();
    let schema: Value = serde_json::from_str(&place.run(&["schema"]).exits(0).stdout).unwrap();
    assert!(schema["properties"]["use"].is_object());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["schema"]).stdout(full).output().unwrap();
    assert!(Ran::from(output).exits(1).stderr.contains("cannot write the schema"));
}
