//! Session descriptions: our offer, and a strict reading of the other side's (RFC 8866, RFC 3264, RFC 4568).

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use sdp_types::{Connection, Media, NetType, Session};

use super::srtp::{CryptoLine, Keying};
use crate::config::MediaEncryption;
use crate::telemetry::diagnostic_text;

/// The payload type of key events that we offer (RFC 4733): the one that arrives.
pub(super) const KEY_EVENTS: u8 = 101;

/// The longest description that is read, in bytes.
const MAX_BYTES: usize = 16_384;

/// The codecs that we speak: G.711 (RFC 3551, table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Pcmu,
    Pcma,
}

impl Codec {
    /// Its payload type, which is static.
    pub(super) fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }
}

/// What is read: the answer to our offer, or an offer of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Answer,
    Offer,
}

/// What the other side wants, where it can be had.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remote {
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: SocketAddr,
    pub(super) codec: Codec,
    /// The payload type with which it takes key events, if it does.
    pub(super) key_events: Option<u8>,
    /// May we send? Not while it holds.
    pub(super) may_send: bool,
    /// Does it send?
    pub(super) sends: bool,
    /// Is it RTP/SAVP? A key may also stand in RTP/AVP.
    secure: bool,
    pub(super) crypto: Option<CryptoLine>,
    /// How its other media lines are refused, before and after the audio: each has its place in an answer.
    others: (String, String),
}

/// Why a description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::backend::sip) enum SdpError {
    #[error("it has no session description that can be read: {0}")]
    Unreadable(String),
    #[error("it has not one audio stream but {0}")]
    Streams(usize),
    #[error("it refuses the audio")]
    Refused,
    #[error("it changes the transport to {0}")]
    Transport(String),
    #[error("it has no IP address of our kind for the audio")]
    Address,
    #[error("it has no codec in common (PCMU, PCMA)")]
    Codec,
    #[error("it names the payload type {0}, which was not offered or is another codec there")]
    PayloadType(String),
    #[error("it does not encrypt, but `media_encryption` is required")]
    Unencrypted,
    #[error("its encryption is not what was offered")]
    Encryption,
    #[error("our own offer is not answered yet")]
    TooEarly,
    #[error("it would not both hear and speak")]
    Direction,
}

/// What we say of ourselves.
pub(super) struct Local<'a> {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// Unique for the call, and counted up with each description that differs (RFC 3264, section 8).
    pub(super) session: u64,
    pub(super) version: u64,
    pub(super) encryption: MediaEncryption,
    pub(super) keying: &'a Keying,
}

impl Local<'_> {
    /// An offer of all that we can. Optional encryption is offered as a key within RTP/AVP, as Asterisk, FreeSWITCH and
    /// baresip do it: who does not know it answers without a key, whereas RTP/SAVP would be refused.
    pub(super) fn offer(&self) -> String {
        let secure = self.encryption == MediaEncryption::Required;
        let mut sdp = self.head() + &self.audio(secure, &[Codec::Pcmu, Codec::Pcma], Some(KEY_EVENTS));
        if self.encryption != MediaEncryption::Off {
            for line in self.keying.offered() {
                let _ = write!(sdp, "a=crypto:{line}\r\n");
            }
        }
        sdp + "a=sendrecv\r\n"
    }

    /// The answer to an offer that was read.
    pub(super) fn answer(&self, remote: &Remote) -> String {
        let (before, after) = &remote.others;
        let audio = self.audio(remote.secure, &[remote.codec], remote.key_events);
        let mut sdp = self.head() + before + &audio;
        if let Some(crypto) = &remote.crypto {
            let _ = write!(sdp, "a=crypto:{}\r\n", self.keying.answer(crypto));
        }
        let direction = match (remote.may_send, remote.sends) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        };
        let _ = write!(sdp, "a={direction}\r\n");
        sdp + after
    }

    fn head(&self) -> String {
        let Self { address, session, version, .. } = self;
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        format!("v=0\r\no=- {session} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n")
    }

    fn audio(&self, secure: bool, codecs: &[Codec], key_events: Option<u8>) -> String {
        let profile = if secure { "RTP/SAVP" } else { "RTP/AVP" };
        let mut formats: Vec<String> = codecs.iter().map(|codec| codec.payload_type().to_string()).collect();
        formats.extend(key_events.map(|events| events.to_string()));
        let mut sdp = format!("m=audio {} {profile} {}\r\n", self.port, formats.join(" "));
        for codec in codecs {
            let _ = write!(sdp, "a=rtpmap:{} {}/8000\r\n", codec.payload_type(), codec.name());
        }
        if let Some(events) = key_events {
            let _ = write!(sdp, "a=rtpmap:{events} telephone-event/8000\r\na=fmtp:{events} 0-15\r\n");
        }
        sdp + "a=ptime:20\r\na=maxptime:20\r\n"
    }
}

/// Reads the other side's description. An answer must be what we offered, to the letter; of an offer the first audio
/// that can be had is taken, and the rest refused.
pub(super) fn read(sdp: &[u8], kind: Kind, ours: IpAddr, encryption: MediaEncryption) -> Result<Remote, SdpError> {
    if sdp.is_empty() || sdp.len() > MAX_BYTES {
        return Err(SdpError::Unreadable(format!("{} bytes", sdp.len())));
    }
    let session = Session::parse(sdp).map_err(|error| SdpError::Unreadable(diagnostic_text(&error.to_string())))?;
    if kind == Kind::Answer && session.medias.len() != 1 {
        return Err(SdpError::Streams(session.medias.len()));
    }
    let mut problem = SdpError::Streams(0);
    for (place, media) in session.medias.iter().enumerate().filter(|(_, media)| media.media == "audio") {
        match audio(&session, media, kind, ours, encryption) {
            Ok(remote) => {
                let refused = |media: &Media| format!("m={} 0 {} {}\r\n", media.media, media.proto, media.fmt);
                let before = session.medias.iter().take(place).map(refused).collect();
                let after = session.medias.iter().skip(place + 1).map(refused).collect();
                return Ok(Remote { others: (before, after), ..remote });
            }
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

fn audio(
    session: &Session,
    media: &Media,
    kind: Kind,
    ours: IpAddr,
    encryption: MediaEncryption,
) -> Result<Remote, SdpError> {
    if media.port == 0 {
        return Err(SdpError::Refused);
    }
    let (secure, crypto) = crypto(media, kind, encryption)?;
    let address = address(session, media, ours)?;
    let (may_send, sends) = match direction(media, session) {
        _ if address.is_unspecified() => (false, false),
        "sendonly" => (false, true),
        "recvonly" => (true, false),
        "inactive" => (false, false),
        _ => (true, true),
    };
    let rtp = SocketAddr::new(address, media.port);
    Ok(Remote {
        rtp,
        rtcp: rtcp_address(media, rtp),
        codec: first_codec(media, kind)?,
        key_events: key_events(media),
        may_send,
        sends,
        secure,
        crypto,
        others: Default::default(),
    })
}

/// Checks that an answer to our first offer lets us speak and hear.
pub(super) fn is_two_way(remote: &Remote) -> Result<(), SdpError> {
    if remote.may_send && remote.sends { Ok(()) } else { Err(SdpError::Direction) }
}

/// The one address of the audio: a literal of our family. That of no machine at all means that it holds (RFC 3264,
/// section 8.4).
fn address(session: &Session, media: &Media, ours: IpAddr) -> Result<IpAddr, SdpError> {
    let connection: &Connection = match media.connections.as_slice() {
        [] => session.connection.as_ref().ok_or(SdpError::Address)?,
        [connection] => connection,
        _ => return Err(SdpError::Address),
    };
    let address: IpAddr = connection.connection_address.parse().map_err(|_| SdpError::Address)?;
    let is_a_machines = match address {
        IpAddr::V4(address) => !address.is_multicast() && !address.is_broadcast(),
        IpAddr::V6(address) => !address.is_multicast() && address.to_ipv4_mapped().is_none(),
    };
    let is_what_it_says = connection.addrtype == address.into() && connection.nettype == NetType::In;
    let is_one = media.num_ports.is_none_or(|ports| ports == 1);
    let is_of_ours = address.is_ipv4() == ours.is_ipv4();
    if is_a_machines && is_what_it_says && is_one && is_of_ours { Ok(address) } else { Err(SdpError::Address) }
}

fn attributes<'a>(media: &'a Media, name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = media.attributes.iter().filter(move |attribute| attribute.attribute == name);
    named.map(|attribute| attribute.value.as_deref().unwrap_or_default())
}

fn direction<'a>(media: &'a Media, session: &'a Session) -> &'a str {
    const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let all = media.attributes.iter().chain(&session.attributes);
    all.map(|attribute| attribute.attribute.as_str()).find(|name| DIRECTIONS.contains(name)).unwrap_or("sendrecv")
}

/// Whether it is SRTP by its profile, and its key.
fn crypto(media: &Media, kind: Kind, encryption: MediaEncryption) -> Result<(bool, Option<CryptoLine>), SdpError> {
    let secure = match media.proto.as_str() {
        "RTP/AVP" => false,
        "RTP/SAVP" => true,
        other => return Err(SdpError::Transport(diagnostic_text(other))),
    };
    if encryption == MediaEncryption::Required && !secure {
        return Err(SdpError::Unencrypted);
    }
    let mut lines = attributes(media, "crypto").map(CryptoLine::parse);
    let line = match kind {
        Kind::Offer => lines.flatten().next(),
        Kind::Answer if secure && encryption != MediaEncryption::Required => {
            return Err(SdpError::Transport(diagnostic_text(&media.proto)));
        }
        // A key that cannot be used is no leave to go on without one.
        Kind::Answer => match (lines.next(), lines.next()) {
            (None, _) => None,
            (Some(Some(line)), None) if line.was_offered() => Some(line),
            _ => return Err(SdpError::Encryption),
        },
    };
    match (encryption, secure, line) {
        (MediaEncryption::Off, true, _) | (_, true, None) => Err(SdpError::Encryption),
        (MediaEncryption::Off, false, Some(_)) if kind == Kind::Answer => Err(SdpError::Encryption),
        (MediaEncryption::Off, false, _) => Ok((false, None)),
        (_, secure, line) => Ok((secure, line)),
    }
}

/// What a payload type is mapped to, if it is.
fn mapped<'a>(media: &'a Media, format: &str) -> Option<&'a str> {
    attributes(media, "rtpmap").find_map(|map| {
        let (payload_type, encoding) = map.split_once(' ')?;
        // One channel is the usual, and may be said.
        (payload_type == format).then(|| encoding.trim().trim_end_matches("/1"))
    })
}

fn is_key_events(encoding: &str) -> bool {
    encoding.eq_ignore_ascii_case("telephone-event/8000")
}

/// The first of its codecs that is ours.
fn first_codec(media: &Media, kind: Kind) -> Result<Codec, SdpError> {
    let mut codec = None;
    let mut other = None;
    for format in media.fmt.split_ascii_whitespace() {
        let mapped = mapped(media, format);
        let is = |codec: Codec| {
            mapped.is_none_or(|encoding| encoding.eq_ignore_ascii_case(&format!("{}/8000", codec.name())))
        };
        match format {
            "0" if is(Codec::Pcmu) => codec = codec.or(Some(Codec::Pcmu)),
            "8" if is(Codec::Pcma) => codec = codec.or(Some(Codec::Pcma)),
            "101" if mapped.is_none_or(is_key_events) => {}
            _ if mapped.is_some_and(is_key_events) => {}
            _ => other = other.or(Some(format)),
        }
    }
    match (codec, other) {
        (Some(_), Some(other)) if kind == Kind::Answer => Err(SdpError::PayloadType(diagnostic_text(other))),
        (Some(codec), _) => Ok(codec),
        (None, _) => Err(SdpError::Codec),
    }
}

/// The payload type of its key events. Ours may stand unexplained, since we explained it.
fn key_events(media: &Media) -> Option<u8> {
    let is = |format: &&str| match mapped(media, format) {
        Some(encoding) => is_key_events(encoding),
        None => *format == KEY_EVENTS.to_string(),
    };
    let payload_type: u8 = media.fmt.split_ascii_whitespace().find(is)?.parse().ok()?;
    (96..128).contains(&payload_type).then_some(payload_type)
}

/// Where its RTCP goes: the port of RFC 3605, else the next one.
fn rtcp_address(media: &Media, rtp: SocketAddr) -> SocketAddr {
    let told = attributes(media, "rtcp").find_map(|value| value.split_ascii_whitespace().next()?.parse().ok());
    SocketAddr::new(rtp.ip(), told.unwrap_or(rtp.port().wrapping_add(1)))
}

#[cfg(test)]
mod tests;
