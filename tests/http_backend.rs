//! The backend `http`: what goes to the web service, how it authenticates, and when a request is sent again.

mod support;

use std::time::Duration;

use phonegate::backend::{CallRef, MayRing};
use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::approval::verified;
use support::backend::TestBackend;
use support::gate::{TestGate, id};
use support::http_provider::{About, Auth, EditBody, Fault, Provider, Script};
use support::wait_until;

const NUMBER: &str = "+1 4255551212";

fn reply(status: u16, body: &str) -> Fault {
    Fault::Reply(status, body.to_owned(), None)
}

fn throttled(status: u16, retry_after: &str) -> Fault {
    Fault::Reply(status, "{}".to_owned(), Some(("retry-after", retry_after.to_owned())))
}

fn gate(settings: Value, more: Value) -> TestGate {
    let mut config = json!({ "use": ["web"], "backends": { "web": settings } });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    TestGate::start(config)
}

/// Places a call through a gate, and returns its end.
fn call(gate: &TestGate) -> (CallStatus, Option<FailureReason>, String) {
    gate.initiate(id(1), NUMBER);
    let (status, text) = gate.ends(id(1));
    (status, gate.snapshot(id(1)).failure.map(|failure| failure.reason()), text)
}

#[test]
fn each_way_to_authenticate_is_accepted() {
    let token = Auth::Oauth2 { token: "token-1", lifetime: 3600 };
    for auth in [Auth::Basic, Auth::Bearer, Auth::Header, Auth::Hmac, token] {
        let provider = Provider::start(auth);
        let backend = TestBackend::new(&provider.settings());
        let reference = backend.place(1, 1, NUMBER).unwrap();
        assert_eq!(backend.follow(&reference), verified(), "{auth:?}");
        backend.runtime.block_on(backend.backend.hang_up(&reference)).unwrap();
        let checked = backend.runtime.block_on(backend.backend.check()).unwrap();
        assert!(checked.starts_with("127.0.0.1:") && checked.ends_with(" replied with the status 200"), "{checked}");
        let is_oauth = matches!(auth, Auth::Oauth2 { .. });
        assert_eq!(provider.seen(About::Token).len(), usize::from(is_oauth), "one token for all requests");
    }
}

#[test]
fn wrong_credentials_ring_no_phone() {
    for (auth, wrong) in [
        (Auth::Basic, json!({ "basic": { "username": "mim", "password": "wrong" } })),
        (Auth::Bearer, json!({ "bearer": "wrong" })),
        (Auth::Header, json!({ "header": { "name": "X-Api-Key", "value": "wrong" } })),
        (
            Auth::Hmac,
            json!({ "hmac_sha256": { "key": "wrong", "header": "X-Signature", "timestamp_header": "X-Timestamp" } }),
        ),
    ] {
        let provider = Provider::start(auth);
        let mut settings = provider.settings();
        settings["auth"] = wrong;
        let refused = TestBackend::new(&settings).refused(NUMBER);
        assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::NotConfigured));
        assert_eq!(provider.placed(), 0, "{auth:?}");
    }
    let provider = Provider::start(Auth::Oauth2 { token: "token-1", lifetime: 3600 });
    let mut settings = provider.settings();
    settings["auth"]["oauth2"]["client_secret"] = json!("wrong");
    let backend = TestBackend::new(&settings);
    let refused = backend.refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::NotConfigured));
    assert!(refused.failure.text().contains("token endpoint refused with status 401"), "{}", refused.failure);
    assert!(backend.runtime.block_on(backend.backend.check()).is_err());
    assert!(provider.seen(About::Start).is_empty());
}

/// An expired token is replaced before a request, and a withdrawn one after it was refused.
#[test]
fn a_token_is_renewed_when_it_expires_or_is_refused() {
    let provider = Provider::start(Auth::Oauth2 { token: "token-1", lifetime: 0 });
    let backend = TestBackend::new(&provider.settings());
    let reference = backend.place(1, 1, NUMBER).unwrap();
    backend.runtime.block_on(backend.backend.hang_up(&reference)).unwrap();
    assert_eq!(provider.seen(About::Token).len(), 2);

    let provider = Provider::start(Auth::Oauth2 { token: "token-1", lifetime: 3600 });
    let old = r#"{"access_token":"old","token_type":"bearer","expires_in":3600}"#;
    provider.fail(About::Token, reply(200, old));
    let backend = TestBackend::new(&provider.settings());
    backend.place(1, 1, NUMBER).unwrap();
    assert_eq!((provider.seen(About::Token).len(), provider.seen(About::Start).len(), provider.placed()), (2, 2, 1));
}

#[test]
fn a_token_reply_that_is_not_as_specified_rings_no_phone() {
    for body in [
        "",
        "{}",
        r#"{"access_token":"t","token_type":"mac"}"#,
        r#"{"access_token":"","token_type":"bearer"}"#,
        r#"{"access_token":"a b","token_type":"bearer"}"#,
        r#"{"access_token":7,"token_type":"bearer"}"#,
        r#"{"access_token":"t","access_token":"u","token_type":"bearer"}"#,
    ] {
        let provider = Provider::start(Auth::Oauth2 { token: "t", lifetime: 3600 });
        provider.fail(About::Token, reply(200, body));
        let refused = TestBackend::new(&provider.settings()).refused(NUMBER);
        assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::CannotPlace), "{body}");
        assert!(provider.seen(About::Start).is_empty(), "{body}");
    }
}

#[test]
fn the_start_has_the_values_of_the_call() {
    let provider = Provider::start(Auth::Hmac);
    let more =
        json!({ "prompts": { "by_country": { "US": "de-DE" } }, "approval": { "method": "code", "code_digits": 4 } });
    let gate = gate(provider.settings(), more);
    assert_eq!(call(&gate).0, CallStatus::Success);
    let start = &provider.seen(About::Start)[0];
    let body: Value = serde_json::from_slice(&start.body).unwrap();
    assert_eq!(
        (&body["to"], &body["extension"], &body["language"]),
        (&json!("+14255551212"), &json!(""), &json!("de-DE"))
    );
    assert_eq!(start.headers["x-request-id"].to_str().unwrap(), body["ours"].as_str().unwrap());
    for code in body["codes"].as_array().unwrap() {
        let digits: Vec<_> = code.as_str().unwrap().split(", ").collect();
        assert!(digits.len() == 4 && digits.iter().all(|digit| digit.len() == 1), "{code}");
    }
    assert_ne!(body["ours"], json!(id(1).to_string()), "each handling of a request has an id of its own");
}

#[test]
fn an_extension_is_dialled_or_refused() {
    let provider = Provider::start(Auth::Bearer);
    TestBackend::new(&provider.settings()).place(1, 1, "+1 4255551212x77").unwrap();
    let body: Value = serde_json::from_slice(&provider.seen(About::Start)[0].body).unwrap();
    assert_eq!(body["extension"], "77");

    let mut settings = provider.settings();
    settings["start"]["json"]["extension"] = json!("");
    let refused = TestBackend::new(&settings).refused("+1 4255551212x77");
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::InvalidNumber));
    assert_eq!(provider.placed(), 1);
}

#[test]
fn hostile_ids_reach_the_service_unchanged() {
    let ids: [fn(usize) -> String; 5] = [
        |n| format!("a/../b?c#d&e=f%2e;{n}"),
        |n| format!("ä ü\u{2028}\"\\{n}"),
        |n| format!("{{number}}{n}"),
        |n| format!("...{n}"),
        |n| format!("a:b:{n}"),
    ];
    for make in ids {
        let provider = Provider::start(Auth::Bearer);
        provider.name_calls(make);
        let backend = TestBackend::new(&provider.settings());
        let reference = backend.place(1, 1, NUMBER).unwrap();
        assert_eq!(backend.follow(&reference), verified(), "{}", make(1));
        backend.runtime.block_on(backend.backend.hang_up(&reference)).unwrap();
        assert_eq!(provider.ended(), 1, "{}", make(1));
    }
}

#[test]
fn an_id_that_names_another_resource_is_never_requested() {
    for id in ["", ".", "..", "+14255551212", "a\u{1}b"] {
        let provider = Provider::start(Auth::Bearer);
        let body = json!({ "id": id, "ours": "x", "state": "ringing" }).to_string();
        provider.fail(About::Start, reply(201, &body));
        let backend = TestBackend::new(&provider.settings());
        match backend.place(1, 1, NUMBER) {
            Ok(reference) => {
                assert!(backend.fails(&reference).text().contains("The phone may ring on."), "{id:?}");
                assert!(provider.seen(About::Poll).is_empty() && provider.seen(About::End).is_empty(), "{id:?}");
            }
            Err(refused) => assert_eq!(refused.may_ring, MayRing::Yes, "{id:?}"),
        }
    }
}

/// A service that replays its reply to an earlier start, whose call was approved.
#[test]
fn an_id_of_an_earlier_call_approves_no_other_call() {
    let provider = Provider::start(Auth::Bearer);
    let backend = TestBackend::new(&provider.settings());
    let first = backend.place(1, 1, NUMBER).unwrap();
    provider.fail(About::Start, reply(200, "{\"id\":\"call-1\",\"state\":\"ringing\"}"));
    let refused = backend.refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::Yes, FailureReason::CannotPlace));
    assert!(refused.failure.text().contains("that of an earlier call"), "{}", refused.failure);
    assert_eq!((provider.ended(), provider.seen(About::Poll).len()), (0, 0), "the earlier call goes on");

    // A call of an earlier process is known as soon as it is followed.
    let next = TestBackend::new(&provider.settings());
    assert!(backend.place(2, 1, NUMBER).is_ok());
    assert_eq!(next.follow(&first), verified());
    provider.fail(About::Start, reply(200, "{\"id\":\"call-1\",\"state\":\"ringing\"}"));
    assert_eq!(next.refused(NUMBER).may_ring, MayRing::Yes);
}

/// Of another handling of the request: its id is right, and the reference is not.
#[test]
fn a_reply_about_another_call_never_verifies() {
    let edits: [EditBody; 3] = [
        |body| body.replace("\"id\":\"call-1\"", "\"id\":\"call-2\""),
        |body| body.replace("\"ours\":\"", "\"ours\":\"f"),
        |body| body.replace("\"ours\"", "\"other\""),
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let provider = Provider::start(Auth::Bearer);
        provider.fail(About::Poll, Fault::Edit(edit));
        let backend = TestBackend::new(&provider.settings());
        let reference = backend.place(1, 1, NUMBER).unwrap();
        let failure = backend.fails(&reference);
        assert!(failure.text().contains("does not name this call"), "{n}: {failure}");
        assert_eq!(provider.ended(), 1, "{n}: it is hung up");
    }
    let provider = Provider::start(Auth::Bearer);
    let backend = TestBackend::new(&provider.settings());
    let reference = backend.place(1, 1, NUMBER).unwrap();
    let unknown = CallRef::new(reference.as_str().replace("call-1", "call-9"));
    assert_eq!(backend.fails(&unknown).reason(), FailureReason::NotConfigured);
}

#[test]
fn a_reply_that_is_not_as_declared_never_verifies() {
    let edits: [EditBody; 3] = [
        |body| body.replace("\"state\":\"pressed\"", "\"state\":\"Pressed\""),
        |body| body.replace("\"state\":\"pressed\"", "\"state\":\"approved\""),
        |body| body.replace("\"state\"", "\"status\""),
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let provider = Provider::start(Auth::Bearer);
        provider.fail(About::Poll, Fault::Edit(edit));
        let backend = TestBackend::new(&provider.settings());
        let reference = backend.place(1, 1, NUMBER).unwrap();
        let failure = backend.fails(&reference);
        assert_eq!((failure.reason(), provider.ended()), (FailureReason::CannotPlace, 1), "{n}: {failure}");
    }
}

#[test]
fn a_malformed_reply_is_asked_again_three_times() {
    let long = format!("{{\"state\":\"pressed\",\"more\":\"{}\"}}", "x".repeat(1_000_000));
    let faults = [
        reply(200, "<html>"),
        reply(200, ""),
        reply(200, &long),
        Fault::Edit(|body| body.replace("\"state\":", "\"state\":\"busy\",\"state\":")),
        Fault::Status(202),
        Fault::Status(206),
        Fault::Reply(302, String::new(), Some(("location", "/v1/status".to_owned()))),
    ];
    for fault in faults {
        let provider = Provider::start(Auth::Bearer);
        (0..3).for_each(|_| provider.fail(About::Poll, fault.clone()));
        let backend = TestBackend::new(&provider.settings());
        let reference = backend.place(1, 1, NUMBER).unwrap();
        let failure = backend.fails(&reference);
        assert!(failure.text().contains("The provider's reply makes no sense"), "{failure}");
        assert!(!failure.text().contains("http:"), "no URL: {failure}");
        assert_eq!((provider.seen(About::Poll).len(), provider.seen(About::Check).len(), provider.ended()), (3, 0, 1));
    }
}

#[test]
fn a_start_that_may_have_been_accepted_is_never_repeated() {
    for (fault, reason) in [
        (Fault::Close, FailureReason::CannotPlace),
        (Fault::Hang, FailureReason::CannotPlace),
        (reply(500, "{}"), FailureReason::CannotPlace),
        (throttled(503, "1"), FailureReason::CannotPlace),
        (reply(408, "{}"), FailureReason::CannotPlace),
        (reply(409, "{}"), FailureReason::AlreadyInProgress),
        (reply(200, "<html>"), FailureReason::CannotPlace),
        (reply(201, "{\"other\":1}"), FailureReason::CannotPlace),
        (reply(204, ""), FailureReason::CannotPlace),
        (Fault::Reply(307, String::new(), Some(("location", "/v1/calls".to_owned()))), FailureReason::CannotPlace),
    ] {
        let provider = Provider::start(Auth::Bearer);
        provider.fail(About::Start, fault.clone());
        let refused = TestBackend::new(&provider.settings()).refused(NUMBER);
        assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::Yes, reason), "{fault:?}");
        assert_eq!(provider.seen(About::Start).len(), 1, "{fault:?}");
    }
}

#[test]
fn a_refused_start_lets_the_next_backend_ring() {
    let (first, second) = (Provider::start(Auth::Bearer), Provider::start(Auth::Bearer));
    first.fail(About::Start, reply(400, "{\"error\":\"odd 4711\"}"));
    let backends = json!({ "first": first.settings(), "second": second.settings() });
    let gate = TestGate::start(json!({ "use": ["first", "second"], "backends": backends }));
    assert_eq!(call(&gate), (CallStatus::Success, None, String::new()));
    assert_eq!((first.placed(), second.placed()), (0, 1));

    first.fail(About::Start, reply(400, "{\"error\":\"odd 4, 7, 1 tenant-secret hush-hush-secret\"}"));
    let refused = TestBackend::new(&first.settings()).refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::CannotPlace));
    assert!(refused.failure.text().contains("It reports \"odd *, *, * … …\"."), "{}", refused.failure);
}

#[test]
fn a_throttled_start_is_sent_again_as_late_as_asked() {
    let provider = Provider::start(Auth::Bearer);
    provider.fail(About::Start, throttled(429, "3"));
    assert!(TestBackend::new(&provider.settings()).place(1, 1, NUMBER).is_ok());
    let starts = provider.seen(About::Start);
    assert!(starts.len() == 2 && starts[1].at - starts[0].at >= Duration::from_secs(3), "{starts:?}");

    provider.fail(About::Start, throttled(429, "600"));
    let refused = TestBackend::new(&provider.settings()).refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::Throttled));
    assert_eq!(provider.seen(About::Start).len(), 3);
}

#[test]
fn failed_polls_are_repeated_and_decide_nothing() {
    let provider = Provider::start(Auth::Bearer);
    for fault in [Fault::Close, throttled(429, "1"), throttled(503, "1"), reply(500, "<html>"), reply(200, "<html>")] {
        provider.fail(About::Poll, fault);
    }
    let backend = TestBackend::new(&provider.settings());
    let reference = backend.place(1, 1, NUMBER).unwrap();
    assert_eq!(backend.follow(&reference), verified());
    assert_eq!(provider.seen(About::Poll).len(), 6);
}

#[test]
fn a_call_past_its_deadline_is_hung_up_again_and_again() {
    let provider = Provider::start(Auth::Bearer);
    provider.play(Script::Rings);
    provider.fail(About::End, throttled(503, "0"));
    provider.fail(About::End, Fault::Close);
    let gate = gate(provider.settings(), json!({ "call": { "deadline_s": 1 } }));
    assert_eq!(call(&gate).1, Some(FailureReason::DeadlinePassed));
    wait_until("it is hung up", || provider.ended() == 1);
    assert_eq!(provider.seen(About::End).len(), 3);
}

/// A service that says only whether the user approved.
#[test]
fn a_verdict_of_the_service_counts_only_if_accepted() {
    let provider = Provider::start(Auth::Bearer);
    provider.play(Script::Ends("yes"));
    let mut settings = provider.settings();
    settings.as_object_mut().unwrap().remove("pressed");
    settings["approved"] = json!({ "pointer": "/state", "text": "yes" });
    let config = json!({ "use": ["web"], "backends": { "web": settings }, "numbers": { "default_country": "US" } });
    let error = phonegate::config::parse(&config.to_string(), &phonegate::TYPES).unwrap_err().to_string();
    assert!(error.starts_with("backends.web.accept_provider_verdict: must be true"), "{error}");

    settings["accept_provider_verdict"] = json!(true);
    assert_eq!(call(&gate(settings.clone(), json!({}))).0, CallStatus::Success);
    for state in ["Yes", "no", "pressed"] {
        provider.play(Script::Ends(state));
        let (status, reason, _) = call(&gate(settings.clone(), json!({})));
        assert_eq!((status, reason), (CallStatus::Failed, Some(FailureReason::CannotPlace)), "{state}");
    }
}

#[test]
fn the_log_has_no_number_no_code_and_no_secret() {
    let provider = Provider::start(Auth::Bearer);
    provider.fail(About::Poll, reply(500, "{\"error\":\"tenant-secret +14255551212\"}"));
    let gate = gate(provider.settings(), json!({}));
    assert_eq!(call(&gate).0, CallStatus::Success);
    let body: Value = serde_json::from_slice(&provider.seen(About::Start)[0].body).unwrap();
    let log = gate.end().iter().map(Value::to_string).collect::<String>();
    for hidden in ["4255551212", "tenant-secret", "hush-hush-secret", body["codes"][0].as_str().unwrap(), "/v1/calls"] {
        assert!(!log.contains(hidden), "{hidden}");
    }
}
