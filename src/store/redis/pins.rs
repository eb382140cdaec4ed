//! PINs in Redis.

use std::collections::HashMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Json, RedisStore, malformed, model, to_json};
use crate::call::NumberHash;
use crate::store::millis::{from_unix, milliseconds, to_unix};
use crate::store::pins::{Guesses, PinLock};
use crate::store::{
    NewPin, PepperFingerprint, PinGuess, PinLimits, PinState, PinStore, PinToCompare, RecordKind, StoreError, StoredPin,
};

/// A PIN, as JSON.
#[derive(Serialize, Deserialize)]
struct PinRecord {
    number_hash: String,
    /// The fingerprint of the secret with which `number_hash` was hashed.
    key_fingerprint: String,
    masked: Box<str>,
    hash: Box<str>,
    set_at: i64,
    #[serde(skip_serializing)]
    guesses: u64,
    #[serde(skip_serializing)]
    forgiven: u64,
    #[serde(skip_serializing, default)]
    locked_until: Option<i64>,
    #[serde(skip_serializing, default)]
    locked_by: Option<u64>,
}

impl PinRecord {
    fn new(pin: &NewPin) -> Self {
        Self {
            number_hash: pin.number.hash.to_string(),
            key_fingerprint: pin.number.fingerprint.to_string(),
            masked: pin.number.masked.clone(),
            hash: pin.hash.clone(),
            set_at: to_unix(pin.set_at),
            guesses: 0,
            forgiven: 0,
            locked_until: None,
            locked_by: None,
        }
    }

    fn into_stored(self, now: i64, wall: i64) -> Option<StoredPin> {
        let lock = self.locked_until.zip(self.locked_by).map(|(until, by)| PinLock { until, by });
        let (failures, left) = Guesses { begun: self.guesses, forgiven: self.forgiven, lock }.state(now);
        Some(StoredPin {
            number: NumberHash::parse(&self.number_hash)?,
            masked: self.masked,
            set_at: from_unix(self.set_at),
            failures,
            locked_until: left.map(|left| from_unix(wall.saturating_add(left))),
        })
    }
}

/// An answer of `pins_page.lua`: the store's clock, the wall clock, the next cursor, and each number and its PIN as JSON.
type Page = (i64, i64, String, Vec<Json>);

impl RedisStore {
    async fn change_pin(&self, operation: &str, numbers: String, more: &[String]) -> Result<Vec<String>, StoreError> {
        let args: Vec<_> = [operation.to_owned(), numbers].into_iter().chain(more.iter().cloned()).collect();
        let answer: Vec<String> = self.change(&self.scripts.pins, &args).await?;
        match answer.as_slice() {
            [word, used] if word == "pepper" => Err(StoreError::pepper_mismatch(used)),
            [word, unknown] if word == "number_key" => Err(StoreError::missing_number_key(unknown)),
            [word] if word == "unreadable" => Err(StoreError::unreadable(RecordKind::Pin)),
            _ => Ok(answer),
        }
    }
}

fn hashes(numbers: &[NumberHash]) -> Result<String, StoreError> {
    to_json(&numbers.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// Returns whether the answer is `done`, and not that the number has no PIN.
fn is_done(answer: &[String], done: &str) -> Result<bool, StoreError> {
    match answer {
        [word] if word == done => Ok(true),
        [word] if word == "not_set" => Ok(false),
        _ => Err(malformed()),
    }
}

#[async_trait]
impl PinStore for RedisStore {
    async fn set_pin(&self, pin: &NewPin) -> Result<(), StoreError> {
        let hashes = to_json(&model::hashes(&pin.number))?;
        let answer = self.change_pin("set", hashes, &[to_json(&PinRecord::new(pin))?, pin.pepper.to_string()]).await?;
        is_done(&answer, "set")?.then_some(()).ok_or_else(malformed)
    }

    async fn remove_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        is_done(&self.change_pin("remove", hashes(numbers)?, &[]).await?, "removed")
    }

    async fn unlock_pin(&self, numbers: &[NumberHash]) -> Result<bool, StoreError> {
        is_done(&self.change_pin("unlock", hashes(numbers)?, &[]).await?, "unlocked")
    }

    async fn pins(&self) -> Result<Vec<StoredPin>, StoreError> {
        // Redis may return a PIN on two pages.
        let mut found = HashMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let (now, wall, next, records): Page = self.run(&self.scripts.pins_page, &cursor).await?;
            for [number, json] in records.as_chunks().0 {
                let into = |record: PinRecord| record.into_stored(now, wall);
                found.extend(self.parse_listed(RecordKind::Pin, number, json, into).map(|pin| (pin.number, pin)));
            }
            if next == "0" {
                break;
            }
            cursor = next;
        }
        let mut pins: Vec<_> = found.into_values().collect();
        pins.sort_by_key(|pin| std::cmp::Reverse(pin.set_at));
        Ok(pins)
    }

    async fn pin_state(&self, numbers: &[NumberHash]) -> Result<PinState, StoreError> {
        let answer = self.change_pin("state", hashes(numbers)?, &[]).await?;
        let answer: Vec<_> = answer.iter().map(String::as_str).collect();
        Ok(match answer.as_slice() {
            ["not_set"] => PinState::NotSet,
            ["locked", until] => PinState::Locked { until: from_unix(until.parse().map_err(|_| malformed())?) },
            ["open"] => PinState::Open,
            _ => return Err(malformed()),
        })
    }

    async fn begin_pin_guess(
        &self,
        numbers: &[NumberHash],
        pepper: PepperFingerprint,
        limits: &PinLimits,
    ) -> Result<PinGuess, StoreError> {
        let more = [pepper.to_string(), limits.max_failures.to_string(), milliseconds(limits.lock).to_string()];
        let answer = self.change_pin("guess", hashes(numbers)?, &more).await?;
        let answer: Vec<_> = answer.iter().map(String::as_str).collect();
        Ok(match answer.as_slice() {
            ["not_set"] => PinGuess::NotSet,
            ["locked", until] => PinGuess::Locked { until: from_unix(until.parse().map_err(|_| malformed())?) },
            ["compare", hash, guess] => {
                let guess = guess.parse().map_err(|_| malformed())?;
                PinGuess::Compare(PinToCompare { hash: (*hash).into(), guess })
            }
            _ => return Err(malformed()),
        })
    }

    async fn confirm_pin_guess(&self, numbers: &[NumberHash], compared: &PinToCompare) -> Result<bool, StoreError> {
        let more = [compared.hash.to_string(), compared.guess.to_string()];
        is_done(&self.change_pin("right", hashes(numbers)?, &more).await?, "right")
    }

    async fn check_pepper(&self, pepper: PepperFingerprint) -> Result<(), StoreError> {
        match self.run::<Option<String>>(&self.scripts.pepper, pepper.to_string()).await? {
            Some(used) => Err(StoreError::pepper_mismatch(used)),
            None => Ok(()),
        }
    }
}
