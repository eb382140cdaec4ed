//! Reads metrics in Prometheus' text format with Prometheus' own programs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// Reads the text with Prometheus' library for Python, and prints each sample as a line of JSON.
const READER: &str = r#"
import json, sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(json.dumps({"name": sample.name, "labels": sample.labels, "value": sample.value, "type": family.type}))
"#;

/// The samples of a file or a page.
#[derive(Debug)]
pub struct Figures(pub Vec<Value>);

impl Figures {
    /// Reads the samples of a well-formed text.
    pub fn parse(text: &str) -> Self {
        // The system's own Python, for which Debian packages the library.
        let mut python = Command::new("/usr/bin/python3");
        let output = feed(python.args(["-c", READER]), text);
        assert!(
            output.0,
            "this test needs apt-get install python3-prometheus-client; or in the text is a fault:\n{}",
            output.1
        );
        Self(output.1.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// Reads the samples of a file.
    pub fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(path).unwrap())
    }

    /// A sample's value, of which there is one.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Value = labels.iter().map(|(label, value)| ((*label).to_owned(), json!(value))).collect();
        let mut found = self.0.iter().filter(|sample| sample["name"] == name && sample["labels"] == labels);
        let (first, second) = (found.next(), found.next());
        assert!(second.is_none(), "{name}{labels} is there twice");
        first.unwrap_or_else(|| panic!("there is no {name}{labels}"))["value"].as_f64().unwrap()
    }

    /// The sum of all samples of a name.
    pub fn sum(&self, name: &str) -> f64 {
        self.0.iter().filter(|sample| sample["name"] == name).map(|sample| sample["value"].as_f64().unwrap()).sum()
    }

    /// Those that are PhoneGate's.
    pub fn own(self) -> Self {
        Self(self.0.into_iter().filter(|sample| sample["name"].as_str().unwrap().starts_with("phonegate_")).collect())
    }
}

/// Returns what Prometheus' own tool reports about a text that would not work or is unusual.
pub fn lint(text: &str) -> String {
    let mut promtool = super::tool("promtool", "prometheus");
    let (is_well, told) = feed(promtool.args(["check", "metrics"]), text);
    if is_well { String::new() } else { told }
}

/// Returns what Prometheus rejects in a file of this kind: `config` or `rules`.
pub fn faults_of(kind: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.yml");
    std::fs::write(&file, text).unwrap();
    let mut promtool = super::tool("promtool", "prometheus");
    let (is_well, told) = feed(promtool.args(["check", kind]).arg(&file), "");
    if is_well { String::new() } else { told }
}

/// Runs a command that reads a text. Returns whether it succeeded, and its output.
fn feed(command: &mut Command, text: &str) -> (bool, String) {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
}

/// A running node_exporter that shows the files of a folder alone.
pub struct NodeExporter {
    child: Child,
    address: String,
}

impl NodeExporter {
    /// Starts one, on a free port of 127.0.0.1.
    pub fn start(folder: &Path) -> Self {
        let address = super::ports::unused_address().to_string();
        let child = super::tool("prometheus-node-exporter", "prometheus-node-exporter")
            .args(["--collector.disable-defaults", "--collector.textfile"])
            .arg(format!("--collector.textfile.directory={}", folder.display()))
            .arg(format!("--web.listen-address={address}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let exporter = Self { child, address };
        super::wait_until("node_exporter answers", || exporter.scrape().is_some());
        exporter
    }

    /// Returns the page that it serves now. Waits until it answers.
    pub fn scrape(&self) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        page.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
