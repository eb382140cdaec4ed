//! Catches panics, so that none crosses the boundary or writes to the host's stderr.
//!
//! A panic becomes an ordinary, logged error: the hook logs where it happened, and the guard returns a result.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use super::global;

#[cfg(not(panic = "unwind"))]
compile_error!("PhoneGate must be built with panic = \"unwind\": a host must outlive a defect in it");

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body`. Returns `None` if it panicked; the hook has passed the panic to `global::log_panic`.
pub(super) fn catch<T>(body: impl FnOnce() -> T) -> Option<T> {
    guarded(None, || Some(body()))
}

/// Runs the body of an export. A panic in it is logged, and `failed` is returned.
pub(super) fn guarded<T>(failed: T, body: impl FnOnce() -> T) -> T {
    hook_panics();
    // A thread-local without a destructor exists as long as its thread.
    let result = INSIDE.with(|inside| {
        let outer = inside.replace(true);
        let result = catch_unwind(AssertUnwindSafe(body));
        inside.set(outer);
        result
    });
    // Dropping a panic's payload may itself panic.
    result.unwrap_or_else(|payload| {
        std::mem::forget(payload);
        failed
    })
}

/// Logs panics in exports and on PhoneGate's threads, and passes all others to the previous hook. It changes only the
/// copy of the standard library that is linked into this library.
fn hook_panics() {
    static HOOKED: Once = Once::new();
    // Setting the hook on a thread that panics would be a second panic.
    if HOOKED.is_completed() || std::thread::panicking() {
        return;
    }
    HOOKED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            let ours = INSIDE.try_with(Cell::get).unwrap_or(false)
                || std::thread::current().name().is_some_and(|name| name.starts_with("phonegate"));
            match info.location() {
                Some(place) if ours => global::log_panic(&format!("a panic at {}:{}", place.file(), place.line())),
                _ if ours => global::log_panic("a panic at an unknown place"),
                _ => before(info),
            }
        }));
    });
}
