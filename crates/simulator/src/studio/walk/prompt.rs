//! A prompt that is being spoken: how long it takes, what it asks for, and how often it is repeated.

use std::time::Duration;

use super::super::flow::Speech;
use super::super::template;
use super::Effect;
use super::context::Context;
use crate::exchange::Heard;

/// How far a prompt is. Its times are those of the call.
pub(super) struct Prompt {
    language: String,
    text: String,
    length: Duration,
    /// What it asks for, and when that was said.
    heard: Option<(Heard, Duration)>,
    /// How often it is still spoken after this time.
    repeats: u64,
    until: Duration,
}

impl Prompt {
    /// Begins to speak, with `character` as the time for a character. `heard` is what the prompt asks for, and the part
    /// of its text that says so.
    pub(super) fn begin(
        speech: &Speech,
        heard: Option<(Heard, &str)>,
        context: &Context,
        (now, character): (Duration, Duration),
        effects: &mut Vec<Effect>,
    ) -> Self {
        let (text, pauses) = template::spoken(&context.resolve(&speech.text));
        let heard = heard.map(|(heard, part)| {
            let (part, _) = template::spoken(&context.resolve(part));
            (heard, now.saturating_add(duration(&part, character)))
        });
        let length = duration(&text, character).saturating_add(pauses);
        let repeats = speech.times.saturating_sub(1);
        let prompt =
            Self { language: speech.language.clone(), text, length, heard, repeats, until: now.saturating_add(length) };
        prompt.speak(effects);
        prompt
    }

    /// Returns when [`Prompt::advance`] must be called.
    pub(super) fn wake_at(&self) -> Duration {
        self.heard.as_ref().map_or(self.until, |(_, at)| self.until.min(*at))
    }

    /// Does what is due: reports what was understood, or speaks once more. Returns whether the prompt goes on.
    pub(super) fn advance(&mut self, at: Duration, effects: &mut Vec<Effect>) -> bool {
        if let Some((heard, _)) = self.heard.take_if(|(_, due)| *due <= at) {
            effects.push(Effect::Understood(heard));
            return true;
        }
        if self.repeats == 0 {
            return false;
        }
        self.repeats = self.repeats.saturating_sub(1);
        self.until = at.saturating_add(self.length);
        self.speak(effects);
        true
    }

    fn speak(&self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Speak { language: self.language.clone(), text: self.text.clone() });
    }
}

/// Returns what a prompt asks for, and the part of its text that says so.
pub(super) fn asked_for<'a>(speech: &'a Speech, context: &Context, asks_for_pin: bool) -> (Heard, &'a str) {
    let code = template::first_code(&speech.text).and_then(|(number, part)| {
        let code = context.parameter(&format!("code_{number}"))?;
        Some((code.to_owned(), part))
    });
    match (code, asks_for_pin) {
        (Some((code, part)), false) => (Heard::Code(code), part),
        (Some((code, part)), true) => (Heard::PinAndCode(code), part),
        (None, true) => (Heard::Pin, &speech.text),
        (None, false) => (Heard::Pound, &speech.text),
    }
}

fn duration(text: &str, character: Duration) -> Duration {
    character.saturating_mul(u32::try_from(text.chars().count()).unwrap_or(u32::MAX))
}
