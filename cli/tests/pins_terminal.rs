//! A PIN that is typed at a terminal is asked for twice, and never shown.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use serde_json::json;
use support::{MASKED, NUMBER, Place, kept, wait_until};

const PIN: &str = "739104";

/// A terminal in which a command runs.
struct Terminal {
    keyboard: File,
    shown: std::sync::mpsc::Receiver<Vec<u8>>,
    text: String,
    child: Child,
}

impl Terminal {
    fn run(command: &mut Command) -> Self {
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
        Self { keyboard: ours, shown, text: String::new(), child }
    }

    /// Waits until this prompt is shown and the echo is off.
    fn asks(&mut self, prompt: &str) {
        while !self.text.contains(prompt) {
            let bytes = self.shown.recv_timeout(support::EVENT_TIMEOUT);
            let bytes = bytes.unwrap_or_else(|_| panic!("timed out waiting for {prompt} after {:?}", self.text));
            self.text.push_str(&String::from_utf8(bytes).unwrap());
        }
        let fd = self.keyboard.as_raw_fd();
        wait_until("the terminal does not echo", || {
            // SAFETY: an all-zero termios is valid, and tcgetattr fills it in.
            let mut settings: libc::termios = unsafe { std::mem::zeroed() };
            // SAFETY: the descriptor is open, and the place is valid.
            let read = unsafe { libc::tcgetattr(fd, &mut settings) };
            read == 0 && settings.c_lflag & libc::ECHO == 0
        });
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for the end of the command. Returns its exit code and output.
    fn ends(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        for bytes in self.shown {
            self.text.push_str(&String::from_utf8(bytes).unwrap());
        }
        (status.code(), self.text)
    }
}

fn place() -> Place {
    let mut config = kept(None);
    config["approval"] = json!({ "pin": { "pepper": "not-a-real-pepper-0123456789abcdef" } });
    Place::with_store(&config)
}

/// Runs `pins set`, types these texts, and returns the exit code and the output.
fn set(place: &Place, first: &str, second: Option<&str>) -> (Option<i32>, String) {
    let mut terminal = Terminal::run(place.command(&["pins", "set", NUMBER]).env("TERM", "xterm"));
    terminal.asks(&format!("PIN for {MASKED}: "));
    terminal.types(&format!("{first}\r"));
    if let Some(second) = second {
        terminal.asks("Repeat the PIN: ");
        terminal.types(&format!("{second}\r"));
    }
    terminal.ends()
}

fn pins(place: &Place) -> usize {
    place.run(&["pins", "list", "--json"]).exits(0).records().len()
}

#[test]
fn a_typed_pin_is_asked_for_twice_and_never_shown() {
    let place = place();
    let (code, shown) = set(&place, PIN, Some(PIN));
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains(&format!("The PIN of {MASKED} is set.")), "{shown}");
    for digits in [PIN, "739", "104"] {
        assert!(!shown.contains(digits), "{digits} in {shown:?}");
    }
    assert_eq!(pins(&place), 1);
}

#[test]
fn two_different_pins_set_none() {
    let place = place();
    let (code, shown) = set(&place, PIN, Some("739105"));
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("the two PINs differ; no PIN was set"), "{shown}");
    assert!(!shown.contains("7391"), "{shown}");
    assert_eq!(pins(&place), 0);
}

#[test]
fn a_refused_pin_is_not_asked_for_again() {
    let place = place();
    let (code, shown) = set(&place, "2345", None);
    assert_eq!(code, Some(2), "{shown}");
    assert!(!shown.contains("2345") && !shown.contains("Repeat"), "{shown}");
    assert_eq!(pins(&place), 0);
}

/// A terminal shows what is typed into standard input.
#[test]
fn standard_input_that_is_a_terminal_is_refused() {
    let place = place();
    let terminal = Terminal::run(&mut place.command(&["pins", "set", NUMBER, "--pin-stdin"]));
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("leave out --pin-stdin"), "{shown}");
}

/// As under a scheduler, which has no terminal.
#[test]
fn without_a_terminal_the_error_names_the_options() {
    let place = place();
    let mut command = place.command(&["pins", "set", NUMBER]);
    // SAFETY: setsid is safe between fork and exec.
    unsafe { command.pre_exec(|| if libc::setsid() == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }) };
    let ran = support::Ran::from(command.output().unwrap()).exits(2);
    assert!(ran.stderr.contains("use --pin-file FILE or --pin-stdin"), "{}", ran.stderr);
}
