//! What a provider reports about an answered call, which may be incomplete.

use phonegate_approval::verdict::Answer;

use crate::approval::Approver;
use crate::call::{Failure, FailureReason, Outcome};

/// The attempt of an entry whose report names none: no call has it, so the entry approves nothing. A fraud report counts
/// in any attempt.
pub(super) const NO_ATTEMPT: u8 = 0;

/// The user's answer as a provider reports it.
pub(super) struct Reported {
    pub(super) answer: Answer,
    /// What is wrong with the report, as a sentence. Such an answer approves nothing.
    pub(super) problem: Option<String>,
}

impl From<Answer> for Reported {
    fn from(answer: Answer) -> Self {
        Self { answer, problem: None }
    }
}

impl Reported {
    /// Returns an answer that cannot approve, because of this problem: a sentence.
    pub(super) fn incomplete(answer: Answer, problem: impl Into<String>) -> Self {
        Self { answer, problem: Some(problem.into()) }
    }

    /// Judges the answer. An incomplete one is judged, too, since a fraud report and a denial count.
    pub(super) async fn judge(self, approver: &Approver) -> Outcome {
        let outcome = approver.judge(self.answer).await;
        let Some(problem) = self.problem else { return outcome };
        Outcome::Failed(match outcome {
            Outcome::Failed(failure) => failure.explained(problem),
            Outcome::Verified(_) => Failure::new(FailureReason::WrongKey, problem),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests")]
    use phonegate_approval::policy::Method;
    use phonegate_approval::secret::Entry;
    use phonegate_approval::verdict::{EndedBy, ProviderVerdicts};

    use super::*;
    use crate::approval::tests::attempts;

    #[tokio::test]
    async fn an_incomplete_report_never_approves() {
        let approver = Approver::new(attempts(Method::Pound), ProviderVerdicts::Accepted);
        let entry =
            |attempt, digits| Answer::Entry { attempt, digits: Entry::from_text(digits), ended_by: EndedBy::Pound };
        assert!(matches!(Reported::from(entry(1, "")).judge(&approver).await, Outcome::Verified(_)));
        for (answer, reason) in [
            (entry(1, ""), FailureReason::WrongKey),
            (entry(NO_ATTEMPT, ""), FailureReason::WrongKey),
            (entry(NO_ATTEMPT, "0"), FailureReason::FraudReported),
            (Answer::ProviderApproved, FailureReason::WrongKey),
        ] {
            match Reported::incomplete(answer, "It is odd.").judge(&approver).await {
                Outcome::Failed(failure) => {
                    assert_eq!(failure.reason(), reason);
                    assert!(failure.text().contains("It is odd."), "{failure}");
                }
                Outcome::Verified(_) => panic!("it is approved"),
            }
        }
    }
}
