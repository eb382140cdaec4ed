//! The connection to Twilio: TLS, proxies, addresses, and their settings.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use phonegate::backend::MayRing;
use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::approval::verified;
use support::backend::{TestBackend, call};
use support::certificate::for_localhost;
use support::dns::NameServer;
use support::ports::unused_address;
use support::twilio::{ACCOUNT, About, FLOW, KEY, SECRET, TOKEN, Twilio, tls};
use tempfile::NamedTempFile;

const NUMBER: &str = "+1 4255551212";

/// A stand-in behind TLS, reached without a proxy.
fn with_tls(twilio: &Twilio) -> (u16, NamedTempFile) {
    with_environment("", "");
    tls::with_tls(twilio)
}

fn at(twilio: &Twilio, base_url: String) -> Value {
    let mut settings = twilio.backend();
    settings["base_url"] = json!(base_url);
    settings
}

#[test]
fn an_authority_is_trusted_only_if_it_is_configured() {
    let twilio = Twilio::start();
    let (port, authority) = with_tls(&twilio);
    let settings = at(&twilio, format!("https://localhost:{port}"));
    let refused = TestBackend::new(&settings).refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::CannotPlace));
    assert!(refused.failure.text().contains("certificate"), "{}", refused.failure);
    assert_eq!(twilio.seen(About::Start).len(), 0);
    let line = TestBackend::with_network(&settings, &json!({ "ca_file": authority.path() })).unwrap();
    let reference = line.place(1, 1, NUMBER).unwrap();
    assert_eq!(line.follow(&reference), verified());
}

#[test]
fn the_ca_file_of_a_backend_replaces_that_of_the_network() {
    let twilio = Twilio::start();
    let (port, authority) = with_tls(&twilio);
    let another = NamedTempFile::new().unwrap();
    std::fs::write(&another, for_localhost().authority).unwrap();
    let line = |own: &Path, network: &Path| {
        let mut settings = at(&twilio, format!("https://localhost:{port}"));
        settings["ca_file"] = json!(own);
        TestBackend::with_network(&settings, &json!({ "ca_file": network }))
    };
    // The file of the network is not even read.
    for network in [another.path(), Path::new("nowhere.pem")] {
        let line = line(authority.path(), network).unwrap();
        assert_eq!(line.follow(&line.place(1, 1, NUMBER).unwrap()), verified());
    }
    let refused = line(another.path(), authority.path()).unwrap().refused(NUMBER);
    assert!(refused.failure.text().contains("certificate"), "{}", refused.failure);
    let error = line(Path::new("/nowhere.pem"), authority.path()).err().unwrap().to_string();
    assert!(error.starts_with("backends.line.ca_file: /nowhere.pem: "), "{error}");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let twilio = Twilio::start();
    let (port, authority) = with_tls(&twilio);
    let settings = at(&twilio, format!("https://127.0.0.1:{port}"));
    let line = TestBackend::with_network(&settings, &json!({ "ca_file": authority.path() })).unwrap();
    assert_eq!(line.refused(NUMBER).may_ring, MayRing::No);
    assert_eq!(twilio.seen(About::Start).len(), 0);
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let settings = Twilio::start().backend();
    for text in [Some(""), Some("MIIB"), None] {
        let file = NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => file.close().unwrap(),
        }
        let error = TestBackend::with_network(&settings, &json!({ "ca_file": path })).err().unwrap().to_string();
        assert!(error.starts_with(&format!("network.ca_file: {}: ", path.display())), "{error}");
    }
}

#[test]
fn an_unusable_ca_file_is_refused_by_name() {
    let settings = Twilio::start().backend();
    let long = NamedTempFile::new().unwrap();
    long.as_file().set_len(4_000_001).unwrap();
    for (path, problem) in
        [(Path::new("/dev/null"), "is not a regular file"), (long.path(), "is longer than 4000000 bytes")]
    {
        let error = TestBackend::with_network(&settings, &json!({ "ca_file": path })).err().unwrap().to_string();
        assert!(error.starts_with(&format!("network.ca_file: {}: {problem}", path.display())), "{error}");
    }
}

#[test]
fn an_unreachable_host_is_reported_without_personal_data() {
    let twilio = Twilio::start();
    let no_tls = twilio.base_url.replace("http", "https");
    with_environment("", "");
    for base_url in [no_tls, "https://studio.invalid".to_owned()] {
        let refused = TestBackend::new(&at(&twilio, base_url)).refused(NUMBER);
        let text = refused.failure.text();
        assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::CannotPlace), "{text}");
        assert!(text.starts_with("Twilio cannot be reached: "), "{text}");
        for hidden in [FLOW, "Executions", "555", TOKEN] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}

/// A look-up keeps a thread until the name server answers, and the process has few threads for all that blocks.
#[test]
fn a_silent_name_server_keeps_few_threads_busy() {
    let dns = NameServer::start(Vec::new());
    dns.fall_silent();
    with_environment("", "");
    let twilio = Twilio::start();
    let hosts = (0..20).map(|n| format!("https://studio-{n}.example"));
    let backends: Vec<_> = hosts.map(|host| TestBackend::new(&at(&twilio, host))).collect();
    let calls: Vec<_> = (1..=20).map(|n| call(n, 1, NUMBER)).collect();
    let placed = backends.iter().zip(&calls).map(|(backend, call)| backend.backend.place(call, &|_| {}));
    for placed in backends[0].runtime.block_on(join_all(placed)) {
        assert_eq!(placed.unwrap_err().may_ring, MayRing::No);
    }
    let asked: Vec<_> = dns.asked().into_iter().filter(|name| name.starts_with("studio-")).collect();
    // One that ends may let another one begin.
    assert!((1..=6).contains(&asked.len()), "two look-ups at once: {asked:?}");
}

/// A proxy that connects every tunnel to one port, and records the hosts that were requested.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut client, log) = (stream.unwrap(), Arc::clone(&log));
                std::thread::spawn(move || {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        client.read_exact(&mut byte).unwrap();
                        head.push(byte[0]);
                    }
                    log.lock().unwrap().push(String::from_utf8(head).unwrap().lines().next().unwrap().to_owned());
                    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                    let (mut from, mut back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut from, &mut back));
                    let _ = std::io::copy(&mut server, &mut client);
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Sets the proxy of the environment, which may be empty, and the hosts that are reached without it.
fn with_environment(proxy: &str, exceptions: &str) {
    for (variable, value) in [("HTTPS_PROXY", proxy), ("NO_PROXY", exceptions)] {
        // SAFETY: nextest gives each test a process of its own; the stand-ins' threads read no environment.
        unsafe { std::env::set_var(variable, value) };
    }
    for variable in ["https_proxy", "no_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        // SAFETY: as above.
        unsafe { std::env::remove_var(variable) };
    }
}

/// A backend whose address is reachable only through a proxy.
fn behind_a_proxy(twilio: &Twilio) -> Value {
    at(twilio, format!("https://{}", tls::BEHIND_A_PROXY))
}

#[test]
fn the_environments_proxy_is_used_without_a_configured_one() {
    let twilio = Twilio::start();
    twilio.install(&json!({ "approval": { "method": "pound" } }));
    let (port, authority) = with_tls(&twilio);
    let proxy = Proxy::to(port);
    with_environment(&proxy.address, "");
    let line =
        TestBackend::with_network(&behind_a_proxy(&twilio), &json!({ "ca_file": authority.path(), "proxy": null }))
            .unwrap();
    assert_eq!(line.follow(&line.place(1, 1, NUMBER).unwrap()), verified());
    assert!(proxy.asked().iter().all(|line| line.starts_with("CONNECT studio.invalid:443 ")), "{:?}", proxy.asked());
    let words = line.runtime.block_on(line.backend.check()).unwrap();
    assert!(words.ends_with(&format!("through the proxy {} (HTTPS_PROXY)", proxy.address)), "{words}");
}

#[test]
fn no_proxy_and_the_configuration_override_the_environment() {
    let twilio = Twilio::start();
    let (port, authority) = with_tls(&twilio);
    let (wrong, right) = (Proxy::to(port), Proxy::to(port));
    let line = |settings, proxy: Value| {
        TestBackend::with_network(settings, &json!({ "ca_file": authority.path(), "proxy": proxy })).unwrap()
    };
    let verified = |line: TestBackend| assert_eq!(line.follow(&line.place(1, 1, NUMBER).unwrap()), verified());

    let settings = behind_a_proxy(&twilio);
    with_environment(&wrong.address, "contoso.local,studio.invalid");
    assert_eq!(line(&settings, json!(null)).refused(NUMBER).may_ring, MayRing::No);
    with_environment(&wrong.address, "");
    assert_eq!(line(&settings, json!("none")).refused(NUMBER).may_ring, MayRing::No);
    verified(line(&settings, json!(right.address)));
    assert_eq!((wrong.asked().len(), right.asked().is_empty()), (0, false));
}

#[test]
fn an_invalid_proxy_of_the_environment_is_refused_by_name() {
    with_environment("http://me:hunter2@", "");
    let settings = at(&Twilio::start(), "https://studio.twilio.com".to_owned());
    let error = TestBackend::with_network(&settings, &json!({})).err().unwrap().to_string();
    assert!(error.contains("HTTPS_PROXY") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_configured_proxy_is_used_and_its_password_not_shown() {
    let closed_port = unused_address();
    let twilio = Twilio::start();
    twilio.install(&json!({ "approval": { "method": "pound" } }));
    let (port, authority) = with_tls(&twilio);
    let proxy = Proxy::to(port);
    let line = |proxy: &str| {
        let proxy = format!("http://bob:hush-hush@{proxy}");
        let network = json!({ "ca_file": authority.path(), "proxy": proxy });
        TestBackend::with_network(&behind_a_proxy(&twilio), &network).unwrap()
    };
    let used = line(proxy.address.trim_start_matches("http://"));
    assert_eq!(used.follow(&used.place(1, 1, NUMBER).unwrap()), verified());
    assert!(!proxy.asked().is_empty());
    let words = used.runtime.block_on(used.backend.check()).unwrap();
    assert!(words.ends_with(&format!("through the proxy {} (network.proxy)", proxy.address)), "{words}");

    let line = line(&closed_port.to_string());
    let refused = line.refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::CannotPlace));
    assert!(!refused.failure.text().contains("hush"), "{}", refused.failure);
}

/// A proxy would see the credentials and the codes, and its own machine at this address.
#[test]
fn a_service_of_this_machine_is_reached_without_the_proxy() {
    let twilio = Twilio::start();
    twilio.install(&json!({ "approval": { "method": "pound" } }));
    let (port, authority) = with_tls(&twilio);
    let proxy = Proxy::to(port);
    for base_url in [twilio.base_url.clone(), format!("https://localhost:{port}")] {
        let network = json!({ "ca_file": authority.path(), "proxy": proxy.address });
        let line = TestBackend::with_network(&at(&twilio, base_url), &network).unwrap();
        assert_eq!(line.follow(&line.place(1, 1, NUMBER).unwrap()), verified());
        let words = line.runtime.block_on(line.backend.check()).unwrap();
        assert!(!words.contains("proxy"), "{words}");
    }
    assert_eq!(proxy.asked().len(), 0);
}

#[test]
fn an_invalid_proxy_is_refused_without_its_password() {
    let settings = Twilio::start().backend();
    let error =
        TestBackend::with_network(&settings, &json!({ "proxy": "http://me:hunter2@" })).err().unwrap().to_string();
    assert!(error.starts_with("network.proxy: ") && !error.contains("hunter2"), "{error}");
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let mut good = Twilio::start().backend();
    good.as_object_mut().unwrap().remove("auth_token");
    (good["api_key_sid"], good["api_key_secret"]) = (json!(KEY), json!(SECRET));
    assert!(TestBackend::with_network(&good, &json!({})).is_ok());
    let short = "FW0000000000000000000000000000000";
    for (key, value, at, words) in [
        ("account_sid", json!("AC1"), "account_sid", "AC and 32 hexadecimal digits"),
        ("account_sid", json!(KEY), "account_sid", "AC and 32 hexadecimal digits"),
        ("api_key_sid", json!(ACCOUNT), "api_key_sid", "SK and 32 hexadecimal digits"),
        ("api_key_sid", json!(null), "", "either `api_key_sid` and `api_key_secret`, or `auth_token`"),
        ("api_key_secret", json!(null), "", "either `api_key_sid` and `api_key_secret`, or `auth_token`"),
        ("auth_token", json!(TOKEN), "", "and not both"),
        ("flow_sid", json!(short), "flow_sid", "FW and 32 hexadecimal digits"),
        ("flow_sid", json!(format!("{short}/")), "flow_sid", "FW and 32 hexadecimal digits"),
        ("from", json!("14255550100"), "from", "E.164"),
        ("from", json!("+1 4255550100"), "from", "E.164"),
        ("from", json!("+04255550100"), "from", "E.164"),
        ("base_url", json!("http://studio.twilio.com"), "base_url", "https://"),
        ("base_url", json!("http://127.0.0.1.example"), "base_url", "https://"),
        ("base_url", json!("ftp://localhost"), "base_url", "https://"),
        ("base_url", json!("https://me:hunter2@studio.twilio.com"), "base_url", "nothing else"),
        ("base_url", json!("studio.twilio.com"), "base_url", "not a URL"),
    ] {
        let mut settings = good.clone();
        settings[key] = value.clone();
        let error = TestBackend::with_network(&settings, &json!({})).err().unwrap_or_else(|| panic!("{key}: {value}"));
        let text = error.to_string();
        let place = if at.is_empty() { "backends.line: ".to_owned() } else { format!("backends.line.{at}: ") };
        assert!(text.starts_with(&place) && text.contains(words), "{text}");
        for hidden in ["hunter2", SECRET, TOKEN] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}
