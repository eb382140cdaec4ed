//! The flow that PhoneGate generates for Twilio Studio, and its result for everything that a user can do.

mod support;

use std::collections::BTreeSet;

use phonegate::backend::twilio_studio::flow_definition;
use phonegate::config;
use phonegate_approval::attempts::{Attempts, StoredAttempts};
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::{Answer, Denial, EndedBy, ProviderVerdicts, Verdict};
use serde_json::{Value, json};
use support::twilio::FROM;
use support::twilio::flow::{Act, Callee, Went, problems, run};

use Act::{HangsUp, Heard, Keys, Nothing, Speaks};

const TO: &str = "+14255551212";

/// The results that PhoneGate knows.
const RESULTS: [&str; 6] = ["BUSY", "FAILED", "MACHINE", "NO_ANSWER", "NO_KEY", "PRESSED"];

/// The code of each attempt, in digits and in words.
const CODES: [(&str, &str); 3] =
    [("471", "four, seven, one"), ("829", "eight, two, nine"), ("313", "three, one, three")];

/// A flow, and what approves a call through it.
struct Rig {
    definition: Value,
    parameters: Value,
    attempts: Attempts,
}

impl Rig {
    fn new(method: Method, attempts: usize) -> Self {
        Self::with(method, attempts, json!({}))
    }

    /// As `new`, with other sections of the configuration.
    fn with(method: Method, attempts: usize, others: Value) -> Self {
        let mut config = json!({
            "use": ["line"], "allow_test_backends": true, "backends": { "line": { "type": "simulated" } },
            "numbers": { "default_country": "US" }, "approval": { "method": method.name() },
            "prompts": { "attempts": attempts },
        });
        for (key, value) in others.as_object().unwrap() {
            let section = config[key].as_object_mut().map(std::mem::take).unwrap_or_default();
            config[key] = section.into_iter().chain(value.as_object().unwrap().clone()).collect();
        }
        let fraud_key = config["fraud"]["key"].as_str().unwrap_or("0").chars().next().unwrap();
        let config = config::parse(&config.to_string(), &phonegate::TYPES).unwrap();
        let mut parameters = json!({
            "fraud_key": fraud_key.to_string(), "send_digits": "", "language": "en-US", "nonce": "of this call",
        });
        let policy = Policy::default().with_method(method).with_attempts(attempts as u8).unwrap();
        let policy = policy.with_fraud_key(fraud_key).unwrap();
        let digits = policy.code_digits();
        let mut stored = format!("1 {} {digits} {fraud_key} {attempts}", method.name());
        for (n, (code, spoken)) in (1..=attempts).zip(CODES).filter(|_| method.has_code()) {
            parameters[format!("code_{n}")] = json!(code);
            parameters[format!("spoken_{n}")] = json!(spoken);
            stored += &format!(" {code}");
        }
        let attempts = Attempts::restore(policy, &StoredAttempts::from_text(stored)).unwrap();
        Self { definition: flow_definition(&config).unwrap(), parameters, attempts }
    }

    fn went(&self, callee: Callee) -> Went {
        run(&self.definition, callee, (FROM, TO), &self.parameters)
    }

    /// How a call ends, as PhoneGate judges it.
    fn ends(&self, acts: &'static [Act]) -> String {
        let went = self.went(Callee::Answers(acts));
        if went.variable("result") != "PRESSED" {
            return went.variable("result").to_owned();
        }
        assert_eq!(went.variable("nonce"), "of this call");
        let ended_by = match went.variable("ended_by") {
            "pound" => EndedBy::Pound,
            "pause" => EndedBy::Pause,
            other => panic!("an entry does not end by {other:?}"),
        };
        let digits = Entry::from_text(went.variable("digits"));
        let answer = Answer::Entry { attempt: went.variable("attempt").parse().unwrap(), digits, ended_by };
        match self.attempts.judge(ProviderVerdicts::Refused, &answer) {
            Verdict::Approved(_) => "approved".to_owned(),
            Verdict::CheckPin(check) => format!("PIN {}", String::from_utf8_lossy(check.pin().as_bytes())),
            Verdict::Denied(Denial::FraudReported) => "fraud".to_owned(),
            Verdict::Denied(Denial::WrongEntry { .. }) => "wrong".to_owned(),
            Verdict::Denied(denial) => denial.to_string(),
        }
    }
}

/// The events of a state, each with the next state. `None`: the flow ends.
fn leads_to(state: &Value) -> impl Iterator<Item = (&str, Option<&str>)> {
    let transitions = state["transitions"].as_array().unwrap().iter();
    transitions.map(|transition| (transition["event"].as_str().unwrap(), transition["next"].as_str()))
}

/// Every kind of flow.
fn all_flows() -> Vec<Value> {
    let languages = json!({ "prompts": { "language": "de-DE", "by_country": { "FR": "fr-FR", "GB": "en-GB" } } });
    let mut flows = Vec::new();
    for method in [Method::Code, Method::Pound] {
        for attempts in 1..=3 {
            flows.push(Rig::new(method, attempts).definition);
            flows.push(Rig::with(method, attempts, languages.clone()).definition);
        }
    }
    flows
}

#[test]
fn studio_accepts_every_flow() {
    for flow in all_flows() {
        assert_eq!(problems(&flow), Vec::<String>::new());
    }
}

#[test]
fn the_check_finds_flows_that_studio_refuses() {
    type Spoil = fn(&mut Value);
    let spoils: [(Spoil, &str); 9] = [
        (|flow| flow["states"][1]["transitions"][0]["next"] = json!("nowhere"), "which does not exist"),
        (|flow| flow["states"][4]["properties"]["timeout"] = json!("3"), "timeout is no number"),
        (|flow| flow["states"][4]["properties"]["say"] = json!(""), "needs the text say"),
        (|flow| flow["states"][4]["type"] = json!("gather"), "unknown type"),
        (|flow| flow["states"][4]["name"] = json!("1st"), "is no name of a widget"),
        (|flow| drop(flow["states"].as_array_mut().unwrap().remove(0)), "one trigger"),
        (|flow| drop(flow["states"].as_array_mut().unwrap().pop()), "which does not exist"),
        (|flow| flow["states"][2]["transitions"][1]["conditions"] = json!([]), "conditions"),
        (|flow| drop(flow.as_object_mut().unwrap().remove("description")), "description"),
    ];
    for (spoil, expected) in spoils {
        let mut flow = Rig::new(Method::Code, 2).definition;
        assert_eq!(flow["states"][4]["type"], "gather-input-on-call");
        spoil(&mut flow);
        let found = problems(&flow);
        assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:?}");
    }
}

#[test]
fn every_state_of_every_flow_is_reached() {
    for flow in all_flows() {
        let states = flow["states"].as_array().unwrap();
        let mut reached: BTreeSet<&str> = [flow["initial_state"].as_str().unwrap()].into();
        for _ in states {
            let from = states.iter().filter(|state| reached.contains(state["name"].as_str().unwrap()));
            let next: Vec<&str> = from.flat_map(leads_to).filter_map(|(_, next)| next).collect();
            reached.extend(next);
        }
        assert_eq!(reached, states.iter().map(|state| state["name"].as_str().unwrap()).collect());
    }
}

#[test]
fn every_ending_writes_a_result_that_phonegate_knows() {
    for flow in all_flows() {
        let mut results = BTreeSet::new();
        for state in flow["states"].as_array().unwrap() {
            let name = &state["name"];
            let variables = state["properties"]["variables"].as_array();
            let result = variables.into_iter().flatten().find(|variable| variable["key"] == "result");
            for (event, next) in leads_to(state) {
                match (state["type"].as_str().unwrap(), event) {
                    // No call and no message comes in, and speech is not recognized.
                    ("trigger", event) => assert_eq!(next.is_none(), event != "incomingRequest", "{event}"),
                    (_, "speech") => assert_eq!(next, None, "{name} listens to speech"),
                    _ => assert_eq!(next.is_none(), result.is_some(), "{name} at {event}"),
                }
            }
            results.extend(result.map(|result| result["value"].as_str().unwrap()));
        }
        assert_eq!(results, RESULTS.into());
    }
}

#[test]
fn each_event_of_the_network_has_its_result() {
    for method in [Method::Code, Method::Pound] {
        for (callee, expected) in [
            (Callee::Busy, "BUSY"),
            (Callee::NoAnswer, "NO_ANSWER"),
            (Callee::Unobtainable, "FAILED"),
            (Callee::Machine, "MACHINE"),
        ] {
            assert_eq!(Rig::new(method, 2).went(callee).variable("result"), expected);
        }
    }
}

#[test]
fn an_extension_is_dialled_and_a_machine_detected() {
    let mut rig = Rig::new(Method::Code, 2);
    rig.parameters["send_digits"] = json!("wwww77");
    let went = rig.went(Callee::Machine);
    assert_eq!((went.variable("result"), went.send_digits.as_str()), ("MACHINE", "wwww77"));
    let went = rig.went(Callee::Answers(&[Heard("", "#")]));
    assert_eq!((went.variable("digits"), went.send_digits.as_str()), ("471", "wwww77"));
}

#[test]
fn only_the_code_of_an_attempt_and_pound_approve() {
    let cases: [(&'static [Act], &str); 24] = [
        (&[Heard("", "#")], "approved"),
        (&[Keys("471#")], "approved"),
        (&[Keys("472#"), Heard("", "#")], "approved"),
        (&[Keys("4471#"), Keys("829#")], "approved"),
        (&[Heard("", ""), Heard("", "#")], "approved"),
        // The code of another attempt.
        (&[Keys("472#"), Keys("471#")], "wrong"),
        (&[Keys("829#"), Keys("829#")], "approved"),
        (&[Keys("829#"), Keys("471#")], "wrong"),
        (&[Keys("829#"), Nothing], "NO_KEY"),
        // The whole entry counts.
        (&[Heard("4", "#"), Heard("", "1#")], "wrong"),
        (&[Heard("*", "#"), Heard("", "*#")], "wrong"),
        (&[Heard("0", "#"), Heard("", "0#")], "wrong"),
        (&[Keys("11111111111111111471#"), Keys("11111111111111111829#")], "wrong"),
        // The entry is cut by a pause.
        (&[Keys("471"), Keys("#")], "NO_KEY"),
        (&[Keys("47"), Keys("1#")], "wrong"),
        (&[Keys("472#"), Heard("", "")], "wrong"),
        (&[Keys("#")], "NO_KEY"),
        (&[Nothing], "NO_KEY"),
        (&[Speaks], "NO_KEY"),
        (&[HangsUp], ""),
        (&[Keys("472#"), HangsUp], ""),
        // A fraud report ends the call.
        (&[Keys("0#")], "fraud"),
        (&[Keys("472#"), Keys("0#")], "fraud"),
        (&[Keys("0"), Keys("#")], "NO_KEY"),
    ];
    let rig = Rig::new(Method::Code, 2);
    for (acts, expected) in cases {
        assert_eq!(rig.ends(acts), expected, "{acts:?}");
    }
}

#[test]
fn the_flow_asks_as_often_as_configured() {
    let one = Rig::new(Method::Code, 1);
    for (acts, expected) in [
        (&[Heard("", "#")][..], "approved"),
        (&[Keys("472#"), Keys("471#")], "wrong"),
        (&[Heard("", ""), Heard("", "#")], "wrong"),
        (&[Keys("0#")], "fraud"),
    ] {
        assert_eq!(one.ends(acts), expected, "{acts:?}");
    }
    let three = Rig::new(Method::Code, 3);
    for (acts, expected) in [
        (&[Keys("1#"), Keys("2#"), Heard("", "#")][..], "approved"),
        (&[Keys("1#"), Keys("2#"), Keys("3#")], "wrong"),
        (&[Keys("1#"), Keys("2#"), Keys("0#")], "fraud"),
        (&[Keys("1#"), Keys("2#"), Keys("829#")], "wrong"),
    ] {
        assert_eq!(three.ends(acts), expected, "{acts:?}");
    }
}

/// All keys are pressed at once: however many early keys Studio keeps, it keeps no more than these.
#[test]
fn no_sequence_of_keys_approves_but_the_code() {
    let mut rig = Rig::new(Method::Code, 2);
    rig.parameters["code_2"] = json!("147");
    let policy = Policy::default();
    let stored = StoredAttempts::from_text("1 code 3 0 2 471 147".to_owned());
    rig.attempts = Attempts::restore(policy, &stored).unwrap();
    let mut sequences = vec![String::new()];
    let mut approved = 0;
    for _ in 0..5 {
        sequences =
            sequences.iter().flat_map(|keys| ["4", "7", "1", "0", "#"].map(|key| format!("{keys}{key}"))).collect();
        for keys in &sequences {
            let acts = Vec::leak(vec![Keys(String::leak(keys.clone()))]);
            let mut entries = keys.split_inclusive('#').chain(["", ""]);
            let (first, second) = (entries.next().unwrap(), entries.next().unwrap());
            let expected = match (first, second) {
                ("471#", _) => "approved",
                ("0#", _) => "fraud",
                ("#", _) | (_, "" | "#") => "NO_KEY",
                (_, "147#") => "approved",
                (_, "0#") => "fraud",
                _ => "wrong",
            };
            approved += usize::from(expected == "approved");
            assert_eq!(rig.ends(acts), expected, "{keys}");
        }
    }
    assert!(approved > 5, "{approved}");
}

#[test]
fn pound_alone_approves_with_that_method_only() {
    let cases: [(&'static [Act], &str); 20] = [
        (&[Keys("#")], "approved"),
        (&[Keys("#5")], "approved"),
        (&[Keys("5"), Keys("#")], "approved"),
        (&[Keys("0"), Nothing, Keys("#")], "approved"),
        // The # of 5# belongs to a spent attempt.
        (&[Keys("5#")], "NO_KEY"),
        (&[Keys("*#"), Nothing], "NO_KEY"),
        (&[Keys("5#"), Keys("5#")], "wrong"),
        (&[Keys("05#"), Keys("1")], "wrong"),
        (&[Nothing, Keys("#")], "NO_KEY"),
        (&[Speaks], "NO_KEY"),
        (&[Keys("5"), Keys("5")], "wrong"),
        (&[Keys("5"), Keys("0"), Nothing], "wrong"),
        (&[Keys("5"), Keys("0"), Keys("5")], "wrong"),
        // Zero, then pound, never approves, however fast it is pressed.
        (&[Keys("0#")], "fraud"),
        (&[Keys("0"), Keys("#")], "fraud"),
        (&[Keys("5"), Keys("0#")], "fraud"),
        (&[Keys("5"), Keys("0"), Keys("#")], "fraud"),
        (&[HangsUp], ""),
        (&[Keys("5"), HangsUp], ""),
        (&[Keys("0"), HangsUp], ""),
    ];
    let rig = Rig::new(Method::Pound, 2);
    for (acts, expected) in cases {
        assert_eq!(rig.ends(acts), expected, "{acts:?}");
    }
    assert_eq!(Rig::new(Method::Pound, 1).ends(&[Keys("5#"), Keys("#")]), "wrong");
}

#[test]
fn each_language_says_its_sentences_and_the_code_twice() {
    let sentences: Value = serde_json::from_str(include_str!("../prompts/prompts.json")).unwrap();
    for (tag, sentences) in sentences.as_object().unwrap() {
        let mut rig = Rig::with(Method::Code, 2, json!({ "prompts": { "by_country": { "US": tag } } }));
        let word = |digit: char| sentences[format!("digit_{digit}")].as_str().unwrap();
        rig.parameters["language"] = json!(tag);
        for (n, (code, _)) in (1..=2).zip(CODES) {
            rig.parameters[format!("spoken_{n}")] = json!(code.chars().map(word).collect::<Vec<_>>().join(", "));
        }
        assert_eq!(rig.ends(&[Keys("1#"), Heard("", "#")]), "approved", "{tag}");
        let said = rig.went(Callee::Answers(&[Keys("1#"), Heard("", "#")])).said;
        let part = |name: &str| sentences[name].as_str().unwrap();
        for (said, opening) in said.iter().zip(["intro", "wrong_key"]) {
            assert_eq!((said.language.as_str(), said.times), (tag.as_str(), 3));
            assert!(said.text.starts_with(part(opening)), "{}", said.text);
            assert_eq!(said.text.contains(part("not_you")), opening == "intro", "{}", said.text);
        }
        assert_eq!(said.len(), 2);
    }
}

#[test]
fn an_unknown_language_is_answered_in_the_default_one() {
    let mut rig = Rig::with(Method::Code, 1, json!({ "prompts": { "by_country": { "DE": "de-DE" } } }));
    for (asked, spoken) in [("de-DE", "de-DE"), ("en-US", "en-US"), ("sv-SE", "en-US"), ("", "en-US")] {
        rig.parameters["language"] = json!(asked);
        assert_eq!(rig.went(Callee::Answers(&[Nothing])).said[0].language, spoken, "{asked}");
    }
}

#[test]
fn another_fraud_key_replaces_zero() {
    for method in [Method::Code, Method::Pound] {
        let rig = Rig::with(method, 1, json!({ "fraud": { "key": "6" } }));
        assert!(rig.went(Callee::Answers(&[])).said[0].text.contains("not you, press six, then pound"));
        assert_eq!(rig.ends(&[Keys("6#")]), "fraud");
        assert_eq!(rig.ends(&[Keys("0#")]), "wrong");
    }
}
