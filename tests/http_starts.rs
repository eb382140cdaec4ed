//! The backend `http`: starts that are refused or lost, and when another one is sent.

mod support;

use std::time::Duration;

use phonegate::backend::MayRing;
use phonegate::call::FailureReason;
use phonegate::clock::{Deadline, Moment};
use serde_json::{Value, json};
use support::backend::{TestBackend, call};
use support::gate::{TestGate, id};
use support::http_provider::{About, Auth, Fault, Provider};

const NUMBER: &str = "+1 4255551212";

const TOKEN: Auth = Auth::Oauth2 { token: "token-1", lifetime: 3600 };

fn reply(status: u16, body: &str) -> Fault {
    Fault::Reply(status, body.to_owned(), None)
}

/// The settings of a backend that knows the refusal `why` by this reason.
fn knows_why(provider: &Provider, reason: &str) -> Value {
    let mut settings = provider.settings();
    settings["failed"]["why"] = json!(reason);
    settings
}

#[test]
fn a_refused_start_may_ring_if_its_reason_says_so() {
    use FailureReason::*;
    for (name, reason, may_ring) in [
        ("NoKeyPressed", NoKeyPressed, MayRing::Yes),
        ("WrongKey", WrongKey, MayRing::Yes),
        ("CallEnded", CallEnded, MayRing::Yes),
        ("Voicemail", Voicemail, MayRing::Yes),
        ("Unreachable", Unreachable, MayRing::Yes),
        ("AlreadyInProgress", AlreadyInProgress, MayRing::Yes),
        // No user reports a call that was not started.
        ("FraudReported", CannotPlace, MayRing::Yes),
        ("InvalidNumber", InvalidNumber, MayRing::No),
        ("CountryNotAllowed", CountryNotAllowed, MayRing::No),
        ("CannotPlace", CannotPlace, MayRing::No),
        ("Throttled", Throttled, MayRing::No),
        ("NotConfigured", NotConfigured, MayRing::No),
    ] {
        let provider = Provider::start(Auth::Bearer);
        provider.fail(About::Start, reply(422, r#"{"error":"why"}"#));
        let refused = TestBackend::new(&knows_why(&provider, name)).refused(NUMBER);
        assert_eq!((refused.failure.reason(), refused.may_ring), (reason, may_ring), "{name}");
        assert!(refused.failure.text().contains("It reports \"why\"."), "{name}: {}", refused.failure);
    }
}

/// 429 alone is a start that was not processed, and is sent again.
#[test]
fn a_busy_line_that_a_start_reports_is_not_called_again() {
    let (first, second) = (Provider::start(Auth::Bearer), Provider::start(Auth::Bearer));
    first.fail(About::Start, reply(429, r#"{"error":"busy"}"#));
    let backends = json!({ "first": first.settings(), "second": second.settings() });
    let gate = TestGate::start(json!({ "use": ["first", "second"], "backends": backends }));
    gate.initiate(id(1), NUMBER);
    gate.ends(id(1));
    let reason = gate.snapshot(id(1)).failure.map(|failure| failure.reason());
    assert_eq!(reason, Some(FailureReason::Unreachable));
    assert_eq!((first.seen(About::Start).len(), second.placed()), (1, 0));
}

/// 401 alone is a start that was not processed. What a reason says of a phone that rang matters more.
#[test]
fn a_start_gets_a_new_token_only_if_no_phone_can_have_rung() {
    for (reason, may_ring) in [
        ("NotConfigured", MayRing::No),
        ("InvalidNumber", MayRing::No),
        ("Unreachable", MayRing::Yes),
        ("CallEnded", MayRing::Yes),
        ("AlreadyInProgress", MayRing::Yes),
        ("FraudReported", MayRing::Yes),
    ] {
        let provider = Provider::start(TOKEN);
        provider.fail(About::Start, reply(401, r#"{"error":"why"}"#));
        let placed = TestBackend::new(&knows_why(&provider, reason)).place(1, 1, NUMBER);
        let sent = (provider.seen(About::Start).len(), provider.seen(About::Token).len(), provider.placed());
        match may_ring {
            MayRing::No => assert_eq!((placed.is_ok(), sent), (true, (2, 2, 1)), "{reason}"),
            MayRing::Yes => {
                assert_eq!(placed.unwrap_err().may_ring, MayRing::Yes, "{reason}");
                assert_eq!(sent, (1, 1, 0), "{reason}: it is not sent again");
            }
        }
    }
}

#[test]
fn a_start_that_a_new_token_does_not_help_is_not_sent_again() {
    let provider = Provider::start(TOKEN);
    (0..2).for_each(|_| provider.fail(About::Start, reply(401, "{}")));
    let refused = TestBackend::new(&provider.settings()).refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::NotConfigured));
    assert_eq!((provider.seen(About::Start).len(), provider.placed()), (2, 0));
}

/// The token that a start needs may arrive when the call's time is over.
#[test]
fn a_start_is_not_sent_after_the_deadline() {
    for refused_before in [false, true] {
        let provider = Provider::start(TOKEN);
        let backend = TestBackend::new(&provider.settings());
        if refused_before {
            backend.place(1, 1, NUMBER).unwrap();
            provider.fail(About::Start, reply(401, "{}"));
        }
        let starts = provider.seen(About::Start).len() + usize::from(refused_before);
        provider.fail(About::Token, Fault::Slow(Duration::from_secs(4)));
        let mut call = call(2, 1, NUMBER);
        call.deadline = Deadline::after(Moment::now(), Duration::from_secs(3));
        let refused = backend.runtime.block_on(backend.backend.place(&call, &|_| {})).unwrap_err();
        assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::DeadlinePassed));
        assert_eq!(provider.seen(About::Start).len(), starts, "after a 401: {refused_before}");
    }
}

/// Its text could say that a phone rings.
#[test]
fn a_refusal_that_cannot_be_read_whole_may_ring() {
    let long = format!("{{\"error\":\"busy\",\"more\":\"{}\"}}", "x".repeat(1_000_000));
    for status in [401, 422, 429] {
        for fault in [reply(status, &long), Fault::Cut(status, r#"{"error":"bu"#.to_owned())] {
            let provider = Provider::start(TOKEN);
            provider.fail(About::Start, fault.clone());
            let refused = TestBackend::new(&provider.settings()).refused(NUMBER);
            assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::Yes, FailureReason::CannotPlace));
            assert_eq!(provider.seen(About::Start).len(), 1, "{status}: it is not sent again");

            // Without `error`, the status says all.
            let provider = Provider::start(TOKEN);
            provider.fail(About::Start, fault);
            let mut settings = provider.settings();
            settings["start"].as_object_mut().unwrap().remove("error");
            let placed = TestBackend::new(&settings).place(1, 1, NUMBER);
            assert!(placed.is_ok() || placed.is_err_and(|refused| refused.may_ring == MayRing::No), "{status}");
        }
    }
}

/// A service that knows its calls by `{call_id}` can end one whose start has no reply.
#[test]
fn a_lost_start_is_hung_up_by_its_call_id() {
    for (ended, rings_on) in [(reply(204, ""), false), (reply(404, "{}"), true)] {
        let provider = Provider::start(Auth::Bearer);
        let mut settings = provider.settings();
        settings.as_object_mut().unwrap().remove("reference");
        let url = format!("{}/v1/calls/{{call_id}}", provider.base_url);
        settings["poll"]["url"] = json!(url);
        settings["poll"]["names"] = json!({ "call_id": "/ours" });
        settings["hang_up"]["url"] = json!(url);
        provider.fail(About::Start, Fault::Close);
        provider.fail(About::End, ended);
        let refused = TestBackend::new(&settings).refused(NUMBER);
        assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::Yes, FailureReason::CannotPlace));
        assert_eq!(refused.failure.text().contains("The phone may ring on."), rings_on, "{}", refused.failure);
        let call_id = provider.seen(About::Start)[0].headers["x-request-id"].to_str().unwrap().to_owned();
        let ends: Vec<_> = provider.seen(About::End).into_iter().map(|seen| seen.target).collect();
        assert_eq!(ends, [format!("/v1/calls/{call_id}")]);
    }
}
