//! `phonegate setup` without questions: each answer is an option.

#[path = "support/simulator.rs"]
mod simulator;
mod support;
#[path = "support/trunk.rs"]
mod trunk;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use phonegate_simulator::ending::Ending;
use phonegate_simulator::studio::{ACCOUNT_SID, API_KEY_SECRET, API_KEY_SID, FLOW_SID};
use serde_json::{Value, json};
use simulator::Simulator;
use support::ports::unused_address;
use support::{HIDDEN, MASKED, NUMBER, Place, Ran};

const SECRET: &str = "hunter2-is-a-secret";

/// The files of a configuration without a typed secret.
const WRITTEN: [&str; 2] = ["number-key.txt", "phonegate.json"];

/// Options of a trunk at this address, which knows this machine.
fn sip(address: &str) -> Vec<&str> {
    vec!["setup", "--has", "sip", "--trunk", address, "--transport", "udp", "--default-country", "US", "--local-peer"]
}

/// Options of an account at the simulator, without its flow.
fn twilio(base_url: &str) -> Vec<&str> {
    vec![
        "setup",
        "--has",
        "twilio",
        "--account-sid",
        ACCOUNT_SID,
        "--api-key-sid",
        API_KEY_SID,
        "--secret-env",
        "KEY",
        "--caller-id",
        "+14255550100",
        "--default-country",
        "US",
        "--base-url",
        base_url,
        "--local-peer",
    ]
}

fn run(place: &Place, options: &[&str]) -> Ran {
    place.command(options).env("KEY", API_KEY_SECRET).output().unwrap().into()
}

fn written(place: &Place) -> Value {
    serde_json::from_str(&fs::read_to_string(place.config()).unwrap()).unwrap()
}

/// The names of the files in a place, but for the folder of state.
fn files(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|name| name != "state").collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn options_alone_write_a_configuration_that_works() {
    let place = Place::empty();
    let address = trunk::start();
    let ran = run(&place, &[&*sip(&address), &["--caller-id", "+14255550100", "--json"]].concat()).exits(0);
    let records = ran.records();
    let key = place.path().join("number-key.txt");
    assert_eq!(records[0], json!({ "event": "written", "config": place.config(), "number_key_file": key }));
    assert_eq!(records.last().unwrap(), &json!({ "event": "checked", "ok": true, "config": place.config() }));
    let expected = json!({
        "use": ["trunk"],
        "strict_permissions": true,
        "backends": { "trunk": {
            "type": "sip", "trunk": format!("sip:{address};transport=udp"), "caller_id": "+14255550100", "local_peer": true,
        } },
        "approval": { "method": "code" },
        "numbers": { "default_country": "US", "allowed_countries": ["US"] },
        "prompts": { "language": "en-US" },
        "store": { "type": "sqlite" },
        "privacy": { "number_key": { "file": "number-key.txt" } },
        "messages": "brief",
    });
    assert_eq!(written(&place), expected);
    assert_eq!((mode(&place.config()), mode(&place.path().join("number-key.txt"))), (0o600, 0o600));
    assert_eq!(files(&place), WRITTEN, "nothing else is left");
    assert!(records.iter().all(|record| record["event"] != "recommendation"), "{}", ran.stdout);
}

#[test]
fn a_twilio_account_gets_its_flow_and_a_test_call() {
    let simulator = Simulator::start(Ending::Approve);
    let url = simulator.base_url();
    let place = Place::empty();
    let ran = run(&place, &[&*twilio(&url), &["--install-flow", "--call", NUMBER, "--json"]].concat()).exits(0);
    let key = place.path().join("number-key.txt");
    let expected =
        json!({ "event": "written", "config": place.config(), "number_key_file": key, "flow_sid": FLOW_SID });
    assert_eq!(ran.record("written"), expected);
    assert_eq!(ran.record("checked")["ok"], true);
    assert_eq!(ran.record("calling")["number"], MASKED);
    assert_eq!(ran.record("verified")["backend"], "cloud");
    assert_eq!(simulator.calls().len(), 1);
    let config = written(&place);
    assert_eq!(config["backends"]["cloud"]["api_key_secret"], json!({ "env": "KEY" }));
    assert_eq!(config["backends"]["cloud"]["flow_sid"], FLOW_SID);
    for text in [&ran.stdout, &ran.stderr, &config.to_string()] {
        assert!(!text.contains(API_KEY_SECRET) && !text.contains(HIDDEN), "{text}");
    }
}

#[test]
fn a_test_call_that_is_not_approved_exits_with_1() {
    let simulator = Simulator::start(Ending::HangUp);
    let url = simulator.base_url();
    let place = Place::empty();
    let ran = run(&place, &[&*twilio(&url), &["--install-flow", "--call", NUMBER, "--json"]].concat()).exits(1);
    assert_eq!(ran.record("failed")["reason"], "CallEnded");
    assert_eq!(files(&place), WRITTEN);
}

#[test]
fn twilio_refuses_the_key_and_nothing_is_written() {
    let simulator = Simulator::start(Ending::ByHand);
    let url = simulator.base_url();
    let place = Place::empty();
    let mut command = place.command(&[&*twilio(&url), &["--install-flow"]].concat());
    let ran = Ran::from(command.env("KEY", SECRET).output().unwrap()).exits(1);
    assert!(ran.stderr.contains("nothing was written") && ran.stderr.contains("20003"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(SECRET), "{}", ran.stderr);
    assert_eq!(files(&place), Vec::<String>::new());
}

#[test]
fn a_missing_answer_names_its_option() {
    let country = &["--default-country", "US"][..];
    let trunk = &["--has", "sip", "--trunk", "192.0.2.1"][..];
    let account = &["--has", "twilio", "--account-sid", ACCOUNT_SID, "--api-key-sid", API_KEY_SID][..];
    let secret = &["--secret-env", "KEY"][..];
    let cases: [(Vec<&str>, &str); 8] = [
        (vec![], "--has is missing"),
        (vec!["--has", "sip"], "--trunk is missing"),
        (trunk.to_vec(), "--default-country is missing"),
        ([trunk, country, &["--username", "mim"]].concat(), "--secret-file or --secret-env is missing"),
        (vec!["--has", "twilio"], "--account-sid is missing"),
        (account.to_vec(), "--secret-file or --secret-env is missing"),
        ([account, secret].concat(), "--caller-id is missing"),
        ([account, secret, &["--caller-id", "+14255550100"]].concat(), "--flow-sid or --install-flow is missing"),
    ];
    for (options, expected) in cases {
        let place = Place::empty();
        let ran = run(&place, &[&["setup"], &*options].concat()).exits(2);
        assert!(ran.stderr.contains(expected), "{options:?}: {}", ran.stderr);
        assert_eq!(files(&place), Vec::<String>::new(), "{options:?}");
    }
}

#[test]
fn a_wrong_answer_names_its_option() {
    let place = Place::empty();
    let others = ["--username", "mim", "--secret-file"];
    let cases: [(&[&str], &str); 13] = [
        (&["--trunk", "sbc .local"], "--trunk: write one name"),
        (&["--trunk", "2001:db8::1"], "--trunk: write an IPv6 address in brackets: [2001:db8::1]"),
        (&["--trunk", "sbc.local:port"], "--trunk: `sip:sbc.local:port;transport=tls` is not a SIP URI"),
        (&["--trunk", "sip:mim@sbc.local;transport=tls"], "has a user part"),
        (&["--username", "mim@sbc"], "--username: may contain only letters"),
        (&["--trunk", "https://sbc.local"], "--trunk: write a name"),
        (&["--transport", "sctp"], "--transport: it must be udp, tcp or tls"),
        (&["--username", "a b"], "--username: it must have no blanks"),
        (&["--caller-id", "4255550100"], "--caller-id: write it with +"),
        (&["--default-country", "XX"], "--default-country: "),
        (&["--allowed-countries", "US,Germany"], "--allowed-countries: "),
        (&["--language", "xx-XX"], "--language: there are sentences for "),
        (&["--call", "911"], "--call: "),
    ];
    for (options, expected) in cases {
        let mut all = vec!["setup", "--has", "sip"];
        // What is asked later is missing, so a wrong answer is refused at its own question.
        let order = ["--trunk", "--transport", "--username", "--caller-id", "--default-country", "--allowed-countries"];
        let place_in = |option| order.iter().position(|other| *other == option).unwrap_or(order.len());
        let earlier = [("--trunk", "192.0.2.1"), ("--transport", "udp"), ("--default-country", "US")];
        let earlier = earlier.into_iter().filter(|(option, _)| place_in(*option) < place_in(options[0]));
        all.extend(earlier.flat_map(|(option, value)| [option, value]));
        all.extend(options);
        let ran = run(&place, &all).exits(2);
        assert!(ran.stderr.contains(expected), "{options:?}: {}", ran.stderr);
    }
    let missing = place.path().join("none.txt");
    let ran = run(&place, &[&*sip("192.0.2.1"), &others, &[missing.to_str().unwrap()]].concat()).exits(2);
    assert!(ran.stderr.contains("none.txt"), "{}", ran.stderr);
    assert_eq!(files(&place), Vec::<String>::new());
}

#[test]
fn an_option_that_has_no_effect_is_refused() {
    let place = Place::empty();
    let sip = sip("192.0.2.1");
    let cases: [(&[&str], &str); 4] = [
        (&["--account-sid", ACCOUNT_SID], "--account-sid does not apply to --has sip"),
        (&["--install-flow"], "--install-flow does not apply to --has sip"),
        (&["--secret-env", "KEY"], "--secret-file and --secret-env need --username"),
        (&["--trunk", "sip:192.0.2.1;Transport=tcp"], "the URI of --trunk says the transport"),
    ];
    for (options, expected) in cases {
        let others = if options[0] == "--trunk" { [&sip[..3], &sip[5..]].concat() } else { sip.clone() };
        let ran = run(&place, &[&*others, options].concat()).exits(2);
        assert!(ran.stderr.contains(expected), "{options:?}: {}", ran.stderr);
    }
    assert_eq!(files(&place), Vec::<String>::new());
}

#[test]
fn a_uri_without_a_transport_gets_that_of_the_option() {
    for scheme in ["sip", "SIP"] {
        let place = Place::empty();
        let address = trunk::start();
        run(&place, &sip(&format!("{scheme}:{address}"))).exits(0);
        assert_eq!(written(&place)["backends"]["trunk"]["trunk"], format!("sip:{address};transport=udp"));
    }
}

#[test]
fn a_secret_that_this_process_lacks_fails_after_the_file_is_written() {
    let place = Place::empty();
    let address = trunk::start();
    let options = [&*sip(&address), &["--username", "mim", "--secret-env", "PHONEGATE_TEST_UNSET"]].concat();
    let ran = run(&place, &options).exits(1);
    assert!(ran.stderr.contains("PHONEGATE_TEST_UNSET is not set"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the configuration was written"), "{}", ran.stderr);
    assert_eq!(written(&place)["backends"]["trunk"]["password"], json!({ "env": "PHONEGATE_TEST_UNSET" }));
}

#[test]
fn a_configuration_is_replaced_only_if_asked_and_kept() {
    let address = trunk::start();
    let place = Place::simulated(None);
    let former = fs::read_to_string(place.config()).unwrap();
    let ran = run(&place, &sip(&address)).exits(2);
    assert!(ran.stderr.contains("--force"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(place.config()).unwrap(), former);

    let ran = run(&place, &[&*sip(&address), &["--force", "--json"]].concat()).exits(0);
    let backup = ran.record("written")["backup"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(&backup).unwrap(), former);
    assert_eq!((mode(backup.as_ref()), mode(&place.config())), (0o600, 0o600));
    assert_eq!(written(&place)["use"], json!(["trunk"]));
    assert_eq!(files(&place).len(), 3, "the backup and a number key: {:?}", files(&place));
}

#[test]
fn a_trunk_that_does_not_answer_is_reported_and_not_called() {
    let place = Place::empty();
    let address = unused_address().to_string();
    let mut options = sip(&address);
    options[6] = "tcp";
    options.extend(["--call", NUMBER, "--json"]);
    let ran = run(&place, &options).exits(1);
    assert_eq!(ran.record("checked")["ok"], false);
    assert!(ran.records().iter().all(|record| record["event"] != "calling"), "{}", ran.stdout);
    assert_eq!(files(&place), WRITTEN);
}

#[test]
fn a_secret_file_is_named_by_its_absolute_path_and_not_copied() {
    let place = Place::empty();
    let secret = place.path().join("sip.txt");
    fs::write(&secret, SECRET).unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let address = trunk::start();
    let options = [&*sip(&address), &["--username", "mim", "--secret-file", "sip.txt"]].concat();
    let ran = run(&place, &options).exits(0);
    let config = written(&place);
    assert_eq!(config["backends"]["trunk"]["password"], json!({ "file": secret }));
    assert_eq!(config["backends"]["trunk"]["username"], "mim");
    for text in [&ran.stdout, &ran.stderr, &config.to_string()] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert_eq!(files(&place), ["number-key.txt", "phonegate.json", "sip.txt"]);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let place = Place::empty();
    let file = place.path().join("no/such/phonegate.json");
    let address = trunk::start();
    let options = [&*sip(&address), &["--config", file.to_str().unwrap()]].concat();
    let ran = run(&place, &options).exits(1);
    assert!(ran.stderr.contains("no/such") && ran.stderr.contains("no configuration was written"), "{}", ran.stderr);
}
