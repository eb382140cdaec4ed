//! A pseudo-terminal, in which a command asks.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::{EVENT_TIMEOUT, wait_until};

/// A pseudo-terminal in which a command runs.
pub struct Terminal {
    keyboard: File,
    shown: std::sync::mpsc::Receiver<Vec<u8>>,
    text: String,
    /// The bytes of `text` that were waited for.
    seen: usize,
    child: Child,
    /// How the terminal treated input and output at first.
    modes: Option<[libc::tcflag_t; 4]>,
}

impl Terminal {
    /// Runs a command.
    pub fn run(command: &mut Command) -> Self {
        let (mut ours, mut theirs) = (0, 0);
        // SAFETY: both are places for a descriptor, and the other arguments may be null.
        let opened = unsafe {
            libc::openpty(&mut ours, &mut theirs, std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut())
        };
        assert_eq!(opened, 0, "a pseudo-terminal opens: {}", std::io::Error::last_os_error());
        // SAFETY: openpty has just opened both, and nothing else owns them.
        let (ours, theirs) = unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
        // SAFETY: both calls are safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let is_leader = libc::setsid() != -1 && libc::ioctl(0, libc::TIOCSCTTY, 0) != -1;
                if is_leader { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        let modes = modes(&ours);
        let child = command.spawn().unwrap();
        let mut screen = ours.try_clone().unwrap();
        let (sender, shown) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            // Ends in an error when the command has closed its side.
            while let Ok(count) = screen.read(&mut bytes) {
                if count == 0 || sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keyboard: ours, shown, text: String::new(), seen: 0, child, modes }
    }

    /// Waits until this prompt is shown, after those that were waited for before, and the echo is off.
    pub fn asks(&mut self, prompt: &str) {
        self.shows(prompt);
        let keyboard = &self.keyboard;
        wait_until("the terminal does not echo", || modes(keyboard).is_some_and(|modes| modes[3] & libc::ECHO == 0));
    }

    /// Waits for the end of the command. Returns whether the terminal then treats input and output as it did before.
    pub fn is_restored_at_end(&mut self) -> bool {
        self.child.wait().unwrap();
        let now = modes(&self.keyboard);
        now.is_some() && now == self.modes
    }

    /// Waits until this is shown, after what was waited for before.
    pub fn shows(&mut self, text: &str) {
        loop {
            if let Some(at) = self.text[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let bytes = self.shown.recv_timeout(EVENT_TIMEOUT);
            let bytes = bytes.unwrap_or_else(|_| panic!("timed out waiting for {text:?} after {:?}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Types this.
    pub fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for the end of the command. Returns its exit code and output.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        for bytes in self.shown {
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        (status.code(), self.text)
    }
}

/// Returns how a terminal treats input and output: the flags of `termios`.
fn modes(terminal: &File) -> Option<[libc::tcflag_t; 4]> {
    // SAFETY: an all-zero termios is valid, and tcgetattr fills it in.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the place is valid.
    let read = unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut settings) };
    let libc::termios { c_iflag, c_oflag, c_cflag, c_lflag, .. } = settings;
    (read == 0).then_some([c_iflag, c_oflag, c_cflag, c_lflag])
}
