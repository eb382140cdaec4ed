//! PINs over a SIP trunk: only the PIN of the number approves, and wrong ones lock it.

mod support;

use std::net::SocketAddr;

use audio_codec_algorithms::decode_ulaw;
use phonegate::call::FailureReason;
use rustls::version::TLS13;
use serde_json::{Value, json};
use support::calls::Calls;
use support::gate::{TestGate, id, with_test_defaults};
use support::handset::Handset;
use support::host::Host;
use support::pins::{PEPPER, approval, set};
use support::redis::Redis;
use support::sip::{NUMBER, config};
use support::sipp::{Callee, Step};
use support::tls::MutualTls;
use support::wait_until;
use tempfile::TempDir;

const PIN: &str = "739104862057";
const WRONG: &str = "739104862058";

/// A telephone for this number of calls, and what outlives a gate: the store and the settings.
struct Phone {
    handset: Handset,
    callee: Callee,
    folder: TempDir,
    approval: Value,
}

impl Phone {
    fn new(approval: Value, calls: u32) -> Self {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee_of("0 101", calls);
        Self { handset, callee, folder: tempfile::tempdir().unwrap(), approval }
    }

    fn config(&self) -> Value {
        let mut config = config(self.callee.trunk(), 60);
        config["approval"] = self.approval.clone();
        config["store"] = json!({ "type": "sqlite", "path": self.folder.path().join("calls.db") });
        config
    }

    fn gate(&self) -> TestGate {
        TestGate::start(self.config())
    }

    /// Places call `n`, in which these entries are pressed. Returns `None` if it was verified.
    fn call(&self, gate: &TestGate, n: u128, entries: &[&str]) -> Option<FailureReason> {
        gate.initiate(id(n), NUMBER);
        self.enter(entries);
        gate.ends(id(n));
        self.hear_out(gate, n);
        gate.snapshot(id(n)).failure.map(|failure| failure.reason())
    }

    fn enter(&self, entries: &[&str]) {
        let to = self.handset.hear_prompt().from;
        for (n, entry) in entries.iter().enumerate() {
            if n > 0 {
                hear_wrong_key(&self.handset);
            }
            enter(&self.handset, to, entry);
        }
    }

    /// Waits for the end of the farewell of call `n`, and discards its remaining packets.
    fn hear_out(&self, gate: &TestGate, n: u128) {
        let is_over = |line: &Value| line["event"] == "clean_up" && line["id"] == id(n).to_string();
        wait_until("the call is hung up", || gate.log().iter().any(is_over));
        self.handset.hear_out();
    }
}

/// Presses the keys of an entry, and `#`.
fn enter(handset: &Handset, to: SocketAddr, entry: &str) {
    entry.chars().chain(['#']).for_each(|key| handset.press(to, key));
}

/// Waits for the tone of `wrong_key` and what follows it: later keys are not early.
fn hear_wrong_key(handset: &Handset) {
    let is_wrong_key = |payload: &[u8]| {
        let samples: Vec<_> = payload.iter().map(|sample| decode_ulaw(*sample)).collect();
        let crossings = samples.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
        // 500 Hz, for 20 ms.
        samples.iter().any(|sample| sample.abs() > 1000) && (19..=21).contains(&crossings)
    };
    while !is_wrong_key(&handset.hear().payload) {}
    for _ in 0..75 {
        handset.hear();
    }
}

/// Requests call `n`, which is rejected without a ring. Returns the reason.
fn refused(gate: &TestGate, n: u128) -> Option<FailureReason> {
    gate.initiate(id(n), NUMBER);
    gate.ends(id(n));
    let logs = |event| gate.log().iter().any(|line| line["event"] == event && line["id"] == id(n).to_string());
    // A line about the ring would be before it.
    wait_until("the end is logged", || logs("failed"));
    assert!(!logs("placed"), "no phone rings");
    gate.snapshot(id(n)).failure.map(|failure| failure.reason())
}

/// Returns the message for the host.
fn message(gate: &TestGate, n: u128) -> String {
    gate.gate().failure_message(id(n))
}

#[test]
fn the_pin_of_the_number_approves_even_after_a_wrong_one() {
    let phone = Phone::new(approval("pin"), 3);
    let gate = phone.gate();
    set(&gate.folder().join("phonegate.json"), NUMBER, PIN);
    assert_eq!(phone.call(&gate, 1, &[PIN]), None);
    assert_eq!(phone.call(&gate, 2, &[WRONG, PIN]), None);
    assert_eq!(phone.call(&gate, 3, &[WRONG, WRONG]), Some(FailureReason::WrongKey));
    gate.end();
    phone.callee.finish();
}

#[test]
fn five_wrong_pins_lock_the_pin_in_every_process() {
    let phone = Phone::new(approval("pin"), 3);
    let gate = phone.gate();
    set(&gate.folder().join("phonegate.json"), NUMBER, PIN);
    assert_eq!(phone.call(&gate, 1, &[WRONG, WRONG]), Some(FailureReason::WrongKey));
    assert_eq!(phone.call(&gate, 2, &[WRONG, WRONG]), Some(FailureReason::WrongKey));
    assert_eq!(phone.call(&gate, 3, &[WRONG, PIN]), Some(FailureReason::PinLocked));
    assert_eq!(message(&gate, 3), "There were too many wrong PINs, so the PIN is locked. (PinLocked)");
    assert_eq!(refused(&gate, 4), Some(FailureReason::PinLocked), "the phone does not ring");
    let expected = "No call was placed: there were too many wrong PINs, so the PIN is locked. (PinLocked)";
    assert_eq!(message(&gate, 4), expected);
    gate.end();

    let mut config = phone.config();
    config["messages"] = json!("brief");
    config["numbers"] = json!({ "default_country": "US" });
    std::fs::write(phone.folder.path().join("phonegate.json"), with_test_defaults(config).to_string()).unwrap();
    let mut host = Host::start(phone.folder.path(), "00000000-0000-0000-0000-000000000005", NUMBER);
    let said = host.last_words();
    assert!(said.contains("The PIN is locked. Try again later. (PinLocked)"), "{said}");
    let listed = Calls::of(&phone.folder.path().join("phonegate.json")).records(&["pins", "list"]);
    assert!(listed[0]["locked_until"].is_string(), "the lock is listed: {listed:?}");
    phone.callee.finish();
}

#[test]
fn a_number_without_a_pin_is_not_called() {
    for (messages, expected) in [
        ("full", "No call was placed: the number has no PIN. (PinNotSet)"),
        ("brief", "No PIN is set for this phone. (PinNotSet)"),
    ] {
        let mut config = config(json!({ "type": "sip", "trunk": "sip:127.0.0.1:9" }), 60);
        config["approval"] = approval("pin");
        config["store"] = json!({ "type": "sqlite", "path": "calls.db" });
        config["messages"] = json!(messages);
        let gate = TestGate::start(config);
        // The PIN of another number does not count.
        set(&gate.folder().join("phonegate.json"), "+1 4255551313", PIN);
        assert_eq!(refused(&gate, 1), Some(FailureReason::PinNotSet));
        assert_eq!(message(&gate, 1), expected);
        gate.end();
    }
}

#[test]
fn a_pin_that_is_removed_during_the_call_never_approves() {
    let phone = Phone::new(approval("pin"), 1);
    let gate = phone.gate();
    let config = gate.folder().join("phonegate.json");
    set(&config, NUMBER, PIN);
    gate.initiate(id(1), NUMBER);
    let to = phone.handset.hear_prompt().from;
    assert_eq!(Calls::of(&config).records(&["pins", "reset", NUMBER]).len(), 1);
    enter(&phone.handset, to, PIN);
    gate.ends(id(1));
    assert_eq!(message(&gate, 1), "The number has no PIN. (PinNotSet)");
    gate.end();
    phone.callee.finish();
}

#[test]
fn a_wrong_code_after_the_right_pin_counts_against_the_pin() {
    let mut settings = approval("pin_and_code");
    settings["pin"]["max_failures"] = json!(2);
    let phone = Phone::new(settings, 2);
    let gate = phone.gate();
    set(&gate.folder().join("phonegate.json"), NUMBER, PIN);
    let call = |n, is_right: &[bool]| {
        gate.initiate(id(n), NUMBER);
        let to = phone.handset.hear_speech().from;
        for is_right in is_right {
            let code = phone.handset.hear_code(3);
            // No code has a digit twice in a row.
            let entered = if *is_right { code } else { code[..1].repeat(3) };
            enter(&phone.handset, to, &format!("{PIN}{entered}"));
        }
        gate.ends(id(n));
        phone.hear_out(&gate, n);
        gate.snapshot(id(n)).failure.map(|failure| failure.reason())
    };
    assert_eq!(call(1, &[false, true]), None, "one failure is forgiven");
    assert_eq!(call(2, &[false, false]), Some(FailureReason::WrongKey));
    assert_eq!(refused(&gate, 3), Some(FailureReason::PinLocked));
    gate.end();
    phone.callee.finish();
}

/// Without `allow_plain_pin`.
#[test]
fn a_pin_is_accepted_over_srtp_and_tls() {
    let handset = Handset::on("127.0.0.1");
    let sdp = handset.encrypted_sdp().replace("RTP/AVP", "RTP/SAVP");
    let steps = [Step::Invite, Step::Answer(180, "Ringing", ""), Step::PickUpWith(sdp), Step::Receive("BYE")];
    let callee = Callee::over("tcp", &steps, 1);
    let (server, folder) = (MutualTls::start(callee.port, &TLS13), tempfile::tempdir().unwrap());
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = server.client();
    let trunk = json!({
        "type": "sip", "trunk": server.uri(),
        "ca_file": write("ca.pem", &server.authority),
        "client_certificate": write("client.pem", &certificate),
        "client_key": { "file": write("client.key", &key) },
    });
    let mut config = config(trunk, 60);
    config["approval"] = json!({ "method": "pin", "pin": { "pepper": PEPPER } });
    config["store"] = json!({ "type": "sqlite", "path": "calls.db" });
    let gate = TestGate::start(config);
    set(&gate.folder().join("phonegate.json"), NUMBER, PIN);
    gate.initiate(id(1), NUMBER);
    handset.encrypt(&callee);
    let to = handset.hear_prompt().from;
    enter(&handset, to, PIN);
    gate.ends(id(1));
    assert_eq!(gate.snapshot(id(1)).failure, None);
    gate.end();
    callee.finish();
}

#[test]
fn another_pepper_is_rejected_at_start() {
    let phone = Phone::new(approval("pin"), 1);
    let gate = phone.gate();
    set(&gate.folder().join("phonegate.json"), NUMBER, PIN);
    assert_eq!(phone.call(&gate, 1, &[PIN]), None);
    gate.end();
    let mut config = phone.config();
    config["approval"]["pin"]["pepper"] = json!("not-a-real-pepper-fedcba9876543210");
    let refused = TestGate::why_not(config);
    assert!(refused.contains("approval.pin.pepper: "), "the key is named: {refused}");
    assert!(refused.contains("phonegate pins"), "what to do is said: {refused}");
    assert!(!refused.contains("not-a-real-pepper"), "{refused}");
    phone.callee.finish();
}

/// The backend did not cause the failure, so it stays up.
#[test]
fn a_pin_that_the_store_cannot_check_is_denied_and_logged() {
    let redis = Redis::start();
    let phone = Phone::new(approval("pin"), 2);
    let mut config = phone.config();
    config["store"] = json!({ "type": "redis", "url": redis.url() });
    let gate = TestGate::start(config);
    set(&gate.folder().join("phonegate.json"), NUMBER, PIN);
    for n in [1, 2] {
        gate.initiate(id(n), NUMBER);
        let to = phone.handset.hear_prompt().from;
        redis.pause();
        enter(&phone.handset, to, PIN);
        let events = |log: Vec<Value>| log.iter().filter(|line| line["event"] == "pin_not_checked").count();
        wait_until("the check has failed", || events(gate.log()) == n as usize);
        redis.resume();
        let (_, text) = gate.ends(id(n));
        let expected =
            "The PIN could not be checked; the line `pin_not_checked` of the log has the cause. (Interrupted)";
        assert_eq!(text, expected);
        phone.hear_out(&gate, n);
    }
    let log = gate.end();
    let line = log.iter().find(|line| line["event"] == "pin_not_checked").unwrap();
    assert_eq!(line["level"], "warn", "{line}");
    assert!(line["text"].as_str().unwrap().contains("Redis"), "the store is named: {line}");
    assert!(!line.to_string().contains("425555") && !line.to_string().contains(&PIN[..4]), "{line}");
    assert!(!log.iter().any(|line| line["event"] == "backend_down" && line["backend"] == "trunk"), "{log:#?}");
    phone.callee.finish();
}
