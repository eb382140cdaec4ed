//! Runs the command in a folder of its own, without environment variables that could change its behaviour.
#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "../../../tests/support/limits.rs"]
pub mod limits;
#[path = "../../../tests/support/ports.rs"]
pub mod ports;
pub mod terminal;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use phonegate::platform::Grant;
use phonegate::store::SqliteStore;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Maximum time that a test waits for an event.
pub const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A number, its masked form, and digits of it that may never be shown.
pub const NUMBER: &str = "+1 4255551212";
pub const MASKED: &str = "+1******1212";
pub const HIDDEN: &str = "555121";

/// A folder with a configuration and the state of the command.
pub struct Place {
    folder: TempDir,
}

/// The result of the command.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// A folder without a configuration.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder with this configuration, which only this user can read.
    pub fn with(config: &Value) -> Self {
        let place = Self::empty();
        let mut file = phonegate::platform::create_private_file(&place.config(), Grant::CurrentUser).unwrap();
        std::io::Write::write_all(&mut file, config.to_string().as_bytes()).unwrap();
        place
    }

    /// A folder with this configuration and an empty store.
    pub fn with_store(config: &Value) -> Self {
        let place = Self::with(config);
        drop(SqliteStore::open(&place.path().join("calls.db")).unwrap());
        place
    }

    /// A folder with the configuration of a simulated phone, which presses this at once, or approves.
    pub fn simulated(press: Option<&str>) -> Self {
        Self::with(&simulated(press, 0))
    }

    /// Replaces the configuration.
    pub fn configure(&self, config: &Value) {
        std::fs::write(self.config(), config.to_string()).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("phonegate.json")
    }

    /// Returns the command, with the configuration in an environment variable.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phonegate"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PHONEGATE_CONFIG", self.config())
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("TMPDIR", self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// Waits until the file of [`at_a_desk`] has this many calls, and returns its text.
    pub fn rings(&self, count: usize) -> String {
        let file = self.path().join("calls.txt");
        wait_for(&format!("{count} lines of calls"), || {
            let text = std::fs::read_to_string(&file).ok()?;
            (text.ends_with('\n') && text.lines().count() == count).then_some(text)
        })
    }

    /// Answers every ringing call in that file: `1;` approves, `2;` and a text refuses.
    pub fn answer(&self, answer: &str) {
        let file = self.path().join("calls.txt");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(";0;"), "{text}");
        std::fs::write(file, text.replace(";0;", &format!(";{answer}"))).unwrap();
    }

    /// Returns the log of the command.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("state/phonegate/phonegate-tool.log")).unwrap()
    }
}

/// Returns a configuration with a simulated phone, which answers after `answer_after_ms` and then presses this at once.
/// With `None`, it approves.
pub fn simulated(press: Option<&str>, answer_after_ms: u64) -> Value {
    let mut config = json!({
        "use": ["phone"],
        "allow_test_backends": true,
        "backends": { "phone": { "type": "simulated", "answer_after_ms": answer_after_ms, "press_after_ms": 0 } },
        "numbers": { "default_country": "US" }
    });
    if let Some(press) = press {
        config["backends"]["phone"]["press"] = json!(press);
    }
    config
}

/// Returns the same configuration without a delay, with a store in the file `calls.db`.
pub fn kept(press: Option<&str>) -> Value {
    let mut config = simulated(press, 0);
    config["store"] = json!({ "type": "sqlite", "path": "calls.db" });
    config
}

/// Returns a configuration with that store, whose calls ring until they are answered in the file `calls.txt`.
pub fn at_a_desk() -> Value {
    let mut config = kept(None);
    config["use"] = json!(["desk"]);
    config["backends"] = json!({ "desk": { "type": "file", "path": "calls.txt" } });
    config
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let code = output.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", output.status));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// Checks the exit code. A failure shows both outputs.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Returns the JSON lines of stdout.
    pub fn records(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Returns the only JSON line of this event.
    #[track_caller]
    pub fn record(&self, event: &str) -> Value {
        let found: Vec<_> = self.records().into_iter().filter(|record| record["event"] == event).collect();
        assert_eq!(found.len(), 1, "{event} in:\n{}", self.stdout);
        found[0].clone()
    }

    /// Returns both outputs.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// A running command. It is killed when it is dropped.
pub struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    seen: String,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout, seen: String::new() }
    }

    /// Reads stdout until a line contains this text.
    pub fn read_until(&mut self, words: &str) -> String {
        let stdout = self.stdout.as_mut().expect("stdout is a pipe");
        loop {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).unwrap();
            self.seen.push_str(&line);
            assert_ne!(read, 0, "stdout ended without {words}:\n{}", self.seen);
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("this test needs kill: apt-get install procps").success());
    }

    /// Closes the pipe of stdout.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Closes the pipe of stderr.
    pub fn close_stderr(&mut self) {
        self.child.stderr = None;
    }

    pub fn wait(mut self) -> Ran {
        if let Some(stdout) = &mut self.stdout {
            stdout.read_to_string(&mut self.seen).unwrap();
        }
        let mut stderr = Vec::new();
        if let Some(pipe) = &mut self.child.stderr {
            pipe.read_to_end(&mut stderr).unwrap();
        }
        let status = self.child.wait().unwrap();
        Output { status, stdout: std::mem::take(&mut self.seen).into_bytes(), stderr }.into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a program that the tests need. If it is missing, fails and says how to install it.
pub fn tool(program: &str, debian_package: &str) -> Command {
    let found = Command::new(program).arg("--version").output();
    assert!(found.is_ok(), "this test needs {program}: apt-get install {debian_package}");
    Command::new(program)
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `find` finds something.
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(start.elapsed() < EVENT_TIMEOUT, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
