//! The file backend: a person answers calls by editing a file, as in Microsoft's sample provider.

mod support;

use std::fs;
use std::path::PathBuf;

use phonegate::call::{CallId, CallStatus};
use support::gate::{TestGate, id};

/// A gate whose calls are answered in a file.
struct Desk {
    gate: TestGate,
    path: PathBuf,
}

impl Desk {
    fn open() -> Self {
        let gate = TestGate::start(serde_json::json!({
            "use": ["desk"],
            "allow_test_backends": true,
            "backends": { "desk": { "type": "file", "path": "phone.txt" } },
        }));
        let path = gate.folder().join("phone.txt");
        Self { gate, path }
    }

    /// Starts a call and waits until its line is there, the n-th with its id.
    fn call(&self, id: CallId, number: &str, nth: usize) {
        assert_eq!(self.gate.initiate(id, number), CallStatus::Pending);
        support::wait_until("the call has a line", || self.text().matches(&id.to_string()).count() == nth);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    fn edit(&self, edit: impl Fn(String) -> String) {
        fs::write(&self.path, edit(self.text())).unwrap();
    }

    fn ends(&self, id: CallId) -> (CallStatus, String) {
        self.gate.ends(id)
    }
}

const NUMBER: &str = "+1 4255551212";

#[test]
fn a_call_is_a_line_of_id_number_status_and_message() {
    let desk = Desk::open();
    desk.call(id(1), "+1 4255551234X12345", 1);
    let end = if cfg!(windows) { "\r\n" } else { "\n" };
    assert_eq!(desk.text(), format!("{};+14255551234x12345;0;{end}", id(1)));
}

#[test]
fn status_1_approves() {
    let desk = Desk::open();
    desk.call(id(1), NUMBER, 1);
    desk.edit(|text| text.replace(";0;", ";1;"));
    assert_eq!(desk.ends(id(1)).0, CallStatus::Success);
}

#[test]
fn status_2_refuses_with_the_fourth_field_as_its_text() {
    let desk = Desk::open();
    desk.call(id(1), NUMBER, 1);
    desk.edit(|text| text.replace(";0;", ";2;The user is on leave"));
    assert_eq!(desk.ends(id(1)), (CallStatus::Failed, "The user is on leave".to_owned()));
}

#[test]
fn every_other_line_fails_with_a_text() {
    let unusual = |status: &str| format!("The call's status in the file is `{status}`, but must be 0, 1 or 2");
    for (answer, text) in [
        (";2", "Description is not found".to_owned()),
        (";2;", "Description is not found".to_owned()),
        ("", unusual("")),
        (";", unusual("")),
        (";3;", unusual("3")),
        (";-1;", unusual("-1")),
        (";01;", unusual("01")),
        (";+1;", unusual("+1")),
        (";1.0;", unusual("1.0")),
        (";yes;", unusual("yes")),
        (";１;", unusual("１")),
        (";11;", unusual("11")),
    ] {
        let desk = Desk::open();
        desk.call(id(1), NUMBER, 1);
        desk.edit(|text| text.replace(";0;", answer));
        assert_eq!(desk.ends(id(1)), (CallStatus::Failed, text), "{answer}");
    }
}

#[test]
fn a_deleted_line_fails_the_call() {
    let desk = Desk::open();
    desk.call(id(1), NUMBER, 1);
    desk.edit(|_| "something else\n".to_owned());
    assert_eq!(desk.ends(id(1)), (CallStatus::Failed, "Call ID is not found".to_owned()));
}

#[test]
fn a_deleted_file_fails_the_call() {
    let desk = Desk::open();
    desk.call(id(1), NUMBER, 1);
    fs::remove_file(&desk.path).unwrap();
    assert_eq!(desk.ends(id(1)), (CallStatus::Failed, "Call ID is not found".to_owned()));
}

#[test]
fn a_file_that_stays_unreadable_fails_the_call() {
    let desk = Desk::open();
    desk.call(id(1), NUMBER, 1);
    fs::remove_file(&desk.path).unwrap();
    fs::create_dir(&desk.path).unwrap();
    let (status, text) = desk.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.contains("phone.txt") && text.contains("is not a regular file"), "{text}");
}

#[test]
fn other_lines_of_any_form_are_ignored() {
    let desk = Desk::open();
    fs::write(&desk.path, b"\xef\xbb\xbf\xff\xfe;\x00;;;\r\n\r\n;;;;;;;;;\n;1;1;1;\nno end of line").unwrap();
    desk.call(id(1), NUMBER, 1);
    let mut bytes = fs::read(&desk.path).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains(&format!("no end of line\n{}", id(1))), "a line of its own");
    bytes.splice(0..0, b"\r\n\xff\xff\xff;x;1;\r\n".iter().copied());
    let answered = String::from_utf8_lossy(&bytes).replace(";0;", " ; 1 ; welcome\r");
    fs::write(&desk.path, answered).unwrap();
    assert_eq!(desk.ends(id(1)).0, CallStatus::Success);
}

#[test]
fn the_id_may_be_written_in_any_format() {
    let desk = Desk::open();
    desk.call(id(0xabc), NUMBER, 1);
    let braces = format!("{{{}}}", id(0xabc)).to_uppercase();
    desk.edit(|text| text.replace(&id(0xabc).to_string(), &braces).replace(";0;", ";1;"));
    assert_eq!(desk.ends(id(0xabc)).0, CallStatus::Success);
}

#[test]
fn an_attempt_never_finds_the_answer_to_an_earlier_one() {
    let desk = Desk::open();
    desk.call(id(1), NUMBER, 1);
    desk.edit(|text| text.replace(";0;", ";1;"));
    assert_eq!(desk.ends(id(1)).0, CallStatus::Success);
    desk.call(id(1), NUMBER, 2);
    assert_eq!(desk.gate.status(id(1)), CallStatus::Pending);
    desk.edit(|text| text.replace(";0;", ";2;not this time"));
    assert_eq!(desk.ends(id(1)), (CallStatus::Failed, "not this time".to_owned()));
}

#[test]
fn an_attempt_fails_if_earlier_lines_were_removed() {
    let desk = Desk::open();
    desk.call(id(1), NUMBER, 1);
    desk.edit(|text| text.replace(";0;", ";1;"));
    desk.ends(id(1));
    desk.call(id(1), NUMBER, 2);
    desk.edit(|text| text.lines().next().unwrap().to_owned() + "\n");
    assert_eq!(desk.ends(id(1)).0, CallStatus::Failed);
}

#[test]
fn no_number_forges_a_field() {
    let desk = Desk::open();
    for (n, number) in
        ["+14255551212;1;ok", "+14255551212\n", "+1425555\r\n1212", ";1;", "+14255551212x1;1;"].into_iter().enumerate()
    {
        desk.gate.initiate(id(n as u128 + 1), number);
    }
    desk.call(id(99), "+1 4255551299", 1);
    for line in desk.text().lines() {
        assert_eq!(line.split(';').count(), 4, "{line}");
        assert_eq!(line.split(';').nth(2), Some("0"), "{line}");
    }
}

#[test]
fn concurrent_calls_each_get_their_own_answer() {
    let desk = Desk::open();
    std::thread::scope(|threads| {
        for n in 0..64 {
            let desk = &desk;
            threads.spawn(move || desk.gate.initiate(id(n + 1), &format!("+1 425555{:04}", 1000 + n)));
        }
    });
    support::wait_until("all lines are there", || desk.text().lines().count() == 64);
    desk.edit(|text| {
        text.lines()
            .map(|line| {
                let n = CallId::parse(line.split(';').next().unwrap()).unwrap().to_bytes()[15];
                let answer = if n.is_multiple_of(2) { ";1;" } else { ";2;odd" };
                line.replace(";0;", answer) + "\n"
            })
            .collect()
    });
    for n in 1..=64_u128 {
        let expected = if n.is_multiple_of(2) { CallStatus::Success } else { CallStatus::Failed };
        assert_eq!(desk.ends(id(n)).0, expected, "call {n}");
    }
}

#[test]
fn the_file_is_not_read_while_it_does_not_change() {
    let desk = Desk::open();
    desk.call(id(1), NUMBER, 1);
    // With a time stamp in the past, the file is old enough not to be read again.
    let file = fs::File::options().append(true).open(&desk.path).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
    let read = || support::bytes_read_by_this_process();
    let mut last = read();
    support::wait_until("reading stops", || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let now = read();
        let quiet = now - last < desk.text().len() as u64 + 1_000;
        last = read();
        quiet
    });
    assert_eq!(desk.gate.status(id(1)), CallStatus::Pending);
    desk.edit(|text| text.replace(";0;", ";1;"));
    assert_eq!(desk.ends(id(1)).0, CallStatus::Success);
}

#[test]
fn an_unusable_file_fails_the_call_and_is_named() {
    let desk = Desk::open();
    fs::create_dir(&desk.path).unwrap();
    desk.gate.initiate(id(1), NUMBER);
    let (status, text) = desk.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.contains("phone.txt") && text.contains("CannotPlace"), "{text}");
}
