//! Maps final responses, and other ends of a call, to failures (RFC 3261, section 21).
//!
//! For example, 486 becomes [`FailureReason::Unreachable`] and no other server is tried, because a phone may have rung.

use phonegate_sip::agent::{CallEvent, EndCause, Ended, PeerText, Rejection};
use phonegate_sip::auth::AuthError;

use crate::call::{Failure, FailureReason};
use crate::redact::sanitize_untrusted;

/// The attempts that are allowed after a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextAttempt {
    /// Another server of the trunk: no phone rang.
    AnotherServer,
    /// Another backend: no phone rang, but another server of this trunk would respond alike.
    AnotherBackend,
    /// Nothing: a phone may have rung.
    Nothing,
}

/// Returns the failure of a rejected call, and what may be tried next.
fn rejection(rejection: &Rejection, may_have_rung: bool, has_credentials: bool) -> (Failure, NextAttempt) {
    let (reason, sentence, next) = meaning(effective_status(rejection.status, rejection.q850));
    let hint = if may_have_rung { "" } else { hint(rejection.status, has_credentials) };
    let failure = Failure::new(reason, format_args!("{sentence}: the trunk answered {}.{hint}", reply(rejection)));
    (failure, if may_have_rung { NextAttempt::Nothing } else { next })
}

/// Returns the likely causes of a final response before a phone rang, as a sentence after a blank.
///
/// Registrars such as Asterisk answer 403 to wrong credentials, instead of another challenge.
fn hint(status: u16, has_credentials: bool) -> &'static str {
    match (status, has_credentials) {
        (403, true) => " Perhaps the user name or password is wrong, or calls to this number are not allowed.",
        (403, false) => {
            " Perhaps the trunk requires a user name and password, or calls from this address or to this number are not \
             allowed."
        }
        _ => "",
    }
}

/// Returns the status with the meaning of a final response: for a 5xx with one of these Q.850 causes, the status of that
/// cause (RFC 3398, section 7.2.4.1), because the telephone network ended the call and the trunk works.
///
/// Causes that a trunk also reports when it fails itself, such as 27 and 31, change nothing. docs/backends.md has this
/// table for administrators.
fn effective_status(status: u16, q850: Option<u16>) -> u16 {
    match (status, q850) {
        (500..=599, Some(1)) => 404,
        (500..=599, Some(17)) => 486,
        (500..=599, Some(18)) => 408,
        // RFC 3398 has no status for 16 (normal clearing), because it usually follows an answer.
        (500..=599, Some(16 | 19 | 20)) => 480,
        // RFC 3398 has 603 for a rejection by the user.
        (500..=599, Some(21)) => 603,
        (500..=599, Some(22)) => 410,
        (500..=599, Some(28)) => 484,
        _ => status,
    }
}

/// Returns what a final response means if no phone has rung: the failure, and what may be tried next. docs/backends.md has
/// this table for administrators.
fn meaning(status: u16) -> (FailureReason, &'static str, NextAttempt) {
    match status {
        486 | 600 => (FailureReason::Unreachable, "The line is busy", NextAttempt::Nothing),
        408 | 480 | 487 => (FailureReason::Unreachable, "The call was not answered", NextAttempt::Nothing),
        603 | 607 | 608 => (FailureReason::Unreachable, "The call was rejected", NextAttempt::Nothing),
        403 => (FailureReason::Unreachable, "The call was rejected", NextAttempt::AnotherBackend),
        404 | 410 | 484 | 485 | 604 => {
            (FailureReason::InvalidNumber, "The trunk does not know the number", NextAttempt::AnotherBackend)
        }
        401 | 407 => (
            FailureReason::NotConfigured,
            "The trunk does not accept the user name and password",
            NextAttempt::AnotherBackend,
        ),
        488 | 606 => (
            FailureReason::CannotPlace,
            "The other side has no codec in common, or refuses the encryption",
            NextAttempt::AnotherBackend,
        ),
        421 => (
            FailureReason::CannotPlace,
            "The trunk requires a SIP extension that is off (for 100rel, set `support_prack`)",
            NextAttempt::AnotherBackend,
        ),
        429 => (FailureReason::Throttled, "The trunk takes no more calls now", NextAttempt::AnotherServer),
        500..=599 => (FailureReason::CannotPlace, "The trunk cannot place the call", NextAttempt::AnotherServer),
        600.. => (FailureReason::Unreachable, "The call was rejected", NextAttempt::Nothing),
        300..=399 => (
            FailureReason::CannotPlace,
            "The trunk redirects the call to another number or host, which PhoneGate does not follow, or too often",
            NextAttempt::AnotherBackend,
        ),
        _ => (FailureReason::CannotPlace, "The trunk refused the call", NextAttempt::AnotherBackend),
    }
}

/// Returns the failure of a call that has ended, and what may be tried next. `has_credentials`: the trunk's configuration
/// has a password.
///
/// Only a trunk that does not answer has certainly failed itself. Any response may come from the called phone or the
/// networks before it: also a 5xx, and a challenge that a proxy passes on.
pub(super) fn end(ended: &Ended, has_credentials: bool) -> (Failure, NextAttempt) {
    let next = |next| if ended.may_have_rung { NextAttempt::Nothing } else { next };
    let (reason, text) = match &ended.cause {
        EndCause::Rejected(rejected) => return rejection(rejected, ended.may_have_rung, has_credentials),
        EndCause::RedirectRejected(refused) => (FailureReason::CannotPlace, redirect_refused(refused)),
        EndCause::AuthenticationFailed(refused, error @ AuthError::WeakerAlgorithm { .. }) => (
            FailureReason::NotConfigured,
            format!(
                "The trunk asked for the password again with a weaker algorithm, which is refused: {error}. It \
                 answered {}.",
                reply(refused)
            ),
        ),
        EndCause::AuthenticationFailed(refused, error) => (
            FailureReason::NotConfigured,
            format!(
                "The trunk does not accept the user name and password: the trunk answered {}; {error}.",
                reply(refused)
            ),
        ),
        EndCause::Cancelled | EndCause::HungUp => (FailureReason::CallEnded, "The call was hung up.".to_owned()),
        EndCause::PeerHungUp { reason, .. } => (FailureReason::CallEnded, hung_up(reason.as_ref())),
        EndCause::NoResponse => {
            return (
                Failure::new(FailureReason::CannotPlace, "The trunk did not respond to the call in time.").of_backend(),
                next(NextAttempt::AnotherServer),
            );
        }
        EndCause::ConnectionLost => {
            return (
                Failure::new(FailureReason::CannotPlace, connection_lost(ended.may_have_rung)).of_backend(),
                next(NextAttempt::AnotherServer),
            );
        }
        EndCause::SessionLost => (FailureReason::CallEnded, "The trunk no longer keeps the call up.".to_owned()),
        _ => (FailureReason::CannotPlace, "The call ended for an unknown reason.".to_owned()),
    };
    (Failure::new(reason, text), next(NextAttempt::AnotherBackend))
}

fn connection_lost(may_have_rung: bool) -> &'static str {
    match may_have_rung {
        true => "The connection was lost after the trunk had accepted the call.",
        false => "The trunk cannot be reached: the connection was lost.",
    }
}

/// Returns the failure of a call that was redirected to a server that cannot be reached.
pub(super) fn redirect_failed(problem: &str, may_have_rung: bool) -> (Failure, NextAttempt) {
    let sentence = format_args!("The trunk redirected the call to a server that cannot be reached: {problem}.");
    let next = if may_have_rung { NextAttempt::Nothing } else { NextAttempt::AnotherServer };
    (Failure::new(FailureReason::CannotPlace, sentence), next)
}

fn redirect_refused(refused: &Rejection) -> String {
    format!(
        "The trunk redirects the call to another number or host, which PhoneGate does not follow, or too often: the trunk \
         answered {}.",
        reply(refused)
    )
}

/// Returns the failure of an established call after its last event. `None`: see [`flooded`].
pub(super) fn failure_after_answer(last: Option<CallEvent>) -> Failure {
    match last {
        // Credentials no longer matter.
        Some(CallEvent::Ended(ended)) => end(&ended, false).0,
        _ => flooded(),
    }
}

/// Returns the failure of a call that the driver ended, because the trunk caused more events than it keeps.
pub(super) fn flooded() -> Failure {
    let sentence = "The call was ended, because the trunk sent too many requests at once.";
    Failure::new(FailureReason::CannotPlace, sentence)
}

/// Returns the failure text of a call that the peer hung up.
fn hung_up(reason: Option<&PeerText>) -> String {
    let reason = reason.map(|reason| format!(" ({})", peer_text(reason))).unwrap_or_default();
    format!("The user hung up without a key{reason}.")
}

/// Returns a final response as text: its status, phrase and Reason, sanitized.
pub(super) fn reply(rejection: &Rejection) -> String {
    let reason = rejection.reason.as_ref().map(|reason| format!(", reason {}", peer_text(reason))).unwrap_or_default();
    format!("{} {}{reason}", rejection.status, peer_text(&rejection.phrase))
}

fn peer_text(text: &PeerText) -> String {
    sanitize_untrusted(&String::from_utf8_lossy(text.as_bytes()))
}

#[cfg(test)]
mod tests;
