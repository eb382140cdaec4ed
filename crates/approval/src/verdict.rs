//! The contract with the backends: an answer goes in, a verdict comes out.

use crate::attempts::{Attempts, Judged};
use crate::policy::Method;
use crate::secret::{Entry, Pin};

/// A backend's report about an answered call.
pub enum Answer {
    /// What the user pressed, according to the provider.
    Entry {
        /// The attempt in which it was pressed. The first is 1.
        attempt: u8,
        /// The keys, without the `#` that ended the entry.
        digits: Entry,
        /// What ended the entry.
        ended_by: EndedBy,
    },
    /// The provider judged by itself, and says that the user approved.
    ProviderApproved,
}

/// The event that ended an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The key `#`. Only such an entry can approve, or report a fraud.
    Pound,
    /// A pause.
    Pause,
    /// The provider collects no more digits.
    Full,
}

/// Whether a backend may judge by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderVerdicts {
    /// [`Answer::ProviderApproved`] is refused. The default of every backend: otherwise an attacker who keeps one
    /// backend busy would turn a code into any key at the next one.
    Refused,
    /// The configuration of this backend says `accept_provider_verdict`. With a PIN it is refused all the same.
    Accepted,
}

/// The result of judging an answer.
pub enum Verdict {
    /// The user approved.
    Approved(Approval),
    /// The entry approves if its PIN is that of the number.
    CheckPin(PinCheck),
    /// Anything else, including any uncertainty.
    Denied(Denial),
}

/// Why an answer is no approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// The user reported that the request is not theirs.
    #[error("the user reported a fraud")]
    FraudReported,
    /// The user made another entry.
    #[error("the entry was wrong")]
    WrongEntry {
        /// Whether the caller must count this as a failure of the PIN. False if the method has no PIN, and if
        /// [`PinAnswer::Wrong`] says that the failure is counted.
        counts_against_pin: bool,
    },
    /// The user pressed no key.
    #[error("no key was pressed")]
    NoEntry,
    /// The PIN of the number is locked.
    #[error("the PIN is locked")]
    PinLocked,
    /// The number has no PIN.
    #[error("the number has no PIN")]
    PinNotSet,
    /// The PIN could not be checked.
    #[error("the PIN could not be checked")]
    PinNotChecked,
    /// The provider may not judge by itself, or not with this method.
    #[error("the provider's own verdict is not accepted")]
    ProviderVerdictRefused,
    /// The caller did not report the progress of a prompt.
    #[error("a prompt could not be played")]
    PlaybackStalled,
}

/// Proof that an answer was judged to be an approval. Only this crate can create one.
///
/// ```compile_fail
/// use phonegate_approval::verdict::{Approval, JudgedBy};
///
/// let approval = Approval { judged_by: JudgedBy::PhoneGate };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an approval is lost if it is not recorded"]
pub struct Approval {
    judged_by: JudgedBy,
}

/// The judge of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JudgedBy {
    /// This crate compared the entry.
    PhoneGate,
    /// The provider, which [`ProviderVerdicts::Accepted`] allows.
    Provider,
}

impl JudgedBy {
    /// Returns the name for audit rows and stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::PhoneGate => "phonegate",
            Self::Provider => "provider",
        }
    }

    /// Returns the judge of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::PhoneGate, Self::Provider].into_iter().find(|judge| judge.name() == name)
    }
}

impl Approval {
    /// Creates the approval of an entry that this crate compared.
    pub(crate) fn of_entry() -> Self {
        Self { judged_by: JudgedBy::PhoneGate }
    }

    /// Returns who judged.
    pub fn judged_by(&self) -> JudgedBy {
        self.judged_by
    }
}

/// An approval that was read from a store. It was judged earlier, perhaps by another process. It proves nothing, and cannot
/// become an [`Approval`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredApproval {
    /// Who judged. `None` if it was recorded by a version that did not record this.
    pub judged_by: Option<JudgedBy>,
}

impl From<&Approval> for StoredApproval {
    fn from(approval: &Approval) -> Self {
        Self { judged_by: Some(approval.judged_by) }
    }
}

/// A PIN to check. If it is not answered, there is no approval.
#[must_use = "an entry whose PIN is not checked approves nothing"]
pub struct PinCheck {
    pin: Pin,
}

/// The result of the caller's check of a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinAnswer {
    /// It is the PIN of the number, which is not locked.
    Right,
    /// It is not the PIN of the number. The caller has counted the failure.
    Wrong,
    /// Too many failures: the PIN was not compared.
    Locked,
    /// The number has no PIN.
    NotSet,
    /// The PIN could not be checked, for example because the store is down.
    Failed,
}

impl PinCheck {
    pub(crate) fn new(pin: Pin) -> Self {
        Self { pin }
    }

    /// Returns the PIN that was entered.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Judges an answer of a backend by its PIN. [`Ivr::pin_checked`](crate::ivr::Ivr::pin_checked) does so in a call
    /// whose audio this side has.
    ///
    /// # Errors
    ///
    /// The [`Denial`], for every answer but [`PinAnswer::Right`].
    pub fn finish(self, answer: PinAnswer) -> Result<Approval, Denial> {
        answer.judge()
    }
}

impl PinAnswer {
    pub(crate) fn judge(self) -> Result<Approval, Denial> {
        match self {
            Self::Right => Ok(Approval::of_entry()),
            Self::Wrong => Err(Denial::WrongEntry { counts_against_pin: false }),
            Self::Locked => Err(Denial::PinLocked),
            Self::NotSet => Err(Denial::PinNotSet),
            Self::Failed => Err(Denial::PinNotChecked),
        }
    }
}

impl Attempts {
    /// Judges the answer of a backend.
    ///
    /// A fraud report counts in any attempt, whatever its number. Any other entry counts only in the attempt that it
    /// names, and only if `#` ended it. With a PIN and a code, the PIN is checked only if the code is right: otherwise
    /// a right PIN with a wrong code would reset the failures of the PIN.
    pub fn judge(&self, provider_verdicts: ProviderVerdicts, answer: &Answer) -> Verdict {
        match answer {
            Answer::Entry { digits, ended_by: EndedBy::Pound, .. } if digits.is_digit(self.policy().fraud_key()) => {
                Verdict::Denied(Denial::FraudReported)
            }
            Answer::Entry { digits, ended_by: EndedBy::Pause | EndedBy::Full, .. } if digits.is_empty() => {
                Verdict::Denied(Denial::NoEntry)
            }
            Answer::Entry { ended_by: EndedBy::Pause | EndedBy::Full, .. } => Verdict::Denied(self.wrong_entry()),
            Answer::Entry { attempt, digits, ended_by: EndedBy::Pound } => match self.judge_digits(*attempt, digits) {
                Judged::Right => Verdict::Approved(Approval::of_entry()),
                Judged::NeedsPin(pin) => Verdict::CheckPin(PinCheck::new(pin)),
                Judged::Wrong => Verdict::Denied(self.wrong_entry()),
            },
            Answer::ProviderApproved => match (provider_verdicts, self.policy().method()) {
                (ProviderVerdicts::Accepted, Method::Code | Method::Pound) => {
                    Verdict::Approved(Approval { judged_by: JudgedBy::Provider })
                }
                _ => Verdict::Denied(Denial::ProviderVerdictRefused),
            },
        }
    }

    /// Returns the denial of an entry whose PIN was not checked.
    pub(crate) fn wrong_entry(&self) -> Denial {
        Denial::WrongEntry { counts_against_pin: self.policy().method().has_pin() }
    }
}
