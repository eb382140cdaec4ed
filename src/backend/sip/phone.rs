//! The telephone line of one call, as a conversation sees it.

use tokio::sync::mpsc;

use super::conversation::{Line, Prompt};
use super::media::{Keys, Media};
use crate::prompts::Composition;

/// A call that is answered.
pub(super) struct Phone<'a> {
    pub(super) media: &'a Media,
    pub(super) greeting: Composition,
    pub(super) wrong_key: Composition,
    /// Keys in the audio stream.
    pub(super) events: &'a mut Keys,
    /// Keys by SIP INFO, if no key events were agreed on. Some send each key both ways.
    pub(super) info: &'a mut mpsc::Receiver<char>,
}

impl Line for Phone<'_> {
    async fn say_until_key(&mut self, prompt: Prompt) -> Option<char> {
        let said = self.media.say(match prompt {
            Prompt::Greeting => self.greeting.clone(),
            Prompt::WrongKey => self.wrong_key.clone(),
        });
        tokio::select! {
            biased;
            key = self.key() => {
                self.media.be_silent();
                Some(key)
            }
            _ = said => None,
        }
    }

    async fn press(&mut self, digits: &str) -> bool {
        match self.media.press(digits) {
            Some(pressed) => pressed.await.is_ok(),
            None => false,
        }
    }

    async fn key(&mut self) -> char {
        tokio::select! {
            biased;
            Some(key) = self.events.recv() => key,
            Some(key) = self.info.recv() => key,
            // Both are closed: no key can come any more.
            else => std::future::pending().await,
        }
    }

    fn forget_keys(&mut self) {
        while self.info.try_recv().is_ok() {}
        self.media.listen();
    }
}
