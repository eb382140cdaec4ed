//! The stream that we receive: whether a packet is the other side's, and the key in it.

use std::net::SocketAddr;
use std::time::Duration;

use rtp_types::RtpPacket;
use tokio::time::Instant;

use super::keys::KeyReader;
use super::rtcp::Received;
use super::sdp::Remote;
use super::srtp::Srtp;

/// A key that began so little before the prompt may have begun with it: a packet counts its own time ahead, and gateways
/// that make events of something else name a usual duration.
const LEEWAY: Duration = Duration::from_millis(250);

/// The other side's stream of one call.
pub(super) struct Receiver {
    /// The payload type of key events in our last description. None where the other side took none.
    pub(super) key_events: Option<u8>,
    /// Where the first packet came from.
    pub(super) latched: Option<SocketAddr>,
    pub(super) received: Received,
    /// How many packets were not the other side's or not as agreed.
    pub(super) dropped: u64,
    keys: KeyReader,
    opened: Instant,
    /// Keys pressed since then count.
    listening: Option<Instant>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            key_events: None,
            latched: None,
            received: Received::default(),
            dropped: 0,
            keys: KeyReader::default(),
            opened: Instant::now(),
            listening: None,
        }
    }

    /// From now on keys count, if they are not being pressed already.
    pub(super) fn listen(&mut self) {
        self.listening = Some(Instant::now());
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
            self.dropped = self.dropped.saturating_add(1);
        }
        key?
    }

    /// None where the packet must not be looked at; else its key, if it has one that counts.
    fn accept(
        &mut self,
        packet: &[u8],
        from: SocketAddr,
        remote: &Remote,
        srtp: Option<&mut Srtp>,
    ) -> Option<Option<char>> {
        let is_theirs = match self.latched {
            Some(latched) => from == latched,
            // Its port may be another one: a NAT router's.
            None => from.ip() == remote.rtp.ip(),
        };
        if !is_theirs || !remote.sends {
            return None;
        }
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
        self.latched = Some(from);
        self.received.note(packet.ssrc(), packet.sequence_number());
        let now = Instant::now();
        if !is_key {
            let arrival = now.duration_since(self.opened).as_micros() * 8 / 1000;
            self.received.note_arrival(packet.timestamp(), arrival as u32);
            return Some(None);
        }
        let press = self.keys.read(packet.ssrc(), packet.timestamp(), packet.payload());
        let counts = |ago| self.listening.is_some_and(|since| now.duration_since(since) + LEEWAY >= ago);
        Some(press.filter(|press| counts(press.ago)).map(|press| press.key))
    }
}
