//! An entry that is being pressed.

use std::time::Duration;

use super::{MAX_ENTRY, PAUSE};
use crate::secret::{Entry, Key};

/// The keys of an entry, and when they were pressed.
pub(super) struct PressedEntry {
    keys: Entry,
    began: Duration,
    /// When the last key was pressed.
    last: Duration,
    /// The last key, if it is the first one, or the first one after a pause.
    leading: Option<Key>,
    /// Whether the next key is the first one, or the first one after a pause.
    is_leading: bool,
    /// Whether a key was early.
    pub(super) has_early_key: bool,
    /// Whether the entry was continued after a pause, which used its attempt.
    pub(super) is_continued: bool,
}

impl PressedEntry {
    /// Creates an entry whose first key is pressed now.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            keys: Entry::default(),
            began: now,
            last: now,
            leading: None,
            is_leading: true,
            has_early_key: false,
            is_continued: false,
        }
    }

    /// Continues an entry that a pause ended.
    pub(super) fn continued(self) -> Self {
        Self { is_leading: true, is_continued: true, ..self }
    }

    /// Adds a key other than `#`.
    pub(super) fn push(&mut self, now: Duration, key: Key) {
        self.keys.push(key);
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
    pub(super) fn keys(&self) -> &Entry {
        &self.keys
    }

    /// Returns when the entry ends if no key is pressed.
    pub(super) fn ends(&self) -> Duration {
        self.last.saturating_add(PAUSE).min(self.too_long_at())
    }

    /// Returns whether the entry ends because it exceeds [`MAX_ENTRY`].
    pub(super) fn is_too_long(&self) -> bool {
        self.ends() == self.too_long_at()
    }

    fn too_long_at(&self) -> Duration {
        self.began.saturating_add(MAX_ENTRY)
    }
}
