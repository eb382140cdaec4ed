#![allow(clippy::unwrap_used, reason = "tests")]
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::call::CallId;

fn alert(text: &str) -> Alert {
    Alert {
        id: Uuid::from_u128(7),
        kind: AlertKind::Fraud,
        at: UNIX_EPOCH + Duration::from_millis(1_796_000_000_123),
        node: "WEB1".into(),
        number: Some("+1******1212".into()),
        call: Some(CallId::parse("6f9619ff-8b86-d011-b42d-00c04fc964ff").unwrap()),
        backend: Some("trunk".into()),
        text: text.into(),
    }
}

#[test]
fn a_message_has_event_machine_and_time() {
    let message = Message::of(&alert("The user pressed 0.\r\nTalk to the user."));
    assert_eq!(message.subject, "PhoneGate on WEB1: a user reported fraud");
    assert_eq!(message.text, "The user pressed 0.\nTalk to the user.");
    let facts: Vec<_> = message.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        facts,
        [
            "Machine: WEB1",
            "Time: 2026-11-30 00:53:20 UTC",
            "Number: +1******1212",
            "Call: 6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "Backend: trunk",
            "Alert: fraud 00000000-0000-0000-0000-000000000007",
        ]
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    let message = Message::of(&Alert { number: None, call: None, backend: None, ..alert("x") });
    let names: Vec<_> = message.facts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["Machine", "Time", "Alert"]);
}

#[test]
fn every_kind_has_a_subject_of_its_own() {
    let kinds = [
        AlertKind::Fraud,
        AlertKind::Lockout,
        AlertKind::CapReached,
        AlertKind::BackendDown,
        AlertKind::BackendUp,
        AlertKind::Configuration,
        AlertKind::StoreDown,
        AlertKind::Test,
    ];
    let mut subjects: Vec<_> = kinds.map(|kind| Message::of(&Alert { kind, ..alert("x") }).subject).into();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), kinds.len());
}

#[test]
fn a_long_text_is_cut() {
    let message = Message::of(&Alert { backend: Some("b".repeat(10_000).into()), ..alert(&"ä".repeat(10_000)) });
    assert_eq!(message.text.chars().count(), MAX_TEXT);
    assert!(message.text.ends_with("ä…"), "{}", message.text);
    let (_, backend) = message.facts.iter().find(|(name, _)| *name == "Backend").unwrap();
    assert_eq!(backend.chars().count(), MAX_PART);
}

#[test]
fn an_alert_is_the_same_after_the_store() {
    let alert = alert("text");
    let json = serde_json::to_value(&alert).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "id": "00000000-0000-0000-0000-000000000007",
            "kind": "fraud",
            "at": "2026-11-30T00:53:20.123Z",
            "node": "WEB1",
            "number": "+1******1212",
            "call": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "backend": "trunk",
            "text": "text"
        })
    );
    assert_eq!(serde_json::from_value::<Alert>(json).unwrap(), alert);
    let bare = Alert { number: None, call: None, backend: None, ..alert };
    let json = serde_json::to_string(&bare).unwrap();
    assert_eq!(serde_json::from_str::<Alert>(&json).unwrap(), bare);
}

proptest! {
    #[test]
    fn no_part_begins_another_line(node in ".*", text in "(?s).*", backend in "(?s).*") {
        let message = Message::of(&Alert { node: node.into(), backend: Some(backend.into()), ..alert(&text) });
        let parts = message.facts.iter().map(|(_, value)| value).chain([&message.subject]);
        for part in parts {
            prop_assert!(!part.chars().any(char::is_control), "{part:?}");
        }
        prop_assert!(!message.text.chars().any(|c| c != '\n' && c.is_control()), "{:?}", message.text);
    }
}
