//! Calls that ring at several phones.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, EndCause, Reply};

use crate::net::network::Health;
use crate::net::scenario::{Scenario, TCP, both, each, tag_of};
use crate::net::text::{Text, sdp};

#[test]
fn the_first_2xx_establishes_the_call() {
    each(|scenario| {
        let (call, invite) = scenario.invite();
        for tag in ["one", "two"] {
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", tag));
            scenario.progress();
        }
        let dialog = scenario.answer(&invite, "two");
        assert!(dialog.local.ends_with("two"), "the second has it");
        scenario.finish(call);
    });
}

/// RFC 3261, 13.2.2.4: each 2xx is acknowledged, and one that is not wanted is ended by BYE.
#[test]
fn a_second_phone_with_a_2xx_is_hung_up() {
    each(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.answer(&invite, "one");
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "two").sdp("two"));
        let ack = scenario.receive("ACK");
        assert_eq!(tag_of(&ack, "To"), "two", "the second answer is acknowledged");
        let bye = scenario.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "two", "the second phone is hung up");
        scenario.reply(&bye, "200 OK");
        scenario.quiet(Duration::from_secs(5));
        scenario.hang_up(call);
        let bye = scenario.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "one", "the first phone had the call");
        scenario.reply(&bye, "200 OK");
        assert_eq!(scenario.ended().cause, EndCause::HungUp, "the call lived until the caller hung up");
        scenario.nothing_left();
    });
}

/// A B2BUA may ring one phone after the other.
#[test]
fn the_sdp_answer_is_that_of_the_established_fork() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "183 Session ProvisionalResponse", "one").sdp("early of one"));
        scenario.progress();
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "two").sdp("two"));
        scenario.receive("ACK");
        assert_eq!(scenario.answered().description, Some(sdp("two")), "the early media of the first is not the answer");
        scenario.finish(call);
    });
}

#[test]
fn a_2xx_without_sdp_does_not_use_the_sdp_of_another_fork() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "183 Session ProvisionalResponse", "one").sdp("early of one"));
        scenario.progress();
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "two"));
        scenario.receive("ACK");
        assert_eq!(scenario.answered().description, None, "the second phone answered nothing");
        scenario.finish(call);
    });
}

#[test]
fn a_bye_of_one_phone_leaves_the_call_with_the_other() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.answer(&invite, "one");
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "two").sdp("two"));
        scenario.receive("ACK");
        let bye = scenario.receive("BYE");
        // The second phone hangs up at the same time.
        let mut second = scenario.dialog(&invite, "two");
        scenario.send(&second.request("BYE"));
        let response = scenario.receive_at("200 BYE");
        assert!(response.message.status().is_some(), "it is confirmed");
        scenario.reply(&bye, "481 Call/Transaction Does Not Exist");
        scenario.quiet(Duration::from_secs(5));
        scenario.finish(call);
    });
}

/// Only the tag identifies a phone, so a retransmission of its 200 is not a second phone.
#[test]
fn a_retransmitted_2xx_is_acknowledged_again() {
    each(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.answer(&invite, "callee");
        for _ in 0..3 {
            scenario.wait(Duration::from_millis(500));
            let count = scenario.repeats.len();
            scenario.send(&scenario.in_dialog(&invite, "200 OK", "callee").sdp("callee"));
            scenario.wait(Duration::from_millis(100));
            assert_eq!(scenario.repeats.len(), count + 1, "the same ACK comes again");
        }
        scenario.finish(call);
    });
}

#[test]
fn a_2xx_after_hanging_up_is_hung_up() {
    each(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "one"));
        scenario.progress();
        scenario.hang_up(call);
        let cancel = scenario.receive("CANCEL");
        for tag in ["one", "two"] {
            scenario.send(&scenario.in_dialog(&invite, "200 OK", tag).sdp(tag));
            scenario.receive("ACK");
            let bye = scenario.receive("BYE");
            assert_eq!(tag_of(&bye, "To"), tag, "the phone is hung up");
            scenario.reply(&bye, "200 OK");
        }
        scenario.reply(&cancel, "200 OK");
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up before the answer");
        assert!(ended.may_have_rung, "it rang");
        scenario.nothing_left();
    });
}

/// The peer rejects a BYE whose CSeq does not follow that of the PRACK (RFC 3261, 12.2.2), and stays off the hook.
#[test]
fn a_late_2xx_is_hung_up_with_the_next_cseq() {
    each(|scenario| {
        let (call, invite) = scenario.invite();
        for tag in ["one", "two"] {
            let ringing = scenario.in_dialog(&invite, "180 Ringing", tag);
            scenario.send(&ringing.line("Require: 100rel").line("RSeq: 1"));
            let prack = scenario.receive("PRACK");
            scenario.reply(&prack, "200 OK");
            scenario.progress();
        }
        scenario.answer(&invite, "one");
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "two").sdp("two"));
        scenario.receive("ACK");
        let bye = scenario.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "two", "the second phone is hung up");
        scenario.reply(&bye, "200 OK");
        scenario.finish(call);
    });
}

/// The phone that has the call may still be off the hook, whatever another phone confirms.
#[test]
fn a_failed_bye_is_not_hidden_by_another() {
    let mut scenario = Scenario::new(TCP);
    let (call, invite) = scenario.invite();
    scenario.answer(&invite, "one");
    scenario.send(&scenario.in_dialog(&invite, "200 OK", "two").sdp("two"));
    scenario.receive("ACK");
    let bye = scenario.receive("BYE");
    let link = scenario.link;
    scenario.net.links[link].health = Health::Failing;
    scenario.hang_up(call);
    scenario.net.links[link].health = Health::Good;
    scenario.reply(&bye, "200 OK");
    let ended = scenario.ended();
    assert!(ended.may_still_ring, "the first phone does not know of the end");
    scenario.nothing_left();
}

/// The BYE could not be sent, and the second phone repeats its answer: it is not only acknowledged, but hung up.
#[test]
fn a_second_phone_whose_bye_failed_is_hung_up_at_its_next_200() {
    let mut scenario = Scenario::new(TCP);
    let (call, invite) = scenario.invite();
    scenario.answer(&invite, "one");
    let (link, ok) = (scenario.link, scenario.in_dialog(&invite, "200 OK", "two").sdp("two"));
    scenario.net.links[link].health = Health::Failing;
    scenario.send(&ok);
    scenario.wait(Duration::from_millis(100));
    scenario.net.links[link].health = Health::Good;
    scenario.send(&ok);
    scenario.receive("ACK");
    let bye = scenario.receive("BYE");
    assert_eq!(tag_of(&bye, "To"), "two", "the second phone is hung up");
    scenario.reply(&bye, "200 OK");
    scenario.hang_up(call);
    let bye = scenario.receive("BYE");
    scenario.reply(&bye, "200 OK");
    scenario.ended();
    scenario.nothing_left();
}

/// A phone whose dialog made room for another one answers after all. Its BYE must not have the CSeq of its PRACK.
#[test]
fn an_evicted_fork_is_hung_up_with_the_next_cseq() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "one").line("Require: 100rel").line("RSeq: 1"));
        let prack = scenario.receive("PRACK");
        scenario.reply(&prack, "200 OK");
        scenario.progress();
        for number in 2..=16 {
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", &format!("phone{number}")));
            scenario.progress();
        }
        scenario.answer(&invite, "seventeen");
        scenario.send(&scenario.in_dialog(&invite, "200 OK", "one").sdp("one"));
        scenario.receive("ACK");
        let bye = scenario.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "one", "the second phone is hung up");
        assert!(bye.cseq().unwrap().number > prack.cseq().unwrap().number, "with the next CSeq");
        scenario.reply(&bye, "200 OK");
        scenario.finish(call);
    });
}

/// A phone that rang but did not get the call knows its Call-ID and its own tags. It must not press keys in it.
#[test]
fn an_info_of_another_phone_is_no_key_of_the_call() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        for tag in ["one", "two"] {
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", tag));
            scenario.progress();
        }
        let mut established = scenario.answer(&invite, "one");
        let mut other = scenario.dialog(&invite, "two");
        let info = |text: Text| text.body("application/dtmf-relay", "Signal=#\r\n");
        scenario.send(&info(other.request("INFO")));
        scenario.receive("481 INFO");
        scenario.quiet(Duration::from_secs(5));
        scenario.send(&info(established.request("INFO")));
        let CallEvent::Info { request, .. } = scenario.call_event() else { panic!("the phone that has the call may") };
        scenario.respond(request, Reply::Accept(None));
        scenario.receive("200 INFO");
        scenario.finish(call);
    });
}
