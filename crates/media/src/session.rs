//! Combines the parts of this crate for one call: turns received packets into digits and, at the end of the call, a
//! summary.
//!
//! The caller passes in each negotiated description, each packet with its source and time, and the moment of the
//! answer. If SRTP was negotiated, only authentic packets are accepted.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use crate::dtmf::{Digit, DigitEvent, InfoError, ToneDetector, accepts_info, parse_info};
use crate::receiver::{DropCounts, Protection, Receiver, Reception, canonical};
use crate::rtcp::{self, ReportBlock};
use crate::sdp::{Encryption, RemoteMedia};
use crate::srtp::{Srtp, SrtpError};

/// The media of one call.
///
/// The caller measures times from any fixed origin; they must not go back. Memory is bounded: see [`Receiver`] and
/// [`Srtp`].
///
/// ```
/// use std::time::Duration;
/// use phonegate_media::rtp::RtpHeader;
/// use phonegate_media::sdp::{Encryption, LocalSession};
/// use phonegate_media::session::MediaSession;
///
/// let mut local = LocalSession::new("192.0.2.1:4000".parse()?, 7, Encryption::Off);
/// let mut media = MediaSession::new(local.encryption(), 0x1234, false)?;
/// let _offer = local.offer();
/// let remote = local.check_answer(b"v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 6000 RTP/AVP 0 101\r\n")?;
/// media.set_remote(&remote)?;
/// media.set_answered();
/// let mut digit = None;
/// for sequence in 0..3 {
///     let header = RtpHeader { marker: sequence == 0, payload_type: 101, sequence, timestamp: 0, ssrc: 9 };
///     let now = Duration::from_millis(20 * u64::from(sequence));
///     digit = digit.or(media.receive_rtp(now, remote.rtp, &header.write(&[5, 0x0a, 0, 160])));
/// }
/// assert!(digit.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MediaSession {
    /// The SSRC of this side.
    ssrc: u32,
    receiver: Receiver,
    /// `None` if encryption is off.
    srtp: Option<Srtp>,
    must_encrypt: bool,
    remote: Option<RemoteMedia>,
    is_answered: bool,
    tones: ToneDetector,
    /// The counts of the session itself. The receiver has the others.
    summary: Summary,
}

/// Counts of what a call received, for its log entry and for diagnosis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Accepted packets of audio or events before the answer (early media).
    pub early_packets: u64,
    /// Accepted packets of audio since the answer.
    pub audio_packets: u64,
    /// Accepted packets of telephone events since the answer.
    pub event_packets: u64,
    /// Whether the audio contained DTMF tones since the answer. They never become digits.
    pub has_tones: bool,
    /// Packets dropped since the beginning of the call, except those of the next two counts.
    pub dropped: DropCounts,
    /// Packets that SRTP could not decrypt: not encrypted, encrypted with another key, modified, or not RTP.
    pub not_authentic: u64,
    /// Packets whose index was received before or is too old: see [`SrtpError::Replayed`]. They are not authenticated.
    pub replayed: u64,
    /// The learned address and port at the end, if another port than the named one was learned.
    pub learned_source: Option<SocketAddr>,
    /// Packets lost of the latest stream.
    pub lost: u32,
    /// Jitter of the latest stream.
    pub jitter: Duration,
    /// The peer's latest report on the audio of this side.
    pub peer_report: Option<ReportBlock>,
    /// RTCP packets dropped: from other sources, malformed, or not authentic.
    pub dropped_rtcp: u64,
}

impl Summary {
    /// Returns whether no packet was received at all, from any source: the audio of the peer does not reach this side.
    pub fn is_without_rtp(&self) -> bool {
        self.early_packets == 0 && self.is_silent() && self.dropped.total() == 0 && self.not_authentic == 0
    }

    /// Returns whether no packet was accepted since the answer. The counts of dropped packets may explain it.
    pub fn is_silent(&self) -> bool {
        self.audio_packets == 0 && self.event_packets == 0
    }

    /// Returns whether digits were received as tones in the audio, and none as a telephone event.
    pub fn has_only_tones(&self) -> bool {
        self.has_tones && self.event_packets == 0
    }
}

impl MediaSession {
    /// Creates the session of a call. Until [`set_remote`](Self::set_remote), every packet is dropped.
    ///
    /// `encryption` is that of the call's [`LocalSession`](crate::sdp::LocalSession). `ssrc` is a random number that
    /// identifies the stream of this side. `learns_port` allows another port of the named address: see
    /// [`Receiver::new`].
    ///
    /// # Errors
    ///
    /// [`SrtpError::Crypto`].
    pub fn new(encryption: &Encryption, ssrc: u32, learns_port: bool) -> Result<Self, SrtpError> {
        let keys = match encryption {
            Encryption::Off => None,
            Encryption::Optional(keys) | Encryption::Required(keys) => Some(keys),
        };
        Ok(Self {
            ssrc,
            receiver: Receiver::new(learns_port),
            srtp: keys.map(Srtp::new).transpose()?,
            must_encrypt: matches!(encryption, Encryption::Required(_)),
            remote: None,
            is_answered: false,
            tones: ToneDetector::new(),
            summary: Summary::default(),
        })
    }

    /// Applies a description of the peer: a checked answer, or an offer that was answered.
    ///
    /// # Errors
    ///
    /// [`SrtpError::Unencrypted`] if encryption is required or was in use, and the description has none;
    /// [`SrtpError::NoKey`] if it has, but encryption is off; [`SrtpError::TooManyKeys`], [`SrtpError::Crypto`]. The
    /// session is not changed.
    pub fn set_remote(&mut self, media: &RemoteMedia) -> Result<(), SrtpError> {
        match (&media.key, &mut self.srtp) {
            (Some(key), Some(srtp)) => srtp.set_peer_key(key)?,
            (Some(_), None) => return Err(SrtpError::NoKey),
            (None, _) if self.must_encrypt => return Err(SrtpError::Unencrypted),
            (None, _) => {}
        }
        self.must_encrypt |= media.key.is_some();
        self.receiver.set_remote(media);
        self.remote = Some(media.clone());
        Ok(())
    }

    /// Marks the call as answered. Digits pressed from now on are reported, and the source of early media is forgotten:
    /// see [`Receiver::forget_source`]. Further calls have no effect.
    pub fn set_answered(&mut self) {
        if !self.is_answered {
            self.is_answered = true;
            self.receiver.forget_source();
            self.receiver.discard_pending();
        }
    }

    /// Handles a packet that arrived at `now` from `from` on the RTP port. Returns a digit event, if the packet reports
    /// one and the call is answered.
    pub fn receive_rtp(&mut self, now: Duration, from: SocketAddr, packet: &[u8]) -> Option<DigitEvent> {
        let (packet, protection) = match self.open(packet, Srtp::open_rtp) {
            Ok(opened) => opened,
            Err(SrtpError::Replayed) => {
                count(&mut self.summary.replayed);
                return None;
            }
            Err(_) => {
                count(&mut self.summary.not_authentic);
                return None;
            }
        };
        let (packets, digit) = match self.receiver.receive(now, from, &packet, protection) {
            Reception::Audio { codec, packet } => {
                if self.is_answered {
                    self.tones.read(codec, packet.payload);
                }
                (&mut self.summary.audio_packets, None)
            }
            Reception::Event(digit) => (&mut self.summary.event_packets, digit),
            Reception::Dropped(_) => return None,
        };
        count(if self.is_answered { packets } else { &mut self.summary.early_packets });
        digit.filter(|_| self.is_answered)
    }

    /// Handles a packet that arrived from `from` on the RTCP port. It is accepted if it comes from the RTCP address in
    /// the description or, with SRTCP, if it is authentic.
    pub fn receive_rtcp(&mut self, from: SocketAddr, packet: &[u8]) {
        let named = self.remote.as_ref().and_then(|remote| remote.rtcp);
        let report = self.open(packet, Srtp::open_rtcp).ok().and_then(|(packet, protection)| {
            let counts = protection == Protection::Authenticated || Some(canonical(from)) == named;
            counts.then(|| rtcp::read(&packet).ok()).flatten()
        });
        match report {
            Some(report) => self.summary.peer_report = report.about(self.ssrc).copied().or(self.summary.peer_report),
            None => count(&mut self.summary.dropped_rtcp),
        }
    }

    /// Reads the digit of an INFO request in the call, from its `Content-Type` and its body.
    ///
    /// # Errors
    ///
    /// See [`InfoError`]; respond to the request with 415. [`InfoError::NotAccepted`] before the answer, and if
    /// [`accepts_info`] returns false, whatever the body of its type. [`InfoError::Body`] therefore means that the user
    /// may have pressed a key.
    pub fn receive_info(&self, content_type: &str, body: &[u8], is_signalling_tls: bool) -> Result<Digit, InfoError> {
        let digit = parse_info(content_type, body);
        let is_accepted = self.remote.as_ref().is_some_and(|remote| accepts_info(remote, is_signalling_tls));
        match digit {
            Err(InfoError::ContentType) => digit,
            _ if self.is_answered && is_accepted => digit,
            _ => Err(InfoError::NotAccepted),
        }
    }

    /// Returns the bytes to send for an RTP packet of this side: encrypted, if that was negotiated.
    ///
    /// # Errors
    ///
    /// [`SrtpError::NoKey`] before the first description; otherwise see [`Srtp::protect_rtp`].
    pub fn protect_rtp(&mut self, packet: Vec<u8>) -> Result<Vec<u8>, SrtpError> {
        self.protect(packet, Srtp::protect_rtp)
    }

    /// Returns the bytes to send for a compound RTCP packet of this side: encrypted, if that was negotiated.
    ///
    /// # Errors
    ///
    /// [`SrtpError::NoKey`] before the first description; otherwise see [`Srtp::protect_rtcp`].
    pub fn protect_rtcp(&mut self, packet: Vec<u8>) -> Result<Vec<u8>, SrtpError> {
        self.protect(packet, Srtp::protect_rtcp)
    }

    /// Returns the report on the current stream, for an RTCP packet of this side: see [`Receiver::report`].
    pub fn reception_report(&mut self) -> Option<ReportBlock> {
        self.receiver.report()
    }

    /// Returns the address and port that the audio of this side goes to instead of the named one, if it was learned: see
    /// [`Receiver::learned_source`].
    pub fn learned_source(&self) -> Option<SocketAddr> {
        self.receiver.learned_source()
    }

    /// Returns what the call received so far.
    pub fn summary(&self) -> Summary {
        let stats = self.receiver.stats();
        let (lost, jitter) = (stats.lost(), stats.jitter());
        Summary {
            has_tones: self.tones.has_heard(),
            dropped: *self.receiver.dropped(),
            learned_source: self.receiver.learned_source(),
            lost,
            jitter,
            ..self.summary
        }
    }

    /// Decrypts a packet if encryption was negotiated; otherwise returns it unchanged.
    fn open<'a>(
        &mut self,
        packet: &'a [u8],
        open: impl FnOnce(&mut Srtp, &[u8]) -> Result<Vec<u8>, SrtpError>,
    ) -> Result<(Cow<'a, [u8]>, Protection), SrtpError> {
        if self.remote.as_ref().is_some_and(|remote| remote.key.is_some()) {
            let opened = open(self.srtp.as_mut().ok_or(SrtpError::NoKey)?, packet)?;
            Ok((opened.into(), Protection::Authenticated))
        } else {
            Ok((packet.into(), Protection::None))
        }
    }

    fn protect(
        &mut self,
        packet: Vec<u8>,
        protect: impl FnOnce(&mut Srtp, &[u8]) -> Result<Vec<u8>, SrtpError>,
    ) -> Result<Vec<u8>, SrtpError> {
        match &self.remote.as_ref().ok_or(SrtpError::NoKey)?.key {
            Some(_) => protect(self.srtp.as_mut().ok_or(SrtpError::NoKey)?, &packet),
            None => Ok(packet),
        }
    }
}

fn count(packets: &mut u64) {
    *packets = packets.saturating_add(1);
}
