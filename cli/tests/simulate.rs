//! `phonegate simulate`: what it prints, and how it ends. `simulate_browser` tests its page.
#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use support::{NUMBER, Place, Running, wait_for};

/// Loads a page, and returns the response.
fn get(url: &str) -> String {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn the_printed_page_is_served_until_ctrl_c() {
    for signal in ["INT", "TERM"] {
        let place = Place::empty();
        let mut running = Running::start(&mut place.command(&["simulate", "--number", "+1 4255550188"]));
        let line = running.read_until("The telephones: ");
        let url = line.trim().strip_prefix("The telephones: ").unwrap().to_owned();
        assert!(get(&url).starts_with("HTTP/1.1 200 "), "{url}");
        running.read_until("Ctrl-C ends the simulator.");
        running.signal(signal);
        let ran = running.wait().exits(0);
        assert!(!ran.all().contains("555018"), "numbers of telephones are not printed: {}", ran.all());
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn the_printed_configuration_calls_the_telephones() {
    let place = Place::empty();
    let options = ["simulate", "--number", "+49 30 901820", "--ending", "busy"];
    let mut running = Running::start(&mut place.command(&options));
    let mut shown = String::new();
    while !shown.ends_with("Ctrl-C ends the simulator.\n") {
        shown.push_str(&running.read_until(""));
    }
    let (_, rest) = shown.split_once("save this as test.json:\n").unwrap();
    let (config, rest) = rest.split_once("and run, in another terminal:\n").unwrap();
    let mut config: Value = serde_json::from_str(config).unwrap();
    let is_busy = |place: &Place, call: &[&str]| {
        assert_eq!(place.run(call).exits(1).record("failed")["reason"], "Unreachable", "{call:?}");
    };
    let caller = Place::with(&config);
    let command = rest.lines().next().unwrap().trim().strip_prefix("phonegate ").unwrap();
    let command = command.replace("test.json", caller.config().to_str().unwrap()) + " --json";
    is_busy(&caller, &command.split(' ').collect::<Vec<_>>());
    is_busy(&caller, &["call", "+49 30 901820", "--json"]);
    let (_, twilio) = rest.split_once("\"twilio\": ").unwrap();
    config["backends"]["twilio"] = serde_json::from_str(twilio.lines().next().unwrap()).unwrap();
    config["use"] = json!(["twilio"]);
    is_busy(&Place::with(&config), &["call", NUMBER, "--json"]);
    running.signal("INT");
    running.wait().exits(0);
}

#[test]
fn json_is_one_line_with_page_and_backends() {
    let place = Place::empty();
    let mut running = Running::start(&mut place.command(&["simulate", "--json"]));
    let ready: Value = serde_json::from_str(&running.read_until("ready")).unwrap();
    assert!(get(ready["url"].as_str().unwrap()).starts_with("HTTP/1.1 200 "));
    assert_eq!(ready["backends"]["sip"]["type"], "sip");
    assert_eq!(ready["backends"]["twilio"]["type"], "twilio_studio");
    running.signal("INT");
    assert_eq!(running.wait().exits(0).records().len(), 1);
}

/// Over each transport, so that what ends a call is not lost with its connection.
#[test]
fn ctrl_c_ends_the_calls_before_the_simulator() {
    for (transport, ending, state, reason) in [
        ("udp", "by_hand", "ringing", "Unreachable"),
        ("udp", "no_key", "answered", "CallEnded"),
        ("tcp", "no_key", "answered", "CallEnded"),
    ] {
        let place = Place::empty();
        let mut running = Running::start(&mut place.command(&["simulate", "--json", "--ending", ending]));
        let ready: Value = serde_json::from_str(&running.read_until("ready")).unwrap();
        let mut backend = ready["backends"]["sip"].clone();
        backend["trunk"] = format!("{};transport={transport}", backend["trunk"].as_str().unwrap()).into();
        let caller = Place::with(&json!({
            "use": ["sip"],
            "allow_test_backends": true,
            "backends": { "sip": backend },
            "numbers": { "default_country": "US" },
            "store": { "type": "memory" },
        }));
        let mut call = Running::start(&mut caller.command(&["call", NUMBER, "--json"]));
        call.read_until(state);
        running.signal("INT");
        running.wait().exits(0);
        assert_eq!(call.wait().exits(1).record("failed")["reason"], reason, "{transport} {state}");
    }
}

#[test]
fn a_used_port_is_named_with_what_to_do() {
    let used = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = used.local_addr().unwrap().port().to_string();
    let place = Place::empty();
    for option in ["--port", "--sip-port", "--studio-port"] {
        let ran = place.run(&["simulate", option, &port, "--json"]).exits(1);
        let error = ran.record("error");
        assert!(error["text"].as_str().unwrap().contains(&port), "{error}");
        assert!(error["hints"][0].as_str().unwrap().contains(&format!("leave out {option}")), "{error}");
    }
}

#[test]
fn wrong_arguments_are_explained() {
    let place = Place::empty();
    let cases = [
        (["--number", "alice"], "write it with + and the country code, such as +1 425 555 1212"),
        (["--number", "4255551212"], "write it with + and the country code, such as +1 425 555 1212"),
        (["--ending", "answer"], "possible values: by_hand, approve"),
        (["--approve-after", "0"], "1..=3600"),
        (["--pin", "12x4"], "a PIN has 1 to 16 digits"),
        (["--fraud-key", "#"], "the fraud key is a digit"),
        (["--port", "65536"], "0..=65535"),
    ];
    for ([option, value], why) in cases {
        let ran = place.run(&["simulate", option, value]).exits(2);
        assert!(ran.stderr.contains(why), "{option}: {}", ran.stderr);
    }
    let numbers: Vec<String> = (0..101).map(|n| format!("--number=+1425555{n:04}")).collect();
    let arguments: Vec<&str> = ["simulate"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
    assert!(place.run(&arguments).exits(2).stderr.contains("at most 100 telephones"));
}

/// `xdg-open` of this test writes down what it shall open.
#[test]
fn the_page_is_opened_where_there_is_a_display() {
    for (display, option, is_opened) in
        [("", "--port=0", false), (":7", "--no-browser", false), (":7", "--json", false), (":7", "--port=0", true)]
    {
        let place = Place::empty();
        let opener = place.path().join("xdg-open");
        let opened = place.path().join("opened");
        std::fs::write(&opener, format!("#!/bin/sh\necho \"$1\" > '{}'\n", opened.display())).unwrap();
        std::fs::set_permissions(&opener, PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = place.command(&["simulate", option]);
        let mut running = Running::start(command.env("PATH", place.path()).env("DISPLAY", display));
        let line = running.read_until("/?token=");
        if is_opened {
            let url = wait_for("the page is opened", || {
                std::fs::read_to_string(&opened).ok().filter(|text| text.ends_with('\n'))
            });
            assert!(line.contains(url.trim()), "{url} in {line}");
        }
        running.signal("INT");
        running.wait().exits(0);
        assert_eq!(opened.exists(), is_opened, "DISPLAY={display} {option}");
    }
}
