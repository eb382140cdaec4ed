//! A simulated telephone: answers, presses and hangs up as configured. For tests and demonstrations; it rings nobody.

use std::time::Duration;

use async_trait::async_trait;

use super::{CallStep, OnStep, PlaceError, Reference, TelephonyBackend};
use crate::call::{Call, Failure, FailureReason, Outcome, Progress};
use crate::config::{FraudKey, Press, SimulatedConfig};
use crate::fault;

/// A telephone that does the same at each call.
pub(super) struct Simulated {
    answer_after: Duration,
    press_after: Duration,
    press: Press,
    fraud_key: FraudKey,
}

impl Simulated {
    pub(super) fn new(config: &SimulatedConfig, fraud_key: FraudKey) -> Self {
        Self {
            answer_after: config.answer_after_ms.milliseconds(),
            press_after: config.press_after_ms.milliseconds(),
            press: config.press,
            fraud_key,
        }
    }
}

#[async_trait]
impl TelephonyBackend for Simulated {
    async fn place(&self, call: &Call, _: OnStep<'_>) -> Result<Reference, PlaceError> {
        fault::point("backend.place");
        Ok(Reference::new(call.attempt.generation.to_string()))
    }

    async fn follow(&self, _: &Reference, on_step: OnStep<'_>) -> Outcome {
        on_step(CallStep::Progress(Progress::Ringing));
        tokio::time::sleep(self.answer_after).await;
        fault::point("backend.follow");
        let failed = |reason, sentence| Outcome::Failed(Failure::new(reason, sentence));
        match self.press {
            Press::Busy => return failed(FailureReason::Unreachable, "The simulated phone is busy."),
            Press::NoAnswer => return failed(FailureReason::Unreachable, "The simulated phone was not answered."),
            Press::Pound | Press::Other(_) | Press::None | Press::HangUp => {
                on_step(CallStep::Progress(Progress::Answered))
            }
        }
        tokio::time::sleep(self.press_after).await;
        match self.press {
            Press::Pound => Outcome::Verified,
            Press::Other(key) if key == self.fraud_key.get() => {
                failed(FailureReason::FraudReported, "The simulated phone reported that the request was not theirs.")
            }
            Press::Other(key) => Outcome::Failed(Failure::new(
                FailureReason::WrongKey,
                format_args!("The simulated phone pressed {key} instead of #."),
            )),
            Press::None => failed(FailureReason::NoKeyPressed, "The simulated phone answered, but pressed no key."),
            _ => failed(FailureReason::CallEnded, "The simulated phone hung up without a key."),
        }
    }

    async fn hang_up(&self, _: &Reference) -> Result<(), Failure> {
        Ok(())
    }

    fn outlives_its_process(&self) -> bool {
        false
    }

    async fn check(&self) -> Result<String, Failure> {
        Ok("simulated; rings nobody".to_owned())
    }
}
