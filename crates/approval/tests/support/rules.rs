//! The rules a second time, as conditions on what was pressed and heard, to compare the state machine with.
//!
//! They hold if the check of a PIN takes no time.

use phonegate_approval::policy::Method;

use super::{Call, PIN, Press, Prompt};

/// The effect of a `#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    Approval,
    Fraud,
    Nothing,
}

const PAUSE: u64 = 3_000;
const UNTIL_HEARD: u64 = 1_000;

/// Returns the effect that the key at `index`, which is `#`, must have in a call in which all keys up to it were
/// pressed.
pub fn worth(method: Method, fraud_key: char, call: &Call, keys: &[Press], index: usize) -> Worth {
    let before = |index: usize| index.checked_sub(1).map(|before| keys[before]);
    // Whether the key at `index` begins: after `#`, after a pause, or as the first one.
    let begins = |index: usize| before(index).is_none_or(|(at, key)| key == '#' || keys[index].0 - at >= PAUSE);
    if let Some((at, key)) = before(index)
        && key == fraud_key
        && begins(index - 1)
        && (keys[index].0 - at < PAUSE
            || !call.prompts.iter().any(|prompt| is_heard(method, prompt, at + PAUSE, keys[index].0)))
    {
        return Worth::Fraud;
    }
    let mut first = index;
    while !begins(first) {
        first -= 1;
    }
    let entry: String = keys[first..index].iter().map(|(_, key)| *key).collect();
    let (pressed, not_before) = match before(first) {
        None => (keys[first].0, 0),
        Some((at, '#')) => (keys[first].0, at),
        Some((at, _)) => (keys[first].0, at + PAUSE),
    };
    let is_right = call.prompts.iter().any(|prompt| {
        let right = match method {
            Method::Code => prompt.code.clone(),
            Method::Pound => String::new(),
            Method::Pin => PIN.to_owned(),
            Method::PinAndCode => format!("{PIN}{}", prompt.code),
        };
        is_heard(method, prompt, not_before, pressed) && entry == right
    });
    if is_right { Worth::Approval } else { Worth::Nothing }
}

/// Returns whether a prompt began at or after one time, and was heard at another: its code began to be spoken, or a
/// second of it.
fn is_heard(method: Method, prompt: &Prompt, not_before: u64, at: u64) -> bool {
    let heard = if method.has_code() {
        prompt.pieces.iter().find(|(_, piece)| piece.is_digit()).map(|(began, _)| *began)
    } else {
        prompt.pieces.first().map(|(began, _)| began + UNTIL_HEARD)
    };
    prompt.at >= not_before && heard.is_some_and(|heard| heard <= at)
}
