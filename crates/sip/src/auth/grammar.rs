//! Splits the value of a header into schemes and their parameters (RFC 7235, section 4.1, read leniently).

use super::ChallengeError;
use super::algorithm::is_blank;

/// The maximum number of schemes in one value.
const MAX_SCHEMES: usize = 8;

/// The maximum number of parameters of one scheme.
const MAX_PARAMETERS: usize = 32;

/// A scheme with its parameters, or what is wrong with them.
pub(super) struct Scheme<'a> {
    pub(super) name: &'a [u8],
    pub(super) parameters: Vec<(&'a [u8], Text)>,
    pub(super) problem: Option<ChallengeError>,
}

/// A parameter's value as it appears inside a quoted string: with escapes, without quotation marks.
///
/// Credentials repeat this text unchanged, for servers that compare it byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(Box<[u8]>);

impl Text {
    /// Returns the text between the quotation marks.
    pub(super) fn quoted(&self) -> &[u8] {
        &self.0
    }

    /// Returns the value without escapes.
    pub(super) fn value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.0.len());
        let mut bytes = self.0.iter();
        while let Some(byte) = bytes.next() {
            // A text never ends with a lone backslash.
            let byte = if *byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte };
            value.push(*byte);
        }
        value
    }

    /// Escapes a value.
    pub(super) fn escape(value: &[u8]) -> Self {
        let mut text = Vec::with_capacity(value.len());
        for byte in value {
            if matches!(byte, b'"' | b'\\') {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        Self(text.into())
    }
}

/// Splits a value into schemes. Parameters may be separated by commas, blanks or both. A token without a value is
/// ignored, unless it can only be a scheme. Parsing stops at the first violation, which becomes the `problem` of the
/// last scheme.
pub(super) fn split(value: &[u8]) -> Vec<Scheme<'_>> {
    let mut found: Vec<Scheme<'_>> = Vec::new();
    let mut rest = value;
    loop {
        rest = skip(rest, |byte| is_blank(byte) || byte == b',');
        if rest.is_empty() {
            return found;
        }
        let (token, after) = take_token(rest);
        if token.is_empty() {
            return with_problem(found, ChallengeError::Malformed);
        }
        let Some(text) = after_equals(after) else {
            if token.eq_ignore_ascii_case(b"digest") || found.is_empty() || starts_with_parameter(after) {
                if found.len() >= MAX_SCHEMES {
                    return with_problem(found, ChallengeError::TooManyParts);
                }
                found.push(Scheme { name: token, parameters: Vec::new(), problem: None });
            }
            rest = after;
            continue;
        };
        let Some((text, after)) = take_value(text) else {
            return with_problem(found, ChallengeError::Malformed);
        };
        match found.last_mut() {
            Some(scheme) if scheme.parameters.len() < MAX_PARAMETERS => scheme.parameters.push((token, text)),
            Some(_) => return with_problem(found, ChallengeError::TooManyParts),
            None => return with_problem(found, ChallengeError::Malformed),
        }
        rest = after;
    }
}

fn with_problem(mut found: Vec<Scheme<'_>>, problem: ChallengeError) -> Vec<Scheme<'_>> {
    match found.last_mut() {
        Some(scheme) => scheme.problem = Some(problem),
        None => found.push(Scheme { name: b"", parameters: Vec::new(), problem: Some(problem) }),
    }
    found
}

/// Returns whether a parameter follows. If so, the token before it is a scheme.
fn starts_with_parameter(rest: &[u8]) -> bool {
    let (token, after) = take_token(skip(rest, is_blank));
    !token.is_empty() && after_equals(after).is_some()
}

/// Returns the rest after an equals sign and the blanks around it.
fn after_equals(rest: &[u8]) -> Option<&[u8]> {
    skip(rest, is_blank).strip_prefix(b"=").map(|after| skip(after, is_blank))
}

fn take_token(rest: &[u8]) -> (&[u8], &[u8]) {
    split_where(rest, |byte| !is_token(byte))
}

/// Reads a quoted string or a bare value, and returns what follows it.
fn take_value(rest: &[u8]) -> Option<(Text, &[u8])> {
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let (bare, after) = split_where(rest, |byte| is_blank(byte) || byte == b',');
        return (!bare.contains(&b'"')).then(|| (Text::escape(bare), after));
    };
    let mut is_escaped = false;
    let end = quoted.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    let (text, after) = quoted.split_at_checked(end)?;
    Some((Text(text.into()), after.strip_prefix(b"\"")?))
}

fn skip(rest: &[u8], is_skipped: impl Fn(u8) -> bool) -> &[u8] {
    split_where(rest, |byte| !is_skipped(byte)).1
}

fn split_where(rest: &[u8], is_end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len());
    rest.split_at_checked(end).unwrap_or((rest, &[]))
}

/// Returns whether a byte may occur in a token (RFC 3261, section 25.1), or is `/`, which some servers leave unquoted.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~/".contains(&byte)
}
