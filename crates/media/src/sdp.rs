//! Session descriptions (RFC 8866) of one call with one audio stream: offers and answers (RFC 3264), with keys by SDES
//! (RFC 4568).
//!
//! [`LocalSession`] writes the descriptions of this side and checks those of the peer. Only the lines `v`, `c`, `m` and
//! `a` are parsed. Other lines are ignored and may contain anything.

mod check;
mod crypto;
mod description;
mod local;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use check::PeerOffer;
pub use crypto::{CryptoSuite, Encryption, LocalKeys, MasterKey, PeerKey};
pub use local::LocalSession;

/// Payload type of telephone events in our offers (RFC 4733).
pub const TELEPHONE_EVENT: u8 = 101;

/// Longest description that is read, in bytes.
pub const MAX_BYTES: usize = 65_536;

/// Maximum number of lines of a description that is read.
pub const MAX_LINES: usize = 1000;

/// Maximum number of `m=` lines of a description that is read.
pub const MAX_MEDIA: usize = 32;

/// A supported codec: G.711 (RFC 3551, table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// Returns the codec with this static payload type.
    pub fn from_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            _ => None,
        }
    }

    /// Returns the static payload type.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// Returns the encoding name in `rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }
}

/// Directions of the audio as the peer sees them (RFC 8866, section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Whether the peer sends audio.
    pub sends: bool,
    /// Whether the peer receives audio.
    pub receives: bool,
}

impl Direction {
    /// Returns the attribute of the side with these directions.
    pub fn as_str(self) -> &'static str {
        match (self.sends, self.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }
}

/// Payload types that carry telephone events.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct EventTypes(u128);

impl EventTypes {
    /// Returns whether the payload type carries telephone events.
    pub fn contains(self, payload_type: u8) -> bool {
        1u128.checked_shl(payload_type.into()).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Returns whether there is no such payload type: the peer does not support telephone events.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a payload type. Values above 127 are ignored.
    pub fn insert(&mut self, payload_type: u8) {
        self.0 |= 1u128.checked_shl(payload_type.into()).unwrap_or_default();
    }
}

impl FromIterator<u8> for EventTypes {
    fn from_iter<I: IntoIterator<Item = u8>>(payload_types: I) -> Self {
        let mut types = Self::default();
        payload_types.into_iter().for_each(|payload_type| types.insert(payload_type));
        types
    }
}

impl fmt::Debug for EventTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0u8..128).filter(|payload_type| self.contains(*payload_type))).finish()
    }
}

/// The peer's end of the audio, as an answer or an offer describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteMedia {
    /// The address and port at which the peer receives audio, and from which it sends. The address is unspecified
    /// (`0.0.0.0`) if the peer puts the call on hold as in RFC 3264, section 8.4.
    pub rtp: SocketAddr,
    /// The address and port at which the peer receives RTCP: the port of `a=rtcp` (RFC 3605), otherwise the port after
    /// that of RTP. `None` if there is none.
    pub rtcp: Option<SocketAddr>,
    /// The codec to send with.
    pub codec: Codec,
    /// Payload type for telephone events to the peer, if it supports them.
    pub event_type: Option<u8>,
    /// Payload types that carry telephone events from the peer: its own and 101. Empty if it supports none; digits may
    /// then arrive in INFO requests.
    pub event_types: EventTypes,
    /// Direction of the audio. Inactive if the address is unspecified.
    pub direction: Direction,
    /// The key with which the peer encrypts. `None`: RTP without encryption.
    pub key: Option<PeerKey>,
}

impl RemoteMedia {
    /// Returns whether the call is on hold: the peer does not send or does not receive audio. After a first answer on
    /// hold, wait for a re-INVITE of the peer.
    pub fn is_on_hold(&self) -> bool {
        !(self.direction.sends && self.direction.receives)
    }
}

/// Why a description of the peer cannot be used.
///
/// The messages complete the sentence "its session description cannot be used:". Text from the peer in them is cut to
/// 32 printable characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// It is empty, does not begin with `v=0`, or has an `m=` line that cannot be parsed.
    #[error("it is malformed")]
    Malformed,
    /// It exceeds [`MAX_BYTES`], [`MAX_LINES`] or [`MAX_MEDIA`].
    #[error("it is too large")]
    TooLarge,
    /// It has no audio stream.
    #[error("it has no audio stream")]
    NoAudio,
    /// It has more than one audio stream, but one was offered.
    #[error("it has several audio streams, but one was offered")]
    SeveralAudio,
    /// The port of the audio stream is 0.
    #[error("it rejects the audio stream")]
    Rejected,
    /// The transport is not the one that was offered, or is not supported.
    #[error("its transport is {0}, which was not offered or is not supported")]
    Transport(String),
    /// The address of the audio is missing, ambiguous, of the other address family, or not unicast, or the stream has
    /// more than one port.
    #[error("it has no usable IP address or port for the audio")]
    Address,
    /// The address of the audio is valid only on one machine (loopback) or network link (link-local), and the own one is
    /// not.
    #[error("its address for the audio, {0}, is valid only on one machine or network link")]
    Reach(IpAddr),
    /// Neither PCMU nor PCMA is among its formats.
    #[error("it has no codec in common (PCMU, PCMA)")]
    Codec,
    /// Encryption is required or was negotiated before, but the description has none.
    #[error("it does not encrypt the audio, but encryption is required or was negotiated before")]
    Unencrypted,
    /// The encryption was not offered, is not supported, or cannot be parsed.
    #[error("its encryption was not offered, is not supported or cannot be read")]
    Encryption,
}

#[cfg(test)]
mod tests;
