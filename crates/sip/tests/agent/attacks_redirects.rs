//! Redirections to other numbers and hosts.

use phonegate_sip::agent::{CallEvent, EndCause, RetryReason, Transport};
use phonegate_sip::message::Host;

use crate::net::story::{Story, UDP, both, local, remote, request_uri};
use crate::net::text::{Text, sdp};

/// A call over TLS that asked for `sips:` never continues without it (RFC 3261, 26.4.4).
#[test]
fn a_redirection_from_sips_to_sip_is_refused() {
    let mut story = Story::new(crate::net::story::Path { transport: phonegate_sip::agent::Transport::Tls, ..UDP });
    let mut call = story.call();
    call.target = "sips:+14255550100@192.0.2.7".to_owned();
    story.place(call);
    let invite = story.receive("INVITE");
    let moved = Text::reply(&invite, "302 Moved").tag("x");
    story.send(&moved.line("Contact: <sip:+14255550100@192.0.2.7:5072>"));
    story.receive("ACK");
    assert!(matches!(story.ended().cause, EndCause::RedirectRefused(_)), "the redirection is a downgrade");
    story.nothing_left();
}

/// Of several contacts, only those at the trunk can be followed.
#[test]
fn a_list_of_contacts_leads_to_the_trunk_or_nowhere() {
    both(|story| {
        let call = story.place(story.call());
        let invite = story.receive("INVITE");
        let moved = Text::reply(&invite, "300 Multiple Choices").tag("x");
        let contacts = "<sip:+19005550199@192.0.2.7>;q=1.0, <sip:+14255550100@203.0.113.66>;q=0.9";
        let own = "<sip:+14255550100@192.0.2.7:5072>;q=0.1";
        story.send(&moved.line(format!("Contact: {contacts}, {own}")));
        story.receive("ACK");
        match story.call_event() {
            CallEvent::Redirected(uri) => {
                assert_eq!(uri.to_string(), "sip:+14255550100@192.0.2.7:5072", "only that one is allowed");
                story.hang_up(call);
                story.ended();
            }
            CallEvent::Ended(ended) => assert!(matches!(ended.cause, EndCause::RedirectRefused(_)), "{ended:?}"),
            event => panic!("{event:?}"),
        }
        story.nothing_left();
    });
}

/// Two nodes that send a call to each other.
#[test]
fn a_redirection_loop_ends() {
    both(|story| {
        let call = story.place(story.call());
        let mut invite = story.receive("INVITE");
        for round in 0.. {
            assert!(round < 20, "the agent follows without end");
            let port = 5_070 + round % 2;
            let moved = Text::reply(&invite, "302 Moved").tag("x");
            story.send(&moved.line(format!("Contact: <sip:+14255550100@192.0.2.7:{port}>")));
            story.receive("ACK");
            match story.call_event() {
                CallEvent::Redirected(_) => {
                    let (mut own, mut server) = (local(story.path), remote(story.path));
                    own.set_port(6_000 + round);
                    server.set_port(port);
                    story.link = story.net.open(story.path.transport, own, server);
                    let flow = story.net.links[story.link].id;
                    story.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
                    invite = story.receive("INVITE");
                    assert_eq!(story.call_event(), CallEvent::Retried(RetryReason::Redirected), "it is followed");
                }
                CallEvent::Ended(ended) => {
                    assert!(matches!(ended.cause, EndCause::RedirectRefused(_)), "{ended:?}");
                    assert!(round > 0, "one redirection is allowed");
                    break;
                }
                event => panic!("{event:?}"),
            }
        }
        story.nothing_left();
    });
}

/// The caller follows only what was reported, and once.
#[test]
fn a_call_that_is_not_redirected_cannot_follow() {
    let mut story = Story::new(UDP);
    let (call, _) = story.answered_call();
    let flow = story.net.links[story.link].id;
    let followed = story.net.act(|agent, now| agent.follow_redirect(now, call, flow));
    assert!(followed.is_err(), "there is nothing to follow");
    story.finish(call);
    let followed = story.net.act(|agent, now| agent.follow_redirect(now, call, flow));
    assert!(followed.is_err(), "there is no such call");
}

/// What a URI carries in addition to the address stays out of the INVITE (RFC 3261, 19.1.5).
#[test]
fn a_redirection_adds_no_headers_to_the_invite() {
    both(|story| {
        let (call, invite) = story.invite();
        let moved = Text::reply(&invite, "302 Moved").tag("x");
        let headers = "?Route=%3Csip:203.0.113.66;lr%3E&Subject=x&body=evil";
        story.send(&moved.line(format!("Contact: <sip:+14255550100@192.0.2.7:5072;method=MESSAGE{headers}>")));
        story.receive("ACK");
        assert!(matches!(story.call_event(), CallEvent::Redirected(_)), "it leads to the trunk");
        let flow = story.net.links[story.link].id;
        story.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
        let invite = story.receive("INVITE");
        assert_eq!(request_uri(&invite), "sip:+14255550100@192.0.2.7:5072", "only the address counts");
        assert!(!invite.has_header("Route") && !invite.has_header("Subject"), "nothing is added");
        assert_eq!(invite.body(), sdp("offer"), "the body stays");
        assert!(matches!(story.call_event(), CallEvent::Retried(RetryReason::Redirected)), "it is followed");
        story.answer(&invite, "callee");
        story.finish(call);
    });
}

/// From a flow without encryption to one with it, and to another transport.
#[test]
fn a_redirection_may_lead_to_another_transport() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut story = Story::new(UDP);
        let (call, invite) = story.invite();
        let moved = Text::reply(&invite, "302 Moved").tag("x");
        story.send(&moved.line("Contact: <sip:+14255550100@192.0.2.7:5072;transport=tcp>"));
        story.receive("ACK");
        assert!(matches!(story.call_event(), CallEvent::Redirected(_)), "it leads to the trunk");
        story.path.transport = transport;
        let (own, mut server) = (local(story.path), remote(story.path));
        server.set_port(5_072);
        story.link = story.net.open(transport, own, server);
        let flow = story.net.links[story.link].id;
        story.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
        let invite = story.receive("INVITE");
        assert!(matches!(story.call_event(), CallEvent::Retried(RetryReason::Redirected)), "it is followed");
        story.answer(&invite, "callee");
        story.finish(call);
    }
}

/// The names of the trunk are those that the caller gave, whatever the Request-URI says.
#[test]
fn a_redirection_to_a_name_of_the_trunk_is_followed() {
    both(|story| {
        let mut call = story.call();
        call.trunk.push(Host::Name("node2.example.com".to_owned()));
        let call = story.place(call);
        let invite = story.receive("INVITE");
        let moved = Text::reply(&invite, "302 Moved").tag("x");
        story.send(&moved.line("Contact: <sip:%2B14255550100@Node2.Example.com>"));
        story.receive("ACK");
        assert!(matches!(story.call_event(), CallEvent::Redirected(_)), "user and host are the trunk's");
        story.hang_up(call);
        story.ended();
        story.nothing_left();
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
fn a_redirection_elsewhere_is_refused() {
    for contact in ELSEWHERE {
        for status in ["300 Multiple Choices", "301 Moved Permanently", "302 Moved Temporarily"] {
            both(|story| {
                story.place(story.call());
                let invite = story.receive("INVITE");
                let mut moved = Text::reply(&invite, status).tag("x");
                if !contact.is_empty() {
                    moved = moved.line(format!("Contact: {contact}"));
                }
                story.send(&moved);
                story.receive("ACK");
                let ended = story.ended();
                let refused = matches!(ended.cause, EndCause::RedirectRefused(_) | EndCause::Refused(_));
                assert!(refused && !ended.may_have_rung && !ended.may_still_ring, "{contact}: {ended:?}");
                if !contact.is_empty() && contact.starts_with("<sip:+1") && !contact.ends_with("@>") {
                    assert!(matches!(ended.cause, EndCause::RedirectRefused(_)), "{contact}: {ended:?}");
                }
                story.nothing_left();
            });
        }
    }
}
