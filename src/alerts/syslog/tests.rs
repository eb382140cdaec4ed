#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::call::CallId;

fn alert() -> Alert {
    Alert {
        id: Uuid::from_u128(7),
        kind: AlertKind::Fraud,
        at: UNIX_EPOCH + Duration::from_micros(1_796_000_000_123_456),
        node: "WEB1".into(),
        number: Some("+1******1212".into()),
        call: Some(CallId::parse("6f9619ff-8b86-d011-b42d-00c04fc964ff").unwrap()),
        backend: Some("trunk".into()),
        text: "The user pressed 0.\nTalk to the user.".into(),
    }
}

#[test]
fn a_line_has_the_form_of_rfc_5424() {
    let expected = format!(
        "<81>1 2026-11-30T00:53:20.123456Z WEB1 PhoneGate {} fraud [phonegate@32473 \
         id=\"00000000-0000-0000-0000-000000000007\" kind=\"fraud\" number=\"+1******1212\" \
         call=\"6f9619ff-8b86-d011-b42d-00c04fc964ff\" backend=\"trunk\"] \u{feff}a user reported fraud: The user \
         pressed 0. Talk to the user.",
        std::process::id()
    );
    assert_eq!(line(&alert()), expected);
}

#[test]
fn a_host_name_is_printable_ascii() {
    for (node, host) in
        [("", "-"), ("web 1\n", "web?1?"), ("Büro", "B?ro"), ("WEB1.contoso.local", "WEB1.contoso.local")]
    {
        assert!(line(&Alert { node: node.into(), ..alert() }).contains(&format!("Z {host} PhoneGate ")), "{node:?}");
    }
    let long = line(&Alert { node: "w".repeat(300).into(), ..alert() });
    assert!(long.contains(&format!(" {} PhoneGate ", "w".repeat(MAX_HOST))), "{long}");
}

/// Reads a value as RFC 5424 says: up to the first quotation mark without a backslash.
fn read_value(text: &str) -> String {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next().unwrap() {
            '"' => return value,
            ']' => panic!("a bracket without a backslash"),
            '\\' => value.push(characters.next().unwrap()),
            c => value.push(c),
        }
    }
}

proptest! {
    #[test]
    fn a_value_is_read_back_whatever_is_in_it(backend in "[a-z\"\\]\\\\= ]{0,100}", text in "(?s).{0,3000}") {
        let line = line(&Alert { backend: Some(backend.as_str().into()), text: text.into(), ..alert() });
        let (_, value) = line.split_once(" backend=\"").unwrap();
        prop_assert_eq!(read_value(value), backend);
        prop_assert!(!line.contains(['\n', '\r', '\0']));
        prop_assert!(line.len() < 8000, "{}", line.len());
    }
}
