//! Decides which packets of a call are accepted, and detects the digits in them.
//!
//! Without SRTP, a packet is accepted only from the exact address and port in the peer's description. From there,
//! another stream (SSRC) is accepted only after the current one has been silent for 1 s, and a digit is reported only
//! after two packets of its event. So a single forged packet never produces a digit.
//!
//! [`Receiver::new`] can allow another *port* of the named address, for peers behind NAT. A packet that SRTP has
//! authenticated is accepted from any source and in any stream; then the learned port is that of the latest audio, and
//! only says where to send to.

mod learn;

use std::net::SocketAddr;
use std::time::Duration;

use crate::dtmf::{DigitEvent, EventDetector, EventPosition};
use crate::rtcp::{ReceptionStats, ReportBlock};
use crate::rtp::{RtpHeader, RtpPacket};
use crate::sdp::{Codec, EventTypes, RemoteMedia};
use learn::PortLearner;

/// After the current stream has been silent for this long, another one is accepted.
pub const STREAM_SILENCE: Duration = Duration::from_secs(1);

/// How a packet was protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It arrived as RTP.
    None,
    /// It arrived as SRTP, and was authenticated, checked for replay, and decrypted.
    Authenticated,
}

/// The result of receiving a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reception<'a> {
    /// Audio from the peer.
    Audio {
        /// Codec of the payload.
        codec: Codec,
        /// The packet.
        packet: RtpPacket<'a>,
    },
    /// A telephone event from the peer, and its result. Most packets of an event have none.
    Event(Option<DigitEvent>),
    /// Not accepted.
    Dropped(DropReason),
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// No session has been negotiated yet, or its direction says that the peer does not send.
    NotSending,
    /// Not from the named address.
    Address,
    /// From the named address, but another port.
    Port,
    /// Not RTP.
    NotRtp,
    /// A payload type that is neither a codec of this crate nor a telephone event.
    PayloadType,
    /// Another stream, while the current one is active.
    Stream,
    /// A telephone event from a learned port whose sequence number is not near the audio.
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
    /// Returns the sum of all counts.
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
/// Memory is bounded: see [`EventDetector`]; everything else has a fixed size. The caller measures times from any fixed
/// origin; they must not go back.
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

/// The parts of the peer's description that the receiver uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remote {
    rtp: SocketAddr,
    sends: bool,
    event_types: EventTypes,
}

/// The current stream from the named address and port.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    last_heard: Duration,
    /// Whether audio was received. A stream of events alone does not block the audio of another stream.
    has_audio: bool,
}

/// The content of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Audio(Codec),
    Event,
}

impl Receiver {
    /// Creates a receiver that drops everything until [`Receiver::set_remote`] is called. `learns_port` allows another
    /// port of the named address, for peers behind NAT.
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

    /// Applies a description of the peer. If it names another address or port, the receiver forgets the current stream
    /// and a learned port. Events continue, so a press during a re-INVITE is reported once.
    pub fn set_remote(&mut self, media: &RemoteMedia) {
        let moved = self.remote.is_none_or(|remote| remote.rtp != media.rtp);
        self.remote = Some(Remote { rtp: media.rtp, sends: media.direction.sends, event_types: media.event_types });
        if moved {
            self.forget_source();
        }
    }

    /// Forgets the current stream, a learned port, and that the named port has sent. Call it when the call is answered:
    /// early media may have come from another port.
    pub fn forget_source(&mut self) {
        self.stream = None;
        if let Some(learner) = &mut self.learner {
            *learner = PortLearner::default();
        }
    }

    /// Discards presses of which only one packet has arrived: see [`EventDetector::discard_pending`].
    pub fn discard_pending(&mut self) {
        self.events.discard_pending();
    }

    /// Accepts or drops a packet that arrived at `now` from `from`.
    pub fn receive<'a>(
        &mut self,
        now: Duration,
        from: SocketAddr,
        packet: &'a [u8],
        protection: Protection,
    ) -> Reception<'a> {
        match self.accept(now, from, packet, protection) {
            Ok((Content::Audio(codec), packet)) => {
                self.stats.count(&packet.header, true, now);
                Reception::Audio { codec, packet }
            }
            Ok((Content::Event, RtpPacket { header, payload })) => {
                self.stats.count(&header, false, now);
                let RtpHeader { ssrc, sequence, timestamp, .. } = header;
                Reception::Event(self.events.read(EventPosition { ssrc, sequence, timestamp }, payload, now))
            }
            Err(reason) => {
                self.dropped.count(reason);
                Reception::Dropped(reason)
            }
        }
    }

    /// Returns the statistics of the current stream. Dropped packets are not included.
    pub fn stats(&self) -> &ReceptionStats {
        &self.stats
    }

    /// Returns the report on the current stream: see [`ReceptionStats::report`].
    pub fn report(&mut self) -> Option<ReportBlock> {
        self.stats.report()
    }

    /// Returns the number of packets dropped so far, by reason.
    pub fn dropped(&self) -> &DropCounts {
        &self.dropped
    }

    /// Returns the learned address and port, if another port than the named one was learned. Audio of this side goes
    /// there.
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
            (Protection::Authenticated, Some(learner)) if is_audio && from.ip() == remote.rtp.ip() => {
                learner.heard_authentic(now, from, &packet.header, is_named);
            }
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

    /// Records a packet of another payload type, such as comfort noise, from the named address and port: its stream is
    /// active.
    fn heard_other_type(&mut self, now: Duration, ssrc: u32) {
        if let Some(learner) = &mut self.learner {
            learner.heard_named();
        }
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == ssrc) {
            stream.last_heard = now;
        }
    }

    /// Accepts a packet from the named address and port if its stream is the current one or may replace it.
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

/// Converts a source address to the form in descriptions: a dual-stack socket reports IPv4 sources as IPv6, and IPv6
/// sources with a scope.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
