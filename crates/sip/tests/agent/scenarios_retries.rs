//! INVITEs that are rejected first and sent again: challenges, session intervals, redirections.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, EndCause, RetryReason};
use phonegate_sip::auth::AuthError;
use phonegate_sip::message::Message;

use crate::net::scenario::{PATHS, Scenario, both, each, local, remote, request_uri, tag_of};
use crate::net::text::{Text, header, sdp};

fn number(message: &Message) -> u32 {
    message.cseq().unwrap().number
}

fn challenge(request: &Message, kind: &str, nonce: &str, algorithm: &str) -> Text {
    let (status, name) = match kind {
        "server" => ("401 Unauthorized", "WWW-Authenticate"),
        _ => ("407 Proxy Authentication Required", "Proxy-Authenticate"),
    };
    let value = format!("Digest realm=\"{kind}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"");
    Text::reply(request, status).tag("challenger").line(format!("{name}: {value}"))
}

/// Receives the ACK of a rejection, the report, and the next INVITE.
fn next_invite(scenario: &mut Scenario, before: &Message, reason: RetryReason) -> Message {
    scenario.receive("ACK");
    let invite = scenario.receive("INVITE");
    assert_eq!(scenario.call_event(), CallEvent::Retried(reason), "the retry is reported");
    assert_eq!(header(&invite, "Call-ID"), header(before, "Call-ID"), "the Call-ID stays");
    assert_eq!(header(&invite, "From"), header(before, "From"), "From stays with its tag");
    assert_eq!(header(&invite, "To"), header(before, "To"), "To stays without a tag");
    assert_eq!(number(&invite), number(before) + 1, "CSeq grows by one");
    invite
}

/// RFC 3261, 22. Each nonce is checked by the inspector.
#[test]
fn a_challenged_call_is_repeated_with_credentials() {
    for (kind, answer) in [("server", "Authorization"), ("proxy", "Proxy-Authorization")] {
        for algorithm in ["MD5", "SHA-256"] {
            both(|scenario| {
                let (call, invite) = scenario.invite();
                scenario.send(&challenge(&invite, kind, "n1", algorithm));
                let invite = next_invite(scenario, &invite, RetryReason::Challenged);
                assert!(invite.has_header(answer), "{answer} is there");
                scenario.answer(&invite, "callee");
                scenario.finish(call);
            });
        }
    }
}

#[test]
fn a_proxy_and_the_server_behind_it_may_both_challenge() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&challenge(&invite, "proxy", "n1", "MD5"));
        let invite = next_invite(scenario, &invite, RetryReason::Challenged);
        scenario.send(&challenge(&invite, "server", "n2", "MD5"));
        let invite = next_invite(scenario, &invite, RetryReason::Challenged);
        assert!(invite.has_header("Authorization") && invite.has_header("Proxy-Authorization"), "both are answered");
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

/// A server that accepts a nonce once and omits `stale`.
#[test]
fn an_invite_is_repeated_for_a_new_nonce() {
    for kind in ["server", "proxy"] {
        both(|scenario| {
            let (call, mut invite) = scenario.invite();
            for nonce in ["n1", "n2"] {
                scenario.send(&challenge(&invite, kind, nonce, "SHA-256"));
                invite = next_invite(scenario, &invite, RetryReason::Challenged);
            }
            scenario.answer(&invite, "callee");
            scenario.finish(call);
        });
    }
}

/// A phone may have rung before the challenge came.
#[test]
fn a_challenge_after_ringing_gets_credentials() {
    both(|scenario| {
        let (call, invite) = scenario.invite();
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "first"));
        scenario.progress();
        scenario.send(&challenge(&invite, "proxy", "n1", "SHA-256"));
        let invite = next_invite(scenario, &invite, RetryReason::Challenged);
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "second"));
        scenario.progress();
        scenario.answer(&invite, "second");
        scenario.finish(call);
    });
}

/// Not all servers write `stale=true`.
#[test]
fn a_new_nonce_is_used_with_and_without_stale() {
    for stale in ["", ", stale=true"] {
        both(|scenario| {
            let (call, mut dialog) = {
                let (call, invite) = scenario.invite();
                scenario.send(&challenge(&invite, "proxy", "n1", "MD5"));
                let invite = next_invite(scenario, &invite, RetryReason::Challenged);
                (call, scenario.answer(&invite, "callee"))
            };
            scenario.hang_up(call);
            let bye = scenario.receive("BYE");
            assert!(bye.has_header("Proxy-Authorization"), "the BYE answers the known challenge");
            let value = format!("Digest realm=\"proxy\", nonce=\"n2\", algorithm=MD5, qop=\"auth\"{stale}");
            let text = Text::reply(&bye, "407 Proxy Authentication Required");
            scenario.send(&text.line(format!("Proxy-Authenticate: {value}")));
            let bye = scenario.receive("BYE");
            assert!(header(&bye, "Proxy-Authorization").contains("n2"), "the new nonce is answered");
            scenario.reply(&bye, "200 OK");
            assert_eq!(scenario.ended().cause, EndCause::HungUp, "the call has ended");
            dialog.cseq += 1;
            scenario.nothing_left();
        });
    }
}

#[test]
fn a_wrong_password_ends_the_call() {
    both(|scenario| {
        let (_, mut invite) = scenario.invite();
        scenario.send(&challenge(&invite, "server", "n1", "MD5"));
        invite = next_invite(scenario, &invite, RetryReason::Challenged);
        // The same nonce again means that the answer was wrong.
        scenario.send(&challenge(&invite, "server", "n1", "MD5"));
        scenario.receive("ACK");
        let ended = scenario.ended();
        let EndCause::AuthenticationFailed(rejection, error) = ended.cause else { panic!("the password is wrong") };
        assert_eq!((rejection.status, error), (401, AuthError::WrongCredentials), "the end says so");
        assert!(!ended.may_have_rung, "a challenge rings no phone");
        scenario.nothing_left();
    });
}

#[test]
fn a_call_without_credentials_ends_at_a_challenge() {
    both(|scenario| {
        let mut call = scenario.call();
        call.credentials = None;
        scenario.place(call);
        let invite = scenario.receive("INVITE");
        scenario.send(&challenge(&invite, "server", "n1", "MD5"));
        scenario.receive("ACK");
        let ended = scenario.ended();
        let rejected = matches!(&ended.cause, EndCause::Rejected(rejection) | EndCause::AuthenticationFailed(rejection, _) if rejection.status == 401);
        assert!(rejected && !ended.may_have_rung, "{ended:?}");
        scenario.nothing_left();
    });
}

/// A server that invents a nonce each time.
#[test]
fn challenges_are_bounded() {
    both(|scenario| {
        let (_, mut invite) = scenario.invite();
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 10, "the agent never gives up");
            scenario.send(&challenge(&invite, "server", &format!("n{rounds}"), "MD5"));
            scenario.receive("ACK");
            match scenario.call_event() {
                CallEvent::Retried(RetryReason::Challenged) => invite = scenario.receive("INVITE"),
                CallEvent::Ended(ended) => {
                    assert!(matches!(ended.cause, EndCause::AuthenticationFailed(..)), "{ended:?}");
                    break;
                }
                event => panic!("{event:?}"),
            }
        }
        scenario.nothing_left();
    });
}

/// RFC 4028, 7.3. An 18x came before, too.
#[test]
fn a_session_interval_that_is_too_short_is_raised_twice() {
    both(|scenario| {
        let mut call = scenario.call();
        call.session_interval = Some(600);
        let call = scenario.place(call);
        let mut invite = scenario.receive("INVITE");
        assert!(invite.has_option("timer"), "the INVITE supports timers");
        assert_eq!(invite.session_expires().unwrap().unwrap().seconds, 600, "it proposes the interval");
        scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "callee"));
        scenario.progress();
        for least in [1_800, 3_600] {
            let small = Text::reply(&invite, "422 Session Interval Too Small").tag("x");
            scenario.send(&small.line(format!("Min-SE: {least}")));
            invite = next_invite(scenario, &invite, RetryReason::SessionInterval);
            assert_eq!(invite.min_se().unwrap(), Some(least), "Min-SE is the peer's");
            assert!(invite.session_expires().unwrap().unwrap().seconds >= least, "the interval is long enough");
        }
        scenario.answer(&invite, "callee");
        scenario.finish(call);
    });
}

#[test]
fn too_short_intervals_are_bounded() {
    both(|scenario| {
        let mut call = scenario.call();
        call.session_interval = Some(600);
        scenario.place(call);
        let mut invite = scenario.receive("INVITE");
        for round in 1.. {
            assert!(round < 20, "the agent never gives up");
            let small = Text::reply(&invite, "422 Session Interval Too Small").tag("x");
            scenario.send(&small.line(format!("Min-SE: {}", 1_000 * round)));
            scenario.receive("ACK");
            match scenario.call_event() {
                CallEvent::Retried(RetryReason::SessionInterval) => invite = scenario.receive("INVITE"),
                CallEvent::Ended(ended) => {
                    assert!(
                        matches!(&ended.cause, EndCause::Rejected(rejection) if rejection.status == 422),
                        "{ended:?}"
                    );
                    assert!(!ended.may_have_rung, "nothing rang");
                    break;
                }
                event => panic!("{event:?}"),
            }
        }
        scenario.nothing_left();
    });
}

#[test]
fn a_422_without_min_se_rejects_the_call() {
    both(|scenario| {
        let mut call = scenario.call();
        call.session_interval = Some(600);
        scenario.place(call);
        let invite = scenario.receive("INVITE");
        scenario.reply(&invite, "422 Session Interval Too Small");
        scenario.receive("ACK");
        assert!(
            matches!(scenario.ended().cause, EndCause::Rejected(rejection) if rejection.status == 422),
            "it is rejected"
        );
        scenario.nothing_left();
    });
}

/// A node of the trunk on another port, before and after ringing.
#[test]
fn a_redirection_to_another_node_is_followed() {
    for rings in [false, true] {
        each(|scenario| {
            let (call, invite) = scenario.invite();
            if rings {
                scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "first"));
                scenario.progress();
            }
            let to = format!("sip:+14255550100@{}:5072", scenario.host());
            let moved = Text::reply(&invite, "302 Moved Temporarily").tag("first");
            scenario.send(&moved.line(format!("Contact: <{to}>;q=1.0")));
            scenario.receive("ACK");
            let CallEvent::Redirected(uri) = scenario.call_event() else { panic!("the redirection is reported") };
            assert_eq!(uri.to_string(), to, "the event says where to");
            let mut server = remote(scenario.path);
            server.set_port(5_072);
            let mut own = local(scenario.path);
            own.set_port(5_098);
            scenario.link = scenario.net.open(scenario.path.transport, own, server);
            let flow = scenario.net.links[scenario.link].id;
            scenario.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
            let redirected = scenario.receive_at("INVITE");
            assert_eq!(redirected.destination, server, "the INVITE goes to the other node");
            assert_eq!(request_uri(&redirected.message), to, "its Request-URI is the Contact");
            assert!(number(&redirected.message) > number(&invite), "CSeq grows");
            assert_eq!(tag_of(&redirected.message, "From"), tag_of(&invite, "From"), "the From tag stays");
            assert_eq!(scenario.call_event(), CallEvent::Retried(RetryReason::Redirected), "the retry is reported");
            let invite = redirected.message;
            scenario.send(&scenario.in_dialog(&invite, "180 Ringing", "second"));
            scenario.progress();
            scenario.hang_up(call);
            let cancel = scenario.receive_at("CANCEL");
            assert_eq!(cancel.destination, server, "the CANCEL goes there, too");
            scenario.reply(&cancel.message, "200 OK");
            scenario.send(&scenario.in_dialog(&invite, "487 Request Terminated", "second"));
            scenario.receive("ACK");
            assert_eq!(scenario.ended().cause, EndCause::Cancelled, "the caller hung up");
            scenario.nothing_left();
        });
    }
}

#[test]
fn a_redirection_that_is_not_followed_ends_with_the_call() {
    for path in PATHS {
        let mut scenario = Scenario::new(*path);
        let (call, invite) = scenario.invite();
        let to = format!("sip:+14255550100@{}:5072", scenario.host());
        scenario.send(&Text::reply(&invite, "302 Moved").tag("x").line(format!("Contact: <{to}>")));
        scenario.receive("ACK");
        assert!(matches!(scenario.call_event(), CallEvent::Redirected(_)), "it is reported");
        scenario.quiet(Duration::from_secs(2));
        scenario.hang_up(call);
        let ended = scenario.ended();
        assert!(!ended.may_have_rung && !ended.may_still_ring, "{ended:?}");
        scenario.nothing_left();
    }
}

/// A forking proxy passes on the challenge of one phone, and then the answer of another. The INVITE with credentials rings
/// on, so it is cancelled, however late the server says that it rings. On a stream, the transaction of the first INVITE has
/// ended by then; over UDP, it ends 32 s after the challenge.
#[test]
fn an_answer_to_a_challenged_invite_cancels_the_next_one() {
    let short = Duration::from_millis(100);
    for (rings_first, wait) in [(false, short), (true, short), (true, Duration::from_secs(50))] {
        both(|scenario| {
            let (call, first) = scenario.invite();
            scenario.send(&challenge(&first, "proxy", "n1", "SHA-256"));
            let next = next_invite(scenario, &first, RetryReason::Challenged);
            let ringing = scenario.in_dialog(&next, "180 Ringing", "two");
            if rings_first {
                scenario.send(&ringing);
                scenario.progress();
            }
            scenario.wait(wait);
            scenario.send(&scenario.in_dialog(&first, "200 OK", "one").sdp("one"));
            scenario.receive("ACK");
            assert_eq!(scenario.answered().description, Some(sdp("one")), "the phone that answered has the call");
            if !rings_first {
                scenario.wait(Duration::from_millis(100));
                scenario.send(&ringing);
            }
            let cancel = scenario.receive("CANCEL");
            scenario.confirm_cancel(&next, &cancel);
            scenario.quiet(Duration::from_secs(5));
            scenario.hang_up(call);
            let bye = scenario.receive("BYE");
            assert_eq!(tag_of(&bye, "To"), "one", "the phone that answered had the call");
            scenario.reply(&bye, "200 OK");
            assert!(!scenario.ended().may_still_ring, "the peer confirmed both");
            scenario.nothing_left();
        });
    }
}
