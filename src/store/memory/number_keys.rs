//! The number keys with which numbers in memory were hashed, and rekeying a number.

use super::calls::Calls;
use crate::call::{HashedNumber, KeyFingerprint, NumberKey};
use crate::store::{Block, KeyUse, StoreError, StoredNumber, unknown_key};

impl Calls {
    pub(super) fn use_number_keys(&mut self, known: &[KeyFingerprint], usage: KeyUse) -> Result<(), StoreError> {
        match unknown_key(self.number_keys.iter().copied(), known) {
            Some(error) => return Err(error),
            None if usage != KeyUse::Read => self.number_keys.extend(known.first()),
            None => {}
        }
        Ok(())
    }

    /// Rekeys a number that is about to be called to its current key.
    pub(super) fn bring_up_to_date(&mut self, number: &StoredNumber) -> Result<(), StoreError> {
        let known: Vec<_> = number.fingerprints().collect();
        self.use_number_keys(&known, KeyUse::Write)?;
        for old in &number.otherwise {
            if self.number_keys.contains(&old.fingerprint) {
                self.rekey(old, number);
            }
        }
        Ok(())
    }

    fn rekey(&mut self, old: &HashedNumber, number: &StoredNumber) {
        self.rekey_block(old.number, number.key);
        self.rekey_block(old.line, number.line);
        self.rekey_pin(old.number, number.key);
        if let Some(sequence) = self.ringing.remove(&old.number) {
            self.ringing.entry(number.key).or_insert(sequence);
        }
        if let Some(begun) = self.begun.remove(&old.number) {
            let all = self.begun.entry(number.key).or_default();
            all.extend(begun);
            all.make_contiguous().sort_unstable();
        }
        let rows = self.attempts.values_mut().map(|kept| &mut kept.row);
        for row in rows.filter(|row| row.number_key == Some(old.number)) {
            (row.number_key, row.line_key) = (Some(number.key), Some(number.line));
        }
    }

    /// Of two blocks, the one that ends later is kept.
    fn rekey_block(&mut self, old: NumberKey, new: NumberKey) {
        let Some(block) = self.blocks.remove(&old) else { return };
        let is_longer =
            |there: &Block| there.until.is_none() || block.until.is_some_and(|until| there.until >= Some(until));
        if !self.blocks.get(&new).is_some_and(is_longer) {
            self.blocks.insert(new, Block { number: new, ..block });
        }
    }
}
