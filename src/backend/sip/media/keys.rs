//! The SRTP keys of this side.

use phonegate_media::sdp::{Encryption, LocalKeys, MasterKey};

use super::random;
use crate::backend::sip::MediaEncryption;

/// Returns new SRTP master keys of this side, if it may encrypt.
pub(super) fn encryption(encryption: MediaEncryption) -> Result<Encryption, String> {
    let keys = || -> Result<_, String> {
        let master_key = || random::bytes().map(MasterKey::from_bytes);
        Ok(LocalKeys { sha1_80: master_key()?, sha1_32: master_key()? })
    };
    Ok(match encryption {
        MediaEncryption::Off => Encryption::Off,
        MediaEncryption::Optional => Encryption::Optional(keys()?),
        MediaEncryption::Required => Encryption::Required(keys()?),
    })
}
