//! Calls that ring at several phones.

use std::time::Duration;

use phonegate_sip::agent::EndCause;

use crate::net::network::Health;
use crate::net::story::{Story, TCP, both, each, tag_of};
use crate::net::text::sdp;

#[test]
fn the_first_phone_that_answers_has_the_call() {
    each(|story| {
        let (call, invite) = story.invite();
        for tag in ["one", "two"] {
            story.send(&story.in_dialog(&invite, "180 Ringing", tag));
            story.progress();
        }
        let dialog = story.answer(&invite, "two");
        assert!(dialog.local.ends_with("two"), "the second has it");
        story.finish(call);
    });
}

/// RFC 3261, 13.2.2.4: each 2xx is acknowledged, and one that is not wanted is ended by BYE.
#[test]
fn a_second_phone_that_answers_is_hung_up() {
    each(|story| {
        let (call, invite) = story.invite();
        story.answer(&invite, "one");
        story.send(&story.in_dialog(&invite, "200 OK", "two").sdp("two"));
        let ack = story.receive("ACK");
        assert_eq!(tag_of(&ack, "To"), "two", "the second answer is acknowledged");
        let bye = story.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "two", "the second phone is hung up");
        story.reply(&bye, "200 OK");
        story.quiet(Duration::from_secs(5));
        story.hang_up(call);
        let bye = story.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "one", "the first phone had the call");
        story.reply(&bye, "200 OK");
        assert_eq!(story.ended().cause, EndCause::HungUp, "the call lived until the caller hung up");
        story.nothing_left();
    });
}

/// A B2BUA may ring one phone after the other.
#[test]
fn the_answer_belongs_to_the_phone_that_gave_it() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&story.in_dialog(&invite, "183 Session Progress", "one").sdp("early of one"));
        story.progress();
        story.send(&story.in_dialog(&invite, "200 OK", "two").sdp("two"));
        story.receive("ACK");
        assert_eq!(story.answered().description, Some(sdp("two")), "the early media of the first is not the answer");
        story.finish(call);
    });
}

#[test]
fn an_answer_without_sdp_does_not_use_another_forks_sdp() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&story.in_dialog(&invite, "183 Session Progress", "one").sdp("early of one"));
        story.progress();
        story.send(&story.in_dialog(&invite, "200 OK", "two"));
        story.receive("ACK");
        assert_eq!(story.answered().description, None, "the second phone answered nothing");
        story.finish(call);
    });
}

#[test]
fn a_bye_of_one_phone_leaves_the_call_with_the_other() {
    both(|story| {
        let (call, invite) = story.invite();
        story.answer(&invite, "one");
        story.send(&story.in_dialog(&invite, "200 OK", "two").sdp("two"));
        story.receive("ACK");
        let bye = story.receive("BYE");
        // The second phone hangs up at the same time.
        let mut second = story.dialog(&invite, "two");
        story.send(&second.request("BYE"));
        let response = story.receive_at("200 BYE");
        assert!(response.message.status().is_some(), "it is confirmed");
        story.reply(&bye, "481 Call/Transaction Does Not Exist");
        story.quiet(Duration::from_secs(5));
        story.finish(call);
    });
}

/// Only the tag identifies a phone, so a retransmission of its 200 is not a second phone.
#[test]
fn a_repeated_answer_is_acknowledged_again() {
    each(|story| {
        let (call, invite) = story.invite();
        story.answer(&invite, "callee");
        for _ in 0..3 {
            story.wait(Duration::from_millis(500));
            let count = story.repeats.len();
            story.send(&story.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
            story.wait(Duration::from_millis(100));
            assert_eq!(story.repeats.len(), count + 1, "the same ACK comes again");
        }
        story.finish(call);
    });
}

#[test]
fn a_phone_that_answers_after_hanging_up_is_hung_up() {
    each(|story| {
        let (call, invite) = story.invite();
        story.send(&story.in_dialog(&invite, "180 Ringing", "one"));
        story.progress();
        story.hang_up(call);
        let cancel = story.receive("CANCEL");
        for tag in ["one", "two"] {
            story.send(&story.in_dialog(&invite, "200 OK", tag).sdp(tag));
            story.receive("ACK");
            let bye = story.receive("BYE");
            assert_eq!(tag_of(&bye, "To"), tag, "the phone is hung up");
            story.reply(&bye, "200 OK");
        }
        story.reply(&cancel, "200 OK");
        let ended = story.ended();
        assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up before the answer");
        assert!(ended.may_have_rung, "it rang");
        story.nothing_left();
    });
}

/// The peer refuses a BYE whose CSeq does not follow that of the PRACK (RFC 3261, 12.2.2), and stays off the hook.
#[test]
fn a_late_answer_is_hung_up_with_the_next_cseq() {
    each(|story| {
        let (call, invite) = story.invite();
        for tag in ["one", "two"] {
            let ringing = story.in_dialog(&invite, "180 Ringing", tag);
            story.send(&ringing.line("Require: 100rel").line("RSeq: 1"));
            let prack = story.receive("PRACK");
            story.reply(&prack, "200 OK");
            story.progress();
        }
        story.answer(&invite, "one");
        story.send(&story.in_dialog(&invite, "200 OK", "two").sdp("two"));
        story.receive("ACK");
        let bye = story.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "two", "the second phone is hung up");
        story.reply(&bye, "200 OK");
        story.finish(call);
    });
}

/// The phone that has the call may still be off the hook, whatever another phone confirms.
#[test]
fn a_failed_bye_is_not_hidden_by_another() {
    let mut story = Story::new(TCP);
    let (call, invite) = story.invite();
    story.answer(&invite, "one");
    story.send(&story.in_dialog(&invite, "200 OK", "two").sdp("two"));
    story.receive("ACK");
    let bye = story.receive("BYE");
    let link = story.link;
    story.net.links[link].health = Health::Failing;
    story.hang_up(call);
    story.net.links[link].health = Health::Good;
    story.reply(&bye, "200 OK");
    let ended = story.ended();
    assert!(ended.may_still_ring, "the first phone does not know of the end");
    story.nothing_left();
}

/// The BYE could not be sent, and the second phone repeats its answer: it is not only acknowledged, but hung up.
#[test]
fn a_second_phone_whose_bye_failed_is_hung_up_at_its_next_200() {
    let mut story = Story::new(TCP);
    let (call, invite) = story.invite();
    story.answer(&invite, "one");
    let (link, ok) = (story.link, story.in_dialog(&invite, "200 OK", "two").sdp("two"));
    story.net.links[link].health = Health::Failing;
    story.send(&ok);
    story.wait(Duration::from_millis(100));
    story.net.links[link].health = Health::Good;
    story.send(&ok);
    story.receive("ACK");
    let bye = story.receive("BYE");
    assert_eq!(tag_of(&bye, "To"), "two", "the second phone is hung up");
    story.reply(&bye, "200 OK");
    story.hang_up(call);
    let bye = story.receive("BYE");
    story.reply(&bye, "200 OK");
    story.ended();
    story.nothing_left();
}

/// A phone whose dialog made room for another one answers after all. Its BYE must not have the CSeq of its PRACK.
#[test]
fn a_phone_that_made_room_is_hung_up_with_the_next_cseq() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&story.in_dialog(&invite, "180 Ringing", "one").line("Require: 100rel").line("RSeq: 1"));
        let prack = story.receive("PRACK");
        story.reply(&prack, "200 OK");
        story.progress();
        for number in 2..=16 {
            story.send(&story.in_dialog(&invite, "180 Ringing", &format!("phone{number}")));
            story.progress();
        }
        story.answer(&invite, "seventeen");
        story.send(&story.in_dialog(&invite, "200 OK", "one").sdp("one"));
        story.receive("ACK");
        let bye = story.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "one", "the second phone is hung up");
        assert!(bye.cseq().unwrap().number > prack.cseq().unwrap().number, "with the next CSeq");
        story.reply(&bye, "200 OK");
        story.finish(call);
    });
}
