//! The telephone line of one call, as a conversation sees it.

use std::time::Duration;

use phonegate_approval::script::Script;
use tokio::sync::mpsc;

use super::conversation::{Line, LineEvent};
use super::media::{Keys, Media, SpeechEvent};
use crate::prompts::{ComposeError, Language};

/// A call that is answered.
pub(super) struct Phone<'a> {
    pub(super) media: &'a Media,
    pub(super) language: &'a Language,
    /// Keys in the audio stream.
    pub(super) events: &'a mut Keys,
    /// Keys by SIP INFO, if no key events were agreed on. Some send each key both ways.
    pub(super) info: &'a mut Keys,
    /// The prompt that is being spoken.
    pub(super) speech: Option<mpsc::Receiver<SpeechEvent>>,
}

impl Line for Phone<'_> {
    fn now(&self) -> Duration {
        self.media.now()
    }

    fn speak(&mut self, script: Script<'_>) -> Result<(), ComposeError> {
        let prompt = self.language.compose(script.pieces())?;
        self.speech = Some(self.media.say(prompt));
        Ok(())
    }

    fn stop_speaking(&mut self) {
        self.media.be_silent();
        self.speech = None;
    }

    async fn event(&mut self) -> LineEvent {
        loop {
            let speech = async {
                match &mut self.speech {
                    Some(speech) => speech.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = speech => match event {
                    Some(event) => return LineEvent::Speech(event),
                    None => self.speech = None,
                },
                Some(press) = self.events.recv() => return LineEvent::Key(press),
                Some(press) = self.info.recv() => return LineEvent::Key(press),
            }
        }
    }

    async fn press(&mut self, digits: &str) -> bool {
        match self.media.press(digits) {
            Some(pressed) => pressed.await.is_ok(),
            None => false,
        }
    }

    fn forget_keys(&mut self) {
        while self.info.try_recv().is_ok() {}
        self.media.listen();
    }
}
