//! A call on each backend by each method, through the built library; and the methods that a backend must not ask for.

mod support;

use std::path::{Path, PathBuf};

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, fresh_id};
use support::handset::Handset;
use support::pins::{PEPPER, approval, set};
use support::service::Service;
use support::sip::{NUMBER, config};
use support::twilio::Scenario;
use support::twilio::Twilio;
use support::twilio::flow::{Act, Callee};
use support::wait_until;

const PIN: &str = "739104862057";

const METHODS: [&str; 4] = ["code", "pound", "pin", "pin_and_code"];

fn has_pin(method: &str) -> bool {
    method.starts_with("pin")
}

fn has_code(method: &str) -> bool {
    method.ends_with("code")
}

/// A service that asks by this method. The number has a PIN if the method asks for one.
fn service(mut config: Value, method: &str) -> Service {
    config["approval"] = if has_pin(method) { approval(method) } else { json!({ "method": method }) };
    if config["use"][0] == "cloud" && has_pin(method) {
        config["approval"]["pin"]["allow_provider"] = json!(true);
    }
    config["approval"]["code_digits"] = json!(4);
    config["store"] = json!({ "type": "sqlite", "path": "calls.db" });
    config["log"] = json!({ "level": "debug", "directory": "log" });
    config["audit"] = json!({ "full_numbers": true });
    config["metrics"] = json!({ "textfile": "figures.prom" });
    let service = Service::start(config);
    if has_pin(method) {
        set(&service.path("phonegate.json"), NUMBER, PIN);
    }
    service
}

/// A SIP call whose user presses what is right. Returns how it ended, and the code that was spoken.
fn sip_call(service: &Service, handset: &Handset, method: &str) -> (Option<FailureReason>, Option<String>) {
    let id = service.initiate(NUMBER);
    let (to, code) = if has_code(method) {
        let to = handset.hear_speech().from;
        (to, Some(handset.hear_code(4)))
    } else {
        (handset.hear_prompt().from, None)
    };
    let pin = if has_pin(method) { PIN } else { "" };
    for key in pin.chars().chain(code.iter().flat_map(|code| code.chars())).chain(['#']) {
        handset.press(to, key);
    }
    let failure = service.ends(&id).map(|(reason, _)| reason);
    // After the farewell.
    service.logs(&id, "clean_up");
    handset.hear_out();
    (failure, code)
}

#[test]
fn a_sip_call_is_approved_by_each_method() {
    for method in METHODS {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee("0 101");
        let service = service(config(callee.trunk(), 60), method);
        assert_eq!(sip_call(&service, &handset, method).0, None, "{method}");
        service.end();
        callee.finish();
    }
}

/// A user at the telephone of a call through Studio, who presses what is right.
fn right_at_studio(method: &str) -> Callee {
    Callee::Answers(match method {
        "code" => &[Act::Heard("", "#")],
        "pound" => &[Act::Keys("#")],
        "pin" => &[Act::Keys("739104862057#")],
        _ => &[Act::Heard("739104862057", "#")],
    })
}

/// A service whose calls go through Studio, by a flow for this method.
fn by_studio(twilio: &Twilio, method: &str, callee: Callee) -> Service {
    by_flow_for(method, twilio, method, callee)
}

/// The same with a flow that was installed for another method.
fn by_flow_for(installed: &str, twilio: &Twilio, method: &str, callee: Callee) -> Service {
    let pin = if has_pin(installed) { json!({ "pepper": PEPPER, "allow_provider": true }) } else { json!({}) };
    twilio.install(&json!({ "approval": { "method": installed, "code_digits": 4, "pin": pin } }));
    twilio.play(Scenario::walks(callee));
    service(twilio.configuration(&json!({})), method)
}

#[test]
fn a_studio_call_is_approved_by_each_method() {
    for method in METHODS {
        let twilio = Twilio::start();
        let service = by_studio(&twilio, method, right_at_studio(method));
        assert_eq!(service.ending(NUMBER), None, "{method}");
        service.end();
    }
}

#[test]
fn a_studio_call_is_denied_by_a_wrong_entry_of_each_method() {
    let wrong = Callee::Answers(&[Act::Keys("12#"), Act::Keys("12#")]);
    for method in METHODS {
        let twilio = Twilio::start();
        let service = by_studio(&twilio, method, wrong);
        let reason = service.ending(NUMBER).map(|(reason, _)| reason);
        assert_eq!(reason, Some(FailureReason::WrongKey), "{method}");
        service.end();
    }
}

/// The flow asks for what was configured before. What approves is what is configured now, and never less.
#[test]
fn a_studio_flow_for_another_method_approves_by_no_less() {
    use FailureReason::{NoKeyPressed, WrongKey};
    const CODE: &[Act] = &[Act::Heard("", "#"), Act::Heard("", "#")];
    const POUND: &[Act] = &[Act::Keys("#"), Act::Keys("#")];
    const PIN_ONLY: &[Act] = &[Act::Keys("739104862057#"), Act::Keys("739104862057#")];
    const PIN_AND_CODE: &[Act] = &[Act::Heard("739104862057", "#"), Act::Heard("739104862057", "#")];
    for (installed, configured, acts, expected) in [
        ("pin", "pound", POUND, Some(NoKeyPressed)),
        ("pin", "pound", PIN_ONLY, Some(WrongKey)),
        ("pin", "pin_and_code", PIN_ONLY, Some(WrongKey)),
        ("pound", "pin", POUND, Some(WrongKey)),
        ("pound", "pin_and_code", POUND, Some(WrongKey)),
        ("pound", "code", POUND, Some(WrongKey)),
        ("code", "pin", POUND, Some(NoKeyPressed)),
        ("code", "pin", PIN_ONLY, None),
        ("code", "pin_and_code", CODE, Some(WrongKey)),
        ("pin_and_code", "code", PIN_AND_CODE, Some(WrongKey)),
        ("pin_and_code", "code", CODE, None),
        ("pin_and_code", "pin", PIN_ONLY, None),
    ] {
        let twilio = Twilio::start();
        let service = by_flow_for(installed, &twilio, configured, Callee::Answers(acts));
        let ending = service.ending(NUMBER);
        let reason = ending.as_ref().map(|(reason, _)| *reason);
        assert_eq!(reason, expected, "a flow for {installed} with {configured} and {acts:?}: {ending:?}");
        service.end();
    }
}

/// This backend asks the user for nothing, so only the provider's verdict counts.
#[test]
fn a_call_of_the_file_is_approved_by_code_and_pound() {
    for method in ["code", "pound"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phone.txt");
        let service = service(
            json!({
                "use": ["desk"], "allow_test_backends": true,
                "backends": { "desk": { "type": "file", "path": path } },
            }),
            method,
        );
        let id = service.initiate(NUMBER);
        let text = || std::fs::read_to_string(&path).unwrap_or_default();
        wait_until("the call has a line", || text().contains(id.to_str().unwrap()));
        std::fs::write(&path, text().replace(";0;", ";1;")).unwrap();
        assert_eq!(service.ends(&id), None, "{method}");
        service.end();
    }
}

fn simulated(settings: Value) -> Value {
    let mut phone = json!({ "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0 });
    phone.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    json!({ "use": ["demo"], "allow_test_backends": true, "backends": { "demo": phone } })
}

#[test]
fn a_simulated_call_is_approved_by_each_method() {
    for method in METHODS {
        let pin = if has_pin(method) { json!({ "pin": PIN }) } else { json!({}) };
        let service = service(simulated(pin), method);
        assert_eq!(service.ending(NUMBER), None, "{method}");
        service.end();
    }
}

/// What approves by another method never does.
#[test]
fn a_simulated_pound_key_approves_by_pound_alone() {
    for (method, expected) in [
        ("code", Some(FailureReason::WrongKey)),
        ("pound", None),
        ("pin", Some(FailureReason::WrongKey)),
        ("pin_and_code", Some(FailureReason::WrongKey)),
    ] {
        let pin = if has_pin(method) { json!({ "press": "#", "pin": PIN }) } else { json!({ "press": "#" }) };
        let service = service(simulated(pin), method);
        assert_eq!(service.ending(NUMBER).map(|(reason, _)| reason), expected, "{method}");
        service.end();
    }
}

#[test]
fn a_pin_that_would_be_disclosed_or_not_asked_is_refused() {
    let file = json!({ "type": "file", "path": "phone.txt" });
    let trunk = json!({ "type": "sip", "trunk": "sip:127.0.0.1" });
    let unencrypted = json!({ "type": "sip", "trunk": "sip:localhost;transport=tls", "media_encryption": "off" });
    let studio = Twilio::start().backend();
    let phone = json!({ "type": "simulated" });
    let abi = Abi::exports();
    for method in ["pin", "pin_and_code"] {
        for (backend, expected) in [
            (&file, "backends.line: is of type file, which asks for no PIN"),
            (&trunk, "backends.line: has no SRTP over TLS, so anyone who can read its packets learns the PINs"),
            (&unencrypted, "backends.line: has no SRTP over TLS, so anyone who can read its packets learns the PINs"),
            (&studio, "set \"allow_provider\": true in `approval.pin`"),
            (&phone, "backends.line.pin: is missing"),
        ] {
            let config = json!({
                "use": ["line"], "allow_test_backends": true, "backends": { "line": backend },
                "numbers": { "default_country": "US" },
                "approval": { "method": method, "pin": { "pepper": PEPPER } },
            });
            let path = abi.other_config("phonegate.json", &config);
            let (result, text) = abi.initialize(Some(&path));
            assert_ne!(result, 0, "{method} by {backend}");
            assert!(text.contains(expected) && text.contains(&format!("`{method}`")), "{method}: {text}");
        }
    }
    assert_eq!(abi.initiate(Some(c"+1 4255551212"), Some(&fresh_id()), None), FAILED);
}

/// The bytes of every file below a folder.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            // SQLite removes its log when the last process closes the store.
            false => std::fs::read(&path).map(|bytes| (path, bytes)).into_iter().collect(),
        })
        .collect()
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Returns whether these digits are in the bytes as a whole number: longer numbers often contain four given digits.
fn has_number(bytes: &[u8], number: &str) -> bool {
    let is_part = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_alphanumeric());
    let places = bytes.windows(number.len()).enumerate().filter(|(_, window)| *window == number.as_bytes());
    places.into_iter().any(|(at, _)| !is_part(at.checked_sub(1)) && !is_part(Some(at + number.len())))
}

/// Checks that nothing of a PIN or of these codes is in any file of the service, or in what `doctor --zip` writes.
#[track_caller]
fn discloses_nothing(service: &Service, codes: &[String]) {
    let zips = tempfile::tempdir().unwrap();
    let zip = zips.path().join("support.zip");
    let config = service.path("phonegate.json");
    let calls = support::calls::Calls::of(&config);
    calls.command(&["doctor", "--zip", zip.to_str().unwrap()]).output().unwrap();
    let unzipped = support::tool("unzip", "unzip").arg("-p").arg(&zip).output().unwrap();
    assert!(unzipped.status.success() && has(&unzipped.stdout, "\"event\":\"verified\""), "the log is in the zip file");
    let mut all = files(config.parent().unwrap());
    for name in ["phonegate.log", "calls.db", "calls.db-wal", "figures.prom"] {
        assert!(all.iter().any(|(path, _)| path.ends_with(name)), "{name} is searched");
    }
    all.push((zip, unzipped.stdout));
    for (path, bytes) in &all {
        // A part of the PIN must not appear either.
        for part in [&PIN[..6], &PIN[6..]] {
            assert!(!has(bytes, part), "a PIN in {}", path.display());
        }
        // One number of four digits may be there by chance, but not two.
        let found = codes.iter().filter(|code| has_number(bytes, code)).count();
        assert!(found < 2, "codes in {}", path.display());
    }
}

/// Level `debug`, whole numbers in the audit, and metrics.
#[test]
fn no_pin_or_code_of_a_sip_call_is_in_any_file() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee_of("0 101", 3);
    let service = service(config(callee.trunk(), 60), "pin_and_code");
    let mut codes = Vec::new();
    for _ in 0..3 {
        let (failed, code) = sip_call(&service, &handset, "pin_and_code");
        assert_eq!(failed, None);
        codes.extend(code);
    }
    discloses_nothing(&service, &codes);
    service.end();
    callee.finish();
}

/// Its codes are stored while the call goes on, since the call outlives the process.
#[test]
fn no_pin_or_code_of_a_studio_call_is_in_any_file() {
    let twilio = Twilio::start();
    let service = by_studio(&twilio, "pin_and_code", right_at_studio("pin_and_code"));
    let mut codes = Vec::new();
    for n in 0..2 {
        assert_eq!(service.ending(NUMBER), None);
        let parameters = twilio.parameters(n);
        codes.extend(["code_1", "code_2"].map(|name| parameters[name].as_str().unwrap().to_owned()));
        wait_until("the Execution is deleted", || twilio.is_clean());
    }
    wait_until("the store has removed the codes", || {
        let stored = ["calls.db", "calls.db-wal"].map(|name| std::fs::read(service.path(name)).unwrap());
        stored.iter().all(|bytes| codes.iter().filter(|code| has_number(bytes, code)).count() < 2)
    });
    discloses_nothing(&service, &codes);
    service.end();
}
