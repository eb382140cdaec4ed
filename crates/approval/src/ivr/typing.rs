//! An entry while it is pressed.

use std::time::Duration;

use super::{MAX_ENTRY, PAUSE};
use crate::secret::{Entry, Key};

/// The keys of an entry, and what they mean by when they were pressed.
pub(super) struct Typing {
    entry: Entry,
    began: Duration,
    /// When the last key was pressed.
    last: Duration,
    /// The last key, if it is the first one, or the first one after a pause.
    leading: Option<Key>,
    /// Whether the next key is the first one, or the first one after a pause.
    is_leading: bool,
    /// Whether a key was early.
    pub(super) is_poisoned: bool,
    /// Whether a pause ended the entry, and it was continued. It used an attempt then.
    pub(super) is_continued: bool,
}

impl Typing {
    /// An entry whose first key is pressed now.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            entry: Entry::default(),
            began: now,
            last: now,
            leading: None,
            is_leading: true,
            is_poisoned: false,
            is_continued: false,
        }
    }

    /// The entry that a pause ended, and that goes on.
    pub(super) fn continued(self) -> Self {
        Self { is_leading: true, is_continued: true, ..self }
    }

    /// Adds a key other than `#`.
    pub(super) fn push(&mut self, now: Duration, key: Key) {
        self.entry.push(key);
        self.last = now;
        self.leading = self.is_leading.then_some(key);
        self.is_leading = false;
    }

    /// Returns whether `#` makes this a fraud report: the fraud key alone, since the beginning or since a pause.
    ///
    /// A pause between the fraud key and `#` does not matter.
    pub(super) fn is_fraud_report(&self, fraud_key: u8) -> bool {
        self.leading == Some(Key::Digit(fraud_key))
    }

    /// Returns the keys without `#`.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Returns when the entry ends if no key is pressed.
    pub(super) fn ends(&self) -> Duration {
        self.last.saturating_add(PAUSE).min(self.endless_at())
    }

    /// Returns whether it is so long that it ends the call.
    pub(super) fn is_endless(&self) -> bool {
        self.ends() == self.endless_at()
    }

    fn endless_at(&self) -> Duration {
        self.began.saturating_add(MAX_ENTRY)
    }
}
