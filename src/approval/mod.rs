//! Judges what users press, by the rules of `crates/approval`, and describes why an entry does not approve.

pub mod pins;

use std::sync::Arc;

use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::Method;
use phonegate_approval::secret::Pin;
use phonegate_approval::verdict::{Answer, Approval, Denial, PinAnswer, ProviderVerdicts, Verdict};

use crate::call::{Failure, FailureReason, NumberHash, Outcome};
use crate::store::PinState;
use pins::PinChecker;

/// The PIN of the number that a call rings.
#[derive(Clone, Debug)]
pub struct NumberPin {
    checker: PinChecker,
    /// The hashes of the number, as far as they are known.
    numbers: Arc<[NumberHash]>,
}

impl NumberPin {
    /// Creates the PIN check of the number with these hashes, the current key's first.
    pub fn new(checker: PinChecker, numbers: &[NumberHash]) -> Self {
        Self { checker, numbers: numbers.into() }
    }

    /// Returns why no call is placed, if the user could not approve it.
    pub async fn refusal(&self) -> Option<Failure> {
        match self.checker.state(&self.numbers).await {
            Ok(PinState::Open) => None,
            Ok(PinState::NotSet) => {
                Some(Failure::new(FailureReason::PinNotSet, "No call was placed: the number has no PIN."))
            }
            Ok(PinState::Locked { .. }) => {
                let sentence = "No call was placed: there were too many wrong PINs, so the PIN is locked.";
                Some(Failure::new(FailureReason::PinLocked, sentence))
            }
            Err(error) => {
                let sentence = format_args!("No call was placed: the PIN of the number cannot be looked up: {error}.");
                Some(Failure::new(FailureReason::CannotPlace, sentence))
            }
        }
    }
}

/// Judges the answers of one call that one backend has placed.
#[derive(Clone, Debug)]
pub struct Approver {
    attempts: Arc<Attempts>,
    provider_verdicts: ProviderVerdicts,
    pin: Option<NumberPin>,
}

impl Approver {
    /// Creates the judge of a call. `provider_verdicts` is the setting of the backend that has placed it.
    pub fn new(attempts: Arc<Attempts>, provider_verdicts: ProviderVerdicts) -> Self {
        Self { attempts, provider_verdicts, pin: None }
    }

    /// Checks entered PINs against the PIN of the number that the call rings. With `None`, no PIN can be checked.
    pub fn with_pin(self, pin: Option<NumberPin>) -> Self {
        Self { pin, ..self }
    }

    /// Returns what the call may say and expects.
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// Judges an answer.
    pub async fn judge(&self, answer: Answer) -> Outcome {
        let judged = match self.attempts.judge(self.provider_verdicts, &answer) {
            Verdict::Approved(approval) => Ok(approval),
            Verdict::Denied(Denial::WrongEntry { counts_against_pin: true }) => {
                let answer = self.count_failure().await;
                Err(match answer {
                    PinAnswer::Locked => Denial::PinLocked,
                    PinAnswer::NotSet => Denial::PinNotSet,
                    PinAnswer::Failed => Denial::PinNotChecked,
                    PinAnswer::Right | PinAnswer::Wrong => Denial::WrongEntry { counts_against_pin: false },
                })
            }
            Verdict::Denied(denial) => Err(denial),
            Verdict::CheckPin(check) => {
                let answer = self.check_pin(check.pin()).await;
                check.finish(answer)
            }
        };
        self.outcome(judged)
    }

    /// Checks whether this is the PIN of the number, and counts a failure if it is not.
    pub async fn check_pin(&self, pin: &Pin) -> PinAnswer {
        match &self.pin {
            Some(of_number) => of_number.checker.check(&of_number.numbers, pin).await,
            None => PinAnswer::Failed,
        }
    }

    /// Counts a failure of the number's PIN, for an entry that was wrong whatever its PIN.
    pub async fn count_failure(&self) -> PinAnswer {
        match &self.pin {
            Some(of_number) => of_number.checker.count_failure(&of_number.numbers).await,
            None => PinAnswer::Failed,
        }
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
            Denial::NoEntry => (FailureReason::NoKeyPressed, "The call was answered, but no key was pressed."),
            Denial::WrongEntry { .. } => (FailureReason::WrongKey, self.wrong_entry()),
            Denial::PlaybackStalled => {
                (FailureReason::CallEnded, "The call was ended, because a prompt could not be played to its end.")
            }
            Denial::ProviderVerdictRefused => (
                FailureReason::CannotPlace,
                "The provider says that the user approved, but its backend has no accept_provider_verdict, or the \
                 method asks for a PIN.",
            ),
            Denial::PinLocked => (FailureReason::PinLocked, "There were too many wrong PINs, so the PIN is locked."),
            Denial::PinNotSet => (FailureReason::PinNotSet, "The number has no PIN."),
            // The backend did nothing wrong, so the reason is not one that counts against its health.
            Denial::PinNotChecked => (
                FailureReason::Interrupted,
                "The PIN could not be checked; the line `pin_not_checked` of the log has the cause.",
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
    use std::time::Duration;

    use phonegate_approval::policy::Policy;
    use phonegate_approval::secret::Entry;
    use phonegate_approval::verdict::EndedBy;

    use super::pins::{Pepper, number_hashes};
    use super::*;
    use crate::call::PhoneNumber;
    use crate::store::{MemoryStore, PinLimits, PinStore};

    /// Returns the codes of a call by this method.
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

    /// The judge of a call whose number has the PIN 482619, and the code that its first attempt speaks.
    async fn with_pin(method: Method, store: &Arc<MemoryStore>) -> (Approver, String) {
        let number = PhoneNumber::new("+14255551212".to_owned(), None, 1);
        let pepper = Pepper::new(&"0123456789abcdef0123456789abcdef".into()).unwrap();
        let limits = PinLimits { max_failures: 2, lock: Duration::from_secs(1800) };
        let checker = PinChecker::new(Arc::<MemoryStore>::clone(store), pepper, limits);
        checker.set(&number, Pin::from_digits("482619").unwrap()).await.unwrap();
        let attempts = attempts(method);
        let code = attempts.code(1).map(|code| String::from_utf8(code.as_bytes().to_vec()).unwrap());
        let pin = NumberPin::new(checker, &number_hashes(&number));
        (Approver::new(attempts, ProviderVerdicts::Refused).with_pin(Some(pin)), code.unwrap_or_default())
    }

    async fn reason(approver: &Approver, digits: &str) -> Option<FailureReason> {
        match approver.judge(entry(digits, EndedBy::Pound)).await {
            Outcome::Verified(_) => None,
            Outcome::Failed(failure) => Some(failure.reason()),
        }
    }

    #[tokio::test]
    async fn the_pin_of_the_number_approves_and_wrong_ones_lock_it() {
        let store = Arc::new(MemoryStore::default());
        let (approver, _) = with_pin(Method::Pin, &store).await;
        for (digits, expected) in [
            ("482618", Some(FailureReason::WrongKey)),
            ("482619", None),
            // Too short to be a PIN: it counts all the same.
            ("48", Some(FailureReason::WrongKey)),
            ("482618", Some(FailureReason::WrongKey)),
            ("482619", Some(FailureReason::PinLocked)),
            ("48", Some(FailureReason::PinLocked)),
        ] {
            assert_eq!(reason(&approver, digits).await, expected, "{digits}");
        }
        let key = store.pins().await.unwrap().first().unwrap().number;
        store.remove_pin(&[key]).await.unwrap();
        assert_eq!(reason(&approver, "482619").await, Some(FailureReason::PinNotSet));
        let without = Approver::new(attempts(Method::Pin), ProviderVerdicts::Refused);
        assert_eq!(reason(&without, "482619").await, Some(FailureReason::Interrupted));
    }

    #[tokio::test]
    async fn a_wrong_code_after_a_right_pin_counts_against_the_pin() {
        let store = Arc::new(MemoryStore::default());
        let (approver, code) = with_pin(Method::PinAndCode, &store).await;
        assert_eq!(reason(&approver, &format!("482619{code}")).await, None);
        // The code has no digit twice in a row.
        let wrong = format!("482619{}", code.chars().next().unwrap().to_string().repeat(3));
        for expected in [FailureReason::WrongKey, FailureReason::WrongKey, FailureReason::PinLocked] {
            assert_eq!(reason(&approver, &wrong).await, Some(expected));
        }
        assert_eq!(reason(&approver, &format!("482619{code}")).await, Some(FailureReason::PinLocked));
    }
}
