//! Receivers of alerts: a mail server (aiosmtpd), a webhook (Python, with the library `standardwebhooks`) and a syslog server
//! (rsyslog), each in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use phonegate::alerts::{Alert, AlertKind, DeliveryError, Destination};
use phonegate::call::CallId;
use phonegate::config::{AlertConfig, ConfigError, NetworkConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::macros::datetime;
use uuid::Uuid;

use super::certificate::for_localhost;
use super::ports::free_port;
use super::wait_until;

/// The folder in which `scripts/install-tools test` puts the library that checks signatures.
const STANDARD_WEBHOOKS: &str = "tools/standardwebhooks-1.1.0";

/// The secret that webhooks are signed with.
pub const SECRET: &str = "whsec_aHVzaC1odXNoLWh1c2gtaHVzaC1odXNoLWh1c2g=";

/// An alert with every part.
pub fn alert() -> Alert {
    Alert {
        id: Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef),
        kind: AlertKind::Fraud,
        at: datetime!(2026-11-30 01:33:20 UTC).into(),
        node: "WEB1".into(),
        number: Some("+1******1212".into()),
        call: Some(CallId::parse("6f9619ff-8b86-d011-b42d-00c04fc964ff").unwrap()),
        backend: Some("trunk".into()),
        text: "Zoë's phone reported fraud.\nFind out who began the request.".into(),
    }
}

/// Builds a destination from an element of `alerts`. Relative paths lie in `base`.
pub fn build(element: &Value, network: &Value, base: &Path) -> Result<Destination, ConfigError> {
    let config: AlertConfig = serde_json::from_value(element.clone()).unwrap();
    let network: NetworkConfig = serde_json::from_value(network.clone()).unwrap();
    Destination::build(0, &config, &network, base)
}

/// Delivers an alert, by a runtime of its own.
pub fn deliver(destination: &Destination, alert: &Alert) -> Result<(), DeliveryError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(destination.deliver(alert))
}

/// A certificate for `localhost`, in files.
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// A new one, of an authority that no system trusts.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issued = for_localhost();
        std::fs::write(folder.path().join("certificate.pem"), issued.certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), issued.key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("authority.pem"), issued.authority).unwrap();
        Self { folder }
    }

    /// The file of the authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.file("authority.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A receiver that a Python program plays, which prints what it gets as lines of JSON.
pub struct Receiver {
    process: Child,
    pub port: u16,
    pub certificate: Certificate,
    events: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
}

impl Receiver {
    /// A mail server that offers TLS as `tls` says, with accounts unless there are none.
    pub fn mail(tls: &str, users: Value, refuse: &[&str]) -> Self {
        Self::mail_server(json!({ "tls": tls, "users": users, "refuse": refuse, "silent": false }))
    }

    /// A mail server without accounts that never answers QUIT.
    pub fn mail_without_quit() -> Self {
        Self::mail_server(json!({ "tls": "none", "users": Value::Null, "refuse": [], "silent": true }))
    }

    fn mail_server(settings: Value) -> Self {
        // Debian's Python, whose package it is.
        let mut python = Command::new("/usr/bin/python3");
        let found = python.args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        assert!(found.is_ok_and(|found| found.success()), "this test needs aiosmtpd: apt-get install python3-aiosmtpd");
        Self::start(Command::new("/usr/bin/python3"), "mail.py", settings)
    }

    /// A webhook over HTTPS that answers with this status.
    pub fn webhook(status: u16, secret: &str) -> Self {
        let package = super::target_folder().join(STANDARD_WEBHOOKS);
        assert!(package.exists(), "this test needs {}: scripts/install-tools test", package.display());
        let mut python = super::tool("python3", "python3");
        python.env("PYTHONPATH", package);
        Self::start(python, "webhook.py", json!({ "status": status, "secret": secret }))
    }

    fn start(mut python: Command, script: &str, mut settings: Value) -> Self {
        let certificate = Certificate::new();
        let port = free_port();
        settings["port"] = json!(port);
        settings["certificate"] = json!(certificate.file("certificate.pem"));
        settings["key"] = json!(certificate.file("key.pem"));
        let mut process = python
            .arg(super::project_folder().join("tests/support/alerts").join(script))
            .arg(settings.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let events: Arc<Mutex<Vec<Value>>> = Arc::default();
        let heard = Arc::clone(&events);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        let receiver = Self { process, port, certificate, events, reader: Some(reader) };
        receiver.event("ready");
        receiver
    }

    /// Waits for an event with this key, and returns the first.
    pub fn event(&self, key: &str) -> Value {
        wait_until(&format!("the receiver reports `{key}`"), || !self.events_with(key).is_empty());
        self.events_with(key).remove(0)
    }

    /// Ends the receiver. Returns all events with this key.
    pub fn end(mut self, key: &str) -> Vec<Value> {
        self.kill();
        self.reader.take().unwrap().join().unwrap();
        self.events_with(key)
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The events with this key so far.
    fn events_with(&self, key: &str) -> Vec<Value> {
        self.events.lock().unwrap().iter().filter(|event| event.get(key).is_some()).cloned().collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A syslog server, rsyslog, which writes the parts of each message as a line of JSON.
pub struct Rsyslog {
    process: Child,
    pub port: u16,
    pub certificate: Certificate,
}

impl Rsyslog {
    /// Starts one that takes messages over plain TCP, or over TLS.
    pub fn start(tls: bool) -> Self {
        let certificate = Certificate::new();
        let port = free_port();
        let driver = match tls {
            true => r#"StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon""#,
            false => "",
        };
        let properties = ["pri", "timestamp", "hostname", "app-name", "procid", "msgid", "structured-data", "msg"];
        let properties = properties.map(|name| {
            let date = if name == "timestamp" { "dateFormat=\"rfc3339\"" } else { "" };
            format!("property(name=\"{name}\" outname=\"{name}\" format=\"jsonf\" {date})")
        });
        let config = format!(
            r#"
            global(
                defaultNetstreamDriverCAFile="FOLDER/authority.pem" defaultNetstreamDriverCertFile="FOLDER/certificate.pem"
                defaultNetstreamDriverKeyFile="FOLDER/key.pem"
            )
            module(load="imtcp" {driver})
            input(type="imtcp" address="127.0.0.1" port="{port}")
            template(name="parts" type="list") {{
                constant(value="{{") {properties} constant(value="}}\n")
            }}
            action(type="omfile" file="FOLDER/received" template="parts")
            "#,
            properties = properties.join(" constant(value=\",\") "),
        );
        Self::with_config(&config, port, certificate)
    }

    /// Starts one as docs/operations.md says. Its messages are no JSON.
    pub fn of_documents() -> Self {
        let text = std::fs::read_to_string(super::project_folder().join("docs/operations.md")).unwrap();
        let (_, example) = text.split_once("```rsyslog\n").unwrap();
        let port = free_port();
        let mut config = example.split("```").next().unwrap().to_owned();
        for (there, here) in [
            ("/etc/rsyslog.d/contoso-ca.pem", "FOLDER/authority.pem"),
            ("/etc/rsyslog.d/syslog.pem", "FOLDER/certificate.pem"),
            ("/etc/rsyslog.d/syslog.key", "FOLDER/key.pem"),
            ("/var/log/phonegate-alerts.log", "FOLDER/received"),
            ("\"6514\"", &format!("\"{port}\"")),
        ] {
            assert!(config.contains(there), "{there} in {config}");
            config = config.replace(there, here);
        }
        Self::with_config(&config, port, Certificate::new())
    }

    /// Starts one with this configuration, in which FOLDER is its folder.
    fn with_config(config: &str, port: u16, certificate: Certificate) -> Self {
        let folder = certificate.folder.path().display().to_string();
        let own = "global(workDirectory=\"FOLDER\" processInternalMessages=\"off\")\n";
        std::fs::write(certificate.file("rsyslog.conf"), format!("{own}{config}").replace("FOLDER", &folder)).unwrap();
        // It is installed in a folder that is only in root's path.
        let program = "/usr/sbin/rsyslogd";
        assert!(Path::new(program).exists(), "this test needs {program}: apt-get install rsyslog rsyslog-openssl");
        let process = Command::new(program)
            .arg("-n")
            .arg("-f")
            .arg(certificate.file("rsyslog.conf"))
            .arg("-i")
            .arg(certificate.file("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(certificate.file("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { process, port, certificate };
        wait_until("rsyslog listens", || {
            let log = std::fs::read_to_string(server.certificate.file("log")).unwrap();
            assert!(server.process.try_wait().unwrap().is_none(), "rsyslog ended: {log}");
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        server
    }

    /// Waits until there are as many messages, and returns the parts of each.
    pub fn messages(&self, count: usize) -> Vec<Value> {
        self.lines(count).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until there are as many lines, and returns them.
    pub fn lines(&self, count: usize) -> Vec<String> {
        let read = || std::fs::read_to_string(self.certificate.file("received")).unwrap_or_default();
        wait_until("the messages are written", || read().lines().count() >= count);
        read().lines().map(str::to_owned).collect()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
