//! The reference to a call at Twilio: the Execution that runs it, and the nonce that its result must contain.

use std::fmt;

use super::super::CallRef;
use super::api::is_sid;
use crate::call::{Failure, FailureReason};

/// Random bits in a nonce.
const NONCE_BITS: usize = 128;

/// An Execution, and the nonce that only its own result contains. The text of a [`CallRef`] is `FN…:nonce`. Earlier
/// versions without nonces wrote `FN…`.
pub(super) struct ExecutionRef<'a> {
    /// The Execution: `FN…`.
    pub(super) execution: &'a str,
    /// A parameter of the Execution, which the flow returns. `None`: an earlier version placed the call.
    pub(super) nonce: Option<&'a str>,
}

impl<'a> ExecutionRef<'a> {
    /// # Errors
    /// The text does not begin with the identifier of an Execution.
    pub(super) fn parse(reference: &'a CallRef) -> Result<Self, Failure> {
        let (execution, nonce) = match reference.as_str().split_once(':') {
            Some((execution, nonce)) => (execution, Some(nonce).filter(|nonce| is_nonce(nonce))),
            None => (reference.as_str(), None),
        };
        if !is_sid("FN", execution) {
            let sentence = "The reference of the call is not one of Twilio's.";
            return Err(Failure::new(FailureReason::Interrupted, sentence));
        }
        Ok(Self { execution, nonce })
    }

    /// Returns the reference to a new Execution. `None` if this is not the identifier of one.
    pub(super) fn of(execution: &'a str, nonce: &'a Nonce) -> Option<CallRef> {
        is_sid("FN", execution).then(|| CallRef::new(format!("{execution}:{nonce}")))
    }
}

/// A random value that PhoneGate sends to Twilio when a call starts. The call's result must contain it.
pub(super) struct Nonce(u128);

impl Nonce {
    /// `random` must be random bytes of the operating system.
    pub(super) fn new(random: [u8; NONCE_BITS / 8]) -> Self {
        Self(u128::from_be_bytes(random))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn is_nonce(text: &str) -> bool {
    text.len() == NONCE_BITS / 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const EXECUTION: &str = "FN00000000000000000000000000000001";

    #[test]
    fn a_reference_returns_its_execution_and_nonce() {
        let reference = ExecutionRef::of(EXECUTION, &Nonce::new([7; 16])).unwrap();
        let parsed = ExecutionRef::parse(&reference).unwrap();
        assert_eq!((parsed.execution, parsed.nonce), (EXECUTION, Some("07".repeat(16).as_str())));
    }

    #[test]
    fn a_reference_without_a_whole_nonce_has_none() {
        let short = format!("{EXECUTION}:07");
        let empty = format!("{EXECUTION}:");
        let other = format!("{EXECUTION}:{}", "g".repeat(32));
        for text in [EXECUTION, &short, &empty, &other] {
            let reference = CallRef::new(text);
            let parsed = ExecutionRef::parse(&reference).unwrap();
            assert_eq!((parsed.execution, parsed.nonce), (EXECUTION, None), "{text}");
        }
    }

    #[test]
    fn a_text_without_an_execution_is_no_reference() {
        let nonce = "07".repeat(16);
        for execution in ["", "..", "FN1", "FW00000000000000000000000000000001", "FN0000000000000000000000000000000/"] {
            for text in [execution.to_owned(), format!("{execution}:{nonce}")] {
                assert!(ExecutionRef::parse(&CallRef::new(&*text)).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn a_reference_is_made_for_executions_only() {
        let nonce = Nonce(1);
        for text in ["FN1", "FW00000000000000000000000000000001", ""] {
            assert!(ExecutionRef::of(text, &nonce).is_none(), "{text}");
        }
    }
}
