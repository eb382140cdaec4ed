//! The values of From, To, Contact, Route and their kind.

use std::fmt;

use super::error::{HeaderProblem, UriError};
use super::params::Params;
use super::scan;
use super::uri::Uri;

/// A display name, a URI and parameters: `"Desk" <sip:desk@example.com>;tag=1` (RFC 3261, 20.10).
///
/// Bytes that are not UTF-8 become replacement characters. That leaves the other parts as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct NameAddr {
    display_name: Option<String>,
    uri: String,
    /// Whether the URI has no angle brackets, so that `;` and `?` cannot belong to it.
    bare: bool,
    params: Params,
    tag: Option<String>,
}

impl NameAddr {
    /// Reads one value. Without angle brackets, the parameters belong to the header and not to the URI.
    ///
    /// Lenient for the display name, which may have characters that should be quoted. The URI is read by [`Self::uri`]
    /// only, so a malformed URI that is not needed has no effect.
    ///
    /// # Errors
    /// A quoted string or an angle bracket does not end, the URI is missing, something other than parameters follows
    /// it, there are too many of them, or `tag` occurs twice, is empty or too long.
    pub fn parse(text: &str) -> Result<Self, HeaderProblem> {
        Self::read(text, false)
    }

    /// Reads an element of Route or Record-Route. Without angle brackets, which it should have, all of it is the URI.
    pub(crate) fn parse_route(text: &str) -> Result<Self, HeaderProblem> {
        Self::read(text, true)
    }

    fn read(text: &str, bare_is_uri: bool) -> Result<Self, HeaderProblem> {
        let text = scan::trim(text);
        let bracket = scan::find(text, b"<", false).map_err(|_| HeaderProblem::Malformed)?;
        let (display_name, uri, params) = match bracket {
            Some(bracket) => {
                let (name, after) = scan::split_around(text, bracket);
                let (uri, after) = after.split_once('>').ok_or(HeaderProblem::Malformed)?;
                let after = scan::trim(after);
                let params = match after.strip_prefix(';') {
                    Some(params) => params,
                    None if after.is_empty() => "",
                    None => return Err(HeaderProblem::Malformed),
                };
                let name = scan::trim(name);
                (Some(scan::unquote(name)).filter(|name| !name.is_empty()), uri, params)
            }
            None if bare_is_uri => (None, text, ""),
            None => {
                let (uri, params) = text.split_once(';').unwrap_or((text, ""));
                (None, uri, params)
            }
        };
        let uri = scan::trim(uri);
        if uri.is_empty() {
            return Err(HeaderProblem::Malformed);
        }
        let params = Params::parse(params, false)?;
        let tag = params.identifier("tag")?;
        let bare = bracket.is_none() && !bare_is_uri;
        Ok(Self { display_name, uri: uri.to_owned(), bare, params, tag })
    }

    /// Returns the display name without quotes, if there is one that is not empty.
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// Reads the URI.
    ///
    /// # Errors
    /// As [`Uri::parse`]. A Contact of `*` has no URI. A URI with `?` needs angle brackets (RFC 3261, 20).
    pub fn uri(&self) -> Result<Uri, UriError> {
        if self.bare && self.uri.contains('?') {
            return Err(UriError::Character);
        }
        Uri::parse(&self.uri)
    }

    /// Returns the URI as it was written.
    pub fn uri_text(&self) -> &str {
        &self.uri
    }

    /// Returns the parameters of the header.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Returns the parameter `tag`, which is compared exactly.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
}

/// Shows only the tag: name and URI are personal data.
impl fmt::Debug for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameAddr").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// Writes the value with angle brackets and a quoted display name, without control characters.
///
/// This is how an element of Record-Route becomes one of Route.
impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.display_name {
            f.write_str("\"")?;
            for c in name.chars().filter(|c| !c.is_control()) {
                if c == '"' || c == '\\' {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\" ")?;
        }
        write!(f, "<{}>", self.uri)?;
        for (name, value) in self.params.iter() {
            write!(f, ";{name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}
