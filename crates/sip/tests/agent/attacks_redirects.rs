//! Redirections to other numbers and hosts.

use phonegate_sip::agent::{CallEvent, EndCause, RetryReason, Transport};
use phonegate_sip::message::Host;

use crate::net::scenario::{Scenario, UDP, both, local, remote, request_uri};
use crate::net::text::{Text, sdp};

/// A call over TLS that asked for `sips:` never continues without it (RFC 3261, 26.4.4).
#[test]
fn a_redirection_from_sips_to_sip_is_rejected() {
    let mut scenario =
        Scenario::new(crate::net::scenario::Path { transport: phonegate_sip::agent::Transport::Tls, ..UDP });
    let mut call = scenario.call();
    call.target = "sips:+14255550100@192.0.2.7".to_owned();
    scenario.place(call);
    let invite = scenario.receive("INVITE");
    let moved = Text::reply(&invite, "302 Moved").tag("x");
    scenario.send(&moved.line("Contact: <sip:+14255550100@192.0.2.7:5072>"));
    scenario.receive("ACK");
    assert!(matches!(scenario.ended().cause, EndCause::RedirectRejected(_)), "the redirection is a downgrade");
    scenario.nothing_left();
}

/// Of several contacts, only those at the trunk can be followed.
#[test]
fn a_list_of_contacts_leads_to_the_trunk_or_nowhere() {
    both(|scenario| {
        let call = scenario.place(scenario.call());
        let invite = scenario.receive("INVITE");
        let moved = Text::reply(&invite, "300 Multiple Choices").tag("x");
        let contacts = "<sip:+19005550199@192.0.2.7>;q=1.0, <sip:+14255550100@203.0.113.66>;q=0.9";
        let own = "<sip:+14255550100@192.0.2.7:5072>;q=0.1";
        scenario.send(&moved.line(format!("Contact: {contacts}, {own}")));
        scenario.receive("ACK");
        match scenario.call_event() {
            CallEvent::Redirected(uri) => {
                assert_eq!(uri.to_string(), "sip:+14255550100@192.0.2.7:5072", "only that one is allowed");
                scenario.hang_up(call);
                scenario.ended();
            }
            CallEvent::Ended(ended) => assert!(matches!(ended.cause, EndCause::RedirectRejected(_)), "{ended:?}"),
            event => panic!("{event:?}"),
        }
        scenario.nothing_left();
    });
}

/// Two nodes that send a call to each other.
#[test]
fn a_redirection_loop_ends() {
    both(|scenario| {
        let call = scenario.place(scenario.call());
        let mut invite = scenario.receive("INVITE");
        for round in 0.. {
            assert!(round < 20, "the agent follows without end");
            let port = 5_070 + round % 2;
            let moved = Text::reply(&invite, "302 Moved").tag("x");
            scenario.send(&moved.line(format!("Contact: <sip:+14255550100@192.0.2.7:{port}>")));
            scenario.receive("ACK");
            match scenario.call_event() {
                CallEvent::Redirected(_) => {
                    let (mut own, mut server) = (local(scenario.path), remote(scenario.path));
                    own.set_port(6_000 + round);
                    server.set_port(port);
                    scenario.link = scenario.net.open(scenario.path.transport, own, server);
                    let flow = scenario.net.links[scenario.link].id;
                    scenario.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
                    invite = scenario.receive("INVITE");
                    assert_eq!(scenario.call_event(), CallEvent::Retried(RetryReason::Redirected), "it is followed");
                }
                CallEvent::Ended(ended) => {
                    assert!(matches!(ended.cause, EndCause::RedirectRejected(_)), "{ended:?}");
                    assert!(round > 0, "one redirection is allowed");
                    break;
                }
                event => panic!("{event:?}"),
            }
        }
        scenario.nothing_left();
    });
}

/// The caller follows only what was reported, and once.
#[test]
fn a_call_that_is_not_redirected_cannot_follow() {
    let mut scenario = Scenario::new(UDP);
    let (call, _) = scenario.answered_call();
    let flow = scenario.net.links[scenario.link].id;
    let followed = scenario.net.act(|agent, now| agent.follow_redirect(now, call, flow));
    assert!(followed.is_err(), "there is nothing to follow");
    scenario.finish(call);
    let followed = scenario.net.act(|agent, now| agent.follow_redirect(now, call, flow));
    assert!(followed.is_err(), "there is no such call");
}

/// What a URI carries in addition to the address stays out of the INVITE (RFC 3261, 19.1.5).
#[test]
fn a_redirection_adds_no_headers_to_the_invite() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        let moved = Text::reply(&invite, "302 Moved").tag("x");
        let headers = "?Route=%3Csip:203.0.113.66;lr%3E&Subject=x&body=evil";
        scenario.send(&moved.line(format!("Contact: <sip:+14255550100@192.0.2.7:5072;method=MESSAGE{headers}>")));
        scenario.receive("ACK");
        assert!(matches!(scenario.call_event(), CallEvent::Redirected(_)), "it leads to the trunk");
        let flow = scenario.net.links[scenario.link].id;
        scenario.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
        let invite = scenario.receive("INVITE");
        assert_eq!(request_uri(&invite), "sip:+14255550100@192.0.2.7:5072", "only the address counts");
        assert!(!invite.has_header("Route") && !invite.has_header("Subject"), "nothing is added");
        assert_eq!(invite.body(), sdp("offer"), "the body stays");
        assert!(matches!(scenario.call_event(), CallEvent::Retried(RetryReason::Redirected)), "it is followed");
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

/// From a flow without encryption to one with it, and to another transport.
#[test]
fn a_redirection_may_lead_to_another_transport() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut scenario = Scenario::new(UDP);
        let (call, invite) = scenario.invite();
        let moved = Text::reply(&invite, "302 Moved").tag("x");
        scenario.send(&moved.line("Contact: <sip:+14255550100@192.0.2.7:5072;transport=tcp>"));
        scenario.receive("ACK");
        assert!(matches!(scenario.call_event(), CallEvent::Redirected(_)), "it leads to the trunk");
        scenario.path.transport = transport;
        let (own, mut server) = (local(scenario.path), remote(scenario.path));
        server.set_port(5_072);
        scenario.link = scenario.net.open(transport, own, server);
        let flow = scenario.net.links[scenario.link].id;
        scenario.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
        let invite = scenario.receive("INVITE");
        assert!(matches!(scenario.call_event(), CallEvent::Retried(RetryReason::Redirected)), "it is followed");
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    }
}

/// The names of the trunk are those that the caller gave, whatever the Request-URI says.
#[test]
fn a_redirection_to_a_name_of_the_trunk_is_followed() {
    both(|scenario| {
        let mut call = scenario.call();
        call.trunk.push(Host::Name("node2.example.com".to_owned()));
        let call = scenario.place(call);
        let invite = scenario.receive("INVITE");
        let moved = Text::reply(&invite, "302 Moved").tag("x");
        scenario.send(&moved.line("Contact: <sip:%2B14255550100@Node2.Example.com>"));
        scenario.receive("ACK");
        assert!(matches!(scenario.call_event(), CallEvent::Redirected(_)), "user and host are the trunk's");
        scenario.hang_up(call);
        scenario.ended();
        scenario.nothing_left();
    });
}

/// Another number, another host, another scheme, or nothing that can be called.
const ELSEWHERE: &[&str] = &[
    "<sip:+19005550199@192.0.2.7>",
    "<sip:+14255550100@203.0.113.66>",
    "<sip:+14255550100@evil.example.com>",
    "<sip:+14255550100@192.0.2.7.evil.example.com>",
    "<sip:+14255550100@192.0.2.7;maddr=203.0.113.66>",
    "<sip:+14255550100%00@192.0.2.7>",
    "<sip:+14255550100;ext=9@192.0.2.7>",
    "<sip:192.0.2.7>",
    "<tel:+14255550100>",
    "<tel:+19005550199>",
    "<http://192.0.2.7/>",
    "*",
    "<sip:+14255550100@>",
    "",
];

#[test]
fn a_redirection_elsewhere_is_rejected() {
    for contact in ELSEWHERE {
        for status in ["300 Multiple Choices", "301 Moved Permanently", "302 Moved Temporarily"] {
            both(|scenario| {
                scenario.place(scenario.call());
                let invite = scenario.receive("INVITE");
                let mut moved = Text::reply(&invite, status).tag("x");
                if !contact.is_empty() {
                    moved = moved.line(format!("Contact: {contact}"));
                }
                scenario.send(&moved);
                scenario.receive("ACK");
                let ended = scenario.ended();
                let rejected = matches!(ended.cause, EndCause::RedirectRejected(_) | EndCause::Rejected(_));
                assert!(rejected && !ended.may_have_rung && !ended.may_still_ring, "{contact}: {ended:?}");
                if !contact.is_empty() && contact.starts_with("<sip:+1") && !contact.ends_with("@>") {
                    assert!(matches!(ended.cause, EndCause::RedirectRejected(_)), "{contact}: {ended:?}");
                }
                scenario.nothing_left();
            });
        }
    }
}

/// A backslash cannot be written in a request with credentials.
#[test]
fn a_redirection_with_a_backslash_is_followed() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        let to = format!("sip:+14255550100@{}:5072;x=a\\b", scenario.host());
        let moved = Text::reply(&invite, "302 Moved Temporarily").tag("first");
        scenario.send(&moved.line(format!("Contact: <{to}>")));
        scenario.receive("ACK");
        assert!(matches!(scenario.call_event(), CallEvent::Redirected(_)), "the redirection is reported");
        let flow = scenario.net.links[scenario.link].id;
        scenario.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
        let next = scenario.receive("INVITE");
        assert_eq!(request_uri(&next), to.replace('\\', "%5C"), "it is escaped");
        assert_eq!(scenario.call_event(), CallEvent::Retried(RetryReason::Redirected), "the retry is reported");
        scenario.answer(&next, "two");
        scenario.finish(call);
    });
}
