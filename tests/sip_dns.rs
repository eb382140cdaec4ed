//! The servers of a SIP trunk by DNS (RFC 3263): NAPTR, SRV and addresses, with the test's own name server.

mod support;

use std::net::UdpSocket;
use std::time::Duration;

use hickory_resolver::proto::rr::Record;
use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::certificate::for_host;
use support::dns::{NameServer, a, at, cname, naptr, srv};
use support::gate::{TestGate, id};
use support::sip::{NUMBER, config, ending, gate};
use support::sip_server::{Reply, SipServer, redirect, status, verify};

const RINGS: u16 = 180;

fn trunk(uri: &str) -> Value {
    json!({ "type": "sip", "trunk": uri })
}

/// The same with further settings.
fn trunk_with(uri: &str, more: &Value) -> Value {
    let mut trunk = trunk(uri);
    trunk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    trunk
}

fn registers() -> Value {
    json!({ "username": "mim", "password": "secret", "register": true })
}

/// The address of the trunk's host.
fn host() -> Record {
    a("pbx.example.", "127.0.0.11")
}

/// A name server with two SRV targets of this service, and these addresses: first port 5081 of one host, then port 5082 of
/// the other.
fn two_targets<const N: usize>(service: &str, [first, second]: [&str; 2], addresses: [Record; N]) -> NameServer {
    // The order of the records is not that of the priorities.
    let targets = [srv(service, 20, 5082, second), srv(service, 10, 5081, first)];
    NameServer::start(targets.into_iter().chain(addresses).collect())
}

/// The same over UDP, with a host of its own for each target.
fn two_hosts() -> NameServer {
    let addresses = [a("one.pbx.example.", "127.0.0.11"), a("two.pbx.example.", "127.0.0.12")];
    two_targets("_sip._udp.pbx.example.", ["one.pbx.example.", "two.pbx.example."], addresses)
}

/// Servers whose users approve calls.
fn verifying<const N: usize>(transport: &'static str, addresses: [&str; N]) -> [SipServer; N] {
    addresses.map(|address| SipServer::start(transport, at(address), verify()))
}

/// Checks that a call over this trunk is approved.
fn approves(trunk: Value) {
    let gate = gate(trunk);
    assert_eq!(ending(&gate), None);
    gate.end();
}

/// Checks that a call over this trunk fails, with these parts of a text.
fn cannot_place(trunk: Value, parts: &[&str]) {
    let shown = trunk.to_string();
    let gate = gate(trunk);
    let (reason, text) = ending(&gate).unwrap();
    gate.end();
    assert_eq!(reason, FailureReason::CannotPlace, "{shown}");
    for part in parts {
        assert!(text.contains(part), "{shown}: {part} in {text}");
    }
}

/// The numbers of requests of each method that a server received.
fn sent(server: &SipServer) -> [usize; 3] {
    ["OPTIONS", "REGISTER", "INVITE"].map(|method| server.requests(method).len())
}

#[test]
fn a_silent_srv_target_is_skipped() {
    let _dns = two_hosts();
    let [silent, works] = verifying("udp", ["127.0.0.11:5081", "127.0.0.12:5082"]);
    silent.answer_options(false);
    approves(trunk("sip:pbx.example"));
    assert!(!silent.requests("OPTIONS").is_empty(), "the first target is asked first");
    assert_eq!(silent.rings(), 0, "no phone rings at a server that does not respond");
    assert_eq!((works.rings(), works.requests("BYE").len()), (1, 1));
    assert!(works.requests("INVITE")[0].text.starts_with("INVITE sip:+14255551212@pbx.example SIP/2.0\r\n"));
}

#[test]
fn registration_goes_to_the_srv_target_that_responds() {
    let _dns = two_targets("_sip._udp.pbx.example.", ["pbx.example."; 2], [host()]);
    let [silent, works] = verifying("udp", ["127.0.0.11:5081", "127.0.0.11:5082"]);
    silent.answer_options(false);
    let gate = gate(trunk_with("sip:pbx.example", &registers()));
    works.receives("REGISTER", 1);
    gate.end();
    assert!(silent.requests("REGISTER").is_empty());
}

/// Any user of this machine could listen there. The name itself does not say what it resolves to.
#[test]
fn a_name_that_resolves_to_loopback_needs_local_peer() {
    let _dns = two_hosts();
    let servers = verifying("udp", ["127.0.0.11:5081", "127.0.0.12:5082"]);
    let mut trunk = trunk_with("sip:pbx.example", &registers());
    trunk["local_peer"] = json!(false);
    let parts =
        ["pbx.example is at 127.0.0.1", "this machine", "\"local_peer\": true", "\"allow_test_backends\": true"];
    cannot_place(trunk.clone(), &parts);
    for server in &servers {
        assert_eq!(sent(server), [0; 3], "nothing is sent to {}", server.address);
    }

    let mut of_tests = config(trunk.clone(), 60);
    of_tests["allow_test_backends"] = json!(true);
    trunk["local_peer"] = json!(true);
    for config in [of_tests, config(trunk, 60)] {
        let gate = TestGate::start(config);
        assert_eq!(ending(&gate), None);
        gate.end();
    }
}

#[test]
fn an_srv_target_that_refuses_connections_is_skipped() {
    let _dns = two_targets("_sip._tcp.pbx.example.", ["pbx.example."; 2], [host()]);
    // No server listens on port 5081.
    let [works] = verifying("tcp", ["127.0.0.11:5082"]);
    approves(trunk("sip:pbx.example;transport=tcp"));
    assert_eq!(works.rings(), 1);
}

#[test]
fn cancel_goes_to_the_srv_target_that_rings() {
    let _dns = two_targets("_sip._udp.pbx.example.", ["pbx.example."; 2], [host()]);
    let rings = SipServer::start("udp", at("127.0.0.11:5081"), vec![status(RINGS)]);
    let others = verifying("udp", ["127.0.0.11:5082", "127.0.0.11:5060"]);
    let gate = TestGate::start(config(trunk("sip:pbx.example"), 4));
    assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
    gate.end();
    rings.receives("CANCEL", 1);
    for other in others {
        assert_eq!((other.requests("CANCEL").len(), other.rings()), (0, 0), "{}", other.address);
    }
}

/// NAPTR names TLS first and UDP second. UDP is not used when TLS fails, which an attacker could bring about.
#[test]
fn naptr_chooses_tls_and_never_falls_back_to_udp() {
    let _dns = NameServer::start(vec![
        naptr("pbx.example.", 10, "SIPS+D2T", "_sips._tcp.pbx.example."),
        naptr("pbx.example.", 20, "SIP+D2U", "_sip._udp.pbx.example."),
        srv("_sips._tcp.pbx.example.", 10, 5071, "one.pbx.example."),
        srv("_sip._udp.pbx.example.", 10, 5070, "one.pbx.example."),
        a("one.pbx.example.", "127.0.0.11"),
        host(),
    ]);
    let issued = for_host("pbx.example");
    let tls = SipServer::tls(at("127.0.0.11:5071"), verify(), &issued);
    let plain = verifying("udp", ["127.0.0.11:5060", "127.0.0.11:5070"]);
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &issued.authority).unwrap();
    // The server's audio is not encrypted.
    let trunk = trunk_with("sip:pbx.example", &json!({ "ca_file": ca_file, "media_encryption": "off" }));
    approves(trunk.clone());
    assert_eq!((tls.rings(), tls.requests("BYE").len()), (1, 1));

    tls.stop_listening();
    tls.disconnect(false);
    cannot_place(trunk, &["127.0.0.11:5071: "]);
    assert_eq!(plain.map(|server| server.rings()), [0, 0], "no INVITE goes over UDP");
}

/// A NAPTR record for TLS without a target still leads to no other transport.
#[test]
fn naptr_for_tls_without_a_target_leads_to_port_5061() {
    let _dns = NameServer::start(vec![naptr("pbx.example.", 10, "SIPS+D2T", "_sips._tcp.pbx.example."), host()]);
    let [plain] = verifying("udp", ["127.0.0.11:5060"]);
    cannot_place(trunk("sip:pbx.example"), &["127.0.0.11:5061: "]);
    assert_eq!(sent(&plain), [0; 3]);
}

#[test]
fn tls_in_the_uri_ignores_srv_records_for_udp_and_tcp() {
    let _dns = NameServer::start(vec![
        naptr("pbx.example.", 10, "SIP+D2U", "_sip._udp.pbx.example."),
        naptr("pbx.example.", 20, "SIP+D2T", "_sip._tcp.pbx.example."),
        srv("_sip._udp.pbx.example.", 10, 5060, "pbx.example."),
        srv("_sip._tcp.pbx.example.", 10, 5060, "pbx.example."),
        host(),
    ]);
    let plain = ["udp", "tcp"].map(|transport| SipServer::start(transport, at("127.0.0.11:5060"), verify()));
    for trunk in [
        trunk("sips:pbx.example"),
        trunk("sip:pbx.example;transport=tls"),
        trunk_with("sips:pbx.example", &json!({ "media_encryption": "required" })),
    ] {
        cannot_place(trunk, &["127.0.0.11:5061: "]);
    }
    for server in plain {
        assert_eq!(sent(&server), [0; 3], "nothing goes to {}", server.uri());
    }
}

#[test]
fn second_address_of_a_host_is_used_if_the_first_is_dead() {
    let _dns = NameServer::start(vec![host(), a("pbx.example.", "127.0.0.12")]);
    let servers = verifying("tcp", ["127.0.0.11:5060", "127.0.0.12:5060"]);
    for dead in &servers {
        dead.stop_listening();
        approves(trunk("sip:pbx.example;transport=tcp"));
        dead.listen();
    }
    assert_eq!(servers.map(|server| server.rings()), [1, 1], "each is used while the other one is dead");
}

/// The name no longer has the first call's address when the next call is placed.
#[test]
fn a_call_continues_at_its_server_when_the_name_moves() {
    let dns = NameServer::start(vec![host()]);
    let before = SipServer::start("udp", at("127.0.0.11:5060"), vec![status(RINGS), Reply::PickUp]);
    let [after] = verifying("udp", ["127.0.0.12:5060"]);
    let gate = gate(trunk("sip:pbx.example"));
    gate.initiate(id(2), "+1 4255551313");
    before.receives("ACK", 1);
    dns.change(vec![a("pbx.example.", "127.0.0.12")]);
    assert_eq!(ending(&gate), None);
    assert_eq!((before.rings(), after.rings()), (1, 1), "the next call goes to the new address");
    before.hang_up(&before.requests("INVITE")[0]);
    let (_, text) = gate.ends(id(2));
    assert!(text.contains("The user hung up without a key"), "{text}");
    gate.end();
}

/// A redirection may name a server by its address. PhoneGate accepts SIP from there only as long as DNS names the address
/// too, or the call lasts.
#[test]
fn a_redirection_makes_no_address_trusted_beyond_its_call() {
    let dns = NameServer::start(vec![a("pbx.example.", "127.0.0.11")]);
    let moved = redirect("sip:+14255551212@127.0.0.11:5070;transport=udp");
    let _first = SipServer::start("udp", at("127.0.0.11:5060"), vec![moved]);
    let second = SipServer::start("udp", at("127.0.0.11:5070"), verify());
    let next = SipServer::start("udp", at("127.0.0.12:5060"), verify());
    let gate = gate(trunk("sip:pbx.example"));
    assert_eq!(ending(&gate), None);
    let gate_address = second.requests("INVITE")[0].from;
    let sender = UdpSocket::bind("127.0.0.11:0").unwrap();
    sender.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let is_accepted = || {
        let options = "OPTIONS sip:gate SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.11;branch=z9hG4bKo;rport\r\n\
                       From: <sip:a@127.0.0.11>;tag=a\r\nTo: <sip:gate>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\r\n";
        sender.send_to(options.as_bytes(), gate_address).unwrap();
        sender.recv_from(&mut [0; 2048]).is_ok()
    };
    assert!(is_accepted(), "DNS names the address");
    dns.change(vec![a("pbx.example.", "127.0.0.12")]);
    assert_eq!(ending(&gate), None);
    assert_eq!((second.rings(), next.rings()), (1, 1), "the next call goes to the new address");
    support::wait_until("the old address is no longer accepted", || !is_accepted());
    gate.end();
}

#[test]
fn a_silent_name_server_is_named_as_the_cause() {
    let dns = NameServer::start(Vec::new());
    dns.fall_silent();
    for uri in ["sip:pbx.example", "sip:pbx.example:5060"] {
        cannot_place(trunk(uri), &["took longer than 4 s; check the DNS servers of this machine"]);
    }
}

#[test]
fn unknown_name_is_reported() {
    let _dns = NameServer::start(Vec::new());
    cannot_place(trunk("sip:pbx.example"), &["The trunk cannot be found: pbx.example: "]);
}

#[test]
fn srv_target_without_an_address_is_skipped_or_reported() {
    let dns = two_targets("_sip._tcp.pbx.example.", ["gone.pbx.example.", "pbx.example."], [host()]);
    let [works, usual] = verifying("tcp", ["127.0.0.11:5082", "127.0.0.11:5060"]);
    let gate = gate(trunk("sip:pbx.example;transport=tcp"));
    assert_eq!(ending(&gate), None);
    dns.change(vec![srv("_sip._tcp.pbx.example.", 10, 5081, "gone.pbx.example."), host()]);
    gate.initiate(id(2), NUMBER);
    let text = gate.ends(id(2)).1;
    gate.end();
    assert!(text.contains("no server that DNS (SRV) names for pbx.example has an address"), "{text}");
    assert_eq!((works.rings(), usual.rings()), (1, 0));
}

/// CNAME loops, and hundreds of targets that refuse connections, neither hang the look-up nor add up.
#[test]
fn cname_loops_and_huge_responses_are_bounded() {
    let many = (0..400).map(|n| srv("_sip._tcp.pbx.example.", 1, 6000 + n, "pbx.example."));
    let circle = [
        srv("_sip._tcp.pbx.example.", 0, 5060, "_sip._tcp.pbx.example."),
        srv("_sip._tcp.pbx.example.", 0, 5060, "left.pbx.example."),
        cname("left.pbx.example.", "right.pbx.example."),
        cname("right.pbx.example.", "left.pbx.example."),
        host(),
    ];
    let _dns = NameServer::start(many.chain(circle).collect());
    let gate = gate(trunk("sip:pbx.example;transport=tcp"));
    let (reason, text) = ending(&gate).unwrap();
    gate.end();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!((1..=8).contains(&text.matches("127.0.0.11:6").count()), "{text}");
}
