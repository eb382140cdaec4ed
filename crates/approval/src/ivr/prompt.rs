//! The prompt that is spoken, or was spoken last.

use std::time::Duration;

use super::{PromptId, UNTIL_HEARD};
use crate::script::Script;

pub(super) struct Prompt {
    id: PromptId,
    /// The latest report of its progress. `None` if it is not spoken.
    pub(super) reported: Option<Duration>,
    /// When it ended or was stopped, if it is not spoken.
    pub(super) ended: Duration,
    /// Keys before this time are early. `None`: all are.
    opens: Option<Duration>,
    /// Whether a key may stop the prompt.
    pub(super) may_stop: bool,
}

impl Prompt {
    /// No prompt.
    pub(super) fn new(now: Duration) -> Self {
        Self { id: PromptId(0), reported: None, ended: now, opens: None, may_stop: false }
    }

    /// A prompt with this script, or the same one again, is to be spoken. Returns its new id.
    ///
    /// If it `is_repeat`, the user has heard it: no key is early that was not early before.
    pub(super) fn begin(&mut self, now: Duration, is_repeat: bool) -> PromptId {
        if !is_repeat {
            self.opens = None;
            self.may_stop = false;
        }
        self.id = PromptId(self.id.0.wrapping_add(1));
        self.reported = Some(now);
        self.id
    }

    /// A piece of it began to be spoken.
    pub(super) fn piece_began(&mut self, now: Duration, script: Script<'_>, index: usize) {
        let count = script.pieces().count();
        if index >= count {
            return;
        }
        self.reported = Some(now);
        let opens = match script.code_begins() {
            Some(first_digit) => (index >= first_digit).then_some(now),
            None => Some(now.saturating_add(UNTIL_HEARD)),
        };
        self.opens = self.opens.or(opens);
        self.may_stop |= script.code_begins().is_none() || index >= script.first_request_is_over();
    }

    /// It was spoken to its end, or stopped.
    pub(super) fn end(&mut self, now: Duration) {
        self.reported = None;
        self.ended = now;
        self.may_stop = true;
    }

    /// Returns whether this prompt is being spoken.
    pub(super) fn is_speaking(&self, id: PromptId) -> bool {
        self.id == id && self.reported.is_some()
    }

    /// Returns whether a key that was pressed at this time was early.
    pub(super) fn is_early(&self, at: Duration) -> bool {
        self.opens.is_none_or(|opens| at < opens)
    }
}
