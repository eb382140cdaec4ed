//! A Redis of a test's own: it can be paused, killed and started again with the same data.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::certificate::{Issued, for_localhost};
use super::ports::free_port;

/// The password of servers that require one. Its `@` is written `%40` in a URL.
pub const PASSWORD: &str = "open@sesame";

/// A Redis server, or a sentinel.
pub struct Redis {
    process: Option<Child>,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    /// The certificates that it presents and trusts, if it requires TLS.
    certificates: Option<Arc<TempDir>>,
    password: Option<&'static str>,
}

impl Redis {
    /// A server without a password.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with these additional settings.
    pub fn with(settings: &[&str]) -> Self {
        Self::prepare().plain().settings(settings).run()
    }

    /// A server that requires a password.
    pub fn with_password() -> Self {
        Self::prepare().plain().asking_for_password().run()
    }

    /// A server that wants TLS and a password. Its certificate is for `localhost`, by an authority of its own.
    pub fn with_tls() -> Self {
        Self::prepare().secure(&certificates()).asking_for_password().run()
    }

    /// A sentinel that watches this master.
    pub fn sentinel_of(master: &Redis, name: &str) -> Self {
        Self::prepare().plain().watching(master, name)
    }

    /// A sentinel that requires TLS, and watches a master that requires it, too.
    pub fn sentinel_with_tls(master: &Redis, name: &str) -> Self {
        Self::prepare().secure(master.certificates()).watching(master, name)
    }

    /// As `sentinel_with_tls`; it also requires the master's password itself.
    pub fn sentinel_with_tls_and_password(master: &Redis, name: &str) -> Self {
        Self::prepare().secure(master.certificates()).asking_for_password().watching(master, name)
    }

    /// Three servers that are a cluster.
    pub fn cluster() -> Vec<Self> {
        Self::cluster_of(Self::with)
    }

    /// As `cluster`, of servers that want TLS and a password. They name each other by the address 127.0.0.1, and their
    /// certificate is for `localhost`.
    pub fn cluster_with_tls() -> Vec<Self> {
        let certificates = certificates();
        Self::cluster_of(|settings| {
            Self::prepare().secure(&certificates).asking_for_password().settings(settings).run()
        })
    }

    fn cluster_of(start: impl Fn(&[&str]) -> Self) -> Vec<Self> {
        let node = |_| {
            let bus = free_port().to_string();
            start(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"])
        };
        let nodes: Vec<_> = (0..3).map(node).collect();
        let addresses: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let created = nodes[0].cli(&[&["--cluster", "create"], &addresses[..], &["--cluster-yes"]].concat());
        assert!(created.contains("All 16384 slots covered"), "{created}");
        super::wait_until("the cluster is ready", || {
            nodes.iter().all(|node| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        });
        nodes
    }

    fn prepare() -> Self {
        Self {
            process: None,
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            arguments: Vec::new(),
            certificates: None,
            password: None,
        }
    }

    fn plain(self) -> Self {
        let port = self.port.to_string();
        self.settings(&["--port", &port])
    }

    fn secure(mut self, certificates: &Arc<TempDir>) -> Self {
        self.certificates = Some(Arc::clone(certificates));
        let port = self.port.to_string();
        let file = |name: &str| path_in(certificates, name);
        let settings = [
            ["--port", "0"],
            ["--tls-port", &port],
            ["--tls-cert-file", &file("server.pem")],
            ["--tls-key-file", &file("server.key")],
            ["--tls-client-cert-file", &file("peer.pem")],
            ["--tls-client-key-file", &file("peer.key")],
            ["--tls-ca-cert-file", &file("trusted.pem")],
            ["--tls-auth-clients", "no"],
            ["--tls-replication", "yes"],
            ["--tls-cluster", "yes"],
        ];
        self.settings(settings.as_flattened())
    }

    fn asking_for_password(mut self) -> Self {
        self.password = Some(PASSWORD);
        self.settings(&["--requirepass", PASSWORD])
    }

    fn watching(mut self, master: &Redis, name: &str) -> Self {
        let login = master.password.map_or_else(String::new, |word| format!("sentinel auth-pass {name} {word}\n"));
        let config = format!(
            "bind 127.0.0.1\ndir {}\nsentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 3000\n{login}",
            self.folder.path().display(),
            master.port
        );
        let file = self.path("sentinel.conf");
        std::fs::write(&file, config).unwrap();
        self.arguments.splice(0..0, [file, "--sentinel".to_owned()]);
        self.restart();
        self
    }

    fn settings(mut self, settings: &[&str]) -> Self {
        self.arguments.extend(settings.iter().map(|&setting| setting.to_owned()));
        self
    }

    fn run(mut self) -> Self {
        let folder = self.path("");
        let common = ["--bind", "127.0.0.1", "--dir", &folder, "--save", "", "--appendonly", "yes"];
        self = self.settings(&common).settings(&["--appendfsync", "always"]);
        self.restart();
        self
    }

    /// A path in its folder.
    fn path(&self, name: &str) -> String {
        path_in(&self.folder, name)
    }

    fn certificates(&self) -> &Arc<TempDir> {
        self.certificates.as_ref().expect("it wants TLS")
    }

    /// The file of the authority that its certificate is by.
    pub fn authority(&self) -> String {
        path_in(self.certificates(), "ca.pem")
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL under which it is reached.
    pub fn url(&self) -> String {
        let (scheme, host) = if self.certificates.is_some() { ("rediss", "localhost") } else { ("redis", "127.0.0.1") };
        let login = if self.password.is_some() { ":open%40sesame@" } else { "" };
        format!("{scheme}://{login}{host}:{}", self.port)
    }

    /// Starts it again, after `kill`.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut command = super::tool("redis-server", "redis-server");
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        super::wait_until("Redis answers", || {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "Redis ended: {}", self.log());
            self.answers()
        });
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        if self.certificates.is_some() {
            return true;
        }
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = [0; 5];
        stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && [b"+PONG", b"-NOAU"].contains(&&answer)
    }

    /// Pauses it, like a machine that is unreachable.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Resumes it.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn signal(&self, signal: i32) {
        let id = self.process.as_ref().expect("it runs").id();
        // SAFETY: a signal to a child of this process, which has not been waited for.
        assert_eq!(unsafe { libc::kill(id as i32, signal) }, 0);
    }

    /// Returns the output of redis-cli for a command.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let mut command: Command = super::tool("redis-cli", "redis-server");
        command.args(["-p", &self.port.to_string()]);
        if self.certificates.is_some() {
            command.args(["--tls", "--cacert", &self.authority()]);
        }
        if let Some(password) = self.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "redis-cli {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }
}

/// Files that servers with TLS share. What they show each other is another certificate than what they show their clients:
/// that one is a server's alone.
fn certificates() -> Arc<TempDir> {
    let Issued { certificate, key, authority } = for_localhost();
    let peer_key = KeyPair::generate().unwrap();
    let peer = CertificateParams::default().self_signed(&peer_key).unwrap().pem();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", &authority);
    write("server.pem", &certificate.pem());
    write("server.key", &key.serialize_pem());
    write("peer.pem", &peer);
    write("peer.key", &peer_key.serialize_pem());
    write("trusted.pem", &(authority + &peer));
    Arc::new(folder)
}

fn path_in(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
