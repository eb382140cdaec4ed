//! Registrations: kept alive, moved to other flows, and removed (RFC 3261, 10).

#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use phonegate_sip::agent::{Event, NewRegistration, RegistrationEvent, RegistrationFailure, RegistrationId};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::Message;
use wire::{Wire, seconds, times, value, values};

const CONTACT: &str = "<sip:gate@192.0.2.1:5070>";

fn registration() -> NewRegistration {
    NewRegistration {
        registrar: "sip:trunk.example.com".into(),
        address: "sip:gate@trunk.example.com".into(),
        contact_user: "gate".into(),
        routes: Vec::new(),
        expires: 600,
        credentials: None,
        registers_contact: true,
    }
}

fn with_credentials() -> NewRegistration {
    NewRegistration { credentials: Some(Credentials::new("gate", "made-up").unwrap()), ..registration() }
}

fn query() -> NewRegistration {
    NewRegistration { registers_contact: false, ..registration() }
}

fn register(wire: &mut Wire, registration: NewRegistration) -> (RegistrationId, Message) {
    let id = wire.agent.register(wire.now, wire.flow, registration).unwrap();
    (id, wire.sent_one())
}

fn events(wire: &mut Wire) -> Vec<RegistrationEvent> {
    let registrations = wire.events().into_iter().filter_map(|event| match event {
        Event::Registration(_, event) => Some(event),
        _ => None,
    });
    registrations.collect()
}

fn registered(expires: u32) -> Vec<RegistrationEvent> {
    vec![RegistrationEvent::Registered { expires }]
}

/// Accepts a REGISTER and returns how long after it the next one comes.
fn refreshed_after(wire: &mut Wire, request: &Message, headers: &str) -> Duration {
    wire.reply(request, 200, headers, "");
    let sent = wire.run(seconds(301));
    sent.first().unwrap().0
}

fn challenge(nonce: &str) -> String {
    format!("WWW-Authenticate: Digest realm=\"trunk\", nonce=\"{nonce}\", algorithm=SHA-256, qop=\"auth\"\r\n")
}

/// Each refresh has the Call-ID and the From tag of the first request, a higher CSeq and another branch.
#[test]
fn refreshes_share_call_id_and_raise_cseq() {
    let mut wire = Wire::udp();
    let (_, mut request) = register(&mut wire, registration());
    for number in 1..=5 {
        assert_eq!(value(&request, "CSeq"), format!("{number} REGISTER"));
        assert_eq!(value(&request, "Contact"), format!("{CONTACT};expires=600"));
        assert_eq!(value(&request, "Expires"), "600");
        wire.reply(&request, 200, &format!("Contact: {CONTACT};expires=600\r\n"), "");
        assert_eq!(events(&mut wire), registered(600));
        let (call_id, from, via) = (value(&request, "Call-ID"), value(&request, "From"), value(&request, "Via"));
        let mut sent = wire.run(seconds(300));
        assert_eq!(times(&sent), [300_000], "it is refreshed after half of its lifetime");
        request = sent.remove(0).1;
        assert_eq!((value(&request, "Call-ID"), value(&request, "From")), (call_id, from));
        assert_ne!(value(&request, "Via"), via, "each request has a branch of its own");
    }
}

/// The time from a 200 to the refresh, for what the 200 may say about the lifetime.
#[test]
fn refresh_time_follows_what_the_registrar_granted() {
    let others = "Contact: <sip:a@198.51.100.1>;expires=3000, <sip:b@198.51.100.2>;expires=9\r\n";
    let unreadable = "Contact: <sip:a@198.51.100.1, <sip:b@198.51.100.2>\r\n";
    let own = |expires: &str| format!("Contact: {CONTACT}{expires}\r\n");
    let cases = [
        (String::new(), 300),
        ("Expires: 60\r\n".into(), 30),
        ("Expires: soon\r\n".into(), 300),
        (own(";expires=60"), 30),
        (own(";expires=60") + "Expires: 600\r\n", 30),
        (own(";expires=\"60\""), 30),
        (own(";q=0.5;EXPIRES=60"), 30),
        (own(""), 300),
        (own("") + "Expires: 100\r\n", 50),
        (own(";expires=99999999999"), 300),
        (own(";expires=3600"), 300),
        (own(";expires=junk") + "Expires: 80\r\n", 40),
        (own(";expires=-1"), 300),
        (own(";expires=1"), 2),
        (own(";expires=3"), 2),
        (others.to_owned() + &own(";expires=60"), 30),
        (own(";expires=60") + others, 30),
        (unreadable.to_owned() + &own(";expires=60"), 30),
        (others.to_owned() + "Expires: 70\r\n", 35),
        // The contact of this side, written differently.
        ("Contact: sip:gate@192.0.2.1:5070;expires=60\r\n".into(), 30),
        ("m: \"Gate\" <SIP:gate@192.0.2.1:5070;transport=udp>;expires=60\r\n".into(), 30),
        (others.to_owned() + "Contact: <sip:%67ate@192.0.2.1:5070;ob;method=INVITE>;expires=60\r\n", 30),
        ("Contact: <sip:gate@203.0.113.7:41000>;expires=60\r\n".into(), 30),
    ];
    for (headers, after) in cases {
        let mut wire = Wire::udp();
        let (_, request) = register(&mut wire, registration());
        assert_eq!(refreshed_after(&mut wire, &request, &headers), seconds(after), "after 200 with {headers:?}");
    }
}

/// More contacts than are read of a list do not hide that of this side.
#[test]
fn hundred_contacts_of_others_change_nothing() {
    let mut wire = Wire::tcp();
    let (_, request) = register(&mut wire, registration());
    let others: String = (0..100).map(|n| format!("Contact: <sip:u{n}@198.51.100.1>;expires=2\r\n")).collect();
    let headers = format!("{others}Contact: <sip:gate@192.0.2.1:5070;transport=tcp>;expires=60\r\n");
    assert_eq!(refreshed_after(&mut wire, &request, &headers), seconds(30));
}

/// A lifetime of 5 s is refreshed after 2.5 s, and never causes more than one request at a time.
#[test]
fn short_lifetime_is_refreshed_in_time_without_flood() {
    let mut wire = Wire::udp();
    let (_, mut request) = register(&mut wire, registration());
    let headers = format!("Contact: {CONTACT};expires=5\r\n");
    for _ in 0..100 {
        wire.reply(&request, 200, &headers, "");
        let mut sent = wire.run(Duration::from_millis(2_500));
        assert_eq!(times(&sent), [2_500]);
        request = sent.remove(0).1;
    }
}

/// A 200 that keeps the contact for 0 seconds registers nothing: it is a failure, with the pause of one.
#[test]
fn contact_that_is_not_kept_is_a_failure() {
    let mut wire = Wire::udp();
    let (_, request) = register(&mut wire, registration());
    wire.reply(&request, 200, &format!("Contact: {CONTACT};expires=0\r\n"), "");
    assert_eq!(events(&mut wire), [RegistrationEvent::Failed(RegistrationFailure::NotKept)]);
    assert_eq!(times(&wire.run(seconds(30))), [30_000]);
}

/// Each refresh answers the challenge before, and is challenged with another nonce.
#[test]
fn every_refresh_answers_a_new_nonce() {
    let mut wire = Wire::udp();
    let (_, mut request) = register(&mut wire, with_credentials());
    assert!(!request.has_header("Authorization"));
    for round in 0..20 {
        wire.reply(&request, 401, &challenge(&format!("n{round}")), "");
        request = wire.sent_one();
        let answer = value(&request, "Authorization");
        assert!(answer.contains(&format!("nonce=\"n{round}\"")), "the new nonce is answered: {answer}");
        wire.reply(&request, 200, "", "");
        assert_eq!(events(&mut wire), registered(600), "round {round}");
        request = wire.run(seconds(300)).remove(0).1;
        assert!(request.has_header("Authorization"), "a refresh answers before it is asked");
    }
    let number = value(&request, "CSeq");
    assert_eq!(number, "41 REGISTER", "each repetition raises the CSeq");
}

#[test]
fn proxy_and_registrar_are_both_answered() {
    let mut wire = Wire::udp();
    let (_, request) = register(&mut wire, with_credentials());
    wire.reply(&request, 407, &challenge("p").replace("WWW", "Proxy"), "");
    let request = wire.sent_one();
    wire.reply(&request, 401, &challenge("s"), "");
    let request = wire.sent_one();
    assert!(request.has_header("Proxy-Authorization") && request.has_header("Authorization"));
    wire.reply(&request, 200, "", "");
    assert_eq!(events(&mut wire), registered(600));
}

/// A registrar that challenges without end gets few requests, and then a pause.
#[test]
fn endless_challenges_end_in_a_pause() {
    let mut wire = Wire::udp();
    let (_, mut request) = register(&mut wire, with_credentials());
    let mut requests = 1;
    for round in 0..50 {
        let stale = challenge(&format!("n{round}")).replace("qop", "stale=true, qop");
        wire.reply(&request, 401, &stale, "");
        match wire.sent().pop() {
            Some(next) => request = next,
            None => break,
        }
        requests += 1;
    }
    assert!(requests <= 8, "{requests} requests");
    assert!(matches!(
        events(&mut wire).as_slice(),
        [RegistrationEvent::Failed(RegistrationFailure::AuthenticationFailed(..))]
    ));
    assert_eq!(times(&wire.run(seconds(30))), [30_000]);
}

/// 423 raises the lifetime at once; one that makes no sense is a failure with a pause (RFC 3261, 10.2.8).
#[test]
fn interval_too_brief_is_raised_a_few_times() {
    let mut wire = Wire::udp();
    let (_, mut request) = register(&mut wire, registration());
    for minimum in [700, 800, 900] {
        wire.reply(&request, 423, &format!("Min-Expires: {minimum}\r\n"), "");
        request = wire.sent_one();
        assert_eq!(value(&request, "Expires"), minimum.to_string());
    }
    wire.reply(&request, 423, "Min-Expires: 1000\r\n", "");
    assert!(wire.sent().is_empty(), "the fourth 423 in a row is a failure");
    for useless in ["", "Min-Expires: 5\r\n", "Min-Expires: 4294967295\r\n", "Min-Expires: x\r\n"] {
        let mut wire = Wire::udp();
        let (_, request) = register(&mut wire, registration());
        wire.reply(&request, 423, useless, "");
        assert!(matches!(events(&mut wire).as_slice(), [RegistrationEvent::Failed(_)]), "423 with {useless:?}");
        assert_eq!(times(&wire.run(seconds(30))), [30_000]);
    }
}

/// Pauses grow from 30 s to 5 min; a success ends that.
#[test]
fn failures_pause_longer_and_longer() {
    let mut wire = Wire::udp();
    let (_, mut request) = register(&mut wire, registration());
    for pause in [30, 60, 120, 240, 300, 300, 300] {
        wire.reply(&request, 403, "", "");
        let mut sent = wire.run(seconds(pause));
        assert_eq!(times(&sent), [u128::from(pause) * 1_000]);
        request = sent.remove(0).1;
    }
    wire.reply(&request, 200, "", "");
    let request = wire.run(seconds(300)).remove(0).1;
    wire.reply(&request, 500, "", "");
    assert_eq!(times(&wire.run(seconds(30))), [30_000]);
}

/// Retry-After lengthens the pause, up to an hour, and never shortens it.
#[test]
fn retry_after_is_respected_within_bounds() {
    for (asked, pause) in [("90", 90), ("5", 30), ("0", 30), ("7200", 3_600), ("99999999999 (busy);duration=1", 3_600)]
    {
        let mut wire = Wire::udp();
        let (_, request) = register(&mut wire, registration());
        wire.reply(&request, 503, &format!("Retry-After: {asked}\r\n"), "");
        assert_eq!(times(&wire.run(seconds(pause))), [u128::from(pause) * 1_000], "Retry-After: {asked}");
    }
}

/// Without response the attempt ends after 32 s, and the next one begins 30 s later.
#[test]
fn silence_is_reported_and_tried_again() {
    let mut wire = Wire::udp();
    register(&mut wire, registration());
    let sent = wire.run(seconds(61));
    assert!(sent.iter().all(|(_, message)| value(message, "CSeq") == "1 REGISTER"));
    assert_eq!(events(&mut wire), [RegistrationEvent::Failed(RegistrationFailure::NoResponse)]);
    let (_, next) = wire.run(seconds(1)).remove(0);
    assert_eq!(value(&next, "CSeq"), "2 REGISTER");
}

/// Responses to an earlier CSeq, and repeated ones, change nothing.
#[test]
fn response_to_an_earlier_request_is_ignored() {
    let mut wire = Wire::udp();
    let (_, first) = register(&mut wire, with_credentials());
    wire.reply(&first, 401, &challenge("n"), "");
    let second = wire.sent_one();
    wire.reply(&first, 200, "Expires: 60\r\n", "");
    wire.reply(&first, 401, &challenge("m"), "");
    assert!(events(&mut wire).is_empty() && wire.sent().is_empty());
    wire.reply(&second, 200, "", "");
    wire.reply(&second, 200, "Expires: 60\r\n", "");
    assert_eq!(events(&mut wire), registered(600));
    assert_eq!(times(&wire.run(seconds(300))), [300_000]);
}

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

/// A removal that is refused, or gets no response, ends the registration all the same.
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

/// A REGISTER under way could arrive after the removal, and register the contact again. So the removal waits for the
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

/// What the registrar certainly does not have is not removed.
#[test]
fn refused_registration_ends_without_removal() {
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
    assert_eq!(values(&second, "Contact"), contacts, "the removal is not lost with the refused request");
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
    assert!(events(&mut wire).is_empty(), "what was registered is no longer wanted");
    wire.flow = new;
    wire.reply(&moved, 200, "", "");
    assert_eq!(events(&mut wire), registered(600));
}

/// A pending request whose flow closes after it was replaced fails at once, and so its successor is sent at once.
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

/// The registrar never learns of the contacts of flows that come and go: the list of removals stays short.
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

/// A REGISTER without Contact asks only (RFC 3261, 10.2.3).
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

/// Time that jumps by years causes one request, and at its end no timer that is due for ever.
#[test]
fn jumps_of_time_cause_no_flood() {
    let mut wire = Wire::udp();
    let (_, request) = register(&mut wire, registration());
    wire.reply(&request, 200, "", "");
    wire.agent.handle_timeout(seconds(1 << 40));
    assert_eq!(wire.sent().len(), 1);
    wire.agent.handle_timeout(Duration::MAX);
    wire.agent.handle_timeout(Duration::MAX);
    assert!(wire.sent().len() <= 1);
    assert_eq!(wire.agent.next_timeout(), None);
}
