//! The rules for number keys, which are the same in every store.
//!
//! A store knows by which keys its numbers may be hashed. A process that lacks one of these keys could not find the blocks,
//! limits and calls of a number, so it may begin no call. A process that has them all moves what is known of a number to its
//! current key when the number is next called.

use std::path::Path;
use std::time::Duration;

use super::{CallStore, StoreError, sqlite_file};
use crate::call::KeyFingerprint;
use crate::config::{ConfigError, NUMBER_KEY, StoreConfig, StoreKind};

/// How long the start of a gate waits for the store to say which number keys it has.
const CHECK_LIMIT: Duration = Duration::from_secs(1);

/// How often a store notes that a key is in use.
pub(super) const KEY_USE_NOTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// How long after the noted use of a key a call or a block may still have been written by it: until the use was noted again,
/// and then until the call was over that used it, and its user's report of fraud was in the store.
pub(super) const KEY_USE_KEPT: Duration = Duration::from_secs(3 * 60 * 60);

/// What a process is about to do with the numbers of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// It looks for numbers.
    Read,
    /// It writes numbers by its current key.
    Write,
    /// It writes numbers that it found in the store, by whatever key.
    WriteAny,
}

/// Makes sure that a process that starts finds every number of the store. A store that does not answer in time, or cannot be
/// reached, says so later: no call begins before.
///
/// # Errors
/// If the store has numbers by a key that the process does not have.
pub(crate) async fn check_number_keys(
    store: &dyn CallStore,
    config: &StoreConfig,
    base: &Path,
    known: &[KeyFingerprint],
) -> Result<(), ConfigError> {
    let answer = tokio::time::timeout(CHECK_LIMIT, store.use_number_keys(known, KeyUse::Read)).await;
    let Ok(Err(error @ StoreError::Refused(_))) = answer else { return Ok(()) };
    let place = match config.kind {
        StoreKind::Memory => "the store in memory".to_owned(),
        StoreKind::Sqlite => sqlite_file(config, base)?.display().to_string(),
        StoreKind::Redis => "the Redis of `store.url`".to_owned(),
    };
    Err(ConfigError::invalid(NUMBER_KEY, format_args!("does not fit {place}: {error}")))
}

/// The error for a key of the store that the process does not have, if there is one.
pub(super) fn unknown_key(
    used: impl IntoIterator<Item = KeyFingerprint>,
    known: &[KeyFingerprint],
) -> Option<StoreError> {
    used.into_iter().find(|fingerprint| !known.contains(fingerprint)).map(StoreError::other_number_key)
}

impl StoreError {
    /// Refused, because numbers of the store were hashed with a key that the process does not have.
    pub(super) fn other_number_key(fingerprint: impl std::fmt::Display) -> Self {
        Self::Refused(format!(
            "it has numbers that were hashed with another number key (fingerprint {fingerprint}), which this \
             configuration does not have, so blocks and limits would not hold. Set privacy.number_key to the key that \
             was used before, and is used on the other nodes; or add the missing key to privacy.other_number_keys"
        ))
    }
}
