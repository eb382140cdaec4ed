//! A call at its telephone, as the line that received it sees it.

use std::fmt;

use tokio::sync::{mpsc, watch};

use super::{Exchange, Line};
use crate::view::{StepKind, Update};

/// What a line must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answer the call.
    PickUp,
    /// Reject the call as busy.
    Decline,
    /// Send a key: a digit, `*` or `#`.
    Press(char),
    /// End the call.
    HangUp,
}

/// What a line has understood of a prompt.
#[derive(Clone, PartialEq, Eq)]
pub enum Heard {
    /// It asks for these digits, then `#`.
    Code(String),
    /// It asks for `#`.
    Pound,
    /// It asks for the PIN, then `#`.
    Pin,
    /// It asks for the PIN, then these digits, then `#`.
    PinAndCode(String),
}

/// A call that rings a telephone or was picked up. If it is dropped, the call has ended.
pub struct IncomingCall {
    exchange: Exchange,
    id: u64,
    actions: mpsc::Receiver<Action>,
    heard: watch::Sender<Option<Heard>>,
    script: tokio::task::JoinHandle<()>,
}

impl IncomingCall {
    pub(super) fn new(
        exchange: Exchange,
        id: u64,
        actions: mpsc::Receiver<Action>,
        heard: watch::Sender<Option<Heard>>,
        script: tokio::task::JoinHandle<()>,
    ) -> Self {
        Self { exchange, id, actions, heard, script }
    }

    /// Returns what shows messages of the call's protocol, also after its end.
    pub fn steps(&self) -> CallSteps {
        CallSteps::new(self.exchange.clone(), self.id)
    }

    /// Waits for what is done at the telephone. May be cancelled.
    pub async fn next(&mut self) -> Action {
        match self.actions.recv().await {
            Some(action) => action,
            // The sender is dropped only with the call.
            None => std::future::pending().await,
        }
    }

    /// Shows something that the user of the telephone would notice.
    pub fn event(&self, text: &str) {
        self.exchange.step(self.id, StepKind::Event, text);
    }

    /// Plays audio: PCMU in Base64, a tenth of a second or so at once.
    pub fn play(&self, pcmu: String) {
        let _ = self.exchange.updates.send(Update::Audio { call: self.id, pcmu });
    }

    /// Speaks a sentence.
    pub fn speak(&self, language: &str, text: &str) {
        self.event(text);
        let speech = Update::Speech { call: self.id, language: language.to_owned(), text: text.to_owned() };
        let _ = self.exchange.updates.send(speech);
    }

    /// Reports what the prompt asks for, once it was said.
    pub fn understood(&self, heard: Heard) {
        let _ = self.heard.send(Some(heard));
    }

    /// Ends the call, with a sentence about how.
    pub fn end(self, result: &str) {
        self.exchange.end_call(self.id, result);
    }
}

/// Shows what happens in a call, and the messages of its protocol. Cheap to clone.
#[derive(Clone)]
pub struct CallSteps {
    exchange: Exchange,
    id: u64,
}

impl CallSteps {
    pub(super) fn new(exchange: Exchange, id: u64) -> Self {
        Self { exchange, id }
    }

    /// Shows something that the user of the telephone would notice.
    pub fn event(&self, text: &str) {
        self.exchange.step(self.id, StepKind::Event, text);
    }

    /// Shows a message that PhoneGate sent. At most 4,096 bytes of it are kept.
    pub fn received(&self, message: &str) {
        self.exchange.step(self.id, StepKind::Received, message);
    }

    /// Shows a message that the simulator sent.
    pub fn sent(&self, message: &str) {
        self.exchange.step(self.id, StepKind::Sent, message);
    }
}

impl fmt::Debug for CallSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallSteps").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for IncomingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingCall").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        self.script.abort();
        let is_up = |line: &Line| line.telephone.call == Some(self.id);
        let is_up = self.exchange.state.lock().telephones.iter().any(is_up);
        if is_up {
            self.exchange.end_call(self.id, "The call has ended.");
        }
    }
}
