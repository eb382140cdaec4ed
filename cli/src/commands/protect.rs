//! `phonegate protect`: encrypts a secret for the configuration.

use std::io::{IsTerminal, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use phonegate::config::Secret;
use phonegate::platform::dpapi;
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::{CommandError, Exit};
use crate::hidden_input;
use crate::output;

/// Maximum size of the input, in bytes: a secret, a byte order mark and a line break.
const MAX_INPUT: u64 = Secret::MAX_BYTES + 5;

const HELP: &str = "\
Prints {\"dpapi\": \"…\"}, with --json or without: put that into phonegate.json in place of the secret. Any program on this
machine can decrypt it, and no other machine can. So the permissions of phonegate.json protect it: see `phonegate doctor`.

Examples:
  phonegate protect                 asks for the secret twice, without showing it
  phonegate protect < secret.txt    reads it from a file, without the line break at the end

Exit codes:
  0    encrypted
  1    Windows could not encrypt it, or this is not Windows
  2    the secret is missing, too long or not UTF-8
  130  ended by Esc or Ctrl-C";

/// The arguments of `phonegate protect`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {}

/// Reads a secret, and prints it encrypted.
pub(crate) fn run() -> Result<Exit, CommandError> {
    if !cfg!(windows) {
        return Err(CommandError::failed("encrypting a secret needs Windows")
            .hint("here, use {\"file\": PATH} with a file that only the account of the service can read"));
    }
    let secret = if std::io::stdin().is_terminal() { ask()? } else { Some(read()?) };
    let Some(secret) = secret else {
        output::note("Cancelled: nothing was encrypted.");
        return Ok(Exit::Interrupted);
    };
    let secret = secret.trim_end_matches(['\r', '\n']);
    hidden_input::check_secret(secret).map_err(CommandError::usage)?;
    let failed = |error: std::io::Error| CommandError::failed(format!("Windows cannot encrypt the secret: {error}"));
    let sealed = dpapi::seal(secret.as_bytes()).map_err(failed)?;
    if *dpapi::open(&sealed).map_err(failed)? != secret.as_bytes() {
        return Err(CommandError::failed("the encrypted secret does not decrypt to the original"));
    }
    output::json_line(&json!({ "dpapi": BASE64_STANDARD.encode(sealed) }));
    Ok(Exit::Done)
}

/// Asks for the secret. Returns `None` if the user ended the questions.
fn ask() -> Result<Option<Zeroizing<String>>, CommandError> {
    hidden_input::ask_secret("Secret").map_err(|error| CommandError::usage(format!("cannot read the secret: {error}")))
}

fn read() -> Result<Zeroizing<String>, CommandError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = std::io::stdin().take(MAX_INPUT + 1).read_to_end(&mut bytes);
    read.map_err(|error| CommandError::usage(format!("cannot read the secret: {error}")))?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(CommandError::usage(hidden_input::too_long()));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| CommandError::usage("the secret is not UTF-8"))?;
    Ok(Zeroizing::new(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()))
}
