//! The texts of a flow: variables such as `{{flow.data.name}}`, and the markup of speech.

use std::time::Duration;

use serde_json::Value;

/// Maximum length of a text whose variables are replaced, in bytes. The rest is cut.
const MAX_BYTES: usize = 8_192;

/// Replaces the variables of a text by their values in the context. The only filter that is known is `remove`, as in
/// `{{flow.data.name | remove: '#'}}`. What cannot be found is empty.
pub(super) fn resolve(text: &str, context: &Value) -> String {
    let mut resolved = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((expression, after)) = after.split_once("}}") else { break };
        push(&mut resolved, before);
        push(&mut resolved, &value(expression, context));
        rest = after;
    }
    push(&mut resolved, rest);
    resolved
}

fn value(expression: &str, context: &Value) -> String {
    let (path, filter) = expression.split_once('|').unwrap_or((expression, ""));
    let found = path.trim().split('.').try_fold(context, |value, key| value.get(key));
    let found = found.and_then(Value::as_str).unwrap_or_default();
    let removed = filter.trim().strip_prefix("remove: '").and_then(|text| text.strip_suffix('\''));
    match removed.filter(|removed| !removed.is_empty()) {
        Some(removed) => found.replace(removed, ""),
        None => found.to_owned(),
    }
}

fn push(resolved: &mut String, text: &str) {
    let left = MAX_BYTES.saturating_sub(resolved.len());
    resolved.push_str(text.get(..text.floor_char_boundary(left)).unwrap_or_default());
}

/// Returns the number of the first `{{flow.data.spoken_N}}` of a text, which says a code, and the text up to its end.
pub(super) fn first_code(text: &str) -> Option<(&str, &str)> {
    let variable = "{{flow.data.spoken_";
    let begin = text.find(variable)?.checked_add(variable.len())?;
    let length = text.get(begin..)?.find("}}")?;
    let end = begin.checked_add(length)?;
    Some((text.get(begin..end)?, text.get(..end.checked_add(2)?)?))
}

/// Returns a text without markup, and the pauses that the markup asks for.
pub(super) fn spoken(text: &str) -> (String, Duration) {
    let (mut plain, mut pauses) = (String::new(), Duration::ZERO);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((tag, after)) = after.split_once('>') else { break };
        plain.push_str(before);
        let seconds = tag.strip_prefix("break time=\"").and_then(|time| time.split_once("s\"")?.0.parse::<u8>().ok());
        pauses = pauses.saturating_add(Duration::from_secs(seconds.unwrap_or_default().into()));
        rest = after;
    }
    plain.push_str(rest);
    (plain.trim().to_owned(), pauses)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_replaced_by_their_values() {
        let context = json!({ "flow": { "data": { "a": "4#", "n": 1 } } });
        for (text, expected) in [
            ("say {{flow.data.a}}.", "say 4#."),
            ("{{ flow.data.a | remove: '#' }}", "4"),
            ("{{flow.data.n}}{{flow.data.none}}{{x}}", ""),
            ("{{flow.data.a", "{{flow.data.a"),
        ] {
            assert_eq!(resolve(text, &context), expected);
        }
    }

    #[test]
    fn a_replaced_text_has_a_maximum_length() {
        let context = json!({ "a": "ü".repeat(3_000) });
        assert_eq!(resolve("x{{a}}{{a}}{{a}}", &context).len(), MAX_BYTES - 1, "whole characters");
    }

    #[test]
    fn markup_is_not_spoken_but_its_pauses_count() {
        let expected = ("Press pound.".to_owned(), Duration::from_secs(3));
        assert_eq!(spoken("Press pound. <break time=\"3s\"/>"), expected);
        assert_eq!(first_code("Press {{flow.data.spoken_2}}, then"), Some(("2", "Press {{flow.data.spoken_2}}")));
    }
}
