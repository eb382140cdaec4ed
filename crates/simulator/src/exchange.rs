//! The telephones and their calls.
//!
//! | module | what it is for |
//! |---|---|
//! | `incoming` | a call at its telephone, as the line that received it sees it |
//! | `operator` | acts at a telephone as its user would |

mod incoming;
mod operator;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{broadcast, mpsc, watch};

use crate::ending::{self, Ending, Keys};
use crate::view::{Call, Problem, Step, StepKind, Telephone, TelephoneAction, TelephoneState, Update};
pub use incoming::{Action, CallSteps, Heard, IncomingCall};
pub(crate) use operator::Operator;

/// Maximum number of telephones. A call to a further number is refused.
pub const MAX_TELEPHONES: usize = 100;

/// Why a call to a further number is refused, and what to do.
pub(crate) const NO_MORE_TELEPHONES: &str = "The simulator already has 100 telephones, the maximum: restart it to \
    remove them.";

/// Maximum number of calls that are kept for the page. Those that have ended are forgotten first.
pub const MAX_CALLS: usize = 50;

/// Maximum number of steps that are kept of a call, and of messages among them.
pub const MAX_STEPS: usize = 200;
const MAX_MESSAGES: usize = 150;

/// Maximum size of a step's text, in bytes.
const MAX_STEP_BYTES: usize = 4_096;

/// Maximum size of the steps of a call as JSON, and the size up to which messages are kept, in bytes. The rest is for
/// events: the page shows them as keys and captions, too. Twilio Studio's messages of one call have about 30,000 bytes.
const MAX_CALL_BYTES: usize = 64 * 1_024;
const MAX_MESSAGE_BYTES: usize = 48 * 1_024;

/// The event in place of the messages that are not kept.
const NO_MORE_MESSAGES: &str = "This call exceeds 150 messages or 48 KB, so the page shows no more of its messages.";

/// Maximum number of problems that are kept for the page, and of characters of a problem's number.
pub const MAX_PROBLEMS: usize = 20;
const MAX_NUMBER: usize = 32;

/// Actions of a telephone that its line has not yet taken. Further ones are ignored.
const MAX_ACTIONS: usize = 64;

/// Updates that a page may be behind before it gets a snapshot.
const MAX_UPDATES: usize = 1_024;

/// How the telephones of an [`Exchange`] behave.
#[derive(Clone)]
pub struct Behaviour {
    /// How the calls of each new telephone end.
    pub ending: Ending,
    /// The time after which a call that was not picked up on the page ends by [`Ending::Approve`].
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
    calls: VecDeque<KeptCall>,
    problems: VecDeque<Problem>,
    last_call: u64,
}

/// A call as it is kept for the page.
struct KeptCall {
    call: Call,
    /// Number of messages among its steps.
    messages: usize,
    /// The size of its steps as JSON, in bytes.
    bytes: usize,
    /// Whether a message was not kept.
    is_cut: bool,
}

struct Line {
    telephone: Telephone,
    /// Of the call that is up.
    actions: Option<mpsc::Sender<Action>>,
}

/// Why no telephone rings.
#[derive(Debug)]
pub enum RingError {
    /// The telephone is busy: the line rejects the call, and shows its messages with these.
    Busy(CallSteps),
    /// There are [`MAX_TELEPHONES`], none of which has the number. The exchange has reported this problem.
    TooManyTelephones,
}

impl Exchange {
    /// Creates an exchange without telephones. They appear when they are called, or by [`Exchange::add`].
    pub fn new(behaviour: Behaviour) -> Self {
        let state = State { telephones: Vec::new(), calls: VecDeque::new(), problems: VecDeque::new(), last_call: 0 };
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
        let calls = state.calls.iter().map(|kept| kept.call.clone()).collect();
        let problems = state.problems.iter().cloned().collect();
        (Update::Snapshot { telephones, calls, problems }, self.updates.subscribe())
    }

    /// Reports the end of the simulator to all that have subscribed, and waits until each has received it and
    /// unsubscribed.
    pub async fn end(&self) {
        let _ = self.updates.send(Update::SimulatorEnded);
        self.updates.closed().await;
    }

    /// Reports why a call was refused, or cannot succeed. The text is also logged, so it must not contain the number.
    pub fn report_problem(&self, number: &str, text: &str) {
        let number = number.chars().take(MAX_NUMBER).collect();
        let problem = Problem { at: now(), number, text: cut(text) };
        let mut state = self.state.lock();
        if state.problems.len() == MAX_PROBLEMS {
            state.problems.pop_front();
        }
        state.problems.push_back(problem.clone());
        let _ = self.updates.send(Update::Problem(problem));
    }

    /// Rings the telephone with this number, for a call of a line (`sip`, `twilio_studio`). Call it within a tokio
    /// runtime.
    ///
    /// # Errors
    /// No telephone rings.
    pub fn ring(&self, line: &'static str, number: &str, caller: &str) -> Result<IncomingCall, RingError> {
        let mut state = self.state.lock();
        let id = state.last_call.saturating_add(1);
        let Some(called) = state.line(number, self.behaviour.ending) else {
            drop(state);
            self.report_problem(number, NO_MORE_TELEPHONES);
            return Err(RingError::TooManyTelephones);
        };
        let (sender, actions) = mpsc::channel(MAX_ACTIONS);
        let is_free = !called.telephone.is_busy && called.telephone.state == TelephoneState::Idle;
        if is_free {
            called.actions = Some(sender);
            called.telephone.state = TelephoneState::Ringing;
            called.telephone.call = Some(id);
            let _ = self.updates.send(Update::Telephone(called.telephone.clone()));
        }
        let ending = called.telephone.ending;
        state.last_call = id;
        if state.calls.len() == MAX_CALLS {
            // The page removes the same one.
            let oldest = state.calls.iter().position(|kept| kept.call.result.is_some()).unwrap_or_default();
            state.calls.remove(oldest);
        }
        let call =
            Call { id, number: number.to_owned(), caller: caller.to_owned(), line, result: None, steps: Vec::new() };
        let _ = self.updates.send(Update::Call(call.clone()));
        state.calls.push_back(KeptCall { call, messages: 0, bytes: 0, is_cut: false });
        drop(state);
        if !is_free {
            self.end_call(id, "The telephone is busy.");
            return Err(RingError::Busy(CallSteps::new(self.clone(), id)));
        }
        self.step(id, StepKind::Event, "The telephone rings.");
        let (heard, hears) = watch::channel(None);
        let script = self.clone().run_ending(ending, Operator::new(self.clone(), number, id, hears));
        Ok(IncomingCall::new(self.clone(), id, actions, heard, tokio::spawn(script)))
    }

    async fn run_ending(self, ending: Ending, operator: Operator) {
        let keys = self.behaviour.keys.clone();
        match (ending, self.behaviour.approve_after) {
            (Ending::ByHand, Some(after)) => {
                tokio::time::sleep(after).await;
                if operator.is_ringing() {
                    self.step(operator.call(), StepKind::Event, "No one picked up, so the simulator does.");
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
        let mut state = self.state.lock();
        let Some(kept) = state.calls.iter_mut().find(|kept| kept.call.id == call) else { return };
        if let Some(step) = kept.add(kind, text) {
            let _ = self.updates.send(Update::Step { call, step });
        }
    }

    fn end_call(&self, id: u64, result: &str) {
        self.step(id, StepKind::Event, result);
        let mut state = self.state.lock();
        if let Some(KeptCall { call, .. }) = state.calls.iter_mut().find(|kept| kept.call.id == id) {
            call.result = Some(result.to_owned());
            let _ = self.updates.send(Update::CallEnded { call: id, result: result.to_owned() });
        }
        if let Some(line) = state.telephones.iter_mut().find(|line| line.telephone.call == Some(id)) {
            line.actions = None;
            line.telephone.state = TelephoneState::Idle;
            line.telephone.call = None;
            let _ = self.updates.send(Update::Telephone(line.telephone.clone()));
        }
    }
}

impl KeptCall {
    /// Adds a step, and returns what the page shows: the step, the notice in its place, or `None` if there is no room.
    fn add(&mut self, kind: StepKind, text: &str) -> Option<Step> {
        let is_message = kind != StepKind::Event;
        // After the first message that is not kept, none is kept, so that there is no gap.
        if is_message && self.is_cut || self.call.steps.len() >= MAX_STEPS {
            return None;
        }
        let step = Step { at: now(), kind, text: cut(text) };
        let bytes = self.bytes.saturating_add(json_bytes(&step));
        if is_message && (self.messages >= MAX_MESSAGES || bytes > MAX_MESSAGE_BYTES) {
            self.is_cut = true;
            return self.add(StepKind::Event, NO_MORE_MESSAGES);
        }
        if bytes > MAX_CALL_BYTES {
            return None;
        }
        self.bytes = bytes;
        self.messages = self.messages.saturating_add(usize::from(is_message));
        self.call.steps.push(step.clone());
        Some(step)
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

/// Returns the current time in RFC 3339.
pub(crate) fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

/// Returns a text without what exceeds the maximum.
fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_STEP_BYTES)).unwrap_or_default().to_owned()
}

/// Returns the size of a step as JSON: a control character has six bytes there.
fn json_bytes(step: &Step) -> usize {
    serde_json::to_string(step).map_or(usize::MAX, |json| json.len())
}

fn sentence(action: Action) -> String {
    match action {
        Action::PickUp => "Picked up.".to_owned(),
        Action::Decline => "Declined.".to_owned(),
        Action::Press(key) => format!("Pressed {key}."),
        Action::HangUp => "Hung up.".to_owned(),
    }
}

#[cfg(test)]
mod tests;
