//! Requests of peers that the agent does not support, and OPTIONS.

use std::time::Duration;

use phonegate_sip::agent::{Config, Event, ProbeResult};
use phonegate_sip::message::Message;

use crate::net::network::Health;
use crate::net::story::{Story, TCP, UDP, both, each, remote};
use crate::net::text::{Text, name};

/// Returns a request outside of dialogs.
fn outside(story: &Story, method: &str, branch: &str) -> Text {
    let host = story.host();
    let transport = if story.is_udp() { "UDP" } else { "TCP" };
    Text::new(format!("{method} sip:gate@192.0.2.1:5060 SIP/2.0"))
        .line(format!("Via: SIP/2.0/{transport} {};branch=z9hG4bK{branch};rport", remote(story.path)))
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
fn unknown_methods_are_refused_and_nothing_ends() {
    each(|story| {
        let (call, mut dialog) = story.answered_call();
        for method in UNKNOWN {
            story.send(&outside(story, method, &format!("out{method}")));
            let status = refusal(story);
            assert!(matches!(status.as_str(), "405" | "501" | "489"), "{method} outside of dialogs gets {status}");
            story.send(&dialog.request(method));
            let status = refusal(story);
            assert!(matches!(status.as_str(), "405" | "501" | "489" | "603"), "{method} in a dialog gets {status}");
        }
        story.quiet(Duration::from_secs(40));
        story.finish(call);
    });
}

/// Returns the status of the next message.
fn refusal(story: &mut Story) -> String {
    story.wait(Duration::from_millis(50));
    let mut messages = Vec::new();
    story.take_new(&mut messages);
    assert_eq!(messages.len(), 1, "one response comes");
    name(&messages[0]).split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn options_are_answered_in_and_outside_of_dialogs() {
    each(|story| {
        story.send(&outside(story, "OPTIONS", "before"));
        let ok = story.receive("200 OPTIONS");
        assert!(ok.allow().unwrap().iter().any(|method| method == "INVITE"), "the 200 names the methods");
        let (call, mut dialog) = story.answered_call();
        story.send(&outside(story, "OPTIONS", "during"));
        story.receive("200 OPTIONS");
        story.send(&dialog.request("OPTIONS"));
        story.receive("200 OPTIONS");
        story.finish(call);
    });
}

#[test]
fn a_request_to_an_unknown_dialog_gets_481() {
    both(|story| {
        for method in ["BYE", "INFO", "UPDATE", "INVITE", "PRACK"] {
            let request = outside(story, method, method).replace("To", "To: <sip:gate@192.0.2.1>;tag=unknown");
            story.send(&request);
            story.receive(&format!("481 {method}"));
            if method == "INVITE" {
                story.send(&outside(story, "ACK", method).replace("To", "To: <sip:gate@192.0.2.1>;tag=unknown"));
            }
        }
        story.send(&outside(story, "CANCEL", "cancel"));
        story.receive("481 CANCEL");
        story.nothing_left();
    });
}

/// The agent only places calls.
#[test]
fn a_call_to_the_agent_is_refused() {
    both(|story| {
        story.send(&outside(story, "INVITE", "inbound").sdp("inbound"));
        let status = refusal(story);
        assert!(status.starts_with('4') || status.starts_with('5') || status.starts_with('6'), "{status}");
        if story.is_udp() {
            story.send(&outside(story, "INVITE", "inbound").sdp("inbound"));
            story.wait(Duration::from_millis(50));
            assert_eq!(story.repeats.len(), 1, "the repetition gets the same response");
        }
        story.send(&outside(story, "ACK", "inbound"));
        story.nothing_left();
    });
}

/// RFC 3261, 8.2.2.3.
#[test]
fn an_extension_that_is_required_and_unknown_gets_420() {
    both(|story| {
        let (call, mut dialog) = story.answered_call();
        let reinvite = dialog.request("INVITE").line("Require: timer, wibble").sdp("x");
        story.send(&reinvite);
        let refusal = story.receive("420 INVITE");
        let unsupported = refusal.header_values("Unsupported").next().map(String::from_utf8_lossy);
        assert_eq!(unsupported.as_deref(), Some("wibble"), "only the unknown one is named");
        story.send(&dialog.ack(&reinvite, 420));
        story.finish(call);
    });
}

/// RFC 5626, 4.4.1: two line ends ask, and one answers.
#[test]
fn a_keep_alive_on_a_stream_is_answered() {
    let mut story = Story::new(TCP);
    let flow = story.net.links[story.link].id;
    story.net.act(|agent, now| agent.handle_stream(now, flow, b"\r\n\r\n"));
    assert_eq!(story.net.keep_alives, 1, "one line end comes back");
    story.nothing_left();
}

#[test]
fn the_product_is_named_if_there_is_one() {
    for product in ["", "Gate/1.0"] {
        let config = Config { product: product.to_owned(), ..Config::default() };
        let mut story = Story::with(UDP, config);
        let (call, invite) = story.invite();
        let named = |message: &Message, name| message.header_values(name).next().map(<[u8]>::to_vec);
        let expected = Some(product.as_bytes().to_vec()).filter(|product| !product.is_empty());
        assert_eq!(named(&invite, "User-Agent"), expected, "in a request");
        story.answer(&invite, "callee");
        story.send(&outside(&story, "OPTIONS", "product"));
        assert_eq!(named(&story.receive("200 OPTIONS"), "Server"), expected, "in a response");
        story.finish(call);
    }
}

#[test]
fn any_response_shows_that_a_server_is_alive() {
    for (line, status) in [("200 OK", 200), ("404 Not Found", 404), ("407 Proxy", 407), ("503 Busy", 503)] {
        both(|story| {
            let flow = story.net.links[story.link].id;
            let probed = story.net.act(|agent, now| {
                agent
                    .probe(now, flow, "sip:192.0.2.7", Duration::from_secs(2), None)
                    .expect("there is room for a probe")
            });
            let options = story.receive("OPTIONS");
            story.reply(&options, line);
            assert_eq!(story.event(), Event::Probe(probed, ProbeResult::Responded(status)), "{line}");
            story.nothing_left();
        });
    }
}

#[test]
fn a_server_that_is_silent_or_gone_fails_its_probe() {
    for health in [Health::Good, Health::Dead, Health::Failing, Health::Closed] {
        for path in [UDP, TCP] {
            let mut story = Story::new(path);
            let (link, flow) = (story.link, story.net.links[story.link].id);
            if health != Health::Closed {
                story.net.links[link].health = health;
            }
            let start = story.net.now;
            let probed = story.net.act(|agent, now| {
                agent
                    .probe(now, flow, "sip:192.0.2.7", Duration::from_secs(2), None)
                    .expect("there is room for a probe")
            });
            if health == Health::Closed {
                story.net.close(link);
            }
            assert_eq!(story.event(), Event::Probe(probed, ProbeResult::NoResponse), "{health:?}");
            let took = story.net.now - start;
            let longest = if matches!(health, Health::Good | Health::Dead) { 2 } else { 1 };
            assert!(took <= Duration::from_secs(longest), "{health:?} is known after {took:?}");
            let mut options = Vec::new();
            story.take_new(&mut options);
            story.nothing_left();
        }
    }
}

/// A reply that comes after the time is up must not count for a later probe.
#[test]
fn a_late_reply_answers_no_other_probe() {
    both(|story| {
        let flow = story.net.links[story.link].id;
        let mut requests = Vec::new();
        for _ in 0..2 {
            story.net.act(|agent, now| {
                agent
                    .probe(now, flow, "sip:192.0.2.7", Duration::from_secs(2), None)
                    .expect("there is room for a probe")
            });
            requests.push(story.receive("OPTIONS"));
            if requests.len() == 1 {
                assert!(matches!(story.event(), Event::Probe(_, ProbeResult::NoResponse)), "the first is silent");
            }
        }
        story.reply(&requests[0], "200 OK");
        assert!(matches!(story.event(), Event::Probe(_, ProbeResult::NoResponse)), "and so is the second");
        story.nothing_left();
    });
}
