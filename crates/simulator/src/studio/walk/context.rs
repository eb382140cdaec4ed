//! The context of an Execution: what a flow's variables read, and what its widgets write.
//!
//! <https://www.twilio.com/docs/studio/rest-api/v2/execution-context>

use serde_json::{Value, json};

use super::super::template;

/// Maximum number of variables that a flow sets. PhoneGate's sets five.
const MAX_VARIABLES: usize = 100;

/// The context of one Execution, as JSON with the names of Twilio.
pub(super) struct Context(Value);

impl Context {
    /// Returns that of a call from `from` to the contact `to`.
    pub(super) fn new((from, to): (&str, &str), parameters: &Value) -> Self {
        Self(json!({
            "trigger": { "request": { "to": to, "from": from, "parameters": parameters } },
            "widgets": {},
            "flow": { "channel": { "address": from }, "variables": {}, "data": parameters },
            "contact": { "channel": { "address": to } },
        }))
    }

    pub(super) fn as_json(&self) -> &Value {
        &self.0
    }

    /// Replaces the variables of a text.
    pub(super) fn resolve(&self, text: &str) -> String {
        template::resolve(text, &self.0)
    }

    /// Returns a parameter of the Execution.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.0.get("flow")?.get("data")?.get(name)?.as_str()
    }

    /// Returns what a widget has written.
    pub(super) fn output(&self, widget: &str, name: &str) -> Option<&str> {
        self.0.get("widgets")?.get(widget)?.get(name)?.as_str()
    }

    pub(super) fn set_output(&mut self, widget: &str, output: Value) {
        if let Some(widgets) = self.0.get_mut("widgets").and_then(Value::as_object_mut) {
            widgets.insert(widget.to_owned(), output);
        }
    }

    /// Sets a variable of the flow. Returns false if there are too many.
    pub(super) fn set_variable(&mut self, key: &str, value: String) -> bool {
        let variables = self.0.get_mut("flow").and_then(|flow| flow.get_mut("variables"));
        let Some(variables) = variables.and_then(Value::as_object_mut) else { return false };
        let has_room = variables.len() < MAX_VARIABLES || variables.contains_key(key);
        if has_room {
            variables.insert(key.to_owned(), Value::String(value));
        }
        has_room
    }
}
