//! The reasons why calls fail.

use std::fmt;

use serde::Serialize;

use super::CallLimit;

/// Why a call failed: a reason that an administrator can look up, and a text for the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    reason: FailureReason,
    text: Box<str>,
    limit: Option<CallLimit>,
    is_of_backend: bool,
}

impl Failure {
    /// Creates a failure from a sentence, and appends the reason's name.
    pub fn new(reason: FailureReason, sentence: impl fmt::Display) -> Self {
        Self::verbatim(reason, format!("{sentence} ({reason})"))
    }

    /// Adds a sentence, before the reason's name, with which every text ends.
    pub fn explained(self, sentence: impl fmt::Display) -> Self {
        let name = format!("({})", self.reason);
        let text = self.text.strip_suffix(name.as_str()).unwrap_or(&self.text).trim_end();
        Self { text: format!("{text} {sentence} {name}").into(), ..self }
    }

    /// Creates a failure with a text that is shown unchanged: one that ends with its reason's name already, such as one from
    /// a store, or one that a person wrote.
    pub fn verbatim(reason: FailureReason, text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        Self { reason, text, limit: None, is_of_backend: false }
    }

    /// Creates a failure as Throttled by a limit of the configuration.
    pub fn limited(limit: CallLimit, sentence: impl fmt::Display) -> Self {
        Self::new(FailureReason::Throttled, sentence).by_limit(Some(limit))
    }

    /// Returns the same failure with this limit.
    pub fn by_limit(self, limit: Option<CallLimit>) -> Self {
        Self { limit, ..self }
    }

    /// Returns the same failure as one of the backend or of the way to it: a call to any other number would have failed
    /// alike.
    pub fn of_backend(self) -> Self {
        self.of_backend_if(true)
    }

    /// As [`Failure::of_backend`], if the condition holds. Otherwise returns the failure as it is.
    pub fn of_backend_if(self, condition: bool) -> Self {
        Self { is_of_backend: self.is_of_backend || condition, ..self }
    }

    /// Returns whether it is certain that the backend or the way to it failed, and that the called number is not the cause.
    pub fn is_of_backend(&self) -> bool {
        self.is_of_backend
    }

    /// Returns the limit of the configuration that refused the call, if one did.
    pub fn limit(&self) -> Option<CallLimit> {
        self.limit
    }

    /// Returns the reason.
    pub fn reason(&self) -> FailureReason {
        self.reason
    }

    /// Returns the whole text, as it is stored and logged. The host gets this, or [`Failure::brief`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns a text that only names the reason: no text of a provider, no country and no number.
    pub fn brief(&self) -> String {
        format!("{} ({})", self.reason.sentence(), self.reason)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The reason of a failure. The names are written to logs. The codes are those of Azure MFA, which administrators know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum FailureReason {
    /// The call was answered, but no key was pressed (often voicemail). Azure 4.
    NoKeyPressed,
    /// Every entry was wrong. Azure 12.
    WrongKey,
    /// The call ended without a key. Azure 10, 108.
    CallEnded,
    /// There was no outcome before the deadline. Azure 11, 144.
    DeadlinePassed,
    /// The provider detected a machine. Azure 13.
    Voicemail,
    /// The number is on the block list. Azure 14.
    Blocked,
    /// Not a valid, dialable number. Azure 100, 107.
    InvalidNumber,
    /// Another request is ringing this number now. Azure 101.
    AlreadyInProgress,
    /// Busy, no answer or rejected. Azure 102.
    Unreachable,
    /// Outside the allowed countries, or premium rate. Azure 103.
    CountryNotAllowed,
    /// The fraud key was pressed. Azure 112.
    FraudReported,
    /// The provider or trunk refused. Azure 117.
    CannotPlace,
    /// A limit of the configuration or of the provider. Azure 150.
    Throttled,
    /// The service stopped, and no other process could follow the call.
    Interrupted,
    /// The PIN of the number is locked after too many wrong ones.
    PinLocked,
    /// No PIN is set for the number.
    PinNotSet,
    /// The approval was used up by an earlier answer (`call.single_use`).
    AlreadyUsed,
    /// The configuration or the credentials cannot be used.
    NotConfigured,
    /// No call has this id.
    UnknownCall,
    /// A defect of PhoneGate.
    Internal,
}

impl FailureReason {
    /// All reasons.
    pub const ALL: [Self; 20] = [
        Self::NoKeyPressed,
        Self::WrongKey,
        Self::CallEnded,
        Self::DeadlinePassed,
        Self::Voicemail,
        Self::Blocked,
        Self::InvalidNumber,
        Self::AlreadyInProgress,
        Self::Unreachable,
        Self::CountryNotAllowed,
        Self::FraudReported,
        Self::CannotPlace,
        Self::Throttled,
        Self::Interrupted,
        Self::PinLocked,
        Self::PinNotSet,
        Self::AlreadyUsed,
        Self::NotConfigured,
        Self::UnknownCall,
        Self::Internal,
    ];

    /// Returns the reason with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Returns its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoKeyPressed => "NoKeyPressed",
            Self::WrongKey => "WrongKey",
            Self::CallEnded => "CallEnded",
            Self::DeadlinePassed => "DeadlinePassed",
            Self::Voicemail => "Voicemail",
            Self::Blocked => "Blocked",
            Self::InvalidNumber => "InvalidNumber",
            Self::AlreadyInProgress => "AlreadyInProgress",
            Self::Unreachable => "Unreachable",
            Self::CountryNotAllowed => "CountryNotAllowed",
            Self::FraudReported => "FraudReported",
            Self::CannotPlace => "CannotPlace",
            Self::Throttled => "Throttled",
            Self::Interrupted => "Interrupted",
            Self::PinLocked => "PinLocked",
            Self::PinNotSet => "PinNotSet",
            Self::AlreadyUsed => "AlreadyUsed",
            Self::NotConfigured => "NotConfigured",
            Self::UnknownCall => "UnknownCall",
            Self::Internal => "Internal",
        }
    }

    /// Returns a sentence for the user. It reveals neither why a number was refused nor which provider places calls.
    fn sentence(self) -> &'static str {
        match self {
            Self::NoKeyPressed => "No key was pressed.",
            Self::WrongKey => "The wrong key was pressed.",
            Self::CallEnded => "The call ended before it was approved.",
            Self::DeadlinePassed => "The call was not approved in time.",
            Self::Voicemail => "An answering machine took the call.",
            Self::Blocked | Self::InvalidNumber | Self::CountryNotAllowed => "This number cannot be called.",
            Self::AlreadyInProgress => "Another request is in progress.",
            Self::Unreachable => "The phone could not be reached.",
            Self::FraudReported => "The request was reported as fraud.",
            Self::CannotPlace => "The call could not be placed.",
            Self::Throttled => "There are too many calls. Try again later.",
            Self::Interrupted => "The call was interrupted.",
            Self::PinLocked => "The PIN is locked. Try again later.",
            Self::PinNotSet => "No PIN is set for this phone.",
            Self::AlreadyUsed => "The approval has been used already.",
            Self::NotConfigured => "The telephone service is not set up.",
            Self::UnknownCall => "There is no such call.",
            Self::Internal => "An internal error occurred.",
        }
    }

    /// Returns whether the call reached the user's phone, or its voicemail, and was not approved there. These calls
    /// count for `limits.denials`.
    pub fn is_denial(self) -> bool {
        matches!(self, Self::WrongKey | Self::NoKeyPressed | Self::CallEnded | Self::FraudReported)
    }

    /// Returns whether a phone may have rung, or rings, if a provider refuses a call for this reason.
    pub fn may_have_rung(self) -> bool {
        self.is_denial() || matches!(self, Self::Voicemail | Self::Unreachable | Self::AlreadyInProgress)
    }

    /// Returns the result code of Azure MFA with this meaning, if there is one. If there are two, the first.
    pub fn azure_code(self) -> Option<u16> {
        match self {
            Self::NoKeyPressed => Some(4),
            Self::WrongKey => Some(12),
            Self::CallEnded => Some(10),
            Self::DeadlinePassed => Some(11),
            Self::Voicemail => Some(13),
            Self::Blocked => Some(14),
            Self::InvalidNumber => Some(100),
            Self::AlreadyInProgress => Some(101),
            Self::Unreachable => Some(102),
            Self::CountryNotAllowed => Some(103),
            Self::FraudReported => Some(112),
            Self::CannotPlace => Some(117),
            Self::Throttled => Some(150),
            Self::Interrupted
            | Self::PinLocked
            | Self::PinNotSet
            | Self::AlreadyUsed
            | Self::NotConfigured
            | Self::UnknownCall
            | Self::Internal => None,
        }
    }
}

/// Writes the form that a failure's text has: `Unreachable, code 102`.
impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.azure_code() {
            Some(code) => write!(f, "{}, code {code}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_ends_with_the_reasons_code() {
        let failure = Failure::new(FailureReason::CallEnded, "The user hung up.");
        assert_eq!(failure.text(), "The user hung up. (CallEnded, code 10)");
        let failure = failure.explained("Nothing was heard.").explained("The trunk sent no audio.");
        assert_eq!(
            failure.text(),
            "The user hung up. Nothing was heard. The trunk sent no audio. (CallEnded, code 10)"
        );
        assert_eq!(failure.reason(), FailureReason::CallEnded);
        let of_a_file = Failure::verbatim(FailureReason::CannotPlace, "On leave").explained("So no call was placed.");
        assert_eq!(of_a_file.text(), "On leave So no call was placed. (CannotPlace, code 117)");
    }
}
