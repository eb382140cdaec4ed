//! Calls from the INVITE to the end.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, EndCause, Event, RequestId, Transport};
use phonegate_sip::message::Host;

use crate::net::scenario::{PATHS, Path, Scenario, UDP, both, each, remote, request_uri, routes, tag_of};
use crate::net::text::{header, sdp};

/// Over all paths.
#[test]
fn a_call_rings_is_established_and_is_hung_up() {
    each(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.reply(&invite, "100 Trying");
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        assert_eq!(scenario.progress(), 180, "the ringing is reported");
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

#[test]
fn the_peer_hangs_up_and_gives_a_cause() {
    each(|scenario| {
        let (_, mut dialog) = scenario.answered_call();
        scenario.send(&dialog.request("BYE").line("Reason: SIP;cause=200, Q.850;cause=16;text=\"Clearing\""));
        scenario.receive("200 BYE");
        let ended = scenario.ended();
        let EndCause::PeerHungUp { q850, reason } = ended.cause else { panic!("{ended:?}") };
        assert_eq!(q850, Some(16), "the cause is that of Q.850");
        assert!(
            reason.is_some_and(|reason| reason.as_bytes().starts_with(b"SIP;cause=200, Q.850")),
            "the reason is kept as it was written"
        );
        assert!(ended.may_have_rung && !ended.may_still_ring, "the phone rang and is on the hook");
        scenario.nothing_left();
    });
}

#[test]
fn hanging_up_while_it_rings_cancels() {
    each(|scenario| {
        let call = scenario.place(scenario.call());
        let invite = scenario.receive_at("INVITE");
        scenario.send(&scenario.in_dialog(&invite.message, "180 Ringing", "callee"));
        scenario.progress();
        scenario.hang_up(call);
        let cancel = scenario.receive_at("CANCEL");
        assert_eq!(cancel.destination, invite.destination, "the CANCEL goes where the INVITE went");
        scenario.reply(&cancel.message, "200 OK");
        scenario.send(&scenario.in_dialog(&invite.message, "487 Request Terminated", "callee"));
        scenario.receive("ACK");
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::Cancelled, "the caller cancelled");
        assert!(ended.may_have_rung && !ended.may_still_ring, "the phone rang and has stopped");
        scenario.nothing_left();
    });
}

/// A CANCEL before any response could overtake the INVITE (RFC 3261, 9.1). The inspector rejects it.
#[test]
fn a_cancel_waits_for_the_first_response() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.hang_up(call);
        scenario.wait(Duration::from_secs(3));
        scenario.reply(&invite, "100 Trying");
        let cancel = scenario.receive("CANCEL");
        scenario.reply(&cancel, "200 OK");
        scenario.reply(&invite, "487 Request Terminated");
        scenario.receive("ACK");
        assert_eq!(scenario.ended().cause, EndCause::Cancelled, "the caller cancelled");
        scenario.nothing_left();
    });
}

#[test]
fn the_cancel_has_the_route_of_its_invite() {
    both(|scenario| {
        let mut call = scenario.call();
        call.routes = vec!["sip:192.0.2.7:5066;lr".to_owned(), "sip:far.example.net;lr".to_owned()];
        let call = scenario.place(call);
        let invite = scenario.receive_at("INVITE");
        let expected = ["sip:192.0.2.7:5066;lr", "sip:far.example.net;lr"];
        assert_eq!(routes(&invite.message), expected, "the INVITE has the routes of the call");
        scenario.reply(&invite.message, "183 Session ProvisionalResponse");
        scenario.progress();
        scenario.hang_up(call);
        let cancel = scenario.receive_at("CANCEL");
        assert_eq!(cancel.destination, invite.destination, "both go to one address");
        assert_eq!(routes(&cancel.message), expected, "both have one route");
        scenario.reply(&cancel.message, "200 OK");
        scenario.reply(&invite.message, "487 Request Terminated");
        scenario.receive("ACK");
        scenario.ended();
        scenario.nothing_left();
    });
}

#[test]
fn a_busy_phone_rejects_the_call() {
    each(|scenario| {
        let (_, invite) = scenario.invite();
        let busy = scenario.in_dialog(&invite, "486 Busy Here", "callee");
        scenario.send(&busy.line("Reason: Q.850;cause=17").line("Retry-After: 30 (in a meeting);duration=60"));
        scenario.receive("ACK");
        let EndCause::Rejected(rejection) = scenario.ended().cause else { panic!("the call was rejected") };
        assert_eq!(
            (rejection.status, rejection.q850, rejection.retry_after),
            (486, Some(17), Some(30)),
            "as it was said"
        );
        assert_eq!(rejection.phrase.as_bytes(), b"Busy Here", "the phrase is the peer's");
        scenario.nothing_left();
    });
}

/// RFC 3261, 19.1.1, table 1: To and From have neither port nor transport.
#[test]
fn the_invite_has_the_parameters_of_the_call() {
    for path in PATHS {
        let mut scenario = Scenario::new(*path);
        let mut call = scenario.call();
        call.from_name = "Gate \"7\"".to_owned();
        call.headers.push(("P-Asserted-Identity".to_owned(), "<sip:gate@example.com>".to_owned()));
        let (to, from) = (call.to.clone(), call.from.clone());
        let call = scenario.place(call);
        let invite = scenario.receive("INVITE");
        assert_eq!(request_uri(&invite), to, "the Request-URI is the target");
        assert_eq!(header(&invite, "To"), format!("<{to}>"), "To is as given");
        let name = invite.from_header().unwrap();
        assert_eq!(name.uri_text(), from, "From is as given");
        assert_eq!(name.display_name(), Some("Gate \"7\""), "the name is quoted");
        assert_eq!(header(&invite, "P-Asserted-Identity"), "<sip:gate@example.com>", "the header is there");
        assert_eq!(invite.body(), sdp("offer"), "the body is the offer");
        assert!(invite.has_option("100rel"), "reliable responses are supported");
        let contact = invite.contacts().unwrap().remove(0).uri().unwrap();
        let contact = contact.as_sip().unwrap();
        assert_eq!(contact.user(), Some("gate"), "Contact has the user");
        assert!(invite.allow().unwrap().iter().any(|method| method == "UPDATE"), "Allow names the methods");
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    }
}

#[test]
fn reliable_responses_can_be_switched_off() {
    both(|scenario| {
        let mut call = scenario.call();
        call.reliable_provisional = false;
        let call = scenario.place(call);
        let invite = scenario.receive("INVITE");
        assert!(!invite.has_option("100rel"), "the INVITE does not name 100rel");
        // A peer that uses it nevertheless is not acknowledged, but its ringing is reported.
        let ringing = scenario.in_dialog(&invite, "180 Ringing", "callee");
        scenario.send(&ringing.line("Require: 100rel").line("RSeq: 7"));
        scenario.progress();
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

#[test]
fn each_call_has_identifiers_of_its_own() {
    let mut scenario = Scenario::new(UDP);
    let (first, second) = (scenario.invite().1, scenario.invite().1);
    assert_ne!(header(&first, "Call-ID"), header(&second, "Call-ID"), "Call-IDs differ");
    assert_ne!(tag_of(&first, "From"), tag_of(&second, "From"), "tags differ");
    assert_ne!(first.top_via().unwrap().branch(), second.top_via().unwrap().branch(), "branches differ");
}

/// RFC 3581, 4, and RFC 3261, 18.2.1: the agent is behind NAT.
#[test]
fn responses_name_received_and_rport() {
    let mut scenario = Scenario::new(UDP);
    let (call, invite) = scenario.invite();
    let via = header(&invite, "Via").replace(";rport", ";rport=61000;received=203.0.113.9");
    let ok = scenario.in_dialog(&invite, "200 OK", "callee").replace("Via", format!("Via: {via}")).sdp("callee");
    scenario.send(&ok);
    scenario.receive("ACK");
    scenario.answered();
    scenario.finish(call);
}

/// RFC 3581, 4: the response to a request with rport goes to the port that it came from, not to that of Via.
#[test]
fn a_response_goes_back_to_where_its_request_came_from() {
    for path in PATHS.iter().filter(|path| path.transport == UDP.transport) {
        let mut scenario = Scenario::new(*path);
        let (call, mut dialog) = scenario.answered_call();
        let mut source = remote(*path);
        source.set_port(61_000);
        let info = dialog.request("INFO").body("application/dtmf", "5");
        scenario.net.send_from(scenario.link, source, info.build());
        let CallEvent::Info { request, .. } = scenario.call_event() else { panic!("the INFO is reported") };
        scenario.respond(request, phonegate_sip::agent::Reply::Accept(None));
        let response = scenario.receive_at("200 INFO");
        assert_eq!(response.destination, source, "it goes to the source");
        let via = response.message.top_via().unwrap();
        assert_eq!(via.rport(), phonegate_sip::message::Rport::Port(61_000), "rport is filled in");
        assert_eq!(via.received(), Some(source.ip()), "received is filled in");
        scenario.finish(call);
    }
}

#[test]
fn hanging_up_at_once_sends_only_what_is_needed() {
    both(|scenario| {
        let call = scenario.place(scenario.call());
        scenario.hang_up(call);
        scenario.hang_up(call);
        let invite = scenario.receive("INVITE");
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
        scenario.receive("ACK");
        let bye = scenario.receive("BYE");
        scenario.reply(&bye, "200 OK");
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up before the answer came");
        assert!(!ended.may_still_ring, "the peer confirmed the end");
        scenario.nothing_left();
    });
}

#[test]
fn commands_for_ended_ids_are_ignored() {
    both(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        scenario.send(&dialog.request("INFO").body("application/dtmf", "5"));
        let CallEvent::Info { request, .. } = scenario.call_event() else { panic!("the INFO is reported") };
        let answer = |scenario: &mut Scenario, request: RequestId| {
            scenario.respond(request, phonegate_sip::agent::Reply::Accept(None));
        };
        answer(scenario, request);
        scenario.receive("200 INFO");
        answer(scenario, request);
        scenario.finish(call);
        scenario.hang_up(call);
        answer(scenario, request);
        scenario.quiet(Duration::from_secs(60));
    });
}

#[test]
fn a_call_that_cannot_be_written_is_rejected_at_once() {
    let mut scenario = Scenario::new(UDP);
    let flow = scenario.net.links[scenario.link].id;
    for (field, value) in [
        ("target", "tel:+14255550100"),
        ("target", "sip:192.0.2.7"),
        ("target", "sip:a b@192.0.2.7"),
        ("target", "sip:a@192.0.2.7\r\nRoute: <sip:evil.example.com;lr>"),
        ("from", "sip:gate@192.0.2.7>\r\nX: y"),
        ("to", "sip:gate@192.0.2.7>\r\nX: y"),
        ("name", "Gate\r\nX: y"),
        ("route", "sip:192.0.2.7\r\nX: y"),
        ("header", "a\r\nX: y"),
    ] {
        let mut call = scenario.call();
        let value = value.to_owned();
        match field {
            "target" => call.target = value,
            "from" => call.from = value,
            "to" => call.to = value,
            "name" => call.from_name = value,
            "route" => call.routes.push(value),
            _ => call.headers.push(("Subject".to_owned(), value)),
        }
        let placed = scenario.net.act(|agent, now| agent.place_call(now, flow, call));
        let Ok(call) = placed else { continue };
        assert_eq!(field, "name", "only a name can be made harmless: {field}");
        let invite = scenario.receive("INVITE");
        assert!(!invite.has_header("X"), "no header is injected");
        scenario.hang_up(call);
        scenario.reply(&invite, "486 Busy Here");
        scenario.receive("ACK");
        scenario.ended();
    }
    scenario.nothing_left();
}

#[test]
fn a_forwarded_call_is_reported() {
    for line in [
        "Diversion: <sip:a@example.com>;reason=unconditional",
        "History-Info: <tel:+14255550101>;index=1",
        "History-Info: <sip:a@example.com>;index=1",
        "History-Info: <sip:+14255550100@192.0.2.7>;index=1, <sip:a@example.com>;index=1.1;rc=1",
        "History-Info: <sip:+14255550100@192.0.2.7>;index=1, <sip:+14255550100@192.0.2.9>;index=1.1;mp=1",
        "History-Info: <sip:+14255550100@192.0.2.7?Reason=SIP%3Bcause%3D302>;index=1",
        "History-Info: \"unreadable",
    ] {
        both(|scenario| {
            let (call, invite) = scenario.invite();
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee").line(line));
            let CallEvent::Provisional(progress) = scenario.call_event() else { panic!("it rings") };
            assert!(progress.is_forwarded, "{line} says so");
            scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
            scenario.receive("ACK");
            assert!(scenario.answered().is_forwarded, "what was said of the call stays");
            scenario.finish(call);
        });
    }
    // The way of the call to the called phone.
    for line in [
        "History-Info: <tel:+14255550100>;index=1",
        "History-Info: <sip:+14255550100@192.0.2.7>;index=1",
        "History-Info: <sip:+14255550100@192.0.2.7?Privacy=history>;index=1, <sip:+14255550100@192.0.2.9>;index=1.1;rc=1",
    ] {
        both(|scenario| {
            let (call, invite) = scenario.invite();
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee").line(line));
            let CallEvent::Provisional(progress) = scenario.call_event() else { panic!("it rings") };
            assert!(!progress.is_forwarded, "{line} does not say so");
            scenario.answer(&invite, "callee");
            scenario.finish(call);
        });
    }
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "181 Call Is Being Forwarded", "callee"));
        assert!(
            matches!(scenario.call_event(), CallEvent::Provisional(progress) if progress.is_forwarded),
            "181 says so"
        );
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

#[test]
fn the_sdp_answer_of_an_earlier_response_counts() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "183 Session ProvisionalResponse", "callee").sdp("early"));
        let CallEvent::Provisional(progress) = scenario.call_event() else { panic!("it progresses") };
        assert_eq!(progress.description, Some(sdp("early")), "early media is reported");
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee"));
        scenario.receive("ACK");
        assert_eq!(scenario.answered().description, Some(sdp("early")), "the answer is that of the 183");
        scenario.finish(call);
    });
}

/// A call continues over another connection, and can be ended there.
#[test]
fn a_call_continues_over_a_new_connection() {
    both(|scenario| {
        let (call, _) = scenario.answered_call();
        let path = scenario.path;
        let mut local = crate::net::scenario::local(path);
        local.set_port(5_099);
        let new = scenario.net.open(path.transport, local, remote(path));
        let (old_id, new_id) = (scenario.net.links[scenario.link].id, scenario.net.links[new].id);
        let mut need = |flow| scenario.net.act(|agent, _| agent.has_calls(flow));
        assert_eq!((need(old_id), need(new_id)), (true, false), "the call needs its connection");
        scenario.net.act(|agent, now| agent.replace_flow(now, old_id, new_id));
        let mut need = |flow| scenario.net.act(|agent, _| agent.has_calls(flow));
        assert_eq!((need(old_id), need(new_id)), (false, true), "the call has moved");
        let old = scenario.link;
        scenario.link = new;
        scenario.net.close(old);
        scenario.hang_up(call);
        let bye = scenario.receive_at("BYE");
        assert_eq!(bye.link, new, "the BYE takes the new connection");
        scenario.reply(&bye.message, "200 OK");
        assert_eq!(scenario.ended().cause, EndCause::HungUp, "the call lived until then");
        assert!(!scenario.net.act(|agent, _| agent.has_calls(new_id)), "a call that has ended needs none");
        scenario.nothing_left();
    });
}

#[test]
fn hosts_of_the_trunk_may_be_names() {
    let mut scenario = Scenario::new(UDP);
    let mut call = scenario.call();
    call.target = "sip:+14255550100@trunk.example.com".to_owned();
    call.trunk = vec![Host::Name("trunk.example.com".to_owned())];
    let call = scenario.place(call);
    let invite = scenario.receive("INVITE");
    assert_eq!(request_uri(&invite), "sip:+14255550100@trunk.example.com", "the name stays");
    scenario.answer(&invite, "callee");
    scenario.finish(call);
    assert!(!matches!(scenario.net.events.front(), Some((_, Event::FlowFailed(_)))), "the flow works");
}

/// RFC 3261, 8.1.1.8.
#[test]
fn a_call_to_a_sips_uri_has_a_sips_contact() {
    let mut scenario = Scenario::new(Path { transport: Transport::Tls, ..UDP });
    let mut call = scenario.call();
    call.target = "sips:+14255550100@192.0.2.7".to_owned();
    let call = scenario.place(call);
    let invite = scenario.receive("INVITE");
    let contact = invite.contacts().unwrap().remove(0);
    assert!(contact.uri_text().starts_with("sips:"), "{}", contact.uri_text());
    scenario.answer(&invite, "callee");
    scenario.finish(call);
}
