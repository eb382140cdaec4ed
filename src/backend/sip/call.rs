//! Follows a call from ringing to its outcome, and plays the farewell after it.

use std::time::Duration;

use phonegate_media::dtmf::InfoError;
use phonegate_sip::agent::{CallEvent, Established, Reply};

use super::SipTrunk;
use super::driver::CallHandle;
use super::ivr::{MediaAudio, farewell, run_ivr};
use super::media::{DigitPress, DigitReceiver, DigitSender, Media, UNCLEAR_DIGIT};
use super::outbound_call::TrunkCall;
use super::outcome::{failure_after_answer, flooded};
use crate::approval::Approver;
use crate::backend::{CallStep, StepSink};
use crate::call::{Failure, FailureReason, Outcome, Progress};
use crate::prompts::Language;

/// Time in which a telephone plays the packets in its jitter buffer.
const JITTER_BUFFER: Duration = Duration::from_millis(300);

/// A call that rings or is established.
pub(super) struct SipCall {
    pub(super) outbound: TrunkCall,
    /// An event that was read but not handled.
    pub(super) pending: Option<CallEvent>,
    pub(super) media: Media,
    pub(super) digits: DigitReceiver,
    pub(super) language: Language,
    pub(super) extension: Option<Box<str>>,
    pub(super) is_answered: bool,
    /// Whether the dialogue with the user has started. It never starts twice, or the user would have all attempts again.
    pub(super) is_ivr_started: bool,
    /// The outcome, once it is known.
    pub(super) outcome: Option<Outcome>,
}

impl SipCall {
    /// Follows the call to its outcome.
    pub(super) async fn follow(&mut self, trunk: &SipTrunk, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        on_step(CallStep::Progress(Progress::Ringing));
        // If this future is dropped and called again, it continues with the same state.
        if !self.is_answered
            && let Err(failure) = self.until_answered(trunk, on_step).await
        {
            return Outcome::Failed(failure);
        }
        self.is_answered = true;
        on_step(CallStep::Progress(Progress::Answered));
        let outcome = match self.until_resumed().await {
            Ok(()) if std::mem::replace(&mut self.is_ivr_started, true) => {
                let sentence = "The dialogue with the user was interrupted, and cannot continue.";
                Outcome::Failed(Failure::new(FailureReason::Interrupted, sentence))
            }
            Ok(()) => self.run_ivr(approver).await,
            Err(failure) => Outcome::Failed(failure),
        };
        self.media.summary().explain(outcome)
    }

    /// Runs the dialogue with the user, and responds to the peer's requests meanwhile.
    async fn run_ivr(&mut self, approver: &Approver) -> Outcome {
        let (mut sender, mut info) = DigitSender::new();
        let mut audio = MediaAudio {
            media: &self.media,
            language: &self.language,
            digits: &mut self.digits,
            info_digits: &mut info,
            playback: None,
        };
        let dialogue = run_ivr(&mut audio, approver, approver, self.extension.as_deref());
        tokio::pin!(dialogue);
        loop {
            tokio::select! {
                biased;
                outcome = &mut dialogue => return outcome,
                event = next(&mut self.pending, &mut self.outbound.call) => match event {
                    None | Some(CallEvent::Ended(_)) => return Outcome::Failed(failure_after_answer(event)),
                    Some(event) => {
                        if let Some(press) = respond(&self.outbound.call, &self.media, event) {
                            sender.send(press);
                        }
                    }
                }
            }
        }
    }

    /// Waits for the 2xx, and applies its SDP answer.
    async fn until_answered(&mut self, trunk: &SipTrunk, on_step: StepSink<'_>) -> Result<(), Failure> {
        let answer = loop {
            let event = match self.pending.take() {
                Some(event) => Some(event),
                None => trunk.next_before_answer(&mut self.outbound, &self.media, on_step).await,
            };
            match event {
                Some(CallEvent::Established(answer)) => break answer,
                Some(CallEvent::Ended(ended)) => return Err(self.outbound.end(&ended).0),
                None => return Err(flooded()),
                Some(CallEvent::Provisional(progress)) if progress.is_forwarded => {
                    trunk.handle_forwarded(&mut self.outbound, on_step)?;
                }
                Some(_) => {}
            }
        };
        if answer.is_forwarded {
            trunk.handle_forwarded(&mut self.outbound, on_step)?;
        }
        // There is no await between the 2xx and its use, so a dropped future cannot lose it.
        let accepted = accept(&self.media, &answer);
        self.media.set_answered();
        let Err(problem) = accepted else { return Ok(()) };
        // Without audio, there is no farewell.
        self.outbound.call.start_hang_up();
        let sentence = format_args!("The call has no audio: its SDP answer cannot be used: {problem}.");
        Err(Failure::new(FailureReason::CannotPlace, sentence))
    }

    /// Waits while the peer holds the call. Some PBXs answer on hold, and send a re-INVITE once the telephone is connected.
    /// The call's deadline limits the wait.
    async fn until_resumed(&mut self) -> Result<(), Failure> {
        while self.media.is_on_hold() {
            match next(&mut self.pending, &mut self.outbound.call).await {
                event @ (None | Some(CallEvent::Ended(_))) => return Err(failure_after_answer(event)),
                // Digits do not count before the first prompt.
                Some(event) => drop(respond(&self.outbound.call, &self.media, event)),
            }
        }
        Ok(())
    }

    /// Plays the farewell of the outcome. Returns when it was heard, or when the call ends.
    pub(super) async fn play_farewell(&mut self) {
        let Some(outcome) = &self.outcome else { return };
        // Every language has these pieces.
        let Ok(farewell) = self.language.compose([farewell(outcome)]) else { return };
        let mut playback = self.media.play(farewell);
        let heard = async {
            while playback.recv().await.is_some() {}
            tokio::time::sleep(JITTER_BUFFER).await;
        };
        tokio::pin!(heard);
        loop {
            tokio::select! {
                () = &mut heard => return,
                event = next(&mut self.pending, &mut self.outbound.call) => match event {
                    None | Some(CallEvent::Ended(_)) => return,
                    Some(event) => drop(respond(&self.outbound.call, &self.media, event)),
                }
            }
        }
    }

    /// Ends the call, and waits until the peer confirms the end.
    ///
    /// # Errors
    /// The peer does not respond, so the call may continue.
    pub(super) async fn hang_up(&mut self) -> Result<(), String> {
        self.outbound.call.start_hang_up();
        while !self.outbound.call.is_over() {
            match next(&mut self.pending, &mut self.outbound.call).await {
                Some(CallEvent::Ended(ended)) if ended.may_still_ring => {
                    return Err("the trunk does not respond".to_owned());
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Returns whether the call is established and has not ended.
    pub(super) fn is_up(&self) -> bool {
        self.is_answered && !self.outbound.call.is_over()
    }
}

/// Applies the peer's description that is in effect when the call is established.
fn accept(media: &Media, answer: &Established) -> Result<(), super::media::MediaError> {
    let description = answer.description.as_deref().unwrap_or_default();
    if answer.is_updated { media.accept_early_offer(description) } else { media.accept_answer(description) }
}

async fn next(pending: &mut Option<CallEvent>, call: &mut CallHandle) -> Option<CallEvent> {
    match pending.take() {
        Some(event) => Some(event),
        None => call.next().await,
    }
}

/// Responds to a request of the peer. Returns the digit of an INFO request.
pub(super) fn respond(call: &CallHandle, media: &Media, event: CallEvent) -> Option<DigitPress> {
    match event {
        CallEvent::SdpOffer { request, description } => {
            let reply = match description {
                Some(offer) => match media.answer_offer(&offer) {
                    Ok(answer) => Reply::Accept(Some(answer.into_bytes())),
                    Err(_) => Reply::Reject(488),
                },
                None => Reply::Accept(Some(media.offer().into_bytes())),
            };
            call.respond(request, reply);
            None
        }
        CallEvent::SdpAnswer { offer, description: Some(answer) } => {
            // An SDP answer that cannot be used does not change the session.
            let _ = media.accept_answer_to(&offer, &answer);
            None
        }
        CallEvent::Info { request, content_type, body } => {
            let press = media.receive_info(&content_type, &body);
            // An INFO without a body is accepted (RFC 2976, section 2.2).
            let is_accepted = press.is_ok() || body.is_empty();
            call.respond(request, if is_accepted { Reply::Accept(None) } else { Reply::Reject(415) });
            match press {
                Ok(press) => Some(press),
                // The digit is unknown. If it were ignored, the rest of the entry could be right.
                Err(InfoError::Body) => Some(DigitPress { digit: UNCLEAR_DIGIT, began: media.now() }),
                Err(_) => None,
            }
        }
        _ => None,
    }
}
