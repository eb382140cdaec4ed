//! The failpoints of installations, in debug builds only. `PHONEGATE_FAULT=install.fail=make shim` makes that step fail,
//! and `install.end=make shim` ends the process there. `library.hash=HASH` replaces the expected hash of the library.

use std::io;

use phonegate_core::failpoint::value;

/// The exit code of a process that a failpoint ended.
const EXIT_CODE: i32 = 99;

/// Fails or ends the process if a failpoint names this action and step.
pub(crate) fn hit(action: &str, step: &str) -> io::Result<()> {
    let here = format!("{action} {step}");
    if value("install.fail").as_ref() == Some(&here) {
        return Err(io::Error::other(format!("fault injected: {here}")));
    }
    if value("install.end").as_ref() == Some(&here) {
        // Like a kill: nothing is undone or dropped.
        std::process::exit(EXIT_CODE);
    }
    Ok(())
}

/// Returns the hash of the library that a test expects in place of the real one.
pub(crate) fn expected_library_hash() -> Option<String> {
    value("library.hash")
}
