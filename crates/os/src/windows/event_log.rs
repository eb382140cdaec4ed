//! The Windows Event Log: the source `PhoneGate` in Application.

use std::io;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
    ReportEventW,
};

use crate::EventSeverity;

/// The longest text that an event takes, in UTF-16 units: its limit is 31,839.
const MAX_UNITS: usize = 30_000;

/// The open source. Closed when dropped.
pub struct EventLog(HANDLE);

// SAFETY: the handle is of the process, not of a thread, and ReportEventW may be called from any.
unsafe impl Send for EventLog {}

impl EventLog {
    /// Opens the source. It need not be registered: events are written then too, but without their words.
    ///
    /// # Errors
    /// What Windows says.
    pub fn open(source: &str) -> io::Result<Self> {
        let name = wide(source);
        // SAFETY: no server means this machine, and the name is NUL-terminated and outlives the call.
        let handle = unsafe { RegisterEventSourceW(std::ptr::null(), name.as_ptr()) };
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(handle)) }
    }

    /// Writes an event: its id in the message table, and what is put into its words.
    ///
    /// # Errors
    /// What Windows says.
    pub fn report(&self, severity: EventSeverity, id: u32, strings: &[String]) -> io::Result<()> {
        let kind = match severity {
            EventSeverity::Error => EVENTLOG_ERROR_TYPE,
            EventSeverity::Warning => EVENTLOG_WARNING_TYPE,
            EventSeverity::Information => EVENTLOG_INFORMATION_TYPE,
        };
        let texts: Vec<_> = strings.iter().map(|text| wide(text)).collect();
        let pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
        let count = u16::try_from(pointers.len()).map_err(io::Error::other)?;
        // SAFETY: the handle is open; there are `count` pointers to NUL-terminated texts, all of which outlive the call;
        // no user and no data is given.
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

/// NUL-terminated UTF-16, cut at what an event takes. A percent sign, behind which the Event Viewer would look for
/// something to put in, is parted from what follows by a character without width.
fn wide(text: &str) -> Vec<u16> {
    let text = text.replace('\0', "").replace('%', "%\u{200b}");
    text.encode_utf16().take(MAX_UNITS).chain([0]).collect()
}
