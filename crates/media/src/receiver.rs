//! Decides which packets of a call may be heard, and finds the digits in them.
//!
//! Without SRTP a packet counts if it comes from exactly the address and port that the peer's description names. Within
//! that, another stream (SSRC) counts only after the current one has been silent for 1 s, and a digit only after two
//! packets of its event. So one blind packet never presses a digit.
//!
//! [`Receiver::new`] can allow another *port* of the named address, for peers behind a translator. A
//! packet that SRTP has authenticated counts wherever it comes from, whatever its stream.

mod learn;

use std::net::SocketAddr;
use std::time::Duration;

use crate::dtmf::{DigitEvent, EventDetector, EventPosition};
use crate::rtcp::{ReceptionStats, ReportBlock};
use crate::rtp::{RtpHeader, RtpPacket};
use crate::sdp::{Codec, EventTypes, RemoteMedia};
use learn::PortLearner;

/// Another stream counts once the current one has been silent for this long.
pub const STREAM_SILENCE: Duration = Duration::from_secs(1);

/// How a packet was protected on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It arrived as RTP.
    None,
    /// It arrived as SRTP, which was authenticated, checked for replay, and decrypted.
    Authenticated,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict<'a> {
    /// Audio of the peer.
    Audio {
        /// Codec of the payload.
        codec: Codec,
        /// The packet.
        packet: RtpPacket<'a>,
    },
    /// A telephone event of the peer, and what it reports. Most packets of an event report nothing.
    Event(Option<DigitEvent>),
    /// Not to be heard.
    Dropped(DropReason),
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// No session has been agreed on yet, or the peer said that it does not send.
    NotSending,
    /// Not from the named address.
    Address,
    /// From the named address, but another port.
    Port,
    /// Not RTP.
    NotRtp,
    /// A payload type that is neither a codec of this crate nor a telephone event.
    PayloadType,
    /// Another stream while the current one is not silent.
    Stream,
    /// A telephone event from a learned port that is not near the audio in sequence number.
    Sequence,
}

/// Packets dropped since the beginning of the call, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropCounts {
    /// See [`DropReason::NotSending`].
    pub not_sending: u64,
    /// See [`DropReason::Address`].
    pub address: u64,
    /// See [`DropReason::Port`].
    pub port: u64,
    /// See [`DropReason::NotRtp`].
    pub not_rtp: u64,
    /// See [`DropReason::PayloadType`].
    pub payload_type: u64,
    /// See [`DropReason::Stream`].
    pub stream: u64,
    /// See [`DropReason::Sequence`].
    pub sequence: u64,
}

impl DropCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        let counts =
            [self.not_sending, self.address, self.port, self.not_rtp, self.payload_type, self.stream, self.sequence];
        counts.into_iter().fold(0, u64::saturating_add)
    }

    fn count(&mut self, reason: DropReason) {
        let count = match reason {
            DropReason::NotSending => &mut self.not_sending,
            DropReason::Address => &mut self.address,
            DropReason::Port => &mut self.port,
            DropReason::NotRtp => &mut self.not_rtp,
            DropReason::PayloadType => &mut self.payload_type,
            DropReason::Stream => &mut self.stream,
            DropReason::Sequence => &mut self.sequence,
        };
        *count = count.saturating_add(1);
    }
}

/// The receiving side of one call.
///
/// Its memory is bounded: see [`EventDetector`]; everything else is of fixed size. Times are measured by the caller from
/// any fixed origin, and never go back.
#[derive(Debug)]
pub struct Receiver {
    remote: Option<Remote>,
    /// `None` if other ports are never learned.
    learner: Option<PortLearner>,
    stream: Option<Stream>,
    events: EventDetector,
    stats: ReceptionStats,
    dropped: DropCounts,
}

/// What the receiver must know of the peer's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remote {
    rtp: SocketAddr,
    sends: bool,
    event_types: EventTypes,
}

/// The stream that is heard from the named address and port.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    last_heard: Duration,
    /// Whether audio came. Events alone do not keep audio of another stream out.
    has_audio: bool,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Audio(Codec),
    Event,
}

impl Receiver {
    /// Creates a receiver that drops everything until [`Receiver::set_remote`]. `learns_port` allows another port of the
    /// named address.
    pub fn new(learns_port: bool) -> Self {
        Self {
            remote: None,
            learner: learns_port.then(PortLearner::default),
            stream: None,
            events: EventDetector::new(),
            stats: ReceptionStats::new(),
            dropped: DropCounts::default(),
        }
    }

    /// Applies a description of the peer. If it names another address or port, the current stream and a learned port are
    /// forgotten. Events go on, so that a press during a re-INVITE counts once.
    pub fn set_remote(&mut self, media: &RemoteMedia) {
        let moved = self.remote.is_none_or(|remote| remote.rtp != media.rtp);
        self.remote = Some(Remote { rtp: media.rtp, sends: media.direction.sends, event_types: media.event_types });
        if moved {
            self.forget_source();
        }
    }

    /// Forgets the current stream, a learned port, and that the named port was heard. For the moment when the call is
    /// answered: early media may have come from another port.
    pub fn forget_source(&mut self) {
        self.stream = None;
        if let Some(learner) = &mut self.learner {
            *learner = PortLearner::default();
        }
    }

    /// Discards presses of which only one packet came: see [`EventDetector::discard_pending`].
    pub fn discard_pending(&mut self) {
        self.events.discard_pending();
    }

    /// Judges a packet that arrived at `now` from `from`.
    pub fn receive<'a>(
        &mut self,
        now: Duration,
        from: SocketAddr,
        packet: &'a [u8],
        protection: Protection,
    ) -> Verdict<'a> {
        match self.accept(now, from, packet, protection) {
            Ok((Content::Audio(codec), packet)) => {
                self.stats.count(&packet.header, true, now);
                Verdict::Audio { codec, packet }
            }
            Ok((Content::Event, RtpPacket { header, payload })) => {
                self.stats.count(&header, false, now);
                let RtpHeader { ssrc, sequence, timestamp, .. } = header;
                Verdict::Event(self.events.read(EventPosition { ssrc, sequence, timestamp }, payload, now))
            }
            Err(reason) => {
                self.dropped.count(reason);
                Verdict::Dropped(reason)
            }
        }
    }

    /// What was received of the current stream. Dropped packets do not count.
    pub fn stats(&self) -> &ReceptionStats {
        &self.stats
    }

    /// The report on the current stream: see [`ReceptionStats::report`].
    pub fn report(&mut self) -> Option<ReportBlock> {
        self.stats.report()
    }

    /// Packets dropped so far.
    pub fn dropped(&self) -> &DropCounts {
        &self.dropped
    }

    /// The port that is heard instead of the named one, if one was learned.
    pub fn learned_source(&self) -> Option<SocketAddr> {
        self.learner.as_ref()?.learned_source()
    }

    fn accept<'a>(
        &mut self,
        now: Duration,
        from: SocketAddr,
        packet: &'a [u8],
        protection: Protection,
    ) -> Result<(Content, RtpPacket<'a>), DropReason> {
        let remote = self.remote.filter(|remote| remote.sends).ok_or(DropReason::NotSending)?;
        let from = canonical(from);
        let is_named = from == remote.rtp;
        if protection == Protection::None && !is_named {
            if from.ip() != remote.rtp.ip() {
                return Err(DropReason::Address);
            }
            if self.learner.is_none() {
                return Err(DropReason::Port);
            }
        }
        let packet = RtpPacket::read(packet).map_err(|_| DropReason::NotRtp)?;
        let payload_type = packet.header.payload_type;
        let content = match Codec::from_payload_type(payload_type) {
            // The peer may change between the codecs of our description at any time (RFC 3264, section 5.1).
            Some(codec) => Content::Audio(codec),
            None if remote.event_types.contains(payload_type) => Content::Event,
            None => {
                if protection == Protection::None && is_named {
                    self.heard_other_type(now, packet.header.ssrc);
                }
                return Err(DropReason::PayloadType);
            }
        };
        let is_audio = content != Content::Event;
        match (protection, &mut self.learner) {
            (Protection::Authenticated, _) => {}
            (Protection::None, Some(learner)) if !is_named => {
                learner.accept_other_port(now, from, &packet.header, is_audio)?;
            }
            (Protection::None, learner) => {
                if let Some(learner) = learner {
                    learner.heard_named();
                }
                self.accept_stream(now, packet.header.ssrc, is_audio)?;
            }
        }
        Ok((content, packet))
    }

    /// Records a packet from the named address and port whose type does not count, such as comfort noise: its stream is
    /// not silent.
    fn heard_other_type(&mut self, now: Duration, ssrc: u32) {
        if let Some(learner) = &mut self.learner {
            learner.heard_named();
        }
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == ssrc) {
            stream.last_heard = now;
        }
    }

    /// Accepts a packet from the named address and port if its stream counts.
    fn accept_stream(&mut self, now: Duration, ssrc: u32, is_audio: bool) -> Result<(), DropReason> {
        let has_audio = match self.stream {
            Some(stream) if stream.ssrc == ssrc => stream.has_audio || is_audio,
            Some(stream) => {
                let is_silent = now.saturating_sub(stream.last_heard) >= STREAM_SILENCE;
                if !is_silent && (stream.has_audio || !is_audio) {
                    return Err(DropReason::Stream);
                }
                is_audio
            }
            None => is_audio,
        };
        self.stream = Some(Stream { ssrc, last_heard: now, has_audio });
        Ok(())
    }
}

/// An address as descriptions name it: a socket of both families reports IPv4 sources as IPv6, and IPv6 sources with a
/// scope.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
