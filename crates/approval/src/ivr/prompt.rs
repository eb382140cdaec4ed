//! The current or latest prompt, and from when on keys count in it.

use std::time::Duration;

use super::{PromptId, UNTIL_HEARD};
use crate::script::Script;

pub(super) struct Prompt {
    id: PromptId,
    /// Whether it repeats the prompt before.
    pub(super) is_repeat: bool,
    /// When its progress was last reported. `None` if it is not being spoken.
    pub(super) reported: Option<Duration>,
    /// When it ended or was stopped, if it is not being spoken.
    pub(super) ended: Duration,
    /// Keys before this time are early. `None`: every key is early.
    keys_count_from: Option<Duration>,
    /// When its first piece began to be spoken.
    began: Option<Duration>,
    /// Whether a key may stop the prompt.
    pub(super) may_stop: bool,
}

impl Prompt {
    /// Creates the state before the first prompt.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            id: PromptId(0),
            is_repeat: false,
            reported: None,
            ended: now,
            keys_count_from: None,
            began: None,
            may_stop: false,
        }
    }

    /// Starts a prompt, or the repeat of the latest one, and returns its id.
    ///
    /// The user has heard a repeated prompt before, so its keys are early only if they were before.
    pub(super) fn begin(&mut self, now: Duration, is_repeat: bool) -> PromptId {
        if !is_repeat {
            self.keys_count_from = None;
            self.began = None;
            self.may_stop = false;
        }
        self.is_repeat = is_repeat;
        self.id = PromptId(self.id.0.wrapping_add(1));
        self.reported = Some(now);
        self.id
    }

    /// Records the start of a piece.
    pub(super) fn piece_began(&mut self, now: Duration, script: Script<'_>, index: usize) {
        let count = script.pieces().count();
        if index >= count {
            return;
        }
        self.reported = Some(now);
        self.began.get_or_insert(now);
        if script.code_begins().is_some_and(|first_digit| index >= first_digit) {
            self.keys_count_from.get_or_insert(now);
        }
        self.may_stop |= script.code_begins().is_none() || index >= script.first_request_is_over();
    }

    /// Ends the time of early keys for a prompt without a code, once its first [`UNTIL_HEARD`] was spoken.
    pub(super) fn heard(&mut self, now: Duration, script: Script<'_>) {
        let Some(began) = self.began.filter(|_| script.code_begins().is_none()) else { return };
        self.keys_count_from.get_or_insert(now.max(began.saturating_add(UNTIL_HEARD)));
    }

    /// Records that the prompt ended or was stopped.
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
        self.keys_count_from.is_none_or(|from| at < from)
    }
}
