//! Session timers (RFC 4028), and timers of transactions (RFC 3261, 17).

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, CallId, EndCause, Reply};
use phonegate_sip::message::{Message, Refresher};

use crate::net::scenario::{Scenario, both, each};
use crate::net::text::{PeerDialog, Text, header, sdp};

const ALLOW_UPDATE: &str = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE";
const ALLOW_INVITE: &str = "Allow: INVITE, ACK, BYE, CANCEL";

/// Places a call with a session timer, which the peer answers with these headers.
fn timed_call(scenario: &mut Scenario, session: &str, allow: &str) -> (CallId, PeerDialog, Message) {
    let mut call = scenario.call();
    call.session_interval = Some(90);
    let call = scenario.place(call);
    let invite = scenario.receive("INVITE");
    let ok = scenario.in_dialog(&invite, "200 OK", "callee").line("Require: timer");
    scenario.send(&ok.line(format!("Session-Expires: {session}")).line(allow).sdp("callee"));
    scenario.receive("ACK");
    scenario.answered();
    let dialog = scenario.dialog(&invite, "callee");
    (call, dialog, invite)
}

fn accept(scenario: &mut Scenario, refresh: &Message) {
    let mut ok = scenario.in_dialog(refresh, "200 OK", "callee").line("Require: timer");
    ok = ok.line("Session-Expires: 90;refresher=uac");
    if refresh.body().is_empty() {
        scenario.send(&ok);
    } else {
        scenario.send(&ok.sdp("callee"));
    }
    if header(refresh, "CSeq").ends_with("INVITE") {
        scenario.receive("ACK");
        let expected = CallEvent::SdpAnswer { offer: refresh.body().to_vec(), description: Some(sdp("callee")) };
        assert_eq!(scenario.call_event(), expected, "the answer is reported with its offer");
    }
}

#[test]
fn the_agent_refreshes_a_session_in_time() {
    for (allow, method) in [(ALLOW_UPDATE, "UPDATE"), (ALLOW_INVITE, "INVITE")] {
        each(|scenario| {
            let (call, _, _) = timed_call(scenario, "90;refresher=uac", allow);
            for _ in 0..3 {
                let before = scenario.net.now;
                let refresh = scenario.receive_at(method);
                let pause = refresh.at - before;
                assert!(pause >= Duration::from_secs(20) && pause < Duration::from_secs(85), "ahead of the expiry");
                let session = refresh.message.session_expires().unwrap().expect("a refresh has Session-Expires");
                assert_eq!((session.seconds, session.refresher), (90, Some(Refresher::Uac)), "as it was agreed");
                accept(scenario, &refresh.message);
            }
            scenario.finish(call);
        });
    }
}

/// The interval of a refresh may be too short, its nonce too old, and a proxy overloaded for a while.
#[test]
fn a_rejected_refresh_is_sent_again() {
    both(|scenario| {
        let (call, _, _) = timed_call(scenario, "90;refresher=uac", ALLOW_UPDATE);
        let refresh = scenario.receive("UPDATE");
        scenario.send(&Text::reply(&refresh, "422 Session Interval Too Small").line("Min-SE: 120"));
        let refresh = scenario.receive("UPDATE");
        assert_eq!(refresh.min_se().unwrap(), Some(120), "Min-SE is the peer's");
        assert!(refresh.session_expires().unwrap().is_some_and(|session| session.seconds >= 120), "long enough");
        let challenge = "Digest realm=\"trunk\", nonce=\"n1\", qop=\"auth\", algorithm=MD5";
        let text = Text::reply(&refresh, "407 Proxy Authentication Required");
        scenario.send(&text.line(format!("Proxy-Authenticate: {challenge}")));
        let refresh = scenario.receive("UPDATE");
        assert!(refresh.has_header("Proxy-Authorization"), "the challenge is answered");
        assert!(refresh.session_expires().unwrap().is_some(), "a repeated refresh has Session-Expires");
        accept(scenario, &refresh);
        scenario.finish(call);
    });
}

/// A proxy is overloaded at that moment: the session lives until it expires (RFC 4028, 10).
#[test]
fn a_refresh_that_fails_for_a_while_does_not_end_the_call() {
    for status in ["500 Server Internal Error", "503 Service Unavailable", "491 Request Pending"] {
        both(|scenario| {
            timed_call(scenario, "90;refresher=uac", ALLOW_UPDATE);
            let answered = scenario.net.now;
            let refresh = scenario.receive("UPDATE");
            scenario.reply(&refresh, status);
            let rejected = scenario.net.now;
            scenario.wait(Duration::from_secs(10));
            let mut again = Vec::new();
            scenario.take_new(&mut again);
            assert!(again.iter().all(|message| message.as_bytes().starts_with(b"UPDATE")), "{status} ends nothing");
            for refresh in &again {
                scenario.reply(refresh, status);
            }
            let mut last = scenario.receive_any().expect("the session ends");
            while last.message.as_bytes().starts_with(b"UPDATE") {
                scenario.reply(&last.message, status);
                last = scenario.receive_any().expect("the session ends");
            }
            assert!(last.message.as_bytes().starts_with(b"BYE"), "the session ends before it expires");
            assert!(last.at > rejected + Duration::from_secs(5), "it ends later than at {status}");
            assert!(last.at <= answered + Duration::from_secs(91), "and not after its expiry");
            scenario.reply(&last.message, "200 OK");
            assert_eq!(scenario.ended().cause, EndCause::SessionLost, "there was no refresh");
            scenario.nothing_left();
        });
    }
}

/// The ACK was lost.
#[test]
fn a_repeated_200_to_a_refresh_is_acknowledged_again() {
    each(|scenario| {
        let (call, _, _) = timed_call(scenario, "90;refresher=uac", ALLOW_INVITE);
        let refresh = scenario.receive("INVITE");
        accept(scenario, &refresh);
        let count = scenario.repeats.len();
        let ok = scenario.in_dialog(&refresh, "200 OK", "callee").line("Require: timer");
        scenario.send(&ok.line("Session-Expires: 90;refresher=uac").sdp("callee"));
        scenario.wait(Duration::from_millis(100));
        assert_eq!(scenario.repeats.len(), count + 1, "the same ACK comes again");
        scenario.finish(call);
    });
}

#[test]
fn a_refresh_without_response_ends_the_call() {
    for allow in [ALLOW_UPDATE, ALLOW_INVITE] {
        both(|scenario| {
            timed_call(scenario, "300;refresher=uac", allow);
            scenario.receive_any().expect("a refresh comes");
            let bye = scenario.receive("BYE");
            scenario.reply(&bye, "481 Call/Transaction Does Not Exist");
            assert_eq!(scenario.ended().cause, EndCause::SessionLost, "the peer is silent");
            scenario.nothing_left();
        });
    }
}

/// RFC 4028, 10, and RFC 3261, 12.2.1.2: the peer does not know the call any more.
#[test]
fn a_session_that_the_peer_lost_is_ended() {
    for status in ["481 Call/Transaction Does Not Exist", "408 Request Timeout"] {
        both(|scenario| {
            timed_call(scenario, "90;refresher=uac", ALLOW_UPDATE);
            let refresh = scenario.receive("UPDATE");
            scenario.reply(&refresh, status);
            let bye = scenario.receive("BYE");
            scenario.reply(&bye, "481 Call/Transaction Does Not Exist");
            assert_eq!(scenario.ended().cause, EndCause::SessionLost, "{status}");
            scenario.nothing_left();
        });
    }
}

#[test]
fn a_session_that_the_peer_does_not_refresh_is_ended() {
    each(|scenario| {
        timed_call(scenario, "90;refresher=uas", ALLOW_UPDATE);
        let answered = scenario.net.now;
        let bye = scenario.receive_at("BYE");
        let pause = bye.at - answered;
        assert!(pause >= Duration::from_secs(55) && pause <= Duration::from_secs(91), "shortly ahead of the expiry");
        scenario.reply(&bye.message, "200 OK");
        assert_eq!(scenario.ended().cause, EndCause::SessionLost, "there was no refresh");
        scenario.nothing_left();
    });
}

#[test]
fn refreshes_of_the_peer_keep_the_call() {
    each(|scenario| {
        let (call, mut dialog, _) = timed_call(scenario, "90;refresher=uas", ALLOW_UPDATE);
        for method in ["UPDATE", "INVITE", "UPDATE"] {
            scenario.quiet(Duration::from_secs(45));
            let refresh = dialog.request(method).line("Supported: timer").line("Session-Expires: 90;refresher=uac");
            if method == "UPDATE" {
                scenario.send(&refresh);
            } else {
                scenario.send(&refresh.sdp("callee"));
                let (request, _) = scenario.offer();
                scenario.respond(request, Reply::Accept(Some(sdp("ours"))));
            }
            let ok = scenario.receive(&format!("200 {method}"));
            let session = ok.session_expires().unwrap().expect("the 200 has Session-Expires");
            assert_eq!((session.seconds, session.refresher), (90, Some(Refresher::Uac)), "the peer keeps refreshing");
            if method == "INVITE" {
                scenario.send(&dialog.repeated("ACK", dialog.cseq));
            }
        }
        scenario.finish(call);
    });
}

/// RFC 4028, 7.2: a peer without session timers.
#[test]
fn a_call_without_an_agreed_interval_is_not_refreshed() {
    both(|scenario| {
        let mut call = scenario.call();
        call.session_interval = Some(90);
        let call = scenario.place(call);
        let invite = scenario.receive("INVITE");
        scenario.answer(&invite, "callee");
        scenario.quiet(Duration::from_secs(3_600));
        scenario.finish(call);
    });
}

/// RFC 3261, 17.1.1.2: timer A doubles from T1, until timer B ends the transaction after 64 times T1.
#[test]
fn an_invite_is_repeated_until_timer_b() {
    let mut scenario = Scenario::new(crate::net::scenario::UDP);
    scenario.place(scenario.call());
    let first = scenario.receive_at("INVITE");
    let ended = scenario.ended();
    let sent: Vec<_> = scenario.repeats.iter().map(|repeat| (repeat.at - first.at).as_millis()).collect();
    assert_eq!(sent, [500, 1_500, 3_500, 7_500, 15_500, 31_500], "the pauses double");
    assert_eq!(ended.cause, EndCause::NoResponse, "no response came");
    assert!(ended.may_have_rung && ended.may_still_ring, "silence says nothing about the phone");
    let took = scenario.net.now - first.at;
    assert!(took > Duration::from_secs(31) && took < Duration::from_secs(33), "after timer B");
    scenario.nothing_left();
}

/// RFC 3261, 17.1.2.2: timer E doubles up to T2.
#[test]
fn a_bye_is_repeated_until_timer_f() {
    let mut scenario = Scenario::new(crate::net::scenario::UDP);
    let (call, _) = scenario.answered_call();
    scenario.hang_up(call);
    let bye = scenario.receive_at("BYE");
    let ended = scenario.ended();
    let sent: Vec<_> = scenario.repeats.iter().map(|repeat| (repeat.at - bye.at).as_millis()).collect();
    assert_eq!(sent[..5], [500, 1_500, 3_500, 7_500, 11_500], "the pauses grow to T2");
    assert!(sent.last().is_some_and(|&last| last <= 32_000), "timer F ends it");
    assert_eq!(ended.cause, EndCause::HungUp, "the caller hung up");
    assert!(ended.may_still_ring, "no response confirms that the phone is on the hook");
    scenario.nothing_left();
}

/// Over a stream, the agent waits as long, but sends once.
#[test]
fn over_a_stream_nothing_is_repeated() {
    let mut scenario = Scenario::new(crate::net::scenario::TCP);
    let (call, _) = scenario.answered_call();
    scenario.hang_up(call);
    scenario.receive("BYE");
    assert!(scenario.ended().may_still_ring, "no response confirms the end");
    scenario.place(scenario.call());
    scenario.receive("INVITE");
    assert_eq!(scenario.ended().cause, EndCause::NoResponse, "no response came");
    assert_eq!(scenario.repeats.len(), 0, "nothing came twice");
    scenario.nothing_left();
}

/// Provisional responses stop the retransmissions (17.1.1.2), but the ringing time is limited, as in a proxy (16.6,
/// timer C).
#[test]
fn a_call_that_rings_too_long_is_cancelled() {
    both(|scenario| {
        let (_, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        scenario.progress();
        let cancel = scenario.receive_at("CANCEL");
        let rang = cancel.at - Duration::from_secs(1_000);
        assert!(rang >= Duration::from_secs(180) && rang < Duration::from_secs(181), "after max_ringing");
        scenario.reply(&cancel.message, "200 OK");
        scenario.send(&scenario.in_dialog(&invite, "487 Request Terminated", "callee"));
        scenario.receive("ACK");
        let ended = scenario.ended();
        assert_eq!(ended.cause, EndCause::NoResponse, "no final response came in time");
        assert!(ended.may_have_rung && ended.may_still_ring, "it rang, and nothing confirmed the CANCEL yet");
        scenario.nothing_left();
    });
}

/// RFC 4028, 9: the peer's request says who refreshes from then on.
#[test]
fn the_peer_may_ask_the_agent_to_refresh() {
    each(|scenario| {
        let (call, mut dialog, _) = timed_call(scenario, "90;refresher=uas", ALLOW_UPDATE);
        scenario.quiet(Duration::from_secs(30));
        scenario.send(&dialog.request("UPDATE").line("Supported: timer").line("Session-Expires: 120;refresher=uas"));
        let ok = scenario.receive("200 UPDATE");
        let session = ok.session_expires().unwrap().expect("the 200 has Session-Expires");
        assert_eq!((session.seconds, session.refresher), (120, Some(Refresher::Uas)), "the agent refreshes");
        let agreed = scenario.net.now;
        let refresh = scenario.receive_at("UPDATE");
        assert!(refresh.at - agreed < Duration::from_secs(120), "it does so in time");
        accept(scenario, &refresh.message);
        scenario.finish(call);
    });
}

/// RFC 4028, 9: a request to refresh more often than the minimum is rejected.
#[test]
fn an_interval_below_the_minimum_is_rejected() {
    both(|scenario| {
        let (call, mut dialog, _) = timed_call(scenario, "90;refresher=uas", ALLOW_UPDATE);
        let refresh = dialog.request("UPDATE").line("Supported: timer").line("Session-Expires: 20;refresher=uac");
        scenario.send(&refresh);
        let rejection = scenario.receive("422 UPDATE");
        assert!(rejection.min_se().unwrap().is_some_and(|seconds| seconds >= 90), "Min-SE says what is enough");
        scenario.finish(call);
    });
}

/// A datagram may come twice, the second time much later.
#[test]
fn a_repeated_200_after_refreshes_does_not_end_the_call() {
    each(|scenario| {
        let (call, _, invite) = timed_call(scenario, "90;refresher=uac", ALLOW_INVITE);
        for _ in 0..3 {
            let refresh = scenario.receive("INVITE");
            accept(scenario, &refresh);
        }
        let ok = scenario.in_dialog(&invite, "200 OK", "callee").line("Require: timer");
        scenario.send(&ok.line("Session-Expires: 90;refresher=uac").line(ALLOW_INVITE).sdp("callee"));
        scenario.quiet(Duration::from_secs(1));
        scenario.finish(call);
    });
}
