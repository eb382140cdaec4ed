//! Studio flows: what Studio refuses in a definition, and how a call goes through one, widget by widget.
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
    /// A person answers, and does one of these at each prompt; then nothing more.
    Answers(&'static [Act]),
}

/// What a person does at a prompt.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Presses these keys, one right after the other.
    Keys(&'static str),
    /// Presses these keys, then the digits that the prompt says, then these.
    Heard(&'static str, &'static str),
    Nothing,
    Speaks,
    HangsUp,
}

/// A widget, its events, and its properties: texts that it needs, other texts, and numbers with their range.
type Widget = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
    &'static [(&'static str, u64, u64)],
);

/// The widgets that the flow may have.
const WIDGETS: [Widget; 6] = [
    (
        "trigger",
        &["incomingMessage", "incomingCall", "incomingConversationMessage", "incomingRequest", "incomingParent"],
        &[],
        &[],
        &[],
    ),
    (
        "make-outgoing-call-v2",
        &["answered", "busy", "noAnswer", "failed"],
        &["from", "to"],
        &["send_digits", "trim", "machine_detection", "machine_detection_timeout", "recording_channels"],
        &[("timeout", 1, 600)],
    ),
    ("split-based-on", &["match", "noMatch"], &["input"], &[], &[]),
    (
        "gather-input-on-call",
        &["keypress", "speech", "timeout"],
        &["say", "voice", "language"],
        &["finish_on_key", "gather_language", "speech_timeout", "profanity_filter"],
        &[("timeout", 0, 30), ("number_of_digits", 0, 30), ("loop", 1, 99)],
    ),
    ("say-play", &["audioComplete"], &["say", "voice", "language"], &[], &[("loop", 1, 99)]),
    ("set-variables", &["next"], &[], &[], &[]),
];

/// The longest text to say: <https://www.twilio.com/docs/voice/twiml/say>.
const LONGEST_TEXT: usize = 4_096;

/// Returns what is wrong with a definition.
pub fn problems(definition: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let none = Vec::new();
    let states = definition["states"].as_array().unwrap_or(&none);
    let names: Vec<&str> = states.iter().filter_map(|state| state["name"].as_str()).collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    if names.len() != states.len() || known.len() != names.len() {
        problems.push("each state needs a name of its own".to_owned());
    }
    if !definition["description"].is_string() {
        problems.push("the description is missing".to_owned());
    }
    if states.iter().filter(|state| state["type"] == "trigger").count() != 1 {
        problems.push("there must be one trigger".to_owned());
    }
    if !definition["initial_state"].as_str().is_some_and(|initial| known.contains(initial)) {
        problems.push("initial_state names no state".to_owned());
    }
    states.iter().for_each(|state| state_problems(state, &known, &mut problems));
    problems
}

fn state_problems(state: &Value, known: &HashSet<&str>, problems: &mut Vec<String>) {
    let name = state["name"].as_str().unwrap_or_default();
    let Some((kind, events, needed, texts, numbers)) = WIDGETS.iter().find(|(kind, ..)| state["type"] == *kind) else {
        return problems.push(format!("{name} is of the unknown type {}", state["type"]));
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_+,-".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_name) {
        problems.push(format!("{name:?} is no name of a widget"));
    }
    let Some(transitions) = state["transitions"].as_array() else {
        return problems.push(format!("{name} has no transitions"));
    };
    for transition in transitions {
        let event = transition["event"].as_str().unwrap_or_default();
        if !events.contains(&event) {
            problems.push(format!("{name} has no event {event:?}"));
        }
        let next = &transition["next"];
        if !next.is_null() && !next.as_str().is_some_and(|next| known.contains(next)) {
            problems.push(format!("{name} goes on to {next}, which does not exist"));
        }
        let is_condition = |condition: &Value| {
            ["equal_to", "matches_any_of"].iter().any(|kind| condition["type"] == *kind)
                && condition["value"].is_string()
                && condition["arguments"].as_array().is_some_and(|all| all.len() == 1 && all[0].is_string())
        };
        let conditions = transition["conditions"].as_array();
        if (event == "match") != conditions.is_some_and(|all| !all.is_empty() && all.iter().all(is_condition)) {
            problems.push(format!("{name}: the conditions of {event} are wrong"));
        }
    }
    for event in events.iter().filter(|event| **event != "match") {
        if transitions.iter().filter(|transition| transition["event"] == *event).count() != 1 {
            problems.push(format!("{name} needs the event {event} once"));
        }
    }
    let properties = &state["properties"];
    for key in needed.iter().filter(|key| properties[**key].as_str().is_none_or(str::is_empty)) {
        problems.push(format!("{name} needs the text {key}"));
    }
    for key in texts.iter().filter(|key| !properties[**key].is_null() && !properties[**key].is_string()) {
        problems.push(format!("{name}: {key} is of the wrong type"));
    }
    for (key, least, most) in *numbers {
        if !properties[*key].is_null() && !properties[*key].as_u64().is_some_and(|n| (*least..=*most).contains(&n)) {
            problems.push(format!("{name}: {key} is no number from {least} to {most}"));
        }
    }
    if properties["say"].as_str().is_some_and(|text| text.len() > LONGEST_TEXT) {
        problems.push(format!("{name} says too much"));
    }
    let is_key = |key: &str| key.is_empty() || key.len() == 1 && "0123456789#*".contains(key);
    if properties["finish_on_key"].as_str().is_some_and(|key| !is_key(key)) {
        problems.push(format!("{name}: finish_on_key is no key"));
    }
    let is_variable = |variable: &Value| {
        ["key", "value"].iter().all(|part| variable[*part].as_str().is_some_and(|text| !text.is_empty()))
    };
    let variables = properties["variables"].as_array();
    if *kind == "set-variables" && !variables.is_some_and(|all| !all.is_empty() && all.iter().all(is_variable)) {
        problems.push(format!("{name} needs variables, each with a key and a value"));
    }
}

/// How a call went.
#[derive(Debug)]
pub struct Went {
    /// The context of the Execution in the end.
    pub context: Value,
    /// The digits that Twilio was asked to dial after the answer.
    pub send_digits: String,
    /// What was said, and how often at most, in which language.
    pub said: Vec<Said>,
}

/// What was said whenever a key was waited for, or in between.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub language: String,
    pub text: String,
    pub times: u64,
}

impl Went {
    /// A variable in the end, "" if there is none.
    pub fn variable(&self, name: &str) -> &str {
        self.context["flow"]["variables"][name].as_str().unwrap_or_default()
    }
}

/// A call on its way through a flow.
struct Run {
    callee: Callee,
    acts: VecDeque<Act>,
    /// Keys that were pressed before a widget gathered them. They are lost while something is said.
    keys: VecDeque<char>,
    to: String,
}

/// What follows a widget.
enum Way<'a> {
    Event(&'a str),
    To(Option<String>),
    HungUp,
}

/// Studio ends an Execution after 1,000 steps; no call through this flow takes as many as these.
const MOST_STEPS: usize = 100;

/// Runs a call from `from` to `to` through the flow, started with these parameters.
pub fn run(definition: &Value, callee: Callee, (from, to): (&str, &str), parameters: &Value) -> Went {
    let mut context = json!({
        "trigger": {},
        "widgets": {},
        "flow": { "channel": { "address": from }, "variables": {}, "data": parameters },
        "contact": { "channel": { "address": to } },
    });
    let mut run = Run { callee, acts: VecDeque::new(), keys: VecDeque::new(), to: to.to_owned() };
    let mut at = definition["initial_state"].as_str().map(str::to_owned);
    let (mut send_digits, mut said) = (String::new(), Vec::new());
    for _ in 0..MOST_STEPS {
        let Some(name) = at else { break };
        let states = definition["states"].as_array().unwrap();
        let state = states.iter().find(|state| state["name"] == name.as_str()).unwrap();
        let properties = &state["properties"];
        let transitions = state["transitions"].as_array().unwrap();
        let leads = |event: &str| {
            let transition = transitions.iter().find(|transition| transition["event"] == event);
            transition.and_then(|transition| transition["next"].as_str()).map(str::to_owned)
        };
        if !properties["say"].is_null() {
            said.push(Said {
                language: resolve(&properties["language"], &context),
                text: resolve(&properties["say"], &context),
                times: properties["loop"].as_u64().unwrap_or(1),
            });
        }
        let way = match state["type"].as_str().unwrap() {
            "trigger" => Way::Event("incomingRequest"),
            "make-outgoing-call-v2" => {
                assert_eq!(resolve(&properties["to"], &context), to);
                assert_eq!(resolve(&properties["from"], &context), from);
                send_digits = resolve(&properties["send_digits"], &context);
                run.ring(&mut context["widgets"][&name])
            }
            "split-based-on" => Way::To(split(state, &context)),
            "gather-input-on-call" => {
                let listens_to_speech = leads("speech").is_some();
                run.gather(properties, (said.last().unwrap(), listens_to_speech), &mut context["widgets"][&name])
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
            Way::Event(event) => leads(event),
        };
    }
    assert!(at.is_none(), "the call never ends");
    Went { context, send_digits, said }
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

    /// As `<Gather>` does: the key that finishes is not among the digits, and alone it counts as nothing pressed. Which key
    /// it was is in `FinishedOnKey`.
    fn gather(&mut self, properties: &Value, (said, hears): (&Said, bool), output: &mut Value) -> Way<'static> {
        if self.keys.is_empty() {
            match self.acts.pop_front().unwrap_or(Act::Nothing) {
                Act::HangsUp => return Way::HungUp,
                Act::Keys(keys) => self.keys = keys.chars().collect(),
                Act::Heard(before, after) => {
                    self.keys = before.chars().chain(heard(said).chars()).chain(after.chars()).collect();
                }
                Act::Speaks if hears => {
                    *output = json!({ "SpeechResult": "hello", "Confidence": "0.9", "CallStatus": "in-progress" });
                    return Way::Event("speech");
                }
                Act::Nothing | Act::Speaks => {}
            }
        }
        let finish = properties["finish_on_key"].as_str().unwrap_or("#");
        let most = properties["number_of_digits"].as_u64().unwrap_or(u64::MAX);
        let (mut digits, mut finished_on) = (String::new(), String::new());
        while let Some(key) = self.keys.pop_front() {
            if finish.contains(key) {
                finished_on = key.to_string();
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
        *output = json!({
            "Digits": digits, "FinishedOnKey": finished_on, "msg": "Gather End", "CallStatus": "in-progress",
            "Direction": "outbound-api", "To": self.to, "CallSid": "CA00000000000000000000000000000001",
        });
        Way::Event("keypress")
    }
}

/// The digits that a listener understands: those between "press" and "then the pound key", which are said again after it.
fn heard(said: &Said) -> String {
    let sentences: Value = serde_json::from_str(include_str!("../../prompts/prompts.json")).unwrap();
    let sentences = &sentences[&said.language];
    let sentence = |name: &str| sentences[name].as_str().unwrap();
    let begin = ["press_code", "enter_pin_then"].map(sentence).into_iter().find(|begin| said.text.contains(begin));
    let begin = begin.unwrap_or_else(|| panic!("no code is said in {}", said.text));
    let (code, after) = said.text.split_once(begin).unwrap().1.split_once(sentence("then_pound")).unwrap();
    let code = code.trim().trim_end_matches(',');
    assert!(after.trim_start().starts_with(&format!("{code}.")), "the code is said twice: {}", said.text);
    let digit = |word: &str| {
        let value = (0..10).find(|digit| sentence(&format!("digit_{digit}")) == word);
        char::from_digit(value.unwrap_or_else(|| panic!("{word:?} is no digit")), 10).unwrap()
    };
    code.split(',').map(|word| digit(word.trim())).collect()
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

/// A property's value: text in which variables such as `{{flow.data.name}}` and `{{flow.data.name | remove: '#'}}` are
/// replaced.
fn resolve(property: &Value, context: &Value) -> String {
    let mut rest = property.as_str().unwrap_or_default();
    let mut resolved = String::new();
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, after) = after.split_once("}}").unwrap();
        let (path, filter) = expression.split_once('|').unwrap_or((expression, "remove: ''"));
        let removed = filter.trim().strip_prefix("remove: '").and_then(|text| text.strip_suffix('\'')).unwrap();
        let found = path.trim().split('.').try_fold(context, |value, key| value.get(key));
        let found = found.and_then(Value::as_str).unwrap_or_default();
        resolved.push_str(before);
        match removed {
            "" => resolved.push_str(found),
            removed => resolved.push_str(&found.replace(removed, "")),
        }
        rest = after;
    }
    resolved + rest
}
