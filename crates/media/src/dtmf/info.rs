//! Parses digits in the bodies of SIP INFO requests: `application/dtmf` and `application/dtmf-relay`.
//!
//! No RFC defines the two types. In practice, both contain a line `Signal=5`, with blanks in various places;
//! `application/dtmf` may also contain the digit alone.

use std::time::Duration;

use super::Digit;
use crate::sdp::RemoteMedia;

/// Longest body that is read, in bytes.
const MAX_BODY: usize = 512;

/// Assumed length of a press whose INFO request names none.
const USUAL_PRESS: Duration = Duration::from_millis(500);

/// Longest press, and that of a request whose duration cannot be read.
const LONGEST_PRESS: Duration = Duration::from_secs(10);

/// Why an INFO body yields no digit. Respond to the request with 415 (RFC 3261, section 21.4.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InfoError {
    /// The content type is neither `application/dtmf` nor `application/dtmf-relay`.
    #[error("the content type of the INFO request is not supported")]
    ContentType,
    /// The body is longer than 512 bytes, or does not name exactly one digit.
    #[error("the body of the INFO request does not name exactly one digit")]
    Body,
    /// The call does not accept digits in INFO requests: see [`accepts_info`].
    #[error("the call does not accept digits in INFO requests")]
    NotAccepted,
}

/// Returns whether INFO requests may press digits in a call with this media: only if the peer takes no telephone
/// events, and, if the audio is encrypted, only if the signalling is too (TLS). Otherwise a forged request would be the
/// easier attack.
pub fn accepts_info(media: &RemoteMedia, is_signalling_tls: bool) -> bool {
    media.event_types.is_empty() && (media.key.is_none() || is_signalling_tls)
}

/// Reads the digit of an INFO request from its `Content-Type` and its body.
///
/// Parameters of the content type are ignored, names are compared case-insensitively, and blanks may surround names and
/// values. The event codes 10 to 15 are accepted, too, because some gateways send `11` or `Signal=11` for `#`.
///
/// # Errors
///
/// Anything else is an [`InfoError`], including a body with two `Signal` lines.
///
/// ```
/// use phonegate_media::dtmf::{Digit, parse_info};
///
/// let digit = parse_info("application/dtmf-relay", b"Signal = #\r\nDuration = 160\r\n");
/// assert_eq!(digit, Ok(Digit::from_char('#').unwrap()));
/// ```
pub fn parse_info(content_type: &str, body: &[u8]) -> Result<Digit, InfoError> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let takes_bare_digit = media_type.eq_ignore_ascii_case("application/dtmf");
    if !takes_bare_digit && !media_type.eq_ignore_ascii_case("application/dtmf-relay") {
        return Err(InfoError::ContentType);
    }
    if body.len() > MAX_BODY {
        return Err(InfoError::Body);
    }
    let body = std::str::from_utf8(body).map_err(|_| InfoError::Body)?;
    let body = body.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    if takes_bare_digit && !body.contains('=') {
        return digit(body).ok_or(InfoError::Body);
    }
    // A bare digit in addition to a `Signal` line would be a second digit.
    let has_bare_digit = |line: &str| {
        let line = line.trim();
        takes_bare_digit && (single_char(line).is_some() || digit(line).is_some())
    };
    if body.split(['\r', '\n']).any(has_bare_digit) {
        return Err(InfoError::Body);
    }
    let mut signals = body.split(['\r', '\n']).filter_map(signal);
    match (signals.next(), signals.next()) {
        (Some(value), None) => digit(value).ok_or(InfoError::Body),
        _ => Err(InfoError::Body),
    }
}

/// Returns how long before its INFO request the press of a digit may have begun: peers send the request when the key is
/// released, with a line `Duration=160`, in milliseconds.
///
/// ```
/// use std::time::Duration;
/// use phonegate_media::dtmf::info_duration;
///
/// assert_eq!(info_duration(b"Signal=5\r\nDuration=160\r\n"), Duration::from_millis(160));
/// ```
pub fn info_duration(body: &[u8]) -> Duration {
    let body = String::from_utf8_lossy(body);
    let named =
        body.split(['\r', '\n']).filter_map(|line| value_of("duration", line)).filter(|value| !value.is_empty());
    let read = |value: &str| value.parse().map_or(LONGEST_PRESS, Duration::from_millis);
    named.map(read).max().unwrap_or(USUAL_PRESS).min(LONGEST_PRESS)
}

/// Returns the value of a line `Signal = value`.
fn signal(line: &str) -> Option<&str> {
    value_of("signal", line)
}

fn value_of<'a>(expected: &str, line: &'a str) -> Option<&'a str> {
    let (name, value) = line.split_once('=')?;
    name.trim().eq_ignore_ascii_case(expected).then(|| value.trim())
}

fn digit(value: &str) -> Option<Digit> {
    match single_char(value) {
        Some(digit) => Digit::from_char(digit),
        None => match value {
            "10" | "11" | "12" | "13" | "14" | "15" => Digit::from_event_code(value.parse().ok()?),
            _ => None,
        },
    }
}

fn single_char(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = "application/dtmf";
    const RELAY: &str = "application/dtmf-relay";

    #[test]
    fn a_digit_is_read_in_every_spelling() {
        for (content_type, body, expected) in [
            (PLAIN, "5", '5'),
            (PLAIN, "#\r\n", '#'),
            (PLAIN, " * \r\n\0", '*'),
            (PLAIN, "d", 'D'),
            (PLAIN, "11\r\n", '#'),
            (PLAIN, "Signal=5\r\nDuration=160\r\n", '5'),
            ("Application/DTMF; charset=utf-8", "5", '5'),
            (RELAY, "Signal=#\r\nDuration=160\r\n", '#'),
            (RELAY, "Signal=#", '#'),
            (RELAY, "Signal= #\r\nDuration= 160", '#'),
            (RELAY, "Signal =#\nDuration =160\n", '#'),
            (RELAY, " Signal\t=\t# \r\n", '#'),
            (RELAY, "signal=0\r\n", '0'),
            (RELAY, "SIGNAL=0\rDURATION=100\r", '0'),
            (RELAY, "Duration=160\r\nSignal=9", '9'),
            (RELAY, "\r\nSignal=9\r\n\r\n", '9'),
            (RELAY, "Signal=10\r\n", '*'),
            (RELAY, "Signal=11\r\n", '#'),
            (RELAY, "Signal=a\r\n", 'A'),
            ("application/dtmf-relay ;x=y", "Signal=1", '1'),
        ] {
            assert_eq!(parse_info(content_type, body.as_bytes()), Ok(Digit::from_char(expected).unwrap()), "{body:?}");
        }
    }

    #[test]
    fn everything_else_is_unsupported() {
        for (content_type, body) in [
            (PLAIN, ""),
            (PLAIN, "x"),
            (PLAIN, "16"),
            (PLAIN, "55"),
            (PLAIN, "5 5"),
            (PLAIN, "5\r\nSignal=1"),
            (PLAIN, "Signal=1\r\n5"),
            (PLAIN, "11\r\nSignal=1"),
            (PLAIN, "11\r\n11"),
            (PLAIN, "x=11"),
            (PLAIN, "="),
            (RELAY, ""),
            (RELAY, "5"),
            (RELAY, "Signal="),
            (RELAY, "Signal=16"),
            (RELAY, "Signal=flash"),
            (RELAY, "Signal=1 2"),
            (RELAY, "Signal=1\r\nSignal=2"),
            (RELAY, "Signal=1\r\nSignal=1"),
            (RELAY, "Signals=1"),
            (RELAY, "Signal=\u{ff03}"),
        ] {
            assert_eq!(parse_info(content_type, body.as_bytes()), Err(InfoError::Body), "{body:?}");
        }
        assert_eq!(parse_info(RELAY, b"Signal=1\r\nX=\xff"), Err(InfoError::Body));
        assert_eq!(parse_info(PLAIN, &[b' '; MAX_BODY + 1]), Err(InfoError::Body));
        for content_type in ["", "application/media_control+xml", "text/plain", "application/dtmf-relay2", "dtmf"] {
            assert_eq!(parse_info(content_type, b"Signal=5"), Err(InfoError::ContentType), "{content_type:?}");
        }
    }

    #[test]
    fn a_press_lasts_as_long_as_its_request_may_mean() {
        for (body, expected) in [
            ("Signal=5\r\nDuration=160\r\n", 160),
            ("Signal= 5\nduration = 3000\n", 3_000),
            ("5", 500),
            ("Signal=5\r\nDuration=\r\n", 500),
            ("Signal=5\r\nDuration=99999\r\n", 10_000),
            ("Signal=5\r\nDuration=160 ms\r\n", 10_000),
            ("Signal=5\r\nDuration=-1\r\n", 10_000),
            ("Duration=1\r\nSignal=5\r\nDuration=2000\r\n", 2_000),
        ] {
            assert_eq!(info_duration(body.as_bytes()), Duration::from_millis(expected), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(content_type in "(application/dtmf(-relay)?)?.{0,10}", body in any::<Vec<u8>>(), digit in "[ =Signal#0-9\r\n]{0,20}") {
            let _ = parse_info(&content_type, &body);
            let _ = info_duration(&body);
            let _ = parse_info(RELAY, digit.as_bytes());
        }
    }
}
