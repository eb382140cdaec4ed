//! The servers of a SIP trunk by DNS (RFC 3263): NAPTR, SRV and addresses, with the test's own name server.

mod support;

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::certificate::for_host;
use support::dns::{NameServer, a, at, cname, naptr, srv};
use support::gate::{TestGate, id};
use support::sip::{NUMBER, config, ending, gate};
use support::sip_server::{Reply, SipServer, status, verify};

const RINGS: u16 = 180;

fn trunk(uri: &str) -> Value {
    json!({ "type": "sip", "trunk": uri })
}

#[test]
fn a_silent_srv_target_is_skipped() {
    let _dns = NameServer::start(vec![
        srv("_sip._udp.pbx.example.", 20, 5082, "two.pbx.example."),
        srv("_sip._udp.pbx.example.", 10, 5081, "one.pbx.example."),
        a("one.pbx.example.", "127.0.0.11"),
        a("two.pbx.example.", "127.0.0.12"),
    ]);
    let silent = SipServer::start("udp", at("127.0.0.11:5081"), verify());
    silent.answer_options(false);
    let works = SipServer::start("udp", at("127.0.0.12:5082"), verify());
    let gate = gate(trunk("sip:pbx.example"));
    assert_eq!(ending(&gate), None);
    gate.end();
    assert!(!silent.requests("OPTIONS").is_empty(), "the first target is asked first");
    assert_eq!(silent.rings(), 0, "no phone rings at a server that does not respond");
    assert_eq!((works.rings(), works.requests("BYE").len()), (1, 1));
    assert!(works.requests("INVITE")[0].text.starts_with("INVITE sip:+14255551212@pbx.example SIP/2.0\r\n"));
}

#[test]
fn registration_goes_to_the_srv_target_that_responds() {
    let _dns = NameServer::start(vec![
        srv("_sip._udp.pbx.example.", 10, 5081, "pbx.example."),
        srv("_sip._udp.pbx.example.", 20, 5082, "pbx.example."),
        a("pbx.example.", "127.0.0.11"),
    ]);
    let silent = SipServer::start("udp", at("127.0.0.11:5081"), verify());
    silent.answer_options(false);
    let works = SipServer::start("udp", at("127.0.0.11:5082"), verify());
    let mut trunk = trunk("sip:pbx.example");
    (trunk["username"], trunk["password"], trunk["register"]) = (json!("mim"), json!("secret"), json!(true));
    let gate = gate(trunk);
    works.receives("REGISTER", 1);
    gate.end();
    assert!(silent.requests("REGISTER").is_empty());
}

/// Any user of this machine could listen there. The name itself does not say what it resolves to.
#[test]
fn a_name_that_resolves_to_loopback_needs_local_peer() {
    let _dns = NameServer::start(vec![
        srv("_sip._udp.pbx.example.", 10, 5081, "one.pbx.example."),
        srv("_sip._udp.pbx.example.", 20, 5082, "two.pbx.example."),
        a("one.pbx.example.", "127.0.0.11"),
        a("two.pbx.example.", "127.0.0.12"),
    ]);
    let servers = ["127.0.0.11:5081", "127.0.0.12:5082"].map(|to| SipServer::start("udp", at(to), verify()));
    let mut trunk = trunk("sip:pbx.example");
    (trunk["username"], trunk["password"], trunk["register"]) = (json!("mim"), json!("secret"), json!(true));
    trunk["local_peer"] = json!(false);
    let refused = gate(trunk.clone());
    let (reason, text) = ending(&refused).unwrap();
    refused.end();
    assert_eq!(reason, FailureReason::CannotPlace);
    for words in
        ["pbx.example is at 127.0.0.1", "this machine", "\"local_peer\": true", "\"allow_test_backends\": true"]
    {
        assert!(text.contains(words), "{words} in {text}");
    }
    for server in &servers {
        let sent = ["OPTIONS", "REGISTER", "INVITE"].map(|method| server.requests(method).len());
        assert_eq!(sent, [0; 3], "nothing is sent to {}", server.address);
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
    let _dns = NameServer::start(vec![
        srv("_sip._tcp.pbx.example.", 20, 5082, "pbx.example."),
        srv("_sip._tcp.pbx.example.", 10, 5081, "pbx.example."),
        a("pbx.example.", "127.0.0.11"),
    ]);
    // No server listens on port 5081.
    let works = SipServer::start("tcp", at("127.0.0.11:5082"), verify());
    let gate = gate(trunk("sip:pbx.example;transport=tcp"));
    assert_eq!(ending(&gate), None);
    gate.end();
    assert_eq!(works.rings(), 1);
}

#[test]
fn cancel_goes_to_the_srv_target_that_rings() {
    let _dns = NameServer::start(vec![
        srv("_sip._udp.pbx.example.", 10, 5081, "pbx.example."),
        srv("_sip._udp.pbx.example.", 20, 5082, "pbx.example."),
        a("pbx.example.", "127.0.0.11"),
    ]);
    let rings = SipServer::start("udp", at("127.0.0.11:5081"), vec![status(RINGS)]);
    let other = SipServer::start("udp", at("127.0.0.11:5082"), verify());
    let usual = SipServer::start("udp", at("127.0.0.11:5060"), verify());
    let gate = TestGate::start(config(trunk("sip:pbx.example"), 4));
    assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
    gate.end();
    rings.receives("CANCEL", 1);
    assert_eq!((other.requests("CANCEL").len(), other.rings()), (0, 0));
    assert_eq!((usual.requests("CANCEL").len(), usual.rings()), (0, 0));
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
        a("pbx.example.", "127.0.0.11"),
    ]);
    let issued = for_host("pbx.example");
    let tls = SipServer::tls(at("127.0.0.11:5071"), verify(), &issued);
    let plain = [5060, 5070].map(|port| SipServer::start("udp", ([127, 0, 0, 11], port).into(), verify()));
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &issued.authority).unwrap();
    // The server's audio is not encrypted.
    let mut trunk = trunk("sip:pbx.example");
    trunk["ca_file"] = json!(ca_file);
    trunk["media_encryption"] = json!("off");
    let gate_over_tls = gate(trunk.clone());
    assert_eq!(ending(&gate_over_tls), None);
    gate_over_tls.end();
    assert_eq!((tls.rings(), tls.requests("BYE").len()), (1, 1));

    tls.stop_listening();
    tls.disconnect(false);
    let gate_without_tls = gate(trunk);
    let (reason, text) = ending(&gate_without_tls).unwrap();
    gate_without_tls.end();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!(text.contains("127.0.0.11:5071: "), "{text}");
    assert_eq!(plain.map(|server| server.rings()), [0, 0], "no INVITE goes over UDP");
}

/// A NAPTR record for TLS without a target still leads to no other transport.
#[test]
fn naptr_for_tls_without_a_target_leads_to_port_5061() {
    let _dns = NameServer::start(vec![
        naptr("pbx.example.", 10, "SIPS+D2T", "_sips._tcp.pbx.example."),
        a("pbx.example.", "127.0.0.11"),
    ]);
    let plain = SipServer::start("udp", at("127.0.0.11:5060"), verify());
    let gate = gate(trunk("sip:pbx.example"));
    let (reason, text) = ending(&gate).unwrap();
    gate.end();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!(text.contains("127.0.0.11:5061: "), "{text}");
    assert_eq!(plain.requests("OPTIONS").len() + plain.rings(), 0);
}

#[test]
fn tls_in_the_uri_ignores_srv_records_for_udp_and_tcp() {
    let _dns = NameServer::start(vec![
        naptr("pbx.example.", 10, "SIP+D2U", "_sip._udp.pbx.example."),
        naptr("pbx.example.", 20, "SIP+D2T", "_sip._tcp.pbx.example."),
        srv("_sip._udp.pbx.example.", 10, 5060, "pbx.example."),
        srv("_sip._tcp.pbx.example.", 10, 5060, "pbx.example."),
        a("pbx.example.", "127.0.0.11"),
    ]);
    let plain = ["udp", "tcp"].map(|transport| SipServer::start(transport, at("127.0.0.11:5060"), verify()));
    for (uri, encryption) in
        [("sips:pbx.example", None), ("sip:pbx.example;transport=tls", None), ("sips:pbx.example", Some("required"))]
    {
        let mut trunk = trunk(uri);
        if let Some(encryption) = encryption {
            trunk["media_encryption"] = json!(encryption);
        }
        let gate = gate(trunk);
        let (reason, text) = ending(&gate).unwrap();
        gate.end();
        assert_eq!(reason, FailureReason::CannotPlace);
        assert!(text.contains("127.0.0.11:5061: "), "{uri}: {text}");
    }
    for server in plain {
        assert_eq!(server.requests("OPTIONS").len() + server.rings(), 0, "nothing goes to {}", server.uri());
    }
}

#[test]
fn second_address_of_a_host_is_used_if_the_first_is_dead() {
    let _dns = NameServer::start(vec![a("pbx.example.", "127.0.0.11"), a("pbx.example.", "127.0.0.12")]);
    let servers = ["127.0.0.11:5060", "127.0.0.12:5060"].map(|address| SipServer::start("tcp", at(address), verify()));
    for dead in [0, 1] {
        servers[dead].stop_listening();
        let gate = gate(trunk("sip:pbx.example;transport=tcp"));
        assert_eq!(ending(&gate), None);
        gate.end();
        servers[dead].listen();
    }
    assert_eq!(servers.map(|server| server.rings()), [1, 1], "each is used while the other one is dead");
}

/// The name no longer has the first call's address when the next call is placed.
#[test]
fn a_call_continues_at_its_server_when_the_name_moves() {
    let dns = NameServer::start(vec![a("pbx.example.", "127.0.0.11")]);
    let before = SipServer::start("udp", at("127.0.0.11:5060"), vec![status(RINGS), Reply::PickUp]);
    let after = SipServer::start("udp", at("127.0.0.12:5060"), verify());
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

#[test]
fn a_silent_name_server_is_named_as_the_cause() {
    let dns = NameServer::start(Vec::new());
    dns.fall_silent();
    for uri in ["sip:pbx.example", "sip:pbx.example:5060"] {
        let gate = gate(trunk(uri));
        let (reason, text) = ending(&gate).unwrap();
        assert_eq!(reason, FailureReason::CannotPlace);
        assert!(text.contains("took longer than 4 s; check the DNS servers of this machine"), "{text}");
    }
}

#[test]
fn unknown_name_is_reported() {
    let _dns = NameServer::start(Vec::new());
    let gate = gate(trunk("sip:pbx.example"));
    let (reason, text) = ending(&gate).unwrap();
    gate.end();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!(text.contains("The trunk cannot be found: pbx.example: "), "{text}");
}

#[test]
fn srv_target_without_an_address_is_skipped_or_reported() {
    let dns = NameServer::start(vec![
        srv("_sip._tcp.pbx.example.", 10, 5081, "gone.pbx.example."),
        srv("_sip._tcp.pbx.example.", 20, 5082, "pbx.example."),
        a("pbx.example.", "127.0.0.11"),
    ]);
    let works = SipServer::start("tcp", at("127.0.0.11:5082"), verify());
    let usual = SipServer::start("tcp", at("127.0.0.11:5060"), verify());
    let gate = gate(trunk("sip:pbx.example;transport=tcp"));
    assert_eq!(ending(&gate), None);
    dns.change(vec![srv("_sip._tcp.pbx.example.", 10, 5081, "gone.pbx.example."), a("pbx.example.", "127.0.0.11")]);
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
        a("pbx.example.", "127.0.0.11"),
    ];
    let _dns = NameServer::start(many.chain(circle).collect());
    let gate = gate(trunk("sip:pbx.example;transport=tcp"));
    let (reason, text) = ending(&gate).unwrap();
    gate.end();
    assert_eq!(reason, FailureReason::CannotPlace);
    assert!((1..=8).contains(&text.matches("127.0.0.11:6").count()), "{text}");
}
