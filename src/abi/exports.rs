//! The exported functions. Each reads the caller's pointers, asks the gate and returns a number, inside the guard.
#![allow(non_snake_case, reason = "the names are the host's")]

use std::ffi::{c_char, c_void};
use std::time::Duration;

use serde_json::{Map, Value};

use super::callback::{self, LogCallback};
use super::fork::{self, is_forked};
use super::global::{self, REGISTRY, StartError};
use super::guard::guarded;
use super::text::{self, BadText, Buffer};
use super::{ABI_VERSION, ResultCode};
use crate::call::{CallEvent, CallId, CallStatus, Failure, FailureReason};
use crate::clock::{Deadline, Moment};
use crate::config::Level;
use crate::failpoint;
use crate::gate::{self, CallRequest, Gate};
use crate::telemetry::LogEntry;

/// The delivery attributes that name the language of a call, in either case.
const LANGUAGE_ATTRIBUTES: [&str; 2] = ["language", "locale"];

/// See `include/phonegate.h`.
///
/// # Safety
/// Each pointer is NULL or NUL-terminated text that does not change during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn InitiateCall(
    phone_number: *const c_char,
    request_id: *const c_char,
    delivery_attributes: *const c_char,
) -> i32 {
    if is_forked() {
        return CallStatus::Failed as i32;
    }
    guarded(CallStatus::Failed as i32, || {
        // SAFETY: the caller's promise.
        let id = unsafe { text::read_bytes(request_id, text::MAX_WORD) };
        // SAFETY: the caller's promise.
        let number = unsafe { text::read(phone_number, text::MAX_WORD) };
        // SAFETY: the caller's promise.
        let attributes = unsafe { text::read(delivery_attributes, text::MAX_ATTRIBUTES) };
        let id = match call_id(id) {
            Ok(id) => id,
            Err(failure) => return refuse_nameless(&failure) as i32,
        };
        let status = guarded_call(id, || {
            failpoint::hit("export.InitiateCall");
            initiate(id, number, attributes)
        });
        status as i32
    })
}

/// See `include/phonegate.h`.
///
/// # Safety
/// The pointer is NULL or NUL-terminated text that does not change during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GetCallStatus(call_id: *const c_char) -> i32 {
    if is_forked() {
        return CallStatus::Failed as i32;
    }
    guarded(CallStatus::Failed as i32, || {
        failpoint::hit("export.GetCallStatus");
        // SAFETY: the caller's promise.
        let id = match self::call_id(unsafe { text::read_bytes(call_id, text::MAX_WORD) }) {
            Ok(id) => id,
            Err(failure) => return refuse_nameless(&failure) as i32,
        };
        // Inside the log callback a wait would block the log.
        let ask = |gate: &Gate| if callback::inside() { gate.status_at_once(id) } else { gate.status(id) };
        let status = global::status_without_gate(id).map_or_else(|| global::with_gate(ask), Ok);
        let without_gate = || global::snapshot_without_gate(id).map_or(CallStatus::Failed, |known| known.status);
        status.unwrap_or_else(|_| without_gate()) as i32
    })
}

/// See `include/phonegate.h`.
///
/// # Safety
/// `call_id` is NULL or NUL-terminated text that does not change during the call; `buffer` is NULL or writable for
/// `capacity` bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GetFailureMessage(
    call_id: *const c_char,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the caller's promise.
    let checked = unsafe { Buffer::new(buffer, capacity, needed) };
    // SAFETY: the caller's promise; used only if a panic took the first one.
    let spare = unsafe { Buffer::new(buffer, capacity, needed) };
    let result = guarded(None, || {
        let (buffer, id) = match checked {
            Ok(buffer) if !call_id.is_null() => (buffer, call_id),
            _ => return Some(ResultCode::InvalidArgument),
        };
        if is_forked() {
            return Some(buffer.write(&global::messages().text(&fork::failure())));
        }
        failpoint::hit("export.GetFailureMessage");
        // SAFETY: the caller's promise.
        Some(buffer.write(&failure_message(unsafe { text::read_bytes(id, text::MAX_WORD) })))
    });
    match (result, spare) {
        (Some(result), _) => result.code(),
        (None, Ok(spare)) => {
            spare.write(defect().text());
            ResultCode::Internal.code()
        }
        (None, Err(result)) => result.code(),
    }
}

/// See `include/phonegate.h`.
///
/// # Safety
/// `config_path` is NULL or NUL-terminated text that does not change during the call; `error` is NULL or writable for
/// `capacity` bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PhoneGateInitialize(
    config_path: *const c_char,
    error: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    guarded(ResultCode::Internal.code(), || {
        // SAFETY: the caller's promise.
        let error = match unsafe { Buffer::new(error, capacity, needed) } {
            Ok(error) => error,
            Err(result) => return result.code(),
        };
        if is_forked() {
            error.write(fork::failure().text());
            return ResultCode::Forked.code();
        }
        failpoint::hit("export.PhoneGateInitialize");
        // SAFETY: the caller's promise.
        let path = match unsafe { text::read(config_path, text::MAX_PATH) } {
            Ok(path) => Some(path.into()),
            Err(BadText::Null) => None,
            Err(bad) => {
                error.write(&format!("The path {}.", bad.describe()));
                return ResultCode::from(bad).code();
            }
        };
        let (result, problem) = if callback::inside() {
            (ResultCode::InCallback, "PhoneGateInitialize is not allowed inside the log callback.".to_owned())
        } else {
            global::initialize(path).err().unwrap_or((ResultCode::Ok, String::new()))
        };
        error.write(&problem);
        result.code()
    })
}

/// See `include/phonegate.h`.
#[unsafe(no_mangle)]
pub extern "C" fn PhoneGateShutdown(timeout_ms: u32) -> i32 {
    if is_forked() {
        return ResultCode::Forked.code();
    }
    guarded(ResultCode::Internal.code(), || {
        failpoint::hit("export.PhoneGateShutdown");
        if callback::inside() {
            return ResultCode::InCallback.code();
        }
        global::shut_down(Duration::from_millis(timeout_ms.into())).code()
    })
}

/// See `include/phonegate.h`.
///
/// # Safety
/// `callback` and `user_data` may be used on any thread until the next call of this function has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PhoneGateSetLogCallback(callback: Option<LogCallback>, user_data: *mut c_void) -> i32 {
    if is_forked() {
        return ResultCode::Forked.code();
    }
    guarded(ResultCode::Internal.code(), || {
        failpoint::hit("export.PhoneGateSetLogCallback");
        callback::set(callback, user_data).code()
    })
}

/// See `include/phonegate.h`.
#[unsafe(no_mangle)]
pub extern "C" fn PhoneGateAbiVersion() -> u32 {
    ABI_VERSION
}

/// See `include/phonegate.h`.
#[unsafe(no_mangle)]
pub extern "C" fn PhoneGateVersion() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Runs `body`. A panic in it becomes the failure of this call, so that the host can read a message.
fn guarded_call(id: CallId, body: impl FnOnce() -> CallStatus) -> CallStatus {
    guarded(None, || Some(body())).unwrap_or_else(|| {
        refuse(id, defect());
        CallStatus::Failed
    })
}

fn initiate(id: CallId, number: Result<&str, BadText>, attributes: Result<&str, BadText>) -> CallStatus {
    let number = match number {
        Ok(number) => number,
        Err(bad) => {
            let sentence = format_args!("The phone number {}.", bad.describe()).to_string();
            return refuse(id, Failure::new(FailureReason::InvalidNumber, sentence));
        }
    };
    let (attributes, language) = attributes_of(attributes);
    // Returns `None` if another thread is shutting the gate down. The second attempt starts the next gate.
    for _ in 0..2 {
        let request = CallRequest { id, number, attributes: attributes.clone(), language: language.clone() };
        match global::with_gate(|gate| gate.initiate(request)) {
            Ok(Some(status)) => return status,
            Ok(None) => {}
            Err(error) => return refuse(id, error.failure()),
        }
    }
    refuse(id, Failure::new(FailureReason::Interrupted, "PhoneGate is being shut down."))
}

/// Registers why a call was refused, and logs it.
fn refuse(id: CallId, failure: Failure) -> CallStatus {
    if global::with_gate(|gate| gate.refuse(id, failure.clone())).is_err() {
        log_refused(Some(id), &failure);
        REGISTRY.begin(id, Err(failure), Deadline::after(Moment::now(), Duration::ZERO));
    }
    CallStatus::Failed
}

/// Logs a refused request that cannot be registered, because it has no id.
fn refuse_nameless(failure: &Failure) -> CallStatus {
    log_refused(None, failure);
    CallStatus::Failed
}

fn log_refused(id: Option<CallId>, failure: &Failure) {
    global::log(&LogEntry { level: Level::Warn, ..LogEntry::refused(CallEvent::Refused, id, failure) });
}

/// Reads a call id. Inlined into each export, so that the id stays in registers; the error path is not inlined.
#[inline(always)]
fn call_id(text: Result<&[u8], BadText>) -> Result<CallId, Failure> {
    match text.map(CallId::parse_ascii) {
        Ok(Ok(id)) => Ok(id),
        _ => Err(no_call_id(text)),
    }
}

#[cold]
#[inline(never)]
fn no_call_id(text: Result<&[u8], BadText>) -> Failure {
    let problem = match text.map(|text| (std::str::from_utf8(text), CallId::parse_ascii(text))) {
        Ok((Ok(_), Err(error))) => error.to_string(),
        Ok(_) => format!("The call id {}.", BadText::NotUtf8.describe()),
        Err(bad) => format!("The call id {}.", bad.describe()),
    };
    Failure::new(FailureReason::UnknownCall, problem)
}

/// Returns the names in a JSON object, and the language that it asks for. Attributes never make a call fail: for text
/// that is not a JSON object, the name describes the problem.
fn attributes_of(attributes: Result<&str, BadText>) -> (Vec<String>, Option<String>) {
    let json = match attributes {
        Err(BadText::Null) | Ok("") => return (Vec::new(), None),
        Err(bad) => return (vec![format!("(ignored: the text {})", bad.describe())], None),
        Ok(json) => json,
    };
    let Ok(map) = serde_json::from_str::<Map<String, Value>>(json) else {
        return (vec!["(ignored: the text is not a JSON object)".to_owned()], None);
    };
    let is_language = |name: &str| LANGUAGE_ATTRIBUTES.iter().any(|known| known.eq_ignore_ascii_case(name));
    let language = map.iter().find(|(name, _)| is_language(name)).and_then(|(_, value)| value.as_str());
    (map.keys().cloned().collect(), language.map(str::to_owned))
}

fn failure_message(id: Result<&[u8], BadText>) -> String {
    let id = match call_id(id) {
        Ok(id) => id,
        Err(failure) => return global::messages().text(&failure),
    };
    global::with_gate(|gate| gate.failure_message(id)).unwrap_or_else(|error| {
        let known = global::snapshot_without_gate(id).ok_or_else(|| error.failure());
        gate::message(global::messages(), known)
    })
}

fn defect() -> Failure {
    StartError::Defect.failure()
}
