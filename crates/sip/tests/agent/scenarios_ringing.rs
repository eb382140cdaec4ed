//! The reports on ringing are correct: `may_have_rung` and `may_still_ring` for every kind of end.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, EndCause};

use crate::net::network::Health;
use crate::net::scenario::{Scenario, TCP, UDP, both, each};
use crate::net::text::{Text, header};

/// A rejection, and whether a phone may have rung if no ringing was reported before.
const REJECTIONS: &[(&str, bool)] = &[
    ("400 Bad Request", false),
    ("403 Forbidden", false),
    ("404 Not Found", false),
    ("415 Unsupported Media Type", false),
    ("420 Bad Extension", false),
    ("421 Extension Required", false),
    ("484 Address Incomplete", false),
    ("488 Not Acceptable Here", false),
    ("500 Server Internal Error", false),
    ("503 Service Unavailable", false),
    ("604 Does Not Exist Anywhere", false),
    ("408 Request Timeout", true),
    ("480 Temporarily Unavailable", true),
    ("486 Busy Here", true),
    ("487 Request Terminated", true),
    ("504 Server Time-out", true),
    ("600 Busy Everywhere", true),
    ("603 Decline", true),
];

#[test]
fn a_rejection_says_whether_a_phone_may_have_rung() {
    for &(status, may_have_rung) in REJECTIONS {
        both(|scenario| {
            let (_, invite) = scenario.invite();
            scenario.reply(&invite, "100 Trying");
            scenario.reply(&invite, status);
            scenario.receive("ACK");
            let ended = scenario.ended();
            assert!(matches!(ended.cause, EndCause::Rejected(_)), "{status}: {ended:?}");
            assert_eq!(ended.may_have_rung, may_have_rung, "{status}");
            assert!(!ended.may_still_ring, "a final response ends the ringing: {status}");
            scenario.nothing_left();
        });
    }
}

/// An 18x was received, so a phone may have rung, whatever the final response is.
#[test]
fn after_an_18x_a_phone_may_have_rung() {
    for early in ["180 Ringing", "181 Call Is Being Forwarded", "182 Queued", "183 Session ProvisionalResponse"] {
        for &(status, _) in REJECTIONS {
            both(|scenario| {
                let (_, invite) = scenario.invite();
                scenario.send(&scenario.in_dialog(&invite, early, "callee"));
                scenario.progress();
                scenario.reply(&invite, status);
                scenario.receive("ACK");
                let ended = scenario.ended();
                assert!(ended.may_have_rung, "{early} and {status}");
                assert!(!ended.may_still_ring, "a final response ends the ringing: {status}");
                scenario.nothing_left();
            });
        }
    }
}

/// What a telephone network responds when a call is rejected, and why that is no failure of the trunk.
#[test]
fn a_503_after_ringing_keeps_its_cause() {
    each(|scenario| {
        let (_, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        scenario.progress();
        let rejection = scenario.in_dialog(&invite, "503 Service Unavailable", "callee");
        scenario.send(&rejection.line("Reason: Q.850;cause=21;text=\"Call rejected\""));
        scenario.receive("ACK");
        let ended = scenario.ended();
        let EndCause::Rejected(rejection) = &ended.cause else { panic!("{ended:?}") };
        assert_eq!((rejection.status, rejection.q850), (503, Some(21)), "the cause is kept");
        assert!(ended.may_have_rung, "it rang");
        scenario.nothing_left();
    });
}

/// The 180 was lost, and the telephone network says what the called phone did (ITU-T Q.850, 2.2.7).
#[test]
fn a_cause_of_the_called_phone_says_that_it_may_have_rung() {
    for (cause, may_have_rung) in [(1, false), (34, false), (42, false), (16, true), (17, true), (19, true), (21, true)]
    {
        for status in ["403 Forbidden", "500 Server Internal Error", "503 Service Unavailable"] {
            both(|scenario| {
                let (_, invite) = scenario.invite();
                let rejection = scenario.in_dialog(&invite, status, "callee");
                scenario.send(&rejection.line(format!("Reason: Q.850;cause={cause}")));
                scenario.receive("ACK");
                let ended = scenario.ended();
                assert_eq!(ended.may_have_rung, may_have_rung, "{status} with cause {cause}");
                scenario.nothing_left();
            });
        }
    }
}

#[test]
fn ringing_before_a_challenge_counts() {
    both(|scenario| {
        let mut call = scenario.call();
        call.credentials = None;
        scenario.place(call);
        let invite = scenario.receive("INVITE");
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        scenario.progress();
        let challenge = "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"n1\"";
        scenario.send(&Text::reply(&invite, "401 Unauthorized").tag("x").line(challenge));
        scenario.receive("ACK");
        assert!(scenario.ended().may_have_rung, "the 180 said so");
        scenario.nothing_left();
    });
}

#[test]
fn ringing_at_the_first_node_counts_after_a_redirection() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "first"));
        scenario.progress();
        let moved = Text::reply(&invite, "302 Moved").tag("first");
        scenario.send(&moved.line(format!("Contact: <sip:+14255550100@{}:5072>", scenario.host())));
        scenario.receive("ACK");
        assert!(matches!(scenario.call_event(), CallEvent::Redirected(_)), "it is reported");
        scenario.hang_up(call);
        assert!(scenario.ended().may_have_rung, "the first node said so");
        scenario.nothing_left();
    });
}

/// A phone rings while the PRACK is open, and then the caller hangs up.
#[test]
fn silence_on_the_prack_does_not_hide_that_it_rang() {
    for challenge in [false, true] {
        both(|scenario| {
            let (call, invite) = scenario.invite();
            let ringing = scenario.in_dialog(&invite, "180 Ringing", "callee");
            scenario.send(&ringing.line("Require: 100rel").line("RSeq: 1"));
            let prack = scenario.receive("PRACK");
            scenario.progress();
            if challenge {
                let challenge = "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"n1\"";
                scenario.send(&Text::reply(&prack, "401 Unauthorized").line(challenge));
                let again = scenario.receive("PRACK");
                assert_eq!(header(&again, "RAck"), header(&prack, "RAck"), "the PRACK is repeated with an answer");
            }
            scenario.wait(Duration::from_secs(40));
            scenario.hang_up(call);
            let cancel = scenario.receive("CANCEL");
            scenario.confirm_cancel(&invite, &cancel);
            let ended = scenario.ended();
            assert!(ended.may_have_rung && !ended.may_still_ring, "it rang and has stopped");
            scenario.nothing_left();
        });
    }
}

/// What is unreadable in a 200 must not leave the phone off the hook: the call is answered or ended, never
/// silent, and a phone may have rung.
#[test]
fn a_200_with_unreadable_headers_is_not_lost() {
    for line in [
        "Contact: <sip:callee@[2001:db8::zz]>",
        "Contact: callee",
        "Contact: *",
        "Warning: none",
        "Record-Route: <sip:broken",
        "Session-Expires: often",
        "Require: \u{fffd}",
        "Content-Type: nonsense",
    ] {
        both(|scenario| {
            let (call, invite) = scenario.invite();
            let name = line.split(':').next().unwrap_or_default();
            let ok = Text::reply(&invite, "200 OK").tag("callee");
            let ok = if name == "Contact" { ok } else { ok.line("Contact: <sip:callee@192.0.2.7:5080>") };
            scenario.send(&ok.line(line).sdp("callee"));
            scenario.receive("ACK");
            let mut first = scenario.call_event();
            if matches!(first, CallEvent::Established(_)) {
                scenario.hang_up(call);
            }
            let bye = scenario.receive("BYE");
            scenario.reply(&bye, "200 OK");
            if matches!(first, CallEvent::Established(_)) {
                first = scenario.call_event();
            }
            let CallEvent::Ended(ended) = first else { panic!("{line}: {first:?}") };
            assert!(ended.may_have_rung && !ended.may_still_ring, "{line}: {ended:?}");
            scenario.nothing_left();
        });
    }
}

/// Of such a response, not even the dialog is known.
#[test]
fn a_200_without_a_readable_dialog_may_have_rung() {
    for line in ["To: <sip:+14255550100@192.0.2.7", "To: <sip:a@192.0.2.7>;tag=a;tag=b", "To: ;tag=callee"] {
        both(|scenario| {
            let (_, invite) = scenario.invite();
            let ok = Text::reply(&invite, "200 OK").replace("To", line);
            scenario.send(&ok.line("Contact: <sip:callee@192.0.2.7:5080>").sdp("callee"));
            let ended = scenario.ended();
            assert_eq!(ended.cause, EndCause::NoResponse, "{line}");
            assert!(ended.may_have_rung && ended.may_still_ring, "{line}: {ended:?}");
            scenario.nothing_left();
        });
    }
}

/// RFC 3581: a server that writes `;rport=` without a port.
#[test]
fn an_empty_rport_in_a_response_hides_nothing() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        let via = header(&invite, "Via");
        for rport in [";rport=", ";rport=none", ";RPORT"] {
            let via = if via.contains(";rport") { via.replace(";rport", rport) } else { format!("{via}{rport}") };
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee").replace("Via", format!("Via: {via}")));
            assert_eq!(scenario.progress(), 180, "{rport}");
        }
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

/// The socket reports that no byte was sent.
#[test]
fn an_invite_that_could_not_be_sent_rang_no_phone() {
    both(|scenario| {
        let link = scenario.link;
        scenario.net.links[link].health = Health::Failing;
        scenario.place(scenario.call());
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::ConnectionLost, "the INVITE could not be sent");
        assert!(!ended.may_have_rung && !ended.may_still_ring, "no byte was sent");
        scenario.nothing_left();
    });
}

/// The first INVITE vanished, and only the second could not be sent.
#[test]
fn an_invite_of_which_one_went_out_may_have_rung() {
    let mut scenario = Scenario::new(UDP);
    let link = scenario.link;
    scenario.place(scenario.call());
    scenario.receive("INVITE");
    scenario.net.links[link].health = Health::Failing;
    let ended = scenario.ended();
    assert!(ended.may_have_rung, "the first INVITE may have arrived");
    assert!(ended.may_still_ring, "no response says that it stopped");
    scenario.nothing_left();
}

#[test]
fn a_challenged_invite_that_cannot_be_repeated_rang_no_phone() {
    both(|scenario| {
        let (_, invite) = scenario.invite();
        let link = scenario.link;
        let challenge = "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"n1\"";
        scenario.send(&Text::reply(&invite, "401 Unauthorized").tag("x").line(challenge));
        scenario.net.links[link].health = Health::Failing;
        loop {
            match scenario.call_event() {
                CallEvent::Retried(_) => {}
                CallEvent::Ended(ended) => break assert!(!ended.may_have_rung, "only a challenge came: {ended:?}"),
                event => panic!("{event:?}"),
            }
        }
        scenario.nothing_left();
    });
}

#[test]
fn a_connection_that_closes_may_leave_a_phone_ringing() {
    for rings in [false, true] {
        let mut scenario = Scenario::new(TCP);
        let (call, invite) = scenario.invite();
        if rings {
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
            scenario.progress();
        }
        scenario.net.close(scenario.link);
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::ConnectionLost, "the connection closed");
        assert!(ended.may_have_rung && ended.may_still_ring, "the INVITE was sent");
        scenario.hang_up(call);
        scenario.nothing_left();
    }
}

/// A connection that died without notice, for example by a power cut: the INVITE stays in the buffer.
#[test]
fn an_invite_in_the_buffer_of_a_dead_connection_may_ring() {
    let mut scenario = Scenario::new(TCP);
    scenario.net.links[scenario.link].health = Health::Dead;
    scenario.place(scenario.call());
    let ended = scenario.ended();
    assert_eq!(ended.cause, EndCause::NoResponse, "nothing came back");
    assert!(ended.may_have_rung && ended.may_still_ring, "the bytes may arrive");
    scenario.nothing_left();
}

#[test]
fn silence_may_have_rung() {
    for trying in [false, true] {
        both(|scenario| {
            let (_, invite) = scenario.invite();
            if trying {
                scenario.reply(&invite, "100 Trying");
            }
            let mut cancels = Vec::new();
            let ended = scenario.ended();
            scenario.wait(Duration::from_millis(50));
            scenario.take_new(&mut cancels);
            assert_eq!(ended.cause, EndCause::NoResponse, "no final response came");
            assert!(ended.may_have_rung && ended.may_still_ring, "silence says nothing");
            assert_eq!(cancels.len(), usize::from(trying), "the INVITE is cancelled if there was a response");
            scenario.nothing_left();
        });
    }
}

#[test]
fn a_call_hung_up_ahead_of_its_challenge_rang_no_phone() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.hang_up(call);
        let challenge = "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"n1\"";
        scenario.send(&Text::reply(&invite, "401 Unauthorized").tag("x").line(challenge));
        scenario.receive("ACK");
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::Cancelled, "the caller hung up, so that nothing is repeated");
        assert!(!ended.may_have_rung && !ended.may_still_ring, "a challenge rings no phone");
        scenario.nothing_left();
    });
}
