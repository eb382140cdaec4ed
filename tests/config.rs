//! phonegate.json: each file of `tests/confs/good` starts a gate; each of `tests/confs/bad` is refused with the message
//! in the `.error` file of the same name, and with the path of the file.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phonegate::config;
use phonegate::gate::{Gate, LogTo};
use phonegate::registry::Registry;
use phonegate::store::SqliteConfig;
use phonegate_approval::verdict::ProviderVerdicts;
use serde_json::{Value, json};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = support::project_folder().join("tests/confs").join(folder);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Starts a gate, with its log and its store elsewhere.
fn start(path: &Path) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let mut loaded = config::load(path, &phonegate::TYPES).map_err(|error| error.to_string())?;
    loaded.config.log.directory = Some(folder.path().to_owned());
    if loaded.config.store.settings::<SqliteConfig>().is_some_and(|store| store.path.is_none()) {
        loaded.config.store = SqliteConfig { path: Some(folder.path().join("phonegate.db")) }.into();
    }
    let registry = Arc::new(Registry::new(Duration::from_secs(1)));
    let started = Gate::start(loaded, registry, LogTo::file("phonegate.log"));
    started.map(|gate| assert!(gate.shut_down(support::EVENT_TIMEOUT))).map_err(|error| error.in_file(path).to_string())
}

fn with_secret() {
    // SAFETY: nextest gives each test a process of its own, and no other thread runs yet.
    unsafe { std::env::set_var("PHONEGATE_TEST_SECRET", "not-a-real-secret") };
}

#[test]
fn every_good_file_starts_a_gate() {
    with_secret();
    for path in files("good") {
        assert_eq!(start(&path), Ok(()), "{}", path.display());
    }
}

#[test]
fn every_bad_file_is_refused_with_name_path_and_problem() {
    with_secret();
    let mut wrong = Vec::new();
    for path in files("bad") {
        let expected = std::fs::read_to_string(path.with_extension("error")).expect("each has its .error");
        let error = start(&path).expect_err(&format!("{} is refused", path.display()));
        assert!(!error.contains("not-a-real"), "no secret is shown: {error}");
        let inside = error.strip_prefix(&format!("{}: ", path.display())).unwrap_or("(the file is not named)");
        if !inside.starts_with(expected.trim_end()) {
            wrong.push(format!("{}:\n  is       {inside}\n  expected {expected}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_error_shows_a_secret() {
    for secret in
        [r#""hush-hush""#, r#"["hush-hush"]"#, r#"{"env": "hush-hush", "file": "hush-hush"}"#, r#"{"hush-hush": 1}"#]
    {
        let text = format!(
            r#"{{ "use": ["c"], "backends": {{ "c": {{ "type": "twilio_studio", "account_sid": "AC", "flow_sid": "FW",
                 "from": "+1", "auth_token": {secret}, "unknown": 1 }} }} }}"#
        );
        let error = config::parse(&text, &phonegate::TYPES).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
    let text = r#"{ "use": ["c"], "backends": { "c": { "type": "twilio_studio", "account_sid": "AC", "flow_sid": "FW",
        "from": "+1", "auth_token": "hush-hush" } }, "approval": { "method": "pound" }, "network": { "proxy": "http://bob:hush-hush@127.0.0.1:1" } }"#;
    let config = config::parse(text, &phonegate::TYPES).unwrap();
    assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    let warnings = config.warnings();
    assert!(warnings.iter().any(|warning| warning.starts_with("backends.c.auth_token: ")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.starts_with("network.proxy: ")), "{warnings:?}");
    assert!(!warnings.concat().contains("hush"));
}

#[test]
fn no_error_shows_a_secret_that_stands_one_level_too_high() {
    let http = |key: &str, value: &str| {
        let settings = format!(r#"{{ "type": "http", "{key}": {value} }}"#);
        format!(r#"{{ "use": ["c"], "backends": {{ "c": {settings} }} }}"#)
    };
    let own = r#"{ "use": ["c"], "backends": { "c": { "type": "simulated" } }, "privacy": "hush-hush" }"#.to_owned();
    for text in [
        http("auth", r#""hush-hush""#),
        http("auth", r#"{"header": "hush-hush, expected \" hush-hush"}"#),
        http("preset", r#"{"infobip": "hush-hush"}"#),
        http("secrets", r#""hush-hush""#),
        own,
    ] {
        let error = config::parse(&text, &phonegate::TYPES).unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
        assert!(error.to_string().contains(", expected"), "it says what is expected: {error}");
    }
}

#[test]
fn a_pepper_and_the_pin_of_a_simulated_phone_are_secrets() {
    let text = json!({
        "use": ["phone"], "allow_test_backends": true, "backends": { "phone": { "type": "simulated", "pin": "739104" } },
        "approval": { "pin": { "pepper": "hush-hush-hush-hush-hush-hush-hush" } }
    });
    let config = config::parse(&text.to_string(), &phonegate::TYPES).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("hush") && !shown.contains("739104"), "{shown}");
    let warnings = config.warnings();
    for path in ["approval.pin.pepper: ", "backends.phone.pin: "] {
        assert!(warnings.iter().any(|warning| warning.starts_with(path)), "{path} in {warnings:?}");
    }
    assert!(!warnings.concat().contains("hush") && !warnings.concat().contains("739104"), "{warnings:?}");
}

/// This also holds for backends that are not in `use`, where they would be refused.
#[test]
fn only_backends_that_judge_by_themselves_have_verdicts() {
    let verdicts = |backend: Value, allow_test_backends: bool| {
        let text = json!({
            "use": ["trunk"], "backends": { "trunk": { "type": "sip", "trunk": "sips:sbc.contoso.local" }, "b": backend },
            "allow_test_backends": allow_test_backends, "numbers": { "default_country": "US" }
        });
        let config = config::parse(&text.to_string(), &phonegate::TYPES).unwrap();
        config.provider_verdicts(&config.backends["b"])
    };
    let file = |accept: Value| json!({ "type": "file", "path": "calls.txt", "accept_provider_verdict": accept });
    for (accept, allow_test_backends, expected) in [
        (Value::Null, true, ProviderVerdicts::Accepted),
        (Value::Null, false, ProviderVerdicts::Refused),
        (json!(true), true, ProviderVerdicts::Accepted),
        (json!(true), false, ProviderVerdicts::Accepted),
        (json!(false), true, ProviderVerdicts::Refused),
        (json!(false), false, ProviderVerdicts::Refused),
    ] {
        let found = verdicts(file(accept.clone()), allow_test_backends);
        assert_eq!(found, expected, "{accept}, allow_test_backends {allow_test_backends}");
    }
    let of_twilio = json!({ "type": "twilio_studio", "account_sid": "AC", "flow_sid": "FW", "from": "+1", "auth_token": { "env": "X" } });
    let of_sip = json!({ "type": "sip", "trunk": "sips:sbc.contoso.local" });
    for backend in [json!({ "type": "simulated" }), of_twilio, of_sip] {
        assert_eq!(verdicts(backend.clone(), true), ProviderVerdicts::Refused, "{backend}");
    }
}

/// A trunk behind a proxy of another machine counts too: UDP packets from its own addresses are read.
#[test]
fn a_trunk_or_provider_on_loopback_is_a_test_backend() {
    let trunk = |uri: &str| json!({ "type": "sip", "trunk": uri });
    let with = |mut backend: Value, key: &str, value: Value| {
        backend[key] = value;
        backend
    };
    let behind = |trunk_uri: &str, proxy: &str| with(trunk(trunk_uri), "outbound_proxy", json!(proxy));
    let signalling =
        |entry: &str| with(trunk("sip:sbc.contoso.local"), "signalling_addresses", json!(["192.0.2.1", entry]));
    let studio = |url: &str| {
        json!({
            "type": "twilio_studio", "account_sid": "AC", "flow_sid": "FW", "from": "+1", "auth_token": { "env": "X" },
            "base_url": url,
        })
    };
    let accepts = |backend: &Value, allow_test_backends: bool| {
        let config = json!({
            "use": ["b"], "backends": { "b": backend }, "numbers": { "default_country": "US" },
            "allow_test_backends": allow_test_backends, "approval": { "method": "pound" },
        });
        config::parse(&config.to_string(), &phonegate::TYPES).map(drop).map_err(|error| error.to_string())
    };
    let local = [
        trunk("sip:127.0.0.1"),
        trunk("sip:127.0.0.2:5061;transport=tls"),
        trunk("sip:0x7f000001"),
        trunk("sip:0.0.0.0"),
        trunk("sips:[::1]"),
        trunk("sip:[::ffff:127.0.0.1]:5080;transport=tcp"),
        trunk("sip:localhost"),
        trunk("sip:LOCALHOST:5060"),
        trunk("sip:pbx.localhost;transport=tcp"),
        with(trunk("sip:127.0.0.1"), "register", json!(true)),
        json!({ "type": "sip", "trunk": ["sip:sbc.contoso.local", "sip:127.0.0.1"] }),
        behind("sip:sbc.contoso.local", "sip:127.0.0.1"),
        behind("sip:localhost", "sip:proxy.contoso.local"),
        signalling("127.0.0.1"),
        signalling("127.0.0.0/8"),
        signalling("localhost"),
        signalling("::1"),
        studio("http://127.0.0.1:8402"),
        studio("http://localhost:8402/path"),
        studio("https://[::1]"),
        studio("https://twilio.localhost:8443"),
    ];
    for backend in local {
        let refusal = accepts(&backend, false).expect_err(&format!("{backend} is refused"));
        let words =
            ["use[0]: `b` (type ", "connects to this machine", "\"local_peer\": true", "\"allow_test_backends\": true"];
        assert!(words.iter().all(|words| refusal.contains(words)), "{backend}: {refusal}");
        assert_eq!(accepts(&backend, true), Ok(()), "{backend}");
        assert!(accepts(&with(backend.clone(), "local_peer", json!(false)), false).is_err(), "{backend}");
        assert_eq!(accepts(&with(backend.clone(), "local_peer", json!(true)), false), Ok(()), "{backend}");
    }
    let elsewhere = [
        trunk("sip:192.0.2.1"),
        trunk("sip:[2001:db8::1]"),
        trunk("sip:[::ffff:192.0.2.1]"),
        trunk("sip:localhost.contoso.local"),
        with(trunk("sip:sbc.contoso.local"), "local_address", json!("127.0.0.1")),
        with(trunk("sip:sbc.contoso.local"), "domain", json!("localhost")),
        behind("sip:sbc.contoso.local", "sip:proxy.contoso.local"),
        signalling("0.0.0.0/0"),
        signalling("sbc2.contoso.local"),
        studio("https://studio.twilio.com"),
    ];
    for backend in elsewhere {
        assert_eq!(accepts(&backend, false), Ok(()), "{backend}");
        let also = accepts(&with(backend.clone(), "local_peer", json!(true)), false);
        assert_eq!(also, Ok(()), "{backend}");
    }
}

/// As the reader of the proxy's address does, which takes it for one of http.
#[test]
fn a_proxys_password_is_warned_about_with_and_without_scheme() {
    for (proxy, warned) in [
        ("http://bob:hush-hush@127.0.0.1:1", true),
        ("bob:hush-hush@127.0.0.1:1", true),
        ("bob:hush-hush@proxy.contoso.local:3128", true),
        ("http://127.0.0.1:1", false),
        ("proxy.contoso.local:3128", false),
        ("127.0.0.1:3128", false),
    ] {
        let text = json!({ "use": ["c"], "network": { "proxy": proxy }, "approval": { "method": "pound" }, "backends": { "c": {
            "type": "twilio_studio", "account_sid": "AC", "flow_sid": "FW", "from": "+1", "auth_token": { "env": "X" } } } });
        let warnings = config::parse(&text.to_string(), &phonegate::TYPES).unwrap().warnings();
        assert_eq!(warnings.iter().any(|warning| warning.starts_with("network.proxy: ")), warned, "{proxy}");
        assert!(!warnings.concat().contains("hush"));
    }
}

#[test]
fn a_call_asks_for_a_code_by_default() {
    let trunk = json!({ "type": "sip", "trunk": "sips:sbc.contoso.local" });
    let of_twilio = json!({ "type": "twilio_studio", "account_sid": "AC", "flow_sid": "FW", "from": "+1", "auth_token": { "env": "X" } });
    for backend in [trunk, of_twilio] {
        let config = json!({ "use": ["b"], "backends": { "b": backend }, "numbers": { "default_country": "US" } });
        let policy = config::parse(&config.to_string(), &phonegate::TYPES).unwrap().approval_policy().unwrap();
        assert_eq!((policy.method().name(), policy.code_digits()), ("code", 3));
    }
}

/// The odds: 1 - (1 - 1/(9 * 8^(digits - 1)))^attempts.
#[test]
fn weak_approval_is_warned_about_and_nothing_else_is() {
    let warnings = |approval: Value, attempts: u32| {
        let config = json!({
            "use": ["trunk"], "backends": { "trunk": { "type": "sip", "trunk": "sips:sbc.contoso.local" } },
            "numbers": { "default_country": "US" }, "approval": approval, "prompts": { "attempts": attempts }
        });
        config::parse(&config.to_string(), &phonegate::TYPES).unwrap().warnings()
    };
    let pound = warnings(json!({ "method": "pound", "code_digits": 1 }), 2);
    assert_eq!(pound.len(), 1, "{pound:?}");
    assert!(pound[0].starts_with("approval.method: is `pound`: a recording can press #"), "{pound:?}");
    assert!(pound[0].ends_with(r#"set "approval": { "method": "code" }"#), "{pound:?}");
    for (digits, attempts, calls) in
        [(1, 1, 9), (1, 2, 5), (2, 1, 72), (2, 2, 36), (3, 6, 96), (3, 10, 58), (3, 5, 0), (3, 2, 0), (4, 10, 0)]
    {
        let found = warnings(json!({ "method": "code", "code_digits": digits }), attempts);
        let expected = if calls == 0 { 0 } else { 1 };
        assert_eq!(found.len(), expected, "{digits} digits, {attempts} attempts: {found:?}");
        let words =
            format!(" guesses the code in 1 of {calls} calls (code_digits {digits}, attempts {attempts}); set it to ");
        assert!(found.iter().all(|text| text.contains(&words)), "{words} in {found:?}");
        let key = if digits < 3 { "approval.code_digits: " } else { "prompts.attempts: " };
        assert!(found.iter().all(|text| text.starts_with(key)), "{found:?}");
    }
}

/// A URI without a transport leaves it to DNS, which anyone on the network may forge.
#[test]
fn trunks_whose_keys_are_not_authenticated_are_warned_about() {
    let udp = "sip:sbc.contoso.local;transport=udp";
    let (tls, sips) = ("sip:sbc.contoso.local;transport=TLS", "sips:sbc.contoso.local");
    for (trunk, expected) in [
        (json!({ "trunk": tls }), None),
        (json!({ "trunk": [sips, tls], "media_encryption": "required" }), None),
        (json!({ "trunk": udp, "outbound_proxy": sips }), None),
        (json!({ "trunk": udp }), Some("write `transport=tls`")),
        (json!({ "trunk": [tls, udp] }), Some("write `transport=tls`")),
        (json!({ "trunk": "sip:sbc.contoso.local" }), Some("write `transport=tls`")),
        (json!({ "trunk": tls, "outbound_proxy": udp }), Some("write `transport=tls`")),
        (json!({ "trunk": tls, "media_encryption": "off" }), Some("remove `media_encryption`")),
        (json!({ "trunk": tls, "media_encryption": "optional" }), Some("remove `media_encryption`")),
    ] {
        let mut settings = trunk.clone();
        settings["type"] = json!("sip");
        // The second trunk is not in use.
        let unused = json!({ "type": "sip", "trunk": udp });
        let text = json!({ "use": ["trunk"], "backends": { "trunk": settings, "unused": unused } });
        let warnings = config::parse(&text.to_string(), &phonegate::TYPES).unwrap().warnings();
        let open: Vec<_> = warnings.iter().filter(|text| text.contains("keys are not authenticated")).collect();
        match expected {
            None => assert!(open.is_empty(), "{trunk}: {open:?}"),
            Some(what_to_do) => {
                assert!(matches!(open[..], [text] if text.starts_with("backends.trunk: ")), "{trunk}: {open:?}");
                assert!(open[0].contains(what_to_do), "{trunk}: {open:?}");
            }
        }
    }
}

#[test]
fn a_missing_file_is_reported_with_what_to_do() {
    let error = config::load(Path::new("no-such-folder/phonegate.json"), &phonegate::TYPES).unwrap_err();
    assert_eq!(error.kind(), config::ErrorKind::NotFound);
    assert!(
        error.to_string().contains("no-such-folder/phonegate.json: there is no such file; put one there"),
        "{error}"
    );
}

/// The current directory of a Windows service is System32, so a relative path would mean something else there.
#[test]
fn a_relative_path_in_the_environment_is_refused() {
    let set = |path: &str| {
        // SAFETY: nextest gives each test a process of its own, and no other thread runs yet.
        unsafe { std::env::set_var(config::PATH_VARIABLE, path) };
        config::default_path()
    };
    for relative in ["phonegate.json", "conf/phonegate.json", "./phonegate.json", "../phonegate.json"] {
        let error = set(relative).unwrap_err().to_string();
        for words in ["PHONEGATE_CONFIG", relative, "relative", "System32", "the absolute path"] {
            assert!(error.contains(words), "{words} in {error}");
        }
    }
    assert_eq!(set("/etc/phonegate.json").unwrap(), Path::new("/etc/phonegate.json"));
    assert!(set("").unwrap().is_absolute(), "an empty one counts as none");
}

/// A file may be a device or a pipe, or longer than its reported size: it neither blocks the host nor fills its memory.
#[test]
fn pipes_folders_and_files_that_are_too_long_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, long) = (folder.path().join("pipe"), folder.path().join("long"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(&long, vec![b' '; 1024 * 1024 + 1]).unwrap();
    for (path, problem) in [
        (Path::new("/dev/zero"), "is not a regular file"),
        (folder.path(), "is not a regular file"),
        (&pipe, "is not a regular file"),
        (&long, "is longer than 1048576 bytes"),
    ] {
        let error = config::load(path, &phonegate::TYPES).unwrap_err();
        assert_eq!(error.kind(), config::ErrorKind::Unreadable);
        assert!(error.to_string().contains(problem), "{error}");
    }
    let huge = folder.path().join("huge");
    std::fs::File::create(&huge).unwrap().set_len(64 * 1024 * 1024).unwrap();
    let before = support::bytes_read_by_this_process();
    config::load(&huge, &phonegate::TYPES).unwrap_err();
    let read = support::bytes_read_by_this_process() - before;
    assert!(read < 2 * 1024 * 1024, "{read} bytes were read");
    let secrets =
        [("/dev/zero".to_owned(), "is not a regular file"), (long.display().to_string(), "is longer than 4096 bytes")];
    for (file, problem) in secrets {
        let secret: config::Secret = serde_json::from_value(json!({ "file": file })).unwrap();
        let error = secret.resolve(folder.path(), "here").unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn the_shipped_schema_matches_the_types() {
    let shipped = std::fs::read_to_string(support::project_folder().join("phonegate.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&shipped).unwrap();
    let description = schema["description"].as_str().unwrap();
    assert!(description.starts_with("The settings of PhoneGate"), "an administrator reads it: {description}");
    assert!(
        shipped == config::schema(&phonegate::TYPES),
        "run: cargo run -p phonegate-cli -- schema > phonegate.schema.json"
    );
}

/// The schema is shipped for editors, so it must accept exactly what the reader accepts.
#[test]
fn the_schema_accepts_good_files_and_refuses_bad_ones() {
    let schema: Value = serde_json::from_str(&config::schema(&phonegate::TYPES)).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for path in files("good") {
        let text = std::fs::read_to_string(&path).unwrap();
        let json: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap();
        let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    // Errors that a schema cannot express: about other keys, the environment, files, and text that is not JSON.
    let beyond = [
        "no_country",
        "unknown_country",
        "unknown_allowed_country",
        "blocked_is_no_number",
        "unknown_language",
        "language_is_unknown",
        "prompts_directory",
        "use_names_",
        "permission",
        "test_backend_beside",
        "secret_env",
        "secret_file",
        "secret_by_dpapi_opens",
        "utf",
        "twice",
        "empty.json",
        "not_json",
        "text_after",
        "trailing",
        "beyond_a_schema",
        "number_key_is_too_short",
        "store_redis_without_url",
        "store_sqlite_with_url",
        "store_sqlite_with_ca_file",
        "store_sqlite_with_site",
        "store_memory_with_path",
        "sip_trunk_is_no_uri",
        "sip_trunk_has_a_user",
        "sip_trunk_by_websocket",
        "sip_trunk_is_an_empty_list",
    ];
    for path in files("bad") {
        let name = path.file_name().unwrap().to_str().unwrap();
        if beyond.iter().any(|part| name.contains(part)) && name != "secret_is_empty.json" {
            continue;
        }
        let json: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(!validator.is_valid(&json), "the schema accepts {name}");
    }
}
