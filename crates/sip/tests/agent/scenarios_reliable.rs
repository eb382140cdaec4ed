//! Reliable provisional responses and PRACK (RFC 3262).

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, CallId, EndCause, Reply};
use phonegate_sip::message::Message;

use crate::net::scenario::{Scenario, both, each};
use crate::net::text::{Text, header, sdp};

/// Returns a reliable response with this number.
fn reliable(scenario: &Scenario, invite: &Message, status: &str, tag: &str, rseq: u32) -> Text {
    scenario.in_dialog(invite, status, tag).line("Require: 100rel").line(format!("RSeq: {rseq}"))
}

/// The inspector compares Request-URI, Route and RAck, and each request is challenged on some paths.
#[test]
fn each_reliable_response_is_acknowledged_once() {
    each(|scenario| {
        let (call, invite) = scenario.invite();
        for (status, rseq) in [("180 Ringing", 4_711), ("183 Session ProvisionalResponse", 4_712)] {
            scenario.send(&reliable(scenario, &invite, status, "callee", rseq));
            let prack = scenario.receive("PRACK");
            let cseq = header(&invite, "CSeq");
            assert_eq!(header(&prack, "RAck"), format!("{rseq} {cseq}"), "RAck names the response");
            scenario.progress();
            // The peer did not receive the PRACK.
            scenario.send(&reliable(scenario, &invite, status, "callee", rseq));
            scenario.wait(Duration::from_millis(50));
            scenario.reply(&prack, "200 OK");
            scenario.quiet(Duration::from_secs(1));
        }
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

/// RFC 3262, 4: a response whose number is not the next one is dropped. The peer sends it again.
#[test]
fn a_response_out_of_order_is_not_acknowledged() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&reliable(scenario, &invite, "180 Ringing", "callee", 1));
        let prack = scenario.receive("PRACK");
        scenario.reply(&prack, "200 OK");
        scenario.progress();
        scenario.send(&reliable(scenario, &invite, "183 Third", "callee", 3));
        scenario.wait(Duration::from_millis(100));
        scenario.send(&reliable(scenario, &invite, "183 Second", "callee", 2));
        let prack = scenario.receive("PRACK");
        assert!(header(&prack, "RAck").starts_with("2 "), "the second is acknowledged first");
        scenario.reply(&prack, "200 OK");
        scenario.send(&reliable(scenario, &invite, "183 Third", "callee", 3));
        let prack = scenario.receive("PRACK");
        assert!(header(&prack, "RAck").starts_with("3 "), "then the third");
        scenario.reply(&prack, "200 OK");
        scenario.wait(Duration::from_secs(1));
        while !matches!(scenario.call_event(), CallEvent::Provisional(progress) if progress.status == 183) {}
        scenario.send(&scenario.in_dialog(&invite, "486 Busy Here", "callee"));
        scenario.receive("ACK");
        while !matches!(scenario.call_event(), CallEvent::Ended(_)) {}
        scenario.hang_up(call);
        scenario.nothing_left();
    });
}

#[test]
fn each_phone_has_numbers_of_its_own() {
    each(|scenario| {
        let (call, invite) = scenario.invite();
        for (tag, rseq) in [("one", 900), ("two", 3)] {
            scenario.send(&reliable(scenario, &invite, "180 Ringing", tag, rseq));
            let prack = scenario.receive("PRACK");
            assert!(header(&prack, "RAck").starts_with(&format!("{rseq} ")), "RAck names the response");
            scenario.reply(&prack, "200 OK");
            scenario.progress();
        }
        scenario.answer(&invite, "two");
        scenario.finish(call);
    });
}

/// A PRACK that fails, for whatever reason, never delays the 200 or its ACK.
#[test]
fn a_2xx_is_acknowledged_even_if_the_prack_fails() {
    for status in
        ["401 Unauthorized", "403 Forbidden", "481 Call/Transaction Does Not Exist", "500 Error", "503 No", ""]
    {
        both(|scenario| {
            let (call, invite) = scenario.invite();
            scenario.send(&reliable(scenario, &invite, "183 Session ProvisionalResponse", "callee", 1).sdp("early"));
            let prack = scenario.receive("PRACK");
            scenario.progress();
            if !status.is_empty() {
                scenario.reply(&prack, status);
                scenario.wait(Duration::from_millis(100));
            }
            let sent = scenario.net.now;
            scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
            let ack = scenario.receive_at("ACK");
            assert_eq!(ack.at - sent, Duration::from_millis(20), "the ACK goes out at once: {status}");
            scenario.answered();
            scenario.wait(Duration::from_secs(60));
            scenario.finish(call);
        });
    }
}

/// A PRACK that times out does not end the call.
#[test]
fn a_prack_without_response_does_not_end_the_call() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&reliable(scenario, &invite, "180 Ringing", "callee", 1));
        scenario.receive("PRACK");
        scenario.progress();
        scenario.quiet(Duration::from_secs(50));
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

/// Places a call that rings by a reliable 183 with an answer, in whose dialog the peer then offers by UPDATE.
fn early_offer(scenario: &mut Scenario) -> (CallId, Message) {
    let (call, invite) = scenario.invite();
    scenario.send(&reliable(scenario, &invite, "183 Session ProvisionalResponse", "callee", 1).sdp("early"));
    let prack = scenario.receive("PRACK");
    scenario.progress();
    scenario.reply(&prack, "200 OK");
    let mut dialog = scenario.dialog(&invite, "callee");
    scenario.send(&dialog.request("UPDATE").sdp("update"));
    (call, invite)
}

/// RFC 3311 and RFC 3262, 5: the 183 had an answer, so the peer may send another offer.
#[test]
fn an_update_before_the_2xx_gets_an_sdp_answer() {
    each(|scenario| {
        let (call, invite) = early_offer(scenario);
        let (request, description) = scenario.offer();
        assert_eq!(description, Some(sdp("update")), "the offer is reported");
        scenario.respond(request, Reply::Accept(Some(sdp("answer to the update"))));
        let response = scenario.receive("200 UPDATE");
        assert_eq!(response.body(), sdp("answer to the update"), "the answer is in the 200");
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee"));
        scenario.receive("ACK");
        scenario.answered();
        scenario.finish(call);
    });
}

/// The answer overtakes our response to the offer. Both sides then have the session of the first answer.
#[test]
fn an_early_offer_that_the_2xx_overtakes_is_rejected() {
    each(|scenario| {
        let (call, invite) = early_offer(scenario);
        let (request, _) = scenario.offer();
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee"));
        scenario.receive("ACK");
        scenario.receive("491 UPDATE");
        scenario.respond(request, Reply::Accept(Some(sdp("too late"))));
        let answered = scenario.answered();
        assert_eq!((answered.description, answered.is_updated), (Some(sdp("early")), false), "the first answer counts");
        scenario.finish(call);
    });
}

/// RFC 3262, 3: a response is reliable only if it requires 100rel.
#[test]
fn an_rseq_without_require_is_not_acknowledged() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        for line in ["RSeq: 1", "RSeq: 1\r\nSupported: 100rel", "Require: 100rel", "Require: 100rel\r\nRSeq: x"] {
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee").line(line));
            scenario.progress();
        }
        scenario.quiet(Duration::from_secs(1));
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

/// It refreshes the session, and changes nothing (RFC 3311, 5.2).
#[test]
fn an_update_without_an_offer_is_accepted_without_event() {
    each(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&reliable(scenario, &invite, "180 Ringing", "callee", 1));
        let prack = scenario.receive("PRACK");
        scenario.reply(&prack, "200 OK");
        scenario.progress();
        let mut dialog = scenario.dialog(&invite, "callee");
        for _ in 0..2 {
            scenario.send(&dialog.request("UPDATE"));
            let ok = scenario.receive("200 UPDATE");
            assert!(ok.body().is_empty(), "nothing was offered");
        }
        scenario.answer(&invite, "callee");
        scenario.send(&dialog.request("UPDATE"));
        scenario.receive("200 UPDATE");
        scenario.finish(call);
    });
}

/// RFC 3311, 5.2: while the first offer has no answer, there can be no second offer.
#[test]
fn an_update_before_the_first_sdp_answer_is_rejected() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        scenario.progress();
        let mut dialog = scenario.dialog(&invite, "callee");
        scenario.send(&dialog.request("UPDATE").sdp("update"));
        scenario.receive("491 UPDATE");
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

#[test]
fn a_cancelled_call_whose_prack_is_open_stops_ringing() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&reliable(scenario, &invite, "180 Ringing", "callee", 1));
        scenario.receive("PRACK");
        scenario.progress();
        scenario.hang_up(call);
        let cancel = scenario.receive("CANCEL");
        scenario.confirm_cancel(&invite, &cancel);
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up");
        assert!(!ended.may_still_ring, "the peer confirmed");
        scenario.nothing_left();
    });
}

/// A peer that never responds to PRACK, and sends many reliable responses.
#[test]
fn unanswered_pracks_do_not_prevent_the_bye() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        for rseq in 1..=60 {
            scenario.send(&reliable(scenario, &invite, "183 Session Progress", "callee", rseq));
            scenario.wait(Duration::from_millis(20));
            scenario.progress();
        }
        scenario.take_new(&mut Vec::new());
        scenario.answer(&invite, "callee");
        scenario.hang_up(call);
        let bye = scenario.receive("BYE");
        scenario.reply(&bye, "200 OK");
        assert!(!scenario.ended().may_still_ring, "the peer confirmed the end");
        scenario.nothing_left();
    });
}
