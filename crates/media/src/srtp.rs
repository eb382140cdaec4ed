//! SRTP and SRTCP (RFC 3711) with the keys of the session descriptions.
//!
//! [`Srtp`] encrypts with the local keys and decrypts with the key of the peer. The ciphers are those of `rtc-srtp`.
//! This module adds three protections that the library lacks:
//!
//! - The library keeps state for each stream (SSRC), authentic or not. Here, unknown streams are tried in a context
//!   that is replaced regularly, so forged packets create no state.
//! - The library's replay window has 16 bits of the sequence number, so a packet from exactly half a cycle ago passes
//!   as new. Here, the window has the whole index.
//! - The library does not authenticate SRTCP packets that are not encrypted. Here, they are rejected.

mod replay;

use std::collections::BTreeMap;
use std::fmt;

use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::rtp::RtpHeader;
use crate::sdp::{CryptoSuite, LocalKeys, MasterKey, PeerKey};
use replay::ReplayWindow;

/// Maximum number of streams (SSRC) under one key of the peer, for RTP and for RTCP each. None is forgotten, so none
/// can be replayed; further ones are rejected.
pub const MAX_STREAMS: usize = 256;

/// Maximum number of different keys of the peer in one call. None is forgotten, so packets cannot be replayed after the
/// peer returns to an earlier key; further ones are rejected.
pub const MAX_PEER_KEYS: usize = 32;

/// Longest SRTCP packet that is decrypted, in bytes.
const MAX_RTCP_PACKET: usize = crate::rtcp::MAX_PACKET;

/// Number of packets of unknown streams after which the context that tries them is replaced.
const MAX_TRIES: u32 = 64;

/// Length of the index and the authentication tag at the end of an SRTCP packet, in bytes. It is the same in both
/// suites (RFC 4568, section 6.2).
const RTCP_TRAILER: usize = 14;

/// Why a packet cannot be encrypted or decrypted, or a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SrtpError {
    /// No key of the peer is set.
    #[error("no key has been negotiated")]
    NoKey,
    /// Encryption is required or was in use, and the new description has no key.
    #[error("the description has no key, but the audio must be encrypted")]
    Unencrypted,
    /// The peer has used [`MAX_PEER_KEYS`] other keys in this call.
    #[error("the peer has used too many keys in this call")]
    TooManyKeys,
    /// The peer has used [`MAX_STREAMS`] other streams under this key.
    #[error("the peer has used too many streams under one key")]
    TooManyStreams,
    /// The packet is neither SRTP nor SRTCP.
    #[error("the packet is malformed")]
    Malformed,
    /// The packet was not sent by the peer, or was modified.
    #[error("the packet is not authentic")]
    NotAuthentic,
    /// A packet with this index was received before, or the index is more than 63 behind the highest. The packet is not
    /// authenticated.
    #[error("the packet is a replay, or too late")]
    Replayed,
    /// The cryptographic library rejected a key or a packet.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// Encrypts and decrypts the packets of one call.
///
/// Memory is bounded by [`MAX_PEER_KEYS`] and [`MAX_STREAMS`]. Only authentic packets create state for a stream.
pub struct Srtp {
    /// The contexts for encryption. They live as long as the call: a new one with the same key would repeat its key
    /// stream.
    sha1_80: Context,
    sha1_32: Context,
    /// The last one is in use.
    peers: Vec<Peer>,
}

/// Shows no keys.
impl fmt::Debug for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Srtp").field("peer_keys", &self.peers.len()).finish_non_exhaustive()
    }
}

impl Srtp {
    /// Creates the contexts for encryption. No other value may encrypt with the same keys.
    ///
    /// # Errors
    ///
    /// [`SrtpError::Crypto`].
    pub fn new(keys: &LocalKeys) -> Result<Self, SrtpError> {
        let local = |suite| context(keys.key(suite), suite);
        Ok(Self {
            sha1_80: local(CryptoSuite::AesCm128HmacSha1_80)?,
            sha1_32: local(CryptoSuite::AesCm128HmacSha1_32)?,
            peers: Vec::new(),
        })
    }

    /// Sets the key for decryption, and encrypts in its suite from now on. If the key was in use before, packets
    /// received under it are still known.
    ///
    /// # Errors
    ///
    /// [`SrtpError::TooManyKeys`], [`SrtpError::Crypto`]. The previous key stays in use.
    pub fn set_peer_key(&mut self, key: &PeerKey) -> Result<(), SrtpError> {
        let is_same = |peer: &Peer| peer.suite == key.suite() && peer.key == *key.master_key();
        let peer = match self.peers.iter().position(is_same) {
            Some(known) => self.peers.remove(known),
            None if self.peers.len() >= MAX_PEER_KEYS => return Err(SrtpError::TooManyKeys),
            None => Peer::new(key)?,
        };
        self.peers.push(peer);
        Ok(())
    }

    /// Encrypts an RTP packet of this side. The sequence numbers of a stream must not go back, and each stream that was
    /// ever sent is remembered.
    ///
    /// # Errors
    ///
    /// [`SrtpError::NoKey`] before [`Srtp::set_peer_key`]; [`SrtpError::Crypto`] if the packet is not RTP.
    pub fn protect_rtp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        self.local()?.encrypt_rtp(packet).map(Vec::from).map_err(|_| SrtpError::Crypto)
    }

    /// Encrypts a compound RTCP packet of this side.
    ///
    /// # Errors
    ///
    /// [`SrtpError::NoKey`] before [`Srtp::set_peer_key`]; [`SrtpError::Crypto`] if the packet is not RTCP.
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        self.local()?.encrypt_rtcp(packet).map(Vec::from).map_err(|_| SrtpError::Crypto)
    }

    /// Returns the RTP packet in an SRTP packet of the peer, if it is authentic and new.
    ///
    /// A stream is assumed to begin in the first cycle of its sequence numbers. If all packets before the first wrap
    /// are lost, no packet of it is authentic (RFC 3711, section 3.3.1).
    ///
    /// # Errors
    ///
    /// See [`SrtpError`].
    pub fn open_rtp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        self.peers.last_mut().ok_or(SrtpError::NoKey)?.open_rtp(packet)
    }

    /// Returns the compound RTCP packet in an SRTCP packet of the peer, if it is encrypted, authentic and new.
    ///
    /// # Errors
    ///
    /// See [`SrtpError`].
    pub fn open_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        self.peers.last_mut().ok_or(SrtpError::NoKey)?.open_rtcp(packet)
    }

    fn local(&mut self) -> Result<&mut Context, SrtpError> {
        match self.peers.last().ok_or(SrtpError::NoKey)?.suite {
            CryptoSuite::AesCm128HmacSha1_80 => Ok(&mut self.sha1_80),
            CryptoSuite::AesCm128HmacSha1_32 => Ok(&mut self.sha1_32),
        }
    }
}

/// The state of one key of the peer.
struct Peer {
    suite: CryptoSuite,
    key: MasterKey,
    /// Used only for packets of authentic streams.
    context: Context,
    trial: Trial,
    rtp: BTreeMap<u32, ReplayWindow>,
    rtcp: BTreeMap<u32, ReplayWindow>,
}

/// The context that tries packets of unknown streams.
struct Trial {
    context: Context,
    packets: u32,
}

/// The protocol of a packet.
#[derive(Clone, Copy)]
enum Kind {
    Rtp,
    Rtcp,
}

impl Peer {
    fn new(key: &PeerKey) -> Result<Self, SrtpError> {
        let (suite, key) = (key.suite(), key.master_key().clone());
        let new = || context(&key, suite);
        let (context, trial) = (new()?, Trial { context: new()?, packets: 0 });
        Ok(Self { suite, key, context, trial, rtp: BTreeMap::new(), rtcp: BTreeMap::new() })
    }

    fn open_rtp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let (header, ..) = RtpHeader::read(packet).map_err(|_| SrtpError::Malformed)?;
        let window = self.rtp.get(&header.ssrc).copied();
        let index = match &window {
            Some(window) => window.extend(header.sequence).ok_or(SrtpError::Replayed)?,
            None => header.sequence.into(),
        };
        let (window, opened) = self.open(packet, Kind::Rtp, window, index)?;
        self.rtp.insert(header.ssrc, window);
        Ok(opened)
    }

    fn open_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        if packet.len() > MAX_RTCP_PACKET {
            return Err(SrtpError::Malformed);
        }
        let ssrc = packet.get(4..).and_then(|rest| rest.first_chunk()).ok_or(SrtpError::Malformed)?;
        let ssrc = u32::from_be_bytes(*ssrc);
        let trailer = packet.last_chunk::<RTCP_TRAILER>().and_then(|trailer| trailer.first_chunk());
        let flag_and_index = u32::from_be_bytes(*trailer.ok_or(SrtpError::Malformed)?);
        let index = flag_and_index & 0x7fff_ffff;
        // The library does not authenticate a packet whose E flag is not set.
        if index == flag_and_index {
            return Err(SrtpError::NotAuthentic);
        }
        let window = self.rtcp.get(&ssrc).copied();
        let (window, opened) = self.open(packet, Kind::Rtcp, window, index.into())?;
        self.rtcp.insert(ssrc, window);
        Ok(opened)
    }

    /// Decrypts a packet of a stream with this window. Returns the window with the packet recorded.
    fn open(
        &mut self,
        packet: &[u8],
        kind: Kind,
        window: Option<ReplayWindow>,
        index: u64,
    ) -> Result<(ReplayWindow, Vec<u8>), SrtpError> {
        let Some(mut window) = window else {
            let streams = match kind {
                Kind::Rtp => self.rtp.len(),
                Kind::Rtcp => self.rtcp.len(),
            };
            if streams >= MAX_STREAMS {
                return Err(SrtpError::TooManyStreams);
            }
            self.try_unknown(packet, kind)?;
            return Ok((ReplayWindow::new(index), kind.open(&mut self.context, packet)?));
        };
        if !window.is_new(index) {
            return Err(SrtpError::Replayed);
        }
        let opened = kind.open(&mut self.context, packet)?;
        window.record(index);
        Ok((window, opened))
    }

    fn try_unknown(&mut self, packet: &[u8], kind: Kind) -> Result<(), SrtpError> {
        if self.trial.packets >= MAX_TRIES {
            self.trial = Trial { context: context(&self.key, self.suite)?, packets: 0 };
        }
        self.trial.packets = self.trial.packets.saturating_add(1);
        kind.open(&mut self.trial.context, packet).map(drop)
    }
}

impl Kind {
    fn open(self, context: &mut Context, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let opened = match self {
            Self::Rtp => context.decrypt_rtp(packet),
            Self::Rtcp => context.decrypt_rtcp(packet),
        };
        opened.map(Vec::from).map_err(|_| SrtpError::NotAuthentic)
    }
}

/// Creates a context without a replay window.
fn context(key: &MasterKey, suite: CryptoSuite) -> Result<Context, SrtpError> {
    let profile = match suite {
        CryptoSuite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        CryptoSuite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    let provider = rtc_crypto::default_provider().map_err(|_| SrtpError::Crypto)?;
    Context::new(key.key(), key.salt(), profile, None, None, provider.crypto()).map_err(|_| SrtpError::Crypto)
}

#[cfg(test)]
mod tests;
