//! A simulated telephone for tests and demonstrations, which answers, presses keys and hangs up as configured. No phone
//! rings.

mod config;

use std::time::Duration;

use async_trait::async_trait;
use phonegate_approval::attempts::Attempts;
use phonegate_approval::secret::{Code, Entry, PIN_DIGITS, Pin};
use phonegate_approval::verdict::{Answer, EndedBy};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{BackendContext, CallRef, CallStep, PlaceError, StepSink, TelephonyBackend};
use crate::approval::Approver;
use crate::call::{Call, Failure, FailureReason, Outcome, Progress};
use crate::config::{ConfigError, Secret};
use crate::failpoint;
use config::Press;
pub(super) use config::SimulatedConfig;

/// A simulated telephone, which behaves the same in each call.
struct Simulated {
    answer_after: Duration,
    press_after: Duration,
    press: Press,
    pin: Option<Pin>,
}

impl Simulated {
    /// # Errors
    /// The PIN cannot be read, or is not a valid PIN.
    fn new(config: &SimulatedConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        let read_pin = |secret: &Secret| {
            let pin = context.resolve("pin", secret)?;
            Pin::from_digits(pin.expose_secret()).ok_or_else(|| {
                let (min, max) = (PIN_DIGITS.start(), PIN_DIGITS.end());
                context.invalid("pin", format_args!("is no PIN: it must be {min} to {max} digits"))
            })
        };
        Ok(Self {
            answer_after: config.answer_after_ms.milliseconds(),
            press_after: config.press_after_ms.milliseconds(),
            press: config.press,
            pin: config.pin.as_ref().map(read_pin).transpose()?,
        })
    }
}

#[async_trait]
impl TelephonyBackend for Simulated {
    async fn place(&self, call: &Call, _: StepSink<'_>) -> Result<CallRef, PlaceError> {
        failpoint::hit("backend.place");
        Ok(CallRef::new(call.attempt.generation.to_string()))
    }

    async fn follow(&self, _: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        on_step(CallStep::Progress(Progress::Ringing));
        tokio::time::sleep(self.answer_after).await;
        failpoint::hit("backend.follow");
        let failed = |reason, sentence| Outcome::Failed(Failure::new(reason, sentence));
        match self.press {
            Press::Busy => return failed(FailureReason::Unreachable, "The simulated phone is busy."),
            Press::NoAnswer => return failed(FailureReason::Unreachable, "The simulated phone was not answered."),
            Press::Right | Press::Key(_) | Press::None | Press::HangUp => {
                on_step(CallStep::Progress(Progress::Answered))
            }
        }
        tokio::time::sleep(self.press_after).await;
        let (digits, ended_by) = match self.press {
            Press::Right => (approving_entry(approver.attempts(), self.pin.as_ref()), EndedBy::Pound),
            Press::Key('#') => (Entry::default(), EndedBy::Pound),
            Press::Key(key) => (Entry::from_text(key.encode_utf8(&mut [0; 4])), EndedBy::Pound),
            Press::None => (Entry::default(), EndedBy::Pause),
            _ => return failed(FailureReason::CallEnded, "The simulated phone hung up without a key."),
        };
        approver.judge(Answer::Entry { attempt: 1, digits, ended_by }).await
    }

    async fn hang_up(&self, _: &CallRef) -> Result<(), Failure> {
        Ok(())
    }

    fn outlives_its_process(&self) -> bool {
        false
    }

    async fn check(&self) -> Result<String, Failure> {
        Ok("simulated; no phone rings".to_owned())
    }
}

/// Returns the entry that approves the first attempt: the PIN, if the method asks for one, then the code that is spoken.
fn approving_entry(attempts: &Attempts, pin: Option<&Pin>) -> Entry {
    let has_pin = attempts.policy().method().has_pin();
    let pin = pin.filter(|_| has_pin).map(Pin::as_bytes).unwrap_or_default();
    let code = attempts.code(1).map(Code::as_bytes).unwrap_or_default();
    // Large enough for both: a reallocation would leave a copy of the PIN in memory.
    let mut keys = Zeroizing::new(String::with_capacity(32));
    keys.extend(pin.iter().chain(code).copied().map(char::from));
    Entry::from_text(&keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use phonegate_approval::policy::Method;
    use phonegate_approval::verdict::{ProviderVerdicts, Verdict};

    use super::*;
    use crate::approval::tests::attempts;

    /// Returns the verdict about the entry of a phone with this PIN: `approved`, `denied`, or the PIN to check.
    fn verdict(method: Method, pin: Option<&str>) -> String {
        let pin = pin.map(|pin| Pin::from_digits(pin).unwrap());
        let attempts = attempts(method);
        let digits = approving_entry(&attempts, pin.as_ref());
        let answer = Answer::Entry { attempt: 1, digits, ended_by: EndedBy::Pound };
        match attempts.judge(ProviderVerdicts::Refused, &answer) {
            Verdict::Approved(_) => "approved".to_owned(),
            Verdict::CheckPin(check) => String::from_utf8(check.pin().as_bytes().to_vec()).unwrap(),
            Verdict::Denied(_) => "denied".to_owned(),
        }
    }

    #[test]
    fn the_phone_enters_its_pin_only_if_the_method_has_one() {
        for pin in ["7391", "739104862057"] {
            for (method, expected) in
                [(Method::Code, "approved"), (Method::Pound, "approved"), (Method::Pin, pin), (Method::PinAndCode, pin)]
            {
                assert_eq!(verdict(method, Some(pin)), expected, "{method:?} with {pin}");
            }
        }
    }

    #[test]
    fn a_phone_without_a_pin_is_denied_by_a_method_with_one() {
        for method in [Method::Pin, Method::PinAndCode] {
            assert_eq!(verdict(method, None), "denied", "{method:?}");
        }
    }
}
