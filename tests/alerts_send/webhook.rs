//! Webhooks.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use serde_json::{Value, json};

use super::support::alerts::{Receiver, SECRET, alert, build, deliver};
use super::{built, here, webhook};

#[test]
fn a_webhook_gets_the_alert_once_and_can_check_it() {
    let server = Receiver::webhook(204, SECRET);
    let destination = built(&webhook(&server, "json"));
    deliver(&destination, &alert()).unwrap();
    let request = server.event("path");
    assert_eq!((&request["method"], &request["path"]), (&json!("POST"), &json!("/hush-hush?sig=hush-hush")));
    assert_eq!(request["genuine"], true);
    assert_eq!(request["headers"]["webhook-id"], "01234567-89ab-4def-8123-456789abcdef");
    assert_eq!(request["headers"]["content-type"], "application/json");
    let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({
            "id": "01234567-89ab-4def-8123-456789abcdef", "kind": "fraud", "at": "2026-11-30T01:33:20Z", "node": "WEB1",
            "number": "+1******1212", "call": "6f9619ff-8b86-d011-b42d-00c04fc964ff", "backend": "trunk",
            "text": "Zoë's phone reported fraud.\nFind out who began the request."
        })
    );
    assert_eq!(server.end("path").len(), 1);
}

#[test]
fn a_receiver_with_another_key_does_not_believe_an_alert() {
    let server = Receiver::webhook(204, "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI=");
    deliver(&built(&webhook(&server, "json")), &alert()).unwrap();
    assert_eq!(server.event("path")["genuine"], false);
}

#[test]
fn a_teams_workflow_gets_a_card() {
    let server = Receiver::webhook(202, SECRET);
    let destination = built(&webhook(&server, "teams"));
    assert_eq!(destination.name(), format!("teams localhost:{}", server.port));
    deliver(&destination, &alert()).unwrap();
    let request = server.event("path");
    assert!(request["headers"].get("webhook-signature").is_none(), "{request}");
    let card: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    assert_eq!(card["attachments"][0]["contentType"], "application/vnd.microsoft.card.adaptive");
    let body = card["attachments"][0]["content"]["body"].to_string();
    for part in ["PhoneGate on WEB1: a user reported fraud", "Zoë's phone reported fraud.", "Number: +1******1212"] {
        assert!(body.contains(part), "{body}");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let server = Receiver::webhook(status, SECRET);
        let error = deliver(&built(&webhook(&server, "json")), &alert()).unwrap_err();
        assert!(error.to_string().contains(&format!("{status}, a redirect, which is not followed")), "{error}");
        assert_eq!(server.end("path").len(), 1);
    }
}

#[test]
fn a_status_that_is_no_success_is_no_delivery() {
    for (status, is_permanent) in [(400, false), (404, false), (410, true), (429, false), (503, false)] {
        let server = Receiver::webhook(status, SECRET);
        let destination = built(&webhook(&server, "json"));
        let error = deliver(&destination, &alert()).unwrap_err();
        assert_eq!(error.is_permanent(), is_permanent, "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert!(!format!("{error} {error:?} {destination:?} {}", destination.name()).contains("hush"), "{error:?}");
    }
}

#[test]
fn a_webhook_goes_through_the_proxy() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let network = json!({ "proxy": format!("http://{}", proxy.local_addr().unwrap()) });
    let element =
        json!({ "on": ["fraud"], "webhook": { "url": "https://hooks.contoso.local/hush", "format": "teams" } });
    let destination = build(&element, &network, here()).unwrap();
    let asked = std::thread::spawn(move || {
        let (stream, _) = proxy.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        line
    });
    let error = deliver(&destination, &alert()).unwrap_err();
    assert_eq!(asked.join().unwrap(), "CONNECT hooks.contoso.local:443 HTTP/1.1\r\n");
    assert!(!error.to_string().contains("hush"), "{error}");
}
