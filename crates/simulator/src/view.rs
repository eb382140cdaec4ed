//! What a page shows. The JSON of these types is the protocol between the server and the page.

use serde::{Deserialize, Serialize};

use crate::ending::Ending;

/// A telephone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Telephone {
    /// Its number as the line received it, such as `+14255551212`. Identifies the telephone.
    pub number: String,
    /// Whether a call is up.
    pub state: TelephoneState,
    /// The id of the call in `state`.
    pub call: Option<u64>,
    /// Whether it rejects calls as busy.
    pub is_busy: bool,
    /// How its calls end.
    pub ending: Ending,
}

/// The state of a telephone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TelephoneState {
    /// It has no call.
    Idle,
    /// It rings.
    Ringing,
    /// It was picked up.
    InCall,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Counts from 1.
    pub id: u64,
    /// The number of the telephone.
    pub number: String,
    /// The number that the telephone displays: the caller's.
    pub caller: String,
    /// The line that it came by: `sip` or `twilio_studio`.
    pub line: &'static str,
    /// How it ended, in a sentence. `None` until then.
    pub result: Option<String>,
    /// What happened, the oldest first.
    pub steps: Vec<Step>,
}

/// What happened in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When, in UTC (RFC 3339).
    pub at: String,
    /// What kind of step it is.
    pub kind: StepKind,
    /// One or more lines: a sentence, or a request or response of the line's protocol.
    pub text: String,
}

/// What kind of step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Something that the user of the telephone would notice.
    Event,
    /// A message of the protocol that PhoneGate sent.
    Received,
    /// A message of the protocol that the simulator sent.
    Sent,
}

/// Why a call was refused, or cannot succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// When, in UTC (RFC 3339).
    pub at: String,
    /// The number that was called, as the line received it. Cut after 32 characters.
    pub number: String,
    /// What the problem is, and what to do. Without the number, so that it can be logged.
    pub text: String,
}

/// An update of the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Update {
    /// Everything. The first update, and the next one of a page that was too slow.
    Snapshot {
        /// All telephones, in the order in which they first rang.
        telephones: Vec<Telephone>,
        /// The latest calls, the oldest first.
        calls: Vec<Call>,
        /// The latest problems, the oldest first.
        problems: Vec<Problem>,
    },
    /// A telephone that is new or has changed.
    Telephone(Telephone),
    /// A new call.
    Call(Call),
    /// The end of a call.
    CallEnded {
        /// The call.
        call: u64,
        /// How it ended, in a sentence.
        result: String,
    },
    /// A new problem.
    Problem(Problem),
    /// A further step of a call.
    Step {
        /// The call.
        call: u64,
        /// The step.
        step: Step,
    },
    /// Audio that a telephone plays: PCMU (G.711 µ-law), 8,000 samples a second, Base64.
    Audio {
        /// The call.
        call: u64,
        /// The samples.
        pcmu: String,
    },
    /// A sentence that a telephone speaks.
    Speech {
        /// The call.
        call: u64,
        /// The language, a tag of BCP 47.
        language: String,
        /// The sentence.
        text: String,
    },
    /// The simulator ends: the last update.
    SimulatorEnded,
}

/// What is done at a telephone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum TelephoneAction {
    /// Picks up.
    PickUp,
    /// Rejects the call that rings.
    Decline,
    /// Presses a key: a digit, `*` or `#`.
    Press {
        /// The key.
        key: char,
    },
    /// Hangs up.
    HangUp,
    /// Rejects further calls as busy, or no longer.
    SetBusy {
        /// Whether it does.
        busy: bool,
    },
    /// Sets how its calls end, from the next call on.
    SetEnding {
        /// How.
        ending: Ending,
    },
}
