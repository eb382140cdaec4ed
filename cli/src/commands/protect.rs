//! `phonegate protect`: seals a secret for the configuration.

use std::io::{IsTerminal, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use phonegate::platform::dpapi;
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::{CommandError, Exit};
use crate::output;

/// What the library takes.
const MAX_BYTES: usize = 4096;

const HELP: &str = "\
Examples:
  phonegate protect                        asks for the secret twice, and shows nothing of it
  phonegate protect < secret.txt           takes it from a file; a line break at its end does not count

It prints {\"dpapi\": \"…\"}: put that into phonegate.json in place of the secret. It opens on this machine alone, for
every program that may read it: the permissions of phonegate.json guard it here (see `phonegate doctor`).

Exit codes:
  0  sealed
  1  Windows could not seal it, or this is not Windows
  2  there is no secret, or it cannot be one";

/// The arguments of `phonegate protect`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {}

/// Reads a secret, and prints it sealed.
pub(crate) fn run() -> Result<Exit, CommandError> {
    if !cfg!(windows) {
        let text =
            "sealing needs Windows; here, use {\"file\": PATH} with a file that only the service's account can read";
        return Err(CommandError::failed(text.to_owned()));
    }
    let secret = if std::io::stdin().is_terminal() { ask()? } else { read()? };
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(CommandError::usage("the secret is empty"));
    }
    let failed = |error: std::io::Error| CommandError::failed(format!("Windows cannot seal: {error}"));
    let sealed = dpapi::seal(secret.as_bytes()).map_err(failed)?;
    if *dpapi::open(&sealed).map_err(failed)? != secret.as_bytes() {
        return Err(CommandError::failed("what was sealed does not open as what it was".to_owned()));
    }
    output::json_line(&json!({ "dpapi": BASE64_STANDARD.encode(sealed) }));
    Ok(Exit::Done)
}

fn ask() -> Result<Zeroizing<String>, CommandError> {
    let ask = |prompt| {
        let typed = rpassword::prompt_password(prompt);
        typed.map(Zeroizing::new).map_err(|error| CommandError::usage(format!("cannot read the secret: {error}")))
    };
    let secret = ask("Secret: ")?;
    if secret.len() > MAX_BYTES {
        return Err(too_long());
    }
    if *ask("Once more: ")? != *secret {
        return Err(CommandError::usage("the two are not the same; nothing was sealed"));
    }
    Ok(secret)
}

fn read() -> Result<Zeroizing<String>, CommandError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = std::io::stdin().take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| CommandError::usage(format!("cannot read the secret: {error}")))?;
    if bytes.len() > MAX_BYTES {
        return Err(too_long());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| CommandError::usage("the secret is not UTF-8"))?;
    Ok(Zeroizing::new(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()))
}

fn too_long() -> CommandError {
    CommandError::usage(format!("the secret is longer than {MAX_BYTES} bytes"))
}
