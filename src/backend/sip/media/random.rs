//! Random numbers of the operating system: nobody can guess from one call what another one uses.

use ring::rand::{SecureRandom, SystemRandom};

/// # Errors
/// If the operating system has none.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map(|()| bytes).map_err(|_| "the operating system provides no random numbers".to_owned())
}
