//! Failures that tests inject in debug builds, by `phonegate::failpoint`: `install.fail=make shim` makes that step fail,
//! `install.end=make shim` ends the process there, and `install.library_hash=HASH` replaces the expected hash of the
//! library.

use std::io;

use phonegate::failpoint;

/// The exit code of a process that a failpoint ended.
const EXIT_CODE: i32 = 99;

/// Fails, or ends the process, if a test sets that failpoint for this action and step.
pub(crate) fn hit(action: &str, step: &str) -> io::Result<()> {
    let is_set = |name| failpoint::value(name).is_some_and(|place| place == format!("{action} {step}"));
    if is_set("install.fail") {
        return Err(io::Error::other(format!("fault injected: {action} {step}")));
    }
    if is_set("install.end") {
        // Like a kill: nothing is undone or dropped.
        std::process::exit(EXIT_CODE);
    }
    Ok(())
}

/// Returns the hash of the library that a test expects in place of the real one.
pub(crate) fn expected_library_hash() -> Option<String> {
    failpoint::value("install.library_hash")
}
