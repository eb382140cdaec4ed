//! The input is the Content-Type of an INFO request, a line end, and its body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phonegate_media::dtmf::{Digit, parse_info};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let content_type = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let body = parts.next().unwrap_or_default();
    let Ok(digit) = parse_info(&content_type, body) else { return };
    let content_type = content_type.to_ascii_lowercase();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    assert!(matches!(media_type, "application/dtmf" | "application/dtmf-relay"), "{media_type}");
    assert!(body.len() <= 512);
    let text = std::str::from_utf8(body).expect("a body with a digit is UTF-8").to_ascii_uppercase();
    let code = digit.event_code().to_string();
    assert!(text.contains(digit.as_char()) || digit.event_code() > 9 && text.contains(&code), "{digit} is in the body");
    assert_eq!(
        (Digit::from_char(digit.as_char()), Digit::from_event_code(digit.event_code())),
        (Some(digit), Some(digit))
    );
    let canonical = format!("Signal={digit}\r\nDuration=160\r\n");
    assert_eq!(parse_info("application/dtmf-relay", canonical.as_bytes()), Ok(digit));
    if text.bytes().all(|byte| byte.is_ascii_graphic() || b" \t\r\n".contains(&byte)) {
        let tight = text.split(['\r', '\n']).map(|line| match line.split_once('=') {
            Some((name, value)) => format!("{}={}", name.trim(), value.trim()),
            None => line.trim().to_owned(),
        });
        let tight = tight.collect::<Vec<_>>().join("\n");
        assert_eq!(parse_info(media_type, tight.as_bytes()), Ok(digit), "blanks and case count for nothing");
    }
    if media_type == "application/dtmf-relay" {
        let contradicting = [body, b"\r\nSignal=1"].concat();
        assert!(parse_info(media_type, &contradicting).is_err(), "two signals are no digit");
    }
});
