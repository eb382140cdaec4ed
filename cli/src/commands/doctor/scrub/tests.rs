//! What is hidden, and what is not.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::collections::BTreeMap;

use serde_json::json;

use super::*;

/// Keys whose texts and numbers are hidden: secrets, their places, and personal data.
const HIDDEN_KEYS: [&str; 35] = [
    "arguments",
    "client_key",
    "account_sid",
    "api_key",
    "api_key_secret",
    "api_key_sid",
    "auth",
    "auth_token",
    "auth_username",
    "bearer",
    "blocked",
    "caller_id",
    "client_id",
    "client_secret",
    "dpapi",
    "env",
    "environment",
    "file",
    "flow_sid",
    "form",
    "from",
    "json",
    "key",
    "number_key",
    "number_prefix",
    "other_number_keys",
    "password",
    "pepper",
    "pin",
    "preset",
    "scenario_id",
    "to",
    "url",
    "username",
    "value",
];

fn scrubber(config: &Value) -> Scrubber {
    Scrubber::new(Some(&config.to_string()), Path::new(""), None).map_err(|error| error.message).unwrap()
}

#[test]
fn only_harmless_values_of_a_configuration_are_shown() {
    let config = json!({
        "use": ["trunk"],
        "backends": { "trunk": {
            "type": "sip", "trunk": "sips:4255551212@sbc.contoso.local:5061;transport=tls", "password": "s3cret",
            "caller_id": "+14255551212", "local_port": 50600, "unknown": { "deep": ["s3cret", 14_255_551_212_u64] }
        } },
        "prompts": { "by_country": { "DE": "de-DE" } },
        "network": { "proxy": "user:s3cret@proxy.contoso.local:3128", "ca_file": "contoso.pem" }
    });
    let shown: Value = serde_json::from_str(&scrubber(&config).config(&config.to_string()).unwrap()).unwrap();
    let expected = json!({
        "use": ["trunk"],
        "backends": { "trunk": {
            "type": "sip", "trunk": "sips:…@sbc.contoso.local:5061;transport=tls", "password": "…",
            "caller_id": "…", "local_port": 50600, "unknown": { "deep": ["…", "…"] }
        } },
        "prompts": { "by_country": { "DE": "de-DE" } },
        "network": { "proxy": "…@proxy.contoso.local:3128", "ca_file": "contoso.pem" }
    });
    assert_eq!(shown, expected);
}

#[test]
fn a_misplaced_or_numeric_secret_is_hidden() {
    for (password, secret) in [
        (json!({ "env": "THE-TOKEN" }), "THE-TOKEN"),
        (json!({ "file": "THE-TOKEN" }), "THE-TOKEN"),
        (json!({ "env": "token" }), "token"),
        (json!(123_456), "123456"),
        (json!(1234), "1234"),
        (json!({ "env": [123_456] }), "123456"),
    ] {
        let config = json!({ "password": password, "call": { "deadline_s": 60 } });
        let text = config.to_string();
        let shown = scrubber(&config).config(&text).unwrap();
        assert!(!shown.contains(secret) && shown.contains("60"), "{shown}");
        let damaged = text.trim_end_matches('}');
        for config in [text.as_str(), damaged] {
            let scrubber = Scrubber::new(Some(config), Path::new(""), None).map_err(|error| error.message).unwrap();
            let words = scrubber.technical_text(&format!("the variable {secret} is not set"));
            assert!(secret.len() < MIN_SECRET || !words.contains(secret), "{config}: {words}");
        }
    }
}

#[test]
fn names_of_secret_files_are_shown_and_secrets_are_not() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trunk.txt"), "s3cret-one").unwrap();
    let config = json!({ "a": { "file": "trunk.txt" }, "b": { "env": "CARGO_MANIFEST_DIR" } }).to_string();
    let scrubber = Scrubber::new(Some(&config), folder.path(), None).map_err(|error| error.message).unwrap();
    let shown = scrubber.config(&config).unwrap();
    assert!(shown.contains("\"trunk.txt\"") && shown.contains("\"CARGO_MANIFEST_DIR\""), "{shown}");
    assert_eq!(scrubber.technical_text(concat!("s3cret-one ", env!("CARGO_MANIFEST_DIR"))), "… …");
}

#[test]
fn a_user_in_an_address_is_hidden_with_any_password() {
    let scrubber = scrubber(&json!({}));
    for user in ["u:p'x", "u:p\"x", "u:<p>x", "u:p@x", "u:p,x", "'u:px"] {
        for scheme in ["http://", "sip:", ""] {
            let words = scrubber.technical_text(&format!("by {scheme}{user}@proxy:3128 now"));
            assert!(words.ends_with("…@proxy:3128 now") && !words.contains("u:"), "{words}");
        }
    }
}

#[test]
fn versions_addresses_and_times_remain_readable() {
    let scrubber = scrubber(&json!({}));
    let words = "CLR v4.0.30319, Version=4.5.202.0, 192.168.100.200:5061, C:\\MIM\\2010\\Service";
    assert_eq!(scrubber.technical_text(words), words);
    let line = json!({
        "time": "2026-01-31T12:00:00.123456789Z", "id": "12345678-1234-1234-1234-123456789012", "ms": 4200,
        "number": "+1******1212", "attributes": ["locale"]
    });
    assert_eq!(serde_json::from_str::<Value>(&scrubber.log_line(&line.to_string())).unwrap(), line);
    let hostile = json!({ "time": "4255551212", "id": "4255551212", "ms": 4_255_551_212_u64 });
    assert!(!scrubber.log_line(&hostile.to_string()).contains("42555"));
}

/// The keys of the schema that have texts or numbers, each with its own schema.
fn add_keys<'a>(schema: &'a Value, root: &'a Value, keys: &mut BTreeMap<&'a str, &'a Value>) {
    let kind = |value: &'a Value| {
        let named = value["$ref"].as_str().and_then(|name| root.pointer(name.trim_start_matches('#')));
        &named.unwrap_or(value)["type"]
    };
    let holds_others = |value: &'a Value| {
        let is_optional_object = value["anyOf"].as_array().is_some_and(|choices| {
            choices.iter().all(|choice| matches!(kind(choice).as_str(), Some("object" | "null")))
        });
        let is_list_of_objects = kind(&value["items"]) == "object";
        let kind = kind(value);
        is_optional_object
            || is_list_of_objects
            || matches!(kind.as_str(), Some("object" | "boolean"))
            || *kind == json!(["boolean", "null"])
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    keys.extend(properties.map(|(key, value)| (key.as_str(), value)).filter(|(_, value)| !holds_others(value)));
    match schema {
        Value::Object(map) => map.values().for_each(|value| add_keys(value, root, keys)),
        Value::Array(values) => values.iter().for_each(|value| add_keys(value, root, keys)),
        _ => {}
    }
}

#[test]
fn each_key_of_the_configuration_is_classified_once() {
    let schema: Value = serde_json::from_str(&phonegate::config::schema(&phonegate::TYPES)).unwrap();
    let mut keys = BTreeMap::new();
    add_keys(&schema, &schema, &mut keys);
    assert!(keys.contains_key("password") && keys.contains_key("deadline_s"), "{keys:?}");
    let prefixes = [PREFIXES_KEY];
    let lists: [&[&str]; 5] = [&KEYWORD_KEYS, &NUMBER_KEYS, &ADDRESS_KEYS, &HIDDEN_KEYS, &prefixes];
    for (key, schema) in keys {
        let count = lists.iter().filter(|list| list.contains(&key)).count();
        assert_eq!(count, 1, "`{key}` must be in one list: may a support file show its values? {schema}");
    }
}

#[test]
fn rules_for_numbers_are_shown_and_remain_in_the_log() {
    let config = json!({
        "strict_permissions": true,
        "backends": { "trunk": {
            "type": "sip", "signalling_addresses": ["192.0.2.11", "sbc2.contoso.local"], "support_prack": true,
            "learn_media_port": false
        } },
        "numbers": {
            "without_plus": "national", "allowed_types": ["mobile", "fixed_line"], "blocked_prefixes": ["+1???976", "+1900"]
        },
        "store": { "type": "redis", "site": "production" },
        "call": { "single_use": true },
        "limits": {
            "calls_per_number": 5, "per_number_window_s": 600, "calls_per_number_per_day": 20,
            "calls_per_line": { "in_progress": 20, "per_minute": 30 }, "concurrent_calls": 1000, "calls_per_minute": 120,
            "calls_per_day": 5000, "by_country": { "LV": { "per_day": 10 } },
            "denials": { "count": 3, "window_s": 3600, "lock_s": 3600 }
        },
        "messages": "brief"
    });
    let scrubber = scrubber(&config);
    let shown: Value = serde_json::from_str(&scrubber.config(&config.to_string()).unwrap()).unwrap();
    assert_eq!(shown, config);
    let words = "the number is of the type fixed_line_or_mobile, and not of national ones, at sbc2.contoso.local";
    assert_eq!(scrubber.technical_text(words), words);
}

#[test]
fn what_a_declared_request_contains_is_hidden_under_any_key() {
    let config = json!({ "backends": { "web": {
        "type": "http",
        "secrets": { "type": "s3cret-1", "state": { "env": "NO_SUCH_VARIABLE" }, "url": { "file": "no-such-file" } },
        "start": {
            "url": "https://calls.contoso.com/?key=s3cret-2",
            "headers": { "on": "s3cret-3" },
            "json": { "method": ["s3cret-4", 445566], "language": { "status": 778899 } },
            "form": { "text": "s3cret-5" }
        },
        "poll": { "state": "/state", "every_ms": 1000, "pending": { "on hold": "ringing" } },
        "failed": { "busy": "Unreachable" },
        "auth": { "bearer": "s3cret-6", "header": { "name": "X-Key", "value": "s3cret-7" } }
    } } });
    let text = config.to_string();
    let scrubber = scrubber(&config);
    let shown = scrubber.config(&text).unwrap();
    for secret in ["s3cret", "445566", "778899", "NO_SUCH_VARIABLE", "no-such-file"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    for harmless in ["/state", "1000", "ringing", "Unreachable", "X-Key"] {
        assert!(shown.contains(harmless), "{harmless}: {shown}");
    }
    let words = scrubber.technical_text("s3cret-1 s3cret-3 s3cret-4 s3cret-5 s3cret-6 s3cret-7 Unreachable ringing");
    assert_eq!(words, "… … … … … … Unreachable ringing");
}

#[test]
fn unknown_values_of_a_country_are_hidden() {
    let config = json!({ "limits": { "by_country": { "LV": { "per_day": 10, "from": "s3cret-text" } } } });
    let scrubber = scrubber(&config);
    let shown: Value = serde_json::from_str(&scrubber.config(&config.to_string()).unwrap()).unwrap();
    assert_eq!(shown, json!({ "limits": { "by_country": { "LV": { "per_day": 10, "from": HIDDEN } } } }));
    assert_eq!(scrubber.technical_text("it is s3cret-text"), "it is …");
}

#[test]
fn a_whole_number_in_place_of_a_prefix_is_hidden() {
    for text in ["+1 425 555 0199", "+14255550199", "+1 425 555", "s3cret-text"] {
        let config = json!({ "numbers": { "blocked_prefixes": [text] } });
        let scrubber = scrubber(&config);
        let shown = scrubber.config(&config.to_string()).unwrap();
        assert!(!shown.contains(text) && shown.contains(HIDDEN), "{shown}");
        assert!(!scrubber.technical_text(&format!("blocked: {text}")).contains(text), "{text}");
    }
}
