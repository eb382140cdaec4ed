//! A call from its ringing to its outcome, and the farewell after it.

use std::time::Duration;

use tokio::sync::mpsc;

use super::conversation::{Policy, converse, farewell};
use super::leg::{Info, Leg, LegEvent};
use super::media::{Keys, MAX_KEYS, Media};
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
        // If this is dropped and called again, the call is as it was.
        if !self.is_answered
            && let Err(failure) = self.until_answered().await
        {
            return Outcome::Failed(failure);
        }
        self.is_answered = true;
        on_progress(Progress::Answered);
        let outcome = match self.until_resumed().await {
            Ok(()) => self.converse(policy).await,
            Err(failure) => Outcome::Failed(failure),
        };
        self.media.summary().explain(outcome)
    }

    /// Asks the user, and answers the requests of the other side meanwhile.
    async fn converse(&mut self, policy: Policy) -> Outcome {
        let (told, mut info) = mpsc::channel(MAX_KEYS);
        let mut phone = Phone { media: &self.media, language: &self.language, events: &mut self.keys, info: &mut info };
        let conversation = converse(&mut phone, policy, self.extension.as_deref());
        tokio::pin!(conversation);
        loop {
            tokio::select! {
                biased;
                outcome = &mut conversation => return outcome,
                event = self.leg.next() => match event {
                    LegEvent::Info(info) => {
                        if let Some(key) = answer_info(&self.media, info).await {
                            // Who presses more keys than are read has none that counts.
                            let _ = told.try_send(key);
                        }
                    }
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
                LegEvent::Info(info) => drop(answer_info(&self.media, info).await),
                LegEvent::Broken(problem) => {
                    let sentence = format_args!("The call broke: {}.", foreign_text(&problem));
                    return Err(Failure::new(FailureReason::CannotPlace, sentence));
                }
                LegEvent::HungUp(reason) => return Err(hung_up(reason)),
            }
        };
        // Nothing is awaited between the answer and its use, so that a drop cannot lose it.
        let accepted = self.media.accept_answer(&answer);
        self.media.set_answered();
        let Err(problem) = accepted else { return Ok(()) };
        // Nothing could be heard of a farewell.
        let _ = self.leg.hang_up().await;
        let sentence = format_args!("The call has no audio: its SDP answer cannot be used: {problem}.");
        Err(Failure::new(FailureReason::CannotPlace, sentence))
    }

    /// Waits while the other side holds the call. Some PBXs answer so, and send a re-INVITE once they have connected the
    /// telephone. The call's deadline bounds the wait.
    async fn until_resumed(&mut self) -> Result<(), Failure> {
        while self.media.is_on_hold() {
            match self.leg.next().await {
                LegEvent::Offer(offer) => answer_offer(&self.media, offer).await,
                // No key counts before the first prompt.
                LegEvent::Info(info) => drop(answer_info(&self.media, info).await),
                LegEvent::HungUp(reason) => return Err(hung_up(reason)),
                LegEvent::Broken(problem) => return Err(hung_up(Some(foreign_text(&problem)))),
                LegEvent::Provisional(_) | LegEvent::Answered(_) | LegEvent::Refused(_) => {}
            }
        }
        Ok(())
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
                    LegEvent::Info(info) => drop(answer_info(&self.media, info).await),
                    LegEvent::Provisional(_) | LegEvent::Answered(_) => {}
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

/// Answers an INFO request: with 200 if its key counts in this call, or if it has no body (RFC 2976, section 2.2); else
/// with 415. Returns the key.
async fn answer_info(media: &Media, info: Info) -> Option<char> {
    let key = media.receive_info(&info.content_type, &info.body).ok();
    let is_accepted = key.is_some() || info.body.is_empty();
    info.answer(is_accepted).await;
    key
}

fn hung_up(reason: Option<String>) -> Failure {
    let told = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    Failure::new(FailureReason::CallEnded, format_args!("The user hung up without a key{told}."))
}
