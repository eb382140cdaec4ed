//! The method `code`: only the digits that this call spoke approve it.

mod support;

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::backend::TestBackend;
use support::gate::{TestGate, id};
use support::handset::Handset;
use support::sip::{NUMBER, config};
use support::sipp::Callee;

/// A gate with the method `code`.
fn gate(callee: &Callee, approval: Value) -> TestGate {
    let mut config = config(callee.trunk(), 60);
    config["approval"] = approval;
    TestGate::start(config)
}

/// Ends a call. `None` if it was verified.
fn ends(gate: &TestGate, callee: Callee) -> Option<FailureReason> {
    gate.ends(id(1));
    let reason = gate.snapshot(id(1)).failure.map(|failure| failure.reason());
    gate.end();
    callee.finish();
    reason
}

#[test]
fn the_spoken_code_approves() {
    for digits in 1..=4 {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee("0 101");
        let gate = gate(&callee, json!({ "method": "code", "code_digits": digits }));
        gate.initiate(id(1), NUMBER);
        let first = handset.hear_speech();
        let code = handset.hear_code(digits);
        assert!(!code.contains('0'), "the fraud key is in no code: {code}");
        for key in code.chars().chain(['#']) {
            handset.press(first.from, key);
        }
        assert_eq!(ends(&gate, callee), None, "{code}");
    }
}

#[test]
fn a_pound_key_or_another_code_never_approves() {
    for keys in ["#", "1234#"] {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee("0 101");
        let gate = gate(&callee, json!({ "method": "code" }));
        gate.initiate(id(1), NUMBER);
        let first = handset.hear_speech();
        for _ in 0..2 {
            handset.hear_code(3);
            keys.chars().for_each(|key| handset.press(first.from, key));
        }
        assert_eq!(ends(&gate, callee), Some(FailureReason::WrongKey), "{keys}");
    }
}

#[test]
fn the_fraud_key_reports_before_any_digit_is_spoken() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let gate = gate(&callee, json!({ "method": "code" }));
    gate.initiate(id(1), NUMBER);
    let first = handset.hear_speech();
    ['0', '#'].into_iter().for_each(|key| handset.press(first.from, key));
    assert_eq!(ends(&gate, callee), Some(FailureReason::FraudReported));
}

/// The greeting of a mailbox starts at the 2xx.
#[test]
fn a_recording_of_pound_keys_never_approves() {
    for method in ["code", "pound"] {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee("0 101");
        let gate = gate(&callee, json!({ "method": method }));
        gate.initiate(id(1), NUMBER);
        let first = handset.hear();
        while gate.status(id(1)) == phonegate::call::CallStatus::Pending {
            handset.press(first.from, '#');
            handset.wait(std::time::Duration::from_millis(100));
        }
        assert_eq!(ends(&gate, callee), Some(FailureReason::WrongKey), "{method}");
    }
}

/// A new dialogue would have all attempts again.
#[test]
fn an_interrupted_dialogue_never_starts_again() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let line = TestBackend::new(&callee.trunk());
    let reference = line.place(1, 1, NUMBER).unwrap();
    let (hears, heard) = tokio::sync::oneshot::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| hears.send(handset.hear_speech()).unwrap());
        let follow = line.backend.follow(&reference, &line.approver, &|_| {});
        line.runtime.block_on(async {
            tokio::select! {
                outcome = follow => panic!("{outcome:?}"),
                heard = heard => drop(heard.unwrap()),
            }
        });
    });
    assert_eq!(line.fails(&reference).reason(), FailureReason::Interrupted);
    line.runtime.block_on(line.backend.clean_up(&reference)).unwrap();
    callee.finish();
}

#[test]
fn no_code_is_in_the_log() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let gate = gate(&callee, json!({ "method": "code", "code_digits": 4 }));
    gate.initiate(id(1), NUMBER);
    let first = handset.hear_speech();
    let code = handset.hear_code(4);
    code.chars().chain(['#']).for_each(|key| handset.press(first.from, key));
    gate.ends(id(1));
    let log = gate.end();
    callee.finish();
    let texts: Vec<_> = log.iter().filter_map(|line| line["text"].as_str()).collect();
    // A port has five digits, and may contain the code.
    let mut numbers = texts.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_digit()));
    assert!(!numbers.any(|number| number == code), "{code} is in {texts:?}");
}
