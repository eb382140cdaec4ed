//! The rules for the secrets with which numbers are hashed (S14). They are the same in every store.
//!
//! A store records the fingerprints of these secrets, which the configuration calls number keys. A process that lacks one
//! of them could miss the blocks, limits and calls of a number, so it must not begin a call. A process that has all of
//! them moves a number to its current one when the number is called.

use std::path::Path;
use std::time::Duration;

use super::open::location;
use super::{CallStore, PepperFingerprint, StoreError, StoreErrorKind};
use crate::call::KeyFingerprint;
use crate::config::{ConfigError, NUMBER_KEY, PEPPER, StoreConfig};

/// Timeout for each check when a gate starts.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// A store updates the time of a key's last use this often.
pub(super) const KEY_USE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A call or block may be written with a key for this long after the recorded time of its last use: the interval between
/// two records, the longest call, and the time until a report of fraud is in the store.
pub(super) const KEY_USE_RETENTION: Duration = Duration::from_secs(3 * 60 * 60);

/// How a process uses the numbers of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// It looks for numbers.
    Read,
    /// It writes numbers by its current key.
    Write,
    /// It writes numbers that it read from the store, hashed with any key.
    WriteAny,
}

/// Checks, at the start of a gate, that it can find every number of the store. If the store does not answer in time,
/// the check passes: [`CallStore::begin`] repeats it for each call.
///
/// # Errors
/// If the store has numbers that were hashed with a key that the configuration lacks.
pub(crate) async fn check_number_keys(
    store: &dyn CallStore,
    config: &StoreConfig,
    base: &Path,
    known: &[KeyFingerprint],
) -> Result<(), ConfigError> {
    check(store.use_number_keys(known, KeyUse::Read), NUMBER_KEY, config, base).await
}

/// Checks, at the start of a gate, that the PINs of the store were made with this pepper. If the store does not answer
/// in time, the check passes: [`PinStore::begin_pin_guess`](super::PinStore::begin_pin_guess) repeats it.
///
/// # Errors
/// If they were made with another pepper.
pub(crate) async fn check_pepper_at_start(
    store: &dyn CallStore,
    config: &StoreConfig,
    base: &Path,
    pepper: PepperFingerprint,
) -> Result<(), ConfigError> {
    check(store.check_pepper(pepper), PEPPER, config, base).await
}

/// Returns an error at `key` of the configuration, if the store refuses the check in time.
async fn check(
    answer: impl Future<Output = Result<(), StoreError>>,
    key: &str,
    config: &StoreConfig,
    base: &Path,
) -> Result<(), ConfigError> {
    let answer = tokio::time::timeout(CHECK_TIMEOUT, answer).await;
    let Ok(Err(error)) = answer else { return Ok(()) };
    if error.kind() != StoreErrorKind::Refused {
        return Ok(());
    }
    let location = location(config, base)?;
    Err(ConfigError::invalid(key, format_args!("does not fit {location}: {error}")))
}

/// Returns the error for a key in use that the process lacks, if there is one.
pub(super) fn missing_key(
    used: impl IntoIterator<Item = KeyFingerprint>,
    known: &[KeyFingerprint],
) -> Option<StoreError> {
    used.into_iter().find(|fingerprint| !known.contains(fingerprint)).map(StoreError::missing_number_key)
}

impl StoreError {
    /// Numbers of the store were hashed with a key that the process lacks.
    pub(super) fn missing_number_key(fingerprint: impl std::fmt::Display) -> Self {
        Self::refused(format_args!(
            "it has numbers that were hashed with another number key (fingerprint {fingerprint}), which this \
             configuration lacks, so blocks and limits could be missed: add the missing key to \
             privacy.other_number_keys, or set privacy.number_key to the key that the other nodes use"
        ))
    }
}
