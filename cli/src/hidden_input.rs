//! Asks for a secret at the terminal, without showing it.

use std::io;

use console::{Key, Term};
use phonegate::config::Secret;
use phonegate::platform::NoEcho;
use zeroize::Zeroizing;

use crate::output;

/// Maximum length of what is typed, in bytes: longer than any text that is accepted. A longer one is asked for again.
const MAX_BYTES: usize = 8192;

/// Asks for a text twice, until `accept` returns a value for it and both entries are the same. `what` names the text.
/// `accept` may return a problem, which is shown. Returns `None` if the user pressed Esc or Ctrl-C.
///
/// # Errors
/// If standard error is not a terminal, the process has no terminal to read from, or the input ends.
pub(crate) fn ask<T>(what: &str, accept: impl Fn(&str) -> Result<T, String>) -> io::Result<Option<T>> {
    loop {
        let Some(text) = read(&format!("{what} (not shown): "))? else { return Ok(None) };
        let accepted = match accept(&text) {
            Ok(accepted) => accepted,
            Err(problem) => {
                note(&problem);
                continue;
            }
        };
        match read(&format!("{what}, once more: "))? {
            Some(again) if *again == *text => return Ok(Some(accepted)),
            Some(_) => note("the two entries differ; type both again"),
            None => return Ok(None),
        }
    }
}

/// Asks for a secret of a configuration, as [`ask`] does.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_secret(what: &str) -> io::Result<Option<Zeroizing<String>>> {
    ask(what, |text| check_secret(text).map(|()| Zeroizing::new(text.to_owned())))
}

/// Checks that a text can be a secret of a configuration.
///
/// # Errors
/// The problem. It does not show the text.
pub(crate) fn check_secret(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("the secret is empty".to_owned());
    }
    match u64::try_from(text.len()) {
        Ok(length) if length <= Secret::MAX_BYTES => Ok(()),
        _ => Err(too_long()),
    }
}

/// Returns the problem of a secret that is longer than [`Secret::MAX_BYTES`].
pub(crate) fn too_long() -> String {
    format!("the secret is longer than {} bytes", Secret::MAX_BYTES)
}

fn note(problem: &str) {
    output::note(&format!("  {problem}"));
}

/// Shows a prompt on stderr, and reads what is typed until Enter. Returns `None` if the user pressed Esc or Ctrl-C. The
/// terminal is as it was before in either case.
fn read(prompt: &str) -> io::Result<Option<Zeroizing<String>>> {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        return Err(io::Error::other("standard error is not a terminal"));
    }
    loop {
        let typed = {
            let _hidden = NoEcho::begin()?;
            terminal.write_str(prompt)?;
            read_keys(&terminal)
        };
        output::note("");
        match typed? {
            Typed::Text(text) => return Ok(Some(text)),
            Typed::Unknown => note("a key that is not a character was pressed; type all of it again"),
            Typed::Cancelled => return Ok(None),
        }
    }
}

/// What was typed until Enter, Esc or Ctrl-C.
enum Typed {
    Text(Zeroizing<String>),
    /// One of the keys has no known meaning, so it is unknown which characters belong to the text.
    Unknown,
    Cancelled,
}

fn read_keys(terminal: &Term) -> io::Result<Typed> {
    // A longer text would be moved, which would leave a copy in memory.
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES));
    let mut is_known = true;
    loop {
        match terminal.read_key_raw()? {
            Key::Enter if is_known => return Ok(Typed::Text(text)),
            Key::Enter => return Ok(Typed::Unknown),
            Key::Escape | Key::CtrlC => return Ok(Typed::Cancelled),
            Key::Backspace => drop(text.pop()),
            // Ctrl-U.
            Key::Char('\u{15}') => {
                text.clear();
                is_known = true;
            }
            Key::Char(key) if !key.is_control() && text.len() + key.len_utf8() <= MAX_BYTES => text.push(key),
            // The rest of such a sequence arrives as characters. A text that is too long is not cut.
            Key::UnknownEscSeq(_) | Key::Char(_) | Key::Tab => is_known = false,
            // Elsewhere than on Windows, bytes that are not UTF-8.
            Key::Unknown if cfg!(unix) => is_known = false,
            // Keys without a character, such as the arrows.
            _ => {}
        }
    }
}
