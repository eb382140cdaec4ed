//! Calls over SIP to the telephones of `phonegate simulate`, through the built library: each ending has its reason.

mod support;

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use phonegate::store::SqliteStore;
use serde_json::{Value, json};
use support::host::Host;
use support::{built_library, pins, place_call, target_folder};
use tempfile::TempDir;
use uuid::Uuid;

const NUMBER: &str = "+1 4255551212";

const PIN: &str = "739104";

/// `phonegate simulate`, with the settings of a backend that calls it.
struct Simulator {
    process: Child,
    backend: Value,
}

impl Simulator {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(target_folder().join("debug/phonegate"))
            .args(["simulate", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { process, backend: ready["backends"]["sip"].clone() }
    }

    fn config(&self) -> Value {
        json!({
            "use": ["telephones"],
            "allow_test_backends": true,
            "backends": { "telephones": self.backend },
            "call": { "status_wait_ms": 0 },
            "numbers": { "default_country": "US" },
            "prompts": { "repeat": 1, "attempts": 1 },
            "store": { "type": "memory" },
        })
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process of a host that places one call.
struct Caller {
    host: Host,
    _folder: TempDir,
}

impl Caller {
    fn start(config: &Value, number: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), config);
        let host = Host::start(folder.path(), &Uuid::new_v4().to_string(), number);
        Self { host, _folder: folder }
    }

    fn result(mut self) -> String {
        self.host.last_words()
    }
}

fn write(folder: &Path, config: &Value) {
    std::fs::write(folder.join("phonegate.json"), config.to_string()).unwrap();
}

#[test]
fn each_ending_of_a_simulated_call_has_its_reason() {
    let endings = [
        ("approve", "Verified"),
        ("wrong_code", "(WrongKey,"),
        ("report_fraud", "(FraudReported,"),
        ("no_key", "(NoKeyPressed,"),
        ("hang_up", "The user hung up without a key."),
        ("busy", "(Unreachable,"),
        ("no_answer", "(DeadlinePassed,"),
    ];
    let call = |ending: &'static str| {
        let simulator = Simulator::start(&["--ending", ending]);
        let mut config = simulator.config();
        if ending == "no_answer" {
            config["call"]["deadline_s"] = json!(10);
        }
        Caller::start(&config, NUMBER).result()
    };
    let calls = endings.map(|(ending, expected)| (ending, expected, thread::spawn(move || call(ending))));
    // All have ended before the first is judged, so that none is left behind.
    let calls = calls.map(|(ending, expected, call)| (ending, expected, call.join()));
    for (ending, expected, result) in calls {
        let result = result.unwrap();
        assert!(result.contains(expected), "{ending}: {result}");
    }
}

#[test]
fn many_telephones_are_called_at_once_by_udp_and_tcp() {
    let simulator = Simulator::start(&["--ending", "approve"]);
    let by_udp = simulator.config();
    let mut by_tcp = by_udp.clone();
    let trunk = format!("{};transport=tcp", by_udp["backends"]["telephones"]["trunk"].as_str().unwrap());
    by_tcp["backends"]["telephones"]["trunk"] = json!(trunk);
    let mut registered = by_tcp.clone();
    registered["backends"]["telephones"]["register"] = json!(true);
    registered["backends"]["telephones"]["username"] = json!("890");
    registered["backends"]["telephones"]["password"] = json!("not-a-real-password");
    let configs = [by_udp, by_tcp, registered];
    let call = |n: usize| Caller::start(&configs[n % 3], &format!("+1 425555120{n}"));
    let calls: Vec<_> = (0..6).map(call).collect();
    for call in calls {
        let result = call.result();
        assert!(result.starts_with("Verified"), "{result}");
    }
}

#[test]
fn a_telephone_with_a_call_is_busy_for_another() {
    let simulator = Simulator::start(&["--approve-after", "8"]);
    let mut first = Caller::start(&simulator.config(), NUMBER);
    first.host.logs("ringing");
    let second = Caller::start(&simulator.config(), NUMBER).result();
    assert!(second.contains("The line is busy") && second.contains("(Unreachable,"), "{second}");
    let first = first.result();
    assert!(first.starts_with("Verified"), "nobody picked up, so the simulator approves: {first}");
}

#[test]
fn simulated_phones_approve_by_each_method() {
    let simulator = Simulator::start(&["--ending", "approve", "--pin", PIN]);
    let mut pound = simulator.config();
    pound["approval"] = json!({ "method": "pound" });
    let mut calls = vec![("pound", Caller::start(&pound, "+1 4255551200"))];
    for (method, number) in [("pin", "+1 4255551201"), ("pin_and_code", "+1 4255551202")] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("calls.db");
        drop(SqliteStore::open(&store).unwrap());
        let mut config = simulator.config();
        config["approval"] = pins::approval(method);
        config["store"] = json!({ "type": "sqlite", "path": store });
        write(folder.path(), &config);
        pins::set(&folder.path().join("phonegate.json"), number, PIN);
        let host = Host::start(folder.path(), &Uuid::new_v4().to_string(), number);
        calls.push((method, Caller { host, _folder: folder }));
    }
    for (method, call) in calls {
        let result = call.result();
        assert!(result.starts_with("Verified"), "{method}: {result}");
    }
}

#[test]
fn check_reaches_the_simulated_trunk() {
    let simulator = Simulator::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &simulator.config());
    let program = target_folder().join("debug/phonegate");
    let output =
        Command::new(program).arg("--config").arg(folder.path().join("phonegate.json")).arg("check").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_used_sip_port_is_named_with_what_to_do() {
    let used = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = used.local_addr().unwrap().port().to_string();
    let program = target_folder().join("debug/phonegate");
    let output = Command::new(program).args(["simulate", "--json", "--sip-port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&port) && text.contains("leave out --sip-port"), "{text}");
}

/// What `make run` starts, on a machine without a display.
fn demonstration() -> Command {
    let mut command = Command::new(target_folder().join("debug/demo"));
    command.arg(place_call()).arg(built_library()).arg(NUMBER).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command
}

#[test]
fn the_demonstration_ends_verified_if_nobody_is_there() {
    let output = demonstration().output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("A telephone rings at http://127.0.0.1:"), "{text}");
    assert!(text.trim_end().ends_with("Verified: the right key was pressed."), "{text}");
}

/// The program that places the call has the same standard output, so its end is read only when both have ended.
#[test]
fn ctrl_c_ends_the_demonstration_and_its_call() {
    let mut demonstration = demonstration().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demonstration.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("\"event\":\"ringing\"")), "the telephone rings");
    // SAFETY: a signal to a child of this process, which has not been waited for.
    assert_eq!(unsafe { libc::kill(demonstration.id() as i32, libc::SIGINT) }, 0);
    let rest: Vec<_> = lines.collect();
    assert!(!rest.iter().any(|line| line.starts_with("Verified")), "{rest:?}");
    assert_eq!(demonstration.wait().unwrap().code(), Some(130));
}
