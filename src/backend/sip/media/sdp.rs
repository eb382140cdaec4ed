//! Session descriptions: our offer, and a strict reading of the other side's (RFC 8866, RFC 3264, RFC 4568).

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use sdp_types::{Media, Session};

use super::srtp::{CryptoLine, Keying};
use crate::config::MediaEncryption;

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
    pub(super) crypto: Option<CryptoLine>,
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
    #[error("it does not encrypt, but `media_encryption` is required")]
    Unencrypted,
    #[error("its encryption is not what was offered")]
    Encryption,
    #[error("it would neither hear nor speak")]
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
    /// An offer of all that we can.
    pub(super) fn offer(&self) -> String {
        let secure = self.encryption == MediaEncryption::Required;
        let mut sdp = self.head(secure, &[Codec::Pcmu, Codec::Pcma], Some(KEY_EVENTS));
        if self.encryption != MediaEncryption::Off {
            for line in self.keying.offered() {
                let _ = write!(sdp, "a=crypto:{line}\r\n");
            }
        }
        sdp + "a=sendrecv\r\n"
    }

    /// The answer to an offer that was read.
    pub(super) fn answer(&self, remote: &Remote) -> String {
        let events = remote.key_events;
        let mut sdp = self.head(remote.crypto.is_some(), &[remote.codec], events);
        if let Some(crypto) = &remote.crypto {
            let _ = write!(sdp, "a=crypto:{}\r\n", self.keying.answer(crypto));
        }
        let direction = match (remote.may_send, remote.sends) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        };
        sdp + "a=" + direction + "\r\n"
    }

    fn head(&self, secure: bool, codecs: &[Codec], key_events: Option<u8>) -> String {
        let Self { address, port, session, version, .. } = self;
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        let profile = if secure { "RTP/SAVP" } else { "RTP/AVP" };
        let mut formats: Vec<String> = codecs.iter().map(|codec| codec.payload_type().to_string()).collect();
        formats.extend(key_events.map(|events| events.to_string()));
        let mut sdp = format!(
            "v=0\r\no=- {session} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
             m=audio {port} {profile} {}\r\n",
            formats.join(" ")
        );
        for codec in codecs {
            let name = match codec {
                Codec::Pcmu => "PCMU",
                Codec::Pcma => "PCMA",
            };
            let _ = write!(sdp, "a=rtpmap:{} {name}/8000\r\n", codec.payload_type());
        }
        if let Some(events) = key_events {
            let _ = write!(sdp, "a=rtpmap:{events} telephone-event/8000\r\na=fmtp:{events} 0-15\r\n");
        }
        sdp + "a=ptime:20\r\na=maxptime:20\r\n"
    }
}

/// Reads the other side's description, an answer to our offer or an offer of its own.
pub(super) fn read(sdp: &[u8], ours: IpAddr, encryption: MediaEncryption) -> Result<Remote, SdpError> {
    if sdp.is_empty() || sdp.len() > MAX_BYTES {
        return Err(SdpError::Unreadable(format!("{} bytes", sdp.len())));
    }
    let session = Session::parse(sdp).map_err(|error| SdpError::Unreadable(error.to_string()))?;
    let audio: Vec<_> = session.medias.iter().filter(|media| media.port != 0).collect();
    let [media] = *audio else {
        let refused = audio.is_empty() && !session.medias.is_empty();
        return Err(if refused { SdpError::Refused } else { SdpError::Streams(audio.len()) });
    };
    if !media.media.eq_ignore_ascii_case("audio") {
        return Err(SdpError::Streams(0));
    }
    let crypto = crypto(media, encryption)?;
    let connection = media.connections.first().or(session.connection.as_ref()).ok_or(SdpError::Address)?;
    let address: IpAddr = connection.connection_address.parse().map_err(|_| SdpError::Address)?;
    if address.is_ipv4() != ours.is_ipv4() || address.is_multicast() {
        return Err(SdpError::Address);
    }
    let (may_send, sends) = match direction(media, &session) {
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
        codec: first_codec(media)?,
        key_events: key_events(media),
        may_send,
        sends,
        crypto,
    })
}

/// Checks that an answer to our first offer lets us speak and hear.
pub(super) fn is_two_way(remote: &Remote) -> Result<(), SdpError> {
    if remote.may_send && remote.sends { Ok(()) } else { Err(SdpError::Direction) }
}

fn attributes<'a>(media: &'a Media, name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = media.attributes.iter().filter(move |attribute| attribute.attribute.eq_ignore_ascii_case(name));
    named.map(|attribute| attribute.value.as_deref().unwrap_or_default())
}

fn direction<'a>(media: &'a Media, session: &'a Session) -> &'a str {
    const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let all = media.attributes.iter().chain(&session.attributes);
    all.map(|attribute| attribute.attribute.as_str()).find(|name| DIRECTIONS.contains(name)).unwrap_or("sendrecv")
}

fn crypto(media: &Media, encryption: MediaEncryption) -> Result<Option<CryptoLine>, SdpError> {
    let secure = match media.proto.as_str() {
        "RTP/AVP" => false,
        "RTP/SAVP" => true,
        other => return Err(SdpError::Transport(crate::telemetry::foreign_text(other))),
    };
    let line = attributes(media, "crypto").find_map(CryptoLine::parse);
    match (encryption, secure, line) {
        (MediaEncryption::Required, true, Some(line)) | (MediaEncryption::Optional, _, Some(line)) => Ok(Some(line)),
        (MediaEncryption::Required, false, _) => Err(SdpError::Unencrypted),
        (_, true, _) => Err(SdpError::Encryption),
        (_, false, _) => Ok(None),
    }
}

/// The first of its codecs that is ours.
fn first_codec(media: &Media) -> Result<Codec, SdpError> {
    let formats = media.fmt.split_ascii_whitespace();
    formats
        .filter_map(|format| match format {
            "0" => Some(Codec::Pcmu),
            "8" => Some(Codec::Pcma),
            _ => None,
        })
        .next()
        .ok_or(SdpError::Codec)
}

fn key_events(media: &Media) -> Option<u8> {
    let named = attributes(media, "rtpmap").find_map(|map| {
        let (payload_type, encoding) = map.split_once(' ')?;
        encoding.trim().eq_ignore_ascii_case("telephone-event/8000").then_some(payload_type)
    })?;
    let payload_type: u8 = named.parse().ok().filter(|payload_type| (96..128).contains(payload_type))?;
    media.fmt.split_ascii_whitespace().any(|format| format == named).then_some(payload_type)
}

/// Where its RTCP goes: the port of RFC 3605, else the next one.
fn rtcp_address(media: &Media, rtp: SocketAddr) -> SocketAddr {
    let told = attributes(media, "rtcp").find_map(|value| value.split_ascii_whitespace().next()?.parse().ok());
    SocketAddr::new(rtp.ip(), told.unwrap_or(rtp.port().wrapping_add(1)))
}
