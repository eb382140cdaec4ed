//! Offers of the peer within a call, and INFO.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, EndCause, Reply};

use crate::net::story::{both, each, request_uri};
use crate::net::text::{header, name, sdp};

/// RFC 3261, 14.2: the 200 offers, and the ACK answers.
#[test]
fn a_reinvite_without_a_description_is_offered_one() {
    each(|story| {
        let (call, mut dialog) = story.answered_call();
        for answer in [Some("their answer"), None] {
            story.send(&dialog.request("INVITE"));
            let (request, description) = story.offer();
            assert_eq!(description, None, "the peer wants an offer");
            story.respond(request, Reply::Accept(Some(sdp("our offer"))));
            let ok = story.receive("200 INVITE");
            assert_eq!(ok.body(), sdp("our offer"), "the 200 offers");
            let ack = dialog.repeated("ACK", dialog.cseq);
            story.send(&if let Some(answer) = answer { ack.sdp(answer) } else { ack });
            let event = story.call_event();
            assert_eq!(event, CallEvent::SessionAnswer(answer.map(sdp)), "the answer is that of the ACK");
        }
        story.finish(call);
    });
}

#[test]
fn a_reinvite_with_an_offer_is_answered() {
    each(|story| {
        let (call, mut dialog) = story.answered_call();
        story.send(&dialog.request("INVITE").sdp("hold"));
        let (request, description) = story.offer();
        assert_eq!(description, Some(sdp("hold")), "the offer is reported");
        story.respond(request, Reply::Accept(Some(sdp("held"))));
        let ok = story.receive("200 INVITE");
        assert_eq!(ok.body(), sdp("held"), "the 200 answers");
        story.send(&dialog.repeated("ACK", dialog.cseq));
        story.quiet(Duration::from_secs(40));
        story.finish(call);
    });
}

/// RFC 3261, 14.2: the session stays as it was.
#[test]
fn a_refused_offer_leaves_the_call_as_it_was() {
    each(|story| {
        let (call, mut dialog) = story.answered_call();
        for method in ["INVITE", "UPDATE"] {
            let offer = dialog.request(method).sdp("video");
            story.send(&offer);
            let (request, _) = story.offer();
            story.respond(request, Reply::Refuse(488));
            story.receive(&format!("488 {method}"));
            if method == "INVITE" {
                story.send(&dialog.ack(&offer, 488));
            }
            story.quiet(Duration::from_secs(40));
        }
        story.finish(call);
    });
}

#[test]
fn an_offer_that_the_caller_never_answers_gets_500() {
    both(|story| {
        let (call, mut dialog) = story.answered_call();
        let reinvite = dialog.request("INVITE").sdp("x");
        story.send(&reinvite);
        let (request, _) = story.offer();
        let asked = story.net.now;
        let refusal = story.receive_at("500 INVITE");
        assert_eq!(refusal.at - asked, Duration::from_millis(10_010), "it comes after max_response_delay");
        story.send(&dialog.ack(&reinvite, 500));
        story.respond(request, Reply::Accept(Some(sdp("late"))));
        story.quiet(Duration::from_secs(40));
        story.finish(call);
    });
}

/// RFC 3261, 9.2.
#[test]
fn the_peer_may_cancel_its_offer() {
    each(|story| {
        let (call, mut dialog) = story.answered_call();
        let reinvite = dialog.request("INVITE").sdp("x");
        story.send(&reinvite);
        let (request, _) = story.offer();
        story.send(&dialog.cancel(&reinvite));
        let mut responses = [story.receive_any(), story.receive_any()].map(|arrival| name(&arrival.unwrap().message));
        responses.sort();
        assert_eq!(responses, ["200 CANCEL", "487 INVITE"], "both are answered");
        story.send(&dialog.ack(&reinvite, 487));
        story.respond(request, Reply::Accept(Some(sdp("late"))));
        story.quiet(Duration::from_secs(40));
        story.finish(call);
    });
}

/// RFC 3261, 8.2.3.
#[test]
fn an_offer_of_another_type_gets_415() {
    both(|story| {
        let (call, mut dialog) = story.answered_call();
        for method in ["INVITE", "UPDATE"] {
            let offer = dialog.request(method).body("application/pidf+xml", "<x/>");
            story.send(&offer);
            let refusal = story.receive(&format!("415 {method}"));
            assert_eq!(header(&refusal, "Accept"), "application/sdp", "it says what is understood");
            if method == "INVITE" {
                story.send(&dialog.ack(&offer, 415));
            }
        }
        story.finish(call);
    });
}

/// RFC 3261, 14.2: a second INVITE while the first is open gets 500 with Retry-After.
#[test]
fn a_second_offer_before_the_first_answer_is_refused() {
    both(|story| {
        let (call, mut dialog) = story.answered_call();
        story.send(&dialog.request("INVITE").sdp("first"));
        let first = dialog.cseq;
        let (request, _) = story.offer();
        let second = dialog.request("INVITE").sdp("second");
        story.send(&second);
        let refusal = story.receive("500 INVITE");
        assert!(refusal.retry_after().unwrap().is_some_and(|seconds| seconds <= 10), "Retry-After is 0 to 10 s");
        story.send(&dialog.ack(&second, 500));
        story.respond(request, Reply::Accept(Some(sdp("answer"))));
        story.receive("200 INVITE");
        story.send(&dialog.repeated("ACK", first));
        story.quiet(Duration::from_secs(40));
        story.finish(call);
    });
}

/// RFC 3261, 13.3.1.4: the 200 is repeated until the ACK comes, also over TCP.
#[test]
fn a_200_of_the_agent_is_repeated_until_its_ack() {
    each(|story| {
        let (call, mut dialog) = story.answered_call();
        story.send(&dialog.request("INVITE").sdp("x"));
        let (request, _) = story.offer();
        story.respond(request, Reply::Accept(Some(sdp("y"))));
        story.receive("200 INVITE");
        story.wait(Duration::from_millis(3_600));
        assert_eq!(story.repeats.len(), 3, "after 0.5, 1.5 and 3.5 s");
        story.send(&dialog.repeated("ACK", dialog.cseq));
        story.quiet(Duration::from_secs(60));
        assert_eq!(story.repeats.len(), 3, "the ACK ends it");
        story.finish(call);
    });
}

/// RFC 3261, 13.3.1.4: without an ACK, the call is ended by BYE.
#[test]
fn a_200_that_is_never_acknowledged_ends_the_call() {
    both(|story| {
        let (_, mut dialog) = story.answered_call();
        story.send(&dialog.request("INVITE").sdp("x"));
        let (request, _) = story.offer();
        story.respond(request, Reply::Accept(Some(sdp("y"))));
        story.receive("200 INVITE");
        let sent = story.net.now;
        let bye = story.receive_at("BYE");
        let took = bye.at - sent;
        assert!(took >= Duration::from_secs(31) && took <= Duration::from_secs(33), "after 64 times T1");
        story.reply(&bye.message, "200 OK");
        assert_eq!(story.ended().cause, EndCause::SessionLost, "the peer does not acknowledge");
        story.nothing_left();
    });
}

/// A request that comes twice is reported once, and answered with the same response.
#[test]
fn a_repeated_request_is_reported_once() {
    both(|story| {
        if !story.is_udp() {
            return;
        }
        let (call, mut dialog) = story.answered_call();
        let reinvite = dialog.request("INVITE").sdp("x");
        story.send(&reinvite);
        let (request, _) = story.offer();
        story.send(&reinvite);
        story.wait(Duration::from_millis(100));
        let mut repeated = Vec::new();
        story.take_new(&mut repeated);
        let statuses: Vec<_> =
            repeated.iter().map(|message: &phonegate_sip::message::Message| message.status()).collect();
        assert_eq!(statuses, [Some(100)], "a retransmission gets 100 before the caller responds");
        story.respond(request, Reply::Accept(Some(sdp("y"))));
        story.receive("200 INVITE");
        let ack = dialog.repeated("ACK", dialog.cseq);
        story.send(&ack);
        story.send(&ack);
        let info = dialog.request("INFO").body("application/dtmf", "1");
        story.send(&info);
        story.send(&info);
        let CallEvent::Info { request, .. } = story.call_event() else { panic!("the INFO is reported") };
        story.respond(request, Reply::Accept(None));
        story.receive("200 INFO");
        story.send(&info);
        story.wait(Duration::from_millis(50));
        assert!(!story.repeats.is_empty(), "the response is repeated");
        story.quiet(Duration::from_secs(1));
        let bye = dialog.request("BYE");
        story.send(&bye);
        story.send(&bye);
        story.receive("200 BYE");
        assert_eq!(story.ended().cause, EndCause::PeerHungUp { q850: None, reason: None }, "the peer hung up");
        story.hang_up(call);
        story.nothing_left();
    });
}

/// RFC 3261, 12.2.2: a request whose CSeq is not greater is refused with 500.
#[test]
fn a_request_with_an_old_cseq_is_refused() {
    both(|story| {
        let (call, mut dialog) = story.answered_call();
        story.send(&dialog.request("INFO").body("application/dtmf", "1"));
        let CallEvent::Info { request, .. } = story.call_event() else { panic!("the INFO is reported") };
        story.respond(request, Reply::Accept(None));
        story.receive("200 INFO");
        story.send(&dialog.repeated("INFO", dialog.cseq - 1).body("application/dtmf", "2"));
        story.receive("500 INFO");
        story.finish(call);
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
        both(|story| {
            let (call, mut dialog) = story.answered_call();
            story.send(&dialog.request("INFO").body(written, body));
            let CallEvent::Info { request, content_type: found, body: received } = story.call_event() else {
                panic!("the INFO is reported")
            };
            assert_eq!((found.as_str(), received.as_slice()), (content_type, body.as_bytes()), "of {written}");
            story.respond(request, Reply::Refuse(415));
            story.receive("415 INFO");
            story.finish(call);
        });
    }
}

/// RFC 3261, 14.1: both sides changed the session at once.
#[test]
fn a_refresh_is_retried_after_glare() {
    both(|story| {
        let mut call = story.call();
        call.session_interval = Some(90);
        let call = story.place(call);
        let invite = story.receive("INVITE");
        let ok = story.in_dialog(&invite, "200 OK", "callee").line("Require: timer");
        story.send(&ok.line("Session-Expires: 90;refresher=uac").line("Allow: INVITE, ACK, BYE, CANCEL").sdp("callee"));
        story.receive("ACK");
        story.answered();
        let refresh = story.receive("INVITE");
        let mut dialog = story.dialog(&invite, "callee");
        let reinvite = dialog.request("INVITE").sdp("x");
        story.send(&reinvite);
        story.receive("491 INVITE");
        story.send(&dialog.ack(&reinvite, 491));
        story.reply(&refresh, "491 Request Pending");
        story.receive("ACK");
        let refused = story.net.now;
        let again = story.receive_at("INVITE");
        let pause = again.at - refused;
        assert!(pause >= Duration::from_millis(2_100) && pause <= Duration::from_millis(4_020), "after 2.1 to 4 s");
        let ok = story.in_dialog(&again.message, "200 OK", "callee").line("Session-Expires: 90;refresher=uac");
        story.send(&ok.sdp("callee"));
        let ack = story.receive("ACK");
        assert_eq!(header(&ack, "CSeq").split(' ').next(), header(&again.message, "CSeq").split(' ').next(), "its ACK");
        assert_eq!(story.call_event(), CallEvent::SessionAnswer(Some(sdp("callee"))), "the answer is reported");
        story.finish(call);
    });
}

/// RFC 3261, 12.2.2: the peer moved, for example after a transfer.
#[test]
fn a_reinvite_moves_the_target_and_a_refused_one_does_not() {
    both(|story| {
        let (call, mut dialog) = story.answered_call();
        let host = story.host();
        for (contact, accepted) in [("moved", true), ("refused", false)] {
            dialog.contact = format!("sip:{contact}@{host}:5082");
            let reinvite = dialog.request("INVITE").sdp("x");
            story.send(&reinvite);
            let (request, _) = story.offer();
            story.respond(request, if accepted { Reply::Accept(Some(sdp("y"))) } else { Reply::Refuse(488) });
            story.receive(if accepted { "200 INVITE" } else { "488 INVITE" });
            story.send(&dialog.ack(&reinvite, if accepted { 200 } else { 488 }));
            story.wait(Duration::from_millis(100));
        }
        story.hang_up(call);
        let bye = story.receive("BYE");
        assert_eq!(request_uri(&bye), format!("sip:moved@{host}:5082"), "the accepted move counts");
        story.reply(&bye, "200 OK");
        story.ended();
        story.nothing_left();
    });
}
