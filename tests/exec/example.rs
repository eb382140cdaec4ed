//! `examples/exec/place_call.py` places calls through a telephone gateway with the HTTP interface that it describes.

use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use crate::support::backend::TestBackend;
use crate::support::exec::PYTHON;
use crate::support::gate::{TestGate, id};
use crate::support::wait_until;
use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use tempfile::TempDir;

const NUMBER: &str = "+1 4255551212";

/// What the phone of the gateway does when it is asked for an entry.
#[derive(Clone, Copy, PartialEq)]
enum Phone {
    PressesCode,
    Presses(&'static str),
    Rings,
    Is(&'static str),
}

/// A gateway, which speaks by keeping the texts.
struct Gateway {
    address: String,
    state: Arc<Mutex<State>>,
    /// The folder of the program.
    folder: TempDir,
}

#[derive(Default)]
struct State {
    phone: VecDeque<Phone>,
    requests: Vec<(String, Value)>,
}

impl Gateway {
    /// A gateway with one call, whose phone does this in each attempt.
    fn start(phone: &[Phone]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { phone: phone.iter().copied().collect(), requests: Vec::new() }));
        let served = Arc::clone(&state);
        std::thread::spawn(move || listener.incoming().flatten().for_each(|connection| serve(connection, &served)));
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("place_call.py");
        fs::copy(crate::support::project_folder().join("examples/exec/place_call.py"), &program).unwrap();
        fs::set_permissions(program, Permissions::from_mode(0o600)).unwrap();
        Self { address, state, folder }
    }

    fn settings(&self) -> Value {
        // SAFETY: nextest gives each test a process of its own, and no other thread uses the environment.
        unsafe { std::env::set_var("GATEWAY", &self.address) };
        json!({
            "type": "exec", "program": PYTHON, "arguments": ["-I"], "script": self.folder.path().join("place_call.py"),
            "environment": ["GATEWAY"], "supports_check": true
        })
    }

    /// The requests so far: method and path.
    fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.iter().map(|(request, _)| request.clone()).collect()
    }

    fn gate(&self, deadline_s: u64) -> TestGate {
        let config =
            json!({ "use": ["own"], "backends": { "own": self.settings() }, "call": { "deadline_s": deadline_s } });
        TestGate::start(config)
    }

    /// How a call ends.
    fn call(&self) -> (CallStatus, Option<FailureReason>) {
        let gate = self.gate(60);
        gate.initiate(id(1), NUMBER);
        let (status, text) = gate.ends(id(1));
        println!("{text}");
        (status, gate.snapshot(id(1)).failure.map(|failure| failure.reason()))
    }
}

fn serve(mut connection: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim_end().to_ascii_lowercase().strip_prefix("content-length: ") {
            Some(value) => length = value.parse().unwrap(),
            None if header.trim_end().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let request = request.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let (status, reply) = reply(&request, &body, &mut state.lock().unwrap());
    let reply = reply.to_string();
    let length = reply.len();
    write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{reply}").unwrap();
}

fn reply(request: &str, body: &Value, state: &mut State) -> (&'static str, Value) {
    let is_poll = request.starts_with("GET /calls");
    if !is_poll || state.requests.last().is_none_or(|(last, _)| last != request) {
        state.requests.push((request.to_owned(), body.clone()));
    }
    match request {
        "POST /calls" if body["to"] != "+14255551212" => ("400 Bad Request", Value::Null),
        "POST /calls" => ("201 Created", json!({ "id": "17" })),
        "GET /calls/17" => {
            let pressed =
                |digits: &str| json!({ "state": "answered", "entry": { "digits": digits, "ended_by": "pound" } });
            let said = state.requests.iter().rev().find_map(|(_, body)| body["text"].as_str()).unwrap();
            (
                "200 OK",
                match state.phone.front().copied().unwrap() {
                    Phone::PressesCode => pressed(&said.chars().filter(char::is_ascii_digit).collect::<String>()),
                    Phone::Presses(digits) => pressed(digits),
                    Phone::Rings => json!({ "state": "ringing", "entry": null }),
                    Phone::Is(state) => json!({ "state": state, "entry": null }),
                },
            )
        }
        "POST /calls/17/text" => {
            state.phone.pop_front();
            ("200 OK", Value::Null)
        }
        "GET /status" | "DELETE /calls/17" => ("200 OK", Value::Null),
        _ => ("404 Not Found", Value::Null),
    }
}

#[test]
fn the_example_reports_what_the_user_pressed() {
    let gateway = Gateway::start(&[Phone::PressesCode]);
    assert_eq!(gateway.call(), (CallStatus::Success, None));
    assert_eq!(gateway.requests(), ["POST /calls", "GET /calls/17", "DELETE /calls/17"]);
}

#[test]
fn the_example_asks_once_more_after_a_wrong_entry() {
    let gateway = Gateway::start(&[Phone::Presses("7"), Phone::PressesCode]);
    assert_eq!(gateway.call(), (CallStatus::Success, None));
    let gateway = Gateway::start(&[Phone::Presses("7"), Phone::Presses("7")]);
    assert_eq!(gateway.call(), (CallStatus::Failed, Some(FailureReason::WrongKey)));
    assert!(gateway.requests().contains(&"POST /calls/17/text".to_owned()));
}

#[test]
fn the_example_reports_how_a_call_fails() {
    for (phone, reason) in [
        (Phone::Presses("0"), FailureReason::FraudReported),
        (Phone::Is("busy"), FailureReason::Unreachable),
        (Phone::Is("no_answer"), FailureReason::Unreachable),
        (Phone::Is("ended"), FailureReason::CallEnded),
    ] {
        assert_eq!(Gateway::start(&[phone]).call(), (CallStatus::Failed, Some(reason)));
    }
}

#[test]
fn the_example_hangs_up_at_the_deadline() {
    let gateway = Gateway::start(&[Phone::Rings]);
    let gate = gateway.gate(4);
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Failed);
    wait_until("the call is hung up", || gateway.requests().contains(&"DELETE /calls/17".to_owned()));
    wait_until("the hang-up is logged", || gate.log().iter().any(|line| line["event"] == "hang_up"));
    assert!(gate.end().iter().all(|line| line["event"] != "hang_up" || line["reason"].is_null()));
}

#[test]
fn the_example_says_when_no_phone_can_have_rung() {
    let gateway = Gateway::start(&[Phone::PressesCode]);
    let (status, reason) = gateway.call();
    assert_eq!((status, reason), (CallStatus::Success, None));
    let backend = TestBackend::new(&gateway.settings());
    assert_eq!(backend.refused("+1 4255551213").failure.reason(), FailureReason::InvalidNumber);
    // SAFETY: as in `settings`. No program listens at this port.
    unsafe { std::env::set_var("GATEWAY", "http://127.0.0.1:1") };
    let refused = backend.refused(NUMBER);
    assert!(refused.failure.text().contains("the gateway does not run"), "{}", refused.failure);
}

#[test]
fn the_example_checks_the_gateway() {
    let gateway = Gateway::start(&[]);
    let backend = TestBackend::new(&gateway.settings());
    let checked = backend.runtime.block_on(backend.backend.check());
    assert_eq!(checked.unwrap(), "place_call.py; it is ready: the gateway works");
    assert_eq!(gateway.requests(), ["GET /status"]);
}
