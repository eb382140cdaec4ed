//! `phonegate doctor --zip`, after calls that succeed and fail: no file in the zip file has a secret or a telephone number.

#[path = "support/provider.rs"]
mod provider;
#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use phonegate::call::{CallId, CallStatus};
use phonegate::gate::{CallRequest, Gate, LogTo};
use phonegate::registry::Registry;
use provider::{Provider, TOKEN};
use serde_json::{Value, json};
use site::Site;
use support::{Ran, simulated, wait_for};
use uuid::Uuid;
use wiremock::ResponseTemplate;

/// Numbers as users store them. Only their last four digits may be shown, with or without separators.
const NUMBERS: [&str; 4] = ["+1 4255551212", "+1 (206) 555-0143", "+49 30 901820943", "12065550177"];
const BLOCKED: &str = "+1 425 555 0199";
const CALLER_ID: &str = "+14255550100";

const SECRETS: [&str; 10] = [
    TOKEN,
    "hunter2-in-a-file",
    "hunter2-in-the-environment",
    "hunter2-proxy-p@ss:word",
    "hunter2-licence",
    "hunter2-password",
    "hunter2-group \"&<key>",
    "hunter2-trunk-user",
    "hunter2-auth-user",
    "hunter2-proxy-user",
];

/// Personal data that cannot be recognized as a secret by its key.
const SECRETS_IN_COMMENTS: [&str; 2] = ["hunter2-in-a-comment", "hunter2-of-an-unknown-key"];

const ENVIRONMENT: &str = "PHONEGATE_TEST_SECRET";

/// Returns a configuration with every kind of text that must not be shown.
fn config(provider: &Provider, state: &Path) -> Value {
    let mut config = provider.config();
    config["backends"]["cloud"]["from"] = CALLER_ID.into();
    config["backends"]["trunk"] = json!({
        "type": "sip",
        "trunk": ["sip:hunter2-trunk-user@127.0.0.1:9", "sip:+14255550123@127.0.0.1:9;transport=tcp"],
        "username": "hunter2-trunk-user",
        "auth_username": "hunter2-auth-user",
        "password": { "file": "trunk-password.txt" },
        "caller_id": CALLER_ID
    });
    config["backends"]["other"] = json!({
        "type": "sip", "trunk": "sip:127.0.0.1:9", "username": "4255550177", "password": { "env": ENVIRONMENT }
    });
    config["numbers"] = json!({
        "default_country": "US", "allowed_countries": ["US", "DE"], "blocked": [BLOCKED]
    });
    config["log"] = json!({ "directory": state, "level": "debug" });
    config["store"] = store(state);
    config
}

/// Uses a state folder of its own.
fn store(state: &Path) -> Value {
    json!({ "path": state.join("phonegate.db") })
}

/// Places calls by a gate that writes the log of the service.
fn place_calls(config: &Path) -> Vec<CallId> {
    let loaded = phonegate::config::load(config, &phonegate::TYPES).unwrap();
    let registry = Arc::new(Registry::new(Duration::from_secs(600)));
    let gate = Gate::start(loaded, registry, LogTo::file("phonegate.log")).unwrap();
    let mut ids = Vec::new();
    for number in NUMBERS.into_iter().chain([BLOCKED, "no number 4255550188"]) {
        let id = CallId::new(Uuid::new_v4()).unwrap();
        gate.initiate(CallRequest { id, number, attributes: Vec::new(), language: None });
        wait_for("the call's end", || (gate.status(id) != CallStatus::Pending).then_some(()));
        ids.push(id);
    }
    assert!(gate.shut_down(Duration::from_secs(30)));
    ids
}

/// Adds lines to a log that PhoneGate never writes, but that a disk may contain.
fn add_secrets_to_log(log: &Path) {
    let mut file = fs::OpenOptions::new().append(true).open(log).unwrap();
    for number in NUMBERS {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        writeln!(file, "{}", json!({ "event": number, "text": format!("to sip:{number}@host and tel:{digits}") }))
            .unwrap();
        writeln!(file, "not JSON: {number}, {digits}, sip:+{digits}@127.0.0.1;user=phone, <sips:{digits}@host>")
            .unwrap();
        writeln!(
            file,
            "{}",
            json!({ "event": "x", "id": number, "time": number, "ms": digits.parse::<u64>().unwrap() })
        )
        .unwrap();
    }
    for secret in SECRETS {
        writeln!(file, "{}", json!({ "event": "x", "text": secret, secret: { "in": [secret] } })).unwrap();
        writeln!(file, "{secret} and https://user:{secret}@host/").unwrap();
    }
}

fn settings(shim: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<MfaSettings key=\"hunter2-licence\">\n  <!-- hunter2-in-a-comment -->\n\
         \u{20} <LICENSE_KEY>hunter2-licence</LICENSE_KEY>\n  <CERT_PASSWORD><![CDATA[hunter2-password]]></CERT_PASSWORD>\n\
         \u{20} <GROUP_KEY>hunter2-group \"&amp;&lt;key></GROUP_KEY>\n  <Phone>+1 425 555 0111</Phone>\n\
         \u{20} <CustomPhoneProvider>{shim}</CustomPhoneProvider>\n</MfaSettings>\n"
    )
}

/// Checks that a text contains neither a secret nor a number, whatever separates its digits.
#[track_caller]
fn is_clean(name: &str, text: &str) {
    for secret in SECRETS.into_iter().chain(["hunter2", "p@ss", "word@", "4255550177"]) {
        assert!(!text.contains(secret), "{secret} in {name}:\n{text}");
    }
    let run_together: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    let all = NUMBERS.into_iter().chain([BLOCKED, CALLER_ID, "+1 425 555 0111", "+14255550123", "4255550188"]);
    for number in all {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let significant = &digits[digits.len().saturating_sub(10)..];
        assert!(!run_together.contains(&significant[..significant.len() - 2]), "{number} in {name}:\n{text}");
    }
}

fn doctor(site: &Site, arguments: &[&str]) -> Ran {
    let mut command = site.command(&["doctor"]);
    command.args(arguments).env(ENVIRONMENT, "hunter2-in-the-environment").output().unwrap().into()
}

#[test]
fn doctor_shows_no_secret_and_no_number() {
    let site = Site::new();
    let mut simulated = simulated(None, 0);
    simulated["store"] = store(&site.state());
    site.configure(&simulated);
    site.install(&[]).exits(0);
    // First a simulated phone, then a provider that quotes the request.
    place_calls(&site.config());
    let provider = Provider::start();
    let quoting = format!("The number {} is not valid for {TOKEN}", NUMBERS[0]);
    for (verb, status) in [("POST", 400), ("GET", 404)] {
        provider
            .answers(verb, ResponseTemplate::new(status).set_body_json(json!({ "code": 21211, "message": quoting })));
    }
    provider.answers("HEAD", ResponseTemplate::new(404));
    let mut with_all = config(&provider, &site.state());
    fs::write(site.service().join("trunk-password.txt"), "hunter2-in-a-file\r\n").unwrap();
    fs::write(site.config(), with_all.to_string()).unwrap();
    let ids = place_calls(&site.config());
    fs::write(site.settings(), settings(site.shim().to_str().unwrap())).unwrap();
    let logs = ["phonegate.log", "phonegate-tool.log"].map(|name| site.state().join(name));
    doctor(&site, &[]);
    for log in &logs {
        // The log has the message of the provider, and no other part of a secret.
        is_clean("what was logged", &fs::read_to_string(log).unwrap());
        add_secrets_to_log(log);
    }
    // An unreachable proxy and unknown keys come last, since they prevent calls.
    with_all["network"]["proxy"] = "http://hunter2-proxy-user:hunter2-proxy-p@ss:word@127.0.0.1:9".into();
    let whole = with_all.to_string();
    let damaged = whole.trim_end_matches('}').to_owned();
    with_all["unknown"] = json!({ "DE": ["hunter2-of-an-unknown-key", 14_255_551_212_u64] });
    let raw =
        [with_all.to_string(), settings("").replace("&amp;&lt;", "&<"), fs::read_to_string(&logs[0]).unwrap()].concat();
    SECRETS
        .iter()
        .chain(&SECRETS_IN_COMMENTS)
        .for_each(|secret| assert!(raw.contains(secret), "{secret} was not even there"));

    for (name, config) in [("whole.zip", whole), ("invalid.zip", with_all.to_string()), ("damaged.zip", damaged)] {
        fs::write(site.config(), config).unwrap();
        let zip = site.bundle().join(name);
        let ran = doctor(&site, &["--zip", zip.to_str().unwrap(), "--json"]).exits(1);
        is_clean("stdout", &ran.stdout);
        is_clean("stderr", &ran.stderr);
        is_clean("what people see", &doctor(&site, &[]).exits(1).all());
        let files = unzipped(&zip);
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        let all =
            ["report.txt", "report.jsonl", "phonegate.json", "MfaSettings.xml", "phonegate.log", "phonegate-tool.log"];
        assert_eq!(names, all);
        files.iter().for_each(|(name, text)| is_clean(name, text));
        let text = |name| &files.iter().find(|(of, _)| of == name).unwrap().1;
        // The useful facts are still there.
        assert!(text("MfaSettings.xml").contains("<LICENSE_KEY>…</LICENSE_KEY>"), "{}", text("MfaSettings.xml"));
        assert!(text("report.txt").contains("backend") || name != "whole.zip", "{}", text("report.txt"));
        for id in &ids {
            assert!(text("phonegate.log").contains(&id.to_string()), "{}", text("phonegate.log"));
        }
        assert!(text("phonegate.log").contains("\"reason\":\"InvalidNumber\""), "{}", text("phonegate.log"));
        if name == "whole.zip" {
            let shown: Value = serde_json::from_str(text("phonegate.json")).unwrap();
            assert_eq!(shown["backends"]["cloud"]["type"], "twilio_studio");
            assert_eq!(shown["backends"]["trunk"]["trunk"][0], "sip:…@127.0.0.1:9");
            assert_eq!(shown["backends"]["trunk"]["password"]["file"], "trunk-password.txt");
            assert_eq!(shown["numbers"]["allowed_countries"], json!(["US", "DE"]));
            assert_eq!(shown["network"]["proxy"], "http://…@127.0.0.1:9");
        }
    }
}

/// Returns the names and texts of the files in a zip file.
fn unzipped(path: &Path) -> Vec<(String, String)> {
    let mut zip = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let count = zip.len();
    let read = |index| {
        let mut file = zip.by_index(index).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        (file.name().unwrap().into_owned(), text)
    };
    (0..count).map(read).collect()
}
