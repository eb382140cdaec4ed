//! The parts of a SIP request that a crowd reads, and its responses.

use std::net::SocketAddr;

/// A request and its source.
pub struct Message<'a> {
    pub text: &'a str,
    pub from: SocketAddr,
}

/// The value of a header in its long form, as PhoneGate and sipp write it.
pub fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let is_name = |line: &&str| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name));
    text.lines().find(is_name).and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
}

impl<'a> Message<'a> {
    /// Returns the method.
    pub fn method(&self) -> &'a str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// Returns the user part of the Request-URI.
    pub fn number(&self) -> &'a str {
        let uri = self.text.split(' ').nth(1).unwrap_or_default();
        uri.trim_start_matches("sip:").split('@').next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &'a str {
        header(self.text, name)
    }

    /// Returns the address of the audio in its session description.
    pub fn audio(&self) -> Option<SocketAddr> {
        let line = |start: &str| self.text.lines().find_map(|line| line.strip_prefix(start));
        let address = line("c=IN IP4 ")?.trim().parse().ok()?;
        let port = line("m=audio ")?.split(' ').next()?.parse().ok()?;
        Some(SocketAddr::new(address, port))
    }

    /// Returns a response with these headers and this description.
    pub fn respond(&self, status: &str, headers: &str, description: &str) -> String {
        let copied: String =
            ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", self.header(name))).concat();
        let kind = if description.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let length = description.len();
        format!("SIP/2.0 {status}\r\n{copied}{headers}{kind}Content-Length: {length}\r\n\r\n{description}")
    }

    /// Returns such a response with this To tag.
    pub fn respond_as(&self, status: &str, tag: &str, headers: &str, description: &str) -> String {
        let to = format!("To: {}\r\n", self.header("To"));
        self.respond(status, headers, description).replacen(&to, &format!("{};tag={tag}\r\n", to.trim_end()), 1)
    }
}
