//! Checks descriptions of the peer: whether they can be used, and what they negotiate.

use std::net::{IpAddr, SocketAddr};

use super::description::{Description, Media, Section, decimal};
use super::{Codec, CryptoSuite, Direction, Encryption, EventTypes, PeerKey, RemoteMedia, SdpError, TELEPHONE_EVENT};
use crate::rtp::CLOCK_RATE;

/// Maximum length of a word of the peer that is repeated in an answer or in an error, in characters.
const MAX_REPEATED: usize = 32;

/// An offer of the peer that can be answered, by [`LocalSession::answer`](super::LocalSession::answer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerOffer {
    pub(super) remote: RemoteMedia,
    pub(super) is_savp: bool,
    /// The rejected media before and after the audio. Each keeps its place in the answer.
    pub(super) refused: (String, String),
}

impl PeerOffer {
    /// Returns the peer's end of the audio, which takes effect when the offer is answered.
    pub fn remote(&self) -> &RemoteMedia {
        &self.remote
    }
}

/// Whether a description is an answer to our offer, or an offer.
#[derive(Clone, Copy)]
enum Role<'a> {
    Answer(&'a OfferedEncryption),
    Offer,
}

/// What an offer of ours proposed about encryption.
pub(super) struct OfferedEncryption {
    is_savp: bool,
    /// The tags of its `crypto` attributes, which count within this offer alone, with their suites.
    keys: Vec<(u32, CryptoSuite)>,
}

impl OfferedEncryption {
    /// Returns what a full offer proposes.
    pub(super) fn full(encryption: &Encryption) -> Self {
        let keys = if encryption.keys().is_some() {
            CryptoSuite::OFFERED.map(CryptoSuite::with_tag).to_vec()
        } else {
            Vec::new()
        };
        Self { is_savp: matches!(encryption, Encryption::Required(_)), keys }
    }

    /// Reads an offer of ours. It may repeat an answer of ours, and then has the tag and the transport that the peer chose.
    pub(super) fn read(offer: &[u8]) -> Result<Self, SdpError> {
        let description = Description::read(offer)?;
        let is_offered = |media: &&Media| media.kind == "audio" && media.port != 0;
        let media = description.media.iter().find(is_offered).ok_or(SdpError::NoAudio)?;
        let keys = media.lines.values("crypto").filter_map(PeerKey::read).map(|key| key.tag_and_suite()).collect();
        Ok(Self { is_savp: is_savp(media)?, keys })
    }
}

/// The requirements of this side on a description.
#[derive(Clone, Copy)]
pub(super) struct Requirements<'a> {
    /// Local address. That of the peer must be of the same family, and its scope must not be narrower.
    pub(super) own: IpAddr,
    pub(super) encryption: &'a Encryption,
    /// Whether the call was encrypted before, and must stay so.
    pub(super) was_encrypted: bool,
}

/// Checks the answer to an offer of ours. Media other than audio are ignored, because none were offered.
pub(super) fn answer(
    sdp: &[u8],
    offered: &OfferedEncryption,
    requirements: Requirements<'_>,
) -> Result<RemoteMedia, SdpError> {
    let description = Description::read(sdp)?;
    let is_audio = |media: &&Media| media.kind == "audio";
    let mut audio = description.media.iter().filter(is_audio).filter(|media| media.port != 0);
    let Some(media) = audio.next() else {
        let is_rejected = description.media.iter().any(|media| is_audio(&media));
        return Err(if is_rejected { SdpError::Rejected } else { SdpError::NoAudio });
    };
    if audio.next().is_some() {
        return Err(SdpError::SeveralAudio);
    }
    check(&description.session, media, Role::Answer(offered), requirements)
}

/// Checks an offer. The first usable audio stream is accepted, and every other stream is rejected.
pub(super) fn offer(sdp: &[u8], requirements: Requirements<'_>) -> Result<PeerOffer, SdpError> {
    let description = Description::read(sdp)?;
    let mut problem = SdpError::NoAudio;
    for (index, media) in description.media.iter().enumerate().filter(|(_, media)| media.kind == "audio") {
        match check(&description.session, media, Role::Offer, requirements) {
            Ok(remote) => {
                let before = description.media.iter().take(index).map(refused).collect();
                let after = description.media.iter().skip(index + 1).map(refused).collect();
                return Ok(PeerOffer { remote, is_savp: is_savp(media)?, refused: (before, after) });
            }
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

fn check(
    session: &Section,
    media: &Media,
    role: Role<'_>,
    requirements: Requirements<'_>,
) -> Result<RemoteMedia, SdpError> {
    if media.port == 0 {
        return Err(SdpError::Rejected);
    }
    let key = key(media, role, requirements.encryption)?;
    if key.is_none() && requirements.was_encrypted {
        return Err(SdpError::Unencrypted);
    }
    let address = address(session, media, requirements.own)?;
    let direction = match address.is_unspecified() {
        true => Direction { sends: false, receives: false },
        false => direction(session, media),
    };
    let codec = media.formats.iter().find_map(|format| codec(media, format)).ok_or(SdpError::Codec)?;
    let event_type = media.formats.iter().find_map(|format| event_number(media, format));
    let mut event_types: EventTypes = media.formats.iter().filter_map(|format| event_number(media, format)).collect();
    // A peer with its own payload type may still send with ours, as RFC 3264, section 5.1, requires.
    if event_type.is_some() && maps_to_events(media, &TELEPHONE_EVENT.to_string()) != Some(false) {
        event_types.insert(TELEPHONE_EVENT);
    }
    let rtp = SocketAddr::new(address, media.port);
    Ok(RemoteMedia { rtp, rtcp: rtcp(media, rtp), codec, event_type, event_types, direction, key })
}

/// Returns the only address of the audio: a unicast IP address of our family. `0.0.0.0` and `::` mean hold (RFC 3264,
/// section 8.4; RFC 6157).
fn address(session: &Section, media: &Media, own: IpAddr) -> Result<IpAddr, SdpError> {
    let of_media = &media.lines.connections;
    let lines = if of_media.is_empty() { &session.connections } else { of_media };
    let mut addresses = lines.iter().map(|line| connection(line));
    let address = addresses.next().flatten().ok_or(SdpError::Address)?;
    let is_machine = match address {
        IpAddr::V4(address) => !address.is_multicast() && !address.is_broadcast(),
        IpAddr::V6(address) => !address.is_multicast() && address.to_ipv4_mapped().is_none(),
    };
    let is_of_family = address.is_ipv4() == own.is_ipv4() || address.is_unspecified();
    let is_only = addresses.all(|other| other == Some(address)) && media.port_count == 1;
    if !is_machine || !is_of_family || !is_only {
        return Err(SdpError::Address);
    }
    match Scope::of(address) {
        Scope::Network => Ok(address),
        scope if scope == Scope::of(own) => Ok(address),
        Scope::Machine | Scope::Link => Err(SdpError::Reach(address)),
    }
}

/// Where an address names one machine. Any user of a machine can listen at its loopback addresses, and any machine of a link
/// can take a link-local address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Machine,
    Link,
    Network,
}

impl Scope {
    fn of(address: IpAddr) -> Self {
        let is_link_local = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        match address.is_loopback() {
            true => Self::Machine,
            false if is_link_local => Self::Link,
            false => Self::Network,
        }
    }
}

/// Reads the value of a `c=` line. Neither a host name nor a suffix such as `/127` is accepted.
fn connection(line: &str) -> Option<IpAddr> {
    let mut words = line.split_ascii_whitespace();
    let (network, family, address) = (words.next()?, words.next()?, words.next()?.parse::<IpAddr>().ok()?);
    let expected = if address.is_ipv4() { "IP4" } else { "IP6" };
    let is_consistent = network.eq_ignore_ascii_case("IN") && family.eq_ignore_ascii_case(expected);
    (is_consistent && words.next().is_none()).then_some(address)
}

/// Returns the direction of the media, otherwise that of the session, otherwise both. If several differ, only what all
/// of them allow.
fn direction(session: &Section, media: &Media) -> Direction {
    let read = |section: &Section| {
        let directions = section.names().filter_map(|name| match name {
            "sendrecv" => Some(Direction { sends: true, receives: true }),
            "sendonly" => Some(Direction { sends: true, receives: false }),
            "recvonly" => Some(Direction { sends: false, receives: true }),
            "inactive" => Some(Direction { sends: false, receives: false }),
            _ => None,
        });
        directions.reduce(|a, b| Direction { sends: a.sends && b.sends, receives: a.receives && b.receives })
    };
    let default = Direction { sends: true, receives: true };
    read(&media.lines).or_else(|| read(session)).unwrap_or(default)
}

fn is_savp(media: &Media) -> Result<bool, SdpError> {
    match media.transport.as_str() {
        transport if transport.eq_ignore_ascii_case("RTP/AVP") => Ok(false),
        transport if transport.eq_ignore_ascii_case("RTP/SAVP") => Ok(true),
        other => Err(SdpError::Transport(repeated(other))),
    }
}

/// Returns the negotiated key. An unusable key is an error: it does not allow unencrypted audio.
fn key(media: &Media, role: Role<'_>, encryption: &Encryption) -> Result<Option<PeerKey>, SdpError> {
    let is_savp = is_savp(media)?;
    let mut keys = media.lines.values("crypto").map(PeerKey::read);
    let is_answer = matches!(role, Role::Answer(_));
    let is_other_transport = matches!(role, Role::Answer(offered) if offered.is_savp != is_savp);
    let local = match encryption {
        Encryption::Required(_) if !is_savp => return Err(SdpError::Unencrypted),
        _ if is_other_transport => return Err(SdpError::Transport(repeated(&media.transport))),
        Encryption::Off if is_savp => return Err(SdpError::Encryption),
        // A peer that answers with a key would encrypt. In an offer with RTP/AVP, a key is only a proposal.
        Encryption::Off if is_answer && keys.next().is_some() => return Err(SdpError::Encryption),
        Encryption::Off => return Ok(None),
        Encryption::Optional(local) | Encryption::Required(local) => local,
    };
    let key = match role {
        Role::Offer => keys.flatten().next(),
        Role::Answer(offered) => match (keys.next(), keys.next()) {
            (None, _) => None,
            (Some(Some(key)), None) if offered.keys.contains(&key.tag_and_suite()) => Some(key),
            _ => return Err(SdpError::Encryption),
        },
    };
    match key {
        Some(key) if local.contains(key.master_key()) => Err(SdpError::Encryption),
        None if is_savp => Err(SdpError::Encryption),
        key => Ok(key),
    }
}

/// Returns whether `rtpmap` maps a format to this encoding at [`CLOCK_RATE`] with one channel. `None` if there is no mapping;
/// false if mappings contradict each other.
fn is_mapped_to(media: &Media, format: &str, encoding: &str) -> Option<bool> {
    let maps = media.lines.values("rtpmap").filter_map(|map| {
        let (payload_type, mapped) = map.split_once(|c: char| c.is_ascii_whitespace())?;
        (payload_type == format).then(|| {
            let mut parts = mapped.trim().split('/').map(str::trim);
            let is_encoding = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
            is_encoding
                && parts.next() == Some(&*CLOCK_RATE.to_string())
                && parts.next().is_none_or(|channels| channels == "1")
        })
    });
    maps.reduce(|a, b| a && b)
}

/// Returns the codec with the static payload type of a format, unless it is mapped to something else.
fn codec(media: &Media, format: &str) -> Option<Codec> {
    let codec = Codec::from_payload_type(decimal(format)?)?;
    (is_mapped_to(media, format, codec.name()) != Some(false)).then_some(codec)
}

fn maps_to_events(media: &Media, format: &str) -> Option<bool> {
    is_mapped_to(media, format, "telephone-event")
}

/// Returns the payload type of a format for telephone events. It must not be one that is assigned to audio or used by
/// RTCP (RFC 3551, section 6; RFC 5761, section 4). Ours needs no `rtpmap`, because our offer has it.
fn event_number(media: &Media, format: &str) -> Option<u8> {
    let payload_type: u8 = decimal(format)?;
    let is_free = matches!(payload_type, 35..=63 | 96..=127);
    let is_event = maps_to_events(media, format).unwrap_or(payload_type == TELEPHONE_EVENT);
    (is_free && is_event).then_some(payload_type)
}

/// Returns the destination of RTCP. Of `a=rtcp`, only the port is used: reports are never sent to another address than
/// the audio.
fn rtcp(media: &Media, rtp: SocketAddr) -> Option<SocketAddr> {
    let named = media.lines.values("rtcp").find_map(|value| decimal(value.split_ascii_whitespace().next()?));
    let port = named.or_else(|| rtp.port().checked_add(1)).filter(|port| *port != 0);
    port.map(|port| SocketAddr::new(rtp.ip(), port))
}

/// Writes the line that rejects a media stream in an answer (RFC 3264, section 6).
fn refused(media: &Media) -> String {
    let format = media.formats.first().map_or("0", String::as_str);
    format!("m={} 0 {} {}\r\n", repeated(&media.kind), repeated(&media.transport), repeated(format))
}

/// Returns a word of the peer in a form that is safe to repeat: at most 32 printable ASCII characters.
fn repeated(word: &str) -> String {
    word.chars().take(MAX_REPEATED).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
