//! Calls over SIP to the telephones of `phonegate simulate`, through the built library: each ending has its reason.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;

use phonegate::store::SqliteStore;
use serde_json::{Value, json};
use support::host::Host;
use support::{built_library, pins, place_call, target_folder};
use tempfile::TempDir;
use uuid::Uuid;

const NUMBER: &str = "+1 4255551212";

const PIN: &str = "739104";

/// `phonegate simulate`, with the address of its page, and the settings of a backend that calls it.
struct Simulator {
    process: Child,
    url: String,
    backend: Value,
    log: BufReader<ChildStderr>,
}

impl Simulator {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(target_folder().join("debug/phonegate"))
            .args(["simulate", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let log = BufReader::new(process.stderr.take().unwrap());
        let url = ready["url"].as_str().unwrap().to_owned();
        Self { process, url, backend: ready["backends"]["sip"].clone(), log }
    }

    /// Returns what a page that is opened now shows.
    fn page(&self) -> Value {
        let (authority, token) = self.url.strip_prefix("http://").unwrap().split_once("/?").unwrap();
        let mut stream = TcpStream::connect(authority).unwrap();
        write!(stream, "GET /updates?{token} HTTP/1.1\r\nHost: {authority}\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let snapshot = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).expect("a first update");
        serde_json::from_str(&snapshot).unwrap()
    }

    /// Returns the next line of its log.
    fn logs(&mut self) -> String {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        line
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
    let page = simulator.page();
    let messages: Vec<_> = page["calls"][1]["steps"].as_array().unwrap().iter().map(|step| &step["text"]).collect();
    for message in ["INVITE sip:+14255551212@", "SIP/2.0 486 Busy Here", "ACK sip:+14255551212@"] {
        let is_shown = messages.iter().any(|text| text.as_str().unwrap().starts_with(message));
        assert!(is_shown, "the call that was refused has {message}: {messages:?}");
    }
    let first = first.result();
    assert!(first.starts_with("Verified"), "nobody picked up, so the simulator approves: {first}");
}

#[test]
fn a_number_that_is_not_in_e164_is_refused_with_a_reason() {
    let mut simulator = Simulator::start(&["--number", NUMBER]);
    for format in ["national", "e164"] {
        let mut config = simulator.config();
        config["backends"]["telephones"]["number_format"] = json!(format);
        config["numbers"]["allowed_countries"] = json!(["US"]);
        let result = Caller::start(&config, NUMBER).result();
        assert!(
            result.contains("484 The number is not in E.164 with +") && result.contains("(InvalidNumber,"),
            "{result}"
        );
    }
    let page = simulator.page();
    assert_eq!(page["telephones"].as_array().unwrap().len(), 1, "there is no second telephone: {page}");
    assert_eq!(page["problems"][0]["number"], "4255551212");
    assert_eq!(page["problems"][1]["number"], "14255551212");
    let problem = page["problems"][0]["text"].as_str().unwrap();
    assert!(problem.contains("set `number_format` of the backend to e164_plus"), "{problem}");
    assert_eq!(simulator.logs(), format!("warning: {problem}\n"));
}

#[test]
fn a_call_to_a_telephone_too_many_is_refused_with_a_reason() {
    let numbers: Vec<_> = (0..100).map(|n| format!("--number=+1425555{n:04}")).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    let mut simulator = Simulator::start(&numbers);
    let result = Caller::start(&simulator.config(), NUMBER).result();
    let limit = "The simulator already has 100 telephones, the maximum";
    assert!(result.contains(&format!("503 {limit}")), "{result}");
    let page = simulator.page();
    assert_eq!(page["problems"][0]["number"], "+14255551212");
    let what_to_do = format!("{limit}: restart it to remove them.");
    assert_eq!(page["problems"][0]["text"], what_to_do);
    assert_eq!(simulator.logs(), format!("warning: {what_to_do}\n"));
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

/// A web page can send HTTP to any port of this computer.
#[test]
fn a_web_page_cannot_ring_telephones_over_sip() {
    let simulator = Simulator::start(&[]);
    let trunk = simulator.backend["trunk"].as_str().unwrap().strip_prefix("sip:").unwrap();
    let request = |method: &str, to: &str| {
        format!(
            "{method} sip:{to}{trunk} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK1\r\nFrom: <sip:{trunk}>;tag=a\r\n\
             To: <sip:{to}{trunk}>\r\nCall-ID: {method}\r\nCSeq: 1 {method}\r\nContact: <sip:{trunk}>\r\n"
        )
    };
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0 101\r\n";
    let invite = request("INVITE", "+14255551212@");
    let invite = format!("{invite}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    let length = invite.len();
    let post = format!("POST / HTTP/1.1\r\nHost: {trunk}\r\nContent-Length: {length}\r\n\r\n{invite}");
    // The same connection still serves SIP, so the answer comes after the request of the page was read.
    let options = format!("{}Content-Length: 0\r\n\r\n", request("OPTIONS", ""));
    let mut stream = TcpStream::connect(trunk).unwrap();
    stream.write_all(format!("{post}{options}").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert_eq!(answer, "SIP/2.0 200 OK\r\n");
    let page = simulator.page();
    assert_eq!((&page["telephones"], &page["problems"]), (&json!([]), &json!([])), "{page}");
    // The request itself is a call.
    let mut stream = TcpStream::connect(trunk).unwrap();
    stream.write_all(invite.as_bytes()).unwrap();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert_eq!(simulator.page()["telephones"][0]["number"], "+14255551212");
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
