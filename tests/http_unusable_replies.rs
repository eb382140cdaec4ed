//! The backend `http`: undeclared or misplaced values in a service's replies, and how messages quote them.

mod support;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use phonegate::backend::MayRing;
use phonegate::call::{CallLimit, CallStatus, FailureReason};
use serde_json::{Value, json};
use support::backend::TestBackend;
use support::gate::{TestGate, id};
use support::http_provider::{About, Auth, EditBody, Fault, Provider, Script};

const NUMBER: &str = "+1 4255551212";

fn reply(status: u16, body: &str) -> Fault {
    Fault::Reply(status, body.to_owned(), None)
}

/// Settings with a verdict of the service at `/verdict`, in the state `done`.
fn judged_by_service(provider: &Provider) -> Value {
    provider.play(Script::Ends("done"));
    let mut settings = provider.settings();
    settings.as_object_mut().unwrap().remove("pressed");
    settings["approved"] = json!({ "pointer": "/verdict", "text": "yes", "state": "done" });
    settings["accept_provider_verdict"] = json!(true);
    settings["failed"]["fraud"] = json!("FraudReported");
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

/// The service says that the call was answered and has ended, and reports no usable entry.
#[test]
fn an_unusable_entry_is_a_denial() {
    let cases: [(EditBody, &str, FailureReason); 8] = [
        (|body| body.replace("\"digits\":\"\"", "\"digits\":0"), "/digits", FailureReason::WrongKey),
        (|body| body.replace("\"digits\"", "\"keys\""), "/digits", FailureReason::NoKeyPressed),
        (|body| body.replace("\"attempt\":\"1\"", "\"attempt\":null"), "/attempt", FailureReason::NoKeyPressed),
        (
            |body| body.replace("\"digits\":\"\"", "\"digits\":\"4\"").replace("\"attempt\":\"1\"", "\"attempt\":257"),
            "/attempt",
            FailureReason::WrongKey,
        ),
        (
            |body| body.replace("\"ended_by\":\"pound\"", "\"ended_by\":\"odd\""),
            "/ended_by",
            FailureReason::NoKeyPressed,
        ),
        (
            |body| {
                body.replace("\"digits\":\"\"", "\"digits\":\"4\"")
                    .replace("\"ended_by\":\"pound\"", "\"ended_by\":\"odd\"")
            },
            "/ended_by that \"odd\"",
            FailureReason::WrongKey,
        ),
        (|body| body.replace("\"ended_by\":\"pound\"", "\"ended_by\":7"), "/ended_by", FailureReason::NoKeyPressed),
        (|body| body.replace("\"ended_by\"", "\"by\""), "/ended_by", FailureReason::NoKeyPressed),
    ];
    for (n, (edit, named, reason)) in cases.into_iter().enumerate() {
        let provider = Provider::start(Auth::Bearer);
        provider.fail(About::Poll, Fault::Edit(edit));
        let backend = TestBackend::new(&provider.settings());
        let reference = backend.place(1, 1, NUMBER).unwrap();
        let failure = backend.fails(&reference);
        assert_eq!((failure.reason(), provider.ended()), (reason, 0), "{n}: {failure}");
        assert!(failure.text().contains(named), "{n}: {failure}");
    }
}

#[test]
fn a_verdict_that_is_no_approval_is_a_denial() {
    let cases: [(EditBody, &str, FailureReason); 6] = [
        (
            |body| body.replace("\"done\"", "\"done\",\"verdict\":\"denied\""),
            "/verdict is \"denied\"",
            FailureReason::WrongKey,
        ),
        (
            |body| body.replace("\"done\"", "\"done\",\"verdict\":\"Yes\""),
            "/verdict is \"Yes\"",
            FailureReason::WrongKey,
        ),
        (|body| body.replace("\"done\"", "\"done\",\"verdict\":true"), "/verdict", FailureReason::WrongKey),
        (|body| body.replace("\"done\"", "\"done\",\"verdict\":null"), "/verdict", FailureReason::NoKeyPressed),
        (|body| body, "/verdict", FailureReason::NoKeyPressed),
        (
            |body| body.replace("\"done\"", "\"done\",\"verdict\":\"fraud\""),
            "/verdict is \"fraud\"",
            FailureReason::FraudReported,
        ),
    ];
    for (n, (edit, named, reason)) in cases.into_iter().enumerate() {
        let provider = Provider::start(Auth::Bearer);
        let backend = TestBackend::new(&judged_by_service(&provider));
        provider.fail(About::Poll, Fault::Edit(edit));
        let reference = backend.place(1, 1, NUMBER).unwrap();
        let failure = backend.fails(&reference);
        assert_eq!((failure.reason(), provider.ended()), (reason, 0), "{n}: {failure}");
        assert!(failure.text().contains(named), "{n}: {failure}");
    }
}

#[test]
fn denials_by_the_service_lock_the_number() {
    let provider = Provider::start(Auth::Bearer);
    let settings = judged_by_service(&provider);
    provider.fail(About::Poll, Fault::Edit(|body| body.replace("\"done\"", "\"done\",\"verdict\":\"denied\"")));
    let gate = TestGate::start(json!({
        "use": ["web"], "backends": { "web": settings }, "limits": { "denials": { "count": 1 } }
    }));
    for (n, limit) in [(1, None), (2, Some(CallLimit::Denials))] {
        gate.initiate(id(n), NUMBER);
        assert_eq!(gate.ends(id(n)).0, CallStatus::Failed);
        assert_eq!(gate.snapshot(id(n)).failure.and_then(|failure| failure.limit()), limit, "call {n}");
    }
    assert_eq!(provider.placed(), 1);
    let log = gate.end().iter().map(Value::to_string).collect::<String>();
    assert!(log.contains(r#"/verdict is \"denied\""#), "the log names the place and the text: {log}");
}

/// Everything secret that a request has, and that a service could quote.
fn quoted_secrets() -> [String; 4] {
    let basic = BASE64_STANDARD.encode("mim:hush-hush-secret");
    ["tenant-secret".to_owned(), "hush-hush-secret".to_owned(), basic, "token-abc".to_owned()]
}

fn with_secrets(text: &str) -> String {
    format!("{text} {}", quoted_secrets().join(" "))
}

#[test]
fn no_text_of_a_service_shows_a_secret() {
    let token = Auth::Oauth2 { token: "token-abc", lifetime: 3600 };
    for auth in [Auth::Basic, Auth::Bearer, Auth::Header, token, Auth::Hmac] {
        let provider = Provider::start(auth);
        let is_oauth = matches!(auth, Auth::Oauth2 { .. });
        let mut hidden = vec!["tenant-secret", "hush-hush-secret"];
        hidden.extend(is_oauth.then_some("token-abc"));
        let basic = quoted_secrets()[2].clone();
        hidden.extend((auth == Auth::Basic).then_some(basic.as_str()));
        let mut texts = Vec::new();

        let backend = TestBackend::new(&provider.settings());
        let edits: [EditBody; 2] = [
            |body| body.replace("\"pressed\"", &json!(with_secrets("odd")).to_string()),
            |body| body.replace("\"pound\"", &json!(with_secrets("odd")).to_string()),
        ];
        for edit in edits {
            let reference = backend.place(1, 1, NUMBER).unwrap();
            provider.fail(About::Poll, Fault::Edit(edit));
            texts.push(backend.fails(&reference));
        }
        provider.fail(About::Start, reply(400, &json!({ "error": with_secrets("odd") }).to_string()));
        texts.push(backend.refused(NUMBER).failure);

        let backend = TestBackend::new(&judged_by_service(&provider));
        let reference = backend.place(1, 1, NUMBER).unwrap();
        let verdict: EditBody =
            |body| body.replace("\"done\"", &format!("\"done\",\"verdict\":{}", json!(with_secrets("odd"))));
        provider.fail(About::Poll, Fault::Edit(verdict));
        texts.push(backend.fails(&reference));

        assert_eq!(texts.len(), 4);
        for failure in texts {
            assert!(failure.text().contains("\"odd …"), "it is quoted: {failure}");
            for secret in &hidden {
                assert!(!failure.text().contains(secret), "{auth:?}: {failure}");
            }
        }
    }
}

/// What the map `secrets` has is in the path of a URL, where it is encoded.
#[test]
fn a_secret_is_hidden_as_a_url_encodes_it() {
    let provider = Provider::start(Auth::Bearer);
    let mut settings = provider.settings();
    settings["secrets"]["account"] = json!("a/b c-account");
    provider.fail(About::Start, reply(400, r#"{"error":"no /v1/a%2Fb%20c-account here"}"#));
    let refused = TestBackend::new(&settings).refused(NUMBER);
    assert!(refused.failure.text().contains("It reports \"no /v*/… here\"."), "{}", refused.failure);
}
