//! The reference to a call at a web service: PhoneGate's id of it, and the service's.

use uuid::Uuid;

use super::super::CallRef;
use crate::call::{Failure, FailureReason, PhoneNumber};

/// Maximum length of a service's id of a call, in characters.
const MAX_LENGTH: usize = 200;

/// Minimum digits of a number without its country code that are searched for in a service's id. Fewer digits occur in
/// ids by chance.
const NATIONAL_DIGITS: usize = 7;

/// A call at a web service. The text of a [`CallRef`] is `GUID:reference`, or `GUID` if the service has no id of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HttpRef<'a> {
    /// PhoneGate's id: a random GUID, which no other handling of a request has.
    pub(super) call_id: &'a str,
    /// The service's id.
    pub(super) reference: Option<&'a str>,
}

impl<'a> HttpRef<'a> {
    /// `has_reference`: whether calls of this backend have an id of the service.
    ///
    /// # Errors
    /// The text is not a reference of such a backend.
    pub(super) fn parse(reference: &'a CallRef, has_reference: bool) -> Result<Self, Failure> {
        let (call_id, reference) = match reference.as_str().split_once(':') {
            Some((call_id, reference)) => (call_id, Some(reference)),
            None => (reference.as_str(), None),
        };
        let is_id = Uuid::try_parse(call_id).is_ok_and(|uuid| uuid.as_hyphenated().to_string() == call_id);
        if is_id && reference.is_some() == has_reference && reference.is_none_or(is_reference) {
            return Ok(Self { call_id, reference });
        }
        let sentence = "The reference of the call is not one of this web service.";
        Err(Failure::new(FailureReason::Interrupted, sentence))
    }

    /// Returns the reference to a new call.
    ///
    /// # Errors
    /// The service's id cannot be stored.
    pub(super) fn of(call_id: &str, reference: Option<&str>, number: &PhoneNumber) -> Result<CallRef, Failure> {
        let refused = |sentence| Err(Failure::new(FailureReason::CannotPlace, sentence));
        match reference {
            None => Ok(CallRef::new(call_id)),
            Some(reference) if !is_reference(reference) => {
                refused("The provider's id of the call is empty, too long, or has control characters.")
            }
            Some(reference) if contains_number(reference, number) => {
                refused("The provider's id of the call contains the telephone number, which may not be stored.")
            }
            Some(reference) => Ok(CallRef::new(format!("{call_id}:{reference}"))),
        }
    }
}

fn is_reference(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_LENGTH && !text.contains(char::is_control)
}

/// Returns whether a text contains the digits of a number, with or without separators between them.
fn contains_number(text: &str, number: &PhoneNumber) -> bool {
    let digits: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
    let (whole, national) = (number.e164().trim_start_matches('+'), number.national());
    digits.contains(whole) || (national.len() >= NATIONAL_DIGITS && digits.contains(national))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::string_slice, reason = "tests")]
    use super::*;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn number() -> PhoneNumber {
        PhoneNumber::new("+14255551212".to_owned(), None, 1)
    }

    #[test]
    fn a_reference_returns_both_ids() {
        let reference = HttpRef::of(ID, Some("a:b/../c"), &number()).unwrap();
        let parsed = HttpRef::parse(&reference, true).unwrap();
        assert_eq!(parsed, HttpRef { call_id: ID, reference: Some("a:b/../c") });
        let reference = HttpRef::of(ID, None, &number()).unwrap();
        assert_eq!(HttpRef::parse(&reference, false).unwrap(), HttpRef { call_id: ID, reference: None });
    }

    #[test]
    fn a_text_of_another_form_is_no_reference() {
        let texts = [
            (String::new(), false),
            (ID.to_owned(), true),
            (format!("{ID}:x"), false),
            (format!("{ID}:"), true),
            (format!("{ID}:a\nb"), true),
            (format!("{ID}:{}", "x".repeat(MAX_LENGTH + 1)), true),
            (ID.to_uppercase(), false),
            (ID[1..].to_owned(), false),
            (format!("END\n{ID}"), false),
        ];
        for (text, has_reference) in texts {
            assert!(HttpRef::parse(&CallRef::new(&*text), has_reference).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_id_with_the_number_is_not_stored() {
        for id in ["+14255551212", "call-1 (425) 555-1212", "4255551212.1", "x14255551212y"] {
            assert!(HttpRef::of(ID, Some(id), &number()).is_err(), "{id}");
        }
        for id in ["425555121", "call-1", "14255551213"] {
            assert!(HttpRef::of(ID, Some(id), &number()).is_ok(), "{id}");
        }
    }
}
