//! Random numbers from the operating system, so that those of one call reveal nothing about another.

use ring::rand::{SecureRandom, SystemRandom};

/// Returns random bytes.
///
/// # Errors
/// The operating system provides none.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map(|()| bytes).map_err(|_| "the operating system provides no random numbers".to_owned())
}
