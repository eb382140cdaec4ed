//! Failures of a SIP trunk after which another server or backend is tried, and those after which a phone may ring.

mod support;

use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::certificate::for_host;
use support::gate::{TestGate, id};
use support::ports::{free_port, unused_address};
use support::sip::{NUMBER, config, ending, gate};
use support::sip_server::{Reply, SipServer, redirect, status, verify};

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"\r\n";

fn server(transport: &'static str, replies: Vec<Reply>) -> SipServer {
    SipServer::start(transport, ([127, 0, 0, 1], free_port()).into(), replies)
}

/// A gate with a trunk of its own at each of these, and a simulated backend behind them.
fn gate_with_backends(trunks: &[Value], deadline_s: u64) -> TestGate {
    let mut config = config(trunks[0].clone(), deadline_s);
    let names: Vec<_> = (0..trunks.len()).map(|n| format!("trunk{n}")).collect();
    config["backends"] = names.iter().cloned().zip(trunks.iter().cloned()).collect::<serde_json::Map<_, _>>().into();
    config["use"] = json!(names);
    TestGate::start(config)
}

/// What the first server does, whether the next server of the same backend is rung then, and whether another backend is.
/// If neither is, the reason of the failure and a part of its text.
struct Case {
    name: &'static str,
    transport: &'static str,
    replies: Vec<Reply>,
    next_server: bool,
    next_backend: bool,
    failure: Option<(FailureReason, &'static str)>,
}

fn case(
    name: &'static str,
    transport: &'static str,
    replies: Vec<Reply>,
    (next_server, next_backend): (bool, bool),
    failure: Option<(FailureReason, &'static str)>,
) -> Case {
    Case { name, transport, replies, next_server, next_backend, failure }
}

fn cases() -> Vec<Case> {
    use FailureReason::{CannotPlace, DeadlinePassed, NotConfigured, Unreachable};
    vec![
        case("503 before ringing", "udp", vec![status(503)], (true, true), None),
        case("503 before ringing, TCP", "tcp", vec![status(100), status(503)], (true, true), None),
        case(
            "503 after ringing",
            "udp",
            vec![status(180), status(503)],
            (false, false),
            Some((CannotPlace, "the trunk answered 503")),
        ),
        case("silence over UDP", "udp", vec![], (false, false), Some((DeadlinePassed, "deadline"))),
        case("silence over TCP", "tcp", vec![], (false, false), Some((DeadlinePassed, "deadline"))),
        case(
            "wrong password",
            "udp",
            vec![Reply::Status(401, CHALLENGE.to_owned())],
            (false, true),
            Some((NotConfigured, "does not accept the user name and password")),
        ),
        case("busy", "udp", vec![status(486)], (false, false), Some((Unreachable, "The line is busy"))),
    ]
}

fn trunk(uris: &[String]) -> Value {
    json!({ "type": "sip", "trunk": uris, "username": "mim", "password": "wrong" })
}

#[test]
fn the_next_server_is_tried_only_if_no_phone_rang() {
    for Case { name, transport, replies, next_server, failure, .. } in cases() {
        let first = server(transport, replies);
        let next = server("udp", verify());
        let gate = TestGate::start(config(trunk(&[first.uri(), next.uri()]), 6));
        let ending = ending(&gate);
        gate.end();
        assert_eq!(next.rings(), usize::from(next_server), "{name}: {ending:?}");
        assert_eq!(first.rings(), 1, "{name}");
        ends_as(name, ending, failure.filter(|_| !next_server));
    }
}

/// Checks that a call was verified, or failed for this reason with this part of a text.
fn ends_as(name: &str, ending: Option<(FailureReason, String)>, expected: Option<(FailureReason, &str)>) {
    match (ending, expected) {
        (None, None) => {}
        (Some((reason, text)), Some((expected, part))) => {
            assert_eq!(reason, expected, "{name}: {text}");
            assert!(text.contains(part), "{name}: {text}");
        }
        (ending, expected) => panic!("{name}: {ending:?} instead of {expected:?}"),
    }
}

#[test]
fn the_next_backend_is_tried_only_if_no_phone_rang() {
    for Case { name, transport, replies, next_backend, failure, .. } in cases() {
        let first = server(transport, replies);
        let next = server("udp", verify());
        let gate = gate_with_backends(&[trunk(&[first.uri()]), trunk(&[next.uri()])], 6);
        let ending = ending(&gate);
        gate.end();
        assert_eq!(next.rings(), usize::from(next_backend), "{name}: {ending:?}");
        ends_as(name, ending, failure.filter(|_| !next_backend));
    }
}

#[test]
fn a_failed_connection_is_followed_by_the_next_server() {
    // The certificate of this server is for another name.
    let folder = tempfile::tempdir().unwrap();
    let issued = for_host("other.example");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &issued.authority).unwrap();
    let other_name = SipServer::tls(([127, 0, 0, 1], free_port()).into(), verify(), &issued);
    let refused = format!("sip:{};transport=tcp", unused_address());
    for first in [other_name.uri().replace("127.0.0.1", "localhost"), refused] {
        let next = server("udp", verify());
        let with_ca = |uris: &[String]| {
            let mut trunk = trunk(uris);
            trunk["ca_file"] = json!(ca_file);
            trunk
        };
        let one_backend = gate(with_ca(&[first.clone(), next.uri()]));
        assert_eq!(ending(&one_backend), None, "{first}");
        one_backend.end();
        let two_backends = gate_with_backends(&[with_ca(std::slice::from_ref(&first)), with_ca(&[next.uri()])], 60);
        assert_eq!(ending(&two_backends), None, "{first}");
        two_backends.end();
        assert_eq!(next.rings(), 2);
    }
    assert_eq!(other_name.rings(), 0, "nothing is sent to a server of another name");
}

/// The server responds to OPTIONS but not to the INVITE, until the transaction times out after 32 s.
#[test]
fn invite_timeout_over_udp_rings_no_other_phone() {
    let silent = server("udp", Vec::new());
    let next = server("udp", verify());
    let gate = gate_with_backends(&[trunk(&[silent.uri(), next.uri()]), trunk(&[next.uri()])], 60);
    let (reason, text) = ending(&gate).unwrap();
    gate.end();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!(text.contains("The trunk did not respond to the call in time"), "{text}");
    assert_eq!((silent.rings(), next.rings()), (1, 0));
}

#[test]
fn cancel_follows_the_invite_through_proxy_and_redirection() {
    for transport in ["udp", "tcp"] {
        let (proxy, elsewhere) = (server(transport, vec![status(180)]), server(transport, verify()));
        let trunk = json!({ "type": "sip", "trunk": elsewhere.uri(), "outbound_proxy": proxy.uri() });
        let gate = TestGate::start(config(trunk, 4));
        assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
        let cancel = proxy.receives("CANCEL", 1).remove(0);
        gate.end();
        assert_eq!(cancel.from, proxy.requests("INVITE")[0].from);
        assert!(cancel.header("Route").contains(&proxy.address.to_string()), "{}", cancel.text);
        assert_eq!((elsewhere.rings(), elsewhere.requests("CANCEL").len()), (0, 0));

        let target = server(transport, vec![status(180)]);
        let uri = target.uri().replace("sip:", "sip:+14255551212@");
        let redirects = server(transport, vec![redirect(&uri)]);
        let gate = TestGate::start(config(json!({ "type": "sip", "trunk": redirects.uri() }), 4));
        assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
        let cancel = target.receives("CANCEL", 1).remove(0);
        gate.end();
        assert_eq!(cancel.from, target.requests("INVITE")[0].from);
        assert!(cancel.text.starts_with(&format!("CANCEL {uri} SIP/2.0")), "{}", cancel.text);
        assert!(redirects.requests("CANCEL").is_empty(), "{transport}");
    }
}

fn seen(gate: &TestGate, event: &str, backend: &str) -> bool {
    gate.log().iter().any(|line| line["event"] == event && line["backend"] == backend)
}

/// A trunk that reports a decline as 503 works.
#[test]
fn a_decline_as_503_is_no_outage_of_the_trunk() {
    for (headers, is_outage) in [("Reason: Q.850;cause=21\r\n", false), ("", true)] {
        let trunk = server("udp", vec![status(180), Reply::Status(503, headers.to_owned())]);
        let gate = gate(json!({ "type": "sip", "trunk": trunk.uri() }));
        // Five failures in a row count as an outage, even if the numbers may be the cause.
        for n in 1..=5 {
            gate.initiate(id(n), &format!("+1 425555121{n}"));
            assert_eq!(gate.ends(id(n)).0, CallStatus::Failed);
        }
        let is_down = gate.end().iter().any(|line| line["event"] == "backend_down");
        assert_eq!((trunk.rings(), is_down), (5, is_outage), "{headers:?}");
    }
}

/// No call is placed until the log says which server is dead.
#[test]
fn dead_server_is_reported_before_a_call_and_used_again_later() {
    let dead = server("udp", verify());
    dead.answer_options(false);
    let works = server("udp", verify());
    let gate = gate(json!({ "type": "sip", "trunk": [dead.uri(), works.uri()] }));
    let name = format!("trunk ({})", dead.address);
    support::wait_until("the dead server is reported", || seen(&gate, "backend_down", &name));
    let probes = |server: &SipServer| {
        let requests = server.requests("OPTIONS");
        requests.iter().map(|request| request.header("Call-ID").to_owned()).collect::<std::collections::HashSet<_>>()
    };
    let before = probes(&dead).len();
    assert!(before >= 2, "it was asked twice: {before}");
    assert_eq!(ending(&gate), None);
    assert_eq!((dead.rings(), works.rings()), (0, 1));
    // Another probe in the background may have begun meanwhile, but none for the call.
    assert!(probes(&dead).len() <= before + 1, "the call does not ask a server that is known to be silent");

    dead.answer_options(true);
    support::wait_until("its return is reported", || seen(&gate, "backend_up", &name));
    gate.initiate(id(2), NUMBER);
    assert_eq!(gate.ends(id(2)).0, CallStatus::Success);
    assert_eq!(dead.rings(), 1, "the first server is the first again");
    let downs = gate.end().iter().filter(|line| line["event"] == "backend_down").count();
    assert_eq!(downs, 1, "a change is reported once");
}
