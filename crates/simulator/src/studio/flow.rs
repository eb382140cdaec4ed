//! Flows: what Studio refuses in a definition, and the widgets of one that it accepts.
//!
//! It knows the widgets that PhoneGate's flow has: <https://www.twilio.com/docs/studio/widget-library>.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::template;

/// Maximum number of widgets, and of transitions of one.
const MAX_WIDGETS: usize = 2_000;

/// Maximum length of a text to say: <https://www.twilio.com/docs/voice/twiml/say>.
const MAX_TEXT: usize = 4_096;

/// A published flow.
pub(super) struct Flow {
    pub(super) initial: String,
    /// The name of the widget that calls.
    pub(super) call: String,
    /// The settings that PhoneGate made the flow for, such as `method=code attempts=2`.
    description: String,
    widgets: HashMap<String, Widget>,
}

/// The next widget. `None`: the flow has ended.
pub(super) type Next = Option<String>;

/// A widget.
pub(super) enum Widget {
    /// Begins the flow.
    Trigger { next: Next },
    /// Calls the telephone.
    Call(Call),
    /// Goes on to the first match.
    Split { matches: Vec<(Vec<Condition>, Next)>, otherwise: Next },
    /// Speaks, and gathers keys.
    Gather(Gather),
    /// Speaks.
    Say { speech: Speech, next: Next },
    /// Sets variables of the flow.
    Set { variables: Vec<Variable>, next: Next },
}

/// The properties of `make-outgoing-call-v2`.
pub(super) struct Call {
    pub(super) send_digits: String,
    /// How long the telephone rings.
    pub(super) rings_for: Duration,
    pub(super) answered: Next,
    pub(super) busy: Next,
    pub(super) no_answer: Next,
}

/// The properties of `gather-input-on-call`.
pub(super) struct Gather {
    pub(super) speech: Speech,
    /// The pause that ends an entry. Also the time after the prompt until the first key.
    pub(super) pause: Duration,
    /// Maximum number of keys. 0: no maximum.
    pub(super) max_keys: u64,
    pub(super) finish_on: String,
    pub(super) keypress: Next,
    pub(super) timeout: Next,
}

/// What is said.
pub(super) struct Speech {
    pub(super) language: String,
    pub(super) text: String,
    pub(super) times: u64,
}

/// A variable that a widget sets.
#[derive(Deserialize)]
pub(super) struct Variable {
    pub(super) key: String,
    pub(super) value: String,
}

/// A condition of a transition.
#[derive(Deserialize)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: ConditionKind,
    pub(super) value: String,
    /// One text.
    pub(super) arguments: [String; 1],
}

/// How a condition compares.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConditionKind {
    EqualTo,
    /// One of the values, which commas separate.
    MatchesAnyOf,
}

#[derive(Deserialize)]
struct Definition {
    description: String,
    states: Vec<State>,
    initial_state: String,
}

#[derive(Deserialize)]
struct State {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    transitions: Vec<Transition>,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[derive(Deserialize)]
struct Transition {
    event: String,
    #[serde(default)]
    next: Next,
    #[serde(default)]
    conditions: Vec<Condition>,
}

impl Flow {
    /// Reads a definition, and returns it as JSON too.
    ///
    /// # Errors
    /// Studio would refuse the definition, or the simulator does not know a widget. Text: why, in a sentence.
    pub(super) fn parse(text: &str) -> Result<(Self, Value), String> {
        let definition: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let Definition { description, states, initial_state: initial } =
            Definition::deserialize(&definition).map_err(|error| error.to_string())?;
        if states.len() > MAX_WIDGETS {
            return Err(format!("it has more than {MAX_WIDGETS} states"));
        }
        let mut widgets = HashMap::new();
        for state in states {
            let name = state.name.clone();
            let widget = state.widget().map_err(|problem| format!("state {name:?}: {problem}"))?;
            if widgets.insert(name.clone(), widget).is_some() {
                return Err(format!("two states are named {name:?}"));
            }
        }
        if widgets.values().filter(|widget| matches!(widget, Widget::Trigger { .. })).count() != 1 {
            return Err("there must be one trigger".to_owned());
        }
        let calls = || widgets.iter().filter(|(_, widget)| matches!(widget, Widget::Call(_)));
        let (Some((call, _)), 1) = (calls().next(), calls().count()) else {
            return Err("the simulator needs one widget that calls".to_owned());
        };
        let call = call.clone();
        if !matches!(widgets.get(&initial), Some(Widget::Trigger { .. })) {
            return Err("initial_state must be the trigger".to_owned());
        }
        let unknown = widgets.values().flat_map(Widget::leads_to).find(|next| !widgets.contains_key(*next));
        if let Some(unknown) = unknown {
            return Err(format!("a transition leads to {unknown:?}, which does not exist"));
        }
        Ok((Self { initial, call, description, widgets }, definition))
    }

    /// Returns a setting that the flow was made for, by the description that PhoneGate gives its flow.
    pub(super) fn made_for(&self, key: &str) -> Option<&str> {
        let mut settings = self.description.split_whitespace().filter_map(|word| word.split_once('='));
        settings.find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Returns whether calls ask for a PIN.
    pub(super) fn asks_for_pin(&self) -> bool {
        self.made_for("method").is_some_and(|method| method.starts_with("pin"))
    }

    /// Returns the numbers of the codes that the flow says: `1` for `{{flow.data.spoken_1}}`.
    pub(super) fn spoken_codes(&self) -> BTreeSet<&str> {
        let gathers = self.widgets.values().filter_map(|widget| match widget {
            Widget::Gather(gather) => template::first_code(&gather.speech.text),
            _ => None,
        });
        gathers.map(|(number, _)| number).collect()
    }

    pub(super) fn widget(&self, name: &str) -> Option<&Widget> {
        self.widgets.get(name)
    }
}

impl Widget {
    fn leads_to(&self) -> impl Iterator<Item = &String> {
        let next: Vec<&Next> = match self {
            Self::Trigger { next } | Self::Say { next, .. } | Self::Set { next, .. } => vec![next],
            Self::Call(call) => vec![&call.answered, &call.busy, &call.no_answer],
            Self::Split { matches, otherwise } => {
                matches.iter().map(|(_, next)| next).chain(std::iter::once(otherwise)).collect()
            }
            Self::Gather(gather) => vec![&gather.keypress, &gather.timeout],
        };
        next.into_iter().flatten()
    }
}

impl State {
    fn widget(mut self) -> Result<Widget, String> {
        if !self.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err("it is no name of a widget".to_owned());
        }
        match self.kind.as_str() {
            "trigger" => {
                self.only(&[
                    "incomingMessage",
                    "incomingCall",
                    "incomingConversationMessage",
                    "incomingRequest",
                    "incomingParent",
                ])?;
                Ok(Widget::Trigger { next: self.next("incomingRequest")? })
            }
            "make-outgoing-call-v2" => {
                self.only(&["answered", "busy", "noAnswer", "failed"])?;
                self.needs("from", "{{flow.channel.address}}")?;
                self.needs("to", "{{contact.channel.address}}")?;
                self.next("failed")?;
                let call = Call {
                    send_digits: self.text("send_digits")?,
                    rings_for: Duration::from_secs(self.number("timeout", 60, 1, 600)?),
                    answered: self.next("answered")?,
                    busy: self.next("busy")?,
                    no_answer: self.next("noAnswer")?,
                };
                Ok(Widget::Call(call))
            }
            "split-based-on" => {
                self.only(&["match", "noMatch"])?;
                let otherwise = self.next("noMatch")?;
                let matches: Vec<_> =
                    self.transitions.drain(..).filter(|transition| transition.event == "match").collect();
                if matches.iter().any(|transition| transition.conditions.is_empty()) {
                    return Err("a match has no conditions".to_owned());
                }
                let matches = matches.into_iter().map(|transition| (transition.conditions, transition.next)).collect();
                Ok(Widget::Split { matches, otherwise })
            }
            "gather-input-on-call" => {
                self.only(&["keypress", "speech", "timeout"])?;
                if self.next("speech")?.is_some() {
                    return Err("the simulator does not recognize speech".to_owned());
                }
                let finish_on = self.text("finish_on_key")?;
                if !finish_on.is_empty() && (finish_on.len() != 1 || !finish_on.chars().all(crate::exchange::is_key)) {
                    return Err("finish_on_key is no key".to_owned());
                }
                let gather = Gather {
                    speech: self.speech()?,
                    pause: Duration::from_secs(self.number("timeout", 5, 0, 30)?),
                    max_keys: self.number("number_of_digits", 0, 0, 30)?,
                    finish_on,
                    keypress: self.next("keypress")?,
                    timeout: self.next("timeout")?,
                };
                Ok(Widget::Gather(gather))
            }
            "say-play" => {
                self.only(&["audioComplete"])?;
                Ok(Widget::Say { speech: self.speech()?, next: self.next("audioComplete")? })
            }
            "set-variables" => {
                self.only(&["next"])?;
                let variables = self.properties.remove("variables").unwrap_or_default();
                let variables: Vec<Variable> = serde_json::from_value(variables).map_err(|error| error.to_string())?;
                let is_empty = |variable: &Variable| variable.key.is_empty() || variable.value.is_empty();
                if variables.is_empty() || variables.len() > MAX_WIDGETS || variables.iter().any(is_empty) {
                    return Err("it needs variables, each with a key and a value".to_owned());
                }
                Ok(Widget::Set { variables, next: self.next("next")? })
            }
            kind => Err(format!("the simulator does not know the type {kind:?}")),
        }
    }

    /// Refuses events that the widget does not have.
    fn only(&self, events: &[&str]) -> Result<(), String> {
        if self.transitions.len() > MAX_WIDGETS {
            return Err("it has too many transitions".to_owned());
        }
        let unknown = self.transitions.iter().find(|transition| !events.contains(&transition.event.as_str()));
        unknown.map_or(Ok(()), |transition| Err(format!("it has no event {:?}", transition.event)))
    }

    /// Returns the widget after an event, which must be there once.
    fn next(&self, event: &str) -> Result<Next, String> {
        let mut of_event = self.transitions.iter().filter(|transition| transition.event == event);
        match (of_event.next(), of_event.next()) {
            (Some(only), None) => Ok(only.next.clone()),
            _ => Err(format!("it needs the event {event:?} once")),
        }
    }

    fn text(&self, key: &str) -> Result<String, String> {
        match self.properties.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) if text.len() <= MAX_TEXT => Ok(text.clone()),
            Some(Value::String(_)) => Err(format!("{key} is longer than {MAX_TEXT} bytes")),
            Some(_) => Err(format!("{key} must be a text")),
        }
    }

    fn needs(&self, key: &str, value: &str) -> Result<(), String> {
        match self.text(key)? == value {
            true => Ok(()),
            false => Err(format!("{key} must be {value}")),
        }
    }

    fn number(&self, key: &str, default: u64, least: u64, most: u64) -> Result<u64, String> {
        match self.properties.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_u64()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| format!("{key} must be a number from {least} to {most}")),
        }
    }

    fn speech(&self) -> Result<Speech, String> {
        let speech =
            Speech { language: self.text("language")?, text: self.text("say")?, times: self.number("loop", 1, 1, 99)? };
        if speech.language.is_empty() || speech.text.is_empty() {
            return Err("it needs the texts say and language".to_owned());
        }
        Ok(speech)
    }
}
