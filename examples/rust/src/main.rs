//! Places one call through the built library, loaded as a host loads it, and shows the lines of its log.
//!
//! `place_call LIBRARY NUMBER [ID]`; the library finds its configuration as usual, by `PHONEGATE_CONFIG` or in its own
//! folder.

use std::ffi::{CStr, CString, c_char, c_void};
use std::process::ExitCode;
use std::time::Duration;

use libloading::{Library, Symbol};

type Initiate = unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> i32;
type Status = unsafe extern "C" fn(*const c_char) -> i32;
type Message = unsafe extern "C" fn(*const c_char, *mut c_char, usize, *mut usize) -> i32;
type LogCallback = unsafe extern "C" fn(*mut c_void, i32, *const c_char);
type SetLogCallback = unsafe extern "C" fn(Option<LogCallback>, *mut c_void) -> i32;
type Shutdown = unsafe extern "C" fn(u32) -> i32;

const PENDING: i32 = 0;
const SUCCESS: i32 = 1;

unsafe extern "C" fn show(_: *mut c_void, _: i32, message: *const c_char) {
    // SAFETY: the library passes NUL-terminated text.
    let line = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    println!("  {line}");
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(number)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: place_call LIBRARY NUMBER [ID]");
        return Ok(ExitCode::from(2));
    };
    // SAFETY: loading the library runs no code of its own, and the types are those of phonegate.h.
    let library = unsafe { Library::new(&path)? };
    let initiate: Symbol<'_, Initiate> = unsafe { library.get(b"InitiateCall")? };
    let status: Symbol<'_, Status> = unsafe { library.get(b"GetCallStatus")? };
    let message: Symbol<'_, Message> = unsafe { library.get(b"GetFailureMessage")? };
    let set_log_callback: Symbol<'_, SetLogCallback> = unsafe { library.get(b"PhoneGateSetLogCallback")? };
    let shut_down: Symbol<'_, Shutdown> = unsafe { library.get(b"PhoneGateShutdown")? };

    let id = CString::new(arguments.next().unwrap_or_else(|| uuid::Uuid::new_v4().to_string()))?;
    let number = CString::new(number)?;
    println!("Calling. The library logs:");
    // SAFETY: from here on all texts are NUL-terminated and outlive the calls, and the callback is a static function.
    unsafe { set_log_callback(Some(show), std::ptr::null_mut()) };
    let mut now = unsafe { initiate(number.as_ptr(), id.as_ptr(), std::ptr::null()) };
    while now == PENDING {
        std::thread::sleep(Duration::from_millis(100));
        now = unsafe { status(id.as_ptr()) };
    }
    let mut text = vec![0u8; 1024];
    if now != SUCCESS {
        unsafe { message(id.as_ptr(), text.as_mut_ptr().cast(), text.len(), std::ptr::null_mut()) };
    }
    unsafe { shut_down(5_000) };
    unsafe { set_log_callback(None, std::ptr::null_mut()) };

    if now == SUCCESS {
        println!("Verified: the right key was pressed.");
        return Ok(ExitCode::SUCCESS);
    }
    println!("Failed: {}", CStr::from_bytes_until_nul(&text)?.to_string_lossy());
    Ok(ExitCode::FAILURE)
}
