//! INVITEs that are refused first and sent again: challenges, session intervals, redirections.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, EndCause, RetryReason};
use phonegate_sip::auth::AuthError;
use phonegate_sip::message::Message;

use crate::net::story::{PATHS, Story, both, each, local, remote, request_uri, tag_of};
use crate::net::text::{Text, header};

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

/// Receives the ACK of a refusal, the report, and the next INVITE.
fn next_invite(story: &mut Story, before: &Message, reason: RetryReason) -> Message {
    story.receive("ACK");
    let invite = story.receive("INVITE");
    assert_eq!(story.call_event(), CallEvent::Retried(reason), "the retry is reported");
    assert_eq!(header(&invite, "Call-ID"), header(before, "Call-ID"), "the Call-ID stays");
    assert_eq!(header(&invite, "From"), header(before, "From"), "From stays with its tag");
    assert_eq!(header(&invite, "To"), header(before, "To"), "To stays without a tag");
    assert_eq!(number(&invite), number(before) + 1, "CSeq grows by one");
    invite
}

/// RFC 3261, 22. Each nonce is checked by the inspector.
#[test]
fn a_challenged_call_is_repeated_with_an_answer() {
    for (kind, answer) in [("server", "Authorization"), ("proxy", "Proxy-Authorization")] {
        for algorithm in ["MD5", "SHA-256"] {
            both(|story| {
                let (call, invite) = story.invite();
                story.send(&challenge(&invite, kind, "n1", algorithm));
                let invite = next_invite(story, &invite, RetryReason::Challenged);
                assert!(invite.has_header(answer), "{answer} is there");
                story.answer(&invite, "callee");
                story.finish(call);
            });
        }
    }
}

#[test]
fn a_proxy_and_the_server_behind_it_may_both_challenge() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&challenge(&invite, "proxy", "n1", "MD5"));
        let invite = next_invite(story, &invite, RetryReason::Challenged);
        story.send(&challenge(&invite, "server", "n2", "MD5"));
        let invite = next_invite(story, &invite, RetryReason::Challenged);
        assert!(invite.has_header("Authorization") && invite.has_header("Proxy-Authorization"), "both are answered");
        story.answer(&invite, "callee");
        story.finish(call);
    });
}

/// A server that accepts a nonce once and omits `stale`.
#[test]
fn an_invite_is_repeated_for_a_new_nonce() {
    for kind in ["server", "proxy"] {
        both(|story| {
            let (call, mut invite) = story.invite();
            for nonce in ["n1", "n2"] {
                story.send(&challenge(&invite, kind, nonce, "SHA-256"));
                invite = next_invite(story, &invite, RetryReason::Challenged);
            }
            story.answer(&invite, "callee");
            story.finish(call);
        });
    }
}

/// A phone may have rung before the challenge came.
#[test]
fn a_challenge_after_ringing_is_answered() {
    both(|story| {
        let (call, invite) = story.invite();
        story.send(&story.in_dialog(&invite, "180 Ringing", "first"));
        story.progress();
        story.send(&challenge(&invite, "proxy", "n1", "SHA-256"));
        let invite = next_invite(story, &invite, RetryReason::Challenged);
        story.send(&story.in_dialog(&invite, "180 Ringing", "second"));
        story.progress();
        story.answer(&invite, "second");
        story.finish(call);
    });
}

/// Not all servers write `stale=true`.
#[test]
fn a_new_nonce_is_answered_with_and_without_stale() {
    for stale in ["", ", stale=true"] {
        both(|story| {
            let (call, mut dialog) = {
                let (call, invite) = story.invite();
                story.send(&challenge(&invite, "proxy", "n1", "MD5"));
                let invite = next_invite(story, &invite, RetryReason::Challenged);
                (call, story.answer(&invite, "callee"))
            };
            story.hang_up(call);
            let bye = story.receive("BYE");
            assert!(bye.has_header("Proxy-Authorization"), "the BYE answers the known challenge");
            let value = format!("Digest realm=\"proxy\", nonce=\"n2\", algorithm=MD5, qop=\"auth\"{stale}");
            let text = Text::reply(&bye, "407 Proxy Authentication Required");
            story.send(&text.line(format!("Proxy-Authenticate: {value}")));
            let bye = story.receive("BYE");
            assert!(header(&bye, "Proxy-Authorization").contains("n2"), "the new nonce is answered");
            story.reply(&bye, "200 OK");
            assert_eq!(story.ended().cause, EndCause::HungUp, "the call has ended");
            dialog.cseq += 1;
            story.nothing_left();
        });
    }
}

#[test]
fn a_wrong_password_ends_the_call() {
    both(|story| {
        let (_, mut invite) = story.invite();
        story.send(&challenge(&invite, "server", "n1", "MD5"));
        invite = next_invite(story, &invite, RetryReason::Challenged);
        // The same nonce again means that the answer was wrong.
        story.send(&challenge(&invite, "server", "n1", "MD5"));
        story.receive("ACK");
        let ended = story.ended();
        let EndCause::AuthenticationFailed(refusal, error) = ended.cause else { panic!("the password is wrong") };
        assert_eq!((refusal.status, error), (401, AuthError::WrongCredentials), "the end says so");
        assert!(!ended.may_have_rung, "a challenge rings no phone");
        story.nothing_left();
    });
}

#[test]
fn a_call_without_credentials_ends_at_a_challenge() {
    both(|story| {
        let mut call = story.call();
        call.credentials = None;
        story.place(call);
        let invite = story.receive("INVITE");
        story.send(&challenge(&invite, "server", "n1", "MD5"));
        story.receive("ACK");
        let ended = story.ended();
        let refused = matches!(&ended.cause, EndCause::Refused(refusal) | EndCause::AuthenticationFailed(refusal, _) if refusal.status == 401);
        assert!(refused && !ended.may_have_rung, "{ended:?}");
        story.nothing_left();
    });
}

/// A server that invents a nonce each time.
#[test]
fn challenges_are_bounded() {
    both(|story| {
        let (_, mut invite) = story.invite();
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 10, "the agent never gives up");
            story.send(&challenge(&invite, "server", &format!("n{rounds}"), "MD5"));
            story.receive("ACK");
            match story.call_event() {
                CallEvent::Retried(RetryReason::Challenged) => invite = story.receive("INVITE"),
                CallEvent::Ended(ended) => {
                    assert!(matches!(ended.cause, EndCause::AuthenticationFailed(..)), "{ended:?}");
                    break;
                }
                event => panic!("{event:?}"),
            }
        }
        story.nothing_left();
    });
}

/// RFC 4028, 7.3. An 18x came before, too.
#[test]
fn a_session_interval_that_is_too_short_is_raised_twice() {
    both(|story| {
        let mut call = story.call();
        call.session_interval = Some(600);
        let call = story.place(call);
        let mut invite = story.receive("INVITE");
        assert!(invite.has_option("timer"), "the INVITE supports timers");
        assert_eq!(invite.session_expires().unwrap().unwrap().seconds, 600, "it proposes the interval");
        story.send(&story.in_dialog(&invite, "180 Ringing", "callee"));
        story.progress();
        for least in [1_800, 3_600] {
            let small = Text::reply(&invite, "422 Session Interval Too Small").tag("x");
            story.send(&small.line(format!("Min-SE: {least}")));
            invite = next_invite(story, &invite, RetryReason::SessionInterval);
            assert_eq!(invite.min_se().unwrap(), Some(least), "Min-SE is the peer's");
            assert!(invite.session_expires().unwrap().unwrap().seconds >= least, "the interval is long enough");
        }
        story.answer(&invite, "callee");
        story.finish(call);
    });
}

#[test]
fn too_short_intervals_are_bounded() {
    both(|story| {
        let mut call = story.call();
        call.session_interval = Some(600);
        story.place(call);
        let mut invite = story.receive("INVITE");
        for round in 1.. {
            assert!(round < 20, "the agent never gives up");
            let small = Text::reply(&invite, "422 Session Interval Too Small").tag("x");
            story.send(&small.line(format!("Min-SE: {}", 1_000 * round)));
            story.receive("ACK");
            match story.call_event() {
                CallEvent::Retried(RetryReason::SessionInterval) => invite = story.receive("INVITE"),
                CallEvent::Ended(ended) => {
                    assert!(matches!(&ended.cause, EndCause::Refused(refusal) if refusal.status == 422), "{ended:?}");
                    assert!(!ended.may_have_rung, "nothing rang");
                    break;
                }
                event => panic!("{event:?}"),
            }
        }
        story.nothing_left();
    });
}

#[test]
fn a_422_without_min_se_refuses_the_call() {
    both(|story| {
        let mut call = story.call();
        call.session_interval = Some(600);
        story.place(call);
        let invite = story.receive("INVITE");
        story.reply(&invite, "422 Session Interval Too Small");
        story.receive("ACK");
        assert!(matches!(story.ended().cause, EndCause::Refused(refusal) if refusal.status == 422), "it is refused");
        story.nothing_left();
    });
}

/// A node of the trunk on another port, before and after ringing.
#[test]
fn a_redirection_to_another_node_is_followed() {
    for rings in [false, true] {
        each(|story| {
            let (call, invite) = story.invite();
            if rings {
                story.send(&story.in_dialog(&invite, "180 Ringing", "first"));
                story.progress();
            }
            let to = format!("sip:+14255550100@{}:5072", story.host());
            let moved = Text::reply(&invite, "302 Moved Temporarily").tag("first");
            story.send(&moved.line(format!("Contact: <{to}>;q=1.0")));
            story.receive("ACK");
            let CallEvent::Redirected(uri) = story.call_event() else { panic!("the redirection is reported") };
            assert_eq!(uri.to_string(), to, "the event says where to");
            let mut server = remote(story.path);
            server.set_port(5_072);
            let mut own = local(story.path);
            own.set_port(5_098);
            story.link = story.net.open(story.path.transport, own, server);
            let flow = story.net.links[story.link].id;
            story.net.act(|agent, now| agent.follow_redirect(now, call, flow)).unwrap();
            let redirected = story.receive_at("INVITE");
            assert_eq!(redirected.destination, server, "the INVITE goes to the other node");
            assert_eq!(request_uri(&redirected.message), to, "its Request-URI is the Contact");
            assert!(number(&redirected.message) > number(&invite), "CSeq grows");
            assert_eq!(tag_of(&redirected.message, "From"), tag_of(&invite, "From"), "the From tag stays");
            assert_eq!(story.call_event(), CallEvent::Retried(RetryReason::Redirected), "the retry is reported");
            let invite = redirected.message;
            story.send(&story.in_dialog(&invite, "180 Ringing", "second"));
            story.progress();
            story.hang_up(call);
            let cancel = story.receive_at("CANCEL");
            assert_eq!(cancel.destination, server, "the CANCEL goes there, too");
            story.reply(&cancel.message, "200 OK");
            story.send(&story.in_dialog(&invite, "487 Request Terminated", "second"));
            story.receive("ACK");
            assert_eq!(story.ended().cause, EndCause::Cancelled, "the caller hung up");
            story.nothing_left();
        });
    }
}

#[test]
fn a_redirection_that_is_not_followed_ends_with_the_call() {
    for path in PATHS {
        let mut story = Story::new(*path);
        let (call, invite) = story.invite();
        let to = format!("sip:+14255550100@{}:5072", story.host());
        story.send(&Text::reply(&invite, "302 Moved").tag("x").line(format!("Contact: <{to}>")));
        story.receive("ACK");
        assert!(matches!(story.call_event(), CallEvent::Redirected(_)), "it is reported");
        story.quiet(Duration::from_secs(2));
        story.hang_up(call);
        let ended = story.ended();
        assert!(!ended.may_have_rung && !ended.may_still_ring, "{ended:?}");
        story.nothing_left();
    }
}
