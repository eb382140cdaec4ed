//! Writes the descriptions of this side.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::check::{self, OfferedEncryption, PeerOffer, Requirements};
use super::{Codec, Direction, Encryption, LocalKeys, RemoteMedia, SdpError, TELEPHONE_EVENT};
use crate::rtp::{CLOCK_RATE, PACKET_MILLISECONDS};

/// This side of the session of one call.
///
/// All its descriptions have the same session id. The version starts at the value of the session id, and is incremented
/// with each description that differs from the previous one (RFC 3264, section 8).
///
/// ```
/// use phonegate_media::sdp::{Codec, Encryption, LocalSession};
///
/// let mut session = LocalSession::new("192.0.2.1:4000".parse().unwrap(), 7, Encryption::Off);
/// assert!(session.offer().contains("m=audio 4000 RTP/AVP 0 8 101\r\n"));
/// let answer = b"v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 6000 RTP/AVP 8 101\r\n";
/// let remote = session.check_answer(answer).unwrap();
/// assert_eq!((remote.codec, remote.event_type), (Codec::Pcma, Some(101)));
/// ```
#[derive(Debug)]
pub struct LocalSession {
    rtp: SocketAddr,
    session_id: u64,
    version: u64,
    encryption: Encryption,
    /// Whether encryption was negotiated at any time in the call.
    was_encrypted: bool,
    /// The media part of the latest description, which may contain keys.
    last: Option<Hidden>,
}

/// A text that stays out of `Debug`, and is overwritten when dropped.
struct Hidden(zeroize::Zeroizing<String>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl LocalSession {
    /// Creates the session. `rtp` is the address and port where this side receives audio; the next port is for RTCP.
    /// `session_id` should be random. Only its lowest 62 bits are used, because some peers read it as a signed number.
    pub fn new(rtp: SocketAddr, session_id: u64, encryption: Encryption) -> Self {
        let session_id = session_id & (u64::MAX >> 2);
        Self { rtp, session_id, version: session_id, encryption, was_encrypted: false, last: None }
    }

    /// Returns whether the audio is encrypted, with the local keys.
    pub fn encryption(&self) -> &Encryption {
        &self.encryption
    }

    /// Writes a full offer, of everything that this side supports: PCMU, PCMA, telephone events as 101, and keys unless
    /// encryption is off. It can also be the offer in the 200 to a re-INVITE without a description (RFC 3261, section
    /// 14.2).
    pub fn offer(&mut self) -> String {
        let is_savp = matches!(self.encryption, Encryption::Required(_));
        let mut audio = self.audio(is_savp, &[Codec::Pcmu, Codec::Pcma], Some(TELEPHONE_EVENT));
        for value in self.encryption.keys().into_iter().flat_map(LocalKeys::offered) {
            let _ = write!(audio, "a=crypto:{value}\r\n");
        }
        audio.push_str("a=sendrecv\r\n");
        self.describe(audio)
    }

    /// Checks the answer to an offer of [`Self::offer`].
    ///
    /// # Errors
    ///
    /// As [`Self::check_answer_to`].
    pub fn check_answer(&mut self, sdp: &[u8]) -> Result<RemoteMedia, SdpError> {
        self.check(&OfferedEncryption::full(&self.encryption), sdp)
    }

    /// Checks the answer to an offer that this side sent during the call. A session refresh offers the latest
    /// description again, even if that was an answer (RFC 4028, section 7.4).
    ///
    /// Formats that were not offered are ignored. An answer on hold is accepted: see [`RemoteMedia::is_on_hold`]. After an
    /// early answer with encryption, the answers of other branches of a forked call must be encrypted too.
    ///
    /// # Errors
    ///
    /// See [`SdpError`]. The audio cannot be used; an earlier session is not changed.
    pub fn check_answer_to(&mut self, offer: &[u8], sdp: &[u8]) -> Result<RemoteMedia, SdpError> {
        self.check(&OfferedEncryption::read(offer)?, sdp)
    }

    fn check(&mut self, offered: &OfferedEncryption, sdp: &[u8]) -> Result<RemoteMedia, SdpError> {
        let remote = check::answer(sdp, offered, self.requirements())?;
        self.was_encrypted |= remote.key.is_some();
        Ok(remote)
    }

    /// Checks an offer of the peer, in an INVITE or UPDATE within the call.
    ///
    /// # Errors
    ///
    /// See [`SdpError`]. Reject the offer with 488; the session is not changed.
    pub fn check_offer(&self, sdp: &[u8]) -> Result<PeerOffer, SdpError> {
        check::offer(sdp, self.requirements())
    }

    fn requirements(&self) -> Requirements<'_> {
        Requirements { own: self.rtp.ip(), encryption: &self.encryption, was_encrypted: self.was_encrypted }
    }

    /// Writes the answer to an offer, with the same transport, the first supported codec, the same payload type for
    /// telephone events, the same suite, and the opposite direction (RFC 3264, section 6.1).
    pub fn answer(&mut self, offer: &PeerOffer) -> String {
        let remote = &offer.remote;
        let (before, after) = &offer.refused;
        let mut media = before.clone() + &self.audio(offer.is_savp, &[remote.codec], remote.event_type);
        if let (Some(key), Some(keys)) = (&remote.key, self.encryption.keys()) {
            let _ = write!(media, "a=crypto:{}\r\n", keys.answer(key));
            self.was_encrypted = true;
        }
        let Direction { sends, receives } = remote.direction;
        let own = Direction { sends: receives, receives: sends };
        let _ = write!(media, "a={}\r\n", own.as_str());
        self.describe(media + after)
    }

    /// Prepends the session lines to the media lines, and increments the version if the media lines changed.
    fn describe(&mut self, media: String) -> String {
        let is_new = self.last.as_ref().is_some_and(|last| *last.0 != media);
        self.version = self.version.saturating_add(is_new.into());
        let (id, version, address) = (self.session_id, self.version, self.rtp.ip());
        let family = match address {
            IpAddr::V4(_) => "IP4",
            IpAddr::V6(_) => "IP6",
        };
        let session = format!("v=0\r\no=- {id} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\n");
        let description = session + "t=0 0\r\n" + &media;
        self.last = Some(Hidden(media.into()));
        description
    }

    fn audio(&self, is_savp: bool, codecs: &[Codec], event_type: Option<u8>) -> String {
        let transport = if is_savp { "RTP/SAVP" } else { "RTP/AVP" };
        let mut audio = format!("m=audio {} {transport}", self.rtp.port());
        for payload_type in codecs.iter().map(|codec| codec.payload_type()).chain(event_type) {
            let _ = write!(audio, " {payload_type}");
        }
        audio.push_str("\r\n");
        for codec in codecs {
            let _ = write!(audio, "a=rtpmap:{} {}/{CLOCK_RATE}\r\n", codec.payload_type(), codec.name());
        }
        if let Some(events) = event_type {
            let _ = write!(audio, "a=rtpmap:{events} telephone-event/{CLOCK_RATE}\r\na=fmtp:{events} 0-16\r\n");
        }
        let _ = write!(audio, "a=ptime:{PACKET_MILLISECONDS}\r\na=maxptime:{PACKET_MILLISECONDS}\r\n");
        audio
    }
}
