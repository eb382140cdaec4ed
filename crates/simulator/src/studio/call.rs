//! Connects a telephone with a walk through the flow.

use std::sync::Arc;

use tokio::time::sleep_until;

use super::executions::Execution;
use super::walk::{Effect, End, Input};
use crate::exchange::{Action, IncomingCall};

/// Runs a call to its end.
pub(super) async fn run(mut call: IncomingCall, execution: Arc<Execution>) {
    loop {
        let (effects, wake_at, end) = {
            let mut walk = execution.walk.lock();
            (walk.take_effects(), walk.wake_at(), walk.end())
        };
        for effect in effects {
            apply(&call, effect);
        }
        if let Some(end) = end {
            return call.end(sentence(end));
        }
        let wake_at = execution.started + wake_at.unwrap_or_default();
        let input = tokio::select! {
            action = call.next() => match action {
                Action::PickUp => Input::PickedUp,
                Action::Decline => Input::Busy,
                Action::Press(key) => Input::Key(key),
                Action::HangUp => Input::HungUp,
            },
            () = sleep_until(wake_at) => Input::Time,
            () = execution.stopped.notified() => Input::Time,
        };
        execution.walk.lock().handle(input, execution.started.elapsed());
    }
}

fn apply(call: &IncomingCall, effect: Effect) {
    match effect {
        Effect::Dial(digits) => call.event(&format!("Twilio dials {digits}.")),
        Effect::Speak { language, text } => call.speak(&language, &text),
        Effect::Understood(heard) => call.understood(heard),
        Effect::Report(text) => call.event(&text),
    }
}

fn sentence(end: End) -> &'static str {
    match end {
        End::FlowEnded => "The flow has ended.",
        End::HungUp => "The user hung up.",
        End::Stopped => "PhoneGate ended the call.",
        End::Broken => "The flow cannot go on, so Twilio ended the call.",
    }
}
