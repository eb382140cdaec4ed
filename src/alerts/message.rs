//! The text of an alert for people: the same for e-mail, Teams and syslog.

use time::OffsetDateTime;
use time::macros::format_description;

use super::AlertKind;
use super::alert::Alert;
use crate::clock::utc;

/// Maximum length of an alert's text, in characters. With four bytes each, the message still fits into the 8 KiB that
/// rsyslog takes.
const MAX_TEXT: usize = 1_500;

/// Maximum length of each other part, in characters.
const MAX_PART: usize = 200;

/// An alert as text. No part has control characters, except that `text` may have line breaks.
pub(super) struct Message {
    /// One line: the machine and the title.
    pub(super) subject: String,
    /// A short title: what happened.
    pub(super) title: &'static str,
    /// What happened and what to do.
    pub(super) text: String,
    /// Further facts, such as `("Machine", "WEB1")`.
    pub(super) facts: Vec<(&'static str, String)>,
}

impl Message {
    pub(super) fn of(alert: &Alert) -> Self {
        let title = title(alert.kind);
        let node = part(&alert.node);
        let mut facts = vec![("Machine", node.clone()), ("Time", time_text(utc(alert.at)))];
        let optional = [
            ("Number", alert.number.as_deref().map(part)),
            ("Call", alert.call.map(|call| call.to_string())),
            ("Backend", alert.backend.as_deref().map(part)),
        ];
        facts.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        facts.push(("Alert", format!("{} {}", alert.kind.name(), alert.id)));
        Self { subject: format!("PhoneGate on {node}: {title}"), title, text: lines(&alert.text), facts }
    }
}

fn title(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Fraud => "a user reported fraud",
        AlertKind::Lockout => "a number is locked after denied calls",
        AlertKind::CapReached => "a daily limit of calls was reached",
        AlertKind::BackendDown => "a backend does not work",
        AlertKind::BackendUp => "a backend or the store works again",
        AlertKind::Configuration => "the configuration was refused",
        AlertKind::StoreDown => "the store cannot be used",
        AlertKind::Test => "this is a test",
    }
}

fn time_text(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    at.format(format).unwrap_or_default()
}

/// One line without control characters, of at most [`MAX_PART`] characters.
pub(super) fn part(text: &str) -> String {
    cut(text.chars().map(|c| if is_control(c) { ' ' } else { c }), MAX_PART)
}

/// Lines without other control characters, of at most [`MAX_TEXT`] characters in all.
fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    cut(text.chars().map(|c| if c != '\n' && is_control(c) { ' ' } else { c }), MAX_TEXT)
}

/// Control characters, and those that break or reorder lines.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn cut(characters: impl Iterator<Item = char>, limit: usize) -> String {
    let mut text = String::new();
    for (count, c) in characters.enumerate() {
        if count == limit {
            // The last character makes room for the mark.
            text.pop();
            text.push('…');
            break;
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests;
