//! Registrations that are kept alive (RFC 3261, 10).

#[path = "support/registering.rs"]
mod registering;
#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use phonegate_sip::agent::{AgentError, NewRegistration, RegistrationEvent, RegistrationFailure};
use phonegate_sip::message::Message;
use registering::{CONTACT, challenge, events, query, register, registered, registration, with_credentials};
use wire::{Wire, seconds, times, value};

/// Accepts a REGISTER and returns how long after it the next one comes.
fn refreshed_after(wire: &mut Wire, request: &Message, headers: &str) -> Duration {
    wire.reply(request, 200, headers, "");
    let sent = wire.run(seconds(301));
    sent.first().unwrap().0
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

/// A lifetime of 0 would remove the contact instead of registering it.
#[test]
fn proposed_lifetime_is_bounded() {
    for (asked, proposed) in [(0, "60"), (59, "60"), (60, "60"), (86_400, "86400"), (u32::MAX, "86400")] {
        let mut wire = Wire::udp();
        let (_, request) = register(&mut wire, NewRegistration { expires: asked, ..registration() });
        assert_eq!(value(&request, "Expires"), proposed);
        assert_eq!(value(&request, "Contact"), format!("{CONTACT};expires={proposed}"));
    }
}

/// More contacts than the limit of lists do not hide that of this side.
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

/// 423 raises the lifetime immediately; one with an unusable Min-Expires is a failure with a pause (RFC 3261, 10.2.8).
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
fn pauses_after_failures_grow_up_to_a_limit() {
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

/// A request that cannot be written is rejected immediately, and leaves no state: a line end, and more routes than fit.
#[test]
fn unwritable_registration_is_rejected() {
    let mut wire = Wire::udp();
    let contact_user = "a\r\nb".into();
    let rejected = wire.agent.register(wire.now, wire.flow, NewRegistration { contact_user, ..registration() });
    assert!(matches!(rejected, Err(AgentError::Unusable(_))), "{rejected:?}");
    for setup in [registration(), query()] {
        let routes = vec![format!("sip:{}@192.0.2.9", "a".repeat(4_000)); 20];
        let rejected = wire.agent.register(wire.now, wire.flow, NewRegistration { routes, ..setup });
        assert_eq!(rejected, Err(AgentError::TooMany("routes")));
    }
    assert!(wire.sent().is_empty() && wire.events().is_empty());
    wire.assert_empty();
}
