//! URIs: `sip:` and `sips:` in parts, all others as text.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::{HeaderProblem, UriError};
use super::params::Params;
use super::{limits, scan};

/// A URI of at most [`limits::URI`] bytes (RFC 3261, 19.1). It is displayed as it was written.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Uri {
    /// A `sip:` or `sips:` URI.
    Sip(SipUri),
    /// A `tel:` URI (RFC 3966), kept as text with its scheme.
    Tel(String),
    /// A URI of another scheme, kept as text with its scheme.
    Other(String),
}

impl Uri {
    /// Reads a URI without angle brackets and blanks around it.
    ///
    /// # Errors
    /// Strict for the host and the port, because they decide where a request goes; lenient for parameters and headers.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if text.len() > limits::URI {
            return Err(UriError::TooLong);
        }
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || "<>\"\u{fffd}".contains(c);
        if text.contains(forbidden) {
            return Err(UriError::Character);
        }
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let mut letters = scheme.bytes();
        let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme || rest.is_empty() {
            return Err(UriError::Scheme);
        }
        match scheme.to_ascii_lowercase().as_str() {
            "sip" => SipUri::parse(text, rest, false).map(Self::Sip),
            "sips" => SipUri::parse(text, rest, true).map(Self::Sip),
            "tel" => Ok(Self::Tel(text.to_owned())),
            _ => Ok(Self::Other(text.to_owned())),
        }
    }

    /// Returns the parts of a `sip:` or `sips:` URI.
    pub fn as_sip(&self) -> Option<&SipUri> {
        match self {
            Self::Sip(uri) => Some(uri),
            Self::Tel(_) | Self::Other(_) => None,
        }
    }

    /// Returns the URI as it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sip(uri) => &uri.text,
            Self::Tel(text) | Self::Other(text) => text,
        }
    }
}

/// Shows the host only, because the user part is personal.
impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(uri) => uri.fmt_host(f),
            Self::Tel(_) => f.write_str("Tel"),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A `sip:` or `sips:` URI (RFC 3261, 19.1.1).
#[derive(Clone, PartialEq, Eq)]
pub struct SipUri {
    text: String,
    /// Length of the part before the parameters, in bytes.
    base: usize,
    secure: bool,
    user: Option<String>,
    password: Option<String>,
    host: Host,
    port: Option<u16>,
    params: Params,
    headers: Option<String>,
}

impl SipUri {
    fn parse(text: &str, rest: &str, secure: bool) -> Result<Self, UriError> {
        // A user part may have `;` and `?`, so the `@` is looked for first. Neither a host nor a parameter may have one.
        let (userinfo, after) = match rest.split_once('@') {
            Some((_, after)) if after.contains('@') => return Err(UriError::User),
            Some((userinfo, after)) => (Some(userinfo), after),
            None => (None, rest),
        };
        if !after.is_ascii() {
            return Err(UriError::Character);
        }
        let (user, password) = match userinfo.map(|info| info.split_once(':').unwrap_or((info, ""))) {
            Some(("", _)) => return Err(UriError::User),
            Some((user, password)) => (Some(user), Some(password).filter(|password| !password.is_empty())),
            None => (None, None),
        };
        if !userinfo.is_none_or(scan::escapes_are_complete) {
            return Err(UriError::Escape);
        }
        let (after, headers) = match after.split_once('?') {
            Some((after, headers)) => (after, Some(headers)),
            None => (after, None),
        };
        let (host_port, params) = after.split_once(';').unwrap_or((after, ""));
        let (host, port) = parse_host_port(host_port)?;
        let params = Params::parse(params, true).map_err(|problem| match problem {
            HeaderProblem::TooMany => UriError::TooManyParameters,
            _ => UriError::Character,
        })?;
        let tail = after.len().saturating_sub(host_port.len());
        let headers_length = headers.map_or(0, |headers| headers.len().saturating_add(1));
        Ok(Self {
            base: text.len().saturating_sub(tail).saturating_sub(headers_length),
            text: text.to_owned(),
            secure,
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
            host,
            port,
            params,
            headers: headers.map(str::to_owned),
        })
    }

    fn fmt_host(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SipUri").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }

    /// Returns whether the scheme is `sips`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Returns the user part as it was written, with its parameters (`+14255550100;npdi`) and escapes, and without
    /// the password.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the user part with its escapes resolved. It may have any byte, NUL and line ends among them.
    pub fn user_decoded(&self) -> Option<Vec<u8>> {
        self.user().map(scan::percent_decode)
    }

    /// Returns whether both user parts are the same once escapes are resolved (RFC 3261, 19.1.4).
    pub fn has_same_user(&self, other: &Self) -> bool {
        self.user_decoded() == other.user_decoded()
    }

    /// Returns whether both URIs are equivalent (RFC 3261, 19.1.4).
    pub fn is_equivalent(&self, other: &Self) -> bool {
        let same_authority = self.secure == other.secure
            && self.has_same_user(other)
            && self.password == other.password
            && self.host == other.host
            && self.port == other.port;
        let covers = |one: &Params, other: &Params| {
            one.iter().all(|(name, _)| match (one.get_decoded(name), other.get_decoded(name)) {
                (Some(value), Some(found)) => value.eq_ignore_ascii_case(&found),
                // These have defaults, which differ from every explicit value.
                _ => !["user", "ttl", "method", "maddr"].iter().any(|special| one.is_named(name, special)),
            })
        };
        let same_headers = match (&self.headers, &other.headers) {
            (None, None) => true,
            (Some(one), Some(other)) => sorted_headers(one) == sorted_headers(other),
            _ => false,
        };
        same_authority && same_headers && covers(&self.params, &other.params) && covers(&other.params, &self.params)
    }

    /// Returns the password as it was written.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port, if one is written. It may be 0, which is no usable destination.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the parameters after the host.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Returns the parameter `transport` as it was written.
    pub fn transport(&self) -> Option<&str> {
        self.params.get("transport")
    }

    /// Returns whether the parameter `lr` is there, with or without a value: a loose router (RFC 3261, 16.12).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }

    /// Returns the part after `?` as it was written.
    pub fn headers(&self) -> Option<&str> {
        self.headers.as_deref()
    }

    /// Returns the URI as a Request-URI: without `method` and without headers (RFC 3261, 19.1.1 and 12.2.1.1).
    pub fn to_request_uri(&self) -> String {
        let mut text = self.text.get(..self.base).unwrap_or(&self.text).to_owned();
        for (name, value) in self.params.iter() {
            if self.params.is_named(name, "method") {
                continue;
            }
            text.push(';');
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
        text
    }
}

/// Shows the host only, because the user part is personal.
impl fmt::Debug for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_host(f)
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The headers of a URI without regard to their order.
fn sorted_headers(headers: &str) -> Vec<Vec<u8>> {
    let mut headers: Vec<_> = headers.split('&').map(scan::percent_decode).collect();
    headers.sort_unstable();
    headers
}

/// The host of a URI or of a Via. Displayed as a URI needs it: an IPv6 address has brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Reads `host`, `host:port` or either with an IPv6 address in brackets. Blanks around the colon are allowed.
pub(crate) fn parse_host_port(text: &str) -> Result<(Host, Option<u16>), UriError> {
    let (host, after) = if let Some(inner) = text.strip_prefix('[') {
        let (address, after) = inner.split_once(']').ok_or(UriError::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| UriError::Host)?;
        (Host::Ip(IpAddr::V6(address)), after)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (host, after) = text.split_at_checked(end).ok_or(UriError::Host)?;
        (parse_name(scan::trim(host))?, after)
    };
    let after = scan::trim(after);
    if after.is_empty() {
        return Ok((host, None));
    }
    let port = after.strip_prefix(':').map(scan::trim).ok_or(UriError::Host)?;
    Ok((host, Some(scan::small_number(port).ok_or(UriError::Port)?)))
}

/// Reads a host name or an IPv4 address. Underscores are accepted, because private networks have them.
fn parse_name(name: &str) -> Result<Host, UriError> {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if name.len() > 255 || !labels.split('.').all(is_label) {
        return Err(UriError::Host);
    }
    // A name whose last label is a number can only be an address (RFC 3261, 25.1, toplabel).
    let last = labels.rsplit('.').next().unwrap_or(labels);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        let address: Ipv4Addr = name.parse().map_err(|_| UriError::Host)?;
        return Ok(Host::Ip(IpAddr::V4(address)));
    }
    Ok(Host::Name(name.to_ascii_lowercase()))
}
