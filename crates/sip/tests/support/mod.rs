//! Helpers that several tests share.

#![allow(dead_code, reason = "each test binary uses a part")]

use phonegate_sip::message::{Limits, Message, MessageError};

/// Reads a datagram that is written with LF.
pub fn read(text: &str) -> Result<Message, MessageError> {
    Message::from_datagram(&crlf(text), &Limits::default())
}

/// Reads a response with these header lines, which must be acceptable as a whole.
pub fn response(headers: &str) -> Message {
    read(&format!("SIP/2.0 200 OK\n{headers}\n\n")).expect("the message is readable")
}

/// Replaces LF by CR LF.
pub fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}
