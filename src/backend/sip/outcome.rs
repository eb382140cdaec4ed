//! What a trunk's answers mean (RFC 3261, section 21).

use rsipstack::sip::{Header, Headers, Response};

use crate::call::{Failure, FailureReason};
use crate::telemetry::foreign_text;

/// What a refusal means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This server cannot, another one may: certainly no phone rang.
    AnotherServer,
    /// Nobody at this trunk will, but no phone rang.
    AnotherBackend,
    /// The call reached somebody.
    Nobody,
}

/// The failure that a final answer means, given whether the phone rang before it.
pub(super) fn refusal(response: &Response, rang: bool) -> (Failure, Next) {
    let code = response.status_code.code();
    let (reason, sentence, next) = match code {
        486 | 600 => (FailureReason::Unreachable, "The line is busy", Next::Nobody),
        408 | 480 | 487 => (FailureReason::Unreachable, "Nobody answered", Next::Nobody),
        603 | 607 | 608 => (FailureReason::Unreachable, "The call was rejected", Next::Nobody),
        403 => (FailureReason::Unreachable, "The call was rejected", Next::AnotherBackend),
        404 | 410 | 484 | 485 | 604 => {
            (FailureReason::InvalidNumber, "The trunk does not know the number", Next::AnotherBackend)
        }
        401 | 407 => {
            (FailureReason::NotConfigured, "The trunk does not accept the user name and password", Next::AnotherBackend)
        }
        488 | 606 => (
            FailureReason::CannotPlace,
            "The other side has no codec in common, or refuses the encryption",
            Next::AnotherBackend,
        ),
        421 => (
            FailureReason::CannotPlace,
            "The trunk requires a SIP extension that is off (for 100rel, set `support_prack`)",
            Next::AnotherBackend,
        ),
        429 => (FailureReason::Throttled, "The trunk takes no more calls now", Next::AnotherServer),
        500..=599 => (FailureReason::CannotPlace, "The trunk cannot place the call", Next::AnotherServer),
        600.. => (FailureReason::Unreachable, "The call was rejected", Next::Nobody),
        300..=399 => (
            FailureReason::CannotPlace,
            "The trunk redirects the call to another number or host, which PhoneGate does not follow, or too often",
            Next::AnotherBackend,
        ),
        _ => (FailureReason::CannotPlace, "The trunk refused the call", Next::AnotherBackend),
    };
    let failure = Failure::new(reason, format_args!("{sentence}: the trunk answered {}.", reply(response)));
    (failure, if rang { Next::Nobody } else { next })
}

/// An answer in the trunk's own words: status, phrase and reason, cleaned.
pub(super) fn reply(response: &Response) -> String {
    let phrase = response.wire_reason.as_deref().unwrap_or_else(|| response.status_code.text());
    let told = reason_header(&response.headers).map(|told| format!(", reason {told}")).unwrap_or_default();
    format!("{} {}{told}", response.status_code.code(), foreign_text(phrase))
}

/// The Reason header (RFC 3326), cleaned.
pub(super) fn reason_header(headers: &Headers) -> Option<String> {
    headers.iter().find_map(|header| match header {
        Header::Reason(value) => Some(foreign_text(value.value())),
        _ => None,
    })
}
