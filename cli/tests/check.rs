//! `phonegate check`.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use support::ports::unused_address;
use support::{NUMBER, Place, kept, simulated};

const SECRET: &str = "hunter2-is-a-secret";

fn twilio(base_url: &str) -> Value {
    json!({
        "type": "twilio_studio",
        "account_sid": format!("AC{}", "0".repeat(32)),
        "auth_token": { "env": "PHONEGATE_TEST_TOKEN" },
        "flow_sid": format!("FW{}", "0".repeat(32)),
        "from": "+14255550100",
        "base_url": base_url,
        "local_peer": true
    })
}

#[test]
fn good_backends_exit_with_0_in_the_order_of_use() {
    let mut config = simulated(None, 0);
    config["use"] = json!(["sample", "phone"]);
    config["backends"]["sample"] = json!({ "type": "file", "path": "calls.txt" });
    config["backends"]["aside"] = json!({ "type": "simulated" });
    let place = Place::with(&config);
    let ran = place.run(&["check"]).exits(0);
    let rows: Vec<Vec<_>> = ran.stdout.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
    for row in [
        ["BACKEND", "TYPE", "ORDER", "RESULT"],
        ["sample", "file", "1", "ok"],
        ["phone", "simulated", "2", "ok"],
        ["aside", "simulated", "-", "not_used"],
    ] {
        assert!(rows.contains(&row.to_vec()), "{row:?} in:\n{}", ran.stdout);
    }
    assert!(ran.stdout.ends_with("Every backend in use can place calls.\n"), "{}", ran.stdout);
    assert!(!place.path().join("calls.txt").exists(), "a check places no call");

    let ran = place.run(&["check", "--json"]).exits(0);
    let shown = |record: &Value| ["backend", "type", "order", "result"].map(|key| record[key].clone());
    let rows: Vec<_> = ran.records().iter().filter(|record| record["event"] == "backend").map(shown).collect();
    assert_eq!(
        rows,
        [
            [json!("sample"), json!("file"), json!(1), json!("ok")],
            [json!("phone"), json!("simulated"), json!(2), json!("ok")],
            [json!("aside"), json!("simulated"), Value::Null, json!("not_used")],
        ]
    );
    let checked = json!({ "event": "checked", "ok": true, "config": place.config() });
    assert_eq!(ran.record("checked"), checked);
    assert!(ran.record("warning")["text"].as_str().unwrap().contains("allow_test_backends"));
}

#[test]
fn routes_are_listed_and_their_backends_are_asked() {
    let uri = || format!("sip:{};transport=tcp", unused_address());
    let trunk = || json!({ "type": "sip", "trunk": uri(), "local_peer": true });
    let mut config = simulated(None, 0);
    config["use"] = json!(["home"]);
    config["allow_test_backends"] = json!(false);
    config["numbers"] = json!({ "default_country": "US", "allowed_countries": ["US", "DE", "AT", "FR"] });
    config["backends"] = json!({ "home": trunk(), "abroad": trunk(), "aside": trunk() });
    config["routes"] = json!([
        { "countries": ["DE", "AT"], "use": ["abroad", "home"], "caller_id": "+4930231250" },
        { "countries": ["FR"], "use": ["home"] },
    ]);
    let place = Place::with(&config);
    let ran = place.run(&["check"]).exits(1);
    for line in ["DE, AT: abroad, then home (caller id +", "FR: home\n", "other countries: "] {
        assert!(ran.stdout.contains(line), "{line} in:\n{}", ran.stdout);
    }
    assert!(!ran.all().contains("4930231250"), "the caller id is masked:\n{}", ran.all());
    assert!(ran.stdout.ends_with("2 backends in use cannot place calls.\n"), "{}", ran.stdout);

    let records = place.run(&["check", "--json"]).exits(1).records();
    let of = |event: &str| records.iter().filter(|record| record["event"] == event).cloned().collect::<Vec<_>>();
    let rows: Vec<_> = of("backend")
        .iter()
        .map(|row| ["backend", "order", "result", "judged_by"].map(|key| row[key].clone()))
        .collect();
    let (failed, judge) = (json!("failed"), json!("phonegate"));
    assert_eq!(
        rows,
        [
            [json!("home"), json!(1), failed.clone(), judge.clone()],
            [json!("abroad"), Value::Null, failed, judge],
            [json!("aside"), Value::Null, json!("not_used"), Value::Null],
        ]
    );
    let routes = of("route");
    assert_eq!((&routes[0]["countries"], &routes[0]["use"]), (&json!(["DE", "AT"]), &json!(["abroad", "home"])));
    assert_eq!((routes.len(), &routes[1]["caller_id"]), (2, &Value::Null));
}

#[test]
fn backends_whose_own_verdict_counts_are_named() {
    let mut config = simulated(None, 0);
    config["use"] = json!(["sample", "phone", "broken"]);
    config["backends"]["sample"] = json!({ "type": "file", "path": "calls.txt", "accept_provider_verdict": true });
    config["backends"]["broken"] = json!({ "type": "file", "path": "there/is/no/such/folder.txt" });
    config["backends"]["aside"] = json!({ "type": "file", "path": "calls.txt" });
    let place = Place::with(&config);
    for verb in ["check", "doctor"] {
        let ran = place.run(&[verb]);
        let named: Vec<_> = ran.stdout.lines().filter(|line| line.contains("(judged by the provider)")).collect();
        let is_named = |name: &str| named.iter().filter(|line| line.contains(name)).count() == 1;
        assert!(named.len() == 2 && is_named("sample") && is_named("broken"), "{verb}:\n{}", ran.stdout);
    }
    let records = place.run(&["check", "--json"]).exits(1).records();
    let judge = |name: &str| records.iter().find(|record| record["backend"] == name).unwrap()["judged_by"].clone();
    let judges = ["sample", "phone", "broken", "aside"].map(judge);
    assert_eq!(judges, [json!("provider"), json!("phonegate"), json!("provider"), Value::Null]);
}

#[test]
fn a_backend_that_cannot_be_used_exits_with_1_and_says_why() {
    let mut config = simulated(None, 0);
    config["use"] = json!(["phone", "sample"]);
    config["backends"]["sample"] = json!({ "type": "file", "path": "there/is/no/such/folder.txt" });
    let place = Place::with(&config);
    let ran = place.run(&["check"]).exits(1);
    assert!(ran.stdout.contains("The file of calls"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("One backend in use cannot place calls.\n"), "{}", ran.stdout);
    let ran = place.run(&["check", "--json"]).exits(1);
    assert_eq!(ran.record("checked")["ok"], false);
    let failed = ran.records().into_iter().find(|record| record["result"] == "failed").unwrap();
    assert_eq!((&failed["backend"], &failed["reason"]), (&json!("sample"), &json!("CannotPlace")));
}

#[test]
fn an_unreachable_provider_exits_with_1_without_a_secret() {
    let mut config = simulated(None, 0);
    config["use"] = json!(["cloud"]);
    config["allow_test_backends"] = json!(false);
    config["approval"] = json!({ "method": "pound" });
    config["backends"]["cloud"] = twilio(&format!("http://{}", unused_address()));
    let place = Place::with(&config);
    for arguments in [&["check"][..], &["check", "--json"]] {
        let ran = place.command(arguments).env("PHONEGATE_TEST_TOKEN", SECRET).output().unwrap();
        let ran = support::Ran::from(ran).exits(1);
        assert!(ran.stdout.contains("Twilio cannot be reached"), "{}", ran.stdout);
        assert!(!ran.all().contains(SECRET) && !place.log().contains(SECRET), "{}", ran.all());
    }
}

#[test]
fn a_missing_secret_exits_with_2_and_names_its_path() {
    let mut config = simulated(None, 0);
    config["use"] = json!(["cloud"]);
    config["allow_test_backends"] = json!(false);
    config["approval"] = json!({ "method": "pound" });
    config["backends"]["cloud"] = twilio(&format!("http://{}", unused_address()));
    let ran = Place::with(&config).run(&["check"]).exits(2);
    for words in ["phonegate.json", "backends.cloud.auth_token", "PHONEGATE_TEST_TOKEN is not set"] {
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
}

#[test]
fn a_secret_in_plain_text_is_a_warning_without_the_secret() {
    let mut config = simulated(None, 0);
    config["backends"]["cloud"] = twilio(&format!("http://{}", unused_address()));
    config["backends"]["cloud"]["auth_token"] = json!(SECRET);
    let ran = Place::with(&config).run(&["check"]).exits(0);
    assert!(ran.stderr.contains("warning: backends.cloud.auth_token"), "{}", ran.stderr);
    assert!(!ran.all().contains(SECRET), "{}", ran.all());
}

#[test]
fn weak_approval_is_a_warning_with_what_to_set() {
    for (approval, words, what_to_do) in [
        (json!({ "method": "pound" }), "warning: approval.method: is `pound`: a recording can press #", "\"code\" }"),
        (json!({ "method": "code", "code_digits": 1 }), "warning: approval.code_digits: ", "set it to 3 or 4"),
    ] {
        let mut config = simulated(None, 0);
        config["approval"] = approval;
        let ran = Place::with(&config).run(&["check"]).exits(0);
        let warned = ran.stderr.lines().find(|line| line.starts_with(words));
        assert!(warned.is_some_and(|line| line.ends_with(what_to_do)), "{words} in {}", ran.stderr);
    }
    let ran = Place::with(&simulated(None, 0)).run(&["check"]).exits(0);
    assert!(!ran.stderr.contains("approval"), "{}", ran.stderr);
}

#[test]
fn keys_that_are_not_authenticated_are_a_warning() {
    for (transport, warns) in [("tcp", true), ("tls", false)] {
        let mut config = simulated(None, 0);
        config["use"] = json!(["trunk"]);
        let uri = format!("sip:{};transport={transport}", unused_address());
        config["backends"] = json!({ "trunk": { "type": "sip", "trunk": uri, "local_peer": true } });
        config["allow_test_backends"] = json!(false);
        let place = Place::with(&config);
        let words = "backends.trunk: keys are not authenticated: without SRTP over TLS, an attacker ";
        let ran = place.run(&["check"]).exits(1);
        assert_eq!(ran.stderr.contains(&format!("warning: {words}")), warns, "{transport}: {}", ran.stderr);
        let records = place.run(&["check", "--json"]).exits(1).records();
        let is_warning = |record: &&Value| {
            record["event"] == "warning" && record["text"].as_str().is_some_and(|text| text.starts_with(words))
        };
        assert_eq!(records.iter().filter(is_warning).count(), usize::from(warns), "{transport}: {records:?}");
    }
}

#[test]
fn a_provider_on_loopback_needs_local_peer() {
    let trunk = |uri: &str| json!({ "type": "sip", "trunk": format!("sip:{uri};transport=tcp") });
    let mut cloud = twilio(&format!("http://{}", unused_address()));
    cloud.as_object_mut().unwrap().remove("local_peer");
    let unused = unused_address().to_string();
    for (name, backend) in [("trunk", trunk(&unused)), ("cloud", cloud)] {
        let mut config = simulated(None, 0);
        config["use"] = json!([name]);
        config["backends"] = json!({ name: backend });
        let check = |config: &Value| {
            let place = Place::with(config);
            support::Ran::from(place.command(&["check"]).env("PHONEGATE_TEST_TOKEN", SECRET).output().unwrap())
        };
        let ran = check(&config).exits(1);
        assert!(ran.stderr.contains("warning: allow_test_backends: "), "{}", ran.stderr);

        config["allow_test_backends"] = json!(false);
        let ran = check(&config).exits(2);
        for words in [
            &format!("use[0]: `{name}` (type "),
            "connects to this machine, where any user could listen in its place",
            "\"local_peer\": true",
            "\"allow_test_backends\": true for tests",
        ] {
            assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
        }

        config["backends"][name]["local_peer"] = json!(true);
        let ran = check(&config).exits(1);
        assert!(ran.stdout.contains("cannot be reached"), "{}", ran.stdout);
        assert!(!ran.all().contains("allow_test_backends") && !ran.all().contains("local_peer"), "{}", ran.all());
    }
}

#[test]
fn wrong_store_settings_exit_with_2_and_name_the_path() {
    let place = Place::with(&kept(None));
    for (url, words) in [
        (json!("http://127.0.0.1"), "must begin with rediss://"),
        (json!("rediss://redis.contoso.local"), "has no password"),
        (json!({ "file": "no-such-secret.txt" }), "no-such-secret.txt"),
        (Value::Null, "is missing"),
    ] {
        let mut config = kept(None);
        config["store"] = json!({ "type": "redis", "url": url });
        place.configure(&config);
        for verb in [&["check"][..], &["calls"], &["call", "--store", NUMBER]] {
            let ran = place.run(verb).exits(2);
            for words in ["phonegate.json: store.url", words] {
                assert!(ran.stderr.contains(words), "{verb:?}: {words} in {}", ran.stderr);
            }
        }
    }
}

#[test]
fn a_store_that_is_down_exits_with_1_and_a_hint() {
    let mut config = kept(None);
    config["store"] = json!({ "type": "redis", "url": format!("redis://{}", unused_address()) });
    let place = Place::with(&config);
    for (verb, code) in [(&["check"][..], 1), (&["calls"], 1)] {
        let ran = place.run(verb).exits(code);
        assert!(ran.all().contains("check that Redis runs"), "{}", ran.all());
    }
}

#[test]
fn an_unsafe_folder_of_the_store_exits_with_1() {
    let mut config = kept(None);
    config["store"]["path"] = json!("open/calls.db");
    let place = Place::with(&config);
    let folder = place.path().join("open");
    // The folder is created with the file.
    place.run(&["check"]).exits(0);
    assert!(!folder.exists());
    fs::create_dir(&folder).unwrap();
    mode(&folder, 0o777);
    let ran = place.run(&["check"]).exits(1);
    assert!(ran.stdout.contains("chmod go-w"), "{}", ran.stdout);
    mode(&folder, 0o700);
    place.run(&["check"]).exits(0);
    assert_eq!(folder.read_dir().unwrap().count(), 0, "a check leaves nothing behind");
}

#[test]
fn calls_that_others_can_read_are_a_warning() {
    let mut config = kept(None);
    config["store"]["path"] = json!("kept/calls.db");
    let place = Place::with(&config);
    let folder = place.path().join("kept");
    fs::create_dir(&folder).unwrap();
    mode(&folder, 0o700);
    place.run(&["call", "--store", NUMBER]).exits(0);
    let (file, journal) = (folder.join("calls.db"), folder.join("calls.db-wal"));
    let warned = |open: Option<&Path>| {
        // SQLite removes its journal when the last connection closes.
        fs::write(&journal, "").unwrap();
        for (path, usual) in [(&folder, 0o700), (&file, 0o600), (&journal, 0o600)] {
            mode(path, if open == Some(path) { 0o755 } else { usual });
        }
        let ran = place.run(&["check", "--json"]).exits(0);
        let warnings = ran.records().into_iter().filter(|record| record["event"] == "warning");
        let texts = warnings.map(|record| record["text"].as_str().unwrap().to_owned());
        texts.filter(|text| text.contains("everybody can read it")).collect::<Vec<_>>()
    };
    assert_eq!(warned(None), [""; 0]);
    for path in [&folder, &file, &journal] {
        let warned = warned(Some(path));
        assert!(warned.len() == 1 && warned[0].starts_with(&format!("{}: ", path.display())), "{warned:?}");
    }
}

#[test]
fn metrics_that_cannot_be_written_are_a_warning() {
    let mut config = simulated(None, 0);
    let place = Place::with(&config);
    for (file, words) in [
        ("nowhere/phonegate.prom", "cannot be used (entity not found)"),
        ("phonegate.json/phonegate.prom", "phonegate.json is not a folder"),
        ("/proc/phonegate.prom", "cannot create files in /proc"),
    ] {
        config["metrics"] = json!({ "textfile": file });
        place.configure(&config);
        let ran = place.run(&["check"]).exits(0);
        assert!(ran.stderr.contains("warning: metrics.textfile: ") && ran.stderr.contains(words), "{}", ran.stderr);
    }
    config["metrics"] = json!({ "textfile": "phonegate.prom" });
    place.configure(&config);
    let ran = place.run(&["check"]).exits(0);
    assert!(!ran.stderr.contains("metrics"), "{}", ran.stderr);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
