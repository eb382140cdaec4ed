//! The telephones and their calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{broadcast, mpsc, watch};

use crate::ending::{self, Ending, Keys};
use crate::view::{Call, Step, StepKind, Telephone, TelephoneAction, TelephoneState, Update};

/// Maximum number of telephones. A call to a further number is rejected as busy.
pub const MAX_TELEPHONES: usize = 100;

/// Maximum number of calls that are kept for the page.
pub const MAX_CALLS: usize = 50;

/// Maximum number of steps that are kept of a call, and of bytes of a step's text.
pub const MAX_STEPS: usize = 200;
const MAX_STEP_BYTES: usize = 4_096;

/// Actions of a telephone that its line has not yet taken. Further ones are ignored.
const MAX_ACTIONS: usize = 64;

/// Updates that a page may be behind before it gets a snapshot.
const MAX_UPDATES: usize = 1_024;

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

/// How the telephones of an [`Exchange`] behave.
#[derive(Clone)]
pub struct Behaviour {
    /// How the calls of each new telephone end.
    pub ending: Ending,
    /// The time after which a call that was not picked up at the page ends by [`Ending::Approve`].
    pub approve_after: Option<Duration>,
    /// What is pressed.
    pub keys: Keys,
}

/// The telephones. Cheap to clone.
#[derive(Clone)]
pub struct Exchange {
    state: Arc<Mutex<State>>,
    updates: broadcast::Sender<Update>,
    behaviour: Behaviour,
}

struct State {
    telephones: Vec<Line>,
    calls: VecDeque<Call>,
    last_call: u64,
}

struct Line {
    telephone: Telephone,
    /// Of the call that is up.
    actions: Option<mpsc::Sender<Action>>,
}

impl Exchange {
    /// Creates an exchange without telephones. They appear when they are called, or by [`Exchange::add`].
    pub fn new(behaviour: Behaviour) -> Self {
        let state = State { telephones: Vec::new(), calls: VecDeque::new(), last_call: 0 };
        Self { state: Arc::new(Mutex::new(state)), updates: broadcast::channel(MAX_UPDATES).0, behaviour }
    }

    /// Adds a telephone that was not called yet. Returns false if there are too many.
    pub fn add(&self, number: &str) -> bool {
        let mut state = self.state.lock();
        let Some(line) = state.line(number, self.behaviour.ending) else { return false };
        let _ = self.updates.send(Update::Telephone(line.telephone.clone()));
        true
    }

    /// Returns everything that a page shows, and the updates after it.
    pub fn subscribe(&self) -> (Update, broadcast::Receiver<Update>) {
        // Under the lock, so that no update is missing or in both.
        let state = self.state.lock();
        let telephones = state.telephones.iter().map(|line| line.telephone.clone()).collect();
        (Update::Snapshot { telephones, calls: state.calls.iter().cloned().collect() }, self.updates.subscribe())
    }

    /// Rings the telephone with this number, for a call of a line (`sip`, `twilio_studio`). Call it within a tokio
    /// runtime.
    ///
    /// `None` if the telephone is busy: the line rejects the call.
    pub fn ring(&self, line: &'static str, number: &str, caller: &str) -> Option<IncomingCall> {
        let mut state = self.state.lock();
        state.last_call += 1;
        let id = state.last_call;
        let call =
            Call { id, number: number.to_owned(), caller: caller.to_owned(), line, result: None, steps: Vec::new() };
        let (sender, actions) = mpsc::channel(MAX_ACTIONS);
        let telephone = state.line(number, self.behaviour.ending);
        let ending = telephone.and_then(|line| {
            if line.telephone.is_busy || line.telephone.state != TelephoneState::Idle {
                return None;
            }
            line.actions = Some(sender);
            line.telephone.state = TelephoneState::Ringing;
            line.telephone.call = Some(id);
            let _ = self.updates.send(Update::Telephone(line.telephone.clone()));
            Some(line.telephone.ending)
        });
        if state.calls.len() == MAX_CALLS {
            state.calls.pop_front();
        }
        let _ = self.updates.send(Update::Call(call.clone()));
        state.calls.push_back(call);
        drop(state);
        let Some(ending) = ending else {
            self.end_call(id, "The telephone is busy.");
            return None;
        };
        let (heard, hears) = watch::channel(None);
        self.step(id, StepKind::Event, "The telephone rings.");
        let operator = Operator { exchange: self.clone(), number: number.to_owned(), call: id, heard: hears };
        let script = tokio::spawn(self.clone().run_ending(ending, operator));
        Some(IncomingCall { exchange: self.clone(), id, number: number.to_owned(), actions, heard, script })
    }

    async fn run_ending(self, ending: Ending, operator: Operator) {
        let keys = self.behaviour.keys.clone();
        match (ending, self.behaviour.approve_after) {
            (Ending::ByHand, Some(after)) => {
                tokio::time::sleep(after).await;
                if operator.is_ringing() {
                    self.step(operator.call, StepKind::Event, "No one picked up, so the simulator does.");
                    ending::act(Ending::Approve, keys, operator).await;
                }
            }
            _ => ending::act(ending, keys, operator).await,
        }
    }

    /// Does something at a telephone. Returns whether it could be done: false for an unknown number, for a key that no
    /// telephone has, and for what the telephone's state does not allow.
    pub fn act(&self, number: &str, action: &TelephoneAction) -> bool {
        let mut state = self.state.lock();
        let Some(line) = state.telephones.iter_mut().find(|line| line.telephone.number == number) else {
            return false;
        };
        let to_do = match (action, line.telephone.state) {
            (TelephoneAction::PickUp, TelephoneState::Ringing) => Action::PickUp,
            (TelephoneAction::Decline, TelephoneState::Ringing) => Action::Decline,
            (TelephoneAction::HangUp, TelephoneState::InCall) => Action::HangUp,
            (TelephoneAction::Press { key }, TelephoneState::InCall) if is_key(*key) => Action::Press(*key),
            (TelephoneAction::SetBusy { busy }, _) => {
                line.telephone.is_busy = *busy;
                let _ = self.updates.send(Update::Telephone(line.telephone.clone()));
                return true;
            }
            (TelephoneAction::SetEnding { ending }, _) => {
                line.telephone.ending = *ending;
                let _ = self.updates.send(Update::Telephone(line.telephone.clone()));
                return true;
            }
            _ => return false,
        };
        let is_accepted = line.actions.as_ref().is_some_and(|actions| actions.try_send(to_do).is_ok());
        let call = line.telephone.call;
        if is_accepted && to_do == Action::PickUp {
            line.telephone.state = TelephoneState::InCall;
            let _ = self.updates.send(Update::Telephone(line.telephone.clone()));
        }
        drop(state);
        if let (true, Some(call)) = (is_accepted, call) {
            self.step(call, StepKind::Event, &sentence(to_do));
        }
        is_accepted
    }

    fn step(&self, call: u64, kind: StepKind, text: &str) {
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let mut end = text.len().min(MAX_STEP_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let step = Step { at, kind, text: text.get(..end).unwrap_or_default().to_owned() };
        let mut state = self.state.lock();
        if let Some(call) = state.calls.iter_mut().find(|kept| kept.id == call)
            && call.steps.len() < MAX_STEPS
        {
            call.steps.push(step.clone());
            let _ = self.updates.send(Update::Step { call: call.id, step });
        }
    }

    fn end_call(&self, id: u64, result: &str) {
        self.step(id, StepKind::Event, result);
        let mut state = self.state.lock();
        if let Some(call) = state.calls.iter_mut().find(|call| call.id == id) {
            call.result = Some(result.to_owned());
            let _ = self.updates.send(Update::Call(call.clone()));
        }
        if let Some(line) = state.telephones.iter_mut().find(|line| line.telephone.call == Some(id)) {
            line.actions = None;
            line.telephone.state = TelephoneState::Idle;
            line.telephone.call = None;
            let _ = self.updates.send(Update::Telephone(line.telephone.clone()));
        }
    }
}

impl State {
    /// Returns the telephone with this number, a new one if there is none. `None` if there are too many.
    fn line(&mut self, number: &str, ending: Ending) -> Option<&mut Line> {
        let at = self.telephones.iter().position(|line| line.telephone.number == number);
        let at = match at {
            Some(at) => at,
            None if self.telephones.len() == MAX_TELEPHONES => return None,
            None => {
                let telephone = Telephone {
                    number: number.to_owned(),
                    state: TelephoneState::Idle,
                    call: None,
                    is_busy: false,
                    ending,
                };
                self.telephones.push(Line { telephone, actions: None });
                self.telephones.len() - 1
            }
        };
        self.telephones.get_mut(at)
    }
}

pub(crate) fn is_key(key: char) -> bool {
    key.is_ascii_digit() || key == '*' || key == '#'
}

fn sentence(action: Action) -> String {
    match action {
        Action::PickUp => "Picked up.".to_owned(),
        Action::Decline => "Declined.".to_owned(),
        Action::Press(key) => format!("Pressed {key}."),
        Action::HangUp => "Hung up.".to_owned(),
    }
}

/// A call that rings a telephone or was picked up. If it is dropped, the call has ended.
pub struct IncomingCall {
    exchange: Exchange,
    id: u64,
    number: String,
    actions: mpsc::Receiver<Action>,
    heard: watch::Sender<Option<Heard>>,
    script: tokio::task::JoinHandle<()>,
}

impl IncomingCall {
    /// Returns the number of the telephone.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// Returns what shows messages of the call's protocol, also after its end.
    pub fn steps(&self) -> CallSteps {
        CallSteps { exchange: self.exchange.clone(), id: self.id }
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

/// Shows messages of a call's protocol. Cheap to clone.
#[derive(Clone)]
pub struct CallSteps {
    exchange: Exchange,
    id: u64,
}

impl CallSteps {
    /// Shows a message that PhoneGate sent. At most 4,096 bytes of it are kept.
    pub fn received(&self, message: &str) {
        self.exchange.step(self.id, StepKind::Received, message);
    }

    /// Shows a message that the simulator sent.
    pub fn sent(&self, message: &str) {
        self.exchange.step(self.id, StepKind::Sent, message);
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

/// Acts at the telephone of one call.
pub(crate) struct Operator {
    exchange: Exchange,
    number: String,
    call: u64,
    heard: watch::Receiver<Option<Heard>>,
}

impl Operator {
    /// Does something at the telephone while it has this call. Returns whether it could be done, as
    /// [`Exchange::act`].
    pub(crate) fn act(&self, action: TelephoneAction) -> bool {
        self.telephone().is_some() && self.exchange.act(&self.number, &action)
    }

    pub(crate) fn is_ringing(&self) -> bool {
        self.telephone().is_some_and(|telephone| telephone.state == TelephoneState::Ringing)
    }

    /// Waits until the line has understood the prompt.
    pub(crate) async fn heard(&mut self) -> Heard {
        match self.heard.wait_for(Option::is_some).await.ok().and_then(|heard| heard.clone()) {
            Some(heard) => heard,
            // The call has ended, and its script with it.
            None => std::future::pending().await,
        }
    }

    /// Waits until the line has understood another prompt than that of the last [`Operator::heard`].
    pub(crate) async fn heard_again(&mut self) -> Heard {
        // An error means that the call has ended, which `heard` finds as well.
        let _ = self.heard.changed().await;
        self.heard().await
    }

    fn telephone(&self) -> Option<Telephone> {
        let state = self.exchange.state.lock();
        let mut telephones = state.telephones.iter().map(|line| &line.telephone);
        telephones.find(|telephone| telephone.call == Some(self.call)).cloned()
    }
}

#[cfg(test)]
mod tests;
