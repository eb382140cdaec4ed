//! E-mail.

use phonegate::alerts::Alert;
use serde_json::{Value, json};

use super::support::alerts::{Receiver, alert, build, deliver};
use super::{PASSWORD, built, header, here, smtp, users};

#[test]
fn a_mail_arrives_once_and_complete() {
    for tls in ["starttls", "implicit"] {
        let server = Receiver::mail(tls, users(), &[]);
        let destination = built(&smtp(&server, tls, PASSWORD));
        deliver(&destination, &alert()).unwrap();
        let mail = server.event("mail");
        assert_eq!(
            mail["mail"],
            "Zoë's phone reported fraud.\nFind out who began the request.\n\nMachine: WEB1\n\
             Time:    2026-11-30 01:33:20 UTC\nNumber:  +1******1212\nCall:    6f9619ff-8b86-d011-b42d-00c04fc964ff\n\
             Backend: trunk\nAlert:   fraud 01234567-89ab-4def-8123-456789abcdef\n\n\
             PhoneGate sent this because of `alerts` in its configuration."
        );
        assert_eq!(mail["defects"], json!([]));
        assert_eq!((&mail["encrypted"], &mail["authenticated"]), (&json!(true), &json!(true)));
        assert_eq!(mail["from"], "phonegate@contoso.com");
        assert_eq!(mail["to"], json!(["it@contoso.com", "security@contoso.com"]));
        for (name, value) in [
            ("From", "PhoneGate <phonegate@contoso.com>"),
            ("To", "it@contoso.com, security@contoso.com"),
            ("Subject", "PhoneGate on WEB1: a user reported fraud"),
            ("Date", "Mon, 30 Nov 2026 01:33:20 +0000"),
            ("Message-ID", "<01234567-89ab-4def-8123-456789abcdef@contoso.com>"),
            ("Auto-Submitted", "auto-generated"),
            ("Content-Type", "text/plain; charset=\"utf-8\""),
        ] {
            assert_eq!(header(&mail, name), value);
        }
        assert_eq!(server.end("mail").len(), 1);
    }
}

/// Such as the mail service of the machine itself.
#[test]
fn a_server_of_this_machine_needs_no_tls_and_no_account() {
    let server = Receiver::mail("none", Value::Null, &[]);
    deliver(&built(&smtp(&server, "none", "")), &alert()).unwrap();
    assert_eq!(server.event("mail")["encrypted"], false);
}

#[test]
fn a_mail_is_delivered_when_the_server_has_accepted_it() {
    let server = Receiver::mail_without_quit();
    deliver(&built(&smtp(&server, "none", "")), &alert()).unwrap();
    server.event("mail");
}

#[test]
fn a_wrong_password_sends_nothing() {
    for tls in ["starttls", "implicit"] {
        let server = Receiver::mail(tls, users(), &[]);
        let destination = built(&smtp(&server, tls, "hush-hush-wrong"));
        let error = deliver(&destination, &alert()).unwrap_err();
        assert!(error.to_string().starts_with("the mail server refused the account: 535 "), "{error}");
        assert!(!error.is_permanent(), "an administrator can correct it");
        assert!(!format!("{error} {error:?} {destination:?}").contains("hush"), "{error:?}");
        assert_eq!(server.event("login")["accepted"], false);
        assert!(server.end("mail").is_empty());
    }
}

#[test]
fn a_server_without_starttls_gets_no_account_and_no_mail() {
    let server = Receiver::mail("none", users(), &[]);
    let error = deliver(&built(&smtp(&server, "starttls", PASSWORD)), &alert()).unwrap_err();
    assert!(error.to_string().contains("does not offer STARTTLS"), "{error}");
    assert_eq!(server.end("session"), [] as [Value; 0]);
}

#[test]
fn the_authorities_of_the_network_are_trusted_too() {
    let server = Receiver::mail("starttls", users(), &[]);
    let mut element = smtp(&server, "starttls", PASSWORD);
    element["smtp"]["ca_file"] = Value::Null;
    let network = json!({ "ca_file": server.certificate.authority() });
    deliver(&build(&element, &network, here()).unwrap(), &alert()).unwrap();
    server.event("mail");
}

#[test]
fn one_wrong_receiver_does_not_keep_the_mail_from_others() {
    let server = Receiver::mail("starttls", users(), &["it@contoso.com"]);
    deliver(&built(&smtp(&server, "starttls", PASSWORD)), &alert()).unwrap();
    let mail = server.event("mail");
    assert_eq!(mail["to"], json!(["security@contoso.com"]));
    assert!(mail["mail"].as_str().unwrap().contains("The mail server refused 1 of 2 receivers."), "{mail}");
}

#[test]
fn an_error_names_no_receiver() {
    let server = Receiver::mail("starttls", users(), &["it@contoso.com", "security@contoso.com"]);
    let error = deliver(&built(&smtp(&server, "starttls", PASSWORD)), &alert()).unwrap_err();
    assert_eq!(error.to_string(), "the mail server refused every receiver: 550 5.1.1 … no such mailbox");
    assert!(server.end("mail").is_empty());
}

#[test]
fn text_cannot_add_headers_commands_or_mails() {
    let server = Receiver::mail("starttls", users(), &[]);
    let hostile = Alert {
        node: "WEB1\r\nBcc: all@contoso.com\r\n\r\nx".into(),
        backend: Some("trunk\r\n.\r\nMAIL FROM:<x@contoso.com>\r\n".into()),
        text: "one\r\n.\r\nMAIL FROM:<x@contoso.com>\r\nRCPT TO:<all@contoso.com>\r\nDATA\r\n.two\n".into(),
        ..alert()
    };
    deliver(&built(&smtp(&server, "starttls", PASSWORD)), &hostile).unwrap();
    let mail = server.event("mail");
    assert_eq!(mail["to"], json!(["it@contoso.com", "security@contoso.com"]));
    assert_eq!(header(&mail, "Subject"), "PhoneGate on WEB1  Bcc: all@contoso.com    x: a user reported fraud");
    let names: Vec<_> = mail["headers"].as_array().unwrap().iter().map(|header| header[0].as_str().unwrap()).collect();
    assert!(!names.contains(&"Bcc"), "{names:?}");
    let text = mail["mail"].as_str().unwrap();
    assert!(text.starts_with("one\n.\nMAIL FROM:<x@contoso.com>\nRCPT TO:<all@contoso.com>\nDATA\n.two\n"), "{text}");
    assert!(text.contains("Backend: trunk  .  MAIL FROM:<x@contoso.com>"), "{text}");
    assert_eq!(server.end("mail").len(), 1);
}
