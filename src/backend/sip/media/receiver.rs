//! The stream that we receive: whether a packet is the other side's, and the key in it.

use std::net::SocketAddr;
use std::time::Duration;

use rtp_types::RtpPacket;
use tokio::time::Instant;

use super::keys::{KeyReader, Position};
use super::rtcp::Received;
use super::sdp::Remote;
use super::srtp::Srtp;

/// A key that began so little before the prompt may have begun with it: a packet counts its own time ahead, and gateways
/// that make events of something else name a usual duration.
const LEEWAY: Duration = Duration::from_millis(250);

/// Audio and key events with another SSRC than that of the current audio count only after the audio has been silent for
/// this long: a transfer begins a new stream, but an attacker would have to silence the old one.
const STREAM_SILENT: Duration = Duration::from_secs(1);

/// The other side's stream of one call.
pub(super) struct Receiver {
    /// The payload type of key events in our last description. None if the other side took none.
    pub(super) key_events: Option<u8>,
    /// Whether the other side may send from another port of its address than the one it named.
    learns_port: bool,
    /// Where the first packet came from, if that is learnt.
    pub(super) learnt: Option<SocketAddr>,
    /// The SSRC of the last audio packet, and when it arrived.
    audio: Option<(u32, Instant)>,
    pub(super) received: Received,
    pub(super) dropped: Dropped,
    keys: KeyReader,
    opened: Instant,
    /// Keys pressed since then count.
    listening: Option<Instant>,
}

/// Packets that were dropped because they were not from the other side or did not match the session description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::backend::sip) struct Dropped {
    /// All of them.
    pub(in crate::backend::sip) packets: u64,
    /// Those from the named address, but another port.
    pub(in crate::backend::sip) from_another_port: u64,
}

impl Receiver {
    pub(super) fn new(learns_port: bool) -> Self {
        Self {
            key_events: None,
            learns_port,
            learnt: None,
            audio: None,
            received: Received::default(),
            dropped: Dropped::default(),
            keys: KeyReader::default(),
            opened: Instant::now(),
            listening: None,
        }
    }

    /// From now on keys count, if they are not being pressed already.
    pub(super) fn listen(&mut self) {
        self.listening = Some(Instant::now());
    }

    /// Forgets where the stream came from: the other side has named another address.
    pub(super) fn expect_another_source(&mut self) {
        (self.learnt, self.audio) = (None, None);
    }

    /// The key that a packet brings, if it is one of the other side's and brings one.
    pub(super) fn on_packet(
        &mut self,
        packet: &[u8],
        from: SocketAddr,
        remote: &Remote,
        srtp: Option<&mut Srtp>,
    ) -> Option<char> {
        let key = self.accept(packet, from, remote, srtp);
        if key.is_none() {
            let is_another_port = from.ip() == remote.rtp.ip() && from != self.learnt.unwrap_or(remote.rtp);
            self.dropped.packets = self.dropped.packets.saturating_add(1);
            self.dropped.from_another_port = self.dropped.from_another_port.saturating_add(is_another_port.into());
        }
        key?
    }

    /// None if the packet must not be looked at; else its key, if it has one that counts.
    fn accept(
        &mut self,
        packet: &[u8],
        from: SocketAddr,
        remote: &Remote,
        srtp: Option<&mut Srtp>,
    ) -> Option<Option<char>> {
        let is_theirs = match self.learnt {
            Some(learnt) => from == learnt,
            None if self.learns_port => from.ip() == remote.rtp.ip(),
            None => from == remote.rtp,
        };
        if !is_theirs || !remote.sends {
            return None;
        }
        let is_authentic = srtp.is_some();
        let opened = match srtp {
            Some(srtp) => Some(srtp.open(packet)?),
            None => None,
        };
        let packet = RtpPacket::parse(opened.as_deref().unwrap_or(packet)).ok()?;
        let is_key = Some(packet.payload_type()) == self.key_events;
        // Either side may speak any codec of the other's description, and we name both.
        if !is_key && !matches!(packet.payload_type(), 0 | 8) {
            return None;
        }
        let now = Instant::now();
        // A packet that is authentic by SRTP comes from the other side, whatever its stream.
        if !is_authentic && self.is_of_another_stream(packet.ssrc(), now) {
            return None;
        }
        if self.learns_port {
            self.learnt = Some(from);
        }
        self.received.note(packet.ssrc(), packet.sequence_number());
        if !is_key {
            self.audio = Some((packet.ssrc(), now));
            let arrival = now.duration_since(self.opened).as_micros() * 8 / 1000;
            self.received.note_arrival(packet.timestamp(), arrival as u32);
            return Some(None);
        }
        let at = Position { ssrc: packet.ssrc(), sequence: packet.sequence_number(), timestamp: packet.timestamp() };
        let press = self.keys.read(at, packet.payload(), now);
        let counts = |ago| self.listening.is_some_and(|since| now.duration_since(since) + LEEWAY >= ago);
        Some(press.filter(|press| counts(press.ago)).map(|press| press.key))
    }

    /// Returns whether the current audio has another SSRC than this.
    fn is_of_another_stream(&self, ssrc: u32, now: Instant) -> bool {
        self.audio.is_some_and(|(audio, at)| audio != ssrc && now.duration_since(at) < STREAM_SILENT)
    }
}
