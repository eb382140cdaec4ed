//! Alerts reach real receivers once and complete, and nothing is sent to a receiver that is not authenticated.

mod mail;
#[path = "../support/mod.rs"]
mod support;
mod syslog;
mod webhook;

use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use phonegate::alerts::{Alert, AlertKind, Destination, direct};
use phonegate::config;
use serde_json::{Value, json};
use socket2::SockRef;
use support::alerts::{Receiver, Rsyslog, SECRET, alert, build, deliver};
use support::ports::free_port;
use uuid::Uuid;

const NAME: &str = "mim-account";
const PASSWORD: &str = "hush-hush-password";

fn here() -> &'static Path {
    Path::new("")
}

fn users() -> Value {
    json!({ NAME: PASSWORD })
}

/// A mail server's element of `alerts`, with an account unless there is no TLS.
fn smtp(server: &Receiver, tls: &str, password: &str) -> Value {
    let mut smtp = json!({
        "server": "localhost", "port": server.port, "tls": tls,
        "from": "phonegate@contoso.com", "to": ["it@contoso.com", "security@contoso.com"]
    });
    if tls != "none" {
        smtp["username"] = json!(NAME);
        smtp["password"] = json!(password);
        smtp["ca_file"] = json!(server.certificate.authority());
    }
    json!({ "on": ["fraud"], "smtp": smtp })
}

fn webhook(server: &Receiver, format: &str) -> Value {
    let mut webhook = json!({
        "url": format!("https://localhost:{}/hush-hush?sig=hush-hush", server.port),
        "format": format, "ca_file": server.certificate.authority()
    });
    if format == "json" {
        webhook["key"] = json!(SECRET);
    }
    json!({ "on": ["fraud"], "webhook": webhook })
}

fn syslog(server: &Rsyslog, tls: bool) -> Value {
    let mut syslog = json!({ "server": "localhost", "port": server.port, "tls": tls });
    if tls {
        syslog["ca_file"] = json!(server.certificate.authority());
    }
    json!({ "on": ["fraud"], "syslog": syslog })
}

fn built(element: &Value) -> Destination {
    build(element, &json!({}), here()).unwrap()
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let headers = mail["headers"].as_array().unwrap();
    let found: Vec<_> =
        headers.iter().filter(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name)).collect();
    assert_eq!(found.len(), 1, "one header {name} in {headers:?}");
    found[0][1].as_str().unwrap()
}

#[test]
fn a_receiver_whose_certificate_is_not_trusted_gets_nothing() {
    let trusted = support::alerts::Certificate::new();
    for tls in ["starttls", "implicit"] {
        let server = Receiver::mail(tls, users(), &[]);
        let mut element = smtp(&server, tls, PASSWORD);
        for authority in [json!(trusted.authority()), Value::Null] {
            element["smtp"]["ca_file"] = authority;
            let error = deliver(&built(&element), &alert()).unwrap_err();
            assert!(error.to_string().contains("certificate"), "{error}");
        }
        assert_eq!(server.end("session"), [] as [Value; 0]);
    }
    let server = Receiver::webhook(204, SECRET);
    let mut element = webhook(&server, "json");
    element["webhook"]["ca_file"] = json!(trusted.authority());
    let error = deliver(&built(&element), &alert()).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(server.end("path").is_empty());
    let server = Rsyslog::start(true);
    let mut element = syslog(&server, true);
    element["syslog"]["ca_file"] = json!(trusted.authority());
    let error = deliver(&built(&element), &alert()).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    // The next alert that it gets is the first one.
    deliver(&built(&syslog(&server, true)), &Alert { kind: AlertKind::Test, ..alert() }).unwrap();
    assert_eq!(server.messages(1)[0]["msgid"], "test");
}

#[test]
fn a_refused_configuration_is_reported_to_its_own_destinations() {
    let server = Receiver::mail("starttls", users(), &[]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password.txt"), PASSWORD).unwrap();
    let mut element = smtp(&server, "starttls", "");
    element["on"] = json!(["configuration"]);
    element["smtp"]["password"] = json!({ "file": "password.txt" });
    let no_receiver =
        json!({ "on": ["configuration"], "syslog": { "server": "127.0.0.1", "port": free_port(), "tls": false } });
    let path = folder.path().join("phonegate.json");
    std::fs::write(&path, json!({ "use": ["trunk"], "backends": {}, "alerts": [element, no_receiver] }).to_string())
        .unwrap();
    let refusal = config::load(&path, &phonegate::TYPES).unwrap_err();
    let (sender, undelivered) = mpsc::channel();
    let done = move |undelivered| sender.send(undelivered).unwrap();
    let thread = direct::report_refusal(path, refusal, support::EVENT_TIMEOUT, done).unwrap();
    let mail = server.event("mail");
    assert!(header(&mail, "Subject").ends_with(": the configuration was refused"), "{mail}");
    let text = mail["mail"].as_str().unwrap();
    assert!(text.contains("use[0]: there is no backend `trunk`") && text.contains("Every call fails."), "{text}");
    let undelivered = undelivered.recv().unwrap();
    let names: Vec<_> = undelivered.iter().map(|one| one.destination.to_string()).collect();
    assert!(names.len() == 1 && names[0].starts_with("syslog 127.0.0.1:"), "{undelivered:?}");
    thread.join().unwrap();
}

#[test]
fn a_long_text_arrives_cut() {
    let long = Alert { text: "ä".repeat(10_000).into(), ..alert() };
    let cut = format!("{}…", "ä".repeat(1_499));
    let mail = Receiver::mail("starttls", users(), &[]);
    deliver(&built(&smtp(&mail, "starttls", PASSWORD)), &long).unwrap();
    assert!(mail.event("mail")["mail"].as_str().unwrap().starts_with(&format!("{cut}\n")));
    let hook = Receiver::webhook(200, SECRET);
    deliver(&built(&webhook(&hook, "json")), &long).unwrap();
    let body: Value = serde_json::from_str(hook.event("path")["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["text"], cut);
    let log = Rsyslog::start(false);
    deliver(&built(&syslog(&log, false)), &long).unwrap();
    assert!(log.messages(1)[0]["msg"].as_str().unwrap().ends_with(&cut));
}

/// Each kind of destination, at a port of this machine.
fn at_port(port: u16) -> Vec<Value> {
    let smtp = |tls: &str| json!({ "server": "127.0.0.1", "port": port, "tls": tls, "from": "a@contoso.com", "to": ["b@contoso.com"] });
    vec![
        json!({ "on": ["fraud"], "smtp": smtp("starttls") }),
        json!({ "on": ["fraud"], "smtp": smtp("implicit") }),
        json!({ "on": ["fraud"], "smtp": smtp("none") }),
        json!({ "on": ["fraud"], "webhook": { "url": format!("http://127.0.0.1:{port}/hush"), "format": "teams" } }),
        json!({ "on": ["fraud"], "webhook": { "url": format!("https://127.0.0.1:{port}/hush"), "key": SECRET } }),
        json!({ "on": ["fraud"], "syslog": { "server": "127.0.0.1", "port": port, "tls": false } }),
        json!({ "on": ["fraud"], "syslog": { "server": "127.0.0.1", "port": port } }),
    ]
}

/// Connections wait in the queue of the listener, which never reads one.
#[test]
fn a_server_that_never_answers_ends_a_delivery_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for element in at_port(silent.local_addr().unwrap().port()) {
        let destination = built(&element).with_limit(Duration::from_millis(300));
        let error = deliver(&destination, &alert()).unwrap_err();
        assert_eq!(error.to_string(), "the server did not answer within 300ms", "{element}");
        assert!(!error.is_permanent());
    }
}

#[test]
fn a_server_that_dies_after_the_connection_is_no_delivery() {
    for element in at_port(free_port()) {
        let port = element.pointer("/smtp/port").or(element.pointer("/syslog/port")).and_then(Value::as_u64);
        let url = element.pointer("/webhook/url").and_then(Value::as_str).map(|url| url::Url::parse(url).unwrap());
        let port = port.map_or_else(|| url.unwrap().port().unwrap(), |port| port as u16);
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let dying = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            // Ends it with a reset, as a process that is killed with unread data does.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        });
        assert!(deliver(&built(&element), &alert()).is_err(), "{element}");
        dying.join().unwrap();
    }
}

#[test]
fn no_server_is_an_error_that_says_so() {
    for element in at_port(free_port()) {
        let error = deliver(&built(&element), &alert()).unwrap_err().to_string();
        assert!(
            error.contains("connect") && error.contains("refused") && !error.contains("hush"),
            "{element}: {error}"
        );
    }
}

#[test]
fn a_wrong_secret_or_file_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("url.txt"), "http://hooks.contoso.local/hush").unwrap();
    std::fs::write(folder.path().join("user.txt"), "https://bob:hush@hooks.contoso.local/").unwrap();
    std::fs::write(folder.path().join("none.pem"), "none").unwrap();
    let smtp = |key: &str, value: Value| {
        let mut smtp = json!({ "server": "mail.contoso.local", "from": "a@contoso.com", "to": ["b@contoso.com"] });
        smtp["username"] = json!("mim");
        smtp["password"] = json!("hush");
        smtp[key] = value;
        json!({ "on": ["fraud"], "smtp": smtp })
    };
    let webhook = |url: Value, key: Value| json!({ "on": ["fraud"], "webhook": { "url": url, "key": key } });
    for (element, problem) in [
        (smtp("password", json!({ "file": "missing.txt" })), "alerts[0].smtp.password: "),
        (smtp("ca_file", json!("none.pem")), "alerts[0].smtp.ca_file: "),
        (webhook(json!({ "file": "url.txt" }), json!(SECRET)), "alerts[0].webhook.url: must begin with https://"),
        (webhook(json!({ "file": "user.txt" }), json!(SECRET)), "alerts[0].webhook.url: must not have a user"),
        (webhook(json!("https://hooks.contoso.local/"), json!("hush-hush-hush-hush")), "alerts[0].webhook.key: is not"),
        (json!({ "on": ["fraud"], "syslog": { "server": "a", "ca_file": "none.pem" } }), "alerts[0].syslog.ca_file: "),
    ] {
        let error = build(&element, &json!({}), folder.path()).unwrap_err();
        assert!(error.to_string().starts_with(problem), "{error}");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}

#[test]
fn a_fingerprint_depends_on_the_destination_only() {
    let fingerprint = |element: &Value| built(element).fingerprint().to_owned();
    let smtp = json!({ "server": "mail.contoso.local", "from": "a@contoso.com", "to": ["b@contoso.com"] });
    let first = json!({ "on": ["fraud"], "smtp": smtp });
    let changed = |pointer: &str, value: Value| {
        let mut element = first.clone();
        *element.pointer_mut(pointer).unwrap() = value;
        fingerprint(&element)
    };
    assert_eq!(fingerprint(&first).len(), 16);
    assert_eq!(changed("/on", json!(["lockout"])), fingerprint(&first));
    let mut with_account = first.clone();
    with_account["smtp"]["username"] = json!("mim");
    with_account["smtp"]["password"] = json!("hush");
    assert_eq!(fingerprint(&with_account), fingerprint(&first));
    for other in [
        changed("/smtp/server", json!("other.contoso.local")),
        changed("/smtp/to", json!(["c@contoso.com"])),
        changed("/smtp/from", json!("c@contoso.com")),
        fingerprint(&json!({ "on": ["fraud"], "syslog": { "server": "mail.contoso.local", "port": 587 } })),
    ] {
        assert_ne!(other, fingerprint(&first));
    }
}

#[test]
fn a_destination_wants_its_kinds_and_every_test() {
    let destination = built(&json!({ "on": ["fraud", "backend_up"], "syslog": { "server": "192.0.2.1" } }));
    for (kind, wants) in [
        (AlertKind::Fraud, true),
        (AlertKind::Lockout, false),
        (AlertKind::CapReached, false),
        (AlertKind::BackendDown, false),
        (AlertKind::BackendUp, true),
        (AlertKind::Configuration, false),
        (AlertKind::StoreDown, false),
        (AlertKind::Test, true),
    ] {
        assert_eq!(destination.wants(kind), wants, "{kind:?}");
    }
    assert_eq!(destination.name(), "syslog 192.0.2.1:6514");
}

/// A copy of an alert that was delivered already, but whose answer was lost.
#[test]
fn a_copy_of_an_alert_can_be_known() {
    let mail = Receiver::mail("starttls", users(), &[]);
    let hook = Receiver::webhook(200, SECRET);
    for _ in 0..2 {
        deliver(&built(&smtp(&mail, "starttls", PASSWORD)), &alert()).unwrap();
        deliver(&built(&webhook(&hook, "json")), &alert()).unwrap();
    }
    deliver(&built(&webhook(&hook, "json")), &Alert { id: Uuid::new_v4(), ..alert() }).unwrap();
    let mails = mail.end("mail");
    assert_eq!(mails.len(), 2);
    assert_eq!(header(&mails[0], "Message-ID"), header(&mails[1], "Message-ID"));
    let ids: Vec<_> = hook.end("path").iter().map(|request| request["headers"]["webhook-id"].clone()).collect();
    assert!(ids.len() == 3 && ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
}
