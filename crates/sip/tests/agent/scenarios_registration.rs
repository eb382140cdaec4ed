//! Registrations (RFC 3261, 10).

use std::time::Duration;

use phonegate_sip::agent::{Event, NewRegistration, RegistrationEvent, RegistrationFailure, RegistrationId};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::Message;

use crate::net::scenario::{PASSWORD, Scenario, UDP, USER, both, each, request_uri};
use crate::net::text::{Text, header};

fn registration(scenario: &Scenario) -> NewRegistration {
    let host = scenario.host();
    NewRegistration {
        registrar: format!("sip:{host}"),
        address: format!("sip:gate@{host}"),
        contact_user: "gate".to_owned(),
        routes: Vec::new(),
        expires: 600,
        credentials: Some(Credentials::new(USER, PASSWORD).expect("they are short")),
        registers_contact: true,
    }
}

fn register(scenario: &mut Scenario, registration: NewRegistration) -> RegistrationId {
    let flow = scenario.net.links[scenario.link].id;
    scenario.net.act(|agent, now| agent.register(now, flow, registration)).expect("there is room for a registration")
}

/// Accepts a REGISTER for this many seconds.
fn accept(scenario: &mut Scenario, request: &Message, expires: u32) {
    let contact = header(request, "Contact");
    let contact = contact.split(";expires").next().unwrap_or_default().to_owned();
    let others = "<sip:other@203.0.113.9>;expires=17";
    scenario
        .send(&Text::reply(request, "200 OK").tag("r").line(format!("Contact: {others}, {contact};expires={expires}")));
}

fn event(scenario: &mut Scenario) -> RegistrationEvent {
    match scenario.event() {
        Event::Registration(_, event) => event,
        event => panic!("{event:?} is about no registration"),
    }
}

/// Returns the lifetime that a REGISTER asks for.
fn lifetime(request: &Message) -> u32 {
    let contact = request.contacts().unwrap().remove(0);
    let own = contact.params().get("expires").and_then(|expires| expires.parse().ok());
    own.or(request.expires().unwrap()).expect("a REGISTER names a lifetime")
}

/// On some paths, each REGISTER is challenged with a new nonce.
#[test]
fn a_registration_is_refreshed_in_time_and_removed() {
    each(|scenario| {
        let id = register(scenario, registration(scenario));
        let first = scenario.receive("REGISTER");
        assert_eq!(request_uri(&first), format!("sip:{}", scenario.host()), "the registrar has no user part");
        assert_eq!(lifetime(&first), 600, "the lifetime is the proposed one");
        accept(scenario, &first, 60);
        assert_eq!(event(scenario), RegistrationEvent::Registered { expires: 60 }, "the registrar's lifetime counts");
        let mut last = first.clone();
        for _ in 0..3 {
            let before = scenario.net.now;
            let refresh = scenario.receive_at("REGISTER");
            let pause = refresh.at - before;
            assert!(
                pause >= Duration::from_secs(20) && pause <= Duration::from_secs(56),
                "it comes in time: {pause:?}"
            );
            let refresh = refresh.message;
            assert_eq!(header(&refresh, "Call-ID"), header(&first, "Call-ID"), "the Call-ID stays");
            assert_eq!(header(&refresh, "Contact"), header(&first, "Contact"), "the contact stays");
            assert!(refresh.cseq().unwrap().number > last.cseq().unwrap().number, "CSeq grows");
            accept(scenario, &refresh, 60);
            event(scenario);
            last = refresh;
        }
        scenario.net.act(|agent, now| agent.unregister(now, id));
        let removal = scenario.receive("REGISTER");
        assert_eq!(lifetime(&removal), 0, "the contact is removed");
        let own = removal.contacts().unwrap().remove(0);
        assert_eq!(own.uri_text(), first.contacts().unwrap()[0].uri_text(), "and no other than the own one");
        scenario.reply(&removal, "200 OK");
        assert_eq!(event(scenario), RegistrationEvent::Ended, "the registration has ended");
        scenario.nothing_left();
    });
}

/// A check by the administrator must not take the place of the service that runs.
#[test]
fn asking_the_registrar_changes_nothing_there() {
    each(|scenario| {
        let mut question = registration(scenario);
        question.registers_contact = false;
        register(scenario, question);
        let request = scenario.receive("REGISTER");
        assert!(!request.has_header("Contact") && !request.has_header("Expires"), "nothing is registered");
        scenario.send(&Text::reply(&request, "200 OK").tag("r").line("Contact: <sip:gate@203.0.113.9>;expires=300"));
        assert_eq!(event(scenario), RegistrationEvent::Registered { expires: 0 }, "the password is right");
        assert_eq!(event(scenario), RegistrationEvent::Ended, "nothing is kept");
        scenario.nothing_left();
    });
}

#[test]
fn an_interval_that_is_too_brief_is_raised() {
    both(|scenario| {
        let id = register(scenario, registration(scenario));
        let first = scenario.receive("REGISTER");
        scenario.send(&Text::reply(&first, "423 Interval Too Brief").tag("r").line("Min-Expires: 1800"));
        let second = scenario.receive("REGISTER");
        assert!(lifetime(&second) >= 1_800, "the lifetime is long enough");
        accept(scenario, &second, 1_800);
        assert_eq!(event(scenario), RegistrationEvent::Registered { expires: 1_800 }, "it is registered");
        unregister(scenario, id);
    });
}

fn unregister(scenario: &mut Scenario, id: RegistrationId) {
    scenario.net.act(|agent, now| agent.unregister(now, id));
    let removal = scenario.receive("REGISTER");
    scenario.reply(&removal, "200 OK");
    assert_eq!(event(scenario), RegistrationEvent::Ended, "the registration has ended");
    scenario.nothing_left();
}

#[test]
fn a_wrong_password_is_reported() {
    both(|scenario| {
        let id = register(scenario, registration(scenario));
        for _ in 0..2 {
            let request = scenario.receive("REGISTER");
            let challenge = "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"n1\", qop=\"auth\", algorithm=MD5";
            scenario.send(&Text::reply(&request, "401 Unauthorized").tag("r").line(challenge));
        }
        let event = event(scenario);
        let failed = RegistrationEvent::Failed(match event {
            RegistrationEvent::Failed(failure) => failure,
            event => panic!("{event:?}"),
        });
        assert!(
            matches!(failed, RegistrationEvent::Failed(RegistrationFailure::AuthenticationFailed(..))),
            "the end says why"
        );
        scenario.net.act(|agent, now| agent.unregister(now, id));
        scenario.wait(Duration::from_secs(60));
    });
}

/// RFC 3261, 10.2.4: the lifetime is that of this side's contact, otherwise that of Expires.
#[test]
fn the_lifetime_is_read_wherever_the_registrar_writes_it() {
    for (lines, expires) in [
        ("Expires: 120", 120),
        ("Contact: <sip:gate@192.0.2.1:5060>\r\nExpires: 120", 120),
        ("Contact: <sip:gate@192.0.2.1:5060>;expires=90\r\nExpires: 120", 90),
        ("Contact: <sip:x@203.0.113.9>;expires=5, <sip:gate@192.0.2.1>;expires=90;q=1\r\nExpires: 120", 90),
    ] {
        let mut scenario = Scenario::new(UDP);
        let wanted = registration(&scenario);
        let id = register(&mut scenario, wanted);
        let request = scenario.receive("REGISTER");
        scenario.send(&Text::reply(&request, "200 OK").tag("r").line(lines));
        assert_eq!(event(&mut scenario), RegistrationEvent::Registered { expires }, "{lines}");
        unregister(&mut scenario, id);
    }
}

/// If the registrar is down, the agent retries after a pause.
#[test]
fn a_failed_registration_is_tried_again() {
    for status in ["503 Service Unavailable", "403 Forbidden", ""] {
        both(|scenario| {
            let id = register(scenario, registration(scenario));
            let first = scenario.receive("REGISTER");
            if !status.is_empty() {
                scenario.reply(&first, status);
            }
            assert!(matches!(event(scenario), RegistrationEvent::Failed(_)), "the failure is reported");
            let failed = scenario.net.now;
            let again = scenario.receive_at("REGISTER");
            let pause = again.at - failed;
            assert!(pause >= Duration::from_secs(5), "the registrar gets a pause: {pause:?}");
            assert!(pause <= Duration::from_secs(3_600), "the registrar is asked again: {pause:?}");
            accept(scenario, &again.message, 600);
            assert_eq!(event(scenario), RegistrationEvent::Registered { expires: 600 }, "it is registered");
            unregister(scenario, id);
        });
    }
}

/// The registrar may have the contact already.
#[test]
fn a_contact_that_may_be_bound_is_removed() {
    for status in ["200 OK", "503 Service Unavailable", "408 Request Timeout"] {
        both(|scenario| {
            let id = register(scenario, registration(scenario));
            let first = scenario.receive("REGISTER");
            if status == "200 OK" {
                scenario.net.act(|agent, now| agent.unregister(now, id));
                accept(scenario, &first, 600);
            } else {
                scenario.reply(&first, status);
                assert!(matches!(event(scenario), RegistrationEvent::Failed(_)), "the failure is reported");
                scenario.net.act(|agent, now| agent.unregister(now, id));
            }
            let removal = scenario.receive("REGISTER");
            assert_eq!(lifetime(&removal), 0, "the contact is removed after {status}");
            scenario.reply(&removal, "200 OK");
            assert_eq!(event(scenario), RegistrationEvent::Ended, "the registration has ended");
            scenario.nothing_left();
        });
    }
}

#[test]
fn a_registrar_that_asks_for_a_pause_gets_it() {
    both(|scenario| {
        let id = register(scenario, registration(scenario));
        let first = scenario.receive("REGISTER");
        scenario.send(&Text::reply(&first, "503 Service Unavailable").tag("r").line("Retry-After: 600"));
        assert!(matches!(event(scenario), RegistrationEvent::Failed(_)), "the failure is reported");
        let failed = scenario.net.now;
        let again = scenario.receive_at("REGISTER");
        assert!(again.at - failed >= Duration::from_secs(600), "after {:?}", again.at - failed);
        accept(scenario, &again.message, 600);
        event(scenario);
        unregister(scenario, id);
    });
}

#[test]
fn a_registration_can_always_be_ended() {
    for answered in [false, true] {
        both(|scenario| {
            let id = register(scenario, registration(scenario));
            let first = scenario.receive("REGISTER");
            if answered {
                accept(scenario, &first, 600);
                event(scenario);
            }
            scenario.net.act(|agent, now| agent.unregister(now, id));
            let mut last = event(scenario);
            while last != RegistrationEvent::Ended {
                last = event(scenario);
            }
            let mut unread = Vec::new();
            scenario.take_new(&mut unread);
            scenario.nothing_left();
        });
    }
}

#[test]
fn a_registration_continues_over_a_new_connection() {
    both(|scenario| {
        let id = register(scenario, registration(scenario));
        let first = scenario.receive("REGISTER");
        accept(scenario, &first, 600);
        event(scenario);
        let path = scenario.path;
        let mut local = crate::net::scenario::local(path);
        local.set_port(5_099);
        let new = scenario.net.open(path.transport, local, crate::net::scenario::remote(path));
        let (old, old_id) = (scenario.link, scenario.net.links[scenario.link].id);
        let new_id = scenario.net.links[new].id;
        scenario.net.act(|agent, now| agent.replace_flow(now, old_id, new_id));
        scenario.link = new;
        scenario.net.close(old);
        let refresh = scenario.receive_at("REGISTER");
        assert_eq!(refresh.link, new, "it is refreshed over the new connection");
        let contacts = refresh.message.contacts().unwrap();
        let lifetimes: Vec<_> = contacts.iter().map(|contact| contact.params().get("expires")).collect();
        assert_eq!(lifetimes, [Some("0"), Some("600")], "the contact of the old connection is removed");
        scenario.send(
            &Text::reply(&refresh.message, "200 OK")
                .tag("r")
                .line(format!("Contact: <{}>;expires=600", contacts[1].uri_text())),
        );
        assert_eq!(event(scenario), RegistrationEvent::Registered { expires: 600 }, "it lives on");
        unregister(scenario, id);
    });
}
