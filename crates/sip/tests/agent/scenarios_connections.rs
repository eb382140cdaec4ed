//! Connections that close in the middle of a call.

use std::time::Duration;

use phonegate_sip::agent::{EndCause, Transport};

use crate::net::scenario::{Path, Scenario, TCP, UDP, local, remote};
use crate::net::text::Text;

/// Opens another connection to the server, and moves the scenario to it.
fn reconnect(scenario: &mut Scenario) {
    let mut own = local(scenario.path);
    own.set_port(5_090);
    let old = scenario.net.links[scenario.link].id;
    scenario.link = scenario.net.open(scenario.path.transport, own, remote(scenario.path));
    let new = scenario.net.links[scenario.link].id;
    scenario.net.act(|agent, now| agent.replace_flow(now, old, new));
}

#[test]
fn an_established_call_outlives_its_connection() {
    for path in [TCP, Path { transport: Transport::Tls, ..UDP }] {
        let mut scenario = Scenario::new(path);
        let (call, _) = scenario.answered_call();
        scenario.net.close(scenario.link);
        scenario.quiet(Duration::from_secs(20));
        reconnect(&mut scenario);
        scenario.finish(call);
    }
}

/// The phone is off the hook, and no message can reach the peer.
#[test]
fn hanging_up_without_a_connection_reports_may_still_ring() {
    let mut scenario = Scenario::new(TCP);
    let (call, _) = scenario.answered_call();
    scenario.net.close(scenario.link);
    scenario.hang_up(call);
    let ended = scenario.ended();
    assert_eq!(ended.cause, EndCause::HungUp, "the caller hung up");
    assert!(ended.may_still_ring, "the peer does not know of it");
    scenario.nothing_left();
}

#[test]
fn a_connection_lost_during_the_bye_reports_may_still_ring() {
    let mut scenario = Scenario::new(TCP);
    let (call, _) = scenario.answered_call();
    scenario.hang_up(call);
    scenario.receive("BYE");
    scenario.net.close(scenario.link);
    let ended = scenario.ended();
    assert_eq!(ended.cause, EndCause::HungUp, "the caller hung up");
    assert!(ended.may_still_ring, "the peer did not confirm");
    scenario.nothing_left();
}

/// The BYE is sent again once there is another connection: the phone is off the hook until then.
#[test]
fn a_bye_that_was_lost_with_its_connection_is_sent_on_the_next() {
    for is_lost_before in [true, false] {
        let mut scenario = Scenario::new(TCP);
        let (call, _) = scenario.answered_call();
        if is_lost_before {
            scenario.net.close(scenario.link);
            scenario.hang_up(call);
        } else {
            scenario.hang_up(call);
            scenario.receive("BYE");
            scenario.net.close(scenario.link);
        }
        assert!(scenario.ended().may_still_ring, "the peer does not know of it");
        let old = scenario.net.links[scenario.link].id;
        assert!(scenario.net.act(|agent, _| agent.has_calls(old)), "the call needs a connection");
        reconnect(&mut scenario);
        let bye = scenario.receive("BYE");
        scenario.reply(&bye, "200 OK");
        let new = scenario.net.links[scenario.link].id;
        assert!(!scenario.net.act(|agent, _| agent.has_calls(new)), "nothing is left to send");
        scenario.nothing_left();
    }
}

/// The phone rings, the connection closes, and a new one is opened: the CANCEL is sent on it.
#[test]
fn a_phone_that_rings_is_cancelled_over_a_new_connection() {
    for hangs_up in [false, true] {
        let mut scenario = Scenario::new(TCP);
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        scenario.progress();
        if hangs_up {
            scenario.hang_up(call);
            scenario.receive("CANCEL");
        }
        scenario.net.close(scenario.link);
        let ended = scenario.ended();
        assert!(ended.may_have_rung && ended.may_still_ring, "{ended:?}");
        scenario.wait(Duration::from_millis(1));
        reconnect(&mut scenario);
        let cancel = if hangs_up {
            scenario.wait(Duration::from_millis(50));
            scenario.repeats.pop().expect("the CANCEL comes again").message
        } else {
            scenario.receive("CANCEL")
        };
        scenario.confirm_cancel(&invite, &cancel);
        scenario.nothing_left();
    }
}

/// A peer that answers a call over a new connection.
#[test]
fn a_2xx_over_a_new_connection_is_hung_up_if_the_call_ended() {
    let mut scenario = Scenario::new(TCP);
    let (_, invite) = scenario.invite();
    scenario.net.close(scenario.link);
    assert!(scenario.ended().may_still_ring, "the INVITE was sent");
    reconnect(&mut scenario);
    scenario.wait(Duration::from_millis(50));
    let mut cancel = Vec::new();
    scenario.take_new(&mut cancel);
    scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
    scenario.receive("ACK");
    let bye = scenario.receive("BYE");
    scenario.reply(&bye, "200 OK");
    scenario.nothing_left();
}

#[test]
fn nothing_is_sent_on_a_flow_that_is_closed() {
    for path in [UDP, TCP] {
        let mut scenario = Scenario::new(path);
        let (call, flow) = (scenario.call(), scenario.net.links[scenario.link].id);
        scenario.net.close(scenario.link);
        assert!(scenario.net.act(|agent, now| agent.place_call(now, flow, call)).is_err(), "a call needs a flow");
        let timeout = Duration::from_secs(2);
        assert!(
            scenario.net.act(|agent, now| agent.probe(now, flow, "sip:192.0.2.7", timeout, None)).is_err(),
            "and a probe"
        );
        let options = Text::new("OPTIONS sip:gate@192.0.2.1 SIP/2.0")
            .line("Via: SIP/2.0/TCP 192.0.2.7;branch=z9hG4bK1")
            .line("From: <sip:a@192.0.2.7>;tag=1")
            .line("To: <sip:gate@192.0.2.1>")
            .line("Call-ID: 1")
            .line("CSeq: 1 OPTIONS")
            .build();
        scenario.net.act(|agent, now| agent.handle_stream(now, flow, &options));
        scenario.net.act(|agent, now| agent.handle_datagram(now, flow, remote(path), &options));
        scenario.nothing_left();
    }
}

/// The driver may have another connection ready.
#[test]
fn a_connection_may_be_replaced_when_it_closes() {
    let mut scenario = Scenario::new(TCP);
    let (_, invite) = scenario.invite();
    scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
    scenario.progress();
    let mut own = local(TCP);
    own.set_port(5_090);
    let (old, id) = (scenario.link, scenario.net.links[scenario.link].id);
    scenario.link = scenario.net.open(TCP.transport, own, remote(TCP));
    let new = scenario.net.links[scenario.link].id;
    scenario.net.close(old);
    scenario.net.act(|agent, now| agent.replace_flow(now, id, new));
    assert!(scenario.ended().may_still_ring, "the phone rings");
    let cancel = scenario.receive("CANCEL");
    scenario.confirm_cancel(&invite, &cancel);
    scenario.nothing_left();
}
