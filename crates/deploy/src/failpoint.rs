//! Failures that tests inject by the environment variable `PHONEGATE_FAULT`, in debug builds only. It holds a list
//! separated by commas: `fail make shim` makes that step fail, `end make shim` ends the process there, and
//! `library HASH` replaces the expected hash of the library.

use std::io;

/// The exit code of a process that a failpoint ended.
#[cfg(debug_assertions)]
const EXIT_CODE: i32 = 99;

/// Fails or ends the process if `PHONEGATE_FAULT` says so of this action and step.
pub(crate) fn hit(_action: &str, _step: &str) -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Ok(faults) = std::env::var("PHONEGATE_FAULT") {
        let here = format!("{_action} {_step}");
        let is_set = |effect: &str| faults.split(',').any(|fault| fault == format!("{effect} {here}"));
        if is_set("fail") {
            return Err(io::Error::other(format!("fault injected: {here}")));
        }
        if is_set("end") {
            // Like a kill: nothing is undone or dropped.
            std::process::exit(EXIT_CODE);
        }
    }
    Ok(())
}

/// Returns the hash of the library that a test expects in place of the real one.
pub(crate) fn expected_library_hash() -> Option<String> {
    #[cfg(debug_assertions)]
    if let Ok(faults) = std::env::var("PHONEGATE_FAULT") {
        return faults.split(',').find_map(|fault| fault.strip_prefix("library ")).map(str::to_owned);
    }
    None
}
