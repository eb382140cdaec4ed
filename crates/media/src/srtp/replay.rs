//! Records which packets of a stream were received (RFC 3711, section 3.3.2).

/// The highest index of a stream, and which of the last 64 indices were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplayWindow {
    highest: u64,
    /// The lowest bit is that of `highest`.
    seen: u64,
}

impl ReplayWindow {
    /// Creates the window of a stream from its first packet.
    pub(super) fn new(index: u64) -> Self {
        Self { highest: index, seen: 1 }
    }

    /// Extends a sequence number to the index nearest to the highest one (RFC 3711, section 3.3.1). Returns `None` if
    /// that would be before the first cycle.
    pub(super) fn extend(&self, sequence: u16) -> Option<u64> {
        let ahead = sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest.checked_add_signed(ahead.into())
    }

    /// Returns whether the index was not received before. An index older than the window is not new.
    pub(super) fn is_new(&self, index: u64) -> bool {
        match self.highest.checked_sub(index).map(u32::try_from) {
            None => true,
            Some(Ok(behind)) => 1u64.checked_shl(behind).is_some_and(|bit| self.seen & bit == 0),
            Some(Err(_)) => false,
        }
    }

    /// Records a packet that is new.
    pub(super) fn record(&mut self, index: u64) {
        let shifted =
            |bits: u64, by: u64| u32::try_from(by).ok().and_then(|by| bits.checked_shl(by)).unwrap_or_default();
        match index.checked_sub(self.highest) {
            Some(ahead) => {
                self.seen = shifted(self.seen, ahead) | 1;
                self.highest = index;
            }
            None => self.seen |= shifted(1, self.highest.saturating_sub(index)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compares the window with a set of all received indices.
        #[test]
        fn no_index_counts_twice(steps in proptest::collection::vec((any::<bool>(), 0u64..80), 1..200)) {
            let mut highest = 1000u64;
            let mut window = ReplayWindow::new(highest);
            let mut came = HashSet::from([highest]);
            for (is_ahead, step) in steps {
                let index = if is_ahead { highest + step } else { highest - step };
                let is_new = !came.contains(&index) && index + 64 > highest;
                prop_assert_eq!(window.is_new(index), is_new, "{} of {}", index, highest);
                if is_new {
                    window.record(index);
                    came.insert(index);
                    highest = highest.max(index);
                }
            }
        }
    }

    #[test]
    fn a_sequence_number_is_extended_to_the_nearest_index() {
        for (highest, sequence, index) in [
            (100, 101, Some(101)),
            (100, 99, Some(99)),
            (100, 65_535, None),
            (65_535, 0, Some(65_536)),
            (65_536, 65_535, Some(65_535)),
            (65_536, 32_767, Some(98_303)),
            (65_536, 32_768, Some(32_768)),
        ] {
            assert_eq!(ReplayWindow::new(highest).extend(sequence), index, "{sequence} after {highest}");
        }
        assert!(!ReplayWindow::new(u64::MAX).is_new(0));
    }
}
