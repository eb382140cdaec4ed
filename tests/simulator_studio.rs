//! Calls through Twilio Studio's endpoints of the simulator.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use phonegate::backend::twilio_studio::{TwilioStudioConfig, install_flow};
use phonegate::call::{CallStatus, FailureReason};
use phonegate::config;
use phonegate_simulator::ending::{Ending, Keys};
use phonegate_simulator::exchange::{Behaviour, Exchange, MAX_TELEPHONES};
use phonegate_simulator::studio::{self, Pace, StudioServer};
use phonegate_simulator::view::{Call, StepKind, TelephoneAction, TelephoneState, Update};
use serde_json::{Value, json};
use support::gate::{TestGate, id};
use support::wait_until;

const NUMBER: &str = "+14255551212";

/// A simulator with its endpoints, in a runtime of its own.
struct Rig {
    runtime: tokio::runtime::Runtime,
    exchange: Exchange,
    server: StudioServer,
}

impl Rig {
    fn new(ending: Ending) -> Self {
        let keys = Keys { pin: Some("258079".to_owned()), fraud: '0' };
        let exchange = Exchange::new(Behaviour { ending, approve_after: None, keys });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let pace = Pace { character: Duration::from_millis(5), rings_for: Duration::from_secs(2) };
        let address = "127.0.0.1:0".parse().unwrap();
        let server = runtime.block_on(StudioServer::listen(exchange.clone(), address, pace)).unwrap();
        Self { runtime, exchange, server }
    }

    fn configuration(&self, approval: &Value) -> Value {
        json!({
            "use": ["cloud"], "allow_test_backends": true, "approval": approval, "numbers": { "default_country": "US" },
            "backends": { "cloud": {
                "type": "twilio_studio", "account_sid": studio::ACCOUNT_SID, "api_key_sid": studio::API_KEY_SID,
                "api_key_secret": studio::API_KEY_SECRET, "flow_sid": studio::FLOW_SID, "from": "+14255550100",
                "base_url": self.server.base_url(),
            } },
        })
    }

    /// Installs the flow as `phonegate twilio install-flow` does, and starts a gate.
    fn gate(&self, approval: &Value) -> TestGate {
        let configuration = self.configuration(approval);
        let config = config::parse(&configuration.to_string(), &phonegate::TYPES).unwrap();
        let backend = config.backends["cloud"].settings::<TwilioStudioConfig>().unwrap();
        let installed = self.runtime.block_on(install_flow("cloud", backend, &config, "".as_ref())).unwrap();
        assert_eq!((installed.sid.as_str(), installed.created), (studio::FLOW_SID, true));
        TestGate::start(configuration)
    }

    fn calls(&self) -> Vec<Call> {
        match self.exchange.subscribe().0 {
            Update::Snapshot { calls, .. } => calls,
            other => panic!("a page first gets a snapshot, not {other:?}"),
        }
    }

    /// Returns the problems that a page shows: the number and the text.
    fn problems(&self) -> Vec<(String, String)> {
        let Update::Snapshot { problems, .. } = self.exchange.subscribe().0 else { panic!("no snapshot") };
        problems.into_iter().map(|problem| (problem.number, problem.text)).collect()
    }

    fn state(&self) -> Option<TelephoneState> {
        let Update::Snapshot { telephones, .. } = self.exchange.subscribe().0 else { panic!("no snapshot") };
        telephones.iter().find(|telephone| telephone.number == NUMBER).map(|telephone| telephone.state)
    }

    /// Sends a request by hand, and returns the status and the body.
    fn request(&self, method: &str, path: &str, credentials: (&str, &str), body: &str) -> (u16, Value) {
        let credentials = BASE64_STANDARD.encode(format!("{}:{}", credentials.0, credentials.1));
        let address = self.server.local_addr();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {credentials}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            body.len(),
        );
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        // The simulator may refuse a large body before it has all of it.
        let _ = connection.write_all(body.as_bytes());
        let mut reply = Vec::new();
        let _ = connection.read_to_end(&mut reply);
        let reply = String::from_utf8(reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").expect("a reply");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }
}

fn code() -> Value {
    json!({ "method": "code" })
}

/// Places a call, and returns its end.
fn end(rig: &Rig, approval: &Value) -> (CallStatus, Option<FailureReason>) {
    let gate = rig.gate(approval);
    gate.initiate(id(1), NUMBER);
    let (status, _) = gate.ends(id(1));
    (status, gate.snapshot(id(1)).failure.map(|failure| failure.reason()))
}

#[test]
fn a_telephone_that_presses_the_code_approves() {
    for approval in [code(), json!({ "method": "pound" })] {
        let rig = Rig::new(Ending::Approve);
        assert_eq!(end(&rig, &approval), (CallStatus::Success, None), "{approval}");
        assert_eq!(rig.problems(), [], "the flow fits {approval}");
    }
}

#[test]
fn each_ending_of_a_telephone_has_its_reason() {
    std::thread::scope(|scope| {
        for (ending, reason) in [
            (Ending::WrongCode, FailureReason::WrongKey),
            (Ending::NoKey, FailureReason::NoKeyPressed),
            (Ending::Busy, FailureReason::Unreachable),
            (Ending::NoAnswer, FailureReason::Unreachable),
            (Ending::HangUp, FailureReason::CallEnded),
            (Ending::ReportFraud, FailureReason::FraudReported),
        ] {
            scope.spawn(move || {
                let ended = end(&Rig::new(ending), &code());
                assert_eq!(ended, (CallStatus::Failed, Some(reason)), "{ending:?}");
            });
        }
    });
}

#[test]
fn a_busy_telephone_is_not_rung() {
    let rig = Rig::new(Ending::Approve);
    rig.exchange.add(NUMBER);
    assert!(rig.exchange.act(NUMBER, &TelephoneAction::SetBusy { busy: true }));
    assert_eq!(end(&rig, &code()), (CallStatus::Failed, Some(FailureReason::Unreachable)));
    let steps = rig.calls().remove(0).steps;
    let has = |kind, text: &str| steps.iter().any(|step| step.kind == kind && step.text.contains(text));
    assert!(has(StepKind::Received, "POST /v2/Flows/") && has(StepKind::Sent, "201 Created"), "{steps:?}");
    assert!(has(StepKind::Event, "The flow reports BUSY."), "{steps:?}");
}

#[test]
fn a_call_to_a_telephone_too_many_is_refused() {
    let rig = Rig::new(Ending::Approve);
    (0..MAX_TELEPHONES).for_each(|n| assert!(rig.exchange.add(&format!("+1425555{n:04}"))));
    let limit = format!("The simulator already has {MAX_TELEPHONES} telephones, the maximum");
    let gate = rig.gate(&code());
    for n in [1, 2] {
        gate.initiate(id(n), "+14255559999");
        let (status, message) = gate.ends(id(n));
        assert_eq!(status, CallStatus::Failed);
        assert!(message.contains(&limit), "{message}");
    }
    let [(number, text), _] = &rig.problems()[..] else { panic!("{:?}", rig.problems()) };
    assert!(number == "+14255559999" && text.contains(&limit), "{number}: {text}");
}

#[test]
fn a_flow_for_another_method_is_reported_at_the_call() {
    let rig = Rig::new(Ending::Approve);
    let _installs = rig.gate(&code());
    let gate = TestGate::start(rig.configuration(&json!({ "method": "pound" })));
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Failed);
    let [(number, text)] = &rig.problems()[..] else { panic!("{:?}", rig.problems()) };
    assert_eq!(number, NUMBER);
    assert!(text.contains("another `approval.method`.") && text.contains("`phonegate twilio install-flow`"), "{text}");
    let call = rig.calls().remove(0);
    assert!(
        call.steps.iter().any(|step| step.kind == StepKind::Event && step.text == *text),
        "it is a step of the call"
    );
}

#[test]
fn the_steps_of_a_call_show_its_requests_without_credentials() {
    let rig = Rig::new(Ending::Approve);
    let gate = rig.gate(&code());
    gate.initiate(id(1), NUMBER);
    assert_eq!(gate.ends(id(1)).0, CallStatus::Success);
    let was_deleted = || rig.calls()[0].steps.iter().any(|step| step.text.starts_with("DELETE "));
    wait_until("the Execution is deleted", was_deleted);
    let call = rig.calls().remove(0);
    assert_eq!((call.line, call.caller.as_str(), call.number.as_str()), ("twilio_studio", "+14255550100", NUMBER));
    let of = |kind| call.steps.iter().filter(move |step| step.kind == kind).map(|step| step.text.as_str());
    let received: Vec<_> = of(StepKind::Received).collect();
    assert!(received[0].starts_with("POST /v2/Flows/") && received[0].contains("\nTo=+14255551212"), "{received:?}");
    assert!(received.iter().any(|request| request.contains("/Context")), "{received:?}");
    assert!(of(StepKind::Sent).any(|reply| reply.contains("\"PRESSED\"")));
    let secret = call
        .steps
        .iter()
        .find(|step| step.text.to_lowercase().contains("authorization") || step.text.contains(studio::API_KEY_SECRET));
    assert_eq!(secret, None);
}

#[test]
fn a_call_that_phonegate_ends_no_longer_rings() {
    let rig = Rig::new(Ending::ByHand);
    let gate = rig.gate(&code());
    gate.initiate(id(1), NUMBER);
    wait_until("the telephone rings", || rig.state() == Some(TelephoneState::Ringing));
    assert!(rig.exchange.act(NUMBER, &TelephoneAction::PickUp));
    gate.end();
    wait_until("the telephone is idle", || rig.state() == Some(TelephoneState::Idle));
    assert_eq!(rig.calls()[0].result.as_deref(), Some("PhoneGate ended the call."));
}

#[test]
fn check_accepts_the_flow_of_these_settings_only() {
    let rig = Rig::new(Ending::Approve);
    let _installs = rig.gate(&code());
    for (approval, is_good) in [(code(), true), (json!({ "method": "pound" }), false)] {
        let gate = TestGate::start(rig.configuration(&approval));
        let [(_, checked)] = &gate.gate().check()[..] else { panic!("one backend") };
        assert_eq!(checked.is_ok(), is_good, "{approval}: {checked:?}");
    }
}

#[test]
fn what_twilio_refuses_is_refused_with_its_code() {
    let rig = Rig::new(Ending::ByHand);
    let _installs = rig.gate(&code());
    let (flow, account) = (studio::FLOW_SID, (studio::API_KEY_SID, studio::API_KEY_SECRET));
    let executions = format!("/v2/Flows/{flow}/Executions");
    let wrong = (studio::API_KEY_SID, "another");
    let large = format!("To=%2B14255551212&From=%2B14255550100&Parameters={}", "1".repeat(20_000));
    let huge = "x".repeat(3 << 20);
    let too_large = "x".repeat((64 << 10) + 1);
    for (method, path, credentials, body, expected) in [
        ("GET", &*format!("/v2/Flows/{flow}"), wrong, "", (401, 20003)),
        ("POST", "/v2/Flows/Validate", wrong, &huge, (401, 20003)),
        ("POST", &format!("{executions}/FN00"), account, &too_large, (413, 20413)),
        ("GET", "/v2/Flows/FW00", account, "", (404, 20404)),
        ("GET", &format!("{executions}/FN00"), account, "", (404, 20404)),
        ("POST", &executions, account, "From=%2B14255550100", (400, 20001)),
        ("POST", &executions, account, "To=4255551212&From=%2B14255550100", (400, 21211)),
        ("POST", &executions, account, "To=%2B14255551212&From=MIM", (400, 21212)),
        ("POST", &executions, account, "To=%2B14255551212&From=%2B14255550100&Parameters=[]", (400, 20001)),
        ("POST", &executions, account, "To=%2B14255551212&From=%2B14255550100&X=1", (400, 20001)),
        ("POST", &executions, account, &large, (413, 20413)),
        ("POST", "/v2/Flows/Validate", account, "FriendlyName=x&Status=published&Definition={}", (422, 20001)),
        ("POST", "/v2/Flows/Validate", account, &huge, (413, 20413)),
    ] {
        let (status, error) = rig.request(method, path, credentials, body);
        assert_eq!((status, error["code"].as_u64()), (expected.0, Some(expected.1)), "{method} {path}: {error}");
        assert_eq!(error["status"], status, "{error}");
        assert!(error["message"].is_string() && error["more_info"].is_string(), "{error}");
    }
    assert!(rig.calls().is_empty(), "nothing rings");
    let [(number, text)] = &rig.problems()[..] else { panic!("{:?}", rig.problems()) };
    assert!(number == "4255551212" && text.contains("21211") && text.contains("with + and the country code"), "{text}");
}

#[test]
fn a_contact_has_one_active_execution() {
    let rig = Rig::new(Ending::ByHand);
    let _installs = rig.gate(&code());
    let account = (studio::API_KEY_SID, studio::API_KEY_SECRET);
    let path = format!("/v2/Flows/{}/Executions", studio::FLOW_SID);
    let start = || rig.request("POST", &path, account, "To=%2B14255551212&From=%2B14255550100&Parameters={}");
    let (status, first) = start();
    assert_eq!((status, first["status"].as_str()), (201, Some("active")));
    assert_eq!(start().1["code"], 20409);
    let execution = format!("{path}/{}", first["sid"].as_str().unwrap());
    assert_eq!(rig.request("POST", &execution, account, "Status=ended").1["status"], "ended");
    wait_until("the telephone is idle", || rig.state() == Some(TelephoneState::Idle));
    assert_eq!(start().0, 201);
}
