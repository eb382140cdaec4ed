//! Reads messages from a stream.

use phonegate_sip::framing::{StreamError, StreamEvent, StreamReader};
use phonegate_sip::message::{HeaderProblem, Limits, MessageBuilder, MessageError};
use proptest::prelude::*;

/// What a stream yielded: a line for each event and, at the end, the error.
fn read_in_cuts(stream: &[u8], cuts: &[usize]) -> Vec<String> {
    let mut reader = StreamReader::new(Limits::default());
    let mut found = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.iter();
    loop {
        let length = cuts.next().map_or(rest.len(), |&cut| cut.min(rest.len())).min(60_000);
        let (chunk, after) = rest.split_at(length);
        rest = after;
        let mut result = reader.push(chunk).map(|()| None);
        while result.is_ok() {
            result = reader.next_event();
            match &result {
                Ok(Some(StreamEvent::Message(message))) => {
                    found.push(String::from_utf8_lossy(message.as_bytes()).into_owned());
                }
                Ok(Some(event)) => found.push(format!("{event:?}")),
                Ok(None) => break,
                Err(error) => found.push(format!("{error:?}")),
            }
        }
        assert!(reader.unread_len() <= Limits::default().message, "what is unread has a limit");
        if result.is_err() || rest.is_empty() {
            return found;
        }
    }
}

fn read(stream: &[u8]) -> Vec<String> {
    read_in_cuts(stream, &[])
}

#[test]
fn content_length_is_read_in_all_its_spellings() {
    let body = "x".repeat(150);
    for header in [
        "Content-Length: 150",
        "Content-Length : 150",
        "content-LENGTH:150",
        "l : 150",
        "L:\t150\t",
        "l\t:\t150",
        "Content-Length:\r\n 150",
        "l: 150\r\nContent-Length: 150",
    ] {
        let message = format!("BYE sip:a SIP/2.0\r\n{header}\r\nX: y\r\n\r\n{body}");
        let found = read(format!("{message}{message}").as_bytes());
        assert_eq!(found.len(), 2, "{header}");
        assert!(found.iter().all(|message| message.ends_with(&body)), "{header}");
    }
}

#[test]
fn a_message_of_unknown_length_ends_the_stream() {
    for (header, problem) in [
        ("X: y", HeaderProblem::Missing),
        ("Content-Length: ten", HeaderProblem::Malformed),
        ("Content-Length: -1", HeaderProblem::Malformed),
        ("l: 1\r\nl: 2", HeaderProblem::Duplicated),
        ("l: 99999999999", HeaderProblem::OutOfRange),
    ] {
        let mut reader = StreamReader::new(Limits::default());
        let error = StreamError::Length(MessageError::Header { name: "Content-Length", problem });
        let stream = format!("SIP/2.0 200 OK\r\n{header}\r\n\r\nSIP/2.0 200 OK\r\nl: 0\r\n\r\n");
        assert_eq!(reader.push(stream.as_bytes()), Ok(()));
        assert_eq!(reader.next_event(), Err(error.clone()), "{header}");
        assert_eq!(reader.next_event(), Err(error.clone()), "the error stays");
        assert_eq!(reader.push(b"x"), Err(error), "the error stays");
        assert_eq!(reader.unread_len(), 0, "nothing is kept");
    }
}

#[test]
fn a_message_that_cannot_be_used_is_skipped() {
    let headers = "X: y\r\n".repeat(300);
    let stream = format!(
        "\x00garbage\r\nl: 3\r\n\r\nabcSIP/7.0 200 OK\r\nl: 0\r\n\r\nSIP/2.0 200 OK\r\n{headers}l: 1\r\n\r\nxBYE sip:a SIP/2.0\r\nl: 0\r\n\r\n"
    );
    let found = read(stream.as_bytes());
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found.first().map(String::as_str), Some("Unreadable(StartLine)"));
    assert_eq!(found.get(1).map(String::as_str), Some("Unreadable(Version)"));
    assert_eq!(found.get(2).map(String::as_str), Some("Unreadable(TooManyHeaders { limit: 200 })"));
    assert!(found.last().is_some_and(|last| last.starts_with("BYE")));
}

#[test]
fn keep_alives_are_reported() {
    let bye = "BYE sip:a SIP/2.0\r\nl: 0\r\n\r\n";
    let found = read(format!("\r\n\r\n{bye}\r\n{bye}\r\n\r\n\r\n").as_bytes());
    assert_eq!(found, ["Pong", "Ping", bye, "Pong", bye, "Pong", "Ping", "Pong"]);
}

#[test]
fn an_incomplete_message_is_reported() {
    let mut reader = StreamReader::new(Limits::default());
    for (chunk, inside) in [("\r\n", false), ("B", true), ("YE sip:a SIP/2.0\r\nl: 2\r\n\r\n1", true), ("2", false)] {
        reader.push(chunk.as_bytes()).expect("the bytes are taken");
        while reader.next_event().expect("the stream is readable").is_some() {}
        assert_eq!(reader.is_in_message(), inside, "after {chunk:?}");
    }
}

#[test]
fn what_is_unread_is_bounded() {
    let too_long = format!("{:?}", StreamError::TooLong { limit: 65_536 });
    assert_eq!(read(&[b'x'; 200_000]), std::slice::from_ref(&too_long), "headers without an end");
    assert_eq!(read(b"SIP/2.0 200 OK\r\nl: 65536\r\n\r\n"), [too_long], "a body that is too long");
    let mut reader = StreamReader::new(Limits::default());
    assert_eq!(reader.push(&[b'x'; 131_072]), Ok(()));
    assert_eq!(reader.push(b"x"), Err(StreamError::Unread { limit: 131_072 }));
    assert_eq!(reader.unread_len(), 0);
}

#[test]
fn a_message_may_be_as_long_as_the_limit() {
    let head = "SIP/2.0 200 OK\r\nContent-Length: 65495\r\n\r\n";
    let stream = [head.as_bytes(), &vec![b'x'; 65_495]].concat();
    assert_eq!(stream.len(), 65_536);
    let message = [String::from_utf8_lossy(&stream).into_owned()];
    assert_eq!(read(&stream), message);
    assert_eq!(read_in_cuts(&stream, &[41, 1, 30_000]), message);
}

/// A piece of a stream: something that peers send.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["Content-Length: ", "l : ", "L:\t", "content-length\t:\r\n "]);
    let line_end = prop::sample::select(vec!["\r\n", "\r\n", "\n"]);
    let start = prop::sample::select(vec!["BYE sip:a@example.com SIP/2.0", "SIP/2.0 200 OK", "nonsense", "SIP/3.0 1"]);
    let body = prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80);
    let message = (start, name, line_end, body).prop_map(|(start, name, end, body)| {
        let head = format!("{start}{end}X: y{end} folded{end}{name}{}{end}{end}", body.len());
        [head.into_bytes(), body].concat()
    });
    prop_oneof![
        8 => message,
        2 => Just(b"\r\n\r\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..20),
    ]
}

#[test]
fn nothing_personal_is_shown_for_debugging() {
    let mut reader = StreamReader::new(Limits::default());
    reader
        .push(b"BYE sip:secret@example.com SIP/2.0\r\nTo: secret\r\nl: 0\r\n\r\nsecret")
        .expect("the bytes are taken");
    assert!(!format!("{reader:?}").contains("secret"));
    let event = reader.next_event().expect("the stream is readable");
    assert!(!format!("{event:?}").contains("secret"));
    let builder = MessageBuilder::response(200, "secret").header("To", "secret").body("a/b", "secret");
    assert!(!format!("{builder:?}").contains("secret"));
}

proptest! {
    #[test]
    fn any_cut_yields_the_same(
        pieces in prop::collection::vec(piece(), 1..8),
        cuts in prop::collection::vec(prop_oneof![3 => 0_usize..4, 2 => 0_usize..120], 0..200),
    ) {
        let stream = pieces.concat();
        let whole = read(&stream);
        prop_assert_eq!(&read_in_cuts(&stream, &cuts), &whole);
        prop_assert_eq!(&read_in_cuts(&stream, &vec![1; stream.len()]), &whole);
    }

    #[test]
    fn garbage_neither_panics_nor_exceeds_the_bounds(
        stream in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b'l'), any::<u8>()], 0..600),
        cuts in prop::collection::vec(0_usize..300, 0..20),
    ) {
        let whole = read(&stream);
        prop_assert_eq!(read_in_cuts(&stream, &cuts), whole);
    }
}
