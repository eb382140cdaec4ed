//! Parses the headers of a message, each when the caller asks for it.

use super::error::{HeaderProblem, MessageError};
use super::name_addr::NameAddr;
use super::values::{self, CSeq, ContentType, RAck, Reason, SessionExpires};
use super::via::Via;
use super::{Message, header, limits, scan};

/// The headers that every message must have (RFC 3261, 8.1.1), as [`Message::essentials`] reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Essentials<'a> {
    /// The Call-ID.
    pub call_id: &'a str,
    /// The CSeq; that of a request has the request's method.
    pub cseq: CSeq,
    /// The From. Peers that follow RFC 2543 send no tag.
    pub from: NameAddr,
    /// The To.
    pub to: NameAddr,
    /// The topmost Via.
    pub via: Via,
}

/// Parses headers.
///
/// Each method fails with [`MessageError::Header`], which names the header, if the value is malformed or exceeds a
/// limit, and, for a header that may occur only once, if it occurs twice. Methods that return an `Option` return
/// `Ok(None)` if the header is missing; lists are empty then. Empty elements of a list are skipped.
impl Message {
    /// Parses the headers that every message must have.
    ///
    /// # Errors
    /// The first header that is missing, duplicated or malformed. The agent responds to such a request with 400 if its Via
    /// can be parsed, and drops such a response.
    pub fn essentials(&self) -> Result<Essentials<'_>, MessageError> {
        let essentials = Essentials {
            call_id: self.call_id()?,
            cseq: self.cseq()?,
            from: self.from_header()?,
            to: self.to_header()?,
            via: self.top_via()?,
        };
        if self.method().is_some_and(|method| *method != essentials.cseq.method) {
            return Err(MessageError::header(header::CSEQ, HeaderProblem::MethodMismatch));
        }
        Ok(essentials)
    }

    /// Reads Call-ID, which is compared exactly: visible ASCII of at most [`limits::IDENTIFIER`] bytes.
    pub fn call_id(&self) -> Result<&str, MessageError> {
        let text = self.required(header::CALL_ID, self.text(header::CALL_ID))?;
        let error = |problem| Err(MessageError::header(header::CALL_ID, problem));
        match text {
            _ if text.len() > limits::IDENTIFIER => error(HeaderProblem::TooLong),
            _ if !scan::is_visible(text) => error(HeaderProblem::Malformed),
            _ => Ok(text),
        }
    }

    /// Reads CSeq.
    pub fn cseq(&self) -> Result<CSeq, MessageError> {
        self.required(header::CSEQ, self.parsed(header::CSEQ, CSeq::parse))
    }

    /// Reads From.
    pub fn from_header(&self) -> Result<NameAddr, MessageError> {
        self.required(header::FROM, self.parsed_lossy(header::FROM, NameAddr::parse))
    }

    /// Reads To.
    pub fn to_header(&self) -> Result<NameAddr, MessageError> {
        self.required(header::TO, self.parsed_lossy(header::TO, NameAddr::parse))
    }

    /// Parses the topmost Via. Errors in others are ignored.
    pub fn top_via(&self) -> Result<Via, MessageError> {
        let error = |problem| MessageError::header(header::VIA, problem);
        let value = self.header_values(header::VIA).next().ok_or(error(HeaderProblem::Missing))?;
        let text = String::from_utf8_lossy(value);
        let first = scan::elements(&text).next().and_then(Result::ok).ok_or(error(HeaderProblem::Malformed))?;
        Via::parse(first).map_err(error)
    }

    /// Reads all Via. A response to a user agent has exactly one (RFC 3261, 8.1.3.3).
    pub fn vias(&self) -> Result<Vec<Via>, MessageError> {
        self.list(header::VIA, Via::parse)
    }

    /// Reads Contact. A value of `*` has no URI.
    pub fn contacts(&self) -> Result<Vec<NameAddr>, MessageError> {
        self.list(header::CONTACT, NameAddr::parse)
    }

    /// Reads Route, the next hop first.
    pub fn routes(&self) -> Result<Vec<NameAddr>, MessageError> {
        self.list(header::ROUTE, NameAddr::parse_route)
    }

    /// Reads Record-Route in the order of the message.
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, MessageError> {
        self.list(header::RECORD_ROUTE, NameAddr::parse_route)
    }

    /// Reads Diversion (RFC 5806), the latest first.
    pub fn diversions(&self) -> Result<Vec<NameAddr>, MessageError> {
        self.list(header::DIVERSION, NameAddr::parse)
    }

    /// Reads History-Info (RFC 7044).
    pub fn history(&self) -> Result<Vec<NameAddr>, MessageError> {
        self.list(header::HISTORY_INFO, NameAddr::parse)
    }

    /// Reads RAck.
    pub fn rack(&self) -> Result<Option<RAck>, MessageError> {
        self.parsed(header::RACK, RAck::parse)
    }

    /// Reads RSeq, less than 2³¹ (RFC 3262, 7.1).
    pub fn rseq(&self) -> Result<Option<u32>, MessageError> {
        self.parsed(header::RSEQ, values::sequence_number)
    }

    /// Reads Session-Expires.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, MessageError> {
        self.parsed(header::SESSION_EXPIRES, SessionExpires::parse)
    }

    /// Reads Min-SE in seconds (RFC 4028, 5).
    pub fn min_se(&self) -> Result<Option<u32>, MessageError> {
        self.parsed(header::MIN_SE, values::seconds)
    }

    /// Reads Expires in seconds.
    pub fn expires(&self) -> Result<Option<u32>, MessageError> {
        self.parsed(header::EXPIRES, values::seconds)
    }

    /// Reads Min-Expires in seconds (RFC 3261, 20.23).
    pub fn min_expires(&self) -> Result<Option<u32>, MessageError> {
        self.parsed(header::MIN_EXPIRES, values::seconds)
    }

    /// Reads Retry-After in seconds, without its comment and parameters.
    pub fn retry_after(&self) -> Result<Option<u32>, MessageError> {
        self.parsed_lossy(header::RETRY_AFTER, values::seconds)
    }

    /// Reads Content-Type.
    pub fn content_type(&self) -> Result<Option<ContentType>, MessageError> {
        self.parsed_lossy(header::CONTENT_TYPE, ContentType::parse)
    }

    /// Reads Reason. Values that cannot be parsed are skipped, because they are only informative.
    pub fn reasons(&self) -> Result<Vec<Reason>, MessageError> {
        let readable = self.list(header::REASON, |text| Ok(Reason::parse(text).ok()))?;
        Ok(readable.into_iter().flatten().collect())
    }

    /// Returns the first Q.850 cause in Reason, if any.
    pub fn q850_cause(&self) -> Option<u16> {
        self.reasons().ok()?.iter().find_map(Reason::q850)
    }

    /// Returns the option tags of Supported as they were written.
    pub fn supported(&self) -> Result<Vec<String>, MessageError> {
        self.words(header::SUPPORTED)
    }

    /// Returns the option tags of Require as they were written.
    pub fn require(&self) -> Result<Vec<String>, MessageError> {
        self.words(header::REQUIRE)
    }

    /// Returns the methods in Allow as they were written.
    pub fn allow(&self) -> Result<Vec<String>, MessageError> {
        self.words(header::ALLOW)
    }

    /// Returns whether Supported or Require has this option tag. A list that cannot be parsed has none.
    pub fn has_option(&self, tag: &str) -> bool {
        [self.supported(), self.require()].into_iter().flatten().flatten().any(|word| word.eq_ignore_ascii_case(tag))
    }

    fn words(&self, name: &'static str) -> Result<Vec<String>, MessageError> {
        self.list(name, |word| Ok(word.to_owned()))
    }

    /// Reads a list over all lines of a header, at most [`limits::LIST`] elements.
    fn list<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, HeaderProblem>,
    ) -> Result<Vec<T>, MessageError> {
        let error = |problem| MessageError::header(name, problem);
        let mut list = Vec::new();
        for value in self.header_values(name) {
            let text = String::from_utf8_lossy(value);
            for element in scan::elements(&text) {
                let element = element.map_err(|_| error(HeaderProblem::Malformed))?;
                if element.is_empty() {
                    continue;
                }
                if list.len() == limits::LIST {
                    return Err(error(HeaderProblem::TooMany));
                }
                list.push(parse(element).map_err(error)?);
            }
        }
        Ok(list)
    }

    /// Returns the value of a header that may occur once.
    fn single(&self, name: &'static str) -> Result<Option<&[u8]>, MessageError> {
        let mut values = self.header_values(name);
        let value = values.next();
        match values.next() {
            Some(_) => Err(MessageError::header(name, HeaderProblem::Duplicated)),
            None => Ok(value),
        }
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, MessageError> {
        let Some(value) = self.single(name)? else { return Ok(None) };
        std::str::from_utf8(value).map(Some).map_err(|_| MessageError::header(name, HeaderProblem::NotUtf8))
    }

    fn parsed<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, HeaderProblem>,
    ) -> Result<Option<T>, MessageError> {
        let value = self.text(name)?;
        value.map(parse).transpose().map_err(|problem| MessageError::header(name, problem))
    }

    /// Reads a header of which only parts must be UTF-8.
    fn parsed_lossy<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, HeaderProblem>,
    ) -> Result<Option<T>, MessageError> {
        let value = self.single(name)?.map(String::from_utf8_lossy);
        value.map(|text| parse(&text)).transpose().map_err(|problem| MessageError::header(name, problem))
    }

    fn required<T>(&self, name: &'static str, value: Result<Option<T>, MessageError>) -> Result<T, MessageError> {
        value?.ok_or(MessageError::header(name, HeaderProblem::Missing))
    }
}
