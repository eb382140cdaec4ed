//! Sections that the configuration will have, and that this version refuses by name.

use serde::de::{Deserialize, Deserializer, Error};

/// The place of a section or key that is not built yet. It can only be absent.
#[derive(Debug, Clone, Default)]
pub struct NotBuilt;

impl<'de> Deserialize<'de> for NotBuilt {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(format_args!("{NOT_BUILT}; remove it, so that nobody relies on it")))
    }
}

/// How an error says so.
pub(super) const NOT_BUILT: &str = concat!("is not built yet in PhoneGate ", env!("CARGO_PKG_VERSION"));
