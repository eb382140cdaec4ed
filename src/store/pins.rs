//! PINs in a store, and the rules by which guesses are counted (S15). They are the same in every store.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{StoreError, StoredNumber};
use crate::call::NumberHash;
use crate::limits::PinLimits;

/// The PINs of a store (S15).
///
/// `numbers` are the hashes of one number with each number key, the current one first.
///
/// Every store guarantees, over processes, restarts and kills:
///
/// - A guess is counted as a failure before its PIN is compared. Parallel guesses, too, compare at most `max_failures`
///   PINs before a right PIN or the end of a lock.
/// - The guess that reaches `max_failures` locks the PIN at once. If the guess is right, it removes that lock.
/// - A right PIN removes its own failure and those counted before it. It removes no failure that was counted after it,
///   and no lock that a later guess caused: an attacker must not gain from the user's own call.
/// - A guess during a lock is not compared, not counted, and does not extend the lock.
/// - After a PIN was replaced, removed or unlocked, guesses that began before it change nothing.
/// - All PINs of a store have the same pepper. Another pepper is refused before a guess is counted.
#[async_trait]
pub trait PinStore: Send + Sync {
    /// Sets the PIN of a number, in place of one that it has. Its failures and its lock end.
    ///
    /// # Errors
    /// Refused if the store has PINs with another pepper, or numbers that were hashed with a key with which this number
    /// was not hashed. Any other error: it is not known whether it was set.
    async fn set_pin(&self, pin: &NewPin) -> Result<(), StoreError>;

    /// Removes the PIN of a number. Returns whether it had one.
    ///
    /// # Errors
    /// If it is not known whether it was removed.
    async fn remove_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError>;

    /// Ends the lock and resets the failures of a number's PIN. Returns whether the number has one.
    ///
    /// # Errors
    /// If it is not known whether it was unlocked.
    async fn unlock_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError>;

    /// Returns the numbers that have a PIN. The one that was set last comes first.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn pins(&self) -> Result<Vec<StoredPin>, StoreError>;

    /// Returns whether the PIN of a number can be entered now. Changes nothing.
    ///
    /// # Errors
    /// If that is not known.
    async fn pin_state(&self, numbers: &[NumberHash]) -> Result<PinState, StoreError>;

    /// Counts a failure, and returns the hash with which the entered PIN is compared.
    ///
    /// # Errors
    /// Refused if the PINs were made with another pepper: nothing was counted. Any other error: it may be counted. No PIN
    /// may be compared in either case.
    async fn begin_pin_guess(
        &self,
        numbers: &[NumberHash],
        pepper: PepperFingerprint,
        limits: &PinLimits,
    ) -> Result<PinGuess, StoreError>;

    /// Removes the failures up to a guess that was right. Returns false if the PIN was replaced or removed since the
    /// guess began: the guess must not approve.
    ///
    /// # Errors
    /// If the result is unknown: the guess must not approve.
    async fn confirm_pin_guess(&self, numbers: &[NumberHash], compared: &PinToCompare) -> Result<bool, StoreError>;

    /// Checks that the PINs of the store, if there are any, were made with this pepper. Changes nothing.
    ///
    /// # Errors
    /// Refused if they were made with another one. Any other error: the check was not done.
    async fn check_pepper(&self, pepper: PepperFingerprint) -> Result<(), StoreError>;
}

/// A PIN to set.
#[derive(Clone)]
pub struct NewPin {
    /// The number, without its digits.
    pub number: StoredNumber,
    /// Argon2id, as a PHC string.
    pub hash: Box<str>,
    /// Identifies the pepper in the hash.
    pub pepper: PepperFingerprint,
    /// When it was set.
    pub set_at: SystemTime,
}

/// A PIN that is set, without its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPin {
    /// The number that has the PIN.
    pub number: NumberHash,
    /// The number, masked.
    pub masked: Box<str>,
    /// When the PIN was set.
    pub set_at: SystemTime,
    /// Failures since the last right entry, guesses in progress included.
    pub failures: u32,
    /// The end of the lock, if the PIN is locked now.
    pub locked_until: Option<SystemTime>,
}

/// Whether the PIN of a number can be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinState {
    /// The number has no PIN.
    NotSet,
    /// There were too many failures.
    Locked {
        /// The end of the lock.
        until: SystemTime,
    },
    /// It can be entered.
    Open,
}

/// The result of [`PinStore::begin_pin_guess`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinGuess {
    /// The number has no PIN. Nothing was counted.
    NotSet,
    /// There were too many failures. Nothing was counted.
    Locked {
        /// The end of the lock.
        until: SystemTime,
    },
    /// A failure was counted: the entered PIN may be compared, once.
    Compare(PinToCompare),
}

/// A PIN that may be compared once. `Debug` does not show the hash.
#[derive(Clone, PartialEq, Eq)]
pub struct PinToCompare {
    /// Argon2id, as a PHC string. Its salt is random, so it also identifies this setting of the PIN.
    pub hash: Box<str>,
    /// Counts the guesses of a number.
    pub(super) guess: u64,
}

impl fmt::Debug for PinToCompare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinToCompare").field("guess", &self.guess).finish_non_exhaustive()
    }
}

/// Identifies a pepper without revealing it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PepperFingerprint([u8; 8]);

impl PepperFingerprint {
    /// The first 8 bytes of a hash of the pepper.
    pub fn of_hash(hash: &[u8]) -> Self {
        let mut fingerprint = [0; 8];
        fingerprint.iter_mut().zip(hash).for_each(|(fingerprint, byte)| *fingerprint = *byte);
        Self(fingerprint)
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for PepperFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PepperFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StoreError {
    /// The PINs were made with another pepper, whose fingerprint is `used`.
    pub(super) fn pepper_mismatch(used: impl fmt::Display) -> Self {
        Self::refused(format_args!(
            "its PINs were made with another pepper (fingerprint {used}), so no PIN could be right: set \
             approval.pin.pepper to the pepper that was used before, or remove all PINs (phonegate pins reset) and set \
             new ones"
        ))
    }
}

/// The guesses of one PIN, and its lock. Times are milliseconds of the store's clock. `redis/pins.lua` has the same rules.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Guesses {
    /// All guesses so far. The number of a guess is this count after its begin.
    pub(super) begun: u64,
    /// Guesses up to this one do not count as failures.
    pub(super) forgiven: u64,
    pub(super) lock: Option<PinLock>,
}

/// The lock of a PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PinLock {
    pub(super) until: i64,
    /// The guess that caused it.
    pub(super) by: u64,
}

impl Guesses {
    /// Begins a guess and returns its number, or the end of the lock.
    pub(super) fn begin(&mut self, now: i64, limits: &PinLimits) -> Result<u64, i64> {
        match self.lock {
            Some(lock) if lock.until > now => return Err(lock.until),
            Some(_) => self.forgive_all(),
            None => {}
        }
        let lock = i64::try_from(limits.lock.as_millis()).unwrap_or(i64::MAX);
        let until = now.saturating_add(lock);
        let max = u64::from(limits.max_failures);
        if self.begun.saturating_sub(self.forgiven) >= max {
            // The limit was lowered since.
            self.lock = Some(PinLock { until, by: self.begun });
            return Err(until);
        }
        self.begun = self.begun.saturating_add(1);
        if self.begun.saturating_sub(self.forgiven) >= max {
            self.lock = Some(PinLock { until, by: self.begun });
        }
        Ok(self.begun)
    }

    /// Resets the failures up to a guess, unless a later guess has locked the PIN.
    pub(super) fn was_right(&mut self, guess: u64) {
        let is_locked_by_later = self.lock.is_some_and(|lock| lock.by > guess);
        if guess > self.forgiven && !is_locked_by_later {
            self.forgiven = guess;
            self.lock = None;
        }
    }

    /// Ends the lock and resets all failures. Guesses in progress change nothing after this.
    pub(super) fn forgive_all(&mut self) {
        self.forgiven = self.begun;
        self.lock = None;
    }

    /// Returns the failures, and the rest of the lock in milliseconds.
    pub(super) fn state(&self, now: i64) -> (u32, Option<i64>) {
        match self.lock {
            Some(lock) if lock.until <= now => (0, None),
            lock => {
                let failures = u32::try_from(self.begun.saturating_sub(self.forgiven)).unwrap_or(u32::MAX);
                (failures, lock.map(|lock| lock.until.saturating_sub(now)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use std::time::Duration;

    use super::*;

    const LIMITS: PinLimits = PinLimits { max_failures: 3, lock: Duration::from_millis(100) };

    #[derive(Clone, Debug)]
    enum Event {
        Begin,
        /// One of the guesses so far turns out right.
        Right(prop::sample::Index),
        Pass(i64),
        Unlock,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => Just(Event::Begin),
            2 => any::<prop::sample::Index>().prop_map(Event::Right),
            2 => (0_i64..80).prop_map(Event::Pass),
            1 => Just(Event::Unlock),
        ]
    }

    proptest! {
        /// In no span as long as a lock are more guesses compared than the maximum, since the last that was right or the
        /// last that an administrator forgave.
        #[test]
        fn no_sequence_gives_more_guesses(events in prop::collection::vec(event(), 0..60)) {
            let (mut guesses, mut now) = (Guesses::default(), 0);
            let mut begun: Vec<(u64, i64)> = Vec::new();
            let mut forgiven = 0;
            for event in events {
                match event {
                    Event::Pass(time) => now += time,
                    Event::Unlock => {
                        guesses.forgive_all();
                        forgiven = begun.len() as u64;
                        prop_assert_eq!(guesses.state(now), (0, None));
                    }
                    Event::Right(index) if !begun.is_empty() => {
                        let (guess, _) = begun[index.index(begun.len())];
                        guesses.was_right(guess);
                        forgiven = forgiven.max(guess);
                        if guess == begun.len() as u64 {
                            prop_assert_eq!(guesses.state(now), (0, None), "nothing came after it");
                        }
                    }
                    Event::Right(_) => {}
                    Event::Begin => match guesses.begin(now, &LIMITS) {
                        Ok(guess) => {
                            begun.push((guess, now));
                            prop_assert_eq!(guess, begun.len() as u64);
                            let counts = |(guess, at): &&(u64, i64)| *guess > forgiven && *at > now - 100;
                            prop_assert!(begun.iter().filter(counts).count() <= 3);
                        }
                        Err(until) => prop_assert!(until > now && until <= now + 100),
                    },
                }
            }
        }
    }
}
