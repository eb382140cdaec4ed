//! A call from its ringing to its outcome, and the farewell after it.

use std::time::Duration;

use phonegate_media::dtmf::InfoError;
use phonegate_sip::agent::{CallEvent, EndCause, Ended, Established, Reply};

use super::SipTrunk;
use super::conversation::{converse, farewell};
use super::dialled::DialledCall;
use super::driver::OutgoingCall;
use super::media::{KeySender, Keys, Media, Press, UNCLEAR_KEY};
use super::outcome::{end, hung_up};
use super::phone::Phone;
use crate::approval::Approver;
use crate::backend::{CallStep, StepSink};
use crate::call::{Failure, FailureReason, Outcome, Progress};
use crate::prompts::Language;

/// What was sent last is heard by then: telephones keep some packets back, against jitter.
const UNTIL_HEARD: Duration = Duration::from_millis(300);

/// A call that rings, or that was answered.
pub(super) struct Live {
    pub(super) dialled: DialledCall,
    /// An event that was read already.
    pub(super) pending: Option<CallEvent>,
    pub(super) media: Media,
    pub(super) keys: Keys,
    pub(super) language: Language,
    pub(super) extension: Option<Box<str>>,
    pub(super) is_answered: bool,
    /// Whether the conversation has begun. It never begins twice, or the user would have all attempts again.
    pub(super) is_asked: bool,
    /// The verdict, once there is one.
    pub(super) outcome: Option<Outcome>,
}

impl Live {
    /// Follows it to its outcome.
    pub(super) async fn follow(&mut self, trunk: &SipTrunk, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        on_step(CallStep::Progress(Progress::Ringing));
        // If this is dropped and called again, the call is as it was.
        if !self.is_answered
            && let Err(failure) = self.until_answered(trunk, on_step).await
        {
            return Outcome::Failed(failure);
        }
        self.is_answered = true;
        on_step(CallStep::Progress(Progress::Answered));
        let outcome = match self.until_resumed().await {
            Ok(()) if std::mem::replace(&mut self.is_asked, true) => {
                let sentence = "The conversation with the user was interrupted, and cannot go on.";
                Outcome::Failed(Failure::new(FailureReason::Interrupted, sentence))
            }
            Ok(()) => self.converse(approver).await,
            Err(failure) => Outcome::Failed(failure),
        };
        self.media.summary().explain(outcome)
    }

    /// Asks the user, and responds to the requests of the peer meanwhile.
    async fn converse(&mut self, approver: &Approver) -> Outcome {
        let (mut sender, mut info) = KeySender::new();
        let mut phone = Phone {
            media: &self.media,
            language: &self.language,
            events: &mut self.keys,
            info: &mut info,
            speech: None,
        };
        let conversation = converse(&mut phone, approver, approver, self.extension.as_deref());
        tokio::pin!(conversation);
        loop {
            tokio::select! {
                biased;
                outcome = &mut conversation => return outcome,
                event = next(&mut self.pending, &mut self.dialled.call) => match event {
                    None | Some(CallEvent::Ended(_)) => return Outcome::Failed(ended_after_answer(event)),
                    Some(event) => {
                        if let Some(press) = respond(&self.dialled.call, &self.media, event) {
                            sender.send(press);
                        }
                    }
                }
            }
        }
    }

    /// Waits until the call is answered, and uses the answer's audio.
    async fn until_answered(&mut self, trunk: &SipTrunk, on_step: StepSink<'_>) -> Result<(), Failure> {
        let answer = loop {
            let event = match self.pending.take() {
                Some(event) => Some(event),
                None => trunk.next_before_answer(&mut self.dialled, &self.media, on_step).await,
            };
            match event {
                Some(CallEvent::Established(answer)) => break answer,
                Some(CallEvent::Ended(ended)) => return Err(self.dialled.end(&ended).0),
                None => return Err(ended_after_answer(None)),
                Some(CallEvent::Provisional(progress)) if progress.is_forwarded => {
                    trunk.admit_forwarded(&mut self.dialled, on_step)?;
                }
                Some(_) => {}
            }
        };
        if answer.is_forwarded {
            trunk.admit_forwarded(&mut self.dialled, on_step)?;
        }
        // Nothing is awaited between the answer and its use, so that a drop cannot lose it.
        let accepted = accept(&self.media, &answer);
        self.media.set_answered();
        let Err(problem) = accepted else { return Ok(()) };
        // Nothing of a farewell would be heard.
        self.dialled.call.hang_up();
        let sentence = format_args!("The call has no audio: its SDP answer cannot be used: {problem}.");
        Err(Failure::new(FailureReason::CannotPlace, sentence))
    }

    /// Waits while the peer holds the call. Some PBXs answer so, and send a re-INVITE once they have connected the
    /// telephone. The call's deadline bounds the wait.
    async fn until_resumed(&mut self) -> Result<(), Failure> {
        while self.media.is_on_hold() {
            match next(&mut self.pending, &mut self.dialled.call).await {
                event @ (None | Some(CallEvent::Ended(_))) => return Err(ended_after_answer(event)),
                // No key counts before the first prompt.
                Some(event) => drop(respond(&self.dialled.call, &self.media, event)),
            }
        }
        Ok(())
    }

    /// Says what is to be said once the outcome is known.
    pub(super) async fn say_goodbye(&mut self) {
        let Some(outcome) = &self.outcome else { return };
        // Every language has these pieces.
        let Ok(farewell) = self.language.compose([farewell(outcome)]) else { return };
        let mut said = self.media.say(farewell);
        let heard = async {
            while said.recv().await.is_some() {}
            tokio::time::sleep(UNTIL_HEARD).await;
        };
        tokio::pin!(heard);
        loop {
            tokio::select! {
                () = &mut heard => return,
                event = next(&mut self.pending, &mut self.dialled.call) => match event {
                    None | Some(CallEvent::Ended(_)) => return,
                    Some(event) => drop(respond(&self.dialled.call, &self.media, event)),
                }
            }
        }
    }

    /// Ends the call, and waits until the peer has confirmed it.
    ///
    /// # Errors
    /// Why it may continue.
    pub(super) async fn hang_up(&mut self) -> Result<(), String> {
        self.dialled.call.hang_up();
        while !self.dialled.call.is_over() {
            match next(&mut self.pending, &mut self.dialled.call).await {
                Some(CallEvent::Ended(ended)) if ended.may_still_ring => {
                    return Err("the trunk does not respond".to_owned());
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Returns whether the call was answered and has not ended.
    pub(super) fn is_up(&self) -> bool {
        self.is_answered && !self.dialled.call.is_over()
    }
}

/// Uses the description that is in effect once the call is answered.
fn accept(media: &Media, answer: &Established) -> Result<(), super::media::MediaError> {
    let description = answer.description.as_deref().unwrap_or_default();
    if answer.is_updated { media.accept_early_offer(description) } else { media.accept_answer(description) }
}

async fn next(pending: &mut Option<CallEvent>, call: &mut OutgoingCall) -> Option<CallEvent> {
    match pending.take() {
        Some(event) => Some(event),
        None => call.next().await,
    }
}

/// Responds to what the peer asks, and returns a key that arrived by INFO.
pub(super) fn respond(call: &OutgoingCall, media: &Media, event: CallEvent) -> Option<Press> {
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
        CallEvent::SdpAnswer(Some(answer)) => {
            // A later answer that cannot be used leaves the session as it was.
            let _ = media.accept_answer(&answer);
            None
        }
        CallEvent::Info { request, content_type, body } => {
            let press = media.receive_info(&content_type, &body);
            // An INFO without a body asks nothing (RFC 2976, section 2.2).
            let is_accepted = press.is_ok() || body.is_empty();
            call.respond(request, if is_accepted { Reply::Accept(None) } else { Reply::Reject(415) });
            match press {
                Ok(press) => Some(press),
                // The user pressed something. Without it, the rest of the entry could be right.
                Err(InfoError::Body) => Some(Press { key: UNCLEAR_KEY, began: media.now() }),
                Err(_) => None,
            }
        }
        _ => None,
    }
}

fn ended_after_answer(event: Option<CallEvent>) -> Failure {
    match event {
        Some(CallEvent::Ended(Ended { cause: EndCause::PeerHungUp { reason, .. }, .. })) => {
            Failure::verbatim(FailureReason::CallEnded, hung_up(reason.as_ref()))
        }
        Some(CallEvent::Ended(ended)) => end(&ended).0,
        _ => Failure::verbatim(FailureReason::CallEnded, hung_up(None)),
    }
}
