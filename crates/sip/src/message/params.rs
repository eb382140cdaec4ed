//! Parameters of a URI or of a header value.

use super::error::HeaderProblem;
use super::{limits, scan};

/// The parameters after a URI or a header value, in their order (RFC 3261, 19.1.1 and 25.1).
///
/// At most [`limits::PARAMETERS`]; empty ones (`;;`) are skipped. Names are compared case-insensitively. In a URI,
/// names and values are compared without escapes (RFC 3261, 19.1.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    list: Vec<Param>,
    escaped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Param {
    name: String,
    value: Option<String>,
}

impl Params {
    /// Reads `a=b;c`, the part after the first semicolon. With `escaped`, `%` escapes are resolved on look-up.
    pub(crate) fn parse(text: &str, escaped: bool) -> Result<Self, HeaderProblem> {
        let mut list = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (param, after) = match scan::find(text, b";", false) {
                Ok(Some(semicolon)) => {
                    let (param, after) = scan::split_around(text, semicolon);
                    (param, Some(after))
                }
                Ok(None) => (text, None),
                Err(scan::Unbalanced) => return Err(HeaderProblem::Malformed),
            };
            rest = after;
            let param = scan::trim(param);
            if param.is_empty() {
                continue;
            }
            if list.len() == limits::PARAMETERS {
                return Err(HeaderProblem::TooMany);
            }
            let (name, value) = match param.split_once('=') {
                Some((name, value)) => (scan::trim(name), Some(scan::trim(value).to_owned())),
                None => (param, None),
            };
            list.push(Param { name: name.to_owned(), value });
        }
        Ok(Self { list, escaped })
    }

    /// Returns the value of the first parameter of this name: `Some("")` if it has none, `None` if it is absent.
    ///
    /// The value is as it was written, with its quotes and escapes.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Returns the value of the first parameter of this name without quotes and, in a URI, without escapes.
    ///
    /// An escape that does not yield UTF-8 yields the replacement character.
    pub fn get_decoded(&self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        Some(if self.escaped {
            String::from_utf8_lossy(&scan::percent_decode(value)).into_owned()
        } else {
            scan::unquote(value)
        })
    }

    /// Returns whether there is a parameter of this name, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns names and values as they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.list.iter().map(|param| (param.name.as_str(), param.value.as_deref()))
    }

    /// Returns whether a parameter that was written as `written` has this name.
    pub(crate) fn is_named(&self, written: &str, name: &str) -> bool {
        if self.escaped && written.contains('%') {
            scan::percent_decode(written).eq_ignore_ascii_case(name.as_bytes())
        } else {
            written.eq_ignore_ascii_case(name)
        }
    }

    /// Returns the value that identifies a dialog or a transaction.
    ///
    /// It must be visible ASCII of at most [`limits::IDENTIFIER`] bytes, and occur at most once, or have the same value
    /// each time.
    pub(crate) fn identifier(&self, name: &str) -> Result<Option<String>, HeaderProblem> {
        let mut values = self.values(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.any(|other| other != value) {
            return Err(HeaderProblem::Duplicated);
        }
        if value.len() > limits::IDENTIFIER {
            return Err(HeaderProblem::TooLong);
        }
        if !scan::is_visible(value) || value.contains(['"', '<', '>', ',']) {
            return Err(HeaderProblem::Malformed);
        }
        Ok(Some(value.to_owned()))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list
            .iter()
            .filter(move |param| self.is_named(&param.name, name))
            .map(|param| param.value.as_deref().unwrap_or(""))
    }
}
