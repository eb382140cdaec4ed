//! Texts with placeholders, such as `{number}`. They are parsed when the configuration is loaded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use phonegate_approval::policy::ROUNDS;
use secrecy::{ExposeSecret, SecretString};

use crate::call::Call;

/// A value that is put into a template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Placeholder {
    /// The number in E.164, with its `+`.
    Number,
    /// The number in E.164, without its `+`.
    NumberWithoutPlus,
    /// The digits to dial after the answer. Empty if there are none.
    Extension,
    /// PhoneGate's id of this handling of the request: a random GUID.
    CallId,
    /// The provider's id of the call.
    Reference,
    /// The digits that an entry attempt speaks: `4, 7, 1`. The first attempt is 1. Empty if the method has no code.
    Spoken(u8),
    /// The language as a tag of BCP 47.
    Language,
    /// The secret of this name.
    Secret(String),
}

impl Placeholder {
    /// Returns the entry attempt whose code it speaks.
    pub(super) fn spoken_attempt(&self) -> Option<u8> {
        match self {
            Self::Spoken(attempt) => Some(*attempt),
            _ => None,
        }
    }

    /// Returns the name of the secret that it is.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Self::Secret(name) => Some(name),
            _ => None,
        }
    }
}

/// What the templates of a request may use.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Whether the request starts a call, so that its number, codes and language are known.
    pub(super) starts_call: bool,
    /// Whether the request is about a call: `{call_id}`.
    pub(super) has_call: bool,
    /// Whether the provider's id of the call is known: `{reference}`.
    pub(super) has_reference: bool,
    /// The names in `secrets`.
    pub(super) secrets: &'a BTreeMap<String, SecretString>,
}

impl Scope<'_> {
    /// Reads the name of a placeholder.
    fn placeholder(&self, name: &str) -> Result<Placeholder, String> {
        let placeholder = match name {
            "number" => Placeholder::Number,
            "number_without_plus" => Placeholder::NumberWithoutPlus,
            "extension" => Placeholder::Extension,
            "call_id" => Placeholder::CallId,
            "reference" => Placeholder::Reference,
            "language" => Placeholder::Language,
            _ => match (name.strip_prefix("secrets."), name.strip_prefix("spoken_")) {
                (Some(secret), _) if self.secrets.contains_key(secret) => Placeholder::Secret(secret.to_owned()),
                (Some(secret), _) => return Err(format!("uses {{secrets.{secret}}}, but `secrets` has no `{secret}`")),
                (_, Some(attempt)) if attempt.parse().is_ok_and(|attempt| ROUNDS.contains(&attempt)) => {
                    Placeholder::Spoken(attempt.parse().unwrap_or_default())
                }
                _ => {
                    return Err(format!(
                        "has the unknown placeholder {{{name}}}; there are {{number}}, {{number_without_plus}}, \
                         {{extension}}, {{call_id}}, {{reference}}, {{spoken_1}} to {{spoken_10}}, {{language}} and \
                         {{secrets.NAME}}; write {{{{ for a brace"
                    ));
                }
            },
        };
        let is_known = match placeholder {
            Placeholder::Secret(_) => true,
            Placeholder::CallId => self.has_call,
            Placeholder::Reference => self.has_reference,
            _ => self.starts_call,
        };
        match is_known {
            true => Ok(placeholder),
            false if placeholder == Placeholder::Reference && self.has_call => Err("uses {reference}, which is only \
                known after the start, and only if the key `reference` says where the reply to `start` has it"
                .to_owned()),
            false => Err(format!("uses {{{name}}}, which is not known in this request")),
        }
    }
}

/// A text with placeholders. `{{` and `}}` stand for braces.
#[derive(Clone)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone)]
enum Part {
    Literal(String),
    Value(Placeholder),
}

impl Template {
    /// # Errors
    /// What is wrong with the text, without its subject.
    pub(super) fn parse(text: &str, scope: Scope<'_>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let followed_by_same = rest.as_str().starts_with(c);
            match c {
                '{' | '}' if followed_by_same => {
                    literal.push(c);
                    rest.next();
                }
                '{' => {
                    let Some((name, after)) = rest.as_str().split_once('}') else {
                        return Err("has a { without its }; write {{ for a brace".to_owned());
                    };
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                    parts.push(Part::Value(scope.placeholder(name)?));
                    rest = after.chars();
                }
                '}' => return Err("has a } without its {; write }} for a brace".to_owned()),
                c => literal.push(c),
            }
        }
        parts.push(Part::Literal(literal));
        Ok(Self(parts))
    }

    /// Returns the placeholders.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Value(placeholder) => Some(placeholder),
        })
    }

    /// Returns the texts between the placeholders.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Value(_) => None,
        })
    }

    /// Returns the text with its values, unencoded.
    ///
    /// # Errors
    /// A value is not known.
    pub(super) fn render(&self, values: &Values<'_>) -> Result<String, RenderError> {
        self.render_encoded(values, |value| Cow::Borrowed(value))
    }

    /// Returns the text with its values, each of which `encode` encodes.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub(super) fn render_encoded(
        &self,
        values: &Values<'_>,
        encode: impl Fn(&str) -> Cow<'_, str>,
    ) -> Result<String, RenderError> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value(placeholder) => {
                    let value = values.get(placeholder).ok_or(RenderError::Unknown)?;
                    text.push_str(&encode(&value));
                }
            }
        }
        Ok(text)
    }
}

/// Why a request cannot be written. The texts show no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RenderError {
    /// A value is not known in this request.
    Unknown,
    /// A value is empty or consists of dots, so the URL would be that of another resource.
    PathSegment,
    /// A value has characters that a header cannot contain.
    Header,
    /// The result is no URL of the same server.
    Url,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "a value is not known",
            Self::PathSegment => "a value in the path of the URL is empty, or consists of dots",
            Self::Header => "a value has characters that a header cannot contain",
            Self::Url => "the result is no URL of the provider",
        })
    }
}

/// The values of the placeholders.
pub(super) struct Values<'a> {
    /// The call to start. `None` in other requests.
    pub(super) call: Option<&'a Call>,
    /// The language of the call to start.
    pub(super) language: &'a str,
    pub(super) call_id: Option<&'a str>,
    pub(super) reference: Option<&'a str>,
    pub(super) secrets: &'a BTreeMap<String, SecretString>,
}

impl Values<'_> {
    fn get(&self, placeholder: &Placeholder) -> Option<Cow<'_, str>> {
        Some(match placeholder {
            Placeholder::Number => self.call?.number.e164().into(),
            Placeholder::NumberWithoutPlus => self.call?.number.e164().trim_start_matches('+').into(),
            Placeholder::Extension => self.call?.number.extension().unwrap_or_default().into(),
            Placeholder::CallId => self.call_id?.into(),
            Placeholder::Reference => self.reference?.into(),
            Placeholder::Spoken(attempt) => spoken(self.call?, *attempt).into(),
            Placeholder::Language => self.call.map(|_| self.language)?.into(),
            Placeholder::Secret(name) => self.secrets.get(name)?.expose_secret().into(),
        })
    }
}

/// Returns the digits of the code of an attempt, as a text-to-speech service speaks them one by one: `4, 7, 1`.
fn spoken(call: &Call, attempt: u8) -> String {
    let digits = call.attempts.code(attempt).map(|code| code.as_bytes()).unwrap_or_default();
    digits.iter().map(|digit| char::from(*digit).to_string()).collect::<Vec<_>>().join(", ")
}

/// Encodes a value for a path segment or a query (RFC 3986): every byte but letters, digits, `-`, `_` and `~`.
pub(super) fn percent_encode(value: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    if value.bytes().all(is_plain) {
        return Cow::Borrowed(value);
    }
    let encode = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(encode).collect::<String>().into()
}

#[cfg(test)]
mod tests;
