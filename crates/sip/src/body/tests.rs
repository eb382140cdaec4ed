//! Which bodies have a session description.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::{has_other_body, session_description};
use crate::message::{Limits, Message};

/// Reads a message with these header lines and this body, both written with LF.
fn message(headers: &str, body: &str) -> Message {
    let bytes = format!("INFO sip:a SIP/2.0\n{headers}\n").replace('\n', "\r\n") + body;
    Message::from_datagram(bytes.as_bytes(), &Limits { datagram_request: 1 << 16, ..Limits::default() }).unwrap()
}

fn found(headers: &str, body: &str) -> Option<String> {
    session_description(&message(headers, body)).map(|text| String::from_utf8_lossy(text).into_owned())
}

fn in_parts(body: &str) -> Option<String> {
    found("Content-Type: multipart/mixed;boundary=x\n", &body.replace('\n', "\r\n"))
}

#[test]
fn single_body_counts_by_its_type() {
    let cases = [
        ("", Some("v=0")),
        ("Content-Type: application/sdp\n", Some("v=0")),
        ("c: APPLICATION / SDP ;charset=utf-8\n", Some("v=0")),
        ("Content-Type: application/sdp\nContent-Disposition: session;handling=required\n", Some("v=0")),
        ("Content-Type: application/sdp\nContent-Disposition: Early-Session ;handling=optional\n", None),
        ("Content-Type: text/plain\n", None),
        ("Content-Type: \n", None),
        ("Content-Type: application/sdp\nContent-Type: text/plain\n", None),
        ("Content-Type: multipart/mixed\n", None),
        ("Content-Type: multipart/mixed;boundary=\"\"\n", None),
    ];
    for (headers, expected) in cases {
        assert_eq!(found(headers, "v=0").as_deref(), expected, "{headers:?}");
        assert_eq!(has_other_body(&message(headers, "v=0")), expected.is_none(), "{headers:?}");
        assert!(!has_other_body(&message(headers, "")), "an empty body is no other body");
    }
}

/// The description is found with its last line end left to the delimiter (RFC 2046, 5.1.1).
#[test]
fn description_is_found_among_parts() {
    let sdp = "Content-Type: application/sdp\n\nv=0\n";
    let cases = [
        format!("--x\n{sdp}\n--x--\n"),
        format!("\n--x\n{sdp}\n--x--"),
        format!(
            "a preamble with --x in its text\n--x\n{sdp}\n--x--\nan epilogue\n--x\nContent-Type: application/sdp\n"
        ),
        format!("--x\nContent-Type: application/isup;version=itu\n\n--y --x\n-x\n--x\n{sdp}\n--x--"),
        format!("--x  \t\n{sdp}\n--x--  \n"),
        format!("--x\nContent-Type: text/plain\n\n--xy\n{sdp}--x\n{sdp}\n--x--"),
        "--x\nc: application/sdp;a=b\n\nv=0\n\n--x--".to_owned(),
        "--x\nContent-ID: <a:b>\nContent-Length: 9999\nCONTENT-TYPE :application/SDP\n\nv=0\n\n--x--".to_owned(),
        "--x\nContent-Disposition: session\nContent-Type:\n application/sdp\n\nv=0\n\n--x--".to_owned(),
        format!("--x\nContent-Disposition: early-session\nContent-Type: application/sdp\n\nv=1\n\n--x\n{sdp}\n--x--"),
        format!("--x\n\nContent-Type: application/sdp\n\nv=1\n\n--x\n{sdp}\n--x--"),
        format!("--x\nContent-Type: application/sdp\n\n\n--x\n{sdp}\n--x--"),
        format!("--x\n--x\n\n--x\n{sdp}\n--x--"),
        format!("--x\n{sdp}"),
    ];
    for body in cases {
        assert_eq!(in_parts(&body).as_deref(), Some("v=0\r\n"), "{body:?}");
    }
}

#[test]
fn other_parts_are_no_description() {
    let cases = [
        "",
        "--x",
        "--x--",
        "--x--\nContent-Type: application/sdp\n\nv=0\n",
        "--x\nContent-Type: text/plain\n\nContent-Type: application/sdp\n\nv=0\n--x--",
        "--x\nContent-Type: application/sdp-more\n\nv=0\n--x--",
        "--x\nX: Content-Type: application/sdp\n\nv=0\n--x--",
        "--x\nContent-Type: application/sdp\nv=0\n--x--",
        " --x\nContent-Type: application/sdp\n\nv=0\n--x--",
        "a--x\nContent-Type: application/sdp\n\nv=0\n--x--",
    ];
    for body in cases {
        assert_eq!(in_parts(body), None, "{body:?}");
    }
}

/// A boundary within a line is text, so a part is not cut there.
#[test]
fn boundary_within_a_line_does_not_end_a_part() {
    let body = "--x\nContent-Type: application/sdp\n\nv=0\ns=--x\ni=a --x--\n--x--\n";
    assert_eq!(in_parts(body).as_deref(), Some("v=0\r\ns=--x\r\ni=a --x--"));
}

#[test]
fn boundary_may_be_quoted() {
    let headers = "Content-Type: multipart/mixed; charset=\"a;boundary=no\"; Boundary=\"a b;'(c)+_,-./:=? \\\\\"\n";
    let body = "--a b;'(c)+_,-./:=? \\\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--a b;'(c)+_,-./:=? \\--";
    assert_eq!(found(headers, body).as_deref(), Some("v=0"));
}

#[test]
fn lines_may_end_with_lf_only() {
    let body = "--x\nContent-Type: application/sdp\n\nv=0\r\n\r\nm=audio\n\n--x--\n";
    assert_eq!(found("Content-Type: multipart/mixed;boundary=x\n", body).as_deref(), Some("v=0\r\n\r\nm=audio\n"));
}

/// An outer boundary that begins an inner one ends nothing; deeper nesting than three is not read.
#[test]
fn description_is_found_in_nested_bodies() {
    let nested = |depth: usize| {
        let wrap = |body: String, level: usize| {
            let boundary = "x".repeat(level);
            format!("Content-Type: multipart/alternative;boundary={boundary}\n\n--{boundary}\n{body}\n--{boundary}--\n")
        };
        let body = (1..=depth).rev().fold("Content-Type: application/sdp\n\nv=0".to_owned(), wrap);
        let (headers, body) = body.split_once("\n\n").unwrap();
        found(&format!("{headers}\n"), &body.replace('\n', "\r\n"))
    };
    assert_eq!(nested(1).as_deref(), Some("v=0"));
    assert_eq!(nested(3).as_deref(), Some("v=0"));
    assert_eq!(nested(4), None);
}

/// Only the first parts are looked at, and a boundary has at most 70 bytes (RFC 2046, 5.1.1), so that the time is
/// linear: 60 KB of delimiters, and of almost-delimiters, are read at once.
#[test]
fn number_of_parts_and_length_of_boundary_are_bounded() {
    let sdp = "--x\nContent-Type: application/sdp\n\nv=0\n--x--";
    assert_eq!(in_parts(&format!("{}{sdp}", "--x\n".repeat(15))).as_deref(), Some("v=0"));
    assert_eq!(in_parts(&format!("{}{sdp}", "--x\n".repeat(16))), None);
    assert_eq!(in_parts(&format!("{}{sdp}", "--x\n".repeat(12_000))), None);
    for (length, expected) in [(70, Some("v=0")), (71, None), (20_000, None)] {
        let boundary = "-".repeat(length);
        let headers = format!("Content-Type: multipart/mixed;boundary={boundary}\n");
        let body = format!("--{boundary}\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--{boundary}--");
        assert_eq!(found(&headers, &body).as_deref(), expected, "a boundary of {length} bytes");
    }
}
