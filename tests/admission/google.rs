//! Compares how PhoneGate reads numbers with Google's own implementation in Python (`phonenumbers`). Both must have the
//! same numbering data, so that only the reading differs.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use phonegate::call::FailureReason;
use rlibphonenumber::{PHONE_NUMBER_UTIL, Region};

use super::{admission, support};

/// What `tests/admission/google.py` prints, without its first line.
fn google(what: &str) -> String {
    let packages = support::target_folder().join("tools/phonenumbers-9.0.42");
    let mut python = Command::new("python3");
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/admission/google.py")).arg(what);
    let output = python.env("PYTHONPATH", &packages).output().expect("this test needs Python: apt-get install python3");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "this test needs `scripts/install-tools test`: {problem}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (version, rest) = text.split_once('\n').unwrap();
    assert_eq!(version, "version\t9.0.42", "another version may have other numbering data");
    rest.to_owned()
}

/// PhoneGate never reads another number than Google. Numbers that it refuses although Google reads them are listed with
/// their reasons.
#[test]
fn example_numbers_are_read_as_google_reads_them() {
    let mut refused = BTreeSet::new();
    let (mut wrong, mut same) = (String::new(), 0);
    for line in google("numbers").lines() {
        let [region, example, spelling, country, text, e164, kind] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        // Countries that share a code share numbers.
        let own: Region = region.parse().unwrap();
        let code = PHONE_NUMBER_UTIL.get_country_code_for_region(own).unwrap();
        let allowed = PHONE_NUMBER_UTIL.get_regions_for_country_calling_code(code).unwrap();
        let allowed: Vec<_> = allowed.map(|region| region.to_string()).collect();
        let rules = admission(&format!(r#"{{ "default_country": "{country}", "allowed_countries": {allowed:?} }}"#));
        match rules.examine(text) {
            Ok(reading) if (reading.number.e164(), reading.kind.name()) == (e164, kind) => same += 1,
            Ok(reading) => {
                writeln!(wrong, "{line}: {} {}", reading.number.e164(), reading.kind.name()).unwrap();
            }
            Err(_) if e164.is_empty() => same += 1,
            Err(failure) => {
                assert_eq!(failure.reason(), FailureReason::InvalidNumber, "{line}");
                let why = if failure.text().contains(" can be ") { "ambiguous" } else { "invalid" };
                refused.insert(format!("{why} {spelling} {region} {example}"));
            }
        }
    }
    assert_eq!(wrong, "", "read as another number or type than Google reads");
    assert!(same > 7_000, "only {same} examples");
    let listed: BTreeSet<_> = include_str!("refused.txt").lines().filter(|line| !line.starts_with('#')).collect();
    let refused: BTreeSet<_> = refused.iter().map(String::as_str).collect();
    let only = |these: &BTreeSet<&str>, those: &BTreeSet<&str>| {
        these.difference(those).copied().collect::<Vec<_>>().join("\n")
    };
    assert_eq!(only(&refused, &listed), "", "refused, but not listed in tests/admission/refused.txt");
    assert_eq!(only(&listed, &refused), "", "listed in tests/admission/refused.txt, but not refused");
}

#[test]
fn emergency_numbers_are_those_that_google_has() {
    assert_eq!(google("emergency"), include_str!("../../src/admission/emergency.txt"));
}
