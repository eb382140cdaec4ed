//! Connections that close in the middle of a call.

use std::time::Duration;

use phonegate_sip::agent::{EndCause, Transport};

use crate::net::story::{Path, Story, TCP, UDP, local, remote};
use crate::net::text::Text;

/// Opens another connection to the server, and moves the scenario to it.
fn reconnect(story: &mut Story) {
    let mut own = local(story.path);
    own.set_port(5_090);
    let old = story.net.links[story.link].id;
    story.link = story.net.open(story.path.transport, own, remote(story.path));
    let new = story.net.links[story.link].id;
    story.net.act(|agent, now| agent.replace_flow(now, old, new));
}

#[test]
fn an_answered_call_outlives_its_connection() {
    for path in [TCP, Path { transport: Transport::Tls, ..UDP }] {
        let mut story = Story::new(path);
        let (call, _) = story.answered_call();
        story.net.close(story.link);
        story.quiet(Duration::from_secs(20));
        reconnect(&mut story);
        story.finish(call);
    }
}

/// The phone is off the hook, and no message can reach the peer.
#[test]
fn hanging_up_without_a_connection_reports_may_still_ring() {
    let mut story = Story::new(TCP);
    let (call, _) = story.answered_call();
    story.net.close(story.link);
    story.hang_up(call);
    let ended = story.ended();
    assert_eq!(ended.cause, EndCause::HungUp, "the caller hung up");
    assert!(ended.may_still_ring, "the peer does not know of it");
    story.nothing_left();
}

#[test]
fn a_connection_lost_during_the_bye_reports_may_still_ring() {
    let mut story = Story::new(TCP);
    let (call, _) = story.answered_call();
    story.hang_up(call);
    story.receive("BYE");
    story.net.close(story.link);
    let ended = story.ended();
    assert_eq!(ended.cause, EndCause::HungUp, "the caller hung up");
    assert!(ended.may_still_ring, "the peer did not confirm");
    story.nothing_left();
}

/// The BYE is sent again once there is another connection: the phone is off the hook until then.
#[test]
fn a_bye_that_was_lost_with_its_connection_is_sent_on_the_next() {
    for is_lost_before in [true, false] {
        let mut story = Story::new(TCP);
        let (call, _) = story.answered_call();
        if is_lost_before {
            story.net.close(story.link);
            story.hang_up(call);
        } else {
            story.hang_up(call);
            story.receive("BYE");
            story.net.close(story.link);
        }
        assert!(story.ended().may_still_ring, "the peer does not know of it");
        let old = story.net.links[story.link].id;
        assert!(story.net.act(|agent, _| agent.has_calls(old)), "the call needs a connection");
        reconnect(&mut story);
        let bye = story.receive("BYE");
        story.reply(&bye, "200 OK");
        let new = story.net.links[story.link].id;
        assert!(!story.net.act(|agent, _| agent.has_calls(new)), "nothing is left to send");
        story.nothing_left();
    }
}

/// The phone rings, the connection closes, and a new one is opened: the CANCEL is sent on it.
#[test]
fn a_phone_that_rings_is_cancelled_over_a_new_connection() {
    for hangs_up in [false, true] {
        let mut story = Story::new(TCP);
        let (call, invite) = story.invite();
        story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
        story.progress();
        if hangs_up {
            story.hang_up(call);
            story.receive("CANCEL");
        }
        story.net.close(story.link);
        let ended = story.ended();
        assert!(ended.may_have_rung && ended.may_still_ring, "{ended:?}");
        story.wait(Duration::from_millis(1));
        reconnect(&mut story);
        let cancel = if hangs_up {
            story.wait(Duration::from_millis(50));
            story.repeats.pop().expect("the CANCEL comes again").message
        } else {
            story.receive("CANCEL")
        };
        story.confirm_cancel(&invite, &cancel);
        story.nothing_left();
    }
}

/// A peer that answers a call over a new connection.
#[test]
fn an_answer_over_a_new_connection_is_hung_up_if_the_call_ended() {
    let mut story = Story::new(TCP);
    let (_, invite) = story.invite();
    story.net.close(story.link);
    assert!(story.ended().may_still_ring, "the INVITE was sent");
    reconnect(&mut story);
    story.wait(Duration::from_millis(50));
    let mut cancel = Vec::new();
    story.take_new(&mut cancel);
    story.send(&story.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
    story.receive("ACK");
    let bye = story.receive("BYE");
    story.reply(&bye, "200 OK");
    story.nothing_left();
}

#[test]
fn nothing_is_sent_on_a_flow_that_is_closed() {
    for path in [UDP, TCP] {
        let mut story = Story::new(path);
        let (call, flow) = (story.call(), story.net.links[story.link].id);
        story.net.close(story.link);
        assert!(story.net.act(|agent, now| agent.place_call(now, flow, call)).is_err(), "a call needs a flow");
        let timeout = Duration::from_secs(2);
        assert!(
            story.net.act(|agent, now| agent.probe(now, flow, "sip:192.0.2.7", timeout, None)).is_err(),
            "and a probe"
        );
        let options = Text::new("OPTIONS sip:gate@192.0.2.1 SIP/2.0")
            .line("Via: SIP/2.0/TCP 192.0.2.7;branch=z9hG4bK1")
            .line("From: <sip:a@192.0.2.7>;tag=1")
            .line("To: <sip:gate@192.0.2.1>")
            .line("Call-ID: 1")
            .line("CSeq: 1 OPTIONS")
            .build();
        story.net.act(|agent, now| agent.handle_stream(now, flow, &options));
        story.net.act(|agent, now| agent.handle_datagram(now, flow, remote(path), &options));
        story.nothing_left();
    }
}

/// The driver may have another connection ready.
#[test]
fn a_connection_may_be_replaced_when_it_closes() {
    let mut story = Story::new(TCP);
    let (_, invite) = story.invite();
    story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
    story.progress();
    let mut own = local(TCP);
    own.set_port(5_090);
    let (old, id) = (story.link, story.net.links[story.link].id);
    story.link = story.net.open(TCP.transport, own, remote(TCP));
    let new = story.net.links[story.link].id;
    story.net.close(old);
    story.net.act(|agent, now| agent.replace_flow(now, id, new));
    assert!(story.ended().may_still_ring, "the phone rings");
    let cancel = story.receive("CANCEL");
    story.confirm_cancel(&invite, &cancel);
    story.nothing_left();
}
