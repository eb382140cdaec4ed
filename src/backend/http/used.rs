//! The service's ids of recent calls. An id that comes again names a call that another request started.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

/// Maximum number of ids that are kept.
const MAX_KEPT: usize = 10_000;

/// The last 10,000 ids of this process.
#[derive(Default)]
pub(super) struct UsedReferences {
    hasher: RandomState,
    kept: Mutex<Kept>,
}

/// Hashes of ids, which need less memory. Two ids with the same hash only make a call fail.
#[derive(Default)]
struct Kept {
    hashes: HashSet<u64>,
    oldest_first: VecDeque<u64>,
}

impl UsedReferences {
    /// Adds an id. Returns whether it is new.
    pub(super) fn add(&self, reference: &str) -> bool {
        let hash = self.hasher.hash_one(reference);
        let mut kept = self.kept.lock();
        if !kept.hashes.insert(hash) {
            return false;
        }
        kept.oldest_first.push_back(hash);
        if kept.oldest_first.len() > MAX_KEPT
            && let Some(oldest) = kept.oldest_first.pop_front()
        {
            kept.hashes.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_until_ten_thousand_others_came() {
        let used = UsedReferences::default();
        assert!(used.add("a") && !used.add("a") && used.add("b"));
        assert!((2..MAX_KEPT).all(|n| used.add(&n.to_string())));
        assert!(!used.add("a"), "it is kept");
        assert!(used.add("c") && used.add("a") && !used.add("c"), "the oldest is forgotten");
        let kept = used.kept.lock();
        assert_eq!((kept.hashes.len(), kept.oldest_first.len()), (MAX_KEPT, MAX_KEPT));
    }
}
