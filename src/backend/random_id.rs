//! Random ids of calls. No two calls have the same one, in all processes and for all time.

use ring::rand::{SecureRandom, SystemRandom};
use uuid::{Builder, Uuid};

use crate::call::{Failure, FailureReason};

/// Returns a random GUID (RFC 9562, version 4).
///
/// # Errors
/// The operating system provides no random numbers. [`Uuid::new_v4`] would panic then.
pub(super) fn random_id() -> Result<Uuid, Failure> {
    Ok(Builder::from_random_bytes(random_bytes()?).into_uuid())
}

/// Returns 128 random bits.
///
/// # Errors
/// The operating system provides no random numbers.
pub(super) fn random_bytes() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => {
            let sentence = "No call can be placed: the operating system provides no random numbers.";
            Err(Failure::new(FailureReason::Internal, sentence))
        }
    }
}
