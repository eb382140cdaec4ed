//! Offers of the peer within a call, and INFO.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, EndCause, Reply};

use crate::net::scenario::{both, each, request_uri};
use crate::net::text::{header, name, sdp};

/// RFC 3261, 14.2: the 200 offers, and the ACK answers.
#[test]
fn a_reinvite_without_a_description_is_offered_one() {
    each(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        for answer in [Some("their answer"), None] {
            scenario.send(&dialog.request("INVITE"));
            let (request, description) = scenario.offer();
            assert_eq!(description, None, "the peer wants an offer");
            scenario.respond(request, Reply::Accept(Some(sdp("our offer"))));
            let ok = scenario.receive("200 INVITE");
            assert_eq!(ok.body(), sdp("our offer"), "the 200 offers");
            let ack = dialog.repeated("ACK", dialog.cseq);
            scenario.send(&if let Some(answer) = answer { ack.sdp(answer) } else { ack });
            let event = scenario.call_event();
            let expected = CallEvent::SdpAnswer { offer: sdp("our offer"), description: answer.map(sdp) };
            assert_eq!(event, expected, "the answer is that of the ACK");
        }
        scenario.finish(call);
    });
}

#[test]
fn a_reinvite_with_an_offer_is_answered() {
    each(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        scenario.send(&dialog.request("INVITE").sdp("hold"));
        let (request, description) = scenario.offer();
        assert_eq!(description, Some(sdp("hold")), "the offer is reported");
        scenario.respond(request, Reply::Accept(Some(sdp("held"))));
        let ok = scenario.receive("200 INVITE");
        assert_eq!(ok.body(), sdp("held"), "the 200 answers");
        scenario.send(&dialog.repeated("ACK", dialog.cseq));
        scenario.quiet(Duration::from_secs(40));
        scenario.finish(call);
    });
}

/// RFC 3261, 14.2: the session stays as it was.
#[test]
fn a_rejected_offer_leaves_the_call_as_it_was() {
    each(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        for method in ["INVITE", "UPDATE"] {
            let offer = dialog.request(method).sdp("video");
            scenario.send(&offer);
            let (request, _) = scenario.offer();
            scenario.respond(request, Reply::Reject(488));
            scenario.receive(&format!("488 {method}"));
            if method == "INVITE" {
                scenario.send(&dialog.ack(&offer, 488));
            }
            scenario.quiet(Duration::from_secs(40));
        }
        scenario.finish(call);
    });
}

#[test]
fn an_offer_without_a_response_of_the_caller_gets_500() {
    both(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        let reinvite = dialog.request("INVITE").sdp("x");
        scenario.send(&reinvite);
        let (request, _) = scenario.offer();
        let asked = scenario.net.now;
        let rejection = scenario.receive_at("500 INVITE");
        assert_eq!(rejection.at - asked, Duration::from_millis(10_010), "it comes after max_response_delay");
        scenario.send(&dialog.ack(&reinvite, 500));
        scenario.respond(request, Reply::Accept(Some(sdp("late"))));
        scenario.quiet(Duration::from_secs(40));
        scenario.finish(call);
    });
}

/// RFC 3261, 9.2.
#[test]
fn the_peer_may_cancel_its_offer() {
    each(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        let reinvite = dialog.request("INVITE").sdp("x");
        scenario.send(&reinvite);
        let (request, _) = scenario.offer();
        scenario.send(&dialog.cancel(&reinvite));
        let mut responses =
            [scenario.receive_any(), scenario.receive_any()].map(|arrival| name(&arrival.unwrap().message));
        responses.sort();
        assert_eq!(responses, ["200 CANCEL", "487 INVITE"], "both are answered");
        scenario.send(&dialog.ack(&reinvite, 487));
        scenario.respond(request, Reply::Accept(Some(sdp("late"))));
        scenario.quiet(Duration::from_secs(40));
        scenario.finish(call);
    });
}

/// RFC 3261, 8.2.3.
#[test]
fn an_offer_of_another_type_gets_415() {
    both(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        for method in ["INVITE", "UPDATE"] {
            let offer = dialog.request(method).body("application/pidf+xml", "<x/>");
            scenario.send(&offer);
            let rejection = scenario.receive(&format!("415 {method}"));
            assert_eq!(header(&rejection, "Accept"), "application/sdp", "it says what is understood");
            if method == "INVITE" {
                scenario.send(&dialog.ack(&offer, 415));
            }
        }
        scenario.finish(call);
    });
}

/// RFC 3261, 14.2: a second INVITE while the first is open gets 500 with Retry-After.
#[test]
fn a_second_offer_before_the_first_sdp_answer_is_rejected() {
    both(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        scenario.send(&dialog.request("INVITE").sdp("first"));
        let first = dialog.cseq;
        let (request, _) = scenario.offer();
        let second = dialog.request("INVITE").sdp("second");
        scenario.send(&second);
        let rejection = scenario.receive("500 INVITE");
        assert!(rejection.retry_after().unwrap().is_some_and(|seconds| seconds <= 10), "Retry-After is 0 to 10 s");
        scenario.send(&dialog.ack(&second, 500));
        scenario.respond(request, Reply::Accept(Some(sdp("answer"))));
        scenario.receive("200 INVITE");
        scenario.send(&dialog.repeated("ACK", first));
        scenario.quiet(Duration::from_secs(40));
        scenario.finish(call);
    });
}

/// RFC 3261, 13.3.1.4: the 200 is repeated until the ACK comes, also over TCP.
#[test]
fn a_200_of_the_agent_is_repeated_until_its_ack() {
    each(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        scenario.send(&dialog.request("INVITE").sdp("x"));
        let (request, _) = scenario.offer();
        scenario.respond(request, Reply::Accept(Some(sdp("y"))));
        scenario.receive("200 INVITE");
        scenario.wait(Duration::from_millis(3_600));
        assert_eq!(scenario.repeats.len(), 3, "after 0.5, 1.5 and 3.5 s");
        scenario.send(&dialog.repeated("ACK", dialog.cseq));
        scenario.quiet(Duration::from_secs(60));
        assert_eq!(scenario.repeats.len(), 3, "the ACK ends it");
        scenario.finish(call);
    });
}

/// RFC 3261, 13.3.1.4: without an ACK, the call is ended by BYE.
#[test]
fn a_200_that_is_never_acknowledged_ends_the_call() {
    both(|scenario| {
        let (_, mut dialog) = scenario.answered_call();
        scenario.send(&dialog.request("INVITE").sdp("x"));
        let (request, _) = scenario.offer();
        scenario.respond(request, Reply::Accept(Some(sdp("y"))));
        scenario.receive("200 INVITE");
        let sent = scenario.net.now;
        let bye = scenario.receive_at("BYE");
        let took = bye.at - sent;
        assert!(took >= Duration::from_secs(31) && took <= Duration::from_secs(33), "after 64 times T1");
        scenario.reply(&bye.message, "200 OK");
        assert_eq!(scenario.ended().cause, EndCause::SessionLost, "the peer does not acknowledge");
        scenario.nothing_left();
    });
}

/// A request that comes twice is reported once, and answered with the same response.
#[test]
fn a_repeated_request_is_reported_once() {
    both(|scenario| {
        if !scenario.is_udp() {
            return;
        }
        let (call, mut dialog) = scenario.answered_call();
        let reinvite = dialog.request("INVITE").sdp("x");
        scenario.send(&reinvite);
        let (request, _) = scenario.offer();
        scenario.send(&reinvite);
        scenario.wait(Duration::from_millis(100));
        let mut repeated = Vec::new();
        scenario.take_new(&mut repeated);
        let statuses: Vec<_> =
            repeated.iter().map(|message: &phonegate_sip::message::Message| message.status()).collect();
        assert_eq!(statuses, [Some(100)], "a retransmission gets 100 before the caller responds");
        scenario.respond(request, Reply::Accept(Some(sdp("y"))));
        scenario.receive("200 INVITE");
        let ack = dialog.repeated("ACK", dialog.cseq);
        scenario.send(&ack);
        scenario.send(&ack);
        let info = dialog.request("INFO").body("application/dtmf", "1");
        scenario.send(&info);
        scenario.send(&info);
        let CallEvent::Info { request, .. } = scenario.call_event() else { panic!("the INFO is reported") };
        scenario.respond(request, Reply::Accept(None));
        scenario.receive("200 INFO");
        scenario.send(&info);
        scenario.wait(Duration::from_millis(50));
        assert!(!scenario.repeats.is_empty(), "the response is repeated");
        scenario.quiet(Duration::from_secs(1));
        let bye = dialog.request("BYE");
        scenario.send(&bye);
        scenario.send(&bye);
        scenario.receive("200 BYE");
        assert_eq!(scenario.ended().cause, EndCause::PeerHungUp { q850: None, reason: None }, "the peer hung up");
        scenario.hang_up(call);
        scenario.nothing_left();
    });
}

/// RFC 3261, 12.2.2: a request whose CSeq is not greater is rejected with 500.
#[test]
fn a_request_with_an_old_cseq_is_rejected() {
    both(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        scenario.send(&dialog.request("INFO").body("application/dtmf", "1"));
        let CallEvent::Info { request, .. } = scenario.call_event() else { panic!("the INFO is reported") };
        scenario.respond(request, Reply::Accept(None));
        scenario.receive("200 INFO");
        scenario.send(&dialog.repeated("INFO", dialog.cseq - 1).body("application/dtmf", "2"));
        scenario.receive("500 INFO");
        scenario.finish(call);
    });
}

#[test]
fn an_info_reaches_the_caller_as_it_was_sent() {
    for (written, content_type, body) in [
        ("application/dtmf", "application/dtmf", "5"),
        ("Application/DTMF-Relay; charset=utf-8", "application/dtmf-relay", "Signal= #\r\nDuration=160\r\n"),
        ("application/vnd.example+xml", "application/vnd.example+xml", "<x/>"),
        ("nonsense", "", "?"),
    ] {
        both(|scenario| {
            let (call, mut dialog) = scenario.answered_call();
            scenario.send(&dialog.request("INFO").body(written, body));
            let CallEvent::Info { request, content_type: found, body: received } = scenario.call_event() else {
                panic!("the INFO is reported")
            };
            assert_eq!((found.as_str(), received.as_slice()), (content_type, body.as_bytes()), "of {written}");
            scenario.respond(request, Reply::Reject(415));
            scenario.receive("415 INFO");
            scenario.finish(call);
        });
    }
}

/// RFC 3261, 14.1: both sides changed the session at the same time.
#[test]
fn a_refresh_is_retried_after_glare() {
    both(|scenario| {
        let mut call = scenario.call();
        call.session_interval = Some(90);
        let call = scenario.place(call);
        let invite = scenario.receive("INVITE");
        let ok = scenario.in_dialog(&invite, "200 OK", "callee").line("Require: timer");
        scenario
            .send(&ok.line("Session-Expires: 90;refresher=uac").line("Allow: INVITE, ACK, BYE, CANCEL").sdp("callee"));
        scenario.receive("ACK");
        scenario.answered();
        let refresh = scenario.receive("INVITE");
        let mut dialog = scenario.dialog(&invite, "callee");
        let reinvite = dialog.request("INVITE").sdp("x");
        scenario.send(&reinvite);
        scenario.receive("491 INVITE");
        scenario.send(&dialog.ack(&reinvite, 491));
        scenario.reply(&refresh, "491 Request Pending");
        scenario.receive("ACK");
        let rejected = scenario.net.now;
        let again = scenario.receive_at("INVITE");
        let pause = again.at - rejected;
        assert!(pause >= Duration::from_millis(2_100) && pause <= Duration::from_millis(4_020), "after 2.1 to 4 s");
        let ok = scenario.in_dialog(&again.message, "200 OK", "callee").line("Session-Expires: 90;refresher=uac");
        scenario.send(&ok.sdp("callee"));
        let ack = scenario.receive("ACK");
        assert_eq!(header(&ack, "CSeq").split(' ').next(), header(&again.message, "CSeq").split(' ').next(), "its ACK");
        let expected = CallEvent::SdpAnswer { offer: again.message.body().to_vec(), description: Some(sdp("callee")) };
        assert_eq!(scenario.call_event(), expected, "the answer is reported");
        scenario.finish(call);
    });
}

/// RFC 3261, 12.2.2: the peer moved, for example after a transfer.
#[test]
fn a_reinvite_moves_the_target_and_a_rejected_one_does_not() {
    both(|scenario| {
        let (call, mut dialog) = scenario.answered_call();
        let host = scenario.host();
        for (contact, accepted) in [("moved", true), ("rejected", false)] {
            dialog.contact = format!("sip:{contact}@{host}:5082");
            let reinvite = dialog.request("INVITE").sdp("x");
            scenario.send(&reinvite);
            let (request, _) = scenario.offer();
            scenario.respond(request, if accepted { Reply::Accept(Some(sdp("y"))) } else { Reply::Reject(488) });
            scenario.receive(if accepted { "200 INVITE" } else { "488 INVITE" });
            scenario.send(&dialog.ack(&reinvite, if accepted { 200 } else { 488 }));
            scenario.wait(Duration::from_millis(100));
        }
        scenario.hang_up(call);
        let bye = scenario.receive("BYE");
        assert_eq!(request_uri(&bye), format!("sip:moved@{host}:5082"), "the accepted move counts");
        scenario.reply(&bye, "200 OK");
        scenario.ended();
        scenario.nothing_left();
    });
}
