//! The Windows Event Log: the source `PhoneGate` in Application.

use std::io;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
    ReportEventW,
};

use crate::EventSeverity;

/// Maximum length of a text, in UTF-16 units. The limit of Windows is 31,839.
const MAX_UNITS: usize = 30_000;

/// The open source. Closed when dropped.
pub struct EventLog(HANDLE);

// SAFETY: the handle is of the process, not of a thread, and ReportEventW may be called from any.
unsafe impl Send for EventLog {}

impl EventLog {
    /// Opens the source. Events of a source that is not registered are written without their texts.
    ///
    /// # Errors
    /// The error of Windows.
    pub fn open(source: &str) -> io::Result<Self> {
        let name = wide(source);
        // SAFETY: no server means this machine, and the name is NUL-terminated and outlives the call.
        let handle = unsafe { RegisterEventSourceW(std::ptr::null(), name.as_ptr()) };
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(handle)) }
    }

    /// Writes an event: its id in the message table, and the strings that its text takes.
    ///
    /// # Errors
    /// The error of Windows.
    pub fn report(&self, severity: EventSeverity, id: u32, strings: &[String]) -> io::Result<()> {
        let kind = match severity {
            EventSeverity::Error => EVENTLOG_ERROR_TYPE,
            EventSeverity::Warning => EVENTLOG_WARNING_TYPE,
            EventSeverity::Information => EVENTLOG_INFORMATION_TYPE,
        };
        let texts: Vec<_> = strings.iter().map(|text| wide(text)).collect();
        let pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
        let count = u16::try_from(pointers.len()).map_err(io::Error::other)?;
        // SAFETY: the handle is open; there are `count` pointers to NUL-terminated texts, all of which outlive the
        // call; no user and no data is given.
        let done = unsafe {
            ReportEventW(self.0, kind, 0, id, std::ptr::null_mut(), count, 0, pointers.as_ptr(), std::ptr::null())
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // SAFETY: the handle is open and is used no more.
        unsafe { DeregisterEventSource(self.0) };
    }
}

/// Returns NUL-terminated UTF-16, cut to the maximum length. A character of no width follows each percent sign, because
/// the Event Viewer would take what follows for a placeholder.
fn wide(text: &str) -> Vec<u16> {
    let text = text.replace('\0', "").replace('%', "%\u{200b}");
    text.encode_utf16().take(MAX_UNITS).chain([0]).collect()
}
