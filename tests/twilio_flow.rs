//! The flow that PhoneGate ships for Twilio Studio: what each thing that a user can do at the telephone comes to.

#[path = "support/flow.rs"]
mod flow;

use std::collections::BTreeSet;

use flow::{Act, Callee, problems, run};
use serde_json::{Value, json};

/// The words that PhoneGate knows.
const WORDS: [&str; 8] = ["APPROVED", "BUSY", "FAILED", "FRAUD", "MACHINE", "NO_ANSWER", "NO_KEY", "WRONG_KEY"];

fn shipped() -> Value {
    serde_json::from_str(include_str!("../src/backend/twilio_studio/flow.json")).unwrap()
}

/// The word with which a call ends.
fn word(callee: Callee) -> Option<String> {
    run(&shipped(), callee, &json!({ "has_extension": "no", "send_digits": "", "fraud_key": "0" })).result
}

/// The events of a state, and where they lead; None for an end.
fn leads_to(state: &Value) -> impl Iterator<Item = (&str, Option<&str>)> {
    let transitions = state["transitions"].as_array().unwrap().iter();
    transitions.map(|transition| (transition["event"].as_str().unwrap(), transition["next"].as_str()))
}

#[test]
fn the_flow_is_one_that_studio_takes() {
    assert_eq!(problems(&shipped()), Vec::<String>::new());
}

#[test]
fn a_flow_that_leads_nowhere_or_has_a_property_of_the_wrong_type_is_noticed() {
    let mut flow = shipped();
    flow["states"][1]["transitions"][0]["next"] = json!("nowhere");
    flow["states"][4]["properties"]["timeout"] = json!("8");
    let found = problems(&flow);
    assert!(found.len() == 2 && found[0].contains("nowhere") && found[1].contains("timeout"), "{found:?}");
}

#[test]
fn every_state_of_the_flow_is_reached() {
    let flow = shipped();
    let states = flow["states"].as_array().unwrap();
    let mut reached: BTreeSet<&str> = [flow["initial_state"].as_str().unwrap()].into();
    for _ in states {
        let from = states.iter().filter(|state| reached.contains(state["name"].as_str().unwrap()));
        let next: Vec<&str> = from.flat_map(leads_to).filter_map(|(_, next)| next).collect();
        reached.extend(next);
    }
    assert_eq!(reached, states.iter().map(|state| state["name"].as_str().unwrap()).collect());
}

#[test]
fn the_flow_ends_nowhere_but_after_writing_a_word_that_phonegate_knows() {
    let flow = shipped();
    let mut words = BTreeSet::new();
    for state in flow["states"].as_array().unwrap() {
        let name = &state["name"];
        for (event, next) in leads_to(state) {
            match state["type"].as_str().unwrap() {
                // Nobody calls it or writes to it.
                "trigger" => assert_eq!(next.is_none(), event != "incomingRequest", "{event}"),
                "set-variables" => assert_eq!(next, None, "{name} is an ending"),
                _ => assert_ne!(next, None, "{name} ends the call at {event} without a word"),
            }
        }
        if state["type"] == "set-variables" {
            let variables = state["properties"]["variables"].as_array().unwrap();
            assert!(variables.len() == 1 && variables[0]["key"] == "result", "{name}");
            assert!(words.insert(variables[0]["value"].as_str().unwrap()), "{name} has a word of its own");
        }
    }
    assert_eq!(words, WORDS.into());
}

#[test]
fn every_prompt_for_the_key_says_who_calls_and_what_to_press() {
    for key in ["0", "9"] {
        let parameters = json!({ "has_extension": "no", "send_digits": "", "fraud_key": key });
        let said = run(&shipped(), Callee::Answers(&[]), &parameters).said;
        assert_eq!(said.len(), 2);
        for prompt in said {
            for words in ["sign-in service", "press the pound key", &format!("not you, press {key}, then pound")] {
                assert!(prompt.contains(words), "{prompt}");
            }
        }
    }
}

#[test]
fn another_fraud_key_takes_the_place_of_zero() {
    use Act::{Keys, Nothing};
    let word = |keys: &'static [Act], parameters: Value| run(&shipped(), Callee::Answers(keys), &parameters).result;
    let nine = || json!({ "has_extension": "no", "send_digits": "", "fraud_key": "9" });
    for (keys, expected) in [
        (&[Keys("9#")][..], "FRAUD"),
        (&[Nothing, Keys("9"), Keys("#")], "FRAUD"),
        (&[Nothing, Keys("0#")], "WRONG_KEY"),
        (&[Keys("0#"), Keys("0#")], "WRONG_KEY"),
        (&[Keys("#")], "APPROVED"),
    ] {
        assert_eq!(word(keys, nine()).as_deref(), Some(expected), "{keys:?}");
    }
    // Started by a PhoneGate that does not tell the key.
    let untold = || json!({ "has_extension": "no", "send_digits": "" });
    assert_eq!(word(&[Keys("0#")], untold()).as_deref(), Some("FRAUD"));
    assert_eq!(word(&[Keys("9#"), Keys("9#")], untold()).as_deref(), Some("WRONG_KEY"));
}

#[test]
fn what_the_network_says_has_its_word() {
    for (callee, expected) in [
        (Callee::Busy, "BUSY"),
        (Callee::NoAnswer, "NO_ANSWER"),
        (Callee::Unobtainable, "FAILED"),
        (Callee::Machine, "MACHINE"),
    ] {
        assert_eq!(word(callee).as_deref(), Some(expected));
    }
}

#[test]
fn an_extension_is_dialled_and_a_switchboard_that_sounds_like_a_machine_is_asked_for_the_key() {
    let parameters = json!({ "has_extension": "yes", "send_digits": "wwww77" });
    let went = run(&shipped(), Callee::Machine, &parameters);
    assert_eq!((went.result.as_deref(), went.send_digits.as_str()), (Some("NO_KEY"), "wwww77"));
}

#[test]
fn only_the_pound_key_at_the_start_of_an_attempt_approves() {
    use Act::{HangsUp, Keys, Nothing, Speaks};
    let cases: [(&'static [Act], Option<&str>); 26] = [
        (&[Keys("#")], Some("APPROVED")),
        (&[Keys("#5")], Some("APPROVED")),
        (&[Nothing, Keys("#")], Some("APPROVED")),
        (&[Speaks, Keys("#")], Some("APPROVED")),
        (&[Keys("5"), Keys("#")], Some("APPROVED")),
        (&[Keys("*"), Keys("#")], Some("APPROVED")),
        (&[Keys("0"), Nothing, Keys("#")], Some("APPROVED")),
        (&[Keys("0"), Keys("7"), Keys("#")], Some("APPROVED")),
        // The # of 5# belongs to a spent attempt.
        (&[Keys("5#")], Some("NO_KEY")),
        (&[Keys("*#"), Nothing], Some("NO_KEY")),
        (&[Keys("5#"), Keys("5#")], Some("WRONG_KEY")),
        (&[Keys("55555#"), Keys("1")], Some("WRONG_KEY")),
        (&[Keys("05#"), Keys("1")], Some("WRONG_KEY")),
        (&[Nothing], Some("NO_KEY")),
        (&[Speaks, Speaks], Some("NO_KEY")),
        (&[Nothing, Keys("5")], Some("WRONG_KEY")),
        (&[Nothing, Keys("0"), Nothing], Some("WRONG_KEY")),
        (&[Nothing, Keys("0"), Keys("5")], Some("WRONG_KEY")),
        (&[Nothing, Keys("0"), Speaks], Some("WRONG_KEY")),
        // Zero, then pound, never approves, however fast it is pressed.
        (&[Keys("0#")], Some("FRAUD")),
        (&[Keys("0"), Keys("#")], Some("FRAUD")),
        (&[Keys("5"), Keys("0#")], Some("FRAUD")),
        (&[Nothing, Keys("0"), Keys("#")], Some("FRAUD")),
        (&[HangsUp], None),
        (&[Keys("5"), HangsUp], None),
        (&[Keys("0"), HangsUp], None),
    ];
    for (acts, expected) in cases {
        assert_eq!(word(Callee::Answers(acts)).as_deref(), expected, "{acts:?}");
    }
}
