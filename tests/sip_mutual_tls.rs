//! Trunks that ask for a certificate (mutual TLS).

mod support;

use phonegate::call::FailureReason;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use support::gate::TestGate;
use support::sip::{config, ending};
use support::sipp::{Callee, Step, UNTIL_ASKED};
use support::tls::{MutualTls, unknown_client};
use tempfile::TempDir;

fn callee() -> Callee {
    let steps = [
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

/// With TLS 1.3, the rejection arrives after this side has completed its handshake.
#[test]
fn a_rejected_certificate_is_named_and_no_phone_rings() {
    for version in [&TLS12, &TLS13] {
        for identity in [None, Some(unknown_client())] {
            let (callee, folder) = (callee(), tempfile::tempdir().unwrap());
            let server = MutualTls::start(callee.port, version);
            let mut both = trunk(&server, &folder, identity.as_ref());
            let gate = TestGate::start(config(both.clone(), 60));
            let (reason, text) = ending(&gate).unwrap();
            assert_eq!(reason, FailureReason::CannotPlace);
            assert!(text.contains("TLS: the trunk refused the connection"), "{version:?}: {text}");
            let checked = gate.gate().check().remove(0).1.unwrap_err();
            assert!(checked.text().contains("see `client_certificate`"), "{version:?}: {checked}");
            gate.end();
            // Certainly no phone rang, so the next trunk is asked.
            both["trunk"] = json!([server.uri(), callee.uri()]);
            let gate = TestGate::start(config(both, 60));
            assert_eq!(ending(&gate), None, "{version:?}");
            gate.end();
            callee.finish();
        }
    }
}
