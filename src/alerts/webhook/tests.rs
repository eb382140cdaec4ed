#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
use std::time::Duration;

use secrecy::SecretString;

use super::*;

fn key(text: &str) -> Result<hmac::Key, ConfigError> {
    signing_key("alerts[0].webhook.key", &Secret::Plain(SecretString::from(text)), Path::new(""))
}

/// The example of the Standard Webhooks specification and of its libraries.
#[test]
fn a_signature_is_that_of_the_specification() {
    let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_614_265_330);
    let headers = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", now, r#"{"test": 2432232314}"#).unwrap();
    assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_eq!(headers["webhook-timestamp"], "1614265330");
    assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_key_that_libraries_read_differently_is_refused() {
    let base64 = |bytes: usize| BASE64_STANDARD.encode(vec![b'k'; bytes]);
    for wrong in [
        "hush-hush-hush-hush-hush-hush-hush".to_owned(),
        base64(32),
        format!("whsec_{}", base64(23)),
        format!("whsec_{}", base64(65)),
        format!("whsec_{}", base64(32).trim_end_matches('=')),
        "whsec_hush-hush-hush-hush-hush-hush-hush".to_owned(),
        "whsec_".to_owned(),
    ] {
        let error = key(&wrong).unwrap_err().to_string();
        assert!(error.starts_with("alerts[0].webhook.key: is not `whsec_`"), "{error}");
        assert!(!error.contains("hush") && !error.contains("a2tr"), "{error}");
    }
    for right in [24, 32, 64] {
        assert!(key(&format!(" whsec_{} ", base64(right))).is_ok(), "{right}");
    }
}

#[test]
fn only_https_or_this_machine_is_posted_to() {
    for right in [
        "https://hooks.contoso.local/a?sig=b",
        "https://192.0.2.1:8443/",
        "http://localhost:8080/a",
        "http://127.0.0.1/",
        "http://[::1]/",
    ] {
        assert!(check_url("url", right).is_ok(), "{right}");
    }
    for wrong in [
        "http://hooks.contoso.local/hush",
        "http://localhost.contoso.local/hush",
        "ftp://localhost/hush",
        "https://bob:hush@hooks.contoso.local/",
        "https://hush@hooks.contoso.local/",
        "hooks.contoso.local/hush",
        "file:///hush",
        "",
    ] {
        let error = check_url("alerts[0].webhook.url", wrong).unwrap_err().to_string();
        assert!(error.starts_with("alerts[0].webhook.url: ") && !error.contains("hush"), "{wrong}: {error}");
    }
}

#[test]
fn only_a_success_is_a_delivery_and_only_gone_is_permanent() {
    for (status, outcome) in [(200, None), (202, None), (204, None), (302, Some(false)), (400, Some(false))] {
        let judged = judge(StatusCode::from_u16(status).unwrap());
        assert_eq!(judged.err().map(|error| error.is_permanent()), outcome, "{status}");
    }
    for (status, is_permanent) in
        [(401, false), (404, false), (408, false), (410, true), (413, false), (429, false), (500, false)]
    {
        let error = judge(StatusCode::from_u16(status).unwrap()).unwrap_err();
        assert_eq!(error.is_permanent(), is_permanent, "{status}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    assert!(judge(StatusCode::CONTINUE).is_err());
}

/// Each line of text, as Teams shows it: text runs are not read as Markdown.
#[test]
fn a_card_shows_each_line_as_it_is() {
    let message = Message {
        subject: "PhoneGate on WEB1: a user reported fraud".to_owned(),
        title: "a user reported fraud",
        text: "Look *here* [x](https://contoso.com)\n\n\"quoted\"".to_owned(),
        facts: vec![("Number", "+1******1212".to_owned())],
    };
    let card = card(&message);
    assert_eq!(card["type"], "message");
    let attachment = &card["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(attachment["content"]["type"], "AdaptiveCard");
    let body = attachment["content"]["body"].as_array().unwrap();
    assert!(body.iter().all(|block| block["type"] == "RichTextBlock" && block["inlines"][0]["type"] == "TextRun"));
    let lines: Vec<_> = body.iter().map(|block| block["inlines"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "PhoneGate on WEB1: a user reported fraud",
            "Look *here* [x](https://contoso.com)",
            "\"quoted\"",
            "Number: +1******1212"
        ]
    );
}
