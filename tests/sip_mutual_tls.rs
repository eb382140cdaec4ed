//! Trunks that ask for a certificate (mutual TLS).

mod support;

use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use support::gate::TestGate;
use support::sip::{config, ending};
use support::sipp::{Callee, Step, UNTIL_ASKED};
use support::tls::MutualTls;
use tempfile::TempDir;

fn callee() -> Callee {
    let steps = [
        Step::Raw("<recv request=\"OPTIONS\" optional=\"true\"/>\n".to_owned()),
        Step::Invite,
        Step::Answer(180, "Ringing", ""),
        Step::PickUp,
        UNTIL_ASKED,
        Step::Press("#"),
        Step::Receive("BYE"),
    ];
    Callee::over("tcp", &steps, 1)
}

/// A trunk's settings with this certificate and key, whose files are in the folder.
fn trunk(server: &MutualTls, folder: &TempDir, identity: Option<&(String, String)>) -> Value {
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut trunk = json!({
        "type": "sip",
        "trunk": server.uri(),
        "ca_file": write("ca.pem", &server.authority),
        "media_encryption": "off",
    });
    if let Some((certificate, key)) = identity {
        trunk["client_certificate"] = json!(write("client.pem", certificate));
        trunk["client_key"] = json!({ "file": write("client.key", key) });
    }
    trunk
}

#[test]
fn a_trunk_that_requires_a_certificate_gets_it() {
    for version in [&TLS12, &TLS13] {
        let (callee, folder) = (callee(), tempfile::tempdir().unwrap());
        let server = MutualTls::start(callee.port, version);
        let gate = TestGate::start(config(trunk(&server, &folder, Some(&server.client())), 60));
        assert_eq!(ending(&gate), None, "{version:?}");
        gate.end();
        callee.finish();
    }
}
