//! Judges what users press, by the rules of `crates/approval`, and says in words why an entry does not approve.

pub mod pins;

use std::sync::Arc;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::Method;
use phonegate_approval::secret::Pin;
use phonegate_approval::verdict::{Answer, Approval, Denial, PinAnswer, ProviderVerdicts, Verdict};

use crate::call::{Failure, FailureReason, Outcome};

/// Judges the answers of one call that one backend has placed.
#[derive(Clone, Debug)]
pub struct Approver {
    attempts: Arc<Attempts>,
    provider_verdicts: ProviderVerdicts,
}

impl Approver {
    /// Creates the judge of a call. `provider_verdicts` is the setting of the backend that has placed it.
    pub fn new(attempts: Arc<Attempts>, provider_verdicts: ProviderVerdicts) -> Self {
        Self { attempts, provider_verdicts }
    }

    /// Returns what the call may say and expects.
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// Judges an answer.
    pub async fn judge(&self, answer: Answer) -> Outcome {
        let judged = match self.attempts.judge(self.provider_verdicts, &answer) {
            Verdict::Approved(approval) => Ok(approval),
            Verdict::Denied(denial) => Err(denial),
            Verdict::CheckPin(check) => {
                let answer = self.check_pin(check.pin()).await;
                check.finish(answer)
            }
        };
        self.outcome(judged)
    }

    /// Checks a PIN.
    pub async fn check_pin(&self, _pin: &Pin) -> PinAnswer {
        // No PINs are kept, so none is right.
        PinAnswer::NotSet
    }

    /// Returns the outcome of a call that was judged.
    pub fn outcome(&self, judged: Result<Approval, Denial>) -> Outcome {
        judged.map_or_else(|denial| Outcome::Failed(self.failure(denial)), Outcome::Verified)
    }

    fn failure(&self, denial: Denial) -> Failure {
        let (reason, sentence) = match denial {
            Denial::FraudReported => {
                (FailureReason::FraudReported, "The user reported that this sign-in is not theirs.")
            }
            Denial::NoEntry => (FailureReason::NoKeyPressed, "Somebody or a machine answered, but no key was pressed."),
            Denial::WrongEntry { .. } => (FailureReason::WrongKey, self.wrong_entry()),
            Denial::PlaybackStalled => {
                (FailureReason::CallEnded, "The call was ended, since a prompt could not be played to its end.")
            }
            Denial::ProviderVerdictRefused => (
                FailureReason::CannotPlace,
                "The provider says that the user approved, but its backend has no accept_provider_verdict, or the \
                 method asks for a PIN.",
            ),
            other => {
                return Failure::new(FailureReason::Internal, format_args!("The entry was denied: {other}."));
            }
        };
        Failure::new(reason, sentence)
    }

    fn wrong_entry(&self) -> &'static str {
        match self.attempts.policy().method() {
            Method::Code => "Other keys were pressed than the code and #.",
            Method::Pound => "Another key than # was pressed.",
            Method::Pin => "Other keys were pressed than the PIN and #.",
            Method::PinAndCode => "Other keys were pressed than the PIN, the code and #.",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::convert::Infallible;

    use phonegate_approval::policy::Policy;
    use phonegate_approval::secret::Entry;
    use phonegate_approval::verdict::EndedBy;

    use super::*;

    /// What the user of a call by this method is to press.
    pub(crate) fn attempts(method: Method) -> Arc<Attempts> {
        let fill = |bytes: &mut [u8]| -> Result<(), Infallible> {
            bytes.fill_with(|| fastrand::u8(..));
            Ok(())
        };
        Arc::new(Attempts::new(Policy::default().with_method(method), fill).unwrap())
    }

    /// The outcome of a call that was approved.
    pub(crate) fn verified() -> Outcome {
        let pound = Answer::Entry { attempt: 1, digits: Entry::default(), ended_by: EndedBy::Pound };
        match attempts(Method::Pound).judge(ProviderVerdicts::Refused, &pound) {
            Verdict::Approved(approval) => Outcome::Verified(approval),
            Verdict::CheckPin(_) | Verdict::Denied(_) => panic!("the method `pound` is approved by #"),
        }
    }

    async fn judged(method: Method, provider_verdicts: ProviderVerdicts, answer: Answer) -> Option<FailureReason> {
        match Approver::new(attempts(method), provider_verdicts).judge(answer).await {
            Outcome::Verified(_) => None,
            Outcome::Failed(failure) => Some(failure.reason()),
        }
    }

    fn entry(digits: &str, ended_by: EndedBy) -> Answer {
        Answer::Entry { attempt: 1, digits: Entry::from_text(digits), ended_by }
    }

    #[tokio::test]
    async fn each_denial_has_its_reason() {
        let answers = [
            (entry("0", EndedBy::Pound), FailureReason::FraudReported),
            (entry("", EndedBy::Pause), FailureReason::NoKeyPressed),
            (entry("12", EndedBy::Pound), FailureReason::WrongKey),
            (Answer::ProviderApproved, FailureReason::CannotPlace),
        ];
        for (answer, reason) in answers {
            assert_eq!(judged(Method::Code, ProviderVerdicts::Refused, answer).await, Some(reason));
        }
    }

    #[tokio::test]
    async fn a_provider_judges_only_if_it_may_and_never_a_pin() {
        let accepted = ProviderVerdicts::Accepted;
        for method in [Method::Code, Method::Pound] {
            assert_eq!(judged(method, accepted, Answer::ProviderApproved).await, None);
        }
        for method in [Method::Pin, Method::PinAndCode] {
            assert!(judged(method, accepted, Answer::ProviderApproved).await.is_some(), "{method:?}");
        }
    }
}
