//! PINs in memory (S15).

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;

use super::MemoryStore;
use super::calls::Calls;
use crate::call::NumberHash;
use crate::store::pins::Guesses;
use crate::store::{
    NewPin, PepperFingerprint, PinGuess, PinLimits, PinState, PinStore, PinToCompare, StoreError, StoredPin,
};

/// A PIN and its guesses.
pub(super) struct PinEntry {
    new: NewPin,
    guesses: Guesses,
}

#[async_trait]
impl PinStore for MemoryStore {
    async fn set_pin(&self, pin: &NewPin) -> Result<(), StoreError> {
        self.calls.lock().set_pin(pin)
    }

    async fn remove_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        let mut calls = self.calls.lock();
        Ok(numbers.iter().filter(|number| calls.pins.remove(number).is_some()).count() > 0)
    }

    async fn unlock_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        Ok(self.calls.lock().pin_of(numbers).map(|pin| pin.guesses.forgive_all()).is_some())
    }

    async fn pins(&self) -> Result<Vec<StoredPin>, StoreError> {
        let mut calls = self.calls.lock();
        let now = calls.milliseconds(Instant::now());
        let stored = |(number, pin): (&NumberHash, &PinEntry)| {
            let (failures, left) = pin.guesses.state(now);
            StoredPin {
                number: *number,
                masked: pin.new.number.masked.clone(),
                set_at: pin.new.set_at,
                failures,
                locked_until: left.map(wall),
            }
        };
        let mut pins: Vec<_> = calls.pins.iter().map(stored).collect();
        pins.sort_by_key(|pin| std::cmp::Reverse(pin.set_at));
        Ok(pins)
    }

    async fn pin_state(&self, numbers: &[NumberHash]) -> Result<PinState, StoreError> {
        let mut calls = self.calls.lock();
        let now = calls.milliseconds(Instant::now());
        Ok(match calls.pin_of(numbers).map(|pin| pin.guesses.state(now)) {
            None => PinState::NotSet,
            Some((_, Some(left))) => PinState::Locked { until: wall(left) },
            Some((_, None)) => PinState::Open,
        })
    }

    async fn begin_pin_guess(
        &self,
        numbers: &[NumberHash],
        pepper: PepperFingerprint,
        limits: &PinLimits,
    ) -> Result<PinGuess, StoreError> {
        let mut calls = self.calls.lock();
        let now = calls.milliseconds(Instant::now());
        let Some(pin) = calls.pin_of(numbers) else { return Ok(PinGuess::NotSet) };
        if pin.new.pepper != pepper {
            return Err(StoreError::pepper_mismatch(pin.new.pepper));
        }
        Ok(match pin.guesses.begin(now, limits) {
            Ok(guess) => PinGuess::Compare(PinToCompare { hash: pin.new.hash.clone(), guess }),
            Err(until) => PinGuess::Locked { until: wall(until.saturating_sub(now)) },
        })
    }

    async fn confirm_pin_guess(&self, numbers: &[NumberHash], compared: &PinToCompare) -> Result<bool, StoreError> {
        let mut calls = self.calls.lock();
        let pin = calls.pin_of(numbers).filter(|pin| pin.new.hash == compared.hash);
        Ok(pin.map(|pin| pin.guesses.was_right(compared.guess)).is_some())
    }

    async fn check_pepper(&self, pepper: PepperFingerprint) -> Result<(), StoreError> {
        self.calls.lock().other_pepper(pepper).map_or(Ok(()), Err)
    }
}

impl Calls {
    fn set_pin(&mut self, new: &NewPin) -> Result<(), StoreError> {
        if let Some(error) = self.other_pepper(new.pepper) {
            return Err(error);
        }
        // This also moves a PIN that the number has by another hash.
        self.rekey_number(&new.number)?;
        let mut guesses = self.pins.remove(&new.number.hash).map(|pin| pin.guesses).unwrap_or_default();
        guesses.forgive_all();
        self.pins.insert(new.number.hash, PinEntry { new: new.clone(), guesses });
        Ok(())
    }

    fn pin_of(&mut self, numbers: &[NumberHash]) -> Option<&mut PinEntry> {
        let number = numbers.iter().find(|number| self.pins.contains_key(number))?;
        self.pins.get_mut(number)
    }

    fn other_pepper(&self, pepper: PepperFingerprint) -> Option<StoreError> {
        let used = self.pins.values().next().map(|pin| pin.new.pepper);
        used.filter(|used| *used != pepper).map(StoreError::pepper_mismatch)
    }

    /// Moves the PIN of a number to its current hash. If it has one there, that is kept.
    pub(super) fn rekey_pin(&mut self, old: NumberHash, new: NumberHash) {
        if let Some(pin) = self.pins.remove(&old) {
            self.pins.entry(new).or_insert(pin);
        }
    }
}

/// Returns the wall-clock time `left` milliseconds from now.
fn wall(left: i64) -> SystemTime {
    let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
    let now = SystemTime::now();
    now.checked_add(left).unwrap_or(now)
}
