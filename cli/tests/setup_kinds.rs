//! `phonegate setup` for programs and web services, and the key by which the store hashes numbers.

#[path = "support/provider.rs"]
mod provider;
mod support;
#[path = "support/trunk.rs"]
mod trunk;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use provider::Provider;
use serde_json::{Value, json};
use support::{NUMBER, Place, Ran};
use wiremock::ResponseTemplate;

const COUNTRY: [&str; 2] = ["--default-country", "US"];

/// A program that supports checks, and approves each call. It writes its arguments and a variable to a file.
const PROGRAM: &str = r##"
read -r input
case $input in
*'"check":true'*) echo '{"event":"ready","text":"the gateway works"}' ;;
*)
    printf '%s;' "$@" "$GATEWAY" >calls.txt
    code=${input#*'"code":"'}
    echo '{"event":"answered"}'
    echo '{"event":"pressed","attempt":1,"digits":"'"${code%%\"*}"'","ended_by":"pound"}'
    ;;
esac
"##;

fn setup(place: &Place, options: &[&str]) -> Ran {
    let options = [&["setup"], options, &COUNTRY].concat();
    place.command(&options).env("KEY", "hunter2-is-a-secret").env("GATEWAY", "pbx").output().unwrap().into()
}

fn written(place: &Place) -> Value {
    serde_json::from_str(&fs::read_to_string(place.config()).unwrap()).unwrap()
}

fn file(place: &Place, name: &str, text: &str) -> PathBuf {
    let path = place.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path
}

/// The settings of a service at this address, as examples/http.json has them.
fn service(base_url: &str) -> Value {
    let example = include_str!("../../examples/http.json").replace("https://calls.contoso.com", base_url);
    let example: Value = serde_json::from_str(&example).unwrap();
    let mut service = example["backends"]["web"].clone();
    service["auth"]["bearer"] = json!({ "env": "KEY" });
    service
}

#[test]
fn a_program_is_written_checked_and_places_a_test_call() {
    let place = Place::empty();
    let script = file(&place, "call.sh", PROGRAM);
    let options = ["--has", "exec", "--program", "/bin/sh", "--script", "call.sh", "--argument", "-u"];
    let rest = ["--argument=-f", "--environment", "GATEWAY", "--supports-check", "--call", NUMBER, "--json"];
    let ran = setup(&place, &[&options[..], &rest].concat()).exits(0);
    assert!(ran.record("backend")["text"].as_str().unwrap().contains("the gateway works"), "{}", ran.stdout);
    assert_eq!(ran.record("verified")["backend"], "program");
    let expected = json!({
        "type": "exec", "program": "/bin/sh", "script": script, "arguments": ["-u", "-f"],
        "environment": ["GATEWAY"], "supports_check": true,
    });
    assert_eq!(written(&place)["backends"]["program"], expected);
    assert_eq!(fs::read_to_string(place.path().join("calls.txt")).unwrap(), "pbx;", "no further argument");
}

/// A script of PowerShell starts only with `-File`.
#[test]
fn powershell_gets_its_usual_arguments_by_default() {
    let usual = json!(["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "AllSigned", "-File"]);
    let cases: [(&str, &[&str], Value); 4] = [
        ("pwsh", &["--script", "call.ps1"], usual),
        ("pwsh", &["--script", "call.ps1", "--argument", ""], Value::Null),
        ("pwsh", &[], Value::Null),
        ("python3", &["--script", "call.ps1"], Value::Null),
    ];
    for (program, options, expected) in cases {
        let place = Place::empty();
        let path = file(&place, program, "");
        file(&place, "call.ps1", "");
        let all = [&["--has", "exec", "--program", path.to_str().unwrap()], options].concat();
        setup(&place, &all);
        assert_eq!(written(&place)["backends"]["program"]["arguments"], expected, "{program} {options:?}");
    }
}

#[test]
fn a_wrong_answer_about_a_program_is_refused_at_its_question() {
    let place = Place::empty();
    for name in ["call.ps1", "call.cmd", "call.sh"] {
        file(&place, name, "");
    }
    let sh = &["--program", "/bin/sh"][..];
    let arguments = ["--argument", "-x"].repeat(65);
    let names = (0..65).map(|n| format!("V{n}")).collect::<Vec<_>>().join(",");
    let cases: [(Vec<&str>, &str); 10] = [
        ([sh, &arguments].concat(), "--argument: has more than 64 texts"),
        ([sh, &["--environment", &names]].concat(), "--environment: has more than 64 texts"),
        (vec![], "--program is missing"),
        (vec!["--program", "call"], "--program: there is no file /"),
        (vec!["--program", "/bin"], "--program: there is no file /bin"),
        (vec!["--program", "call.ps1"], "--program: is a PowerShell script"),
        (vec!["--program", "call.cmd"], "--program: is a batch file"),
        ([sh, &["--script", "none.sh"]].concat(), "--script: there is no file /"),
        ([sh, &["--environment", "A B"]].concat(), "--environment: write names"),
        ([sh, &["--environment", "A=1"]].concat(), "--environment: must have names of variables"),
    ];
    for (options, expected) in cases {
        let options = [&["setup", "--has", "exec"], &*options].concat();
        let ran = place.run(&options).exits(2);
        assert!(ran.stderr.contains(expected), "{options:?}: {}", ran.stderr);
        assert!(!place.config().exists());
    }
}

#[test]
fn a_service_is_taken_from_its_file() {
    let provider = Provider::start();
    provider.answers("GET", ResponseTemplate::new(200));
    let url = provider.config()["backends"]["cloud"]["base_url"].as_str().unwrap().to_owned();
    for kind in [None, Some("http")] {
        let place = Place::empty();
        let mut settings = service(&url);
        settings.as_object_mut().unwrap().remove("type");
        if let Some(kind) = kind {
            settings["type"] = json!(kind);
        }
        file(&place, "service.json", &format!("\u{feff} {settings:#}"));
        let ran = setup(&place, &["--has", "http", "--service-file", "service.json", "--local-peer", "--json"]);
        assert_eq!(ran.exits(0).record("checked")["ok"], true);
        let mut expected = service(&url);
        expected["local_peer"] = json!(true);
        assert_eq!(written(&place)["backends"]["service"], expected);
    }
}

#[test]
fn a_wrong_service_file_names_the_field() {
    let with = |pointer: &str, key: &str, value: Value| {
        let mut settings = service("https://calls.contoso.com");
        settings.pointer_mut(pointer).unwrap()[key] = value;
        settings.to_string()
    };
    let twice = service("https://calls.contoso.com").to_string().replacen('{', r#"{"reference":"/id","#, 1);
    let whole = include_str!("../../examples/http.json").to_owned();
    let cases = [
        ("[]".to_owned(), "is not a JSON object: "),
        ("{ \"start\": }".to_owned(), "line 1 column"),
        ("{}".to_owned(), "start: "),
        (whole, "unknown field `backends`"),
        (twice, "`reference` is given twice"),
        (with("", "type", json!("sip")), "type: must be http"),
        (with("", "strat", json!({})), "unknown field `strat`"),
        (with("/poll", "every_ms", json!(1)), "poll.every_ms: "),
        (with("/start", "url", json!("http://calls.contoso.com/{call_id}")), "start.url: must begin with https://"),
        (with("/start", "url", json!("https://calls.contoso.com/{code}")), "start.url: "),
        (with("/start", "json", json!({ "to": "{number}" })), "start: "),
        (with("/hang_up", "url", json!("https://other.contoso.com/{reference}")), "hang_up.url: "),
        (with("/failed", "busy", json!("Rang")), "failed.busy: unknown variant"),
        (with("/auth", "bearer", json!({ "vault": "x" })), "auth"),
    ];
    for (text, expected) in cases {
        let place = Place::empty();
        file(&place, "service.json", &text);
        let ran = setup(&place, &["--has", "http", "--service-file", "service.json"]).exits(2);
        let start = format!("error: --service-file: {}: ", place.path().join("service.json").display());
        assert!(ran.stderr.starts_with(&start) && ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        assert!(!ran.stderr.contains("trial"), "{}", ran.stderr);
        assert!(!place.config().exists());
    }
    let place = Place::empty();
    for (name, expected) in [("none.json", "cannot be read: No such file"), (".", "is not a regular file")] {
        let ran = setup(&place, &["--has", "http", "--service-file", name]).exits(2);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
}

#[test]
fn an_infobip_account_gets_its_preset() {
    let place = Place::empty();
    let options = ["--has", "infobip", "--base-url", "https://abcde.api.infobip.com", "--scenario-id", "E83E78"];
    let ran = setup(&place, &[&options[..], &["--caller-id", "+14255550100", "--secret-env", "KEY"]].concat());
    assert!(ran.code == 0, "nothing is asked without `check`: {}", ran.all());
    let expected = json!({ "type": "http", "preset": { "infobip": {
        "base_url": "https://abcde.api.infobip.com", "scenario_id": "E83E78", "from": "14255550100",
        "api_key": { "env": "KEY" },
    } } });
    assert_eq!(written(&place)["backends"]["infobip"], expected);
}

#[test]
fn an_address_of_this_machine_needs_local_peer() {
    let place = Place::empty();
    let options = ["--has", "infobip", "--scenario-id", "E83E78", "--caller-id", "14255550100", "--secret-env", "KEY"];
    let local = [&options[..], &["--base-url", "http://127.0.0.1:1"]].concat();
    let cloud = ["--has", "twilio", "--base-url", "http://localhost:1", "--caller-id", "+14255550100"];
    let (account, key) = (format!("AC{}", "0".repeat(32)), format!("SK{}", "0".repeat(32)));
    let account = ["--account-sid", &account, "--api-key-sid", &key, "--secret-env", "KEY", "--install-flow"];
    let trunk = ["--has", "sip", "--transport", "tcp", "--trunk"];
    let mut cases = vec![local, [&cloud[..], &account].concat()];
    cases.extend(["127.0.0.1:1", "[::1]", "localhost"].map(|address| [&trunk[..], &[address]].concat()));
    for options in cases {
        let ran = setup(&place, &options).exits(2);
        assert!(ran.stderr.contains("--local-peer is missing"), "{options:?}: {}", ran.stderr);
        assert!(!place.config().exists());
    }
    for address in ["127.0.0.1:1", "192.0.2.1:1"] {
        let place = Place::empty();
        let url = format!("http{}://{address}", if address.starts_with("127") { "" } else { "s" });
        setup(&place, &[&options[..], &["--base-url", &url, "--local-peer"]].concat());
        assert_eq!(written(&place)["backends"]["infobip"]["local_peer"], true, "its name may resolve to this machine");
    }
}

#[test]
fn options_of_another_kind_are_refused() {
    let place = Place::empty();
    let cases = [
        ("exec", ["--caller-id", "+14255550100"]),
        ("exec", ["--secret-env", "KEY"]),
        ("http", ["--program", "/bin/sh"]),
        ("http", ["--base-url", "https://calls.contoso.com"]),
        ("infobip", ["--service-file", "service.json"]),
        ("sip", ["--scenario-id", "E83E78"]),
        ("twilio", ["--argument", "-x"]),
        ("twilio", ["--environment", "KEY"]),
    ];
    for (kind, [option, value]) in cases {
        let ran = setup(&place, &["--has", kind, option, value]).exits(2);
        assert!(ran.stderr.contains(&format!("{option} does not apply to --has {kind}")), "{}", ran.stderr);
    }
}

#[test]
fn every_configuration_gets_another_number_key() {
    let keys = [(); 2].map(|()| {
        let place = Place::empty();
        let ran = setup(&place, &["--has", "exec", "--program", "/bin/sh"]);
        assert!(!ran.all().contains("recommended:"), "{}", ran.all());
        assert_eq!(written(&place)["privacy"], json!({ "number_key": { "file": "number-key.txt" } }));
        let file = place.path().join("number-key.txt");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let key = fs::read_to_string(file).unwrap();
        assert!(!ran.all().contains(key.trim_end()), "{}", ran.all());
        key
    });
    assert!(keys.iter().all(|key| key.len() == 64), "{keys:?}");
    assert_ne!(keys[0], keys[1]);
}

/// The store has numbers that were hashed with them.
#[test]
fn a_replaced_configuration_keeps_its_number_keys() {
    let options = ["--has", "exec", "--program", "/bin/sh", "--force"];
    let former = json!({ "number_key": { "file": "former.txt" }, "other_number_keys": [{ "env": "KEY" }] });
    for (privacy, kept) in [
        (former.clone(), former.clone()),
        (Value::Null, json!({ "number_key": { "file": "number-key.txt" } })),
        (
            json!({ "other_number_keys": [{ "env": "KEY" }] }),
            json!({ "number_key": { "file": "number-key.txt" }, "other_number_keys": [{ "env": "KEY" }] }),
        ),
    ] {
        let place = Place::with(&json!({ "use": [], "backends": {}, "privacy": privacy }));
        file(&place, "former.txt", "not-a-real-number-key-0123456789abcdef");
        setup(&place, &options);
        assert_eq!(written(&place)["privacy"], kept);
        let is_new = place.path().join("number-key.txt").exists();
        assert_eq!(is_new, privacy != former);
    }
}

#[test]
fn a_new_number_key_keeps_those_of_the_replaced_configuration() {
    let options = ["--has", "exec", "--program", "/bin/sh", "--force", "--number-key-file", "farm-key.txt"];
    let former = json!({ "number_key": { "env": "FORMER" }, "other_number_keys": [{ "env": "OLDER" }] });
    let place = Place::with(&json!({ "use": [], "backends": {}, "privacy": former }));
    let key = file(&place, "farm-key.txt", "not-a-real-number-key-0123456789abcdef\n");
    for _ in 0..2 {
        setup(&place, &options);
        let others = json!([{ "env": "FORMER" }, { "env": "OLDER" }]);
        assert_eq!(written(&place)["privacy"], json!({ "number_key": { "file": key }, "other_number_keys": others }));
    }
}

#[test]
fn a_broken_configuration_is_not_replaced_without_its_number_keys() {
    let place = Place::empty();
    fs::write(place.config(), "{ \"use\": [], }").unwrap();
    let ran = setup(&place, &["--has", "exec", "--program", "/bin/sh", "--force"]).exits(2);
    assert!(ran.stderr.contains("is not JSON") && ran.stderr.contains("--number-key-file"), "{}", ran.all());
    file(&place, "farm-key.txt", "not-a-real-number-key-0123456789abcdef\n");
    setup(&place, &["--has", "exec", "--program", "/bin/sh", "--force", "--number-key-file", "farm-key.txt"]);
}

#[test]
fn a_section_that_is_not_valid_is_not_taken_for_no_keys() {
    let options = ["--has", "exec", "--program", "/bin/sh", "--force"];
    for privacy in ["[]", "5", r#"{"number_key":5}"#, r#"{"number_key":{"env":"A"}},"privacy":{}"#] {
        let place = Place::empty();
        fs::write(place.config(), format!(r#"{{"use":[],"privacy":{privacy}}}"#)).unwrap();
        let ran = setup(&place, &options).exits(2);
        let expected = "phonegate.json: privacy is not valid, so the number keys are unknown";
        assert!(ran.stderr.contains(expected) && ran.stderr.contains("--number-key-file"), "{}", ran.stderr);
        file(&place, "farm-key.txt", "not-a-real-number-key-0123456789abcdef");
        setup(&place, &[&options[..], &["--number-key-file", "farm-key.txt"]].concat());
        assert!(written(&place)["privacy"]["number_key"]["file"].as_str().unwrap().ends_with("farm-key.txt"));
    }
}

#[test]
fn a_key_that_was_there_already_is_named() {
    let place = Place::empty();
    let options = ["--has", "exec", "--program", "/bin/sh", "--json"];
    let key = file(&place, "number-key.txt", "not-a-real-number-key-0123456789abcdef");
    let ran = setup(&place, &options);
    assert_eq!(written(&place)["privacy"], json!({ "number_key": { "file": "number-key-2.txt" } }));
    let warning = ran.record("warning")["text"].as_str().unwrap().to_owned();
    let expected = format!("--force --number-key-file {}", key.display());
    assert!(warning.contains("was there already") && warning.ends_with(&expected), "{warning}");
}

#[test]
fn a_number_key_can_be_that_of_other_nodes() {
    let place = Place::empty();
    let key = file(&place, "farm-key.txt", "not-a-real-number-key-0123456789abcdef\n");
    let options = ["--has", "exec", "--program", "/bin/sh", "--number-key-file"];
    setup(&place, &[&options[..], &["farm-key.txt"]].concat());
    assert_eq!(written(&place)["privacy"], json!({ "number_key": { "file": key } }));
    assert!(!place.path().join("number-key.txt").exists());
    let place = Place::empty();
    file(&place, "short.txt", "too-short");
    for (name, expected) in [("short.txt", "--number-key-file: has 9 characters"), ("none.txt", "none.txt")] {
        let ran = setup(&place, &[&options[..], &[name]].concat()).exits(2);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(!place.config().exists());
    }
}

/// A key that no configuration has is of no use.
#[test]
fn a_number_key_is_not_left_without_a_configuration() {
    let place = Place::empty();
    let options = ["--has", "twilio", "--account-sid", &format!("AC{}", "0".repeat(32)), "--install-flow"];
    let key = format!("SK{}", "0".repeat(32));
    let rest = ["--api-key-sid", &key, "--secret-env", "KEY", "--caller-id", "+14255550100"];
    let provider = Provider::start();
    provider.answers("POST", ResponseTemplate::new(401));
    let url = provider.config()["backends"]["cloud"]["base_url"].as_str().unwrap().to_owned();
    setup(&place, &[&options[..], &rest, &["--base-url", &url, "--local-peer"]].concat()).exits(1);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_path_that_is_not_utf8_works_or_says_what_to_do() {
    let place = Place::empty();
    let name = OsStr::from_bytes(b"not-utf8-\xff.txt");
    fs::write(place.path().join(name), "not-a-real-number-key-0123456789abcdef").unwrap();
    let address = trunk::start();
    let sip = ["setup", "--has", "sip", "--trunk", &address, "--transport", "udp", "--local-peer"];
    let sip = [&sip[..], &["--default-country", "US"]].concat();
    let exec = ["setup", "--has", "exec", "--program", "/bin/sh", "--default-country", "US"];
    for (options, option) in [
        ([&sip[..], &["--username", "mim"]].concat(), "--secret-file"),
        (exec.to_vec(), "--number-key-file"),
        (exec.to_vec(), "--script"),
        (vec!["setup", "--has", "exec"], "--program"),
    ] {
        let ran = Ran::from(place.command(&options).arg(option).arg(name).output().unwrap()).exits(2);
        assert!(ran.stderr.contains(&format!("{option}: the path ")), "{}", ran.stderr);
        assert!(ran.stderr.contains("is not UTF-8") && ran.stderr.contains("rename it"), "{}", ran.stderr);
    }
    let mut command = place.command(&[&sip[..], &["--json"]].concat());
    let config = place.path().join(OsStr::from_bytes(b"contoso-\xff.json"));
    let ran = Ran::from(command.arg("--config").arg(&config).output().unwrap()).exits(0);
    assert_eq!(ran.record("written")["config"], json!(config.display().to_string()));
    assert!(config.exists());
    let mut command = place.command(&[&sip[..], &["--json", "--force"]].concat());
    let ran = Ran::from(command.arg("--config").arg(&config).output().unwrap()).exits(0);
    assert!(ran.record("written")["backup"].as_str().unwrap().ends_with(".bak"), "{}", ran.stdout);
}
