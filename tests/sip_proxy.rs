//! Calls through Kamailio, which authenticates, adds Record-Route, and forwards to baresip; and the form of the messages,
//! as tshark dissects them.

mod support;

use std::collections::HashSet;
use std::process::{Child, Stdio};

use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::baresip::Phone;
use support::gate::{TestGate, id};
use support::kamailio::{PASSWORD, Proxy};
use support::sip::{NUMBER, config, ending};
use support::sipp::{Callee, Step};
use tempfile::TempDir;

fn trunk(uri: &str) -> Value {
    json!({ "type": "sip", "trunk": uri, "username": "mim", "password": PASSWORD })
}

fn verified(gate: &TestGate, phone: &Phone) {
    gate.initiate(id(1), NUMBER);
    support::wait_until("baresip has the call", || {
        let failure = gate.snapshot(id(1)).failure;
        assert!(failure.is_none(), "{failure:?}");
        phone.log().contains("Call established")
    });
    phone.press_until("#", || gate.status(id(1)) != CallStatus::Pending);
    assert_eq!(gate.ends(id(1)).1, "");
}

#[test]
fn calls_pass_a_proxy_with_authentication_and_record_route() {
    for (algorithm, transport) in [("MD5", "udp"), ("SHA-256", "udp"), ("MD5", "tcp")] {
        let phone = Phone::start("+14255551212", "");
        let proxy = Proxy::start(algorithm, phone.port());
        let gate = TestGate::start(config(trunk(&proxy.uri(transport)), 60));
        verified(&gate, &phone);
        let log = gate.end();
        assert!(!serde_json::to_string(&log).unwrap().contains(PASSWORD));
        let log = proxy.log();
        assert!(log.contains("AUTHENTICATED INVITE mim"), "{log}");
        assert!(log.contains("IN-DIALOG ACK") && log.contains("IN-DIALOG BYE"), "by the recorded route: {log}");
        assert!(!log.contains("MALFORMED"), "{log}");
    }
}

#[test]
fn the_kamailio_of_the_documents_takes_calls() {
    let phone = Phone::start("+14255551212", "");
    let proxy = Proxy::of_documents(phone.port());
    for transport in ["tcp", "udp"] {
        let mut trunk = trunk(&proxy.uri(transport));
        trunk["domain"] = json!("pbx.contoso.local");
        let gate = TestGate::start(config(trunk, 60));
        verified(&gate, &phone);
        gate.end();
    }
}

#[test]
fn calls_go_through_the_outbound_proxy() {
    let phone = Phone::start("+14255551212", "");
    let proxy = Proxy::start("MD5", phone.port());
    let mut trunk = trunk("sip:pbx.example");
    trunk["outbound_proxy"] = json!(proxy.uri("udp"));
    let gate = TestGate::start(config(trunk, 60));
    verified(&gate, &phone);
    gate.end();
}

#[test]
fn a_wrong_password_is_reported_and_no_phone_rings() {
    let phone = Phone::start("+14255551212", "");
    let proxy = Proxy::start("SHA-256", phone.port());
    let mut trunk = trunk(&proxy.uri("udp"));
    trunk["password"] = json!("wrong");
    let gate = TestGate::start(config(trunk, 60));
    assert_eq!(ending(&gate).unwrap().0, FailureReason::NotConfigured);
    gate.end();
    assert!(!phone.log().contains("Call established"));
}

#[test]
fn a_registration_is_made_at_the_start_and_checked() {
    let proxy = Proxy::start("MD5", 9);
    let mut trunk = trunk(&proxy.uri("udp"));
    trunk["register"] = json!(true);
    let gate = TestGate::start(config(trunk.clone(), 60));
    support::wait_until("it is registered", || proxy.log().contains("AUTHENTICATED REGISTER mim"));
    gate.end();

    trunk["password"] = json!("wrong");
    let refused = TestGate::start(config(trunk, 60));
    let failure = refused.gate().check().remove(0).1.unwrap_err();
    assert!(failure.text().contains("it does not register: the trunk answered 407"), "{failure}");
}

/// What tshark sees on the loopback interface.
struct Capture {
    process: Child,
    folder: TempDir,
}

impl Capture {
    fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = support::tool("tshark", "tshark")
            .args(["-i", "lo", "-f", &format!("udp port {port}"), "-w"])
            .arg(folder.path().join("capture.pcapng"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let capture = Self { process, folder };
        // It says that it captures a moment before it does.
        capture.sees(port, "the capture begins");
        capture
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("capture.pcapng")
    }

    /// Sends a packet with this text until the file has it, and so everything that was sent before.
    fn sees(&self, port: u16, words: &str) {
        support::wait_until("tshark captures", || {
            let _ = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(words.as_bytes(), ("127.0.0.1", port));
            let captured = std::fs::read(self.file()).unwrap_or_default();
            captured.windows(words.len()).any(|window| window == words.as_bytes())
        });
    }

    /// The captured SIP messages: these fields of each.
    fn messages(mut self, port: u16, fields: &[&str]) -> Vec<Vec<String>> {
        self.sees(port, "the capture ends");
        // SAFETY: a signal to a child of this process, which has not been waited for.
        unsafe { libc::kill(self.process.id() as i32, libc::SIGINT) };
        self.process.wait().unwrap();
        let mut tshark = support::tool("tshark", "tshark");
        tshark.arg("-r").arg(self.file());
        tshark.args([
            "-d",
            &format!("udp.port=={port},sip"),
            "-Y",
            "sip",
            "-T",
            "fields",
            "-E",
            "separator=|",
            "-E",
            "occurrence=a",
        ]);
        for field in fields {
            tshark.args(["-e", field]);
        }
        let output = tshark.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    }
}

const FIELDS: [&str; 10] = [
    "sip.Method",
    "sip.Status-Code",
    "sip.Via.branch",
    "sip.CSeq.seq",
    "sip.Call-ID",
    "sip.from.tag",
    "sip.to.tag",
    "sip.Route",
    "_ws.malformed",
    "ip.dsfield.dscp",
];

/// Returns the requests of calls in their order, without retransmissions: each method of a transaction once. OPTIONS are
/// left out.
fn requests(messages: &[Vec<String>]) -> Vec<&Vec<String>> {
    let mut seen = HashSet::new();
    let is_of_call = |message: &&Vec<String>| !message[0].is_empty() && message[0] != "OPTIONS";
    messages.iter().filter(is_of_call).filter(|message| seen.insert((&message[0], &message[2]))).collect()
}

#[test]
fn a_verified_call_has_the_form_of_rfc_3261() {
    let phone = Phone::start("+14255551212", "");
    let proxy = Proxy::start("MD5", phone.port());
    let capture = Capture::start(proxy.port());
    let gate = TestGate::start(config(trunk(&proxy.uri("udp")), 60));
    verified(&gate, &phone);
    gate.end();
    let messages = capture.messages(proxy.port(), &FIELDS);
    assert!(messages.iter().all(|message| message[8].is_empty()), "malformed: {messages:#?}");
    // Only PhoneGate's messages: the proxy's copies have two Via.
    let ours: Vec<_> = requests(&messages).into_iter().filter(|request| !request[2].contains(',')).collect();
    let methods: Vec<_> = ours.iter().map(|request| request[0].as_str()).collect();
    assert_eq!(methods, ["INVITE", "ACK", "INVITE", "ACK", "BYE"], "{messages:#?}");
    let branch = |n: usize| ours[n][2].as_str();
    assert!(ours.iter().all(|request| request[2].starts_with("z9hG4bK")), "RFC 3261, 8.1.1.7");
    assert_eq!(branch(0), branch(1), "the ACK of a rejection belongs to the INVITE's transaction (17.1.1.3)");
    assert_eq!([2, 3, 4].map(branch).into_iter().collect::<HashSet<_>>().len(), 3, "others have their own (13.2.2.4)");
    let sequence: Vec<u32> = ours.iter().map(|request| request[3].parse().unwrap()).collect();
    assert_eq!(sequence, [sequence[0], sequence[0], sequence[0] + 1, sequence[0] + 1, sequence[0] + 2]);
    assert_eq!(ours.iter().map(|request| request[4].as_str()).collect::<HashSet<_>>().len(), 1, "one Call-ID");
    assert!(ours.iter().all(|request| request[9] == "40"), "marked as signalling (RFC 4594): {messages:#?}");
    assert!(ours[3][6] == ours[4][6] && !ours[4][6].is_empty(), "the dialog's tag");
    for request in [ours[3], ours[4]] {
        assert!(request[7].contains(&format!("127.0.0.1:{}", proxy.port())), "the recorded route (12.2.1.1)");
    }
}

#[test]
fn a_cancelled_call_has_the_form_of_rfc_3261() {
    let callee = Callee::start(&[Step::Invite, Step::Answer(180, "Ringing", ""), Step::Cancelled], 1);
    let capture = Capture::start(callee.port);
    let gate = TestGate::start(config(callee.trunk(), 4));
    assert_eq!(ending(&gate).unwrap().0, FailureReason::DeadlinePassed);
    gate.end();
    let port = callee.port;
    callee.finish();
    let messages = capture.messages(port, &FIELDS);
    let ours = requests(&messages);
    let methods: Vec<_> = ours.iter().map(|request| request[0].as_str()).collect();
    assert_eq!(methods, ["INVITE", "CANCEL", "ACK"], "{messages:#?}");
    for request in &ours {
        assert_eq!((&request[2], &request[3]), (&ours[0][2], &ours[0][3]), "of one transaction (9.1, 17.1.1.3)");
        assert_eq!(request[5], ours[0][5], "with one From tag");
    }
    assert!(ours[1][6].is_empty() && !ours[2][6].is_empty(), "CANCEL has the INVITE's To, ACK the answer's");
}
