#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::ErrorKind;

fn refusal() -> ConfigError {
    ConfigError::invalid("use", "is empty")
}

/// The names of the destinations of a refused file with this text.
fn names(text: &str, refusal: &ConfigError) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password.txt"), "hush").unwrap();
    let path = folder.path().join("phonegate.json");
    std::fs::write(&path, text).unwrap();
    Destinations::for_refused(&path, refusal).iter().map(|destination| destination.name().to_owned()).collect()
}

fn alerts() -> Value {
    json!([
        { "on": ["configuration"], "syslog": { "server": "127.0.0.1", "tls": false } },
        { "on": ["configuration"], "smtp": {
            "server": "mail.contoso.local", "username": "mim", "password": { "file": "password.txt" },
            "from": "phonegate@contoso.com", "to": ["it@contoso.com"]
        } },
        { "on": ["fraud"], "webhook": { "url": { "file": "missing.txt" }, "format": "teams" } }
    ])
}

#[test]
fn a_refused_configuration_still_names_its_destinations() {
    let found = ["syslog 127.0.0.1:514", "smtp mail.contoso.local:587"];
    for text in [
        json!({ "alerts": alerts() }),
        json!({ "use": [], "backends": 3, "unknown": [{}], "alerts": alerts() }),
        json!({ "alerts": alerts(), "network": { "proxy": "none" } }),
    ] {
        assert_eq!(names(&text.to_string(), &refusal()), found, "{text}");
        assert_eq!(names(&format!("\u{feff}{text}"), &refusal()), found, "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_trusted_names_no_destination() {
    let mut two = alerts();
    two[0]["webhook"] = json!({ "url": "https://contoso.com", "format": "teams" });
    for text in [
        json!({ "alerts": two }).to_string(),
        json!({ "alerts": alerts(), "network": { "proxies": [] } }).to_string(),
        format!("{} ,", json!({ "alerts": alerts() })),
        format!(r#"{{ "alerts": [], "alerts": {} }}"#, alerts()),
        "{}".to_owned(),
        String::new(),
    ] {
        assert!(names(&text, &refusal()).is_empty(), "{text}");
    }
    let text = json!({ "alerts": alerts() }).to_string();
    let unsafe_file = ConfigError::at(ErrorKind::UnsafePermissions, "strict_permissions", "others can write");
    assert!(names(&text, &unsafe_file).is_empty());
    assert!(Destinations::for_refused(Path::new("/missing/phonegate.json"), &refusal()).iter().next().is_none());
}

/// Else an account that can write to it could have a password sent to a server of its own.
#[cfg(unix)]
#[test]
fn a_file_that_others_can_change_names_no_destination() {
    use std::os::unix::fs::PermissionsExt;
    for changed in ["phonegate.json", "password.txt"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password.txt"), "hush").unwrap();
        let path = folder.path().join("phonegate.json");
        std::fs::write(&path, json!({ "alerts": alerts() }).to_string()).unwrap();
        assert_eq!(Destinations::for_refused(&path, &refusal()).iter().count(), 2);
        let open = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(folder.path().join(changed), open).unwrap();
        assert_eq!(Destinations::for_refused(&path, &refusal()).iter().count(), 0, "{changed}");
    }
}

#[test]
fn an_alert_about_the_same_is_sent_once_an_hour() {
    let start = Moment::now();
    let after = |seconds| {
        let span = Duration::from_secs(seconds);
        start.moved(span, span, span)
    };
    let mut limit = HourlyLimit::new();
    assert!(limit.admits(AlertKind::Configuration, "one", start));
    assert!(!limit.admits(AlertKind::Configuration, "one", after(3599)));
    assert!(limit.admits(AlertKind::Configuration, "two", after(3599)));
    assert!(limit.admits(AlertKind::StoreDown, "one", after(3599)));
    assert!(limit.admits(AlertKind::Configuration, "one", after(3601)));
    assert!(!limit.admits(AlertKind::Configuration, "one", after(3602)));
}

#[test]
fn different_alerts_are_bounded_too() {
    let mut limit = HourlyLimit::new();
    let now = Moment::now();
    let admitted = (0..1000).filter(|about| limit.admits(AlertKind::StoreDown, &about.to_string(), now)).count();
    assert_eq!(admitted, MAX_ALERTS);
}

#[test]
fn a_refusal_is_reported_with_its_place_and_what_to_do() {
    let alert = refused(&refusal().in_file(Path::new("/etc/phonegate.json")));
    assert_eq!(alert.kind, AlertKind::Configuration);
    assert!(alert.text.starts_with("/etc/phonegate.json: use: is empty\nEvery call fails."), "{}", alert.text);
}
