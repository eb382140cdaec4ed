//! The exit codes, and the names and fields of JSON lines, stay as they are. The list is `frozen_names.txt`.

#[path = "../../tests/support/frozen.rs"]
mod frozen;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use support::{NUMBER, Place, Ran, Running, kept, ports};

#[test]
fn exit_codes_and_json_fields_are_those_of_the_list() {
    let sections = [("exit codes", exit_codes()), ("JSON lines: command, event, fields", json_lines())];
    frozen::compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen_names.txt"), &sections);
}

/// The exit codes that the help of `phonegate call` explains, which has all of them.
fn exit_codes() -> Vec<String> {
    let help = Place::empty().run(&["call", "--help"]).exits(0).stdout;
    let codes = help.split_once("Exit codes:\n").unwrap().1.lines();
    let words = codes.map_while(|line| line.trim().split_once("  "));
    words.map(|(code, text)| format!("{code} {}", text.trim().split([';', ',', '.']).next().unwrap())).collect()
}

/// The fields of each kind of line, in any of the runs below.
#[derive(Default)]
struct Lines(BTreeMap<(&'static str, String), BTreeSet<String>>);

impl Lines {
    fn add(&mut self, command: &'static str, ran: &Ran) {
        for line in ran.records() {
            let event = line["event"].as_str().unwrap().to_owned();
            let fields = self.0.entry((command, event)).or_default();
            fields.extend(line.as_object().unwrap().keys().filter(|field| *field != "event").cloned());
        }
    }
}

fn json_lines() -> Vec<String> {
    let mut lines = Lines::default();
    let mut config = kept(None);
    config["backends"]["broken"] = json!({ "type": "file", "path": "there/is/no/such/folder.txt" });
    config["use"] = json!(["broken", "phone"]);
    config["numbers"]["allowed_countries"] = json!(["US", "CA"]);
    config["routes"] = json!([{ "countries": ["CA"], "use": ["phone"] }]);
    let place = Place::with_store(&config);
    let mut run = |command: &'static str, rest: &[&str]| {
        let words: Vec<_> = command.split(' ').chain(rest.iter().copied()).chain(["--json"]).collect();
        let ran = place.run(&words);
        lines.add(command, &ran);
        ran
    };
    run("call", &["--store", NUMBER]).exits(0);
    run("call", &["--store", "911"]).exits(1);
    let calls = run("calls", &[]).exits(0).records();
    let id = |call: &Value| call["id"].as_str().unwrap().to_owned();
    let verified = calls.iter().find(|call| call["outcome"] == "verified").map(id).unwrap();
    run("calls show", &[&verified]).exits(0);
    run("blocks add", &[NUMBER, "--reason", "left", "--days", "7"]).exits(0);
    run("blocks list", &[]).exits(0);
    run("call", &["--store", NUMBER]).exits(1);
    run("blocks remove", &[NUMBER]).exits(0);
    run("limits list", &[]).exits(0);
    run("limits unlock", &[NUMBER]).exits(0);
    run("numbers check", &[NUMBER]).exits(0);
    run("prompts list", &[]).exits(0);
    run("prompts check", &[]).exits(0);
    run("alerts list", &[]).exits(0);
    run("check", &[]).exits(1);
    run("backup", &["copy.db"]).exits(0);
    run("report", &["--html", "report.html"]).exits(0);
    run("no-such-command", &[]).exits(2);
    let trunk = format!("sip:{};transport=tcp", ports::unused_address());
    let setup = ["--has", "sip", "--trunk", &trunk, "--local-peer", "--default-country", "US", "--force"];
    run("setup", &setup).exits(1);
    let mut simulator = Running::start(&mut place.command(&["simulate", "--json"]));
    simulator.read_until("ready");
    simulator.signal("INT");
    lines.add("simulate", &simulator.wait().exits(0));
    // An outcome with a backend and a reason.
    lines.add("call", &Place::simulated(Some("busy")).run(&["call", NUMBER, "--json"]).exits(1));
    lines
        .0
        .into_iter()
        .map(|((command, event), fields)| {
            format!("{command}: {event}: {}", fields.into_iter().collect::<Vec<_>>().join(" "))
        })
        .collect()
}
