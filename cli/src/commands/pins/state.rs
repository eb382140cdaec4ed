//! Counts PINs, for `phonegate check` and `phonegate doctor`.

use std::fmt;

use phonegate::approval::pins::Pepper;
use phonegate_approval::policy::Method;

use crate::context::Context;
use crate::error::CommandError;
use crate::store_reader::StoreReader;

/// Counts of PINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinState {
    /// Number of PINs that are set.
    pub(crate) set: usize,
    /// Number of PINs that are locked now.
    pub(crate) locked: usize,
    /// Whether calls ask for a PIN.
    in_use: bool,
}

impl PinState {
    /// Returns what is wrong, if calls ask for PINs and there are none.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        (self.in_use && self.set == 0).then_some(
            "approval.method: no PIN is set in the store, so every call fails as PinNotSet; `phonegate pins set NUMBER` \
             or `phonegate pins import FILE.csv` sets them",
        )
    }
}

/// Formats as `12 are set, 1 of them is locked`.
impl fmt::Display for PinState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.set {
            0 => return f.write_str("none is set"),
            1 => f.write_str("1 is set")?,
            set => write!(f, "{set} are set")?,
        }
        match self.locked {
            0 => Ok(()),
            1 => f.write_str(", 1 of them is locked"),
            locked => write!(f, ", {locked} of them are locked"),
        }
    }
}

/// Counts the PINs, if calls ask for them or a pepper is configured, and checks that they were hashed with that pepper.
///
/// # Errors
/// If the pepper or the store cannot be used.
pub(crate) fn state(context: &Context) -> Result<Option<PinState>, CommandError> {
    let approval = &context.loaded.config.approval;
    let pepper = Pepper::read(&approval.pin, &context.loaded.base).map_err(|error| error.in_file(&context.file))?;
    let in_use = Method::from(approval.method).has_pin();
    if !in_use && pepper.is_none() {
        return Ok(None);
    }
    let Some(reader) = StoreReader::open_existing(context)? else {
        return Ok(Some(PinState { set: 0, locked: 0, in_use }));
    };
    if let Some(fingerprint) = pepper.as_ref().map(Pepper::fingerprint) {
        reader.block_on(reader.store.check_pepper(fingerprint))?;
    }
    let pins = reader.block_on(reader.store.pins())?;
    let locked = pins.iter().filter(|pin| pin.locked_until.is_some()).count();
    Ok(Some(PinState { set: pins.len(), locked, in_use }))
}

#[cfg(test)]
mod tests {
    use super::PinState;

    #[test]
    fn the_state_of_the_pins_is_a_sentence() {
        for (set, locked, text) in [
            (0, 0, "none is set"),
            (1, 0, "1 is set"),
            (1, 1, "1 is set, 1 of them is locked"),
            (12, 3, "12 are set, 3 of them are locked"),
        ] {
            assert_eq!(PinState { set, locked, in_use: true }.to_string(), text);
        }
    }

    #[test]
    fn no_pin_is_a_warning_only_if_calls_ask_for_one() {
        for (set, in_use, is_warned) in [(0, true, true), (0, false, false), (1, true, false)] {
            assert_eq!(PinState { set, locked: 0, in_use }.warning().is_some(), is_warned, "{set} {in_use}");
        }
    }
}
