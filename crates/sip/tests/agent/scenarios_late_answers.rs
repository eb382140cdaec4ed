//! Late answers: phones that answer an INVITE which was sent again since.

use phonegate_sip::agent::{CallEvent, CallId, RetryReason};
use phonegate_sip::message::Message;

use crate::net::scenario::{Scenario, both, each, local, remote, tag_of};
use crate::net::text::{Text, sdp};

/// A server redirects the call, and one of its phones accepts it all the same. ACK and BYE go to that server. If the
/// phone is first, the INVITE to the other server is cancelled; otherwise the phone is hung up.
#[test]
fn an_answer_to_a_redirected_invite_stays_with_its_server() {
    for is_in_time in [true, false] {
        each(|scenario| {
            let (call, first) = scenario.invite();
            let next = follow_to_port_5072(scenario, call, &first);
            let (old, new) = (0, scenario.link);
            let servers = (scenario.net.links[old].flow.remote, scenario.net.links[new].flow.remote);
            scenario.send(&scenario.in_dialog(&next, "180 Ringing", "two"));
            scenario.progress();
            if !is_in_time {
                scenario.answer(&next, "two");
            }
            scenario.link = old;
            scenario.send(&scenario.in_dialog(&first, "200 OK", "one").sdp("one"));
            let ack = scenario.receive_at("ACK");
            assert_eq!((ack.destination.ip(), ack.link), (servers.0.ip(), old), "the ACK goes to the first server");
            if is_in_time {
                assert_eq!(scenario.answered().description, Some(sdp("one")), "the phone that answered has the call");
                let cancel = scenario.receive_at("CANCEL");
                assert_eq!((cancel.destination, cancel.link), (servers.1, new), "the other server is cancelled");
                scenario.link = new;
                scenario.confirm_cancel(&next, &cancel.message);
                scenario.link = old;
                let mut dialog = scenario.dialog(&first, "one");
                scenario.send(&dialog.request("OPTIONS"));
                scenario.receive("200 OPTIONS");
                scenario.hang_up(call);
            }
            let bye = scenario.receive_at("BYE");
            assert_eq!((tag_of(&bye.message, "To").as_str(), bye.link), ("one", old), "it is hung up at its server");
            scenario.reply(&bye.message, "200 OK");
            if !is_in_time {
                scenario.link = new;
                scenario.hang_up(call);
                let bye = scenario.receive_at("BYE");
                assert_eq!(
                    (tag_of(&bye.message, "To").as_str(), bye.link),
                    ("two", new),
                    "the BYE ends the dialog that has the call"
                );
                scenario.reply(&bye.message, "200 OK");
            }
            assert!(!scenario.ended().may_still_ring, "the servers confirmed both");
            scenario.nothing_left();
        });
    }
}

/// Redirects an INVITE to another node of the trunk, and returns the INVITE to that node.
fn follow_to_port_5072(scenario: &mut Scenario, call: CallId, invite: &Message) -> Message {
    let to = format!("sip:+14255550100@{}:5072", scenario.host());
    let moved = Text::reply(invite, "302 Moved Temporarily").tag("first");
    scenario.send(&moved.line(format!("Contact: <{to}>")));
    scenario.receive("ACK");
    assert!(matches!(scenario.call_event(), CallEvent::Redirected(_)), "the redirection is reported");
    let (mut own, mut server) = (local(scenario.path), remote(scenario.path));
    own.set_port(5_098);
    server.set_port(5_072);
    scenario.link = scenario.net.open(scenario.path.transport, own, server);
    let flow = scenario.net.links[scenario.link].id;
    scenario.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
    let invite = scenario.receive("INVITE");
    assert_eq!(scenario.call_event(), CallEvent::Retried(RetryReason::Redirected), "the retry is reported");
    invite
}

/// A forking proxy passes on the reliable ringing of one phone, the challenge of another, and then the answer of the first.
/// In its dialog, a PRACK was sent already, and the peer rejects a BYE that has no higher number (RFC 3261, 12.2.2).
#[test]
fn a_late_answer_is_hung_up_with_a_higher_cseq_than_its_prack() {
    both(|scenario| {
        let (call, first) = scenario.invite();
        let reliable = scenario.in_dialog(&first, "183 Session Progress", "one");
        scenario.send(&reliable.line("Require: 100rel").line("RSeq: 1"));
        let prack = scenario.receive("PRACK");
        scenario.reply(&prack, "200 OK");
        scenario.progress();
        let challenge = Text::reply(&first, "407 Proxy Authentication Required").tag("two");
        let value = "Digest realm=\"trunk\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"";
        scenario.send(&challenge.line(format!("Proxy-Authenticate: {value}")));
        scenario.receive("ACK");
        let next = scenario.receive("INVITE");
        assert_eq!(scenario.call_event(), CallEvent::Retried(RetryReason::Challenged), "the retry is reported");
        scenario.answer(&next, "two");
        scenario.send(&scenario.in_dialog(&first, "200 OK", "one").sdp("one"));
        let ack = scenario.receive("ACK");
        assert_eq!(ack.cseq().unwrap().number, first.cseq().unwrap().number, "an ACK has the number of its INVITE");
        let bye = scenario.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "one", "the phone without the call is hung up");
        assert!(bye.cseq().unwrap().number > prack.cseq().unwrap().number, "the number is new in the dialog");
        scenario.reply(&bye, "200 OK");
        scenario.finish(call);
    });
}

/// The phone is hung up while the caller decides about the redirection, and its server challenges the BYE only after
/// another phone has answered.
#[test]
fn a_challenged_bye_of_a_late_answer_is_sent_again() {
    both(|scenario| {
        let (call, first) = scenario.invite();
        let to = format!("sip:+14255550100@{}:5072", scenario.host());
        let moved = Text::reply(&first, "302 Moved Temporarily").tag("first");
        scenario.send(&moved.line(format!("Contact: <{to}>")));
        scenario.receive("ACK");
        assert!(matches!(scenario.call_event(), CallEvent::Redirected(_)), "the redirection is reported");
        scenario.send(&scenario.in_dialog(&first, "200 OK", "one").sdp("one"));
        scenario.receive("ACK");
        let bye = scenario.receive("BYE");
        let flow = scenario.net.links[scenario.link].id;
        scenario.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
        let next = scenario.receive("INVITE");
        assert_eq!(scenario.call_event(), CallEvent::Retried(RetryReason::Redirected), "the retry is reported");
        scenario.answer(&next, "two");
        let challenge = Text::reply(&bye, "407 Proxy Authentication Required");
        let value = "Digest realm=\"trunk\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"";
        scenario.send(&challenge.line(format!("Proxy-Authenticate: {value}")));
        let bye = scenario.receive("BYE");
        assert_eq!(tag_of(&bye, "To"), "one", "the phone without the call is hung up");
        assert!(bye.has_header("Proxy-Authorization"), "with credentials");
        scenario.reply(&bye, "200 OK");
        scenario.finish(call);
    });
}
