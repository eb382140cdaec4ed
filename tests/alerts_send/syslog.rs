//! Syslog.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;

use phonegate::alerts::{Alert, AlertKind};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::support::alerts::{Receiver, Rsyslog, alert, deliver};
use super::{built, support, syslog};

#[test]
fn a_syslog_message_arrives_once_and_complete() {
    for tls in [false, true] {
        let server = Rsyslog::start(tls);
        let quoted = Alert { backend: Some(r#"tr"u\n]k"#.into()), ..alert() };
        let destination = built(&syslog(&server, tls));
        deliver(&destination, &quoted).unwrap();
        deliver(&destination, &Alert { kind: AlertKind::Test, ..alert() }).unwrap();
        let messages = server.messages(2);
        let [message, last] = messages.as_slice() else { panic!("each alert arrives once: {messages:?}") };
        assert_eq!((&message["msgid"], &last["msgid"]), (&json!("fraud"), &json!("test")));
        assert_eq!(message["pri"], "81");
        assert_eq!(message["timestamp"], "2026-11-30T01:33:20.000000Z");
        assert_eq!((&message["hostname"], &message["app-name"]), (&json!("WEB1"), &json!("PhoneGate")));
        assert_eq!(message["procid"], std::process::id().to_string());
        assert_eq!(
            message["structured-data"],
            "[phonegate@32473 id=\"01234567-89ab-4def-8123-456789abcdef\" kind=\"fraud\" number=\"+1******1212\" \
             call=\"6f9619ff-8b86-d011-b42d-00c04fc964ff\" backend=\"tr\\\"u\\\\n\\]k\"]"
        );
        let text = message["msg"].as_str().unwrap().trim_start_matches('\u{feff}');
        assert_eq!(text, "a user reported fraud: Zoë's phone reported fraud. Find out who began the request.");
    }
}

#[test]
fn rsyslog_receives_alerts_as_the_documents_say() {
    let server = Rsyslog::of_documents();
    deliver(&built(&syslog(&server, true)), &alert()).unwrap();
    let line = server.lines(1).remove(0);
    assert!(line.contains(" WEB1 PhoneGate ") && line.contains(" fraud [phonegate@32473 id="), "{line}");
}

/// An attacker in the network who has held back the message can end the TCP connection, but not the TLS session.
#[test]
fn a_syslog_server_that_does_not_end_tls_is_no_delivery() {
    let certificate = support::certificate::for_localhost();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&authority, &certificate.authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certificate.key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.certificate.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), tcp);
        let mut message = String::new();
        tls.read_to_string(&mut message).unwrap();
        // TCP ends without the end of TLS.
        message
    });
    let element = json!({ "on": ["fraud"], "syslog": {
        "server": "localhost", "port": port, "ca_file": authority.path()
    } });
    let error = deliver(&built(&element), &alert()).unwrap_err();
    assert!(error.to_string().contains("ended the connection early"), "{error}");
    assert!(serving.join().unwrap().contains("a user reported fraud"));
}

#[test]
fn a_server_that_answers_is_no_syslog_server() {
    let server = Receiver::mail("none", Value::Null, &[]);
    let element = json!({ "on": ["fraud"], "syslog": { "server": "127.0.0.1", "port": server.port, "tls": false } });
    let error = deliver(&built(&element), &alert()).unwrap_err();
    assert!(error.to_string().contains("not a syslog server"), "{error}");
}
