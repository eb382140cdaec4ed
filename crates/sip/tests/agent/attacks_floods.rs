//! Floods: the agent stays within its limits, and its calls continue.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, Config, EndCause, Flow, Reply};

use phonegate_sip::message::{Limits, Message};

use crate::net::scenario::{Scenario, TCP, UDP, both, remote};
use crate::net::text::Text;

fn small() -> Config {
    Config { max_server_transactions: 32, max_queue: 64, max_calls: 8, ..Config::default() }
}

fn outside(method: &str, number: u32) -> Text {
    Text::new(format!("{method} sip:gate@192.0.2.1:5060 SIP/2.0"))
        .line(format!("Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKflood{number};rport"))
        .line("From: <sip:a@192.0.2.7>;tag=1")
        .line("To: <sip:gate@192.0.2.1>")
        .line(format!("Call-ID: flood-{number}"))
        .line(format!("CSeq: 1 {method}"))
}

/// Discards pending messages and events, and returns their number.
fn skip(scenario: &mut Scenario) -> usize {
    let mut messages = Vec::new();
    scenario.take_new(&mut messages);
    messages.len()
}

/// The network compares the agent's usage with its settings after each message.
#[test]
fn a_flood_of_requests_keeps_calls_and_bounds() {
    for method in ["OPTIONS", "INVITE", "BYE", "CANCEL", "PING", "ACK"] {
        let mut scenario = Scenario::with(UDP, small());
        let (call, _) = scenario.answered_call();
        for number in 0..1_000 {
            scenario.net.send(scenario.link, outside(method, number).build());
            scenario.wait(Duration::from_micros(80));
        }
        scenario.wait(Duration::from_secs(40));
        skip(&mut scenario);
        scenario.finish(call);
    }
}

/// 12,000 requests a second get 200 responses immediately, and 200 a second after that.
#[test]
fn responses_to_a_flood_outside_of_calls_are_limited() {
    both(|scenario| {
        for (number, method) in (0..3_000).zip(["OPTIONS", "INVITE", "BYE", "CANCEL", "PING"].into_iter().cycle()) {
            scenario.net.send(scenario.link, outside(method, number).build());
            scenario.wait(Duration::from_nanos(83_333));
        }
        scenario.wait(Duration::from_secs(1));
        let responses = skip(scenario);
        assert!((200..300).contains(&responses), "{responses} responses in a quarter of a second");
        scenario.send(&outside("OPTIONS", 3_000));
        scenario.receive("200 OPTIONS");
    });
}

#[test]
fn a_flood_of_garbage_is_dropped_and_counted() {
    let mut scenario = Scenario::with(UDP, small());
    let (call, _) = scenario.answered_call();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..5_000 {
        let mut bytes = vec![0; random.usize(1..600)];
        random.fill(&mut bytes);
        scenario.net.send(scenario.link, bytes);
    }
    scenario.quiet(Duration::from_secs(2));
    assert!(scenario.net.agent.drops().malformed >= 4_900, "{:?}", scenario.net.agent.drops());
    scenario.finish(call);
}

/// Each 1xx with a new tag is one more early dialog.
#[test]
fn a_flood_of_early_dialogs_is_bounded() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        for number in 0..1_000 {
            let ringing = scenario.in_dialog(&invite, "180 Ringing", &format!("fork{number}"));
            scenario.send(&ringing.line("Require: 100rel").line("RSeq: 1"));
        }
        scenario.wait(Duration::from_millis(500));
        let pracks = skip(scenario);
        assert!(pracks < 200, "{pracks} PRACKs are on their way at once");
        assert!(scenario.net.usage().client_transactions < 200, "{:?}", scenario.net.usage());
        while scenario.net.now < Duration::from_secs(1_100) {
            scenario.wait(Duration::from_secs(10));
        }
        scenario.hang_up(call);
        scenario.wait(Duration::from_millis(100));
        let mut messages = Vec::new();
        scenario.take_new(&mut messages);
        let cancel =
            messages.iter().find(|message| message.as_bytes().starts_with(b"CANCEL")).expect("it is cancelled");
        scenario.reply(cancel, "200 OK");
        scenario.reply(&invite, "487 Request Terminated");
        scenario.receive("ACK");
        while !matches!(scenario.call_event(), CallEvent::Ended(_)) {}
        scenario.nothing_left();
    });
}

/// Each 200 with a new tag is one more phone to hang up.
#[test]
fn a_flood_of_2xx_is_bounded() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.answer(&invite, "callee");
        for number in 0..1_000 {
            scenario.send(&scenario.in_dialog(&invite, "200 OK", &format!("fork{number}")).sdp("x"));
        }
        scenario.wait(Duration::from_millis(500));
        let usage = scenario.net.usage();
        assert!(usage.client_transactions < 200 && usage.timers < 1_000, "{usage:?}");
        scenario.wait(Duration::from_secs(60));
        skip(scenario);
        scenario.hang_up(call);
        let bye = scenario.receive("BYE");
        scenario.reply(&bye, "200 OK");
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::HungUp, "the caller hung up");
        assert!(ended.may_still_ring, "the other forks did not confirm their end");
        scenario.nothing_left();
    });
}

/// The caller responds slowly or not at all.
#[test]
fn a_flood_of_infos_is_bounded() {
    for responds in [false, true] {
        both(|scenario| {
            let (call, mut dialog) = scenario.answered_call();
            for _ in 0..1_000 {
                scenario.send(&dialog.request("INFO").body("application/dtmf", "1"));
            }
            scenario.wait(Duration::from_millis(200));
            let usage = scenario.net.usage();
            assert!(usage.server_transactions <= Config::default().max_server_transactions, "{usage:?}");
            if responds {
                for request in scenario.take_infos() {
                    scenario.respond(request, Reply::Reject(415));
                }
            }
            scenario.wait(Duration::from_secs(60));
            scenario.take_infos();
            skip(scenario);
            scenario.finish(call);
        });
    }
}

/// A driver that does not poll for a while: what waits to be polled is bounded.
#[test]
fn unpolled_queues_are_bounded() {
    let mut scenario = Scenario::with(UDP, small());
    let (call, dialog) = scenario.answered_call();
    let flow = scenario.net.links[scenario.link].id;
    let now = scenario.net.now;
    for number in 0..5_000 {
        let mut peer = dialog.clone();
        peer.cseq += number;
        let info = peer.request("INFO").replace("Via", format!("Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKq{number}"));
        for bytes in [outside("OPTIONS", number).build(), info.body("application/dtmf", "1").build()] {
            let message = Message::from_datagram(&bytes, &Limits::default()).expect("it is well-formed");
            scenario.net.inspector.agent_received(&message);
            scenario.net.agent.handle_datagram(now, flow, remote(UDP), &bytes);
            let usage = scenario.net.usage();
            assert!(usage.transmits <= 64 + 8 && usage.events <= 64 + 8, "{usage:?}");
            assert!(usage.server_transactions <= 32, "{usage:?}");
        }
    }
    while scenario.net.agent.poll_transmit().is_some() {}
    while scenario.net.agent.poll_event().is_some() {}
    scenario.net.act(|agent, now| agent.handle_timeout(now));
    scenario.wait(Duration::from_secs(60));
    skip(&mut scenario);
    scenario.take_infos();
    scenario.finish(call);
}

/// A stream without Content-Length can no longer be read. The agent reports it once and keeps none of it.
#[test]
fn a_stream_of_garbage_fails_its_flow() {
    for garbage in [vec![b'x'; 200_000], b"OPTIONS sip:a SIP/2.0\r\nX: y\r\n\r\n".to_vec()] {
        let mut scenario = Scenario::new(TCP);
        let flow = scenario.net.links[scenario.link].id;
        for piece in garbage.chunks(60_000) {
            scenario.net.act(|agent, now| agent.handle_stream(now, flow, piece));
        }
        assert_eq!(scenario.event(), phonegate_sip::agent::Event::FlowFailed(flow), "the stream cannot be read");
        scenario.net.act(|agent, now| agent.handle_stream(now, flow, b"more"));
        scenario.quiet(Duration::from_secs(60));
        scenario.net.close(scenario.link);
        scenario.nothing_left();
    }
}

#[test]
fn flows_and_registrations_are_bounded() {
    let config = Config { max_flows: 3, max_registrations: 2, ..Config::default() };
    let mut scenario = Scenario::with(UDP, config);
    let Flow { transport, local, remote } = scenario.net.links[scenario.link].flow;
    let mut opened = 0;
    while scenario.net.agent.open_flow(Flow { transport, local, remote }).is_ok() {
        opened += 1;
        assert!(opened < 10, "the agent opens flows without end");
    }
    assert_eq!(opened, 2, "the scenario has one already");
    let flow = scenario.net.links[scenario.link].id;
    let timeout = Duration::from_secs(2);
    let probes = (0..10)
        .filter(|_| scenario.net.act(|agent, now| agent.probe(now, flow, "sip:192.0.2.7", timeout, None)).is_ok());
    assert_eq!(probes.count(), 2, "as many as max_registrations");
    scenario.wait(Duration::from_secs(3));
    let usage = scenario.net.usage();
    assert_eq!((usage.probes, usage.client_transactions), (0, 0), "the probes are over");
}

#[test]
fn the_agent_places_max_calls_and_no_more() {
    let mut scenario = Scenario::with(UDP, small());
    let flow = scenario.net.links[scenario.link].id;
    let mut placed = 0;
    for _ in 0..20 {
        let call = scenario.call();
        placed += usize::from(scenario.net.act(|agent, now| agent.place_call(now, flow, call)).is_ok());
    }
    assert_eq!(placed, 8, "as many as max_calls");
    scenario.wait(Duration::from_millis(50));
    let mut invites = Vec::new();
    scenario.take_new(&mut invites);
    assert_eq!(invites.len(), 8, "each was placed");
    for invite in &invites {
        scenario.reply(invite, "486 Busy Here");
    }
    for _ in 0..8 {
        scenario.ended();
    }
    scenario.wait(Duration::from_secs(60));
    skip(&mut scenario);
    scenario.nothing_left();
    let call = scenario.call();
    assert!(scenario.net.act(|agent, now| agent.place_call(now, flow, call)).is_ok(), "there is room again");
}
