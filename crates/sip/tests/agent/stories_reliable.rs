//! Reliable provisional responses and PRACK (RFC 3262).

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, CallId, EndCause, Reply};
use phonegate_sip::message::Message;

use crate::net::story::{Story, both, each};
use crate::net::text::{Text, header, sdp};

/// Returns a reliable response with this number.
fn reliable(story: &Story, invite: &Message, status: &str, tag: &str, rseq: u32) -> Text {
    story.in_dialog(invite, status, tag).line("Require: 100rel").line(format!("RSeq: {rseq}"))
}

/// The inspector compares Request-URI, Route and RAck, and each request is challenged on some paths.
#[test]
fn each_reliable_response_is_acknowledged_once() {
    each(|story| {
        let (call, invite) = story.invite();
        for (status, rseq) in [("180 Ringing", 4_711), ("183 Session Progress", 4_712)] {
            story.send(&reliable(story, &invite, status, "callee", rseq));
            let prack = story.receive("PRACK");
            let cseq = header(&invite, "CSeq");
            assert_eq!(header(&prack, "RAck"), format!("{rseq} {cseq}"), "RAck names the response");
            story.progress();
            // The peer did not receive the PRACK.
            story.send(&reliable(story, &invite, status, "callee", rseq));
            story.wait(Duration::from_millis(50));
            story.reply(&prack, "200 OK");
            story.quiet(Duration::from_secs(1));
        }
        story.answer(&invite, "callee");
        story.finish(call);
    });
}

/// RFC 3262, 4: a response whose number is not the next one is dropped. The peer sends it again.
#[test]
fn a_response_out_of_order_is_not_acknowledged() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&reliable(story, &invite, "180 Ringing", "callee", 1));
        let prack = story.receive("PRACK");
        story.reply(&prack, "200 OK");
        story.progress();
        story.send(&reliable(story, &invite, "183 Third", "callee", 3));
        story.wait(Duration::from_millis(100));
        story.send(&reliable(story, &invite, "183 Second", "callee", 2));
        let prack = story.receive("PRACK");
        assert!(header(&prack, "RAck").starts_with("2 "), "the second is acknowledged first");
        story.reply(&prack, "200 OK");
        story.send(&reliable(story, &invite, "183 Third", "callee", 3));
        let prack = story.receive("PRACK");
        assert!(header(&prack, "RAck").starts_with("3 "), "then the third");
        story.reply(&prack, "200 OK");
        story.wait(Duration::from_secs(1));
        while !matches!(story.call_event(), CallEvent::Progress(progress) if progress.status == 183) {}
        story.send(&story.in_dialog(&invite, "486 Busy Here", "callee"));
        story.receive("ACK");
        while !matches!(story.call_event(), CallEvent::Ended(_)) {}
        story.hang_up(call);
        story.nothing_left();
    });
}

#[test]
fn each_phone_has_numbers_of_its_own() {
    each(|story| {
        let (call, invite) = story.invite();
        for (tag, rseq) in [("one", 900), ("two", 3)] {
            story.send(&reliable(story, &invite, "180 Ringing", tag, rseq));
            let prack = story.receive("PRACK");
            assert!(header(&prack, "RAck").starts_with(&format!("{rseq} ")), "RAck names the response");
            story.reply(&prack, "200 OK");
            story.progress();
        }
        story.answer(&invite, "two");
        story.finish(call);
    });
}

/// A PRACK that fails, for whatever reason, never delays the 200 or its ACK.
#[test]
fn an_answer_is_acknowledged_even_if_the_prack_fails() {
    for status in
        ["401 Unauthorized", "403 Forbidden", "481 Call/Transaction Does Not Exist", "500 Error", "503 No", ""]
    {
        both(|story| {
            let (call, invite) = story.invite();
            story.send(&reliable(story, &invite, "183 Session Progress", "callee", 1).sdp("early"));
            let prack = story.receive("PRACK");
            story.progress();
            if !status.is_empty() {
                story.reply(&prack, status);
                story.wait(Duration::from_millis(100));
            }
            let sent = story.net.now;
            story.send(&story.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
            let ack = story.receive_at("ACK");
            assert_eq!(ack.at - sent, Duration::from_millis(20), "the ACK goes out at once: {status}");
            story.answered();
            story.wait(Duration::from_secs(60));
            story.finish(call);
        });
    }
}

/// A PRACK that times out does not end the call.
#[test]
fn a_prack_without_response_does_not_end_the_call() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&reliable(story, &invite, "180 Ringing", "callee", 1));
        story.receive("PRACK");
        story.progress();
        story.quiet(Duration::from_secs(50));
        story.answer(&invite, "callee");
        story.finish(call);
    });
}

/// Places a call that rings by a reliable 183 with an answer, in whose dialog the peer then offers by UPDATE.
fn early_offer(story: &mut Story) -> (CallId, Message) {
    let (call, invite) = story.invite();
    story.send(&reliable(story, &invite, "183 Session Progress", "callee", 1).sdp("early"));
    let prack = story.receive("PRACK");
    story.progress();
    story.reply(&prack, "200 OK");
    let mut dialog = story.dialog(&invite, "callee");
    story.send(&dialog.request("UPDATE").sdp("update"));
    (call, invite)
}

/// RFC 3311 and RFC 3262, 5: the 183 had an answer, so the peer may send another offer.
#[test]
fn an_update_before_the_answer_is_answered() {
    each(|story| {
        let (call, invite) = early_offer(story);
        let (request, description) = story.offer();
        assert_eq!(description, Some(sdp("update")), "the offer is reported");
        story.respond(request, Reply::Accept(Some(sdp("answer to the update"))));
        let response = story.receive("200 UPDATE");
        assert_eq!(response.body(), sdp("answer to the update"), "the answer is in the 200");
        story.send(&story.in_dialog(&invite, "200 OK", "callee"));
        story.receive("ACK");
        story.answered();
        story.finish(call);
    });
}

/// The answer overtakes our response to the offer. Both sides then have the session of the first answer.
#[test]
fn an_early_offer_that_the_answer_overtakes_is_refused() {
    each(|story| {
        let (call, invite) = early_offer(story);
        let (request, _) = story.offer();
        story.send(&story.in_dialog(&invite, "200 OK", "callee"));
        story.receive("ACK");
        story.receive("491 UPDATE");
        story.respond(request, Reply::Accept(Some(sdp("too late"))));
        let answered = story.answered();
        assert_eq!((answered.description, answered.is_updated), (Some(sdp("early")), false), "the first answer counts");
        story.finish(call);
    });
}

/// RFC 3262, 3: a response is reliable only if it requires 100rel.
#[test]
fn an_rseq_without_require_is_not_acknowledged() {
    both(|story| {
        let (call, invite) = story.invite();
        for line in ["RSeq: 1", "RSeq: 1\r\nSupported: 100rel", "Require: 100rel", "Require: 100rel\r\nRSeq: x"] {
            story.send(&story.in_dialog(&invite, "180 Ringing", "callee").line(line));
            story.progress();
        }
        story.quiet(Duration::from_secs(1));
        story.answer(&invite, "callee");
        story.finish(call);
    });
}

/// It refreshes the session, and changes nothing (RFC 3311, 5.2).
#[test]
fn an_update_without_an_offer_is_accepted_without_event() {
    each(|story| {
        let (call, invite) = story.invite();
        story.send(&reliable(story, &invite, "180 Ringing", "callee", 1));
        let prack = story.receive("PRACK");
        story.reply(&prack, "200 OK");
        story.progress();
        let mut dialog = story.dialog(&invite, "callee");
        for _ in 0..2 {
            story.send(&dialog.request("UPDATE"));
            let ok = story.receive("200 UPDATE");
            assert!(ok.body().is_empty(), "nothing was offered");
        }
        story.answer(&invite, "callee");
        story.send(&dialog.request("UPDATE"));
        story.receive("200 UPDATE");
        story.finish(call);
    });
}

/// RFC 3311, 5.2: while the first offer has no answer, there can be no second offer.
#[test]
fn an_update_before_the_first_answer_is_refused() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
        story.progress();
        let mut dialog = story.dialog(&invite, "callee");
        story.send(&dialog.request("UPDATE").sdp("update"));
        story.receive("491 UPDATE");
        story.answer(&invite, "callee");
        story.finish(call);
    });
}

#[test]
fn a_cancelled_call_whose_prack_is_open_stops_ringing() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&reliable(story, &invite, "180 Ringing", "callee", 1));
        story.receive("PRACK");
        story.progress();
        story.hang_up(call);
        let cancel = story.receive("CANCEL");
        story.confirm_cancel(&invite, &cancel);
        let ended = story.ended();
        assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up");
        assert!(!ended.may_still_ring, "the peer confirmed");
        story.nothing_left();
    });
}
