//! Recognizes a process that was forked from one in which a gate had started.
//!
//! It has a copy of the gate, but none of its threads: its calls would stay pending for ever, and a lock that another
//! thread held at the fork stays locked. So no export uses the gate there. On Windows there is no fork.

use crate::call::{Failure, FailureReason};

/// Returns why the library cannot be used in a forked process.
pub(super) fn failure() -> Failure {
    let sentence = "This process was forked from one that uses PhoneGate, and lacks its threads: place calls in the first \
                    process, or start PhoneGate only after the fork.";
    Failure::new(FailureReason::Interrupted, sentence)
}

#[cfg(unix)]
mod watch {
    use std::sync::Once;
    use std::sync::atomic::{AtomicBool, Ordering};

    static IS_FORKED: AtomicBool = AtomicBool::new(false);

    /// Lets the children of later forks know that they are forked. The library must be pinned before.
    pub(in crate::abi) fn watch() {
        static WATCHING: Once = Once::new();
        WATCHING.call_once(|| {
            // If there is no memory for it, a forked process is not recognized.
            // SAFETY: the handler only stores a flag, which is allowed after a fork of a process with several threads, and
            // its code stays loaded.
            let _ = unsafe { libc::pthread_atfork(None, None, Some(mark)) };
        });
    }

    /// Returns whether this process was forked after [`watch`].
    pub(in crate::abi) fn is_forked() -> bool {
        IS_FORKED.load(Ordering::Relaxed)
    }

    extern "C" fn mark() {
        IS_FORKED.store(true, Ordering::Relaxed);
    }
}

#[cfg(not(unix))]
mod watch {
    pub(in crate::abi) fn watch() {}

    pub(in crate::abi) fn is_forked() -> bool {
        false
    }
}

pub(super) use watch::{is_forked, watch};
