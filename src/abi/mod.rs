//! The C boundary, which `include/phonegate.h` describes. It turns pointers into safe types, and catches panics.
#![allow(unsafe_code, reason = "the C boundary")]

mod callback;
mod exports;
mod fork;
mod global;
mod guard;
mod text;

pub use callback::LogCallback;
pub use exports::{
    GetCallStatus, GetFailureMessage, InitiateCall, PhoneGateAbiVersion, PhoneGateInitialize, PhoneGateSetLogCallback,
    PhoneGateShutdown, PhoneGateVersion,
};

use crate::config::ErrorKind;

/// The version of the interface; see `PHONEGATE_ABI_VERSION`.
pub const ABI_VERSION: u32 = 1;

/// A `phonegate_result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultCode {
    /// `PHONEGATE_OK`
    Ok,
    /// `PHONEGATE_INVALID_ARGUMENT`
    InvalidArgument,
    /// `PHONEGATE_INVALID_UTF8`
    InvalidUtf8,
    /// `PHONEGATE_TEXT_TOO_LONG`
    TextTooLong,
    /// `PHONEGATE_BUFFER_TOO_SMALL`
    BufferTooSmall,
    /// `PHONEGATE_ALREADY_INITIALIZED`
    AlreadyInitialized,
    /// `PHONEGATE_IN_CALLBACK`
    InCallback,
    /// `PHONEGATE_TIMED_OUT`
    TimedOut,
    /// `PHONEGATE_FORKED`
    Forked,
    /// A problem of the configuration, or of a backend.
    Config(ErrorKind),
    /// `PHONEGATE_INTERNAL`
    Internal,
}

impl ResultCode {
    /// Returns its number in the header.
    pub fn code(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::InvalidArgument => 1,
            Self::InvalidUtf8 => 2,
            Self::TextTooLong => 3,
            Self::BufferTooSmall => 4,
            Self::AlreadyInitialized => 5,
            Self::InCallback => 6,
            Self::TimedOut => 7,
            Self::Forked => 8,
            Self::Config(kind) => kind as i32,
            Self::Internal => 99,
        }
    }
}
