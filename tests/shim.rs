//! The C# shim, loaded and driven as Microsoft Identity Manager does, under Mono.

mod mim_host;
mod support;

use std::fs;
use std::path::Path;

use mim_host::{Mim, fake_library};
use serde_json::json;

/// So many calls, every fourth to a blocked number, are begun at once.
const CALLS: usize = 64;

/// A host with the real library and its simulated backend.
fn gate(mim: Mim, calls: usize) -> Mim {
    let blocked: Vec<String> = (0..calls).filter(|call| is_blocked(*call)).map(number).collect();
    let configuration = json!({
        "use": ["demo"],
        "allow_test_backends": true,
        "backends": {"demo": {"type": "simulated", "answer_after_ms": 50, "press_after_ms": 50, "press": "#"}},
        "numbers": {"default_country": "US", "blocked": blocked},
        "log": {"directory": mim.folder().join("log")},
    });
    mim.library(&support::built_library()).configuration(&configuration.to_string())
}

fn number(call: usize) -> String {
    format!("+1425555{:04}", 1000 + call)
}

fn is_blocked(call: usize) -> bool {
    call % 4 == 3
}

fn calls(count: usize) -> Vec<String> {
    (0..count)
        .map(|call| format!("{};{}", number(call), if is_blocked(call) { "Failed;block" } else { "Success;" }))
        .collect()
}

fn one_call(expected: &str) -> Vec<String> {
    vec![format!("{};{expected};", number(0))]
}

fn places_sixty_four_calls_at_once(mim: Mim, load: &str, instances: &str) {
    let run = gate(mim, CALLS).place("calls", &calls(CALLS), &["--load", load, "--instances", instances]);
    assert_eq!(run.code, Some(0));
    assert_eq!(run.of("call").len(), CALLS);
}

#[test]
fn load_from_and_one_instance_serve_sixty_four_calls_at_once() {
    places_sixty_four_calls_at_once(Mim::new(), "from", "one");
}

#[test]
fn load_from_and_an_instance_for_each_call_serve_sixty_four_calls_at_once() {
    places_sixty_four_calls_at_once(Mim::new(), "from", "each");
}

#[test]
fn load_file_and_one_instance_serve_sixty_four_calls_at_once() {
    places_sixty_four_calls_at_once(Mim::new(), "file", "one");
}

#[test]
fn load_file_and_an_instance_for_each_call_serve_sixty_four_calls_at_once() {
    places_sixty_four_calls_at_once(Mim::new(), "file", "each");
}

#[test]
fn a_contract_with_other_numbers_gets_the_same_statuses() {
    places_sixty_four_calls_at_once(Mim::with_other_numbers(), "from", "one");
}

#[test]
fn calls_go_on_when_one_of_two_app_domains_is_unloaded() {
    let run = gate(Mim::new(), 16).place("domains", &calls(16), &[]);
    assert_eq!(run.code, Some(0));
    assert_eq!(run.of("unloaded").len(), 1);
    assert_eq!(run.of("call").len(), 24, "both halves, and the first once more");
}

#[test]
fn insults_are_answered_and_explained_and_never_verified() {
    let run = gate(Mim::new(), 1).run(&["insults", &number(0)]);
    assert_eq!(run.code, Some(0));
    assert!(run.of("insult").len() > 60, "{}", run.of("insult").len());
}

#[test]
fn an_unreadable_configuration_fails_closed_and_is_explained() {
    let mim = gate(Mim::new(), 1).configuration("{\"use\": [\"nothing\"]");
    let run = mim.place("calls", &one_call("Failed"), &[]);
    assert_eq!(run.code, Some(0));
    let (_, message) = run.only_call();
    assert!(message.contains("phonegate.json"), "{message}");
}

#[test]
fn the_assembly_has_one_type_and_is_for_clr_2() {
    let run = Mim::new().fake(&["-DSTATUS=PHONEGATE_SUCCESS"]).place("calls", &one_call("Success"), &[]);
    let assembly = run.of("assembly");
    assert_eq!(assembly.len(), 1);
    assert_eq!(assembly[0][..2], ["v2.0.50727", "1"]);
}

/// What the shim makes of each number that a library could return.
#[test]
fn statuses_agree_with_the_header_and_an_unknown_one_is_failed() {
    for (native, expected) in [
        ("PHONEGATE_SUCCESS", "Success"),
        ("PHONEGATE_FAILED", "Failed"),
        ("3", "Failed"),
        ("-1", "Failed"),
        ("7", "Failed"),
        ("9", "Failed"),
        ("256", "Failed"),
    ] {
        let mim = Mim::with_other_numbers().fake(&[&format!("-DSTATUS={native}")]);
        assert_eq!(mim.place("calls", &one_call(expected), &[]).code, Some(0), "{native}");
    }
    let pending = Mim::with_other_numbers().fake(&["-DSTATUS=PHONEGATE_PENDING"]);
    assert_eq!(pending.run(&["attributes", &number(0)]).code, Some(0));
}

#[test]
fn a_missing_library_fails_closed_and_names_the_path_tried() {
    let mim = Mim::new();
    // Neither a search path nor the current directory may bring in another file.
    let elsewhere = mim.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fake_library(&elsewhere, &["-DSTATUS=PHONEGATE_SUCCESS"]);
    let mim = mim.environment("LD_LIBRARY_PATH", &elsewhere);
    for load in ["from", "file"] {
        let run = mim.place("calls", &one_call("Failed"), &["--load", load]);
        assert_eq!(run.code, Some(0));
        let (_, message) = run.only_call();
        let path = mim.shim_folder().join("libphonegate.so");
        assert!(message.contains(&format!("{}: there is no such file", path.display())), "{message}");
        assert!(message.contains("64-bit process"), "{message}");
    }
}

#[test]
fn a_library_that_is_put_in_place_later_needs_no_restart() {
    let mim = Mim::new();
    let elsewhere = mim.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fake_library(&elsewhere, &["-DSTATUS=PHONEGATE_SUCCESS"]);
    let run = mim.run(&["mended", &number(0), elsewhere.join("libphonegate.so").to_str().unwrap()]);
    assert_eq!(run.code, Some(0));
}

#[test]
fn a_library_elsewhere_is_never_preferred_to_the_one_beside_the_shim() {
    let mim = Mim::new().fake(&["-DSTATUS=PHONEGATE_FAILED"]);
    let elsewhere = mim.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fake_library(&elsewhere, &["-DSTATUS=PHONEGATE_SUCCESS"]);
    let mim = mim.environment("LD_LIBRARY_PATH", &elsewhere);
    for load in ["from", "file"] {
        assert_eq!(mim.place("calls", &one_call("Failed"), &["--load", load]).code, Some(0));
    }
}

#[test]
fn a_shim_that_the_host_copied_away_finds_the_library_where_it_came_from() {
    let mim = Mim::new().fake(&["-DSTATUS=PHONEGATE_SUCCESS"]);
    let cache = mim.folder().join("cache");
    let options = ["--shadow", cache.to_str().unwrap()];
    let run = mim.place("calls", &one_call("Success"), &options);
    assert_eq!(run.code, Some(0));
    assert!(Path::new(&run.of("assembly")[0][2]).starts_with(&cache), "the host did copy it");

    fs::remove_file(mim.shim_folder().join("libphonegate.so")).unwrap();
    let run = mim.place("calls", &one_call("Failed"), &options);
    let (_, message) = run.only_call();
    let copied = Path::new(&run.of("assembly")[0][2]).with_file_name("libphonegate.so");
    for path in [copied, mim.shim_folder().join("libphonegate.so")] {
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
}

#[test]
fn a_shim_read_into_memory_finds_the_library_in_the_folder_of_the_program() {
    let mim = Mim::new();
    let run = mim.place("calls", &one_call("Failed"), &["--load", "bytes"]);
    let (_, message) = run.only_call();
    assert!(message.contains(mim.host_folder().join("libphonegate.so").to_str().unwrap()), "{message}");

    fake_library(&mim.host_folder(), &["-DSTATUS=PHONEGATE_SUCCESS"]);
    assert_eq!(mim.place("calls", &one_call("Success"), &["--load", "bytes"]).code, Some(0));
}

#[test]
fn a_library_of_another_version_fails_closed_and_says_to_install_again() {
    let run =
        Mim::new().fake(&["-DABI_VERSION=99", "-DSTATUS=PHONEGATE_SUCCESS"]).place("calls", &one_call("Failed"), &[]);
    let (status, message) = run.only_call();
    assert_eq!(status, "Failed");
    assert!(message.contains("version 99"), "{message}");
    assert!(message.contains("run install again"), "{message}");
}

#[test]
fn a_library_that_lacks_a_function_fails_closed_and_is_explained() {
    for lacking in ["PhoneGateAbiVersion", "InitiateCall", "GetCallStatus", "GetFailureMessage"] {
        let mim = Mim::new().fake(&[&format!("-D{lacking}=Renamed"), "-DSTATUS=PHONEGATE_SUCCESS"]);
        let run = mim.place("calls", &one_call("Failed"), &[]);
        let (status, message) = run.only_call();
        assert_eq!(status, "Failed");
        assert!(message.contains(lacking), "{message}");
        assert!(message.contains("run install again"), "{message}");
    }
}

#[test]
fn a_library_of_the_wrong_bitness_fails_closed_and_is_told() {
    let mim = Mim::new().fake(&["-DSTATUS=PHONEGATE_SUCCESS"]);
    let path = mim.shim_folder().join("libphonegate.so");
    let mut library = fs::read(&path).unwrap();
    assert_eq!(library[4], 2, "EI_CLASS: ELFCLASS64");
    library[4] = 1;
    fs::write(&path, library).unwrap();
    let run = mim.place("calls", &one_call("Failed"), &[]);
    let (status, message) = run.only_call();
    assert_eq!(status, "Failed");
    assert!(message.contains("ELFCLASS32") && message.contains("64-bit process"), "{message}");
}

#[test]
fn a_long_failure_message_arrives_whole() {
    let run = Mim::new().fake(&["-DSTATUS=PHONEGATE_FAILED", "-DMESSAGE_CHARACTERS=3000"]).place(
        "calls",
        &one_call("Failed"),
        &[],
    );
    assert_eq!(run.only_call(), ("Failed", "\u{e9}".repeat(3000).as_str()));
}

#[test]
fn an_endless_failure_message_is_cut_between_characters() {
    let run = Mim::new().fake(&["-DSTATUS=PHONEGATE_FAILED", "-DMESSAGE_CHARACTERS=0x30000000"]).place(
        "calls",
        &one_call("Failed"),
        &[],
    );
    assert_eq!(run.only_call(), ("Failed", "\u{e9}".repeat(32_767).as_str()));
}

/// What the fake library wrote down of one run: the three texts of each InitiateCall.
fn recorded(status: &str, arguments: &[&str]) -> Vec<Vec<Vec<u8>>> {
    let mim = Mim::new().fake(&[&format!("-DSTATUS={status}")]);
    let record = mim.folder().join("record");
    let mim = mim.environment("FAKE_PHONEGATE_RECORD", &record);
    mim.run(arguments);
    let lines = fs::read(&record).unwrap();
    lines
        .split(|byte| *byte == b'\n')
        .map(|line| line.split(|byte| *byte == b'\t').map(<[u8]>::to_vec).collect())
        .collect()
}

#[test]
fn delivery_attributes_reach_the_library_as_json() {
    let lines = recorded("PHONEGATE_PENDING", &["attributes", "+1 4255551234X12345"]);
    let [number, id, attributes] = &lines[0][..] else { panic!("{lines:?}") };
    assert_eq!(number, b"+1 4255551234X12345");
    let id = str::from_utf8(id).unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().hyphenated().to_string(), id, "lower case, with dashes");

    let expected = fs::read_to_string(support::project_folder().join("tests/mim_host/attributes.json")).unwrap();
    assert_eq!(str::from_utf8(attributes).unwrap(), expected.trim_end());
    let value: serde_json::Value = serde_json::from_slice(attributes).unwrap();
    assert_eq!(value["emoji\u{1f600}"], "\u{1f600}");
    assert_eq!(value["lone\u{fffd}"], "\u{fffd}x\u{fffd}\u{fffd}\u{1f600}\u{fffd}");
}

/// A text that was cut at a NUL, or mended, could name another number or another call.
#[test]
fn text_that_is_not_unicode_or_has_a_nul_reaches_the_library_as_invalid_utf_8() {
    let lines = recorded("PHONEGATE_SUCCESS", &["insults", "+14255551000"]);
    let numbers: Vec<String> = lines.iter().map(|line| line[0].escape_ascii().to_string()).collect();
    for (expected, times) in [
        ("(null)", 1),
        (r"\xff", 1),
        (r"+14255551000\xff", 2),
        (r"+1425\xff5551000", 1),
        (r"\xff+14255551000", 1),
        (r"+14255551000\xef\xbf\xbd", 1),
        (r"\xf0\x9f\x98\x80", 1),
        ("+14255551000", 3),
    ] {
        let count = numbers.iter().filter(|number| *number == expected).count();
        assert_eq!(count, times, "{expected}");
    }
}
