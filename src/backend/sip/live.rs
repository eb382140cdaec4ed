//! A call from its ringing to its outcome, and the farewell after it.

use std::time::Duration;

use tokio::sync::mpsc;

use super::conversation::{Policy, converse, farewell};
use super::leg::{Leg, LegEvent};
use super::media::{Dropped, Keys, Media};
use super::offer::Offer;
use super::outcome::refusal;
use super::phone::Phone;
use crate::backend::OnProgress;
use crate::call::{Failure, FailureReason, Outcome, Progress};
use crate::prompts::Language;
use crate::telemetry::foreign_text;

/// What was sent last is heard by then: telephones keep some packets back, against jitter.
const UNTIL_HEARD: Duration = Duration::from_millis(300);

/// A call that rings, or that somebody answered.
pub(super) struct Live {
    pub(super) leg: Box<Leg>,
    pub(super) media: Media,
    pub(super) keys: Keys,
    pub(super) language: Language,
    pub(super) extension: Option<Box<str>>,
    pub(super) is_answered: bool,
    /// What came of it, once there is a verdict.
    pub(super) outcome: Option<Outcome>,
}

impl Live {
    /// Follows it to its outcome.
    pub(super) async fn follow(&mut self, policy: Policy, on_progress: OnProgress<'_>) -> Outcome {
        on_progress(Progress::Ringing);
        // Who was dropped here and comes back finds the call as it was.
        if !self.is_answered
            && let Err(failure) = self.until_answered().await
        {
            return Outcome::Failed(failure);
        }
        self.is_answered = true;
        on_progress(Progress::Answered);
        let (told, mut info) = mpsc::unbounded_channel();
        let mut phone = Phone { media: &self.media, language: &self.language, events: &mut self.keys, info: &mut info };
        let conversation = converse(&mut phone, policy, self.extension.as_deref());
        tokio::pin!(conversation);
        loop {
            tokio::select! {
                biased;
                outcome = &mut conversation => return outcome,
                event = self.leg.next() => match event {
                    // If key events were negotiated, a key in the signalling does not come from the telephone.
                    LegEvent::Key(_) if self.media.has_key_events() => {}
                    LegEvent::Key(key) => drop(told.send(key)),
                    LegEvent::Offer(offer) => answer_offer(&self.media, offer).await,
                    LegEvent::HungUp(reason) => return Outcome::Failed(hung_up(reason)),
                    LegEvent::Broken(problem) => return Outcome::Failed(hung_up(Some(foreign_text(&problem)))),
                    LegEvent::Provisional(_) | LegEvent::Answered(_) | LegEvent::Refused(_) => {}
                }
            }
        }
    }

    /// Waits until somebody answers, and takes the answer's audio.
    async fn until_answered(&mut self) -> Result<(), Failure> {
        let mut rang = false;
        let answer = loop {
            match self.leg.next().await {
                LegEvent::Provisional(code) => rang = rang || code > 100,
                LegEvent::Answered(answer) => break answer,
                LegEvent::Refused(response) => return Err(refusal(&response, rang).0),
                LegEvent::Offer(offer) => answer_offer(&self.media, offer).await,
                LegEvent::Key(_) => {}
                LegEvent::Broken(problem) => {
                    let sentence = format_args!("The call broke: {}.", foreign_text(&problem));
                    return Err(Failure::new(FailureReason::CannotPlace, sentence));
                }
                LegEvent::HungUp(reason) => return Err(hung_up(reason)),
            }
        };
        // Nothing is awaited between the answer and its use, so that a drop cannot lose it.
        let Err(problem) = self.media.accept_answer(&answer) else { return Ok(()) };
        // Nothing could be heard of a farewell.
        let _ = self.leg.hang_up().await;
        let sentence = format_args!("The call has no audio, since of the answer one must say: {problem}.");
        Err(Failure::new(FailureReason::CannotPlace, sentence))
    }

    /// Says what is to be said once the outcome is known.
    pub(super) async fn say_goodbye(&mut self) {
        let Some(outcome) = &self.outcome else { return };
        let said = self.media.say(self.language.get(farewell(outcome)));
        let heard = async {
            let _ = said.await;
            tokio::time::sleep(UNTIL_HEARD).await;
        };
        tokio::pin!(heard);
        loop {
            tokio::select! {
                () = &mut heard => return,
                event = self.leg.next() => match event {
                    LegEvent::Offer(offer) => answer_offer(&self.media, offer).await,
                    LegEvent::HungUp(_) | LegEvent::Broken(_) | LegEvent::Refused(_) => return,
                    LegEvent::Key(_) | LegEvent::Provisional(_) | LegEvent::Answered(_) => {}
                }
            }
        }
    }
}

async fn answer_offer(media: &Media, offer: Offer) {
    let answer = match &offer.sdp {
        Some(sdp) => media.answer_offer(sdp).map(Some).map_err(|_| ()),
        None if offer.wants_offer() => Ok(Some(media.offer())),
        None => Ok(None),
    };
    offer.answer(answer).await;
}

fn hung_up(reason: Option<String>) -> Failure {
    let told = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    Failure::new(FailureReason::CallEnded, format_args!("The user hung up without a key{told}."))
}

/// Adds to the failure how many packets were dropped, since a key may have been among them.
pub(super) fn with_dropped(outcome: Outcome, dropped: Dropped) -> Outcome {
    let Dropped { packets, from_another_port } = dropped;
    match outcome {
        Outcome::Failed(failure) if packets > 0 && failure.reason() == FailureReason::NoKeyPressed => {
            let mut text = format!(
                "{failure} {packets} packets were dropped: they came from another address or port than the trunk \
                 named, or did not match the session description."
            );
            if from_another_port > 0 {
                text += &format!(
                    " Of these, {from_another_port} came from another port of that address: a trunk behind a NAT needs \
                     `learn_media_port`."
                );
            }
            Outcome::Failed(Failure::verbatim(failure.reason(), text))
        }
        outcome => outcome,
    }
}
