#![allow(clippy::unwrap_used, reason = "tests")]
use std::time::{Duration, UNIX_EPOCH};

use uuid::Uuid;

use super::*;
use crate::alerts::AlertKind;

fn smtp(account: Option<(&str, &str)>, to: &[&str]) -> Smtp {
    Smtp {
        server: Server { host: "localhost".into(), port: 25, tls: None },
        tls: SmtpTls::None,
        account: account.map(|(name, password)| (name.to_owned(), password.into())),
        from: "phonegate@contoso.com".parse().unwrap(),
        to: to.iter().map(|address| address.parse().unwrap()).collect(),
        hello: hello_name("WEB1"),
    }
}

fn alert() -> Alert {
    Alert {
        id: Uuid::from_u128(7),
        kind: AlertKind::BackendDown,
        at: UNIX_EPOCH + Duration::from_secs(1_796_000_000),
        node: "WEB1".into(),
        number: None,
        call: None,
        backend: Some("trunk".into()),
        text: "The trunk does not answer.\nRun `phonegate check`.".into(),
    }
}

#[test]
fn a_mail_has_the_text_that_an_administrator_reads() {
    let email = smtp(None, &["it@contoso.com", "security@contoso.com"]).email(&alert(), 0).unwrap();
    let expected = "\
From: PhoneGate <phonegate@contoso.com>\r
Subject: PhoneGate on WEB1: a backend does not work\r
Date: Mon, 30 Nov 2026 00:53:20 +0000\r
Message-ID: <00000000-0000-0000-0000-000000000007@contoso.com>\r
Auto-Submitted: auto-generated\r
Content-Type: text/plain; charset=utf-8\r
To: it@contoso.com, security@contoso.com\r
Content-Transfer-Encoding: 7bit\r
\r
The trunk does not answer.\r
Run `phonegate check`.\r
\r
Machine: WEB1\r
Time:    2026-11-30 00:53:20 UTC\r
Backend: trunk\r
Alert:   backend_down 00000000-0000-0000-0000-000000000007\r
\r
PhoneGate sent this because of `alerts` in its configuration.\r
";
    assert_eq!(String::from_utf8(email).unwrap(), expected);
}

#[test]
fn a_mail_names_the_number_of_refused_receivers() {
    let email = smtp(None, &["it@contoso.com", "gone@contoso.com"]).email(&alert(), 1).unwrap();
    let text = String::from_utf8(email).unwrap();
    assert!(
        text.ends_with("\r\nThe mail server refused 1 of 2 receivers. Correct `to` in phonegate.json.\r\n"),
        "{text}"
    );
}

#[test]
fn what_a_server_repeats_of_the_account_is_hidden() {
    let smtp = smtp(Some(("mim-account", "hush-hush")), &["it@contoso.com"]);
    let login = BASE64_STANDARD.encode("\0mim-account\0hush-hush");
    let text = format!(
        "no mim-account:hush-hush or {} or {} or {login}, <it@contoso.com>: refused",
        BASE64_STANDARD.encode("mim-account"),
        BASE64_STANDARD.encode("hush-hush")
    );
    assert_eq!(smtp.without_secrets(&text), "no …:… or … or … or …, … refused");
}

#[test]
fn a_machine_whose_name_is_no_domain_greets_with_an_address() {
    for (machine, hello) in [("WEB1", "WEB1"), ("web-1.contoso.local", "web-1.contoso.local")] {
        assert_eq!(hello_name(machine).to_string(), hello);
    }
    for machine in ["", "web 1", "büro", "web1\r\nQUIT", "-x", "web_1"] {
        assert_eq!(hello_name(machine).to_string(), "[127.0.0.1]", "{machine:?}");
    }
}

/// The result of a delivery to a server whose greeting is a line of 64 MiB.
fn deliver_to_server_that_never_stops() -> Result<(), DeliveryError> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // More than the buffers of the system hold, so that it fails only if the client does not read all of it.
        std::io::Write::write_all(&mut stream, &vec![b'2'; 64 * 1024 * 1024]).is_err()
    });
    let server = Server { host: "127.0.0.1".into(), port, tls: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(Smtp { server, ..smtp(None, &["it@contoso.com"]) }.deliver(&alert()));
    assert!(serving.join().unwrap(), "the client closed the connection early");
    result
}

#[test]
fn a_server_that_sends_without_end_is_left() {
    let error = deliver_to_server_that_never_stops().unwrap_err();
    assert!(error.to_string().contains("the server sent too much"), "{error}");
}
