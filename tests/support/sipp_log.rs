//! Judges the messages that sipp received without expecting them: a repetition is legal, anything else is a fault.

use std::collections::{HashMap, HashSet};

/// The line between two entries of sipp's log of messages.
const RULE: &str = "-----------------------------------------------";

/// The messages that sipp received and did not expect, without those that it had received before, byte for byte.
///
/// `messages` is sipp's log of messages, `errors` its log of errors.
pub fn unexpected(messages: &str, errors: &str) -> Vec<String> {
    if !errors.contains("Continuing call on") {
        return Vec::new();
    }
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    let (mut is_repeated, mut repetitions) = (false, HashMap::<_, usize>::new());
    for entry in messages.split(RULE) {
        // An entry that is not all in the log yet has no message, or one that the errors do not mention yet.
        let Some((head, message)) = entry.split_once("\n\n") else { continue };
        if head.contains(" message received [") {
            is_repeated = !seen.insert(message);
            if let (true, Some(request)) = (is_repeated, request(message)) {
                *repetitions.entry(request).or_default() += 1;
            }
        } else if head.contains("Unexpected") && !is_repeated {
            found.push(message.to_owned());
        }
    }
    // sipp reports an unexpected BYE or CANCEL only in its log of errors. That log has no line ends: the Call-ID is
    // followed by the time of the next entry.
    for notice in errors.split("Continuing call on").skip(1) {
        let Some((words, id)) = notice.split_once(" for call: ") else { continue };
        let method = words.rsplit(' ').next().unwrap_or_default();
        let is_this = |(of, call): &(&str, &str)| *of == method && id.starts_with(call);
        match repetitions.iter_mut().find(|(request, left)| is_this(request) && **left > 0) {
            Some((_, left)) => *left -= 1,
            None => found.push(format!("{method} in the call {id}")),
        }
    }
    found
}

/// The method and the Call-ID of a request.
fn request(message: &str) -> Option<(&str, &str)> {
    let (method, _) = message.split_once(' ')?;
    let id = message.lines().find_map(|line| line.strip_prefix("Call-ID:"))?;
    Some((method, id.trim()))
}
