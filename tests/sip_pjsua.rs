//! Calls over a SIP trunk to pjsua2: hold, reliable responses, session timers, encryption, redirects, registration.

mod support;

use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::gate::{TestGate, id};
use support::kamailio::{PASSWORD, Proxy};
use support::pjsua::Phone;
use support::ports::unused_address;
use support::sip::{NUMBER, config, ending};

const USER: &str = "+14255551212";

/// Starts a call, and waits until both sides have established it.
fn answered(gate: &TestGate, phone: &Phone) {
    gate.initiate(id(1), NUMBER);
    confirmed(gate, phone);
}

fn confirmed(gate: &TestGate, phone: &Phone) {
    support::wait_until("the call is answered", || {
        let failure = gate.snapshot(id(1)).failure;
        assert!(failure.is_none(), "{failure:?} {}", phone.log());
        phone.has("state", &json!({ "state": "CONFIRMED" })) && phone.has("media", &json!({ "state": "active" }))
    });
}

/// Presses the key that verifies, and ends the gate. pjsua has then received BYE.
fn verified(gate: &TestGate, phone: &mut Phone) {
    phone.press_until("#", || gate.status(id(1)) != CallStatus::Pending);
    assert_eq!(gate.ends(id(1)).1, "", "{}", phone.log());
    gate.end();
    assert!(phone.received_audio(), "pjsua heard us: {}", phone.log());
    assert_eq!(phone.received("BYE"), 1, "{}", phone.log());
}

/// A gate whose prompts leave time for what happens within the call: PhoneGate's own, repeated ten times.
fn patient_gate(trunk: Value) -> TestGate {
    let mut config = config(trunk, 120);
    config["prompts"] = json!({ "repeat": 10 });
    TestGate::start(config)
}

/// A telephone with these settings, and such a gate, which supports PRACK.
fn patient(settings: &Value) -> (Phone, TestGate) {
    let phone = Phone::start(USER, settings);
    let mut trunk = trunk(&phone, "udp");
    trunk["support_prack"] = json!(true);
    (phone, patient_gate(trunk))
}

fn trunk(phone: &Phone, transport: &str) -> Value {
    json!({ "type": "sip", "trunk": phone.uri(transport) })
}

#[test]
fn a_key_of_pjsua_verifies_over_udp_and_tcp() {
    for (transport, ring) in [("udp", 180), ("tcp", 183)] {
        let mut phone = Phone::start(USER, &json!({ "ring": ring }));
        let gate = TestGate::start(config(trunk(&phone, transport), 60));
        answered(&gate, &phone);
        verified(&gate, &mut phone);
        let log = phone.log();
        assert!(log.contains(&format!("Response msg {ring}/INVITE")), "{log}");
        assert!(log.contains("#0 audio PCMU @8kHz, sendrecv"), "{log}");
    }
}

#[test]
fn a_held_call_resumes_and_its_key_verifies() {
    for (hold, resume, method) in [("hold", "resume", "INVITE"), ("sendonly by UPDATE", "sendrecv by UPDATE", "UPDATE")]
    {
        let (mut phone, gate) = patient(&json!({}));
        answered(&gate, &phone);
        phone.offer(hold, "local hold");
        phone.offer(resume, "active");
        verified(&gate, &mut phone);
        let log = phone.log();
        assert_eq!(phone.sent(method), 2, "{log}");
        assert!(log.contains("a=sendonly") && log.contains("a=recvonly"), "{log}");
    }
}

/// The offer of this side is in the 200, and the SDP answer in the ACK.
#[test]
fn a_re_invite_of_pjsua_without_sdp_verifies() {
    let (mut phone, gate) = patient(&json!({}));
    answered(&gate, &phone);
    phone.offer("ask for an offer", "active");
    verified(&gate, &mut phone);
    let log = phone.log();
    assert_eq!(phone.sent("INVITE"), 1, "{log}");
    let sent = |method: &str| {
        let request = format!("Request msg {method}/");
        // The first line names the message; what pjsua logs before its next message may name another one.
        let is_sent = |message: &&str| message.lines().next().is_some_and(|line| line.contains(&request));
        let message = log.split(".TX ").find(is_sent);
        message.and_then(|message| message.split("--end msg--").next())
    };
    let has_description = |message: Option<&str>| message.is_some_and(|message| message.contains("m=audio"));
    assert_eq!((has_description(sent("INVITE")), has_description(sent("ACK"))), (false, true), "{log}");
}

#[test]
fn a_reliable_response_of_pjsua_is_acknowledged_by_prack() {
    for ring in [180, 183] {
        let (mut phone, gate) = patient(&json!({ "ring": ring, "reliable": true }));
        answered(&gate, &phone);
        verified(&gate, &mut phone);
        let log = phone.log();
        assert!(log.contains(&format!("Response msg {ring}/INVITE")) && log.contains("Require: 100rel"), "{log}");
        assert!(log.contains("Response msg 200/PRACK"), "{log}");
        assert_eq!(phone.received("PRACK"), 1, "{log}");
    }
}

#[test]
fn pjsua_that_requires_prack_does_not_ring_without_it() {
    let phone = Phone::start(USER, &json!({ "reliable": true }));
    let gate = TestGate::start(config(trunk(&phone, "udp"), 60));
    let (reason, text) = ending(&gate).expect("pjsua refuses");
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!(text.contains("set `support_prack`"), "{text}");
    gate.end();
    assert!(phone.log().contains("Response msg 421/INVITE"), "{}", phone.log());
    assert!(!phone.has("state", &json!({ "state": "EARLY" })), "{}", phone.log());
}

/// RFC 3311: after a reliable response with the SDP answer, the callee may make an offer before its 2xx.
#[test]
fn an_early_offer_of_pjsua_is_accepted() {
    let (mut phone, gate) = patient(&json!({ "ring": 183, "reliable": true, "answers": false }));
    gate.initiate(id(1), NUMBER);
    support::wait_until("pjsua rings", || phone.log().contains("Response msg 200/PRACK"));
    phone.offer("sendrecv by UPDATE", "active");
    // If the 2xx overtakes the response to the offer, that is a 491.
    support::wait_until("the offer is answered", || phone.log().contains("Response msg 200/UPDATE"));
    phone.command("answer");
    confirmed(&gate, &phone);
    verified(&gate, &mut phone);
    let log = phone.log();
    assert_eq!(phone.sent("UPDATE"), 1, "{log}");
}

/// pjsua is the refresher, and would end the call without agreement.
#[test]
fn a_session_timer_is_negotiated_with_pjsua() {
    let (mut phone, gate) = patient(&json!({ "timer": true }));
    answered(&gate, &phone);
    verified(&gate, &mut phone);
    assert!(phone.log().contains("Session-Expires: 90;refresher=uas"), "{}", phone.log());
}

/// It comes after 45 s, half of the shortest interval of RFC 4028.
#[test]
fn a_session_that_pjsua_refreshes_verifies_long() {
    let (mut phone, gate) = patient(&json!({ "timer": true }));
    answered(&gate, &phone);
    support::wait_until("the session is refreshed", || phone.log().contains("Response msg 200/UPDATE"));
    verified(&gate, &mut phone);
    assert_eq!(phone.sent("UPDATE"), 1, "{}", phone.log());
}

#[test]
fn audio_with_pjsua_is_encrypted_by_sdes_over_tls() {
    let mut phone = Phone::start(USER, &json!({ "srtp": true }));
    let mut trunk = trunk(&phone, "tls");
    trunk["ca_file"] = json!(phone.authority());
    let gate = patient_gate(trunk);
    answered(&gate, &phone);
    phone.offer("hold", "local hold");
    phone.offer("resume", "active");
    verified(&gate, &mut phone);
    let log = phone.log();
    assert!(log.contains("SRTP started, keying=SDES, crypto=AES_CM_128_HMAC_SHA1_80"), "{log}");
    assert!(log.contains("SRTP status: Active"), "{log}");
}

/// Two telephones at one host: the first redirects each call to a number at the second.
fn redirected(number: &str) -> (Phone, Phone, TestGate) {
    let phone = Phone::start(USER, &json!({}));
    let target = format!("sip:{number}@127.0.0.1:{}", phone.port());
    let redirecting = Phone::start(USER, &json!({ "redirect": target }));
    let gate = TestGate::start(config(trunk(&redirecting, "udp"), 60));
    (redirecting, phone, gate)
}

#[test]
fn a_redirection_of_pjsua_to_the_same_number_is_followed() {
    let (redirecting, mut phone, gate) = redirected(USER);
    answered(&gate, &phone);
    verified(&gate, &mut phone);
    assert!(redirecting.log().contains("Response msg 302/INVITE"), "{}", redirecting.log());
    assert_eq!((redirecting.received("INVITE"), phone.received("INVITE")), (1, 1), "{}", phone.log());
}

#[test]
fn a_redirection_of_pjsua_to_another_number_is_not_followed() {
    let (redirecting, phone, gate) = redirected("+14255550100");
    let (reason, text) = ending(&gate).expect("the other number is not called");
    assert_eq!(reason, FailureReason::CannotPlace, "{text}");
    assert!(text.contains("another number"), "{text}");
    gate.end();
    assert!(redirecting.log().contains("Response msg 302/INVITE"), "{}", redirecting.log());
    assert_eq!((redirecting.received("INVITE"), phone.received("INVITE")), (1, 0), "{}", phone.log());
}

/// A telephone that is registered at a proxy.
fn registered(proxy: &Proxy, settings: &Value) -> Phone {
    let mut account = json!({ "registrar": proxy.uri("udp"), "user": "user", "password": PASSWORD });
    account.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let phone = Phone::start(USER, &account);
    support::wait_until("pjsua is registered", || phone.has("registered", &json!({ "code": 200 })));
    phone
}

/// A trunk that registers at the proxy too.
fn registering(proxy: &Proxy) -> Value {
    json!({
        "type": "sip",
        "trunk": proxy.uri("udp"),
        "username": "mim",
        "password": PASSWORD,
        "register": true,
        "support_prack": true,
    })
}

/// PhoneGate and the telephone are both clients of one registrar.
#[test]
fn a_registered_pjsua_is_called_through_its_registrar() {
    for algorithm in ["MD5", "SHA-256"] {
        let proxy = Proxy::start(algorithm, unused_address().port());
        let mut phone = registered(&proxy, &json!({}));
        let gate = TestGate::start(config(registering(&proxy), 60));
        support::wait_until("we are registered", || proxy.log().contains("AUTHENTICATED REGISTER mim"));
        answered(&gate, &phone);
        verified(&gate, &mut phone);
        let log = proxy.log();
        assert!(log.contains("AUTHENTICATED REGISTER user"), "{log}");
        assert!(log.contains(&format!("LOCATED sip:{USER}@127.0.0.1:{}", phone.port())), "{log}");
    }
}

/// The proxy forks the call. Each telephone rings reliably with its own SDP answer, and one makes another offer.
#[test]
fn of_two_ringing_telephones_the_established_one_decides() {
    let proxy = Proxy::start("MD5", unused_address().port());
    let rings = json!({ "ring": 183, "reliable": true, "answers": false });
    let (mut phone, mut other) = (registered(&proxy, &rings), registered(&proxy, &rings));
    let gate = patient_gate(registering(&proxy));
    gate.initiate(id(1), NUMBER);
    for phone in [&phone, &other] {
        support::wait_until("both ring", || phone.log().contains("Response msg 200/PRACK"));
    }
    other.offer("sendrecv by UPDATE", "active");
    phone.command("answer");
    confirmed(&gate, &phone);
    support::wait_until("the other stops ringing", || other.has("state", &json!({ "state": "DISCONNECTED" })));
    verified(&gate, &mut phone);
    assert_eq!((other.received("CANCEL"), phone.received("CANCEL")), (1, 0), "{}", other.log());
    assert_eq!((other.received("PRACK"), phone.received("PRACK")), (1, 1), "{}", other.log());
}
