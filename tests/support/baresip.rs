//! A callee played by baresip: a telephone that picks up by itself, and presses keys on command.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use tempfile::TempDir;

use super::ports::free_port;
use super::sip::tone;

/// A running telephone.
pub struct Phone {
    process: Child,
    folder: TempDir,
    port: u16,
    control: u16,
}

impl Phone {
    /// Starts the telephone of a number, with settings of its account such as `audio_codecs=PCMA/8000/1`.
    pub fn start(number: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, port, control) = (folder.path().display(), free_port(), free_port());
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("server.pem", &(signing_key.serialize_pem() + &cert.pem()));
        write("ca.pem", &cert.pem());
        write("contacts", "");
        write("accounts", &format!("<sip:{number}@127.0.0.1>;regint=0;answermode=auto;{settings}\n"));
        tone(&folder.path().join("in.wav"), 440.0, 60.0);
        let modules = ["g711", "aufile", "sndfile", "srtp", "uuid", "account"];
        let modules: String = modules.iter().map(|name| format!("module {name}.so\n")).collect();
        write(
            "config",
            &format!(
                "sip_listen 127.0.0.1:{port}\nsip_certificate {path}/server.pem\nnet_interface 127.0.0.1\n\
                 module_path {}\n{modules}module_app menu.so\nmodule_app ctrl_tcp.so\n\
                 ctrl_tcp_listen 127.0.0.1:{control}\naudio_source aufile,{path}/in.wav\nsnd_path {path}\n\
                 rtp_ports 50000-59000\n",
                super::shared_library("baresip/modules", "baresip-core").display()
            ),
        );
        let process = super::tool("baresip", "baresip-core")
            .args(["-f", &path.to_string(), "-v"])
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(folder.path().join("stdout.log")).unwrap())
            .stderr(std::fs::File::create(folder.path().join("stderr.log")).unwrap())
            .spawn()
            .unwrap();
        let phone = Self { process, folder, port, control };
        super::wait_until("baresip is ready", || TcpStream::connect(("127.0.0.1", control)).is_ok());
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
    pub fn authority(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Presses a key until the call has ended, for the first time when the prompt was spoken for a second.
    pub fn press_until(&self, key: &str, has_ended: impl Fn() -> bool) {
        let press = || {
            let answer = self.press(key);
            assert!(answer.contains("\"ok\":true") || has_ended(), "{answer}");
        };
        super::press_until(press, &has_ended);
    }

    /// Presses a key, and returns what baresip answers.
    fn press(&self, key: &str) -> String {
        let command = json!({ "command": "sndcode", "params": key }).to_string();
        let mut control = TcpStream::connect(("127.0.0.1", self.control)).unwrap();
        control.write_all(format!("{}:{command},", command.len()).as_bytes()).unwrap();
        control.set_read_timeout(Some(super::EVENT_TIMEOUT)).unwrap();
        // baresip also reports the events of its calls there, before and within the response.
        let (mut told, mut part) = (String::new(), [0; 1024]);
        while !(told.contains("\"response\":true") && told.ends_with("},")) {
            let length = control.read(&mut part).unwrap();
            assert_ne!(length, 0, "baresip has not answered: {told}");
            told += &String::from_utf8_lossy(&part[..length]);
        }
        told
    }

    /// Returns what it wrote about its calls.
    pub fn log(&self) -> String {
        ["stdout.log", "stderr.log"]
            .map(|name| String::from_utf8_lossy(&std::fs::read(self.folder.path().join(name)).unwrap()).into_owned())
            .concat()
    }

    /// Returns the samples that it received in its last call. Waits for the end of the call.
    pub fn heard(&self) -> Vec<i16> {
        super::wait_until("baresip has ended the call", || self.log().contains("terminated"));
        let files = self.folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path());
        let file =
            files.filter(|path| path.to_string_lossy().ends_with("dec.wav")).max().expect("it recorded the call");
        hound::WavReader::open(file).unwrap().samples::<i16>().map(Result::unwrap).collect()
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        // It runs until it is killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
