//! The values of headers that are neither addresses nor Via.

use std::fmt;

use super::error::HeaderProblem;
use super::method::Method;
use super::params::Params;
use super::scan;

/// The value of CSeq (RFC 3261, 20.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// The sequence number, less than 2³¹ (RFC 3261, 8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl CSeq {
    pub(crate) fn parse(text: &str) -> Result<Self, HeaderProblem> {
        let (number, method) = text.split_once(scan::is_blank).ok_or(HeaderProblem::Malformed)?;
        let method = Method::parse(scan::trim(method)).ok_or(HeaderProblem::Malformed)?;
        Ok(Self { number: sequence_number(number)?, method })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// The value of RAck (RFC 3262, 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq of the acknowledged response, less than 2³¹.
    pub rseq: u32,
    /// The CSeq of the acknowledged response.
    pub cseq: CSeq,
}

impl RAck {
    pub(crate) fn parse(text: &str) -> Result<Self, HeaderProblem> {
        let (rseq, cseq) = text.split_once(scan::is_blank).ok_or(HeaderProblem::Malformed)?;
        Ok(Self { rseq: sequence_number(rseq)?, cseq: CSeq::parse(scan::trim(cseq))? })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

/// Reads a number that is less than 2³¹.
pub(crate) fn sequence_number(text: &str) -> Result<u32, HeaderProblem> {
    let number = scan::number(text).map_err(|_| HeaderProblem::Malformed)?;
    number.filter(|&number| number < 1 << 31).ok_or(HeaderProblem::OutOfRange)
}

/// Parses seconds before a parameter or a comment. Values beyond 32 bits are treated as `u32::MAX`.
pub(crate) fn seconds(text: &str) -> Result<u32, HeaderProblem> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, after) = text.split_at_checked(end).ok_or(HeaderProblem::Malformed)?;
    if !matches!(scan::trim(after).bytes().next(), None | Some(b';' | b'(')) {
        return Err(HeaderProblem::Malformed);
    }
    let number = scan::number(digits).map_err(|_| HeaderProblem::Malformed)?;
    Ok(number.unwrap_or(u32::MAX))
}

/// The value of Session-Expires (RFC 4028, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval in seconds.
    pub seconds: u32,
    /// The side that refreshes the session, if specified.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    pub(crate) fn parse(text: &str) -> Result<Self, HeaderProblem> {
        let params = text.split_once(';').map_or("", |(_, params)| params);
        let params = Params::parse(params, false)?;
        let refresher = match params.get("refresher") {
            None => None,
            Some(text) if text.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(text) if text.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) => return Err(HeaderProblem::Malformed),
        };
        Ok(Self { seconds: seconds(text)?, refresher })
    }
}

/// The side that refreshes a session, relative to the request that negotiates it (RFC 4028, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The sender of the request.
    Uac,
    /// The receiver of the request.
    Uas,
}

/// The value of Content-Type (RFC 3261, 20.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    media_type: String,
    params: Params,
}

impl ContentType {
    pub(crate) fn parse(text: &str) -> Result<Self, HeaderProblem> {
        let (media_type, params) = text.split_once(';').unwrap_or((text, ""));
        let (main, sub) = media_type.split_once('/').ok_or(HeaderProblem::Malformed)?;
        let (main, sub) = (scan::trim(main), scan::trim(sub));
        if !scan::is_token(main.as_bytes()) || !scan::is_token(sub.as_bytes()) {
            return Err(HeaderProblem::Malformed);
        }
        let media_type = format!("{main}/{sub}").to_ascii_lowercase();
        Ok(Self { media_type, params: Params::parse(params, false)? })
    }

    /// Returns the type and subtype in lower case without blanks: `application/sdp`.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns the parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

/// A value of Reason (RFC 3326): why a request or a response was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The protocol that the cause belongs to as it was written: `Q.850`, `SIP`.
    pub protocol: String,
    /// The cause, if it is a number of at most 16 bits.
    pub cause: Option<u16>,
    /// The text without quotes.
    pub text: Option<String>,
}

impl Reason {
    pub(crate) fn parse(text: &str) -> Result<Self, HeaderProblem> {
        let (protocol, params) = text.split_once(';').unwrap_or((text, ""));
        let protocol = scan::trim(protocol);
        if !scan::is_token(protocol.as_bytes()) {
            return Err(HeaderProblem::Malformed);
        }
        let params = Params::parse(params, false)?;
        let cause = params.get_decoded("cause").and_then(|cause| scan::small_number(&cause));
        Ok(Self { protocol: protocol.to_owned(), cause, text: params.get_decoded("text") })
    }

    /// Returns the cause if its protocol is Q.850, whose causes the telephone network uses.
    pub fn q850(&self) -> Option<u16> {
        self.cause.filter(|_| self.protocol.eq_ignore_ascii_case("Q.850"))
    }
}
