//! Hashes of PINs: Argon2id with the pepper as its secret, in the form of a PHC string
//! (<https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md>).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::pepper::Pepper;

/// 19 MiB, two passes, one lane
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id>).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The beginning of each hash. Other costs are refused: the store must not decide how much memory a check takes.
const START: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// Why a PIN could not be hashed or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The operating system returned no random bytes.
    #[error("the operating system returned no random bytes")]
    NoRandom,
    /// There is too little memory.
    #[error("there is too little memory to hash a PIN ({MEMORY_KIB} KiB)")]
    NoMemory,
    /// The hash in the store is not in the form that this version writes.
    #[error("the hash of the PIN in the store cannot be read: set the PIN again")]
    Malformed,
    /// Argon2 refused its parameters.
    #[error("the PIN cannot be hashed")]
    Refused,
}

/// Hashes a PIN with a new salt. It takes tens of milliseconds.
pub(super) fn hash(pepper: &Pepper, pin: &[u8]) -> Result<String, HashError> {
    let mut salt = [0; SALT_LEN];
    SystemRandom::new().fill(&mut salt).map_err(|_| HashError::NoRandom)?;
    hash_with(pepper, pin, &salt)
}

/// Returns whether this is the PIN of a hash. It takes tens of milliseconds.
pub(super) fn is_pin_of(pepper: &Pepper, pin: &[u8], hash: &str) -> Result<bool, HashError> {
    let (salt, expected) = parse(hash).ok_or(HashError::Malformed)?;
    let computed = compute(pepper, pin, &salt)?;
    Ok(computed.ct_eq(&expected).into())
}

fn hash_with(pepper: &Pepper, pin: &[u8], salt: &[u8; SALT_LEN]) -> Result<String, HashError> {
    let hash = compute(pepper, pin, salt)?;
    Ok(format!("{START}{}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(*hash)))
}

fn parse(text: &str) -> Option<([u8; SALT_LEN], [u8; HASH_LEN])> {
    let (salt, hash) = text.strip_prefix(START)?.split_once('$')?;
    let decode = |text: &str| STANDARD_NO_PAD.decode(text).ok();
    Some((decode(salt)?.try_into().ok()?, decode(hash)?.try_into().ok()?))
}

fn compute(pepper: &Pepper, pin: &[u8], salt: &[u8; SALT_LEN]) -> Result<Zeroizing<[u8; HASH_LEN]>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_LEN)).map_err(|_| HashError::Refused)?;
    let count = params.block_count();
    let argon2 = Argon2::new_with_secret(pepper.as_bytes(), Algorithm::Argon2id, Version::V0x13, params)
        .map_err(|_| HashError::Refused)?;
    // A failed allocation would abort the host.
    let mut memory: Vec<Block> = Vec::new();
    memory.try_reserve_exact(count).map_err(|_| HashError::NoMemory)?;
    memory.resize(count, Block::default());
    let mut hash = Zeroizing::new([0; HASH_LEN]);
    let computed = argon2.hash_password_into_with_memory(pin, salt, &mut *hash, &mut memory[..]);
    memory.iter_mut().for_each(Zeroize::zeroize);
    computed.map_err(|_| HashError::Refused)?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const PIN: &[u8] = b"482619";

    fn pepper(text: &str) -> Pepper {
        Pepper::new(&text.into()).unwrap()
    }

    /// Computed with `Argon2id` of Python's cryptography 48, which is OpenSSL's.
    #[test]
    fn a_pin_is_hashed_as_another_implementation_hashes_it() {
        let pepper = pepper("0123456789abcdef0123456789abcdef");
        let hash = hash_with(&pepper, PIN, b"a salt of 16 byt").unwrap();
        assert_eq!(
            hash,
            "$argon2id$v=19$m=19456,t=2,p=1$YSBzYWx0IG9mIDE2IGJ5dA$MlYT3gyBA0xiWMebMWBk0EG79TXKH0vk61618c5z0eo"
        );
    }

    #[test]
    fn only_the_same_pin_with_the_same_pepper_is_right() {
        let (one, other) = (pepper("0123456789abcdef0123456789abcdef"), pepper("fedcba9876543210fedcba9876543210"));
        let hash_of_one = hash(&one, PIN).unwrap();
        assert_ne!(hash(&one, PIN).unwrap(), hash_of_one, "the salt is random");
        assert_eq!(is_pin_of(&one, PIN, &hash_of_one), Ok(true));
        for (pepper, pin) in [(&one, &b"482618"[..]), (&one, b"48261"), (&one, b"4826190"), (&one, b""), (&other, PIN)]
        {
            assert_eq!(is_pin_of(pepper, pin, &hash_of_one), Ok(false));
        }
    }

    #[test]
    fn a_hash_of_another_form_is_never_right() {
        let pepper = pepper("0123456789abcdef0123456789abcdef");
        let salt_and_hash = "YSBzYWx0IG9mIDE2IGJ5dA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(is_pin_of(&pepper, PIN, &format!("{START}{salt_and_hash}")), Ok(false));
        for hash in [
            String::new(),
            START.to_owned(),
            format!("{START}$"),
            format!("{START}{salt_and_hash}$"),
            format!("{START}{salt_and_hash}="),
            format!("{START}YSBzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            format!("{START}YSBzYWx0IG9mIDE2IGJ5dA$"),
            format!("$argon2id$v=19$m=4194304,t=2,p=1${salt_and_hash}"),
            format!("$argon2i$v=19$m=19456,t=2,p=1${salt_and_hash}"),
            "482619".to_owned(),
        ] {
            assert_eq!(is_pin_of(&pepper, PIN, &hash), Err(HashError::Malformed), "{hash}");
        }
    }
}
