//! Records that a store cannot read, because a newer version wrote them or they are damaged. A list leaves them out. An
//! operation that depends on one is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;

use super::StoreError;

/// Maximum number of unreadable records that a store remembers. Further ones are left out of lists, and not counted.
const MAX_REMEMBERED: usize = 10_000;

/// What a record of a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// An attempt.
    Attempt,
    /// A step of an attempt.
    Step,
    /// A block of the block list.
    Block,
    /// The denials and the lock of a number.
    Denials,
    /// A PIN.
    Pin,
    /// A counter of a daily limit.
    Counter,
    /// An alert.
    Alert,
}

impl RecordKind {
    fn noun(self, count: usize) -> &'static str {
        match (self, count) {
            (Self::Attempt, 1) => "call",
            (Self::Attempt, _) => "calls",
            (Self::Step, 1) => "step of a call",
            (Self::Step, _) => "steps of calls",
            (Self::Block, 1) => "block",
            (Self::Block, _) => "blocks",
            (Self::Denials, 1) => "record of denials",
            (Self::Denials, _) => "records of denials",
            (Self::Pin, 1) => "PIN",
            (Self::Pin, _) => "PINs",
            (Self::Counter, 1) => "counter of a daily limit",
            (Self::Counter, _) => "counters of daily limits",
            (Self::Alert, 1) => "alert",
            (Self::Alert, _) => "alerts",
        }
    }
}

/// How many different records of each kind a store has left out of its answers. Displayed: `2 calls, 1 block`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct UnreadableCounts(BTreeMap<RecordKind, usize>);

impl UnreadableCounts {
    /// Returns whether no record was left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many records of a kind were left out.
    pub fn of(&self, kind: RecordKind) -> usize {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// Returns the kinds of the records that were left out.
    pub fn kinds(&self) -> impl Iterator<Item = RecordKind> {
        self.0.keys().copied()
    }
}

impl FromIterator<RecordKind> for UnreadableCounts {
    fn from_iter<I: IntoIterator<Item = RecordKind>>(kinds: I) -> Self {
        let mut counts = Self::default();
        for kind in kinds {
            *counts.0.entry(kind).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for UnreadableCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{count} {}", kind.noun(*count))?;
        }
        Ok(())
    }
}

/// The records that a store has left out of its answers, each by its kind and a hash of its key.
#[derive(Default)]
pub(super) struct Unreadable(Mutex<BTreeSet<(RecordKind, u64)>>);

impl Unreadable {
    /// Remembers a record that was left out.
    pub(super) fn add(&self, kind: RecordKind, key: impl Hash) {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let mut records = self.0.lock();
        if records.len() < MAX_REMEMBERED {
            records.insert((kind, hasher.finish()));
        }
    }

    pub(super) fn counts(&self) -> UnreadableCounts {
        self.0.lock().iter().map(|(kind, _)| *kind).collect()
    }
}

impl StoreError {
    /// The operation depends on a record that cannot be read.
    pub(super) fn unreadable(kind: RecordKind) -> Self {
        let (record, remedy) = match kind {
            RecordKind::Attempt => ("a call", ""),
            RecordKind::Step => ("a step of a call", ""),
            RecordKind::Block => ("a block of the number", "; remove it with `phonegate blocks remove NUMBER`"),
            RecordKind::Denials => ("denials of the number", "; remove them with `phonegate limits unlock NUMBER`"),
            RecordKind::Pin => ("a PIN of the number", "; replace it with `phonegate pins set NUMBER`"),
            RecordKind::Counter => ("a counter of a daily limit", ""),
            RecordKind::Alert => ("an alert", ""),
        };
        let why = match kind {
            RecordKind::Denials => "they are damaged, or a newer version wrote them",
            _ => "it is damaged, or a newer version wrote it",
        };
        Self::refused(format_args!("{record} cannot be read: {why}{remedy}"))
    }
}
