//! `phonegate setup` at a terminal: it asks, asks again after a wrong answer, and changes nothing before the end.

#[path = "support/simulator.rs"]
mod simulator;
mod support;
#[path = "support/trunk.rs"]
mod trunk;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use phonegate_simulator::ending::Ending;
use phonegate_simulator::studio::{ACCOUNT_SID, API_KEY_SECRET, API_KEY_SID, FLOW_SID};
use serde_json::{Value, json};
use simulator::Simulator;
use support::terminal::Terminal;
use support::{MASKED, NUMBER, Place};

const SECRET: &str = "hunter2-is-a-secret";

fn setup(place: &Place, options: &[&str]) -> Terminal {
    let options = [&["setup"], options].concat();
    Terminal::run(place.command(&options).env("TERM", "xterm").env("KEY", API_KEY_SECRET))
}

fn answer(terminal: &mut Terminal, question: &str, answer: &str) {
    terminal.asks(question);
    terminal.types(&format!("{answer}\r"));
}

fn written(place: &Place) -> Value {
    serde_json::from_str(&fs::read_to_string(place.config()).unwrap()).unwrap()
}

#[test]
fn a_dialogue_asks_again_and_writes_what_was_answered() {
    let place = Place::empty();
    let address = trunk::start();
    let mut terminal = setup(&place, &["--local-peer"]);
    answer(&mut terminal, "What does the company have?", "");
    answer(&mut terminal, "Address of the trunk", "two words");
    terminal.shows("write one name or address");
    answer(&mut terminal, "Address of the trunk", &address);
    answer(&mut terminal, "Transport (udp, tcp or tls)", "udp");
    answer(&mut terminal, "User name at the trunk", "mim");
    answer(&mut terminal, "Number that users see", "");
    answer(&mut terminal, "Password of the trunk (not shown)", SECRET);
    answer(&mut terminal, "Password of the trunk, once more", "another");
    terminal.shows("the two entries differ");
    answer(&mut terminal, "Password of the trunk (not shown)", SECRET);
    answer(&mut terminal, "Password of the trunk, once more", SECRET);
    answer(&mut terminal, "Country of your users", "DE");
    answer(&mut terminal, "Countries that may be called", "de, at");
    answer(&mut terminal, "Language of the calls", "");
    terminal.asks("Write ");
    assert!(!place.config().exists(), "nothing is written before the last answer");
    terminal.types("y\r");
    answer(&mut terminal, "Place a test call now?", "");
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("Every backend in use can place calls."), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let config = written(&place);
    let trunk = json!({
        "type": "sip", "trunk": format!("sip:{address};transport=udp"), "username": "mim",
        "password": { "file": "trunk-secret.txt" }, "local_peer": true,
    });
    assert_eq!(config["backends"]["trunk"], trunk);
    assert_eq!(config["numbers"], json!({ "default_country": "DE", "allowed_countries": ["DE", "AT"] }));
    assert_eq!(config["prompts"]["language"], "de-DE");
    let secret = place.path().join("trunk-secret.txt");
    assert_eq!(fs::read_to_string(&secret).unwrap().trim_end(), SECRET);
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_flow_is_installed_and_the_called_number_masked() {
    let simulator = Simulator::start(Ending::Approve);
    let url = simulator.base_url();
    let place = Place::empty();
    let options = ["--has", "twilio", "--base-url", &url, "--account-sid", ACCOUNT_SID, "--api-key-sid", API_KEY_SID];
    let rest = [
        "--local-peer",
        "--secret-env",
        "KEY",
        "--default-country",
        "US",
        "--allowed-countries",
        "US",
        "--language",
        "en-US",
    ];
    let mut terminal = setup(&place, &[&options[..], &rest[..]].concat());
    answer(&mut terminal, "Number that users see", "4255550100");
    answer(&mut terminal, "Number that users see", "+14255550100");
    answer(&mut terminal, "Install PhoneGate's call flow", "");
    answer(&mut terminal, "Write ", "");
    answer(&mut terminal, "Place a test call now?", "y");
    answer(&mut terminal, "Number to call", "911");
    answer(&mut terminal, "Number to call", NUMBER);
    terminal.shows(MASKED);
    terminal.shows("Verified: the user approved.");
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(simulator.calls().len(), 1, "911 is not called");
    assert_eq!(written(&place)["backends"]["cloud"]["flow_sid"], FLOW_SID);
}

#[test]
fn escape_ctrl_c_and_no_change_nothing() {
    let options = ["--has", "sip", "--trunk", "192.0.2.1", "--transport", "udp", "--default-country", "US"];
    let rest = ["--username", "", "--caller-id", "", "--allowed-countries", "US"];
    let options = [&options[..], &rest[..]].concat();
    for (key, code) in [("\u{1b}", Some(130)), ("\u{3}", None)] {
        let place = Place::empty();
        let mut terminal = setup(&place, &options);
        terminal.asks("Language of the calls");
        terminal.types(key);
        let (ended, shown) = terminal.ends();
        assert_eq!(ended, code, "{shown}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{shown}");
    }
    let place = Place::empty();
    let mut terminal = setup(&place, &[&options[..], &["--language", "en-US"]].concat());
    answer(&mut terminal, "Write ", "n");
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert!(!place.config().exists());
}
