//! Passes the same table of bad inputs to every export of the built library. Each text ends at a page that must not be
//! accessed. The results are those that the header promises, and a good call still succeeds afterwards.

mod support;

use std::ffi::{CStr, CString, c_char};

use phonegate::abi::ResultCode;
use phonegate::config::ErrorKind;
use serde_json::{Value, json};
use support::abi::{Abi, FAILED, NUMBER, PENDING, SUCCESS, approves, fresh_id, fresh_number, is_busy, rings_on};
use support::bad_inputs::{BadInput, bad_inputs};
use support::page::Guarded;

const OK: i32 = 0;

/// Returns a configuration that logs into its own folder.
fn logged() -> Value {
    let mut config = approves();
    config["log"] = json!({ "directory": "log" });
    config
}

/// Shuts down, and returns the log lines of requests that were refused at once.
fn refused_lines(abi: &Abi) -> Vec<Value> {
    assert_eq!(abi.shut_down(60_000), OK);
    let text = std::fs::read_to_string(abi.path("log/phonegate.log")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "refused").collect()
}

#[test]
fn every_bad_id_is_failed_and_explained() {
    let abi = Abi::load(&logged());
    for input in bad_inputs() {
        let name = &input.name;
        let initiated = input.put(|id| {
            // SAFETY: the texts are NUL-terminated or NULL.
            unsafe { (abi.initiate_call)(fresh_number().as_ptr(), id, std::ptr::null()) }
        });
        assert_eq!(initiated, FAILED, "InitiateCall: {name}");
        // SAFETY: the text is NUL-terminated or NULL.
        assert_eq!(input.put(|id| unsafe { (abi.get_call_status)(id) }), FAILED, "GetCallStatus: {name}");

        let mut needed = usize::MAX;
        let buffer = Guarded::new(&[0xaa; 256]);
        let result = input.put(|id| {
            // SAFETY: the text is NUL-terminated or NULL, and the buffer as long as is said.
            unsafe { (abi.get_failure_message)(id, buffer.start(), 256, &mut needed) }
        });
        if input.bytes.is_none() {
            assert_eq!(result, ResultCode::InvalidArgument.code(), "GetFailureMessage: {name}");
            assert_eq!((needed, buffer.bytes()), (usize::MAX, &[0xaa; 256][..]), "nothing is written: {name}");
            continue;
        }
        assert_eq!(result, OK, "GetFailureMessage: {name}");
        let text = CStr::from_bytes_until_nul(buffer.bytes()).unwrap().to_str().unwrap();
        assert_eq!(needed, text.len() + 1, "{name}");
        let expected = match &input {
            input if input.is_longer_than(256) => "The call id is too long. (UnknownCall)",
            input if !input.is_utf8() => "The call id is not valid UTF-8. (UnknownCall)",
            input if input.name.starts_with("the nil GUID") => {
                "The call id is the nil GUID, which names no call. (UnknownCall)"
            }
            _ => "The call id is not a GUID. (UnknownCall)",
        };
        assert_eq!(text, expected, "{name}");
    }
    abi.still_places_calls();
    let refused = refused_lines(&abi);
    assert_eq!(refused.len(), 2 * bad_inputs().len(), "one line for each refused call and status");
    assert!(refused.iter().all(|line| line["reason"] == "UnknownCall" && line.get("id").is_none()), "{refused:?}");
}

#[test]
fn every_bad_number_is_failed_and_explained() {
    let abi = Abi::load(&logged());
    for input in bad_inputs() {
        let name = &input.name;
        let id = fresh_id();
        let initiated = input.put(|number| {
            // SAFETY: the texts are NUL-terminated or NULL.
            unsafe { (abi.initiate_call)(number, id.as_ptr(), std::ptr::null()) }
        });
        assert_eq!(initiated, FAILED, "{name}");
        assert_eq!(abi.status(Some(&id)), FAILED, "{name}");
        let text = abi.message(&id);
        assert!(text.ends_with("(InvalidNumber, code 100)"), "{name}: {text}");
        let expected = match &input {
            BadInput { bytes: None, .. } => "The phone number is NULL.",
            input if input.is_longer_than(256) => "The phone number is too long.",
            input if !input.is_utf8() => "The phone number is not valid UTF-8.",
            _ => "",
        };
        assert!(text.starts_with(expected), "{name}: {text}");
    }
    abi.still_places_calls();
    let refused = refused_lines(&abi);
    assert_eq!(refused.len(), bad_inputs().len(), "one line for each refused call");
    assert!(refused.iter().all(|line| line["reason"] == "InvalidNumber" && line["id"].is_string()), "{refused:?}");
}

#[test]
fn bad_delivery_attributes_never_make_a_call_fail() {
    let abi = Abi::load(&approves());
    let mut table = bad_inputs();
    table.extend([
        BadInput::new("an empty object", "{}"),
        BadInput::new("every kind of value", r#"{"a":null,"b":true,"c":-1.5,"d":"x","e":[1],"f":{"g":{}}}"#),
        BadInput::new("a number beyond all numbers", r#"{"a":1e999}"#),
        BadInput::new("half a surrogate pair, escaped", r#"{"\ud800":"\udfff"}"#),
        BadInput::new("a key twice", r#"{"a":1,"a":2}"#),
        BadInput::new("a key of control characters", r#"{"\u0000\u001b[31m\n":1}"#),
        BadInput::new("deep nesting", format!("{{\"a\":{}", "[".repeat(60_000))),
        BadInput::new("an object of the longest length", format!("{{\"{}\":1}}", "k".repeat(65_536 - 6))),
        BadInput::new("an object that is a byte too long", format!("{{\"{}\":1}}", "k".repeat(65_536 - 5))),
    ]);
    for input in table {
        let (id, number) = (fresh_id(), fresh_number());
        let begun = input.put(|attributes| {
            // SAFETY: the texts are NUL-terminated or NULL.
            unsafe { (abi.initiate_call)(number.as_ptr(), id.as_ptr(), attributes) }
        });
        assert!(begun == PENDING || begun == SUCCESS, "{}: {begun}", input.name);
        assert_eq!(abi.outcome(&id), SUCCESS, "{}", input.name);
    }
    abi.still_places_calls();
}

#[test]
fn every_bad_path_has_its_code_and_text() {
    let abi = Abi::load(&approves());
    for input in bad_inputs() {
        let name = &input.name;
        let (mut needed, buffer) = (0, Guarded::new(&[0xaa; 70_000]));
        let result = input.put(|path| {
            // SAFETY: the text is NUL-terminated or NULL, and the buffer as long as is said.
            unsafe { (abi.initialize)(path, buffer.start(), 70_000, &mut needed) }
        });
        let text = CStr::from_bytes_until_nul(buffer.bytes()).unwrap().to_str().unwrap();
        assert_eq!(needed, text.len() + 1, "{name}");
        match &input {
            // NULL is a good input here: it names the default configuration.
            BadInput { bytes: None, .. } => assert_eq!((result, text), (OK, "")),
            input if input.is_longer_than(32_767) => {
                assert_eq!((result, text), (ResultCode::TextTooLong.code(), "The path is too long."), "{name}");
            }
            input if !input.is_utf8() => {
                assert_eq!((result, text), (ResultCode::InvalidUtf8.code(), "The path is not valid UTF-8."), "{name}");
            }
            // The operating system rejects some names as too long.
            _ => {
                let codes = [ErrorKind::NotFound as i32, ErrorKind::Unreadable as i32];
                assert!(codes.contains(&result) && !text.is_empty(), "{name}: {result} {text}");
                // The path is kept until the shutdown, so calls fail because of it.
                assert!(abi.message(&fresh_id()).ends_with("(NotConfigured)"), "{name}");
            }
        }
        assert_eq!(abi.shut_down(60_000), OK, "{name}");
    }
    abi.still_places_calls();
}

#[test]
fn all_guid_formats_in_either_case_name_the_same_call() {
    let abi = Abi::load(&approves());
    let d = "3f2504e0-4f89-41d3-9a0c-0305e82c330a";
    let spellings: Vec<String> = [d.to_owned(), d.replace('-', ""), format!("{{{d}}}"), format!("({d})")]
        .into_iter()
        .flat_map(|text| [text.to_uppercase(), text])
        .collect();
    for first in &spellings {
        let first = BadInput::new(first, first);
        let number = fresh_number();
        // SAFETY: the texts are NUL-terminated.
        let begun = first.put(|id| unsafe { (abi.initiate_call)(number.as_ptr(), id, std::ptr::null()) });
        assert!(begun == PENDING || begun == SUCCESS, "{}", first.name);
        for other in &spellings {
            let other = CString::new(other.as_str()).unwrap();
            assert_eq!(abi.outcome(&other), SUCCESS, "{other:?} after {}", first.name);
            assert_eq!(abi.message(&other), "The call has not failed: it was verified.");
        }
    }
    abi.still_places_calls();
}

/// Passes a buffer of every size to a function that writes the same text each time. Its whole-text code is `whole`, and
/// its code for a short buffer is `short`.
fn every_buffer(whole: i32, short: i32, write: impl Fn(*mut c_char, usize, *mut usize) -> i32) -> String {
    let mut needed = 0;
    assert_eq!(write(std::ptr::null_mut(), 0, &mut needed), short, "NULL and 0 ask for the size");
    assert_eq!(write(std::ptr::null_mut(), 0, std::ptr::null_mut()), short, "`needed` may be NULL");
    let exact = Guarded::new(&vec![0xaa; needed]);
    assert_eq!(write(exact.start(), needed, std::ptr::null_mut()), whole, "exact, without `needed`");
    let text = CStr::from_bytes_with_nul(exact.bytes()).unwrap().to_str().unwrap();

    let untouched = Guarded::new(&[0xaa]);
    assert_eq!(write(untouched.start(), 0, &mut needed), short, "capacity 0");
    assert_eq!(untouched.bytes(), [0xaa], "capacity 0 never writes");
    for capacity in 1..=text.len() + 2 {
        let mut needed = 0;
        let buffer = Guarded::new(&vec![0xaa; capacity]);
        let result = write(buffer.start(), capacity, &mut needed);
        assert_eq!(result, if capacity > text.len() { whole } else { short }, "capacity {capacity}");
        assert_eq!(needed, text.len() + 1, "capacity {capacity}");
        let prefix = CStr::from_bytes_until_nul(buffer.bytes()).unwrap().to_str().unwrap();
        assert_eq!(prefix, &text[..text.floor_char_boundary(capacity - 1)], "capacity {capacity}");
        let rest = &buffer.bytes()[prefix.len() + 1..];
        assert!(rest.iter().all(|byte| *byte == 0xaa), "nothing is written behind the NUL");
    }
    for capacity in [1, usize::MAX] {
        let mut needed = usize::MAX;
        let result = write(std::ptr::null_mut(), capacity, &mut needed);
        assert_eq!(result, ResultCode::InvalidArgument.code(), "NULL with capacity {capacity}");
    }
    text.to_owned()
}

#[test]
fn a_failure_is_cut_to_any_buffer_size() {
    let abi = Abi::load(&is_busy());
    let id = fresh_id();
    abi.initiate(Some(NUMBER), Some(&id), None);
    assert_eq!(abi.outcome(&id), FAILED);
    let short = ResultCode::BufferTooSmall.code();
    for (id, expected) in [
        (id.as_c_str(), "The simulated phone is busy. (Unreachable, code 102)"),
        (&fresh_id(), "Call ID is not found: no such call is known here. (UnknownCall)"),
        (c"", "The call id is not a GUID. (UnknownCall)"),
    ] {
        let text = every_buffer(OK, short, |buffer, capacity, needed| {
            // SAFETY: the id is NUL-terminated; buffer and `needed` are as is said, or refused unseen.
            unsafe { (abi.get_failure_message)(id.as_ptr(), buffer, capacity, needed) }
        });
        assert_eq!(text, expected);
    }
    abi.configure(&approves());
    assert_eq!(abi.shut_down(60_000), OK);
    abi.still_places_calls();
}

#[test]
fn an_error_text_is_cut_to_any_buffer_and_keeps_its_code() {
    let abi = Abi::load(&approves());
    let path = c"/no/such/folder/\xc3\xa9\xe2\x98\x8e\xf0\x9f\x98\x80/phonegate.json";
    let not_found = ErrorKind::NotFound as i32;
    let text = every_buffer(not_found, not_found, |buffer, capacity, needed| {
        // SAFETY: the path is NUL-terminated; buffer and `needed` are as is said, or refused unseen.
        unsafe { (abi.initialize)(path.as_ptr(), buffer, capacity, needed) }
    });
    assert!(text.contains("/é☎😀/phonegate.json"), "{text}");
    assert_eq!(abi.shut_down(60_000), OK);

    // The text of a success is empty.
    let text = every_buffer(OK, OK, |buffer, capacity, needed| {
        // SAFETY: as above.
        unsafe { (abi.initialize)(std::ptr::null(), buffer, capacity, needed) }
    });
    assert_eq!(text, "");
    abi.still_places_calls();
}

#[test]
fn functions_keep_their_promises_in_any_order() {
    let abi = Abi::load(&approves());
    // Before the first start.
    assert_eq!(abi.abi_version(), 1);
    assert_eq!(abi.version().to_str().unwrap(), env!("CARGO_PKG_VERSION"));
    for timeout in [0, 1, u32::MAX] {
        assert_eq!(abi.shut_down(timeout), OK, "there is nothing to end");
    }
    // SAFETY: there is no callback.
    assert_eq!(unsafe { abi.set_log_callback(None, std::ptr::dangling_mut::<u8>().cast()) }, OK);
    let unknown = fresh_id();
    assert_eq!(abi.outcome(&unknown), FAILED);
    assert_eq!(abi.message(&unknown), "Call ID is not found: no such call is known here. (UnknownCall)");

    // Initialisation of a gate that a call has started.
    let usual = CString::new(abi.path("phonegate.json").to_str().unwrap()).unwrap();
    let other = abi.other_config("other.json", &is_busy());
    assert_eq!(abi.initialize(None), (OK, String::new()));
    assert_eq!(abi.initialize(Some(&usual)), (OK, String::new()), "it runs with this file");
    let (result, text) = abi.initialize(Some(&other));
    assert_eq!(result, ResultCode::AlreadyInitialized.code());
    assert!(text.contains("PhoneGateShutdown"), "{text}");
    abi.still_places_calls();

    // After a shutdown outcomes stay readable, and a call starts the gate again, from the default file.
    let verified = fresh_id();
    abi.initiate(Some(NUMBER), Some(&verified), None);
    assert_eq!(abi.outcome(&verified), SUCCESS);
    assert_eq!(abi.shut_down(60_000), OK);
    assert_eq!(abi.shut_down(60_000), OK, "twice is harmless");
    assert_eq!(abi.message(&verified), "The call has not failed: it was verified.");
    assert_eq!(abi.status(Some(&verified)), SUCCESS);
    abi.still_places_calls();

    // The shutdown forgets a path that was named.
    assert_eq!(abi.shut_down(60_000), OK);
    assert_eq!(abi.initialize(Some(&other)), (OK, String::new()));
    let busy = fresh_id();
    abi.initiate(Some(NUMBER), Some(&busy), None);
    assert_eq!(abi.outcome(&busy), FAILED);
    assert_eq!(abi.shut_down(60_000), OK);
    abi.still_places_calls();
}

#[test]
fn a_shutdown_interrupts_a_pending_call_with_a_text() {
    let abi = Abi::load(&rings_on());
    let id = fresh_id();
    assert_eq!(abi.initiate(Some(NUMBER), Some(&id), None), PENDING);
    assert_eq!(abi.shut_down(60_000), OK);
    assert_eq!(abi.status(Some(&id)), FAILED);
    assert!(abi.message(&id).ends_with("(Interrupted)"), "{}", abi.message(&id));
    abi.configure(&approves());
    assert_eq!(abi.shut_down(60_000), OK);
    abi.still_places_calls();
}

#[test]
fn a_repeat_with_another_number_fails_and_keeps_the_call() {
    let abi = Abi::load(&rings_on());
    let id = fresh_id();
    assert_eq!(abi.initiate(Some(NUMBER), Some(&id), None), PENDING);
    assert_eq!(abi.initiate(Some(NUMBER), Some(&id), None), PENDING, "a repeat");
    for (number, reason) in [
        (Some(fresh_number()), "AlreadyInProgress"),
        (None, "InvalidNumber"),
        (Some(c"call".to_owned()), "InvalidNumber"),
    ] {
        assert_eq!(abi.initiate(number.as_deref(), Some(&id), None), FAILED);
        assert!(abi.message(&id).contains(reason), "{}", abi.message(&id));
        assert_eq!(abi.status(Some(&id)), PENDING);
    }
}

#[test]
fn without_configuration_every_call_fails_with_a_text() {
    let abi = Abi::load(&json!({ "use": [] }));
    for input in bad_inputs() {
        let id = fresh_id();
        let initiated = input.put(|text| {
            // SAFETY: the texts are NUL-terminated or NULL.
            unsafe { (abi.initiate_call)(text, text, text).max((abi.initiate_call)(text, id.as_ptr(), text)) }
        });
        assert_eq!(initiated, FAILED, "{}", input.name);
        // SAFETY: the text is NUL-terminated or NULL.
        assert_eq!(input.put(|text| unsafe { (abi.get_call_status)(text) }), FAILED, "{}", input.name);
        assert!(!abi.message(&id).is_empty());
    }
    let id = fresh_id();
    assert_eq!(abi.initiate(Some(NUMBER), Some(&id), None), FAILED);
    assert_eq!(abi.status(Some(&id)), FAILED);
    for id in [&id, &fresh_id()] {
        let text = abi.message(id);
        assert!(text.contains("phonegate.json") && text.ends_with("(NotConfigured)"), "{text}");
    }
    let (result, text) = abi.initialize(None);
    assert_eq!(result, ErrorKind::Invalid as i32, "{text}");

    abi.configure(&approves());
    assert_eq!(abi.initialize(None), (OK, String::new()), "a corrected file is read at once if the host asks for it");
    abi.still_places_calls();
}
