//! The backend `http`: what a service says in no table, or in the wrong place, and how messages quote it.

mod support;

use phonegate::backend::MayRing;
use phonegate::call::FailureReason;
use serde_json::json;
use support::backend::TestBackend;
use support::gate::{TestGate, id};
use support::http_provider::{About, Auth, Fault, Provider};

const NUMBER: &str = "+1 4255551212";

fn reply(status: u16, body: &str) -> Fault {
    Fault::Reply(status, body.to_owned(), None)
}

#[test]
fn a_refusal_that_says_that_a_phone_rang_may_ring() {
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
        let mut settings = provider.settings();
        settings["failed"]["why"] = json!(name);
        provider.fail(About::Start, reply(422, r#"{"error":"why"}"#));
        let refused = TestBackend::new(&settings).refused(NUMBER);
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
