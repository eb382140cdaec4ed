//! Connections to a SIP trunk that die, and servers that restart: calls and registrations survive or end cleanly.

mod support;

use std::process::Command;

use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::certificate::for_host;
use support::gate::{TestGate, id, with_test_defaults};
use support::ports::free_port;
use support::sip::{NUMBER, config, ending, gate};
use support::sip_server::{Reply, SipServer, status, verify};

/// Longer than a connection may be idle before it is checked.
const IDLE: std::time::Duration = std::time::Duration::from_millis(5_500);

/// How long a restart takes. The end of a connection is noticed meanwhile.
const RESTART: std::time::Duration = std::time::Duration::from_millis(500);

fn server(transport: &'static str, replies: Vec<Reply>) -> SipServer {
    SipServer::start(transport, ([127, 0, 0, 1], free_port()).into(), replies)
}

fn trunk(server: &SipServer) -> Value {
    json!({ "type": "sip", "trunk": server.uri() })
}

/// Places the n-th call and waits for its end, as [`ending`] does for the first.
fn call(gate: &TestGate, n: u128) -> Option<(FailureReason, String)> {
    gate.initiate(id(n), NUMBER);
    gate.ends(id(n));
    gate.snapshot(id(n)).failure.map(|failure| (failure.reason(), failure.text().to_owned()))
}

fn is_logged(gate: &TestGate, event: &str) -> bool {
    gate.log().iter().any(|line| line["event"] == event)
}

#[test]
fn idle_connection_that_died_is_replaced_before_the_next_call() {
    let issued = for_host("localhost");
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &issued.authority).unwrap();
    let plain = server("tcp", verify());
    let encrypted = SipServer::tls(([127, 0, 0, 1], free_port()).into(), verify(), &issued);
    let secure = json!({
        "type": "sip", "trunk": encrypted.uri().replace("127.0.0.1", "localhost"), "ca_file": ca_file, "media_encryption": "off",
    });
    let gates = [(trunk(&plain), &plain), (secure, &encrypted)].map(|(trunk, server)| (gate(trunk), server));
    for (gate, server) in &gates {
        assert_eq!(ending(gate), None, "{}", server.uri());
    }
    // The connections stay open, but the server no longer reads them.
    let _lost = gates.each_ref().map(|(_, server)| server.lose_connections());
    std::thread::sleep(IDLE);
    for (gate, server) in &gates {
        assert_eq!(call(gate, 2), None, "{}", server.uri());
        gate.end();
        let invites = server.requests("INVITE");
        assert_eq!(invites.len(), 2);
        assert_ne!(invites[0].from, invites[1].from, "the second call has another connection");
    }
}

/// An INVITE on a connection that was in use recently may have reached the server before it died.
#[test]
fn invite_on_a_dead_connection_is_cancelled_on_the_next() {
    let server = server("tcp", verify());
    let next = self::server("tcp", verify());
    let trunks = json!({ "type": "sip", "trunk": [server.uri(), next.uri()] });
    let gate = TestGate::start(config(trunks, 5));
    assert_eq!(ending(&gate), None);
    let lost = server.lose_connections();
    let (reason, text) = call(&gate, 2).expect("it is not verified");
    assert_eq!(reason, FailureReason::DeadlinePassed, "{text}");
    assert_eq!(next.rings(), 0, "no other server is asked");
    // The restarted server resets the old connection, and gets the CANCEL on a new one.
    lost.reset();
    let cancel = server.receives("CANCEL", 1).remove(0);
    assert_ne!(cancel.from, server.requests("INVITE")[0].from);
    assert!(cancel.text.starts_with("CANCEL sip:+14255551212@"), "{}", cancel.text);
    gate.end();
}

#[test]
fn server_that_restarts_between_calls_gets_the_next_one_at_once() {
    for is_reset in [false, true] {
        let server = server("tcp", verify());
        let gate = gate(trunk(&server));
        assert_eq!(ending(&gate), None);
        server.stop_listening();
        server.disconnect(is_reset);
        std::thread::sleep(RESTART);
        server.listen();
        assert_eq!(call(&gate, 2), None, "reset: {is_reset}");
        gate.end();
        assert_eq!(server.rings(), 2);
    }
}

#[test]
fn server_that_restarts_during_ringing_gets_cancel_and_next_call() {
    for is_reset in [false, true] {
        let server = server("tcp", vec![status(180)]);
        let next = self::server("tcp", verify());
        let gate = gate(json!({ "type": "sip", "trunk": [server.uri(), next.uri()] }));
        gate.initiate(id(1), NUMBER);
        support::wait_until("it rings", || is_logged(&gate, "ringing"));
        server.disconnect(is_reset);
        let text = gate.ends(id(1)).1;
        assert!(text.contains("The connection was lost after the trunk had accepted the call"), "{text}");
        assert_eq!(gate.snapshot(id(1)).failure.unwrap().reason(), FailureReason::CannotPlace);
        assert_eq!(next.rings(), 0, "no other server is asked");
        let cancel = server.receives("CANCEL", 1).remove(0);
        let invite = server.requests("INVITE").remove(0);
        assert_ne!(cancel.from, invite.from, "it goes over a new connection");
        assert_eq!(cancel.header("Call-ID"), invite.header("Call-ID"));
        server.reply(verify());
        assert_eq!(call(&gate, 2), None);
        gate.end();
    }
}

#[test]
fn an_established_call_outlives_its_connection() {
    for is_reset in [false, true] {
        let server = server("tcp", vec![status(180), Reply::PickUp]);
        let gate = gate(trunk(&server));
        gate.initiate(id(1), NUMBER);
        server.receives("ACK", 1);
        server.disconnect(is_reset);
        server.press();
        assert_eq!(gate.ends(id(1)), (CallStatus::Success, String::new()));
        let bye = server.receives("BYE", 1).remove(0);
        assert_ne!(bye.from, server.requests("INVITE")[0].from, "it goes over a new connection");
        gate.end();
    }
}

#[test]
fn cancel_at_the_deadline_uses_the_connection_of_the_invite() {
    let server = server("tcp", vec![status(180)]);
    let gate = TestGate::start(config(trunk(&server), 4));
    assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
    let cancel = server.receives("CANCEL", 1).remove(0);
    assert_eq!(cancel.from, server.requests("INVITE")[0].from);
    gate.end();
}

fn registering(server: &SipServer) -> Value {
    let mut trunk = trunk(server);
    trunk["username"] = json!("mim");
    trunk["password"] = json!("secret");
    trunk["register"] = json!(true);
    trunk
}

fn removals(server: &SipServer) -> usize {
    server.requests("REGISTER").iter().filter(|request| request.header("Expires") == "0").count()
}

#[test]
fn registration_is_removed_when_the_gate_ends() {
    for transport in ["udp", "tcp"] {
        let server = server(transport, verify());
        let gate = gate(registering(&server));
        let contact = server.receives("REGISTER", 1)[0].header("Contact").to_owned();
        assert_eq!(removals(&server), 0);
        gate.end();
        assert_eq!(removals(&server), 1, "over {transport}, before the end of the gate");
        let requests = server.requests("REGISTER");
        let removal = requests.last().unwrap();
        let bare = |contact: &str| contact.split('>').next().unwrap().to_owned();
        assert_eq!(bare(removal.header("Contact")), bare(&contact));
        assert_eq!(removal.header("Call-ID"), requests[0].header("Call-ID"));
    }
}

/// The removal takes two requests, and the gate waits for the second response.
#[test]
fn challenged_removal_is_completed_before_the_gate_ends() {
    for transport in ["udp", "tcp"] {
        let server = server(transport, verify());
        server.challenge_removals();
        let gate = gate(registering(&server));
        server.receives("REGISTER", 1);
        gate.end();
        let requests = server.requests("REGISTER");
        let removal = requests.last().unwrap();
        assert_eq!(removal.header("Expires"), "0");
        assert!(
            removal.header("Authorization").starts_with("Digest username=\"mim\""),
            "{transport}: {}",
            removal.text
        );
    }
}

#[test]
fn registration_moves_to_a_new_connection_with_its_call_id() {
    for is_reset in [false, true] {
        let server = server("tcp", verify());
        let gate = gate(registering(&server));
        server.receives("REGISTER", 1);
        server.disconnect(is_reset);
        let requests = server.receives("REGISTER", 2);
        assert_ne!(requests[0].from, requests[1].from);
        assert_eq!(requests[0].header("Call-ID"), requests[1].header("Call-ID"));
        // The same request removes the contact of the old connection.
        let old = requests[0].header("Contact").split('>').next().unwrap();
        let is_removed = requests[1].text.lines().any(|line| line.contains(old) && line.contains(";expires=0"));
        assert!(is_removed, "{}", requests[1].text);
        assert_eq!(ending(&gate), None);
        gate.end();
    }
}

#[test]
fn check_and_call_keep_the_services_registration_and_port() {
    let server = server("udp", verify());
    let mut trunk = registering(&server);
    let local_port = free_port();
    trunk["local_port"] = json!(local_port);
    let gate = gate(trunk.clone());
    server.receives("REGISTER", 1);
    // A call of the service is in progress meanwhile.
    server.reply(vec![status(180), Reply::PickUp]);
    gate.initiate(id(2), "+1 4255551313");
    server.receives("ACK", 1);
    server.reply(verify());
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(trunk, 60);
    config["numbers"] = json!({ "default_country": "US" });
    config["log"] = json!({ "directory": folder.path().join("log") });
    let file = folder.path().join("phonegate.json");
    std::fs::write(&file, with_test_defaults(config).to_string()).unwrap();
    let phonegate = |arguments: &[&str]| {
        let program = support::target_folder().join("debug/phonegate");
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).args(arguments).env("XDG_STATE_HOME", folder.path().join("state"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    phonegate(&["check"]);
    phonegate(&["call", NUMBER]);
    let own = format!("127.0.0.1:{local_port}");
    let invite = server.requests("INVITE").remove(1);
    assert!(!invite.header("Via").contains(&own), "the command takes another port: {}", invite.text);
    let ours = server.requests("REGISTER").remove(0);
    for request in server.requests("REGISTER") {
        let is_query = request.header("Contact").is_empty();
        let is_refresh = request.header("Call-ID") == ours.header("Call-ID") && request.from == ours.from;
        assert!(is_query || is_refresh, "the command changes no contact: {}", request.text);
        assert_ne!(request.header("Expires"), "0", "nothing is removed");
    }
    // The service still receives the requests of its call.
    assert!(ours.header("Contact").contains(&own), "{}", ours.text);
    server.hang_up(&server.requests("INVITE")[0]);
    let text = gate.ends(id(2)).1;
    assert!(text.contains("The user hung up without a key"), "{text}");
    assert_eq!(ending(&gate), None);
    let invites = server.requests("INVITE");
    assert!(invites.last().unwrap().header("Via").contains(&own), "the service still has its port");
    gate.end();
    assert_eq!(removals(&server), 1);
}
