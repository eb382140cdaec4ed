//! The host's log callback. No lock is held while it runs. Replacing it waits until no earlier callback is running.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_void};

use parking_lot::{Condvar, Mutex};

use super::ResultCode;
use crate::config::Level;

/// `phonegate_log_callback`.
pub type LogCallback = unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char);

#[derive(Clone, Copy)]
struct Callback {
    function: LogCallback,
    user_data: *mut c_void,
}

// SAFETY: the host promises that its callback and user data may be used on any thread; see the header.
unsafe impl Send for Callback {}

struct State {
    callback: Option<Callback>,
    /// Number of times that the callback was set.
    generation: u64,
    /// The generation of each running callback, one for each thread.
    running: Vec<u64>,
}

static STATE: Mutex<State> = Mutex::new(State { callback: None, generation: 0, running: Vec::new() });
static IDLE: Condvar = Condvar::new();

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether this thread is inside the callback.
pub(super) fn inside() -> bool {
    INSIDE.with(Cell::get)
}

/// Replaces the callback, and waits until no earlier one is running. The new one may run during the wait.
pub(super) fn set(function: Option<LogCallback>, user_data: *mut c_void) -> ResultCode {
    if inside() {
        return ResultCode::InCallback;
    }
    let mut state = STATE.lock();
    state.callback = function.map(|function| Callback { function, user_data });
    state.generation += 1;
    let generation = state.generation;
    while state.running.iter().any(|running| *running < generation) {
        IDLE.wait(&mut state);
    }
    ResultCode::Ok
}

/// Passes a line to the callback, if there is one.
pub(super) fn deliver(level: Level, line: &str) {
    // This cannot fail: lines are JSON, which escapes NUL.
    let Ok(message) = CString::new(line) else { return };
    let (callback, generation) = {
        let mut state = STATE.lock();
        let Some(callback) = state.callback else { return };
        let generation = state.generation;
        state.running.push(generation);
        (callback, generation)
    };
    INSIDE.with(|inside| inside.set(true));
    // SAFETY: the host keeps function and user data valid until `set` has returned, which waits for this call.
    unsafe { (callback.function)(callback.user_data, level as i32, message.as_ptr()) };
    INSIDE.with(|inside| inside.set(false));
    let mut state = STATE.lock();
    if let Some(ended) = state.running.iter().position(|running| *running == generation) {
        state.running.swap_remove(ended);
    }
    drop(state);
    IDLE.notify_all();
}
