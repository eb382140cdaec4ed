//! Requests of peers that the agent does not support, and OPTIONS.

use std::time::Duration;

use phonegate_sip::agent::{Config, Event, ProbeResult};
use phonegate_sip::message::Message;

use crate::net::network::Health;
use crate::net::scenario::{Scenario, TCP, UDP, both, each, remote};
use crate::net::text::{Text, name};

/// Returns a request outside of dialogs.
fn outside(scenario: &Scenario, method: &str, branch: &str) -> Text {
    let host = scenario.host();
    let transport = if scenario.is_udp() { "UDP" } else { "TCP" };
    Text::new(format!("{method} sip:gate@192.0.2.1:5060 SIP/2.0"))
        .line(format!("Via: SIP/2.0/{transport} {};branch=z9hG4bK{branch};rport", remote(scenario.path)))
        .line("Max-Forwards: 70")
        .line(format!("From: <sip:pbx@{host}>;tag=pbx"))
        .line("To: <sip:gate@192.0.2.1>")
        .line(format!("Call-ID: outside-{branch}"))
        .line(format!("CSeq: 7 {method}"))
        .line(format!("Contact: <sip:pbx@{host}>"))
}

const UNKNOWN: &[&str] = &["PING", "SERVICE", "NOTIFY", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER", "REGISTER"];

/// The connection stays open, and its calls continue.
#[test]
fn unknown_methods_are_rejected_and_nothing_ends() {
    each(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        for method in UNKNOWN {
            scenario.send(&outside(scenario, method, &format!("out{method}")));
            let status = rejection(scenario);
            assert!(matches!(status.as_str(), "405" | "501" | "489"), "{method} outside of dialogs gets {status}");
            scenario.send(&dialog.request(method));
            let status = rejection(scenario);
            assert!(matches!(status.as_str(), "405" | "501" | "489" | "603"), "{method} in a dialog gets {status}");
        }
        scenario.quiet(Duration::from_secs(40));
        scenario.finish(call);
    });
}

/// Returns the status of the next message.
fn rejection(scenario: &mut Scenario) -> String {
    scenario.wait(Duration::from_millis(50));
    let mut messages = Vec::new();
    scenario.take_new(&mut messages);
    assert_eq!(messages.len(), 1, "one response comes");
    name(&messages[0]).split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn options_are_answered_in_and_outside_of_dialogs() {
    each(|scenario| {
        scenario.send(&outside(scenario, "OPTIONS", "before"));
        let ok = scenario.receive("200 OPTIONS");
        assert!(ok.allow().unwrap().iter().any(|method| method == "INVITE"), "the 200 names the methods");
        let (call, mut dialog) = scenario.answered_call();
        scenario.send(&outside(scenario, "OPTIONS", "during"));
        scenario.receive("200 OPTIONS");
        scenario.send(&dialog.request("OPTIONS"));
        scenario.receive("200 OPTIONS");
        scenario.finish(call);
    });
}

#[test]
fn a_request_to_an_unknown_dialog_gets_481() {
    both(|scenario| {
        for method in ["BYE", "INFO", "UPDATE", "INVITE", "PRACK"] {
            let request = outside(scenario, method, method).replace("To", "To: <sip:gate@192.0.2.1>;tag=unknown");
            scenario.send(&request);
            scenario.receive(&format!("481 {method}"));
            if method == "INVITE" {
                scenario.send(&outside(scenario, "ACK", method).replace("To", "To: <sip:gate@192.0.2.1>;tag=unknown"));
            }
        }
        scenario.send(&outside(scenario, "CANCEL", "cancel"));
        scenario.receive("481 CANCEL");
        scenario.nothing_left();
    });
}

/// The agent only places calls.
#[test]
fn a_call_to_the_agent_is_rejected() {
    both(|scenario| {
        scenario.send(&outside(scenario, "INVITE", "inbound").sdp("inbound"));
        let status = rejection(scenario);
        assert!(status.starts_with('4') || status.starts_with('5') || status.starts_with('6'), "{status}");
        if scenario.is_udp() {
            scenario.send(&outside(scenario, "INVITE", "inbound").sdp("inbound"));
            scenario.wait(Duration::from_millis(50));
            assert_eq!(scenario.repeats.len(), 1, "the repetition gets the same response");
        }
        scenario.send(&outside(scenario, "ACK", "inbound"));
        scenario.nothing_left();
    });
}

/// RFC 3261, 8.2.2.3.
#[test]
fn an_extension_that_is_required_and_unknown_gets_420() {
    both(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        let reinvite = dialog.request("INVITE").line("Require: timer, wibble").sdp("x");
        scenario.send(&reinvite);
        let rejection = scenario.receive("420 INVITE");
        let unsupported = rejection.header_values("Unsupported").next().map(String::from_utf8_lossy);
        assert_eq!(unsupported.as_deref(), Some("wibble"), "only the unknown one is named");
        scenario.send(&dialog.ack(&reinvite, 420));
        scenario.finish(call);
    });
}

/// RFC 5626, 4.4.1: two line ends ask, and one answers.
#[test]
fn a_keep_alive_on_a_stream_is_answered() {
    let mut scenario = Scenario::new(TCP);
    let flow = scenario.net.links[scenario.link].id;
    scenario.net.act(|agent, now| agent.handle_stream(now, flow, b"\r\n\r\n"));
    assert_eq!(scenario.net.keep_alives, 1, "one line end comes back");
    scenario.nothing_left();
}

#[test]
fn the_product_is_named_if_there_is_one() {
    for product in ["", "Gate/1.0"] {
        let config = Config { product: product.to_owned(), ..Config::default() };
        let mut scenario = Scenario::with(UDP, config);
        let (call, invite) = scenario.invite();
        let named = |message: &Message, name| message.header_values(name).next().map(<[u8]>::to_vec);
        let expected = Some(product.as_bytes().to_vec()).filter(|product| !product.is_empty());
        assert_eq!(named(&invite, "User-Agent"), expected, "in a request");
        scenario.answer(&invite, "callee");
        scenario.send(&outside(&scenario, "OPTIONS", "product"));
        assert_eq!(named(&scenario.receive("200 OPTIONS"), "Server"), expected, "in a response");
        scenario.finish(call);
    }
}

#[test]
fn any_response_shows_that_a_server_is_alive() {
    for (line, status) in [("200 OK", 200), ("404 Not Found", 404), ("407 Proxy", 407), ("503 Busy", 503)] {
        both(|scenario| {
            let flow = scenario.net.links[scenario.link].id;
            let probed = scenario.net.act(|agent, now| {
                agent
                    .probe(now, flow, "sip:192.0.2.7", Duration::from_secs(2), None)
                    .expect("there is room for a probe")
            });
            let options = scenario.receive("OPTIONS");
            scenario.reply(&options, line);
            assert_eq!(scenario.event(), Event::Probe(probed, ProbeResult::Responded(status)), "{line}");
            scenario.nothing_left();
        });
    }
}

#[test]
fn a_server_that_is_silent_or_gone_fails_its_probe() {
    for health in [Health::Good, Health::Dead, Health::Failing, Health::Closed] {
        for path in [UDP, TCP] {
            let mut scenario = Scenario::new(path);
            let (link, flow) = (scenario.link, scenario.net.links[scenario.link].id);
            if health != Health::Closed {
                scenario.net.links[link].health = health;
            }
            let start = scenario.net.now;
            let probed = scenario.net.act(|agent, now| {
                agent
                    .probe(now, flow, "sip:192.0.2.7", Duration::from_secs(2), None)
                    .expect("there is room for a probe")
            });
            if health == Health::Closed {
                scenario.net.close(link);
            }
            assert_eq!(scenario.event(), Event::Probe(probed, ProbeResult::NoResponse), "{health:?}");
            let took = scenario.net.now - start;
            let longest = if matches!(health, Health::Good | Health::Dead) { 2 } else { 1 };
            assert!(took <= Duration::from_secs(longest), "{health:?} is known after {took:?}");
            let mut options = Vec::new();
            scenario.take_new(&mut options);
            scenario.nothing_left();
        }
    }
}

/// A reply that comes after the time is up must not count for a later probe.
#[test]
fn a_late_response_ends_no_other_probe() {
    both(|scenario| {
        let flow = scenario.net.links[scenario.link].id;
        let mut requests = Vec::new();
        for _ in 0..2 {
            scenario.net.act(|agent, now| {
                agent
                    .probe(now, flow, "sip:192.0.2.7", Duration::from_secs(2), None)
                    .expect("there is room for a probe")
            });
            requests.push(scenario.receive("OPTIONS"));
            if requests.len() == 1 {
                assert!(matches!(scenario.event(), Event::Probe(_, ProbeResult::NoResponse)), "the first is silent");
            }
        }
        scenario.reply(&requests[0], "200 OK");
        assert!(matches!(scenario.event(), Event::Probe(_, ProbeResult::NoResponse)), "and so is the second");
        scenario.nothing_left();
    });
}
