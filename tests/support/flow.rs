//! Studio flows: what is wrong with a definition, and the word with which a call through it ends.
//!
//! The widgets: <https://www.twilio.com/docs/studio/widget-library>.

use std::collections::{HashSet, VecDeque};

use serde_json::{Value, json};

/// What a telephone does when it is rung.
#[derive(Clone, Copy, Debug)]
pub enum Callee {
    Busy,
    NoAnswer,
    /// The call cannot be put through.
    Unobtainable,
    /// A machine takes the call, and hears each prompt in silence.
    Machine,
    /// Somebody answers, and does one of these at each prompt; then nothing more.
    Answers(&'static [Act]),
}

/// What somebody does at a prompt.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Presses these keys, one right after the other.
    Keys(&'static str),
    Nothing,
    Speaks,
    HangsUp,
}

/// A widget, its events, and the properties that Studio wants as text and as a number.
type Widget = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// The widgets that the flow may have.
const WIDGETS: [Widget; 6] = [
    (
        "trigger",
        &["incomingMessage", "incomingCall", "incomingConversationMessage", "incomingRequest", "incomingParent"],
        &[],
        &[],
    ),
    (
        "make-outgoing-call-v2",
        &["answered", "busy", "noAnswer", "failed"],
        &["from", "to", "send_digits", "trim", "machine_detection", "machine_detection_timeout", "recording_channels"],
        &["timeout"],
    ),
    ("split-based-on", &["match", "noMatch"], &["input"], &[]),
    (
        "gather-input-on-call",
        &["keypress", "speech", "timeout"],
        &["say", "voice", "language", "finish_on_key", "gather_language", "speech_timeout", "profanity_filter"],
        &["timeout", "number_of_digits", "loop"],
    ),
    ("say-play", &["audioComplete"], &["say", "voice", "language"], &["loop"]),
    ("set-variables", &["next"], &[], &[]),
];

/// What is wrong with a definition.
pub fn problems(definition: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let none = Vec::new();
    let states = definition["states"].as_array().unwrap_or(&none);
    let names: Vec<&str> = states.iter().filter_map(|state| state["name"].as_str()).collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    if names.len() != states.len() || known.len() != names.len() {
        problems.push("each state needs a name of its own".to_owned());
    }
    if !definition["initial_state"].as_str().is_some_and(|initial| known.contains(initial)) {
        problems.push("initial_state names no state".to_owned());
    }
    for state in states {
        let name = &state["name"];
        let Some((_, events, texts, numbers)) = WIDGETS.iter().find(|(kind, ..)| state["type"] == *kind) else {
            problems.push(format!("{name} is of the unknown type {}", state["type"]));
            continue;
        };
        let transitions = state["transitions"].as_array().unwrap_or(&none);
        for transition in transitions {
            if !transition["event"].as_str().is_some_and(|event| events.contains(&event)) {
                problems.push(format!("{name} has no event {}", transition["event"]));
            }
            let next = &transition["next"];
            if !next.is_null() && !next.as_str().is_some_and(|next| known.contains(next)) {
                problems.push(format!("{name} goes on to {next}, which does not exist"));
            }
        }
        let properties = &state["properties"];
        for (keys, right) in [(texts, Value::is_string as fn(&Value) -> bool), (numbers, Value::is_u64)] {
            for key in keys.iter().filter(|key| !properties[**key].is_null() && !right(&properties[**key])) {
                problems.push(format!("{name}: {key} is of the wrong type"));
            }
        }
    }
    problems
}

/// How a call went.
#[derive(Debug, PartialEq, Eq)]
pub struct Went {
    /// `flow.variables.result` in the end.
    pub result: Option<String>,
    /// What Twilio was asked to dial after the answer.
    pub send_digits: String,
    /// What was said, whenever a key was waited for.
    pub said: Vec<String>,
}

/// A call on its way through a flow.
struct Run {
    callee: Callee,
    acts: VecDeque<Act>,
    /// Keys that were pressed before anybody listened to them. While something is said, they are lost.
    keys: VecDeque<char>,
}

/// Where a widget leads.
enum Way<'a> {
    Event(&'a str),
    To(Option<String>),
    HungUp,
}

/// More steps than any call through a flow takes.
const MOST_STEPS: usize = 100;

/// Lets a call to the callee go through the flow, started with these parameters.
pub fn run(definition: &Value, callee: Callee, parameters: &Value) -> Went {
    let mut context = json!({
        "widgets": {},
        "flow": { "channel": { "address": "+14255550100" }, "variables": {}, "data": parameters },
        "contact": { "channel": { "address": "+14255551212" } },
    });
    let mut run = Run { callee, acts: VecDeque::new(), keys: VecDeque::new() };
    let mut at = definition["initial_state"].as_str().map(str::to_owned);
    let (mut send_digits, mut said) = (String::new(), Vec::new());
    for _ in 0..MOST_STEPS {
        let Some(name) = at else { break };
        let states = definition["states"].as_array().unwrap();
        let state = states.iter().find(|state| state["name"] == name.as_str()).unwrap();
        let properties = &state["properties"];
        let way = match state["type"].as_str().unwrap() {
            "trigger" => Way::Event("incomingRequest"),
            "make-outgoing-call-v2" => {
                assert_eq!(resolve(&properties["to"], &context), "+14255551212");
                assert_eq!(resolve(&properties["from"], &context), "+14255550100");
                send_digits = resolve(&properties["send_digits"], &context);
                run.ring(&mut context["widgets"][&name])
            }
            "split-based-on" => Way::To(split(state, &context)),
            "gather-input-on-call" => {
                said.push(resolve(&properties["say"], &context));
                run.gather(properties, &mut context["widgets"][&name])
            }
            "say-play" => {
                run.keys.clear();
                Way::Event("audioComplete")
            }
            "set-variables" => {
                for variable in properties["variables"].as_array().unwrap() {
                    let value = resolve(&variable["value"], &context);
                    context["flow"]["variables"][variable["key"].as_str().unwrap()] = json!(value);
                }
                Way::Event("next")
            }
            other => panic!("there is no widget {other} here"),
        };
        at = match way {
            Way::HungUp => None,
            Way::To(next) => next,
            Way::Event(event) => {
                let transitions = state["transitions"].as_array().unwrap();
                let transition = transitions.iter().find(|transition| transition["event"] == event);
                transition.and_then(|transition| transition["next"].as_str()).map(str::to_owned)
            }
        };
    }
    assert!(at.is_none(), "the call never ends");
    Went { result: context["flow"]["variables"]["result"].as_str().map(str::to_owned), send_digits, said }
}

impl Run {
    fn ring(&mut self, output: &mut Value) -> Way<'static> {
        let (event, status, by) = match self.callee {
            Callee::Busy => ("busy", "busy", None),
            Callee::NoAnswer => ("noAnswer", "no-answer", None),
            Callee::Unobtainable => ("failed", "failed", None),
            Callee::Machine => ("answered", "in-progress", Some("machine_start")),
            Callee::Answers(acts) => {
                self.acts = acts.iter().copied().collect();
                ("answered", "in-progress", Some("human"))
            }
        };
        *output = json!({ "CallSid": "CA00000000000000000000000000000001", "CallStatus": status, "AnsweredBy": by });
        Way::Event(event)
    }

    /// As `<Gather>` does: the key that finishes is not among the digits, and alone it counts as nothing pressed.
    fn gather(&mut self, properties: &Value, output: &mut Value) -> Way<'static> {
        if self.keys.is_empty() {
            match self.acts.pop_front().unwrap_or(Act::Nothing) {
                Act::HangsUp => return Way::HungUp,
                Act::Keys(keys) => self.keys = keys.chars().collect(),
                Act::Nothing => {}
                Act::Speaks => {
                    *output = json!({ "SpeechResult": "hello", "Confidence": "0.9", "CallStatus": "in-progress" });
                    return Way::Event("speech");
                }
            }
        }
        let finish = properties["finish_on_key"].as_str().unwrap_or("#");
        let most = properties["number_of_digits"].as_u64().unwrap_or(u64::MAX);
        let mut digits = String::new();
        while let Some(key) = self.keys.pop_front() {
            if finish.contains(key) {
                break;
            }
            digits.push(key);
            if digits.len() as u64 == most {
                break;
            }
        }
        if digits.is_empty() {
            return Way::Event("timeout");
        }
        *output = json!({ "Digits": digits, "CallStatus": "in-progress" });
        Way::Event("keypress")
    }
}

/// The first transition whose conditions all hold, else `noMatch`.
fn split(state: &Value, context: &Value) -> Option<String> {
    let transitions = state["transitions"].as_array().unwrap();
    let holds = |condition: &Value| {
        // Either may be a variable: https://www.twilio.com/docs/studio/widget-library/split-based-on
        let value = resolve(&condition["arguments"][0], context).to_lowercase();
        let wanted = resolve(&condition["value"], context).to_lowercase();
        match condition["type"].as_str().unwrap() {
            "equal_to" => value == wanted,
            "matches_any_of" => wanted.split(',').any(|wanted| wanted.trim() == value),
            other => panic!("there is no condition {other} here"),
        }
    };
    let matching = transitions.iter().find(|transition| {
        let conditions = transition["conditions"].as_array();
        transition["event"] == "match" && conditions.is_some_and(|all| all.iter().all(holds))
    });
    let otherwise = || transitions.iter().find(|transition| transition["event"] == "noMatch");
    matching.or_else(otherwise).and_then(|transition| transition["next"].as_str()).map(str::to_owned)
}

/// A property's value: text in which variables such as `{{flow.data.name}}` and `{{flow.data.name | default: '0'}}`
/// are replaced.
fn resolve(property: &Value, context: &Value) -> String {
    let mut rest = property.as_str().unwrap_or_default();
    let mut resolved = String::new();
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, after) = after.split_once("}}").unwrap();
        let (path, filter) = expression.split_once('|').unwrap_or((expression, "default: ''"));
        let default = filter.trim().strip_prefix("default: '").and_then(|text| text.strip_suffix('\'')).unwrap();
        let found = path.trim().split('.').try_fold(context, |value, key| value.get(key));
        let found = found.and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or(default);
        resolved.extend([before, found]);
        rest = after;
    }
    resolved + rest
}
