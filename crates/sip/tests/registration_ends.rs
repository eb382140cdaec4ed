//! Registrations that end or move to another flow, and queries (RFC 3261, 10.2).

#[path = "support/registering.rs"]
mod registering;
#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use phonegate_sip::agent::{FlowId, RegistrationEvent, RegistrationFailure};
use phonegate_sip::message::Message;
use registering::{CONTACT, challenge, events, query, register, registered, registration, with_credentials};
use wire::{Wire, seconds, value, values};

/// Unregistering removes the contact of this side, and only that one.
#[test]
fn unregistering_removes_the_own_contact_only() {
    let mut wire = Wire::udp();
    let (id, request) = register(&mut wire, registration());
    wire.reply(&request, 200, "Contact: <sip:other@198.51.100.1>;expires=50\r\n", "");
    events(&mut wire);
    wire.agent.unregister(wire.now, id);
    wire.agent.unregister(wire.now, id);
    let removal = wire.sent_one();
    assert_eq!(values(&removal, "Contact"), [format!("{CONTACT};expires=0")]);
    assert_eq!((value(&removal, "Expires"), value(&removal, "CSeq")), ("0".into(), "2 REGISTER".into()));
    assert_eq!(value(&removal, "Call-ID"), value(&request, "Call-ID"));
    wire.reply(&removal, 200, "", "");
    assert_eq!(events(&mut wire), [RegistrationEvent::Ended]);
    wire.agent.unregister(wire.now, id);
    wire.reply(&removal, 200, "", "");
    wire.assert_empty();
    assert!(events(&mut wire).is_empty(), "the end is reported once");
}

#[test]
fn removal_answers_a_challenge() {
    let mut wire = Wire::udp();
    let (id, request) = register(&mut wire, with_credentials());
    wire.reply(&request, 200, "", "");
    wire.agent.unregister(wire.now, id);
    let removal = wire.sent_one();
    wire.reply(&removal, 401, &challenge("n"), "");
    let removal = wire.sent_one();
    assert!(removal.has_header("Authorization"));
    assert_eq!(value(&removal, "Contact"), format!("{CONTACT};expires=0"));
    wire.reply(&removal, 200, "", "");
    assert_eq!(events(&mut wire).last(), Some(&RegistrationEvent::Ended));
    wire.assert_empty();
}

/// A removal that is rejected, or gets no response, still ends the registration.
#[test]
fn failed_removal_ends_the_registration() {
    for status in [Some(403), Some(423), Some(503), None] {
        let mut wire = Wire::udp();
        let (id, request) = register(&mut wire, registration());
        wire.reply(&request, 200, "", "");
        events(&mut wire);
        wire.agent.unregister(wire.now, id);
        let removal = wire.sent_one();
        if let Some(status) = status {
            wire.reply(&removal, status, "Min-Expires: 900\r\nRetry-After: 9\r\n", "");
        }
        wire.assert_empty();
        assert_eq!(events(&mut wire), [RegistrationEvent::Ended], "after {status:?}");
    }
}

/// A pending REGISTER could arrive after the removal, and register the contact again. So the removal waits for its
/// response (RFC 3261, 10.2), and is sent whatever that is.
#[test]
fn removal_waits_for_the_pending_request() {
    for status in [Some(200), Some(503), None] {
        let mut wire = Wire::udp();
        let (id, request) = register(&mut wire, registration());
        wire.agent.unregister(wire.now, id);
        assert!(wire.sent().is_empty(), "no second request while one is pending");
        let removal = match status {
            Some(status) => {
                wire.reply(&request, status, "", "");
                wire.sent_one()
            }
            None => wire.run(seconds(32)).pop().unwrap().1,
        };
        assert_eq!(values(&removal, "Contact"), [format!("{CONTACT};expires=0")], "after {status:?}");
        assert_eq!(value(&removal, "CSeq"), "2 REGISTER");
        wire.reply(&removal, 200, "", "");
        assert_eq!(events(&mut wire), [RegistrationEvent::Ended]);
        wire.assert_empty();
    }
}

/// A contact that the registrar certainly does not have is not removed.
#[test]
fn rejected_registration_ends_without_removal() {
    for (status, headers) in [(403, String::new()), (401, challenge("n"))] {
        let mut wire = Wire::udp();
        let (id, request) = register(&mut wire, with_credentials());
        wire.agent.unregister(wire.now, id);
        wire.reply(&request, status, &headers, "");
        assert!(wire.sent().is_empty());
        assert_eq!(events(&mut wire), [RegistrationEvent::Ended]);
        wire.assert_empty();
    }
    let mut wire = Wire::udp();
    let (id, request) = register(&mut wire, registration());
    wire.reply(&request, 403, "", "");
    events(&mut wire);
    wire.agent.unregister(wire.now, id);
    assert!(wire.sent().is_empty());
    assert_eq!(events(&mut wire), [RegistrationEvent::Ended]);
    wire.assert_empty();
}

#[test]
fn unregistering_on_a_closed_flow_ends_at_once() {
    let mut wire = Wire::tcp();
    let (id, request) = register(&mut wire, registration());
    wire.reply(&request, 200, "", "");
    wire.agent.close_flow(wire.now, wire.flow);
    events(&mut wire);
    wire.agent.unregister(wire.now, id);
    assert_eq!(events(&mut wire), [RegistrationEvent::Ended]);
    assert!(wire.sent().is_empty());
    wire.assert_empty();
}

/// The flow closes while the removal is pending.
#[test]
fn removal_whose_flow_closes_ends_once() {
    let mut wire = Wire::tcp();
    let (id, request) = register(&mut wire, registration());
    wire.reply(&request, 200, "", "");
    events(&mut wire);
    wire.agent.unregister(wire.now, id);
    wire.agent.close_flow(wire.now, wire.flow);
    assert_eq!(events(&mut wire), [RegistrationEvent::Ended]);
    wire.assert_empty();
}

/// Over a new flow, the contact of the old one is removed by the same REGISTER, and again after a challenge.
#[test]
fn new_flow_removes_the_contact_of_the_old_one() {
    let mut wire = Wire::udp();
    let (_, request) = register(&mut wire, with_credentials());
    wire.reply(&request, 200, "", "");
    let (old, new) = (wire.flow, wire.open("192.0.2.1:5080"));
    wire.agent.close_flow(wire.now, old);
    wire.agent.replace_flow(wire.now, old, new);
    wire.flow = new;
    let contacts = [format!("{CONTACT};expires=0"), "<sip:gate@192.0.2.1:5080>;expires=600".into()];
    let first = wire.sent_one();
    assert_eq!(values(&first, "Contact"), contacts);
    wire.reply(&first, 401, &challenge("n"), "");
    let second = wire.sent_one();
    assert_eq!(values(&second, "Contact"), contacts, "the removal is not lost with the rejected request");
    assert_eq!(value(&second, "Call-ID"), value(&request, "Call-ID"));
    wire.reply(&second, 200, "", "");
    let refresh = wire.run(seconds(300)).remove(0).1;
    assert_eq!(values(&refresh, "Contact"), contacts[1..], "the registrar no longer has the old one");
}

/// The request on the old flow could arrive after that on the new one, so that the new one waits.
#[test]
fn new_flow_waits_for_the_pending_request() {
    let mut wire = Wire::udp();
    let (_, request) = register(&mut wire, registration());
    let (old, new) = (wire.flow, wire.open("192.0.2.1:5080"));
    wire.agent.replace_flow(wire.now, old, new);
    assert!(wire.sent().is_empty());
    wire.reply(&request, 200, "", "");
    let moved = wire.sent_one();
    assert_eq!(values(&moved, "Contact").len(), 2);
    assert!(events(&mut wire).is_empty(), "the result of a superseded request is not reported");
    wire.flow = new;
    wire.reply(&moved, 200, "", "");
    assert_eq!(events(&mut wire), registered(600));
}

/// A pending request whose flow closes after it was replaced fails immediately, so its successor is sent immediately.
#[test]
fn new_flow_is_used_once_the_old_one_closes() {
    let mut wire = Wire::tcp();
    register(&mut wire, registration());
    let (old, new) = (wire.flow, wire.open("192.0.2.1:5080"));
    wire.agent.replace_flow(wire.now, old, new);
    wire.agent.close_flow(wire.now, old);
    let moved = wire.transmits();
    assert_eq!(moved.iter().map(|transmit| transmit.flow).collect::<Vec<_>>(), [new]);
    assert!(events(&mut wire).is_empty());
}

/// Flows change often and the registrar is never reached: the list of contacts to remove stays short.
#[test]
fn many_flows_leave_a_bounded_list_of_removals() {
    let mut wire = Wire::udp();
    register(&mut wire, registration());
    for port in 6_000..6_100 {
        let (old, new) = (wire.flow, wire.open(&format!("192.0.2.1:{port}")));
        wire.agent.close_flow(wire.now, old);
        wire.agent.replace_flow(wire.now, old, new);
        wire.flow = new;
    }
    let last = wire.sent().pop().unwrap();
    assert_eq!(values(&last, "Contact").len(), 8);
    assert_eq!(values(&last, "Contact").pop().unwrap(), "<sip:gate@192.0.2.1:6099>;expires=600");
}

/// While the flow is closed, the agent tries again with pauses and reports each failure.
#[test]
fn closed_flow_causes_no_flood() {
    let mut wire = Wire::tcp();
    let (_, request) = register(&mut wire, registration());
    wire.reply(&request, 200, "", "");
    wire.agent.close_flow(wire.now, wire.flow);
    events(&mut wire);
    assert!(wire.run(seconds(3_600)).is_empty());
    let failures = events(&mut wire);
    assert!(failures.iter().all(|event| *event == RegistrationEvent::Failed(RegistrationFailure::NoResponse)));
    assert!((10..=20).contains(&failures.len()), "{} failures in an hour", failures.len());
}

/// A REGISTER without Contact is a query (RFC 3261, 10.2.3).
#[test]
fn query_registers_nothing_and_removes_nothing() {
    for status in [200, 403, 503] {
        let mut wire = Wire::udp();
        let (_, request) = register(&mut wire, query());
        assert!(!request.has_header("Contact") && !request.has_header("Expires"));
        wire.reply(&request, status, "Contact: <sip:other@198.51.100.1>;expires=50\r\n", "");
        let mut events = events(&mut wire);
        assert_eq!(events.pop(), Some(RegistrationEvent::Ended));
        match status {
            200 => assert_eq!(events, registered(0)),
            _ => assert!(matches!(events.as_slice(), [RegistrationEvent::Failed(_)]), "{events:?}"),
        }
        assert!(wire.sent().is_empty());
        wire.assert_empty();
    }
}

/// A query ends once, whatever happens while it is pending.
#[test]
fn pending_query_ends_once() {
    for case in 0..4 {
        let mut wire = Wire::udp();
        let (id, request) = register(&mut wire, query());
        match case {
            0 => wire.agent.unregister(wire.now, id),
            1 => wire.agent.close_flow(wire.now, wire.flow),
            2 => {
                let new = wire.open("192.0.2.1:5080");
                wire.agent.replace_flow(wire.now, wire.flow, new);
                wire.reply(&request, 200, "", "");
            }
            _ => drop(wire.run(seconds(32))),
        }
        wire.agent.unregister(wire.now, id);
        wire.reply(&request, 200, "", "");
        assert!(wire.sent().is_empty(), "case {case}");
        let ends = events(&mut wire).into_iter().filter(|event| *event == RegistrationEvent::Ended);
        assert_eq!(ends.count(), 1, "case {case}");
        wire.assert_empty();
    }
}

/// A jump of time by years, or to the maximum, causes one request.
#[test]
fn jumps_of_time_cause_no_flood() {
    let mut wire = Wire::udp();
    let (_, request) = register(&mut wire, registration());
    wire.reply(&request, 200, "", "");
    wire.agent.handle_timeout(seconds(1 << 33));
    assert_eq!(wire.sent().len(), 1);
    wire.agent.handle_timeout(Duration::MAX);
    wire.agent.handle_timeout(Duration::MAX);
    assert!(wire.sent().len() <= 1);
}

/// Returns numbers below a limit that look random.
fn random_numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |limit| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % limit
    }
}

/// The REGISTER that waits for its response, as its peer sees it.
struct Waiting {
    cseq: u32,
    since: Duration,
    flow: FlowId,
}

/// The state of the peer in a random sequence.
#[derive(Default)]
struct Course {
    requests: Vec<Message>,
    waiting: Option<Waiting>,
}

impl Course {
    /// Responds to the latest request or to the first one.
    fn reply(&mut self, wire: &mut Wire, is_latest: bool, status: u16, headers: &str) {
        let request = if is_latest { self.requests.last() } else { self.requests.first() };
        let request = request.unwrap();
        let cseq = request.cseq().unwrap().number;
        self.waiting.take_if(|waiting| waiting.cseq == cseq);
        wire.reply(request, status, headers, "");
    }

    /// Records what was sent from `start` on.
    fn record(&mut self, wire: &Wire, start: Duration, sent: Vec<(Duration, Message)>) {
        for (after, message) in sent {
            let (cseq, at) = (message.cseq().unwrap().number, start + after);
            let last = self.requests.last().map_or(0, |last| last.cseq().unwrap().number);
            assert!(cseq >= last, "the CSeq never falls");
            if cseq > last {
                let is_over = |waiting: &Waiting| at.saturating_sub(waiting.since) >= seconds(32);
                assert!(self.waiting.as_ref().is_none_or(is_over), "one request waits at a time, not also {cseq}");
                self.waiting = Some(Waiting { cseq, since: at, flow: wire.flow });
                self.requests.push(message);
            }
        }
    }
}

/// A random peer and a random user: responses of all kinds, late ones, silence, flows that are replaced or closed.
/// In every sequence of events, one request waits at a time, the CSeq rises, the end is reported once, and nothing is left.
#[test]
fn random_course_ends_once_and_leaves_nothing() {
    for seed in 0..300_u64 {
        let mut below = random_numbers(seed);
        let mut wire = if below(2) == 0 { Wire::udp() } else { Wire::tcp() };
        let setup = if below(4) == 0 { query() } else { with_credentials() };
        let (id, first) = register(&mut wire, setup);
        let mut course = Course::default();
        course.record(&wire, wire.now, vec![(Duration::ZERO, first)]);
        let mut heard = Vec::new();
        for step in 0..60_u16 {
            let start = wire.now;
            let mut sent = Vec::new();
            match below(9) {
                0 => course.reply(&mut wire, true, 200, ""),
                1 => course.reply(&mut wire, true, 401, &challenge(&format!("{seed}-{step}"))),
                2 => course.reply(&mut wire, true, 423, "Min-Expires: 700\r\n"),
                3 => course.reply(&mut wire, true, [403, 503, 408, 302][usize::from(step % 4)], "Retry-After: 9\r\n"),
                4 => course.reply(&mut wire, false, 200, "Expires: 60\r\n"),
                5 => {
                    let (old, new) = (wire.flow, wire.open(&format!("192.0.2.1:{}", 6_000 + step)));
                    if below(2) == 0 {
                        course.waiting.take_if(|waiting| waiting.flow == old);
                        wire.agent.close_flow(wire.now, old);
                    }
                    wire.agent.replace_flow(wire.now, old, new);
                    wire.flow = new;
                }
                6 if below(6) == 0 => wire.agent.unregister(wire.now, id),
                _ => sent = wire.run(seconds(1 << below(10))),
            }
            sent.extend(wire.sent().into_iter().map(|message| (Duration::ZERO, message)));
            course.record(&wire, start, sent);
            heard.extend(events(&mut wire));
        }
        wire.agent.unregister(wire.now, id);
        wire.assert_empty();
        heard.extend(events(&mut wire));
        let ends = heard.iter().filter(|event| **event == RegistrationEvent::Ended).count();
        assert_eq!((ends, heard.last()), (1, Some(&RegistrationEvent::Ended)), "seed {seed}");
    }
}
