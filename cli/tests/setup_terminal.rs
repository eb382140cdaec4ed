//! `phonegate setup` at a terminal: it asks, asks again after a wrong answer, and changes nothing before the end.

#[path = "support/simulator.rs"]
mod simulator;
mod support;
#[path = "support/trunk.rs"]
mod trunk;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use phonegate_simulator::ending::Ending;
use phonegate_simulator::studio::{ACCOUNT_SID, API_KEY_SECRET, API_KEY_SID, FLOW_SID};
use serde_json::{Value, json};
use simulator::Simulator;
use support::ports::unused_address;
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
    let mut terminal = setup(&place, &[]);
    answer(&mut terminal, "What does the company have?", "");
    answer(&mut terminal, "Address of the trunk", "two words");
    terminal.shows("write one name or address");
    answer(&mut terminal, "Address of the trunk", "2001:db8::1");
    terminal.shows("in brackets: [2001:db8::1]");
    answer(&mut terminal, "Address of the trunk", &address);
    answer(&mut terminal, "Transport (udp, tcp or tls)", "udp");
    answer(&mut terminal, "User name at the trunk", "mim");
    answer(&mut terminal, "Number that users see", "");
    answer(&mut terminal, "Password of the trunk (not shown)", SECRET);
    answer(&mut terminal, "Password of the trunk, once more", "another");
    terminal.shows("the two entries differ");
    answer(&mut terminal, "Password of the trunk (not shown)", SECRET);
    answer(&mut terminal, "Password of the trunk, once more", SECRET);
    terminal.shows("any of its users could listen there");
    answer(&mut terminal, "Allow that?", "y");
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
    let key = fs::read_to_string(place.path().join("number-key.txt")).unwrap();
    assert!(key.trim_end().len() == 64 && !shown.contains(key.trim_end()), "{shown}");
    let secret = place.path().join("trunk-secret.txt");
    assert_eq!(fs::read_to_string(&secret).unwrap().trim_end(), SECRET);
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_flow_is_installed_and_the_called_number_masked() {
    let simulator = Simulator::start(Ending::Approve);
    let url = simulator.base_url();
    let place = Place::empty();
    let options = [
        "--has",
        "twilio",
        "--local-peer",
        "--base-url",
        &url,
        "--account-sid",
        ACCOUNT_SID,
        "--api-key-sid",
        API_KEY_SID,
    ];
    let rest = ["--secret-env", "KEY", "--default-country", "US", "--allowed-countries", "US", "--language", "en-US"];
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
fn without_a_telephone_service_it_says_what_to_try() {
    let place = Place::empty();
    let mut terminal = setup(&place, &[]);
    answer(&mut terminal, "What does the company have?", "None of these yet");
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(2), "{shown}");
    for command in ["phonegate call --demo +1", "phonegate simulate"] {
        assert!(shown.contains(&format!("hint: `{command}")), "{shown}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{shown}");
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

/// The terminal shows again what is typed, and Ctrl-C is a signal again.
#[test]
fn escape_and_ctrl_c_at_the_password_end_the_questions() {
    let options = ["--has", "sip", "--trunk", "192.0.2.1", "--transport", "udp", "--username", "mim"];
    let options = [&options[..], &["--caller-id", ""]].concat();
    for (typed, key) in [("", "\u{1b}"), ("", "\u{3}"), (SECRET, "\u{1b}"), (SECRET, "\u{3}")] {
        let place = Place::empty();
        let mut terminal = setup(&place, &options);
        terminal.asks("Password of the trunk (not shown)");
        terminal.types(typed);
        terminal.types(key);
        assert!(terminal.is_restored_at_end(), "the terminal is as it was");
        let (code, shown) = terminal.ends();
        assert_eq!(code, Some(130), "{shown}");
        assert!(shown.contains("Cancelled: nothing was changed.") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{shown}");
    }
}

#[test]
fn a_secret_can_be_corrected_while_it_is_typed() {
    let place = Place::empty();
    let address = trunk::start();
    let options = ["--has", "sip", "--trunk", &address, "--transport", "udp", "--username", "mim", "--caller-id", ""];
    let rest =
        ["--local-peer", "--default-country", "US", "--allowed-countries", "US", "--language", "en-US", "--no-call"];
    let mut terminal = setup(&place, &[&options[..], &rest[..]].concat());
    answer(&mut terminal, "Password of the trunk (not shown)", &format!("wrong\u{15}{SECRET}xy\u{7f}\u{8}"));
    answer(&mut terminal, "Password of the trunk, once more", &format!("\u{1b}[A{SECRET}"));
    answer(&mut terminal, "Write ", "");
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(fs::read_to_string(place.path().join("trunk-secret.txt")).unwrap().trim_end(), SECRET);
}

/// The file of a secret can have no more bytes than the library reads.
#[test]
fn a_secret_of_the_greatest_length_can_be_read() {
    let place = Place::empty();
    let account = ["--base-url", "https://abcde.api.infobip.com", "--scenario-id", "E83E78", "--no-call"];
    let numbers = ["--caller-id", "+14255550100", "--default-country", "US", "--allowed-countries", "US"];
    let mut terminal =
        setup(&place, &[&["--has", "infobip", "--language", "en-US"], &account[..], &numbers[..]].concat());
    let (longest, longer) = ("s".repeat(4096), "s".repeat(4097));
    answer(&mut terminal, "API key (not shown)", &longer);
    terminal.shows("the secret is longer than 4096 bytes");
    answer(&mut terminal, "API key (not shown)", &longest);
    answer(&mut terminal, "API key, once more", &longest);
    answer(&mut terminal, "Write ", "");
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(fs::read_to_string(place.path().join("infobip-secret.txt")).unwrap(), longest);
}

/// Two administrators: the store may have numbers that were hashed with the other's key.
#[test]
fn number_keys_that_change_during_the_questions_are_kept() {
    let place = Place::with(&json!({ "use": [], "backends": {} }));
    let options = ["--force", "--has", "sip", "--trunk", "192.0.2.1", "--transport", "udp", "--username", ""];
    let rest = ["--caller-id", "", "--default-country", "US", "--allowed-countries", "US", "--language", "en-US"];
    let mut terminal = setup(&place, &[&options[..], &rest[..]].concat());
    terminal.asks("Write ");
    let other = json!({ "use": [], "backends": {}, "privacy": { "number_key": { "env": "OTHER" } } });
    place.configure(&other);
    terminal.types("y\r");
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("another program has just changed the number keys"), "{shown}");
    assert_eq!(written(&place), other);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_flow_that_is_interrupted_leaves_no_secret() {
    let place = Place::empty();
    let twilio = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", twilio.local_addr().unwrap());
    let account = ["--account-sid", ACCOUNT_SID, "--api-key-sid", API_KEY_SID, "--install-flow", "--no-call"];
    let numbers = ["--caller-id", "+14255550100", "--default-country", "US", "--allowed-countries", "US"];
    let options = ["--has", "twilio", "--local-peer", "--base-url", &url, "--language", "en-US"];
    let mut terminal = setup(&place, &[&options[..], &account, &numbers].concat());
    answer(&mut terminal, "Secret of the API key (not shown)", SECRET);
    answer(&mut terminal, "Secret of the API key, once more", SECRET);
    answer(&mut terminal, "Write ", "");
    // Setup waits for an answer now.
    let _connection = twilio.accept().unwrap();
    terminal.types("\u{3}");
    let (_, shown) = terminal.ends();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{shown}");
}

#[test]
fn a_file_that_appears_during_the_questions_is_kept() {
    let place = Place::empty();
    let options = ["--has", "sip", "--trunk", "192.0.2.1", "--transport", "udp", "--username", "", "--caller-id", ""];
    let rest = ["--default-country", "US", "--allowed-countries", "US", "--language", "en-US"];
    let mut terminal = setup(&place, &[&options[..], &rest[..]].concat());
    terminal.asks("Write ");
    fs::write(place.config(), "of another program").unwrap();
    terminal.types("y\r");
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("another program has just written") && shown.contains("--force replaces it and keeps a copy"),
        "{shown}"
    );
    assert_eq!(fs::read_to_string(place.config()).unwrap(), "of another program");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_program_is_asked_for_with_its_script_and_arguments() {
    let place = Place::empty();
    let (program, script) = (place.path().join("pwsh"), place.path().join("PlaceCall.ps1"));
    for file in [&program, &script] {
        fs::write(file, "").unwrap();
    }
    let rest = ["--default-country", "US", "--allowed-countries", "US", "--language", "en-US", "--no-call"];
    let mut terminal = setup(&place, &[&["--has", "exec"], &rest[..]].concat());
    answer(&mut terminal, "Program that places a call", "PlaceCall.ps1");
    terminal.shows("give powershell.exe here");
    answer(&mut terminal, "Program that places a call", "no-such-program");
    terminal.shows("there is no file");
    answer(&mut terminal, "Program that places a call", "pwsh");
    answer(&mut terminal, "Script that the program runs", script.to_str().unwrap());
    answer(&mut terminal, "-NoProfile -NonInteractive -ExecutionPolicy AllSigned -File", "n");
    answer(&mut terminal, "Argument 1 of the program", "-NoProfile");
    answer(&mut terminal, "Argument 2 of the program", "-File");
    answer(&mut terminal, "Argument 3 of the program", "");
    answer(&mut terminal, "Environment variables that it needs", "GATEWAY=x");
    terminal.shows("must have names of variables");
    answer(&mut terminal, "Environment variables that it needs", "GATEWAY, TOKEN");
    answer(&mut terminal, "Does it support checks", "y");
    answer(&mut terminal, "Write ", "");
    // The files are not executable, so the check fails.
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(1), "{shown}");
    let expected = json!({
        "type": "exec", "program": program, "script": script, "arguments": ["-NoProfile", "-File"],
        "environment": ["GATEWAY", "TOKEN"], "supports_check": true,
    });
    assert_eq!(written(&place)["backends"]["program"], expected);
}

#[test]
fn a_service_on_this_machine_is_asked_about() {
    let rest = ["--default-country", "US", "--allowed-countries", "US", "--language", "en-US", "--no-call"];
    let options = ["--has", "infobip", "--secret-env", "KEY"];
    for (allow, code) in [("y", 0), ("n", 130)] {
        let place = Place::empty();
        let mut terminal = setup(&place, &[&options[..], &rest[..]].concat());
        answer(&mut terminal, "Base URL of the account", "http://calls.contoso.com");
        terminal.shows("must begin with https://");
        answer(&mut terminal, "Base URL of the account", &format!("http://{}", unused_address()));
        answer(&mut terminal, "Id of the voice scenario", "E83E-78");
        terminal.shows("must be letters and digits");
        answer(&mut terminal, "Id of the voice scenario", "E83E78");
        answer(&mut terminal, "Number that users see", "+1 425");
        terminal.shows("must be 3 to 14 digits");
        answer(&mut terminal, "Number that users see", "+14255550100");
        terminal.shows("any of its users could listen there");
        answer(&mut terminal, "Allow that?", allow);
        if allow == "y" {
            answer(&mut terminal, "Write ", "");
        }
        let (ended, shown) = terminal.ends();
        assert_eq!(ended, Some(code), "{shown}");
        assert_eq!(place.config().exists(), allow == "y");
        if allow == "y" {
            let backend = &written(&place)["backends"]["infobip"];
            assert_eq!(
                (&backend["local_peer"], &backend["preset"]["infobip"]["from"]),
                (&json!(true), &json!("14255550100"))
            );
        }
    }
}
