//! A call's way through a flow, as Studio goes it. Without I/O: the caller owns the telephone and the clock.
//!
//! Times are measured from the start of the call.

mod context;
mod prompt;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use self::context::Context;
use self::prompt::{Prompt, asked_for};
use super::Pace;
use super::flow::{Call, Condition, ConditionKind, Flow, Gather, Next, Speech, Widget};
use crate::exchange::Heard;

/// Maximum number of steps of a call: <https://www.twilio.com/docs/studio/user-guide/faqs>.
const MAX_STEPS: u32 = 1_000;

/// A call.
pub(super) struct Walk {
    flow: Arc<Flow>,
    context: Context,
    contact: String,
    call_sid: String,
    pace: Pace,
    stage: Stage,
    effects: Vec<Effect>,
    steps: u32,
}

/// What happens at the telephone, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    PickedUp,
    /// Declined, or busy already.
    Busy,
    Key(char),
    HungUp,
    /// The Execution was ended by request.
    Stopped,
    /// Nothing but that time has passed.
    Time,
}

/// What the call does.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Dials these digits after the answer.
    Dial(String),
    /// Speaks a sentence.
    Speak { language: String, text: String },
    /// Has said what to press.
    Understood(Heard),
    /// Has set a variable that reports what was pressed. Text: a sentence about it.
    Report(String),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The flow has no next widget.
    FlowEnded,
    HungUp,
    Stopped,
    /// The flow cannot go on.
    Broken,
}

enum Stage {
    Ringing { widget: String, until: Duration },
    Speaking { widget: String, prompt: Prompt },
    Gathering { widget: String, keys: String, listens: Listens },
    Over(End),
}

/// How far the gathering of keys is.
enum Listens {
    /// No key was pressed so far.
    During(Prompt),
    /// The prompt has ended, or a key was pressed.
    Until(Duration),
}

impl Walk {
    /// Starts a call at time zero, from `from` to the contact `to`.
    pub(super) fn start(
        flow: Arc<Flow>,
        (from, to): (&str, &str),
        parameters: &Value,
        call_sid: &str,
        pace: Pace,
    ) -> Self {
        let context = Context::new((from, to), parameters);
        let initial = Some(flow.initial.clone());
        let mut walk = Self {
            flow,
            context,
            contact: to.to_owned(),
            call_sid: call_sid.to_owned(),
            pace,
            stage: Stage::Over(End::Broken),
            effects: Vec::new(),
            steps: 0,
        };
        walk.enter(initial, Duration::ZERO);
        walk
    }

    pub(super) fn context(&self) -> &Value {
        self.context.as_json()
    }

    pub(super) fn end(&self) -> Option<End> {
        match self.stage {
            Stage::Over(end) => Some(end),
            _ => None,
        }
    }

    pub(super) fn is_ringing(&self) -> bool {
        matches!(self.stage, Stage::Ringing { .. })
    }

    /// Returns when [`Input::Time`] is due. `None` if the call has ended.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Ringing { until, .. } | Stage::Gathering { listens: Listens::Until(until), .. } => Some(*until),
            Stage::Speaking { prompt, .. } | Stage::Gathering { listens: Listens::During(prompt), .. } => {
                Some(prompt.wake_at())
            }
            Stage::Over(_) => None,
        }
    }

    /// Returns what the call has done since this was called last.
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Goes on. What is due at `now` happens before the input.
    pub(super) fn handle(&mut self, input: Input, now: Duration) {
        while let Some(at) = self.wake_at().filter(|at| *at <= now) {
            self.wake(at);
        }
        match input {
            Input::Time => {}
            Input::PickedUp | Input::Busy => self.answer(input == Input::PickedUp, now),
            Input::Key(key) => self.press(key, now),
            Input::HungUp | Input::Stopped if self.end().is_none() => {
                let status = if self.is_ringing() { "canceled" } else { "completed" };
                self.set_call_status(status);
                let end = if input == Input::Stopped { End::Stopped } else { End::HungUp };
                self.stage = Stage::Over(end);
            }
            Input::HungUp | Input::Stopped => {}
        }
    }

    /// Does what is due at the time of [`Walk::wake_at`].
    fn wake(&mut self, at: Duration) {
        let flow = Arc::clone(&self.flow);
        match &mut self.stage {
            Stage::Ringing { widget, .. } => {
                let next = call(&flow, widget).and_then(|call| call.no_answer.clone());
                self.set_call_status("no-answer");
                self.enter(next, at);
            }
            Stage::Speaking { widget, prompt } => {
                if prompt.advance(at, &mut self.effects) {
                    return;
                }
                let next = match flow.widget(widget) {
                    Some(Widget::Say { next, .. }) => next.clone(),
                    _ => None,
                };
                self.enter(next, at);
            }
            Stage::Gathering { widget, listens: Listens::During(prompt), .. } => {
                if prompt.advance(at, &mut self.effects) {
                    return;
                }
                let pause = gather(&flow, widget).map(|gather| gather.pause).unwrap_or_default();
                if let Stage::Gathering { listens, .. } = &mut self.stage {
                    *listens = Listens::Until(at.saturating_add(pause));
                }
            }
            Stage::Gathering { listens: Listens::Until(_), .. } => self.end_entry("", at),
            Stage::Over(_) => {}
        }
    }

    fn answer(&mut self, is_picked_up: bool, now: Duration) {
        let flow = Arc::clone(&self.flow);
        let Stage::Ringing { widget, .. } = &self.stage else { return };
        let Some(call) = call(&flow, widget) else { return };
        if !is_picked_up {
            self.set_call_status("busy");
            return self.enter(call.busy.clone(), now);
        }
        self.set_call_status("in-progress");
        let digits = self.context.resolve(&call.send_digits);
        if !digits.is_empty() {
            self.effects.push(Effect::Dial(digits));
        }
        self.enter(call.answered.clone(), now);
    }

    /// As `<Gather>` does: the key that finishes is not among the digits, and alone it counts as nothing pressed. Which
    /// key it was is in `FinishedOnKey`.
    fn press(&mut self, key: char, now: Duration) {
        let flow = Arc::clone(&self.flow);
        let Stage::Gathering { widget, keys, listens } = &mut self.stage else { return };
        let Some(gather) = gather(&flow, widget) else { return };
        if gather.finish_on.contains(key) {
            return self.end_entry(&key.to_string(), now);
        }
        keys.push(key);
        *listens = Listens::Until(now.saturating_add(gather.pause));
        let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        if gather.max_keys > 0 && count >= gather.max_keys {
            self.end_entry("", now);
        }
    }

    fn end_entry(&mut self, finished_on: &str, now: Duration) {
        let flow = Arc::clone(&self.flow);
        let Stage::Gathering { widget, keys, .. } = &self.stage else { return };
        let Some(gather) = gather(&flow, widget) else { return };
        if keys.is_empty() {
            return self.enter(gather.timeout.clone(), now);
        }
        let output = json!({
            "Digits": keys, "FinishedOnKey": finished_on, "msg": "Gather End", "CallStatus": "in-progress",
            "Direction": "outbound-api", "To": self.contact, "CallSid": self.call_sid,
        });
        let widget = widget.clone();
        self.context.set_output(&widget, output);
        self.enter(gather.keypress.clone(), now);
    }

    /// Goes through widgets until one takes time, or the flow ends.
    fn enter(&mut self, next: Next, now: Duration) {
        let flow = Arc::clone(&self.flow);
        let mut next = next;
        while let Some(name) = next {
            self.steps = self.steps.saturating_add(1);
            let Some(widget) = flow.widget(&name).filter(|_| self.steps <= MAX_STEPS) else {
                return self.finish(End::Broken);
            };
            next = match widget {
                Widget::Trigger { next } => next.clone(),
                Widget::Split { matches, otherwise } => self.split(matches, otherwise),
                Widget::Set { variables, next } => {
                    for variable in variables {
                        let value = self.context.resolve(&variable.value);
                        self.report(&variable.key, &value);
                        if !self.context.set_variable(&variable.key, value) {
                            return self.finish(End::Broken);
                        }
                    }
                    next.clone()
                }
                // A flow has one widget that calls, so the call was made already.
                Widget::Call(_) if self.call_status().is_some() => return self.finish(End::Broken),
                Widget::Call(call) => {
                    let rings_for = call.rings_for.min(self.pace.rings_for);
                    self.stage = Stage::Ringing { widget: name, until: now.saturating_add(rings_for) };
                    return self.set_call_status("ringing");
                }
                _ if self.call_status() != Some("in-progress") => return self.finish(End::Broken),
                Widget::Say { speech, .. } => {
                    let prompt = self.prompt(speech, None, now);
                    self.stage = Stage::Speaking { widget: name, prompt };
                    return;
                }
                Widget::Gather(gather) => {
                    let heard = asked_for(&gather.speech, &self.context, self.flow.asks_for_pin());
                    let prompt = self.prompt(&gather.speech, Some(heard), now);
                    let listens = Listens::During(prompt);
                    self.stage = Stage::Gathering { widget: name, keys: String::new(), listens };
                    return;
                }
            };
        }
        self.finish(End::FlowEnded);
    }

    fn split(&self, matches: &[(Vec<Condition>, Next)], otherwise: &Next) -> Next {
        let is_match = |conditions: &Vec<Condition>| {
            conditions.iter().all(|condition| {
                // Either may be a variable: https://www.twilio.com/docs/studio/widget-library/split-based-on
                let [argument] = &condition.arguments;
                let value = self.context.resolve(argument).to_lowercase();
                let wanted = self.context.resolve(&condition.value).to_lowercase();
                match condition.kind {
                    ConditionKind::EqualTo => value == wanted,
                    ConditionKind::MatchesAnyOf => wanted.split(',').any(|wanted| wanted.trim() == value),
                }
            })
        };
        let found = matches.iter().find(|(conditions, _)| is_match(conditions));
        found.map_or(otherwise, |(_, next)| next).clone()
    }

    fn prompt(&mut self, speech: &Speech, heard: Option<(Heard, &str)>, now: Duration) -> Prompt {
        Prompt::begin(speech, heard, &self.context, (now, self.pace.character), &mut self.effects)
    }

    /// Shows a variable that says what was pressed, or that nothing was.
    fn report(&mut self, key: &str, value: &str) {
        let text = match key {
            "result" => format!("The flow reports {value}."),
            "digits" => format!("The flow has gathered {value:?}."),
            _ => return,
        };
        self.effects.push(Effect::Report(text));
    }

    fn call_status(&self) -> Option<&str> {
        self.context.output(&self.flow.call, "CallStatus")
    }

    /// Sets the output of the widget that calls.
    fn set_call_status(&mut self, status: &str) {
        let answered_by = (!matches!(status, "ringing" | "busy" | "no-answer" | "canceled")).then_some("human");
        let output = json!({
            "CallSid": self.call_sid, "CallStatus": status, "To": self.contact, "AnsweredBy": answered_by,
            "Direction": "outbound-api",
        });
        self.context.set_output(&self.flow.call, output);
    }

    fn finish(&mut self, end: End) {
        if self.call_status() == Some("in-progress") {
            self.set_call_status("completed");
        }
        self.stage = Stage::Over(end);
    }
}

fn call<'a>(flow: &'a Flow, widget: &str) -> Option<&'a Call> {
    match flow.widget(widget) {
        Some(Widget::Call(call)) => Some(call),
        _ => None,
    }
}

fn gather<'a>(flow: &'a Flow, widget: &str) -> Option<&'a Gather> {
    match flow.widget(widget) {
        Some(Widget::Gather(gather)) => Some(gather),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
