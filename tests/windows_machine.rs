//! Tests what only Windows has, under Wine: secrets sealed by the Data Protection API, the Event Log, and the machine's
//! proxy.

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use phonegate::telemetry::SystemEventId;
use serde_json::{Value, json};
use support::project_folder;
use support::twilio::{TOKEN, Twilio};
use support::wine::{Ran, Wine, mingw, windows_build, windows_debug_build, windows_path};
use tempfile::TempDir;

/// The tool with a configuration.
struct Tool {
    wine: Wine,
    folder: TempDir,
}

impl Tool {
    fn new() -> Self {
        Self { wine: Wine::new(), folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.wine.command(&windows_build().tool, arguments);
        for variable in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.wine.finish(self.command(arguments))
    }

    /// Runs `phonegate protect` with the secret as its input.
    fn protect(&self, secret: &[u8]) -> Ran {
        let file = self.folder.path().join("secret.txt");
        fs::write(&file, secret).unwrap();
        self.wine.finish_reading(self.command(&["protect"]), Stdio::from(File::open(&file).unwrap()))
    }

    fn check(&self, backend: Value, network: Value) -> Ran {
        let config = json!({
            "use": ["cloud"],
            "backends": { "cloud": backend },
            "numbers": { "default_country": "US" },
            "network": network,
            "log": { "directory": windows_path(&self.folder.path().join("log")) },
        });
        let file = self.folder.path().join("phonegate.json");
        fs::write(&file, config.to_string()).unwrap();
        self.run(&["check", "--json", "--config", &windows_path(&file)])
    }
}

/// Returns the text of a command's only JSON line about an event.
fn text_of(ran: &Ran, event: &str) -> String {
    let mut records = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let record = records.find(|record| record["event"] == event).unwrap();
    record["text"].as_str().unwrap().to_owned()
}

#[test]
fn a_sealed_secret_opens_unless_it_was_changed() {
    let (tool, twilio) = (Tool::new(), Twilio::start());
    twilio.install(&json!({}));
    let sealed = tool.protect(format!("{TOKEN}\r\n").as_bytes());
    assert_eq!(sealed.code, Some(0));
    assert!(!(sealed.stdout.clone() + &sealed.stderr).contains(TOKEN));
    let secret: Value = serde_json::from_str(&sealed.stdout).unwrap();

    let mut backend = twilio.backend();
    backend["auth_token"] = secret.clone();
    let checked = tool.check(backend.clone(), json!({}));
    assert_eq!(checked.code, Some(0), "the stand-in took the token");

    let blob = secret["dpapi"].as_str().unwrap();
    let middle = blob.len() / 2;
    let other = if blob.as_bytes()[middle] == b'A' { "B" } else { "A" };
    backend["auth_token"] = json!({ "dpapi": format!("{}{other}{}", &blob[..middle], &blob[middle + 1..]) });
    let checked = tool.check(backend, json!({}));
    assert_eq!(checked.code, Some(2));
    let error = text_of(&checked, "error");
    assert!(error.contains("backends.cloud.auth_token: cannot be opened here: "), "{error}");
    assert!(!error.contains(TOKEN));
}

#[test]
fn an_invalid_secret_is_not_sealed() {
    let tool = Tool::new();
    for (secret, problem) in
        [(b"\r\n".to_vec(), "empty"), (vec![b'x'; 4097], "longer than 4096 bytes"), (b"caf\xe9".to_vec(), "not UTF-8")]
    {
        let ran = tool.protect(&secret);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        assert!(ran.stderr.contains(problem), "{}", ran.stderr);
    }
}

/// Sets the machine's proxy for services like `netsh winhttp set proxy`, which Wine lacks. The value consists of 32-bit
/// numbers and of texts after their lengths.
fn set_machine_proxy(wine: &Wine, proxy: &str, bypass: &str) {
    const NAMED: u32 = 3;
    let text = |text: &str| [&u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat();
    let head = [0x18_u32, 0, NAMED].iter().flat_map(|number| number.to_le_bytes()).collect();
    let bytes: Vec<u8> = [head, text(proxy), text(bypass)].concat();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Internet Settings\Connections";
    let arguments = ["add", key, "/v", "WinHttpSettings", "/t", "REG_BINARY", "/d", &hex, "/f"];
    assert_eq!(wine.run(Path::new("reg"), &arguments).code, Some(0));
}

#[test]
fn the_machines_proxy_is_used_unless_another_is_named() {
    let (tool, twilio) = (Tool::new(), Twilio::start());
    twilio.install(&json!({}));
    set_machine_proxy(&tool.wine, "http=127.0.0.1:1;https=127.0.0.1:2", "<local>;*.contoso.local");
    let mut backend = twilio.backend();
    let detail = |ran: &Ran| text_of(ran, "backend");

    backend["base_url"] = json!("https://studio.twilio.com");
    let checked = tool.check(backend.clone(), json!({}));
    assert!(detail(&checked).contains("through the proxy http://127.0.0.1:2 (WinHTTP)"), "{checked:?}");
    let checked = tool.check(backend.clone(), json!({ "proxy": "http://127.0.0.1:3" }));
    assert!(detail(&checked).contains("through the proxy http://127.0.0.1:3 (network.proxy)"), "{checked:?}");
    backend["base_url"] = json!(twilio.base_url);
    let checked = tool.check(backend, json!({ "proxy": "none" }));
    assert_eq!(checked.code, Some(0));
    assert!(!detail(&checked).contains("proxy"), "{checked:?}");
}

fn compiled(source: &str, folder: &Path, libraries: &[&Path]) -> PathBuf {
    let program = folder.join("program.exe");
    let mut compiler = mingw("gcc");
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-I"]).arg(project_folder().join("include"));
    let output = compiler.arg(project_folder().join(source)).args(libraries).arg("-o").arg(&program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

#[test]
fn the_event_viewer_finds_the_text_of_every_event() {
    use SystemEventId::{
        BackendDown, BackendUp, CapReached, Defect, FraudReported, LockedOut, NotConfigured, Started, Unlocked,
    };
    let (wine, folder) = (Wine::new(), tempfile::tempdir().unwrap());
    let program = compiled("tests/support/event_words.c", folder.path(), &[]);
    let events = [
        (Started, "PhoneGate has started. first"),
        (NotConfigured, "PhoneGate cannot start, and every call fails until this is corrected: first"),
        (BackendDown, "The backend first does not work: second"),
        (BackendUp, "The backend first works again."),
        (FraudReported, "A user reported by phone that they had not requested the call first: "),
        (Defect, "A defect in PhoneGate: first"),
        (LockedOut, "The number of the call first is locked: second."),
        (CapReached, "PhoneGate refuses calls: first."),
        (Unlocked, "An administrator ended the lock of the number first: second"),
    ];
    let ids = events.map(|(event, _)| event.message().to_string());
    let library = windows_path(&windows_build().dll);
    let arguments: Vec<_> = [library.as_str()].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let ran = wine.run(&program, &arguments);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.stdout.lines().count(), events.len());
    for (line, (event, words)) in ran.stdout.lines().zip(events) {
        assert!(line.starts_with(words), "{event:?}: {line}");
    }
}

/// Runs the C example with the library from `dll`, and returns Wine's trace of calls to its Event Log.
fn events_of(dll: &Path, config: Option<&Value>, environment: &[(&str, &str)]) -> String {
    events_in("examples/c/place_call.c", dll, config, environment)
}

/// The same with another program.
fn events_in(program: &str, dll: &Path, config: Option<&Value>, environment: &[(&str, &str)]) -> String {
    let (wine, folder) = (Wine::new(), tempfile::tempdir().unwrap());
    let library = folder.path().join("phonegate.dll");
    fs::copy(dll, &library).unwrap();
    let program = compiled(program, folder.path(), &[&library]);
    if let Some(config) = config {
        fs::write(folder.path().join("phonegate.json"), config.to_string()).unwrap();
    }
    let mut command = wine.command(&program, &["+1 4255551212", "6f9619ff-8b86-d011-b42d-00c04fc964ff"]);
    command.env("WINEDEBUG", "-all,+eventlog").envs(environment.iter().copied());
    wine.finish(command).stderr
}

/// Returns how often an event of this kind with this text was reported, according to Wine's trace.
fn reported(notes: &str, kind: &str, words: &str) -> usize {
    let call = format!(":{kind}:eventlog:ReportEventW ");
    notes.lines().filter(|line| line.contains(&call) && line.contains(words)).count()
}

/// Wine's names of an information event and an error event.
const INFORMATION: &str = "trace";
const ERROR: &str = "err";

#[test]
fn the_event_log_gets_starts_refusals_and_defects() {
    let demo: Value = serde_json::from_str(include_str!("../examples/demo.json")).unwrap();
    let release = windows_build().dll;
    let started = events_of(&release, Some(&demo), &[]);
    assert_eq!(reported(&started, INFORMATION, "backends: demo"), 1, "{started}");

    let refused = events_of(&release, None, &[]);
    assert_eq!(reported(&refused, ERROR, "there is no such file"), 1, "{refused}");

    let defect = events_of(&windows_debug_build().dll, Some(&demo), &[("PHONEGATE_FAULT", "backend.place")]);
    assert!(reported(&defect, ERROR, "a panic at crates/core/src/failpoint.rs") > 0, "{defect}");

    let mut silent = demo;
    silent["log"] = json!({ "event_log": false });
    let silent = events_of(&release, Some(&silent), &[]);
    assert!(!silent.contains("ReportEventW"), "{silent}");
}

#[test]
fn a_configuration_that_stays_wrong_is_logged_once() {
    let refused = events_in("tests/support/refused_thrice.c", &windows_build().dll, None, &[]);
    assert_eq!(reported(&refused, ERROR, "there is no such file"), 1, "{refused}");
}
