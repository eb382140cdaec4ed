//! The secrets with which numbers in memory were hashed, and moving a number to the current one (S14).

use std::collections::hash_map::Entry;

use super::calls::Calls;
use crate::call::{HashedNumber, KeyFingerprint, NumberHash};
use crate::store::number_keys::missing_key;
use crate::store::{Block, BlockScope, KeyUse, StoreError, StoredNumber};

impl Calls {
    pub(super) fn use_number_keys(&mut self, known: &[KeyFingerprint], usage: KeyUse) -> Result<(), StoreError> {
        match missing_key(self.number_keys.iter().copied(), known) {
            Some(error) => return Err(error),
            None if usage != KeyUse::Read => self.number_keys.extend(known.first()),
            None => {}
        }
        Ok(())
    }

    /// Moves a number that is about to be called to its current secret.
    pub(super) fn rekey_number(&mut self, number: &StoredNumber) -> Result<(), StoreError> {
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
        for scope in [BlockScope::Number, BlockScope::Line] {
            self.rekey_block(old.number, number.hash, scope);
            self.rekey_block(old.line, number.line_hash, scope);
        }
        self.rekey_pin(old.number, number.hash);
        if let Some(sequence) = self.ringing.remove(&old.number) {
            self.ringing.entry(number.hash).or_insert(sequence);
        }
        if let Some(begun) = self.begun.remove(&old.number) {
            self.begun.entry(number.hash).or_default().merge(begun);
        }
        if let Some(line) = self.lines.remove(&old.line) {
            self.lines.entry(number.line_hash).or_default().merge(line);
        }
        if let Some(entry) = self.denials.remove(&old.number) {
            match self.denials.entry(number.hash) {
                Entry::Occupied(mut there) => there.get_mut().denials.merge(entry.denials),
                Entry::Vacant(place) => drop(place.insert(entry)),
            }
        }
        // The line's other numbers, too: their calls count for the line.
        for row in self.attempts.values_mut().map(|entry| &mut entry.row) {
            if row.number_hash == Some(old.number) {
                row.number_hash = Some(number.hash);
            }
            if row.line_hash == Some(old.line) {
                row.line_hash = Some(number.line_hash);
            }
        }
    }

    /// Of two blocks of the same scope, the one that ends later is kept.
    fn rekey_block(&mut self, old: NumberHash, new: NumberHash, scope: BlockScope) {
        let Some(block) = self.blocks.remove(&(old, scope)) else { return };
        let is_longer =
            |there: &Block| there.until.is_none() || block.until.is_some_and(|until| there.until >= Some(until));
        if !self.blocks.get(&(new, scope)).is_some_and(is_longer) {
            self.blocks.insert((new, scope), Block { number: new, ..block });
        }
    }
}
