//! The flow's definition: <https://www.twilio.com/docs/studio/flow-definition>.
//!
//! A language is a chain of attempts. An attempt with digits is three or four widgets:
//!
//! - `ask_1_en_US` speaks, and gathers keys until `#` or a pause of 3 s.
//! - `ended_1_en_US` distinguishes `#` from a pause by the variable `FinishedOnKey`. Studio does not report the `#`.
//! - `entry_1_en_US` records the entry.
//! - `judge_1_en_US`, unless it is the last attempt: a fraud report and what may be right end the call, anything else
//!   leads to the next attempt.
//!
//! With `pound` the entry is one key, so the gathering has no finish key, and reports the `#`. The fraud key needs a
//! second key, for which `confirm_1_en_US` gathers.
//!
//! The flow compares only to know how to go on. PhoneGate judges the entry that it reports.

use phonegate_approval::policy::Method;
use serde_json::{Value, json};

use super::speech::Speech;
use super::{Plan, marker};

/// Maximum number of keys of an entry. A right entry has fewer, so it always ends by `#` or a pause.
const MAX_KEYS: u32 = 17;

/// Pause, in seconds, that ends an entry. Also the time after the prompt until the first key.
const PAUSE_S: u32 = 3;

/// Results of answering-machine detection:
/// <https://www.twilio.com/docs/voice/answering-machine-detection>.
const MACHINES: &str = "machine_start,machine_end_beep,machine_end_silence,machine_end_other,fax";

/// Returns the definition.
pub(super) fn definition(plan: &Plan) -> Value {
    let mut flow = Flow::default();
    flow.begin(plan);
    for speech in plan.languages.all() {
        for attempt in 1..=plan.attempts {
            let asked = Asked { plan, speech, attempt };
            match plan.method {
                Method::Pound => flow.ask_for_pound(&asked),
                Method::Code | Method::Pin | Method::PinAndCode => flow.ask_for_digits(&asked),
            }
        }
    }
    flow.end();
    json!({
        "description": marker::describe(plan),
        "states": flow.states,
        "initial_state": "Trigger",
        "flags": { "allow_concurrent_calls": true },
    })
}

/// One attempt in one language.
struct Asked<'a> {
    plan: &'a Plan,
    speech: &'a Speech,
    attempt: u8,
}

impl Asked<'_> {
    fn name(&self, widget: &str) -> String {
        name(widget, self.attempt, self.speech)
    }

    /// Returns the widget that begins the next attempt, if there is one.
    fn next(&self) -> Option<String> {
        let is_last = self.attempt >= self.plan.attempts;
        (!is_last).then(|| name("ask", self.attempt.saturating_add(1), self.speech))
    }

    /// Returns a variable of the widget that gathered the keys.
    fn gathered(&self, variable: &str) -> String {
        format!("{{{{widgets.{}.{variable}}}}}", self.name("ask"))
    }
}

/// Returns the name of a widget. Studio accepts no hyphen in the path of a variable.
fn name(widget: &str, attempt: u8, speech: &Speech) -> String {
    format!("{widget}_{attempt}_{}", speech.tag.replace('-', "_"))
}

#[derive(Default)]
struct Flow {
    states: Vec<Value>,
}

impl Flow {
    fn begin(&mut self, plan: &Plan) {
        let events = ["incomingMessage", "incomingCall", "incomingConversationMessage", "incomingParent"];
        let mut transitions: Vec<_> = events.into_iter().map(|event| json!({ "event": event })).collect();
        transitions.push(json!({ "event": "incomingRequest", "next": "call" }));
        self.push("Trigger", "trigger", transitions, json!({}));
        let transitions =
            [("answered", "answered_by"), ("busy", "busy"), ("noAnswer", "no_answer"), ("failed", "failed")];
        let properties = json!({
            "from": "{{flow.channel.address}}", "to": "{{contact.channel.address}}",
            "send_digits": "{{flow.data.send_digits}}", "timeout": 50, "record": false,
            "detect_answering_machine": true, "machine_detection": "Enable", "machine_detection_timeout": "10",
            "trim": "do-not-trim", "recording_channels": "mono", "recording_status_callback": "",
        });
        self.push(
            "call",
            "make-outgoing-call-v2",
            transitions.map(|(event, next)| leads(event, next)).into(),
            properties,
        );
        let languages = plan.languages.all();
        let first = |speech: &&Speech| name("ask", 1, speech);
        let default = languages.first().map(first).unwrap_or_default();
        self.split(
            "answered_by",
            "{{widgets.call.AnsweredBy}}",
            vec![("matches_any_of", MACHINES, "machine".to_owned())],
            "language",
        );
        let matches = languages.iter().map(|speech| ("equal_to", speech.tag, first(speech)));
        self.split("language", "{{flow.data.language}}", matches.collect(), &default);
    }

    /// Adds an attempt in which digits are entered, and then `#`.
    fn ask_for_digits(&mut self, asked: &Asked<'_>) {
        let (ended, entry, judge, pause) =
            (asked.name("ended"), asked.name("entry"), asked.name("judge"), asked.name("pause"));
        let prompt = asked.speech.prompt(asked.plan.method, asked.attempt, asked.plan.fraud_key);
        self.gather(asked, "ask", &prompt, (asked.plan.repeats, MAX_KEYS, "#"), (&ended, "no_key"));
        let next = asked.next();
        let after_pause = next.as_deref().unwrap_or(&pause);
        let is_pound = vec![("equal_to", "#", entry.clone())];
        self.split(&ended, &asked.gathered("FinishedOnKey"), is_pound, after_pause);
        // The flow does not know the PIN, so it reports the first entry that ends with `#`.
        let judged = next.as_ref().filter(|_| asked.plan.method == Method::Code);
        self.record(asked, &entry, &asked.gathered("Digits"), "pound", judged.map_or("pressed", |_| &judge));
        if let Some(next) = judged {
            let code = format!("{{{{flow.data.code_{}}}}}", asked.attempt);
            let ends = [FRAUD_KEY, &code].map(|value| ("equal_to", value, "pressed".to_owned()));
            self.split(&judge, &asked.gathered("Digits"), ends.into(), next);
        }
        if next.is_none() {
            self.record(asked, &pause, &asked.gathered("Digits"), "pause", "pressed");
        }
    }

    /// Adds an attempt in which `#` alone approves.
    fn ask_for_pound(&mut self, asked: &Asked<'_>) {
        let [key, entry, other, confirm, confirmed, report, wrong] =
            ["key", "entry", "other", "confirm", "confirmed", "report", "wrong"].map(|widget| asked.name(widget));
        let prompt = asked.speech.prompt(Method::Pound, asked.attempt, asked.plan.fraud_key);
        let next = asked.next();
        let otherwise = if next.is_some() { &wrong } else { &other };
        self.gather(asked, "ask", &prompt, (asked.plan.repeats, 1, ""), (&key, "no_key"));
        let keys = vec![("equal_to", "#", entry.clone()), ("equal_to", FRAUD_KEY, confirm.clone())];
        self.split(&key, &asked.gathered("Digits"), keys, otherwise);
        // The key was `#`, so the entry is empty.
        self.record(
            asked,
            &entry,
            &format!("{{{{widgets.{}.Digits | remove: '#'}}}}", asked.name("ask")),
            "pound",
            "pressed",
        );
        self.gather(asked, "confirm", asked.speech.then_pound(), (1, 1, ""), (&confirmed, otherwise));
        let is_pound = vec![("equal_to", "#", report.clone())];
        self.split(&confirmed, &format!("{{{{widgets.{confirm}.Digits}}}}"), is_pound, otherwise);
        self.record(asked, &report, FRAUD_KEY, "pound", "pressed");
        match next {
            // Keys are lost during this sentence: a `#` that belongs to the wrong entry must not approve.
            Some(next) => {
                let properties = json!({
                    "voice": asked.speech.voice, "language": asked.speech.tag, "say": asked.speech.wrong_key(), "loop": 1,
                });
                self.push(&wrong, "say-play", vec![leads("audioComplete", &next)], properties);
            }
            None => self.record(asked, &other, &asked.gathered("Digits"), "pause", "pressed"),
        }
    }

    /// Adds the end after an entry, and the other ends.
    fn end(&mut self) {
        let pressed = [("result", "PRESSED"), ("nonce", "{{flow.data.nonce}}")];
        self.set("pressed", &pressed, None);
        for result in ["NO_KEY", "BUSY", "NO_ANSWER", "FAILED", "MACHINE"] {
            self.set(&result.to_lowercase(), &[("result", result)], None);
        }
    }

    /// Adds a widget that speaks and gathers keys, with the next widgets after keys and after silence.
    ///
    /// Speech has no next widget, so that Twilio does not listen to it:
    /// <https://www.twilio.com/docs/studio/widget-library/gather-input-call>.
    fn gather(
        &mut self,
        asked: &Asked<'_>,
        widget: &str,
        say: &str,
        (repeats, keys, finish_on): (u8, u32, &str),
        (keypress, timeout): (&str, &str),
    ) {
        let transitions = vec![leads("keypress", keypress), json!({ "event": "speech" }), leads("timeout", timeout)];
        let properties = json!({
            "voice": asked.speech.voice, "language": asked.speech.tag, "say": say, "loop": repeats,
            "timeout": PAUSE_S, "number_of_digits": keys, "finish_on_key": finish_on, "stop_gather": true,
            "gather_language": asked.speech.tag, "speech_timeout": "auto", "profanity_filter": "true",
        });
        self.push(&asked.name(widget), "gather-input-on-call", transitions, properties);
    }

    /// Adds a widget that records an entry.
    fn record(&mut self, asked: &Asked<'_>, name: &str, digits: &str, ended_by: &str, next: &str) {
        let attempt = asked.attempt.to_string();
        self.set(name, &[("attempt", &attempt), ("digits", digits), ("ended_by", ended_by)], Some(next));
    }

    fn set(&mut self, name: &str, variables: &[(&str, &str)], next: Option<&str>) {
        let transition = next.map_or_else(|| json!({ "event": "next" }), |next| leads("next", next));
        let variables: Vec<_> = variables.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        self.push(name, "set-variables", vec![transition], json!({ "variables": variables }));
    }

    /// Adds a widget that leads to the first match, or else to `otherwise`.
    fn split(&mut self, name: &str, input: &str, matches: Vec<(&str, &str, String)>, otherwise: &str) {
        let mut transitions = vec![leads("noMatch", otherwise)];
        for (kind, value, next) in matches {
            let condition = json!({ "friendly_name": next, "type": kind, "value": value, "arguments": [input] });
            transitions.push(json!({ "event": "match", "next": next, "conditions": [condition] }));
        }
        self.push(name, "split-based-on", transitions, json!({ "input": input }));
    }

    /// Adds a widget, below the others in Twilio's editor.
    fn push(&mut self, name: &str, kind: &str, transitions: Vec<Value>, mut properties: Value) {
        let offset = json!({ "x": 0, "y": self.states.len().saturating_mul(220) });
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("offset".to_owned(), offset);
        }
        self.states.push(json!({ "name": name, "type": kind, "transitions": transitions, "properties": properties }));
    }
}

const FRAUD_KEY: &str = "{{flow.data.fraud_key}}";

fn leads(event: &str, next: &str) -> Value {
    json!({ "event": event, "next": next })
}

#[cfg(test)]
#[path = "../../../../tests/support/flow.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is shared with other tests, which use all of it")]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod walker;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use phonegate_approval::policy::Policy;

    use super::walker::{Act, Callee, problems, run};
    use super::*;
    use crate::config::{FraudKey, PromptsConfig};

    fn flow(method: Method, attempts: u8) -> Value {
        let plan = Plan::new(Policy::default(), FraudKey::default(), &PromptsConfig::default()).unwrap();
        definition(&Plan { method, attempts, ..plan })
    }

    /// Returns what a call reports: the result, the attempt, the digits, and what ended the entry.
    fn reports(method: Method, acts: &'static [Act]) -> [String; 4] {
        let parameters = json!({
            "fraud_key": "0", "language": "en-US", "nonce": "n", "spoken_1": "four", "code_1": "4", "spoken_2": "two",
            "code_2": "2",
        });
        let went = run(&flow(method, 2), Callee::Answers(acts), ("+14255550100", "+14255551212"), &parameters);
        ["result", "attempt", "digits", "ended_by"].map(|name| went.variable(name).to_owned())
    }

    #[test]
    fn studio_accepts_the_flows_for_pins_and_the_largest() {
        for method in Method::ALL {
            for attempts in [1, 2, 10] {
                assert_eq!(problems(&flow(method, attempts)), Vec::<String>::new());
            }
        }
    }

    /// Studio does not know whether a PIN is right.
    #[test]
    fn the_first_whole_entry_with_a_pin_is_reported() {
        use Act::{Heard, Keys, Nothing};
        let cases: [(&'static [Act], [&str; 4]); 7] = [
            (&[Keys("123456#")], ["PRESSED", "1", "123456", "pound"]),
            (&[Keys("1234567890124321#")], ["PRESSED", "1", "1234567890124321", "pound"]),
            (&[Keys("0#")], ["PRESSED", "1", "0", "pound"]),
            (&[Keys("12"), Keys("3456#")], ["PRESSED", "2", "3456", "pound"]),
            (&[Keys("12"), Keys("34")], ["PRESSED", "2", "34", "pause"]),
            (&[Keys("12345678901234567#"), Keys("1234#")], ["NO_KEY", "", "", ""]),
            (&[Nothing], ["NO_KEY", "", "", ""]),
        ];
        for (acts, expected) in cases {
            assert_eq!(reports(Method::Pin, acts), expected, "{acts:?}");
        }
        assert_eq!(reports(Method::PinAndCode, &[Heard("123456", "#")]), ["PRESSED", "1", "1234564", "pound"]);
        assert_eq!(
            reports(Method::PinAndCode, &[Keys("1"), Heard("123456", "#")]),
            ["PRESSED", "2", "1234562", "pound"]
        );
    }
}
