//! A Redis of a test's own: it can be paused, killed and started again with the same data.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::certificate::{Localhost, for_localhost};
use super::ports::free_port;

/// The password of servers that want one; it is written `%40` in a URL.
pub const PASSWORD: &str = "open@sesame";

/// A Redis server, or a sentinel.
pub struct Redis {
    process: Option<Child>,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    is_tls: bool,
    password: Option<&'static str>,
}

impl Redis {
    /// A server without a password.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with these settings besides.
    pub fn with(settings: &[&str]) -> Self {
        Self::prepare().plain().settings(settings).run()
    }

    /// A server that wants a password.
    pub fn with_password() -> Self {
        let mut redis = Self::prepare().plain().settings(&["--requirepass", PASSWORD]);
        redis.password = Some(PASSWORD);
        redis.run()
    }

    /// A server that wants TLS and a password. Its certificate is for `localhost`, by an authority of its own.
    pub fn with_tls() -> Self {
        let redis = Self::prepare();
        let Localhost { certificate, key, authority } = for_localhost();
        let write = |name: &str, text: &str| std::fs::write(redis.folder.path().join(name), text).unwrap();
        write("ca.pem", &authority);
        write("server.pem", &certificate.pem());
        write("server.key", &key.serialize_pem());
        let file = |name: &str| redis.path(name);
        let port = redis.port.to_string();
        let settings = [
            ["--port", "0"],
            ["--tls-port", &port],
            ["--tls-cert-file", &file("server.pem")],
            ["--tls-key-file", &file("server.key")],
            ["--tls-ca-cert-file", &file("ca.pem")],
            ["--tls-auth-clients", "no"],
            ["--requirepass", PASSWORD],
        ];
        let mut redis = redis.settings(settings.as_flattened());
        (redis.is_tls, redis.password) = (true, Some(PASSWORD));
        redis.run()
    }

    /// A sentinel that watches this master.
    pub fn sentinel_of(master: &Redis, name: &str) -> Self {
        let mut redis = Self::prepare();
        let config = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 3000\n",
            redis.port,
            redis.folder.path().display(),
            master.port
        );
        let file = redis.path("sentinel.conf");
        std::fs::write(&file, config).unwrap();
        redis.arguments = vec![file, "--sentinel".to_owned()];
        redis.restart();
        redis
    }

    fn prepare() -> Self {
        Self {
            process: None,
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            arguments: Vec::new(),
            is_tls: false,
            password: None,
        }
    }

    fn plain(self) -> Self {
        let port = self.port.to_string();
        self.settings(&["--port", &port])
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

    /// A path in its folder, such as that of `ca.pem`, the authority of its certificate.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL under which it is reached.
    pub fn url(&self) -> String {
        let (scheme, host) = if self.is_tls { ("rediss", "localhost") } else { ("redis", "127.0.0.1") };
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
        if self.is_tls {
            return true;
        }
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = [0; 5];
        stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && [b"+PONG", b"-NOAU"].contains(&&answer)
    }

    /// Lets it stand still, as a machine does that is out of reach.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it go on.
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

    /// What redis-cli says of a command.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let mut command: Command = super::tool("redis-cli", "redis-server");
        let output = command.args(["-p", &self.port.to_string()]).args(arguments).output().unwrap();
        assert!(output.status.success(), "redis-cli {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
