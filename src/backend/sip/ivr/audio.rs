//! The audio of an established SIP call, as the dialogue with the user sees it.

use std::time::Duration;

use phonegate_approval::script::Script;
use tokio::sync::mpsc;

use super::super::media::{DigitReceiver, Media, PlaybackEvent};
use super::{AudioEvent, CallAudio};
use crate::prompts::{ComposeError, Language};

/// The audio of an established SIP call.
pub(in crate::backend::sip) struct MediaAudio<'a> {
    pub(in crate::backend::sip) media: &'a Media,
    pub(in crate::backend::sip) language: &'a Language,
    /// Digits from telephone events.
    pub(in crate::backend::sip) digits: &'a mut DigitReceiver,
    /// Digits from INFO requests, if no telephone events were negotiated. Some peers send each digit both ways.
    pub(in crate::backend::sip) info_digits: &'a mut DigitReceiver,
    /// The progress of the script that is playing.
    pub(in crate::backend::sip) playback: Option<mpsc::Receiver<PlaybackEvent>>,
}

impl CallAudio for MediaAudio<'_> {
    fn now(&self) -> Duration {
        self.media.now()
    }

    fn play(&mut self, script: Script<'_>) -> Result<(), ComposeError> {
        let prompt = self.language.compose(script.pieces())?;
        self.playback = Some(self.media.play(prompt));
        Ok(())
    }

    fn stop(&mut self) {
        self.media.stop();
        self.playback = None;
    }

    async fn next_event(&mut self) -> AudioEvent {
        loop {
            let playback = async {
                match &mut self.playback {
                    Some(playback) => playback.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = playback => match event {
                    Some(event) => return AudioEvent::Playback(event),
                    None => self.playback = None,
                },
                Some(press) = self.digits.recv() => return AudioEvent::Digit(press),
                Some(press) = self.info_digits.recv() => return AudioEvent::Digit(press),
            }
        }
    }

    async fn send_digits(&mut self, digits: &str) -> bool {
        match self.media.send_digits(digits) {
            Some(pressed) => pressed.await.is_ok(),
            None => false,
        }
    }

    fn discard_digits(&mut self) {
        while self.info_digits.try_recv().is_ok() {}
        self.media.accept_digits();
    }
}
