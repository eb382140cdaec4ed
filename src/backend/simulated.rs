//! A simulated telephone: answers, presses and hangs up as configured. For tests and demonstrations; it rings nobody.

use std::time::Duration;

use async_trait::async_trait;
use phonegate_approval::attempts::Attempts;
use phonegate_approval::script::Piece;
use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::{Answer, EndedBy};
use zeroize::Zeroizing;

use super::{CallStep, OnStep, PlaceError, Reference, TelephonyBackend};
use crate::approval::Approver;
use crate::call::{Call, Failure, FailureReason, Outcome, Progress};
use crate::config::{Press, SimulatedConfig};
use crate::fault;

/// A telephone that does the same at each call.
pub(super) struct Simulated {
    answer_after: Duration,
    press_after: Duration,
    press: Press,
}

impl Simulated {
    pub(super) fn new(config: &SimulatedConfig) -> Self {
        Self {
            answer_after: config.answer_after_ms.milliseconds(),
            press_after: config.press_after_ms.milliseconds(),
            press: config.press,
        }
    }
}

#[async_trait]
impl TelephonyBackend for Simulated {
    async fn place(&self, call: &Call, _: OnStep<'_>) -> Result<Reference, PlaceError> {
        fault::point("backend.place");
        Ok(Reference::new(call.attempt.generation.to_string()))
    }

    async fn follow(&self, _: &Reference, approver: &Approver, on_step: OnStep<'_>) -> Outcome {
        on_step(CallStep::Progress(Progress::Ringing));
        tokio::time::sleep(self.answer_after).await;
        fault::point("backend.follow");
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
            Press::Right => (heard(approver.attempts()), EndedBy::Pound),
            Press::Key('#') => (Entry::default(), EndedBy::Pound),
            Press::Key(key) => (Entry::from_text(key.encode_utf8(&mut [0; 4])), EndedBy::Pound),
            Press::None => (Entry::default(), EndedBy::Pause),
            _ => return failed(FailureReason::CallEnded, "The simulated phone hung up without a key."),
        };
        approver.judge(Answer::Entry { attempt: 1, digits, ended_by }).await
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

/// Returns the code that a user hears in the first attempt, who then presses it.
fn heard(attempts: &Attempts) -> Entry {
    let pieces = attempts.script(1).into_iter().flat_map(|script| script.pieces());
    let spoken = pieces.filter_map(|piece| match piece {
        Piece::Digit(digit) => char::from_digit(digit.into(), 10),
        _ => None,
    });
    // The code is spoken twice.
    let once = usize::from(attempts.policy().code_digits());
    Entry::from_text(&Zeroizing::new(spoken.take(once).collect::<String>()))
}
