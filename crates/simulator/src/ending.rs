//! How a call ends at an unattended telephone.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::exchange::{Heard, Operator};
use crate::view::TelephoneAction;

/// The time for which a telephone rings before it is picked up by itself.
const PICK_UP_AFTER: Duration = Duration::from_millis(1_500);

/// The time between two keys.
const BETWEEN_KEYS: Duration = Duration::from_millis(300);

/// The time after which a prompt that is not understood is taken for one that asks for `#`. A prompt with a code says it
/// twice within this time.
const UNTIL_UNDERSTOOD: Duration = Duration::from_secs(20);

/// How the calls of a telephone end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The user of the page decides.
    #[default]
    ByHand,
    /// Picks up, listens, and presses what approves.
    Approve,
    /// Picks up, listens, and presses another code, at each prompt.
    WrongCode,
    /// Picks up, listens, and presses the fraud key.
    ReportFraud,
    /// Picks up, and presses nothing.
    NoKey,
    /// Picks up, and hangs up.
    HangUp,
    /// Rejects the call as busy.
    Busy,
    /// Lets it ring.
    NoAnswer,
}

impl Ending {
    /// All of them: the name in JSON and on the command line, and what it does.
    pub const ALL: [(Self, &str, &str); 8] = [
        (Self::ByHand, "by_hand", "waits for you to answer on the page"),
        (Self::Approve, "approve", "picks up, listens, and presses what approves"),
        (Self::WrongCode, "wrong_code", "picks up, listens, and presses another code"),
        (Self::ReportFraud, "report_fraud", "picks up, listens, and presses the fraud key"),
        (Self::NoKey, "no_key", "picks up, and presses nothing"),
        (Self::HangUp, "hang_up", "picks up, listens, and hangs up"),
        (Self::Busy, "busy", "rejects the call as busy"),
        (Self::NoAnswer, "no_answer", "lets it ring"),
    ];
}

/// What is pressed by [`Ending::Approve`] where the prompt asks for a PIN, and by [`Ending::ReportFraud`].
#[derive(Clone)]
pub struct Keys {
    /// The PIN of every telephone. `None` if PINs are not used.
    pub pin: Option<String>,
    /// The key that reports fraud.
    pub fraud: char,
}

impl Default for Keys {
    fn default() -> Self {
        Self { pin: None, fraud: '0' }
    }
}

/// Ends a call. Returns when nothing is left to do; what is done at a telephone whose call has ended has no effect.
pub(crate) async fn act(ending: Ending, keys: Keys, mut operator: Operator) {
    match ending {
        Ending::ByHand | Ending::NoAnswer => return,
        Ending::Busy => {
            operator.act(TelephoneAction::Decline);
            return;
        }
        _ => {}
    }
    sleep(PICK_UP_AFTER).await;
    // If it is refused, a user has picked up or declined in the meantime, and decides alone.
    if !operator.act(TelephoneAction::PickUp) || ending == Ending::NoKey {
        return;
    }
    let mut heard = timeout(UNTIL_UNDERSTOOD, operator.heard()).await.unwrap_or(Heard::Pound);
    loop {
        let entry = match ending {
            Ending::HangUp => {
                operator.act(TelephoneAction::HangUp);
                return;
            }
            Ending::ReportFraud => format!("{}#", keys.fraud),
            Ending::WrongCode => format!("{}#", wrong(&heard, &keys)),
            _ => format!("{}#", right(&heard, &keys)),
        };
        for key in entry.chars() {
            operator.act(TelephoneAction::Press { key });
            sleep(BETWEEN_KEYS).await;
        }
        if ending != Ending::WrongCode {
            return;
        }
        heard = operator.heard_again().await;
    }
}

fn right(heard: &Heard, keys: &Keys) -> String {
    let pin = keys.pin.as_deref().unwrap_or_default();
    match heard {
        Heard::Code(code) => code.clone(),
        Heard::Pound => String::new(),
        Heard::Pin => pin.to_owned(),
        Heard::PinAndCode(code) => format!("{pin}{code}"),
    }
}

/// The right entry with another last digit. It has no digit twice in a row where the right one has none, and is no fraud
/// report.
fn wrong(heard: &Heard, keys: &Keys) -> String {
    let mut digits: Vec<char> = right(heard, keys).chars().collect();
    let last = digits.pop().and_then(|digit| digit.to_digit(10)).unwrap_or_default();
    let other = (1..10).filter_map(|step| char::from_digit((last + step) % 10, 10));
    let allowed = |digit: &char| *digit != keys.fraud && digits.last() != Some(digit);
    let other = other.into_iter().find(allowed).unwrap_or('*');
    digits.push(other);
    digits.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_code_differs_from_the_right_one() {
        for code in ["471", "129", "1", "4789"] {
            let entry = wrong(&Heard::Code(code.to_owned()), &Keys::default());
            assert_ne!(entry, code);
            assert_eq!(entry.len(), code.len());
            assert!(!entry.contains('0'), "{entry} is no fraud report");
        }
        assert_eq!(wrong(&Heard::Pound, &Keys::default()).len(), 1);
    }

    #[test]
    fn the_names_of_endings_are_those_of_the_json() {
        for (ending, name, _) in Ending::ALL {
            assert_eq!(serde_json::to_value(ending).unwrap(), name);
        }
    }

    #[test]
    fn the_pin_is_pressed_before_the_code() {
        let keys = Keys { pin: Some("2580".to_owned()), ..Keys::default() };
        assert_eq!(right(&Heard::PinAndCode("471".to_owned()), &keys), "2580471");
        assert_eq!(right(&Heard::Pin, &keys), "2580");
    }
}
