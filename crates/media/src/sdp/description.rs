//! Parses the lines of a session description that this crate uses.

use super::{MAX_BYTES, MAX_LINES, MAX_MEDIA, SdpError};

/// Maximum number of formats of an `m=` line that are considered.
const MAX_FORMATS: usize = 64;

/// A session description: its connection lines, its attributes, and its media.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) session: Section,
    pub(super) media: Vec<Media>,
}

/// The lines of the session part, or of one media description.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// Values of the `c=` lines.
    pub(super) connections: Vec<String>,
    /// Names and values of the `a=` lines, without blanks around them.
    attributes: Vec<(String, String)>,
}

/// A media description.
#[derive(Debug)]
pub(super) struct Media {
    /// The media, such as `audio`.
    pub(super) kind: String,
    pub(super) port: u16,
    /// Number of ports, after a slash.
    pub(super) port_count: u16,
    /// The transport, such as `RTP/AVP`.
    pub(super) transport: String,
    /// At most [`MAX_FORMATS`].
    pub(super) formats: Vec<String>,
    pub(super) lines: Section,
}

impl Description {
    /// Parses a description. Lines end with CR, LF or both. Blanks and NUL around a line are ignored. Lines of other
    /// types may contain any bytes.
    pub(super) fn read(sdp: &[u8]) -> Result<Self, SdpError> {
        if sdp.len() > MAX_BYTES {
            return Err(SdpError::TooLarge);
        }
        // Bytes that are not UTF-8 become a character that is invalid in every line that is used.
        let text = String::from_utf8_lossy(sdp);
        let is_padding = |c: char| c.is_ascii_whitespace() || c == '\0';
        let lines = text.split(['\r', '\n']).map(|line| line.trim_matches(is_padding));
        let mut lines = lines.filter(|line| !line.is_empty()).map(typed);
        if !matches!(lines.next(), Some(Some(("v", "0")))) {
            return Err(SdpError::Malformed);
        }
        let mut description = Self::default();
        for (count, line) in lines.enumerate() {
            if count >= MAX_LINES {
                return Err(SdpError::TooLarge);
            }
            let Some((name, value)) = line else { continue };
            let section = description.media.last_mut().map_or(&mut description.session, |media| &mut media.lines);
            match name {
                "c" => section.connections.push(value.to_owned()),
                "a" => section.attributes.push(attribute(value)),
                "m" if description.media.len() >= MAX_MEDIA => return Err(SdpError::TooLarge),
                "m" => description.media.push(Media::read(value).ok_or(SdpError::Malformed)?),
                _ => {}
            }
        }
        Ok(description)
    }
}

/// Splits a line into type and value.
fn typed(line: &str) -> Option<(&str, &str)> {
    line.split_once('=').map(|(name, value)| (name.trim_end(), value.trim_start()))
}

fn attribute(value: &str) -> (String, String) {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    (name.trim().to_ascii_lowercase(), value.trim().to_owned())
}

impl Section {
    /// Returns the values of the attributes with this lower-case name.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the names of the attributes, in lower case.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|(name, _)| name.as_str())
    }
}

impl Media {
    fn read(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let (kind, ports, transport) = (words.next()?, words.next()?, words.next()?);
        let (port, port_count) = match ports.split_once('/') {
            Some((port, count)) => (port, decimal(count)?),
            None => (ports, 1),
        };
        Some(Self {
            kind: kind.to_ascii_lowercase(),
            port: decimal(port)?,
            port_count,
            transport: transport.to_owned(),
            formats: words.take(MAX_FORMATS).map(str::to_owned).collect(),
            lines: Section::default(),
        })
    }
}

/// Parses a number that consists of digits only: `parse` would also accept a sign.
pub(super) fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
