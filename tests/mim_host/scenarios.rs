//! The scenarios of the shim on every system. `test_all!(Mim::on_linux)` defines a test for each of them.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::Mim;
use super::Numbers::{self, Listed, Others};
use crate::support::project_folder;

/// Creates the host of a scenario.
type On = fn(Numbers) -> Mim;

macro_rules! test_all {
    ($on:expr) => {
        crate::mim_host::scenarios::test_all!($on;
            load_from_serves_sixty_four_calls_by_one_instance
            load_from_serves_sixty_four_calls_by_an_instance_each
            load_file_serves_sixty_four_calls_by_one_instance
            load_file_serves_sixty_four_calls_by_an_instance_each
            a_contract_with_other_numbers_gets_the_same_statuses
            a_host_can_exit_at_once_while_calls_ring
            bad_inputs_are_explained_and_never_verified
            an_unreadable_configuration_fails_closed_with_a_text
            the_assembly_has_one_type_and_is_for_clr_2
            statuses_match_the_header_and_unknown_ones_are_failed
            a_missing_library_fails_closed_and_names_its_path
            a_library_that_appears_later_needs_no_restart
            only_the_library_in_the_shims_folder_is_loaded
            a_shim_in_memory_loads_the_library_beside_the_program
            a_library_of_another_version_fails_closed_with_a_hint
            a_library_without_a_function_fails_closed_with_a_hint
            a_32_bit_library_fails_closed_with_a_text
            a_long_failure_message_arrives_whole
            a_huge_failure_message_is_cut_between_characters
            delivery_attributes_reach_the_library_as_json
            malformed_text_reaches_the_library_as_invalid_utf_8
        );
    };
    ($on:expr; $($scenario:ident)*) => {
        $(#[test]
        fn $scenario() {
            crate::mim_host::scenarios::$scenario($on);
        })*
    };
}
pub(crate) use test_all;

/// Number of calls that are started at once. Every fourth is to a blocked number.
const CALLS: usize = 64;

/// A host with the real library and its simulated backend.
pub fn gate(mim: Mim, calls: usize) -> Mim {
    let library = mim.built_library();
    gate_of(mim, &library, calls)
}

pub fn gate_of(mim: Mim, library: &Path, calls: usize) -> Mim {
    let blocked: Vec<String> = (0..calls).filter(|call| is_blocked(*call)).map(number).collect();
    let configuration = json!({
        "use": ["demo"],
        "allow_test_backends": true,
        "backends": {"demo": {"type": "simulated", "answer_after_ms": 50, "press_after_ms": 50}},
        "numbers": {"default_country": "US", "blocked": blocked},
        "limits": {"calls_per_minute": 1000, "calls_per_number": 1000},
        "store": {"path": mim.path_in_host(&mim.log_folder().join("calls.db"))},
        "log": {"directory": mim.path_in_host(&mim.log_folder())},
    });
    mim.library(library).configuration(&configuration.to_string())
}

pub fn number(call: usize) -> String {
    format!("+1425555{:04}", 1000 + call)
}

fn is_blocked(call: usize) -> bool {
    call % 4 == 3
}

pub fn calls(count: usize) -> Vec<String> {
    (0..count)
        .map(|call| format!("{};{}", number(call), if is_blocked(call) { "Failed;block" } else { "Success;" }))
        .collect()
}

pub fn one_call(expected: &str) -> Vec<String> {
    vec![format!("{};{expected};", number(0))]
}

fn places_sixty_four_calls_at_once(mim: Mim, load: &str, instances: &str) {
    let run = gate(mim, CALLS).place("calls", &calls(CALLS), &["--load", load, "--instances", instances]);
    assert_eq!(run.code, Some(0));
    assert_eq!(run.of("call").len(), CALLS);
}

pub fn load_from_serves_sixty_four_calls_by_one_instance(on: On) {
    places_sixty_four_calls_at_once(on(Listed), "from", "one");
}

pub fn load_from_serves_sixty_four_calls_by_an_instance_each(on: On) {
    places_sixty_four_calls_at_once(on(Listed), "from", "each");
}

pub fn load_file_serves_sixty_four_calls_by_one_instance(on: On) {
    places_sixty_four_calls_at_once(on(Listed), "file", "one");
}

pub fn load_file_serves_sixty_four_calls_by_an_instance_each(on: On) {
    places_sixty_four_calls_at_once(on(Listed), "file", "each");
}

pub fn a_contract_with_other_numbers_gets_the_same_statuses(on: On) {
    places_sixty_four_calls_at_once(on(Others), "from", "one");
}

/// If the exit waited for the calls, the test would time out.
pub fn a_host_can_exit_at_once_while_calls_ring(on: On) {
    let rings = json!({"type": "simulated", "answer_after_ms": 600_000});
    let mim = on(Listed);
    let configuration = json!({"use": ["demo"], "allow_test_backends": true, "backends": {"demo": rings},
        "numbers": {"default_country": "US"}, "call": {"deadline_s": 600},
        "store": {"path": mim.path_in_host(&mim.log_folder().join("calls.db"))}});
    let library = mim.built_library();
    let mim = mim.library(&library).configuration(&configuration.to_string());
    let calls: Vec<String> = (0..16).map(|call| format!("{};Pending;", number(call))).collect();
    let run = mim.place("leave", &calls, &[]);
    assert_eq!(run.code, Some(0));
    assert_eq!(run.of("call").len(), 16);
}

pub fn bad_inputs_are_explained_and_never_verified(on: On) {
    let run = gate(on(Listed), 1).run(&["bad-inputs", &number(0)]);
    assert_eq!(run.code, Some(0));
    assert!(run.of("bad-input").len() > 60, "{}", run.of("bad-input").len());
}

pub fn an_unreadable_configuration_fails_closed_with_a_text(on: On) {
    let mim = gate(on(Listed), 1).configuration("{\"use\": [\"nothing\"]");
    let run = mim.place("calls", &one_call("Failed"), &[]);
    assert_eq!(run.code, Some(0));
    let (_, message) = run.only_call();
    assert!(message.contains("phonegate.json"), "{message}");
}

pub fn the_assembly_has_one_type_and_is_for_clr_2(on: On) {
    let run = on(Listed).fake(&["-DSTATUS=PHONEGATE_SUCCESS"]).place("calls", &one_call("Success"), &[]);
    let assembly = run.of("assembly");
    assert_eq!(assembly.len(), 1);
    assert_eq!(assembly[0][..2], ["v2.0.50727", "1"]);
}

/// Tests each number that a library could return.
pub fn statuses_match_the_header_and_unknown_ones_are_failed(on: On) {
    let mut mim = on(Others);
    for (native, expected) in [
        ("PHONEGATE_SUCCESS", "Success"),
        ("PHONEGATE_FAILED", "Failed"),
        ("3", "Failed"),
        ("-1", "Failed"),
        ("7", "Failed"),
        ("9", "Failed"),
        ("256", "Failed"),
    ] {
        mim = mim.fake(&[&format!("-DSTATUS={native}")]);
        assert_eq!(mim.place("calls", &one_call(expected), &[]).code, Some(0), "{native}");
    }
    let pending = mim.fake(&["-DSTATUS=PHONEGATE_PENDING"]);
    assert_eq!(pending.run(&["attributes", &number(0)]).code, Some(0));
}

pub fn a_missing_library_fails_closed_and_names_its_path(on: On) {
    let mim = on(Listed).decoy(&["-DSTATUS=PHONEGATE_SUCCESS"]);
    for load in ["from", "file"] {
        let run = mim.place("calls", &one_call("Failed"), &["--load", load]);
        assert_eq!(run.code, Some(0));
        let (_, message) = run.only_call();
        let path = mim.path_in_host(&mim.library_path());
        assert!(message.contains(&format!("{path}: there is no such file")), "{message}");
        assert_eq!(message.matches("no such file").count(), 1, "nowhere else: {message}");
        assert!(message.contains("64-bit process"), "{message}");
    }
}

pub fn a_library_that_appears_later_needs_no_restart(on: On) {
    let mim = on(Listed);
    let elsewhere = mim.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let library = mim.fake_in(&elsewhere, &["-DSTATUS=PHONEGATE_SUCCESS"]);
    let run = mim.run(&["repaired", &number(0), &mim.path_in_host(&library)]);
    assert_eq!(run.code, Some(0));
}

pub fn only_the_library_in_the_shims_folder_is_loaded(on: On) {
    let mim = on(Listed).fake(&["-DSTATUS=PHONEGATE_FAILED"]).decoy(&["-DSTATUS=PHONEGATE_SUCCESS"]);
    for load in ["from", "file"] {
        assert_eq!(mim.place("calls", &one_call("Failed"), &["--load", load]).code, Some(0));
    }
}

pub fn a_shim_in_memory_loads_the_library_beside_the_program(on: On) {
    let mim = on(Listed);
    let run = mim.place("calls", &one_call("Failed"), &["--load", "bytes"]);
    let (_, message) = run.only_call();
    let folder = mim.path_in_host(&mim.host_folder());
    assert!(message.contains(&folder), "{message}");

    mim.fake_in(&mim.host_folder(), &["-DSTATUS=PHONEGATE_SUCCESS"]);
    assert_eq!(mim.place("calls", &one_call("Success"), &["--load", "bytes"]).code, Some(0));
}

pub fn a_library_of_another_version_fails_closed_with_a_hint(on: On) {
    let run =
        on(Listed).fake(&["-DABI_VERSION=99", "-DSTATUS=PHONEGATE_SUCCESS"]).place("calls", &one_call("Failed"), &[]);
    let (status, message) = run.only_call();
    assert_eq!(status, "Failed");
    assert!(message.contains("version 99"), "{message}");
    assert!(message.contains("run install again"), "{message}");
}

pub fn a_library_without_a_function_fails_closed_with_a_hint(on: On) {
    let mut mim = on(Listed);
    for lacking in ["PhoneGateAbiVersion", "InitiateCall", "GetCallStatus", "GetFailureMessage"] {
        mim = mim.fake(&[&format!("-D{lacking}=Renamed"), "-DSTATUS=PHONEGATE_SUCCESS"]);
        let run = mim.place("calls", &one_call("Failed"), &[]);
        let (status, message) = run.only_call();
        assert_eq!(status, "Failed");
        assert!(message.contains(lacking), "{message}");
        assert!(message.contains("run install again"), "{message}");
    }
}

pub fn a_32_bit_library_fails_closed_with_a_text(on: On) {
    let mim = on(Listed).fake(&["-DSTATUS=PHONEGATE_SUCCESS"]);
    mim.spoil_bitness();
    let run = mim.place("calls", &one_call("Failed"), &[]);
    let (status, message) = run.only_call();
    assert_eq!(status, "Failed");
    assert!(["ELFCLASS32", "for processes that are not 64-bit"].iter().any(|why| message.contains(why)), "{message}");
    assert!(message.contains("64-bit process"), "{message}");
}

pub fn a_long_failure_message_arrives_whole(on: On) {
    let run = on(Listed).fake(&["-DSTATUS=PHONEGATE_FAILED", "-DMESSAGE_CHARACTERS=3000"]).place(
        "calls",
        &one_call("Failed"),
        &[],
    );
    assert_eq!(run.only_call(), ("Failed", "\u{e9}".repeat(3000).as_str()));
}

pub fn a_huge_failure_message_is_cut_between_characters(on: On) {
    let run = on(Listed).fake(&["-DSTATUS=PHONEGATE_FAILED", "-DMESSAGE_CHARACTERS=0x30000000"]).place(
        "calls",
        &one_call("Failed"),
        &[],
    );
    assert_eq!(run.only_call(), ("Failed", "\u{e9}".repeat(32_767).as_str()));
}

/// Returns what the fake library recorded in one run: the three texts of each InitiateCall.
fn recorded(on: On, status: &str, arguments: &[&str]) -> Vec<Vec<Vec<u8>>> {
    let mim = on(Listed).fake(&[&format!("-DSTATUS={status}")]);
    let record = mim.folder().join("record");
    let mim = mim.environment("FAKE_PHONEGATE_RECORD", &record);
    mim.run(arguments);
    let lines = fs::read(&record).unwrap();
    lines
        .split(|byte| *byte == b'\n')
        .map(|line| line.split(|byte| *byte == b'\t').map(<[u8]>::to_vec).collect())
        .collect()
}

pub fn delivery_attributes_reach_the_library_as_json(on: On) {
    let lines = recorded(on, "PHONEGATE_PENDING", &["attributes", "+1 4255551234X12345"]);
    let [number, id, attributes] = &lines[0][..] else { panic!("{lines:?}") };
    assert_eq!(number, b"+1 4255551234X12345");
    let id = str::from_utf8(id).unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().hyphenated().to_string(), id, "lower case, with dashes");

    let expected = fs::read_to_string(project_folder().join("tests/mim_host/attributes.json")).unwrap();
    assert_eq!(str::from_utf8(attributes).unwrap(), expected.trim_end());
    let value: serde_json::Value = serde_json::from_slice(attributes).unwrap();
    assert_eq!(value["emoji\u{1f600}"], "\u{1f600}");
    assert_eq!(value["lone\u{fffd}"], "\u{fffd}x\u{fffd}\u{fffd}\u{1f600}\u{fffd}");
}

/// A text that was cut at a NUL, or repaired, could name another number or another call.
pub fn malformed_text_reaches_the_library_as_invalid_utf_8(on: On) {
    let lines = recorded(on, "PHONEGATE_SUCCESS", &["bad-inputs", "+14255551000"]);
    let numbers: Vec<String> = lines.iter().map(|line| line[0].escape_ascii().to_string()).collect();
    for (expected, times) in [
        ("(null)", 1),
        (r"\xff", 1),
        (r"+14255551000\xff", 2),
        (r"+1425\xff5551000", 1),
        (r"\xff+14255551000", 1),
        (r"+14255551000\xef\xbf\xbd", 1),
        (r"\xf0\x9f\x98\x80", 1),
        (r"+14255551000\x7f", 1),
        (r"+14255551000\xc2\x80", 1),
        ("+14255551000", 3),
    ] {
        let count = numbers.iter().filter(|number| *number == expected).count();
        assert_eq!(count, times, "{expected}");
    }
}
