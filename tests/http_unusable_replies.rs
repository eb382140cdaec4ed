//! The backend `http`: undeclared or misplaced values in a service's replies, and how messages quote them.

mod support;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use phonegate::call::{CallLimit, CallStatus, FailureReason};
use serde_json::{Value, json};
use support::backend::TestBackend;
use support::gate::{TestGate, id};
use support::http_provider::{About, Auth, Fault, Provider, Script};

const NUMBER: &str = "+1 4255551212";

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

/// Makes the settings of a backend that uses the service.
type Settings = fn(&Provider) -> Value;

/// The fields that a report has, and one that it lacks; then a part of the text and the reason with which the call fails.
type Case = (Value, Option<&'static str>, &'static str, FailureReason);

/// Checks calls whose reports about an answered and ended call are changed so.
fn each_fails(settings: Settings, cases: impl IntoIterator<Item = Case>) {
    for (with, without, text, reason) in cases {
        let case = format!("with {with}, without {without:?}");
        let provider = Provider::start(Auth::Bearer);
        let backend = TestBackend::new(&settings(&provider));
        provider.fail(About::Poll, Fault::Report(with, without));
        let failure = backend.fails(&backend.place(1, 1, NUMBER).unwrap());
        assert_eq!((failure.reason(), provider.ended()), (reason, 0), "{case}: {failure}");
        assert!(failure.text().contains(text), "{case}: {failure}");
    }
}

/// The service says that the call was answered and has ended, and reports no usable entry. Otherwise it is right: the key
/// `#`, without digits.
#[test]
fn an_unusable_entry_is_a_denial() {
    use FailureReason::{FraudReported, NoKeyPressed, WrongKey};
    each_fails(
        Provider::settings,
        [
            (json!({ "digits": 0 }), None, "/digits", WrongKey),
            (json!({}), Some("digits"), "/digits", NoKeyPressed),
            (json!({ "attempt": null }), None, "/attempt", WrongKey),
            (json!({ "attempt": null, "ended_by": "pause" }), None, "/attempt", NoKeyPressed),
            (json!({ "attempt": 257, "digits": "4" }), None, "/attempt", WrongKey),
            (json!({ "attempt": 257, "digits": "0" }), None, "/attempt", FraudReported),
            (json!({ "digits": "0" }), Some("attempt"), "/attempt", FraudReported),
            (json!({ "ended_by": "odd" }), None, "/ended_by", NoKeyPressed),
            (json!({ "ended_by": "odd", "digits": "4" }), None, "/ended_by that \"odd\"", WrongKey),
            (json!({ "ended_by": 7 }), None, "/ended_by", NoKeyPressed),
            (json!({}), Some("ended_by"), "/ended_by", NoKeyPressed),
        ],
    );
}

#[test]
fn a_verdict_that_is_no_approval_is_a_denial() {
    use FailureReason::{FraudReported, NoKeyPressed, WrongKey};
    each_fails(
        judged_by_service,
        [
            (json!({ "verdict": "denied" }), None, "/verdict is \"denied\"", WrongKey),
            (json!({ "verdict": "Yes" }), None, "/verdict is \"Yes\"", WrongKey),
            (json!({ "verdict": true }), None, "/verdict", WrongKey),
            (json!({ "verdict": null }), None, "/verdict", NoKeyPressed),
            (json!({}), None, "/verdict", NoKeyPressed),
            (json!({ "verdict": "fraud" }), None, "/verdict is \"fraud\"", FraudReported),
        ],
    );
}

#[test]
fn denials_by_the_service_lock_the_number() {
    let provider = Provider::start(Auth::Bearer);
    let settings = judged_by_service(&provider);
    provider.fail(About::Poll, Fault::Report(json!({ "verdict": "denied" }), None));
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

#[test]
fn no_text_of_a_service_shows_a_secret() {
    let token = Auth::Oauth2 { token: "token-abc", lifetime: 3600 };
    let odd = format!("odd {}", quoted_secrets().join(" "));
    for auth in [Auth::Basic, Auth::Bearer, Auth::Header, token, Auth::Hmac] {
        let [tenant, secret, basic, token] = quoted_secrets();
        let mut hidden = vec![tenant, secret];
        hidden.extend((auth == Auth::Basic).then_some(basic));
        hidden.extend(matches!(auth, Auth::Oauth2 { .. }).then_some(token));

        let mut failures = Vec::new();
        let settings: [(Settings, &str); 3] =
            [(Provider::settings, "state"), (Provider::settings, "ended_by"), (judged_by_service, "verdict")];
        for (settings, field) in settings {
            let provider = Provider::start(auth);
            let backend = TestBackend::new(&settings(&provider));
            provider.fail(About::Poll, Fault::Report(json!({ field: odd }), None));
            failures.push(backend.fails(&backend.place(1, 1, NUMBER).unwrap()));
        }
        let provider = Provider::start(auth);
        provider.fail(About::Start, Fault::Reply(400, json!({ "error": odd }).to_string(), None));
        failures.push(TestBackend::new(&provider.settings()).refused(NUMBER).failure);

        for failure in failures {
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
    let refusal = r#"{"error":"no /v1/a%2Fb%20c-account here"}"#;
    provider.fail(About::Start, Fault::Reply(400, refusal.to_owned(), None));
    let refused = TestBackend::new(&settings).refused(NUMBER);
    assert!(refused.failure.text().contains("It reports \"no /v*/… here\"."), "{}", refused.failure);
}
