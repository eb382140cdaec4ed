//! A host's process: it places one call through the built library, and can be killed or paused at any moment.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A process that places one call, waits for its end, and prints it.
pub struct Host {
    process: Child,
    words: Lines<BufReader<ChildStdout>>,
}

impl Host {
    /// Starts one with the `phonegate.json` of this folder, and a state of its own there.
    pub fn start(folder: &Path, id: &str, number: &str) -> Self {
        let mut process = Command::new(super::place_call())
            .arg(super::built_library())
            .args([number, id])
            .env("PHONEGATE_CONFIG", folder.join("phonegate.json"))
            .env("XDG_STATE_HOME", folder.join(format!("state-{id}")))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, words }
    }

    /// Waits until the library has logged this event.
    pub fn logs(&mut self, event: &str) {
        let words = format!("\"event\":\"{event}\"");
        let mut lines = self.words.by_ref().map_while(Result::ok);
        assert!(lines.any(|line| line.contains(&words)), "it logs {event}");
    }

    /// Waits for its end, and returns what it says then: `Verified`, or `Failed` and the library's text.
    pub fn last_words(&mut self) -> String {
        self.words.by_ref().map_while(Result::ok).last().expect("it says how its call ended")
    }

    /// Waits until it has ended, and returns whether it reported success.
    pub fn succeeds(&mut self) -> bool {
        self.process.wait().unwrap().success()
    }

    /// Pauses it, as when its machine is suspended.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Resumes it.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child of this process, which has not been waited for.
        assert_eq!(unsafe { libc::kill(self.process.id() as i32, signal) }, 0);
    }

    /// Sends SIGKILL after this many milliseconds.
    pub fn kill_after(self, ms: u64) {
        std::thread::sleep(std::time::Duration::from_millis(ms));
        drop(self);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
