//! Header lines, and the names of those that this crate reads.

use std::fmt;

/// A header line: its name as it was written, and its value without blanks around it and without line ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name as it was written: in any case, perhaps in its compact form.
    pub name: &'a [u8],
    /// The value, which may have any byte but LF.
    pub value: &'a [u8],
}

/// Shows only the name: the value may be personal data.
impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("name", &String::from_utf8_lossy(self.name)).finish_non_exhaustive()
    }
}

impl Header<'_> {
    /// Returns whether this is the header of that name, without regard to case and compact form (RFC 3261, 7.3.3).
    pub fn is(&self, name: &str) -> bool {
        long_name(self.name).eq_ignore_ascii_case(long_name(name.as_bytes()))
    }
}

macro_rules! names {
    ($($constant:ident = $name:literal,)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: &str = $name;
        )*

        const KNOWN: &[&str] = &[$($name),*];
    };
}

names! {
    ACCEPT = "Accept",
    ALLOW = "Allow",
    ALLOW_EVENTS = "Allow-Events",
    AUTHENTICATION_INFO = "Authentication-Info",
    AUTHORIZATION = "Authorization",
    CALL_ID = "Call-ID",
    CONTACT = "Contact",
    CONTENT_LENGTH = "Content-Length",
    CONTENT_TYPE = "Content-Type",
    CSEQ = "CSeq",
    DIVERSION = "Diversion",
    EVENT = "Event",
    EXPIRES = "Expires",
    FROM = "From",
    HISTORY_INFO = "History-Info",
    MAX_FORWARDS = "Max-Forwards",
    MIN_EXPIRES = "Min-Expires",
    MIN_SE = "Min-SE",
    PROXY_AUTHENTICATE = "Proxy-Authenticate",
    PROXY_AUTHORIZATION = "Proxy-Authorization",
    RACK = "RAck",
    REASON = "Reason",
    RECORD_ROUTE = "Record-Route",
    REFER_TO = "Refer-To",
    REQUIRE = "Require",
    RETRY_AFTER = "Retry-After",
    ROUTE = "Route",
    RSEQ = "RSeq",
    SESSION_EXPIRES = "Session-Expires",
    SUBJECT = "Subject",
    SUPPORTED = "Supported",
    TIMESTAMP = "Timestamp",
    TO = "To",
    UNSUPPORTED = "Unsupported",
    USER_AGENT = "User-Agent",
    VIA = "Via",
    WARNING = "Warning",
    WWW_AUTHENTICATE = "WWW-Authenticate",
}

/// Returns the usual spelling of a name that this crate knows.
pub(crate) fn canonical_name(name: &str) -> Option<&'static str> {
    let long = long_name(name.as_bytes());
    KNOWN.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(long)).copied()
}

/// Returns the full name of a compact form.
fn long_name(name: &[u8]) -> &[u8] {
    let &[letter] = name else { return name };
    match letter.to_ascii_lowercase() {
        b'a' => b"Accept-Contact",
        b'b' => b"Referred-By",
        b'c' => CONTENT_TYPE.as_bytes(),
        b'd' => b"Request-Disposition",
        b'e' => b"Content-Encoding",
        b'f' => FROM.as_bytes(),
        b'i' => CALL_ID.as_bytes(),
        b'j' => b"Reject-Contact",
        b'k' => SUPPORTED.as_bytes(),
        b'l' => CONTENT_LENGTH.as_bytes(),
        b'm' => CONTACT.as_bytes(),
        b'n' => b"Identity-Info",
        b'o' => EVENT.as_bytes(),
        b'r' => REFER_TO.as_bytes(),
        b's' => SUBJECT.as_bytes(),
        b't' => TO.as_bytes(),
        b'u' => ALLOW_EVENTS.as_bytes(),
        b'v' => VIA.as_bytes(),
        b'x' => SESSION_EXPIRES.as_bytes(),
        b'y' => b"Identity",
        _ => name,
    }
}
