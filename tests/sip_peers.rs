//! Calls over a SIP trunk to baresip, a second SIP implementation: codecs, transports, encryption.

mod support;

use std::path::Path;

use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::baresip::Phone;
use support::gate::{TestGate, id};
use support::sip::{NUMBER, config};

const USER: &str = "+14255551212";

fn gate(trunk: Value, ca_file: Option<&Path>) -> TestGate {
    let mut config = config(trunk, 60);
    if let Some(ca_file) = ca_file {
        config["network"] = json!({ "ca_file": ca_file });
    }
    TestGate::start(config)
}

/// Places a call, and presses the pound key once it is established. Returns the failure, if any.
fn call(gate: &TestGate, phone: &Phone) -> Option<(FailureReason, String)> {
    gate.initiate(id(1), NUMBER);
    let seen = |event: &str| gate.log().iter().any(|line| line["event"] == event);
    support::wait_until("it is answered or fails", || seen("answered") || seen("failed"));
    if seen("answered") {
        support::wait_until("baresip has the call", || phone.log().contains("Call established"));
        phone.press_until("#", || gate.status(id(1)) != CallStatus::Pending);
    }
    let text = gate.ends(id(1)).1;
    gate.snapshot(id(1)).failure.map(|failure| (failure.reason(), text))
}

#[test]
fn a_second_implementation_verifies_over_each_codec_and_transport() {
    for (transport, codec) in [("udp", "PCMU"), ("udp", "PCMA"), ("tcp", "PCMA")] {
        let phone = Phone::start(USER, &format!("audio_codecs={codec}/8000/1"));
        let gate = gate(json!({ "type": "sip", "trunk": phone.uri(transport) }), None);
        assert_eq!(call(&gate, &phone), None, "{transport} {codec}: {}", phone.log());
        gate.end();
        assert!(phone.log().contains(&format!("Set audio encoder: {codec}")), "{}", phone.log());
    }
}

/// The prompt of the tests is a tone of half a second at 400 Hz, and one of a tenth at 900 and at 1,000 Hz each.
#[test]
fn baresip_records_the_prompt() {
    let phone = Phone::start(USER, "audio_codecs=PCMU/8000/1");
    let gate = gate(json!({ "type": "sip", "trunk": phone.uri("udp") }), None);
    gate.initiate(id(1), NUMBER);
    assert!(gate.ends(id(1)).1.contains("NoKeyPressed"));
    gate.end();
    let heard = phone.heard();
    // By the count of zero crossings: of 400 Hz there are 16 in 160 samples, of 800 Hz (goodbye) there are 32.
    let frequency = |frame: &[i16]| frame.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    let loud = |frame: &&[i16]| frame.iter().any(|sample| sample.abs() > 1000);
    let frames: Vec<usize> = heard.chunks(160).filter(loud).map(frequency).collect();
    let like = |crossings: usize| frames.iter().filter(|frame| frame.abs_diff(crossings) <= 1).count();
    assert!((23..=27).contains(&like(16)), "intro, of 25 frames, which a repeat leaves out: {frames:?}");
    assert!((8..=12).contains(&like(36)), "press_pound, of 5 frames, twice: {frames:?}");
    assert!((4..=6).contains(&like(40)), "not_you, of 5 frames, once: {frames:?}");
    assert!((22..=28).contains(&like(32)), "one goodbye of 25 frames: {frames:?}");
}

#[test]
fn over_tls_the_audio_is_encrypted_and_the_key_arrives() {
    let phone = Phone::start(USER, "mediaenc=srtp-mand;audio_codecs=PCMU/8000/1");
    // The trunk's own `ca_file` replaces that of `network`.
    let trunk = json!({ "type": "sip", "trunk": phone.uri("tls"), "ca_file": phone.authority() });
    let gate = gate(trunk, Some(Path::new("nowhere.pem")));
    assert_eq!(call(&gate, &phone), None, "{}", phone.log());
    gate.end();
    assert!(phone.log().contains("AES_CM_128_HMAC_SHA1_80"), "{}", phone.log());
}

#[test]
fn required_encryption_fails_and_optional_works_without_srtp() {
    for (encryption, mediaenc, verified) in
        [("optional", "mediaenc=srtp;", true), ("optional", "", true), ("required", "", false)]
    {
        let phone = Phone::start(USER, &format!("{mediaenc}audio_codecs=PCMU/8000/1"));
        let trunk = json!({ "type": "sip", "trunk": phone.uri("tls"), "media_encryption": encryption });
        let gate = gate(trunk, Some(&phone.authority()));
        let failure = call(&gate, &phone);
        assert_eq!(failure.is_none(), verified, "{encryption} {mediaenc}: {failure:?} {}", phone.log());
        gate.end();
    }
}

#[test]
fn an_unknown_authority_or_name_is_reported() {
    let phone = Phone::start(USER, "");
    let trunk = json!({ "type": "sip", "trunk": phone.uri("tls") });
    let (reason, text) = call(&gate(trunk, None), &phone).unwrap();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!(text.contains("TLS: ") && text.contains("certificate"), "{text}");

    let trunk = json!({ "type": "sip", "trunk": phone.uri("tls").replace("localhost", "127.0.0.2") });
    let (reason, _) = call(&gate(trunk, Some(&phone.authority())), &phone).unwrap();
    assert_eq!(reason, FailureReason::CannotPlace);
}

#[test]
fn check_reports_whether_the_trunk_responds() {
    let phone = Phone::start(USER, "");
    let alive = gate(json!({ "type": "sip", "trunk": phone.uri("tcp") }), None);
    let words = alive.gate().check().remove(0).1.unwrap();
    assert!(words.contains("over tcp"), "{words}");
    let closed = format!("sip:{};transport=tcp", support::ports::unused_address());
    let dead = gate(json!({ "type": "sip", "trunk": closed }), None);
    let failure = dead.gate().check().remove(0).1.unwrap_err();
    assert_eq!(failure.reason(), FailureReason::CannotPlace);
}
