//! Reads a PIN from the terminal without an echo, from a file, or from standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use phonegate::approval::pins::PinRules;
use phonegate::call::PhoneNumber;
use phonegate_approval::secret::Pin;
use zeroize::Zeroizing;

use super::Set;
use crate::error::CommandError;
use crate::hidden_input;

/// Maximum size of the input, in bytes: a PIN, a byte order mark and a line break.
const MAX_BYTES: u64 = 64;

/// Reads the PIN for a number, and checks it. Returns `None` if the user ended the questions.
///
/// # Errors
/// If the PIN cannot be read, or is refused. The error never shows it.
pub(super) fn pin(arguments: &Set, number: &PhoneNumber, rules: PinRules) -> Result<Option<Pin>, CommandError> {
    let accepted_or_why = |text: &str| rules.check(text, number).map_err(|refused| refused.to_string());
    let accepted = |text: &str| accepted_or_why(text).map_err(CommandError::usage);
    match &arguments.pin_file {
        Some(file) => accepted(digits(&from_file(file)?)).map(Some),
        None if arguments.pin_stdin => accepted(digits(&from_stdin()?)).map(Some),
        None => hidden_input::ask(&format!("PIN for {number}"), accepted_or_why).map_err(|error| {
            CommandError::usage(format!("cannot read the PIN from a terminal: {error}"))
                .hint("without a terminal, use --pin-file FILE or --pin-stdin")
        }),
    }
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, CommandError> {
    let failed = |problem: String| CommandError::usage(format!("{}: {problem}", path.display()));
    let file = File::open(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    read(file).map_err(failed)
}

fn from_stdin() -> Result<Zeroizing<String>, CommandError> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(CommandError::usage("standard input is a terminal, which would show the PIN")
            .hint("leave out --pin-stdin: then the PIN is asked for"));
    }
    read(stdin.lock()).map_err(|problem| CommandError::usage(format!("standard input: {problem}")))
}

fn read(source: impl Read) -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = source.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    let is_short = u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_BYTES);
    match std::str::from_utf8(&bytes) {
        Ok(text) if is_short => Ok(Zeroizing::new(text.to_owned())),
        _ => Err("it must contain the digits of one PIN, and nothing else".to_owned()),
    }
}

/// Returns the text without a byte order mark and without the line break at its end.
fn digits(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches(['\r', '\n'])
}
