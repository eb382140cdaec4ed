//! A telephone played by pjsua2, a fourth SIP implementation: `pjsua.py` in this folder, driven line by line.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificate::for_localhost;
use super::ports::{free_port, free_ports};

/// The folder in which `scripts/install-tools test` puts it.
const PACKAGE: &str = "tools/pjsua2-python-2.15.1.post1";

/// A running telephone.
pub struct Phone {
    process: Child,
    commands: ChildStdin,
    events: Arc<Mutex<Vec<Value>>>,
    folder: TempDir,
    port: u16,
}

impl Phone {
    /// Starts the telephone of a number, with settings that `pjsua.py` lists, such as `{"reliable": true}`. It listens
    /// over UDP, TCP and TLS.
    pub fn start(number: &str, settings: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let localhost = for_localhost();
        std::fs::write(file("certificate.pem"), localhost.certificate.pem()).unwrap();
        std::fs::write(file("key.pem"), localhost.key.serialize_pem()).unwrap();
        std::fs::write(file("authority.pem"), localhost.authority).unwrap();
        let port = free_port();
        let mut config = json!({
            "number": number,
            "port": port,
            "rtp_port": free_ports(4),
            "log": file("log"),
            "certificate": file("certificate.pem"),
            "key": file("key.pem"),
        });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let package = super::target_folder().join(PACKAGE);
        assert!(package.exists(), "this test needs {}: scripts/install-tools test", package.display());
        let mut process = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pjsua.py"))
            .arg(config.to_string())
            .env("PYTHONPATH", package)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(file("stderr")).unwrap())
            .spawn()
            .expect("this test needs Python: apt-get install python3");
        let (commands, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let events = Arc::default();
        let writes = Arc::clone(&events);
        // It ends with the process.
        std::thread::spawn(move || read_events(BufReader::new(output), &writes));
        let mut phone = Self { process, commands, events, folder, port };
        super::wait_until("pjsua is ready", || {
            assert!(phone.process.try_wait().unwrap().is_none(), "pjsua ended: {}", phone.log());
            phone.has("ready", &json!({}))
        });
        phone
    }

    /// Its SIP URI over `udp`, `tcp` or `tls`, which listens on the next port.
    pub fn uri(&self, transport: &str) -> String {
        let port = if transport == "tls" { self.port + 1 } else { self.port };
        format!("sip:localhost:{port};transport={transport}")
    }

    /// The port of UDP and TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed its certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Its events of a name so far that have these fields, in their order.
    pub fn events(&self, name: &str, fields: &Value) -> Vec<Value> {
        let fields = fields.as_object().unwrap();
        let is_one = |event: &&Value| event["event"] == name && fields.iter().all(|(key, value)| event[key] == *value);
        self.events.lock().unwrap().iter().filter(is_one).cloned().collect()
    }

    /// Returns whether such an event has happened.
    pub fn has(&self, name: &str, fields: &Value) -> bool {
        !self.events(name, fields).is_empty()
    }

    /// Gives a command, one of those in `pjsua.py`.
    pub fn command(&mut self, what: &str) {
        self.send(&json!({ "do": what }));
    }

    /// Gives a command, and waits until the offer that it sends is answered and the audio has this state.
    pub fn offer(&mut self, what: &str, audio: &str) {
        let before = self.events("media", &json!({})).len();
        self.command(what);
        super::wait_until(what, || {
            assert!(!self.has("error", &json!({})), "{:?}", self.events("error", &json!({})));
            let media = self.events("media", &json!({}));
            media.len() > before && media.last().is_some_and(|event| event["state"] == audio)
        });
    }

    /// Presses a key until the call has ended, for the first time when the prompt was spoken for a second.
    pub fn press_until(&mut self, key: &str, has_ended: impl Fn() -> bool) {
        super::press_until(|| self.send(&json!({ "do": "press", "keys": key })), has_ended);
    }

    /// Returns its log: each message, and what its parts did.
    pub fn log(&self) -> String {
        let read = |name| std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        ["log", "stderr"].map(|name| String::from_utf8_lossy(&read(name)).into_owned()).concat()
    }

    /// How many transactions of this method it has received so far: a message that was sent again is the same one.
    pub fn received(&self, method: &str) -> usize {
        self.transactions(".RX ", method)
    }

    /// How many transactions of this method it has begun so far.
    pub fn sent(&self, method: &str) -> usize {
        self.transactions(".TX ", method)
    }

    fn transactions(&self, way: &str, method: &str) -> usize {
        let log = self.log();
        let start = format!("Request msg {method}/cseq=");
        let sequence = |line: &str| Some(line.split_once(&start)?.1.split_once(' ')?.0.to_owned());
        log.lines().filter(|line| line.contains(way)).filter_map(sequence).collect::<HashSet<_>>().len()
    }

    /// Returns whether it received audio in its last call, after the call.
    pub fn received_audio(&self) -> bool {
        // The last line of what pjsua writes of a call that has ended.
        super::wait_until("pjsua has ended the call", || self.log().contains("RTT msec"));
        let log = self.log();
        let received = log.split("RX pt=").last().and_then(|text| text.split_once("total ")?.1.split_once("pkt"));
        // A large count has a unit: 2.3K.
        received.is_some_and(|(count, _)| count != "0")
    }

    fn send(&mut self, command: &Value) {
        writeln!(self.commands, "{command}").unwrap_or_else(|error| panic!("{error}: {}", self.log()));
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        // It runs until its input ends.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}\n{:?}", self.log(), self.events.lock().unwrap());
        }
    }
}

fn read_events(output: impl BufRead, events: &Mutex<Vec<Value>>) {
    for line in output.lines().map_while(Result::ok) {
        let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        events.lock().unwrap().push(event);
    }
}
