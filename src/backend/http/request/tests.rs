#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use secrecy::SecretString;
use serde_json::json;

use super::*;

fn secrets() -> BTreeMap<String, SecretString> {
    BTreeMap::from([("key".to_owned(), SecretString::from("hush-hush".to_owned()))])
}

fn parse(request: Value) -> Result<RequestTemplate, ConfigError> {
    let text = |value: &Value| serde_json::from_value::<Text>(value.clone()).unwrap();
    let texts = |value: &Value| {
        value.as_object().map(|map| map.iter().map(|(name, value)| (name.clone(), text(value))).collect())
    };
    let form: Option<BTreeMap<String, Text>> = texts(&request["form"]);
    let declared = Declared {
        path: "p",
        method: serde_json::from_value(request["method"].clone()).unwrap_or(MethodConfig::Post),
        url: &text(&request["url"]),
        headers: &texts(&request["headers"]).unwrap_or_default(),
        form: form.as_ref(),
        json: Some(&request["json"]).filter(|json| !json.is_null()),
    };
    let scope = Scope { starts_call: false, has_call: true, has_reference: true, secrets: &secrets() };
    RequestTemplate::parse(&declared, scope, &[reqwest::header::AUTHORIZATION])
}

/// The request for a call with this reference.
fn render(request: Value, reference: &str) -> Result<Request, RenderError> {
    let secrets = secrets();
    let values = Values { call: None, language: "", call_id: Some("c"), reference: Some(reference), secrets: &secrets };
    parse(request).unwrap_or_else(|error| panic!("{error}")).render(&values)
}

#[test]
fn a_hostile_reference_stays_in_its_place() {
    let request = json!({
        "url": "https://a.example/v1/calls/{reference}/end?id={reference}&x=1",
        "json": { "id": "{reference}", "n": 7, "list": [null, "{{}}"] }
    });
    let hostile = "a/../b?c#d&e=\"f\"\\\u{1}{number}%2e";
    let written = render(request, hostile).unwrap();
    let encoded = "a%2F%2E%2E%2Fb%3Fc%23d%26e%3D%22f%22%5C%01%7Bnumber%7D%252e";
    assert_eq!(written.url.as_str(), format!("https://a.example/v1/calls/{encoded}/end?id={encoded}&x=1"));
    let body: Value = serde_json::from_slice(&written.body).unwrap();
    assert_eq!(body, json!({ "id": hostile, "n": 7, "list": [null, "{}"] }));

    let form = json!({ "url": "https://a.example/v1", "form": { "id": "{reference}", "other": "1" } });
    let written = render(form, "a&other=2").unwrap();
    assert_eq!(std::str::from_utf8(&written.body).unwrap(), "id=a%26other%3D2&other=1");
}

#[test]
fn a_reference_that_changes_the_path_is_refused() {
    let request = json!({ "url": "https://a.example/v1/calls/{reference}" });
    for reference in ["", ".", ".."] {
        assert_eq!(render(request.clone(), reference).err(), Some(RenderError::PathSegment), "{reference:?}");
    }
    assert!(render(request, "...").is_ok());
}

#[test]
fn a_value_never_adds_a_header() {
    let request = json!({ "url": "https://a.example/v1", "headers": { "X-Id": "{reference}" } });
    for reference in ["a\r\nX-Other: 1", "ä", "a\u{7f}", "a\tb"] {
        assert_eq!(render(request.clone(), reference).err(), Some(RenderError::Header), "{reference:?}");
    }
    assert_eq!(render(request, "a b").unwrap().headers[0].1, "a b");
}

#[test]
fn what_a_request_cannot_be_is_refused_with_its_path() {
    let url = "https://a.example/v1";
    for (request, expected) in [
        (json!({ "url": "https://{call_id}.example/v1" }), "p.url: has a placeholder in its scheme or host"),
        (json!({ "url": "{secrets.key}://a.example" }), "p.url: has a placeholder in its scheme or host"),
        (json!({ "url": "https://a.example:{call_id}/" }), "p.url: has a placeholder in its scheme or host"),
        (json!({ "url": "http://a.example/" }), "p.url: must begin with https://"),
        (json!({ "url": "https://user:word@a.example/" }), "p.url: must be a scheme and a host"),
        (json!({ "url": "https://a.example/{nonsense}" }), "p.url: has the unknown placeholder {nonsense}"),
        (json!({ "url": "https://a.example/a/../b" }), "p.url: has a path with `.` or `..`"),
        (json!({ "url": "https://a.example/a/%2E%2e/b" }), "p.url: has a path with `.` or `..`"),
        (json!({ "url": "https://a.example/#{call_id}" }), "p.url: must have no blank"),
        (json!({ "url": "https://a.example\\{call_id}" }), "p.url: must have no blank"),
        (json!({ "url": "a.example/v1" }), "p.url: "),
        (json!({ "url": url, "headers": { "X-{call_id}": "1" } }), "p.headers.X-{call_id}: has a placeholder"),
        (json!({ "url": url, "headers": { "a b": "1" } }), "p.headers.a b: is not the name of a header"),
        (json!({ "url": url, "headers": { "Host": "b.example" } }), "p.headers.Host: is a header that PhoneGate sets"),
        (json!({ "url": url, "headers": { "Authorization": "x" } }), "p.headers.Authorization: is also set by `auth`"),
        (json!({ "url": url, "headers": { "X": "Zürich {call_id}" } }), "p.headers.X: has characters that a header"),
        (json!({ "url": url, "headers": { "X": "{" } }), "p.headers.X: has a { without its }"),
        (json!({ "url": url, "json": { "a": [1, "}"] } }), "p.json.a[1]: has a } without its {"),
        (json!({ "url": url, "form": { "a": "{b}" } }), "p.form.a: has the unknown placeholder {b}"),
        (json!({ "url": url, "form": {}, "json": {} }), "p: has both `form` and `json`"),
        (json!({ "url": url, "method": "GET", "form": {} }), "p.method: is GET, which has no body"),
    ] {
        let error = parse(request.clone()).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{request}: {error}");
    }
}
