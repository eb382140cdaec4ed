//! Registrations at a SIP trunk: connections that die, the end of the gate, and the command beside a service.

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::gate::id;
use support::ports::free_port;
use support::sip::{NUMBER, config, ending, gate};
use support::sip_server::{Reply, SipServer, status, verify};

fn server(transport: &'static str, replies: Vec<Reply>) -> SipServer {
    SipServer::start(transport, ([127, 0, 0, 1], free_port()).into(), replies)
}

fn trunk(server: &SipServer) -> Value {
    json!({ "type": "sip", "trunk": server.uri() })
}

fn registering(server: &SipServer) -> Value {
    let mut trunk = trunk(server);
    trunk["username"] = json!("mim");
    trunk["password"] = json!("secret");
    trunk["register"] = json!(true);
    trunk
}

fn removals(server: &SipServer) -> usize {
    server.requests("REGISTER").iter().filter(|request| request.header("Expires") == "0").count()
}

#[test]
fn registration_is_removed_when_the_gate_ends() {
    for transport in ["udp", "tcp"] {
        let server = server(transport, verify());
        let gate = gate(registering(&server));
        let contact = server.receives("REGISTER", 1)[0].header("Contact").to_owned();
        assert_eq!(removals(&server), 0);
        gate.end();
        assert_eq!(removals(&server), 1, "over {transport}, before the end of the gate");
        let requests = server.requests("REGISTER");
        let removal = requests.last().unwrap();
        let bare = |contact: &str| contact.split('>').next().unwrap().to_owned();
        assert_eq!(bare(removal.header("Contact")), bare(&contact));
        assert_eq!(removal.header("Call-ID"), requests[0].header("Call-ID"));
    }
}

#[test]
fn registration_moves_to_a_new_connection_with_its_call_id() {
    for is_reset in [false, true] {
        let server = server("tcp", verify());
        let gate = gate(registering(&server));
        server.receives("REGISTER", 1);
        server.disconnect(is_reset);
        let requests = server.receives("REGISTER", 2);
        assert_ne!(requests[0].from, requests[1].from);
        assert_eq!(requests[0].header("Call-ID"), requests[1].header("Call-ID"));
        // The same request removes the contact of the old connection.
        let old = requests[0].header("Contact").split('>').next().unwrap();
        let is_removed = requests[1].text.lines().any(|line| line.contains(old) && line.contains(";expires=0"));
        assert!(is_removed, "{}", requests[1].text);
        assert_eq!(ending(&gate), None);
        gate.end();
    }
}

#[test]
fn check_and_call_beside_a_service_leave_its_registration_and_port_alone() {
    let server = server("udp", verify());
    let mut trunk = registering(&server);
    let local_port = free_port();
    trunk["local_port"] = json!(local_port);
    let gate = gate(trunk.clone());
    server.receives("REGISTER", 1);
    // A call of the service goes on meanwhile.
    server.reply(vec![status(180), Reply::PickUp]);
    gate.initiate(id(2), "+1 4255551313");
    server.receives("ACK", 1);
    server.reply(verify());
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(trunk, 60);
    config["numbers"] = json!({ "default_country": "US" });
    config["log"] = json!({ "directory": folder.path().join("log") });
    let file = folder.path().join("phonegate.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let phonegate = |arguments: &[&str]| {
        let program = support::target_folder().join("debug/phonegate");
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).args(arguments).env("XDG_STATE_HOME", folder.path().join("state"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    phonegate(&["check"]);
    phonegate(&["call", NUMBER]);
    let own = format!("127.0.0.1:{local_port}");
    let invite = server.requests("INVITE").remove(1);
    assert!(!invite.header("Via").contains(&own), "the command takes another port: {}", invite.text);
    let ours = server.requests("REGISTER").remove(0);
    for request in server.requests("REGISTER") {
        let is_query = request.header("Contact").is_empty();
        let is_refresh = request.header("Call-ID") == ours.header("Call-ID") && request.from == ours.from;
        assert!(is_query || is_refresh, "the command changes no contact: {}", request.text);
        assert_ne!(request.header("Expires"), "0", "nothing is removed");
    }
    // The service is as it was, and still receives the requests in its call.
    assert!(ours.header("Contact").contains(&own), "{}", ours.text);
    server.hang_up(&server.requests("INVITE")[0]);
    let text = gate.ends(id(2)).1;
    assert!(text.contains("The user hung up without a key"), "{text}");
    assert_eq!(ending(&gate), None);
    let invites = server.requests("INVITE");
    assert!(invites.last().unwrap().header("Via").contains(&own), "the service still has its port");
    gate.end();
    assert_eq!(removals(&server), 1);
}
