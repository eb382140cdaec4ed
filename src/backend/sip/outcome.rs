//! What a trunk's answers mean (RFC 3261, section 21).

use phonegate_sip::agent::{EndCause, Ended, PeerText, Rejection};
use phonegate_sip::auth::AuthError;

use crate::call::{Failure, FailureReason};
use crate::telemetry::sanitize_untrusted;

/// What a refusal means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This server cannot, another one may: certainly no phone rang.
    AnotherServer,
    /// Nobody at this trunk will, but no phone rang.
    AnotherBackend,
    /// A phone may have rung.
    Nobody,
}

/// The failure that a refusal means, given whether the phone may have rung.
pub(super) fn refusal(refusal: &Rejection, may_have_rung: bool) -> (Failure, Next) {
    let code = refusal.status;
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
    let failure = Failure::new(reason, format_args!("{sentence}: the trunk answered {}.", reply(refusal)));
    (failure, if may_have_rung { Next::Nobody } else { next })
}

/// The failure that the end of a call means, and whether another server or backend may be asked.
pub(super) fn end(ended: &Ended) -> (Failure, Next) {
    let next = |next| if ended.may_have_rung { Next::Nobody } else { next };
    let (reason, text) = match &ended.cause {
        EndCause::Rejected(refused) => return refusal(refused, ended.may_have_rung),
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
                Failure::new(FailureReason::CannotPlace, "The trunk did not respond to the call in time."),
                next(Next::AnotherServer),
            );
        }
        EndCause::ConnectionLost => {
            return (
                Failure::new(FailureReason::CannotPlace, connection_lost(ended.may_have_rung)),
                next(Next::AnotherServer),
            );
        }
        EndCause::SessionLost => (FailureReason::CallEnded, "The trunk no longer keeps the call up.".to_owned()),
        _ => (FailureReason::CannotPlace, "The call ended for an unknown reason.".to_owned()),
    };
    (Failure::verbatim(reason, text), next(Next::AnotherBackend))
}

fn connection_lost(may_have_rung: bool) -> &'static str {
    match may_have_rung {
        true => "The call broke after the trunk had taken it: the connection was lost.",
        false => "The trunk cannot be reached: the connection was lost.",
    }
}

/// Returns the failure of a call that was redirected to a server that cannot be reached.
pub(super) fn redirect_failed(problem: &str, may_have_rung: bool) -> (Failure, Next) {
    let sentence = format_args!("The trunk redirected the call to a server that cannot be reached: {problem}.");
    let next = if may_have_rung { Next::Nobody } else { Next::AnotherServer };
    (Failure::new(FailureReason::CannotPlace, sentence), next)
}

fn redirect_refused(refused: &Rejection) -> String {
    format!(
        "The trunk redirects the call to another number or host, which PhoneGate does not follow, or too often: the trunk \
         answered {}.",
        reply(refused)
    )
}

/// Why the peer hung up.
pub(super) fn hung_up(reason: Option<&PeerText>) -> String {
    let reason = reason.map(|reason| format!(" ({})", peer_text(reason))).unwrap_or_default();
    format!("The user hung up without a key{reason}.")
}

/// A refusal in the trunk's own words: status, phrase and reason, sanitized.
pub(super) fn reply(refusal: &Rejection) -> String {
    let reason = refusal.reason.as_ref().map(|reason| format!(", reason {}", peer_text(reason))).unwrap_or_default();
    format!("{} {}{reason}", refusal.status, peer_text(&refusal.phrase))
}

fn peer_text(text: &PeerText) -> String {
    sanitize_untrusted(&String::from_utf8_lossy(text.as_bytes()))
}
