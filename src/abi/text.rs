//! Reads text of C callers, and writes into their buffers.

use std::ffi::c_char;

use super::ResultCode;

/// Maximum length of a phone number or id, in bytes.
pub(super) const MAX_WORD: usize = 256;

/// Maximum length of delivery attributes, in bytes.
pub(super) const MAX_ATTRIBUTES: usize = 65_536;

/// Maximum length of a path, in bytes.
pub(super) const MAX_PATH: usize = 32_767;

/// Why a text could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadText {
    Null,
    NotUtf8,
    TooLong,
}

impl BadText {
    /// Describes the problem as a predicate: "is NULL".
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Null => "is NULL",
            Self::NotUtf8 => "is not valid UTF-8",
            Self::TooLong => "is too long",
        }
    }
}

impl From<BadText> for ResultCode {
    fn from(bad: BadText) -> Self {
        match bad {
            BadText::Null => Self::InvalidArgument,
            BadText::NotUtf8 => Self::InvalidUtf8,
            BadText::TooLong => Self::TextTooLong,
        }
    }
}

/// Borrows a NUL-terminated text of at most `max` bytes.
///
/// # Safety
/// `text` is NULL, or points to bytes that are readable up to a NUL or to `max + 1` bytes, and that do not change
/// for `'a`.
pub(super) unsafe fn read<'a>(text: *const c_char, max: usize) -> Result<&'a str, BadText> {
    // SAFETY: the caller's promise is the same.
    let bytes = unsafe { read_bytes(text, max) }?;
    std::str::from_utf8(bytes).map_err(|_| BadText::NotUtf8)
}

/// Borrows text as [`read`] does, without checking that it is UTF-8.
///
/// # Safety
/// As for [`read`].
pub(super) unsafe fn read_bytes<'a>(text: *const c_char, max: usize) -> Result<&'a [u8], BadText> {
    if text.is_null() {
        return Err(BadText::Null);
    }
    // SAFETY: by the caller's promise every byte up to the NUL, or up to `max + 1`, is readable.
    let length = unsafe { libc::strnlen(text, max + 1) };
    if length > max {
        return Err(BadText::TooLong);
    }
    // SAFETY: these bytes have just been read, and by the caller's promise they do not change.
    Ok(unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) })
}

/// A caller's buffer for text, already checked.
pub(super) struct Buffer {
    start: *mut u8,
    capacity: usize,
    needed: *mut usize,
}

impl Buffer {
    /// Stores the pointers of a caller's buffer. Writes nothing yet.
    ///
    /// # Safety
    /// `buffer` is NULL or writable for `capacity` bytes, `needed` is NULL or writable, until the last use.
    pub(super) unsafe fn new(buffer: *mut c_char, capacity: usize, needed: *mut usize) -> Result<Self, ResultCode> {
        if buffer.is_null() && capacity > 0 {
            return Err(ResultCode::InvalidArgument);
        }
        Ok(Self { start: buffer.cast(), capacity, needed })
    }

    /// Writes as much of `text` as fits, cut at the boundary of a character, and a NUL.
    pub(super) fn write(self, text: &str) -> ResultCode {
        // A NUL inside would cut the text for a C caller.
        let text = text.split('\0').next().unwrap_or_default();
        if !self.needed.is_null() {
            // SAFETY: by the promise to `new`, it is writable; `write_unaligned` asks for no alignment.
            unsafe { self.needed.write_unaligned(text.len() + 1) };
        }
        let Some(room) = self.capacity.checked_sub(1) else { return ResultCode::BufferTooSmall };
        let shown = text.floor_char_boundary(room);
        // SAFETY: `shown` is at most `capacity - 1` and at most the text's length; `copy` allows any overlap.
        unsafe { std::ptr::copy(text.as_ptr(), self.start, shown) };
        // SAFETY: `shown` is below `capacity`.
        unsafe { self.start.add(shown).write(0) };
        if shown == text.len() { ResultCode::Ok } else { ResultCode::BufferTooSmall }
    }
}
