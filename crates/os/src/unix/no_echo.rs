//! A terminal that does not show what is typed.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};

/// Turns off the terminal's echo, line mode and signals until dropped. The terminal is that of standard input, or else
/// that of the process.
///
/// Keys arrive at once, without waiting for Enter, and Ctrl-C arrives as a key. So it also hides what is typed between
/// two reads, and no signal can end the process while the terminal hides its input.
pub struct NoEcho {
    /// The terminal of the process, if standard input is none.
    terminal: Option<File>,
    original: libc::termios,
}

impl NoEcho {
    /// Begins to hide what is typed.
    ///
    /// # Errors
    /// If the process has no terminal.
    pub fn begin() -> io::Result<Self> {
        let terminal = match io::stdin().is_terminal() {
            true => None,
            false => Some(OpenOptions::new().read(true).write(true).open("/dev/tty")?),
        };
        let fd = descriptor(terminal.as_ref());
        let mut settings = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the descriptor is open, and `settings` is a valid place for the answer.
        if unsafe { libc::tcgetattr(fd, settings.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: tcgetattr filled it in.
        let original = unsafe { settings.assume_init() };
        let mut hidden = original;
        hidden.c_lflag &= !(libc::ECHO | libc::ECHONL | libc::ICANON | libc::ISIG);
        if let Some(minimum) = hidden.c_cc.get_mut(libc::VMIN) {
            *minimum = 1;
        }
        if let Some(timeout) = hidden.c_cc.get_mut(libc::VTIME) {
            *timeout = 0;
        }
        set(fd, &hidden)?;
        Ok(Self { terminal, original })
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = set(descriptor(self.terminal.as_ref()), &self.original);
    }
}

fn descriptor(terminal: Option<&File>) -> RawFd {
    terminal.map_or(libc::STDIN_FILENO, AsRawFd::as_raw_fd)
}

/// Applies settings once everything that was written is shown.
fn set(fd: RawFd, settings: &libc::termios) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the settings are those of a terminal, and only read.
    match unsafe { libc::tcsetattr(fd, libc::TCSADRAIN, settings) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
