//! Reads a secret that is typed at the terminal and not shown.

use std::io;

use console::{Key, Term};
use phonegate::platform::NoEcho;
use zeroize::Zeroizing;

use crate::output;

/// Maximum length of what is typed, in bytes. Further keys are ignored.
const MAX_BYTES: usize = 8192;

/// Shows a prompt on stderr, and reads what is typed until Enter. Returns `None` if the user pressed Esc or Ctrl-C. The
/// terminal is as it was before in either case.
///
/// # Errors
/// If standard error is not a terminal, the process has no terminal to read from, or the input ends.
pub(crate) fn read(prompt: &str) -> io::Result<Option<Zeroizing<String>>> {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        return Err(io::Error::other("standard error is not a terminal"));
    }
    let typed = {
        let _hidden = NoEcho::begin()?;
        terminal.write_str(prompt)?;
        read_keys(&terminal)
    };
    output::note("");
    typed
}

fn read_keys(terminal: &Term) -> io::Result<Option<Zeroizing<String>>> {
    // A longer text would be moved, which would leave a copy in memory.
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES));
    loop {
        match terminal.read_key_raw()? {
            Key::Enter => return Ok(Some(text)),
            Key::Escape | Key::CtrlC => return Ok(None),
            Key::Backspace => drop(text.pop()),
            // Ctrl-U.
            Key::Char('\u{15}') => text.clear(),
            Key::Char(key) if !key.is_control() && text.len() + key.len_utf8() <= MAX_BYTES => text.push(key),
            _ => {}
        }
    }
}
