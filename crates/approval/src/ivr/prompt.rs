//! The prompt that is spoken, or was spoken last.

use std::time::Duration;

use super::{PromptId, UNTIL_HEARD};
use crate::script::Script;

pub(super) struct Prompt {
    id: PromptId,
    /// Whether it repeats the one before it.
    pub(super) is_repeat: bool,
    /// The latest report of its progress. `None` if it is not spoken.
    pub(super) reported: Option<Duration>,
    /// When it ended or was stopped, if it is not spoken.
    pub(super) ended: Duration,
    /// Keys before this time are early. `None`: all are.
    opens: Option<Duration>,
    /// When its first piece began to be spoken.
    began: Option<Duration>,
    /// Whether a key may stop the prompt.
    pub(super) may_stop: bool,
}

impl Prompt {
    /// No prompt.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            id: PromptId(0),
            is_repeat: false,
            reported: None,
            ended: now,
            opens: None,
            began: None,
            may_stop: false,
        }
    }

    /// A prompt, or the repeat of the last one, is to be spoken. Returns its new id.
    ///
    /// If it `is_repeat`, the user has heard it: no key is early that was not early before.
    pub(super) fn begin(&mut self, now: Duration, is_repeat: bool) -> PromptId {
        if !is_repeat {
            self.opens = None;
            self.began = None;
            self.may_stop = false;
        }
        self.is_repeat = is_repeat;
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
        self.began.get_or_insert(now);
        if script.code_begins().is_some_and(|first_digit| index >= first_digit) {
            self.opens.get_or_insert(now);
        }
        self.may_stop |= script.code_begins().is_none() || index >= script.first_request_is_over();
    }

    /// Ends the time of early keys for a prompt without a code, once its first [`UNTIL_HEARD`] was spoken.
    pub(super) fn heard(&mut self, now: Duration, script: Script<'_>) {
        let Some(began) = self.began.filter(|_| script.code_begins().is_none()) else { return };
        self.opens.get_or_insert(now.max(began.saturating_add(UNTIL_HEARD)));
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
