//! Probes of servers with OPTIONS.

#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use phonegate_sip::agent::{AgentError, Event, ProbeId, ProbeResult};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::{Message, Method};
use wire::{Wire, seconds, value};

const URI: &str = "sip:trunk.example.com";

fn probe(wire: &mut Wire, timeout: Duration) -> (ProbeId, Message) {
    let id = wire.agent.probe(wire.now, wire.flow, URI, timeout, None).unwrap();
    (id, wire.sent_one())
}

fn result(wire: &mut Wire) -> Option<(ProbeId, ProbeResult)> {
    let mut events = wire.events();
    assert!(events.len() <= 1, "a probe has one result: {events:?}");
    match events.pop()? {
        Event::Probe(id, result) => Some((id, result)),
        other => panic!("{other:?} is no result"),
    }
}

#[test]
fn probe_is_an_options_of_its_own() {
    let mut wire = Wire::udp();
    let (_, one) = probe(&mut wire, seconds(2));
    let (_, other) = probe(&mut wire, seconds(2));
    assert_eq!((one.method(), one.request_uri_bytes()), (Some(&Method::Options), Some(URI.as_bytes())));
    assert_eq!((value(&one, "CSeq"), value(&one, "Max-Forwards")), ("1 OPTIONS".into(), "70".into()));
    assert_eq!(value(&one, "To"), format!("<{URI}>"));
    for name in ["Via", "From", "Call-ID"] {
        assert_ne!(value(&one, name), value(&other, name), "{name}");
    }
}

/// Any final response means that the server is alive. A provisional response is not enough.
#[test]
fn any_final_response_is_a_sign_of_life() {
    for status in [200, 302, 401, 404, 405, 483, 501, 503, 603, 699] {
        for mut wire in [Wire::udp(), Wire::tcp()] {
            let (id, options) = probe(&mut wire, seconds(2));
            wire.reply(&options, 100, "", "");
            assert_eq!(result(&mut wire), None);
            wire.reply(&options, status, "", "");
            assert_eq!(result(&mut wire), Some((id, ProbeResult::Responded(status))));
            wire.reply(&options, 200, "", "");
            assert_eq!(result(&mut wire), None, "a second response changes nothing");
            assert!(wire.run_out().is_empty());
            wire.assert_empty();
        }
    }
}

/// The result is reported after the given timeout, and after 32 s at the latest.
#[test]
fn silent_server_is_reported_in_time() {
    for (timeout, at) in [(0, 0), (300, 300), (2_000, 2_000), (32_000, 32_000), (3_600_000, 32_000)] {
        let mut wire = Wire::udp();
        let (id, options) = probe(&mut wire, Duration::from_millis(timeout));
        if let Some(before) = Duration::from_millis(at).checked_sub(Duration::from_millis(1)) {
            wire.run(before);
            assert_eq!(result(&mut wire), None);
        }
        wire.run(Duration::from_millis(1));
        assert_eq!(result(&mut wire), Some((id, ProbeResult::NoResponse)), "timeout of {timeout} ms");
        wire.reply(&options, 200, "", "");
        assert_eq!(result(&mut wire), None, "a late response changes nothing");
        wire.assert_empty();
    }
}

#[test]
fn greatest_timeout_is_bounded() {
    let mut wire = Wire::tcp();
    let (id, _) = probe(&mut wire, Duration::MAX);
    wire.run(seconds(32));
    assert_eq!(result(&mut wire), Some((id, ProbeResult::NoResponse)));
}

#[test]
fn closed_flow_ends_the_probe_at_once() {
    for mut wire in [Wire::udp(), Wire::tcp()] {
        let (id, _) = probe(&mut wire, seconds(2));
        wire.agent.close_flow(wire.now, wire.flow);
        assert_eq!(result(&mut wire), Some((id, ProbeResult::NoResponse)));
        wire.assert_empty();
        assert_eq!(wire.agent.probe(wire.now, wire.flow, URI, seconds(2), None), Err(AgentError::UnknownFlow));
    }
}

/// Bytes that could not be sent end the probe, unless it was repeated since.
#[test]
fn unsent_probe_ends_at_once() {
    let mut wire = Wire::udp();
    let id = wire.agent.probe(wire.now, wire.flow, URI, seconds(9), None).unwrap();
    let transmit = wire.transmits().remove(0);
    wire.agent.handle_send_failure(wire.now, transmit.id);
    assert_eq!(result(&mut wire), Some((id, ProbeResult::NoResponse)));
    wire.agent.probe(wire.now, wire.flow, URI, seconds(9), None).unwrap();
    let transmit = wire.transmits().remove(0);
    wire.run(seconds(1));
    wire.agent.handle_send_failure(wire.now, transmit.id);
    assert_eq!(result(&mut wire), None);
}

/// The number of probes is bounded, and those that have ended make room.
#[test]
fn probes_are_bounded() {
    let mut wire = Wire::udp();
    for _ in 0..256 {
        probe(&mut wire, seconds(1));
    }
    assert_eq!(wire.agent.probe(wire.now, wire.flow, URI, seconds(1), None), Err(AgentError::TooMany("probes")));
    wire.run(seconds(1));
    assert_eq!(wire.events().len(), 256);
    probe(&mut wire, seconds(1));
}

#[test]
fn uri_that_cannot_be_used_is_rejected() {
    let mut wire = Wire::udp();
    for uri in ["", "sip:", "tel:+1", "trunk.example.com", "sip:0.0.0.0", "sip:[::]", "sip:a\r\nb", "sip:a b"] {
        let rejected = wire.agent.probe(wire.now, wire.flow, uri, seconds(1), None);
        assert!(matches!(rejected, Err(AgentError::Unusable(_))), "{uri:?}");
    }
    wire.assert_empty();
}

/// With the right password the OPTIONS is accepted, with a wrong one its challenge is the result.
#[test]
fn challenge_of_a_probe_is_answered() {
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", algorithm=SHA-256, qop=\"auth\"\r\n";
    for (has_credentials, second, expected) in [(true, 200, 200), (true, 401, 401), (false, 0, 401)] {
        let mut wire = Wire::udp();
        let credentials = Credentials::new("gate", "made-up").ok().filter(|_| has_credentials);
        let id = wire.agent.probe(wire.now, wire.flow, URI, seconds(2), credentials).unwrap();
        let first = wire.sent_one();
        wire.reply(&first, 401, challenge, "");
        if has_credentials {
            let again = wire.sent_one();
            assert!(value(&again, "Authorization").contains("algorithm=SHA-256"));
            assert_eq!(again.cseq().unwrap().number, 2);
            wire.reply(&again, second, challenge, "");
        }
        assert_eq!(wire.events(), [Event::Probe(id, ProbeResult::Responded(expected))]);
        wire.assert_empty();
    }
}
