//! The stream that we send (RFC 3550): continuous in number and time, whatever is said in it.

use rtp_types::RtpPacketBuilder;

use super::playout::{FRAME, Frame, Playout};
use super::rtcp::Sent;
use super::sdp::Remote;

/// Our stream of one call.
pub(super) struct Sender {
    pub(super) playout: Playout,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    packets: u32,
    octets: u32,
    /// The next packet begins a talkspurt. There is one from the answer on, and after each break: what is not speech is
    /// sent as silence, since NAT routers and session border controllers end streams that pause.
    marker: bool,
}

impl Sender {
    pub(super) fn new() -> Self {
        Self {
            playout: Playout::default(),
            ssrc: fastrand::u32(..),
            // The lower half: SRTP guesses how often it wrapped, and must not be wrong from the start (RFC 3711, 3.3.1).
            sequence: fastrand::u16(..0x8000),
            timestamp: fastrand::u32(..),
            packets: 0,
            octets: 0,
            marker: true,
        }
    }

    /// Lets 20 ms pass without a packet. What is being said waits.
    pub(super) fn pause(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        self.marker = true;
    }

    /// The packet of the next 20 ms. None while the other side holds.
    pub(super) fn next_packet(&mut self, remote: &Remote) -> Option<Vec<u8>> {
        if !remote.may_send {
            self.pause();
            return None;
        }
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        let frame = self.playout.next(remote.codec, remote.key_events.is_some());
        let (payload_type, timestamp, marker) = match &frame {
            Frame::Audio(_) => (remote.codec.payload_type(), self.timestamp, std::mem::take(&mut self.marker)),
            Frame::Event { first, age, .. } => (remote.key_events?, self.timestamp.wrapping_sub(*age), *first),
        };
        let payload = match &frame {
            Frame::Audio(audio) => audio.as_slice(),
            Frame::Event { payload, .. } => payload.as_slice(),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let packet = RtpPacketBuilder::<_, &[u8]>::new()
            .payload_type(payload_type)
            .sequence_number(self.sequence)
            .timestamp(timestamp)
            .marker_bit(marker)
            .ssrc(self.ssrc)
            .payload(payload)
            .write_vec()
            .ok()?;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        Some(packet)
    }

    /// What was sent until now.
    pub(super) fn sent(&self) -> Sent {
        Sent { ssrc: self.ssrc, timestamp: self.timestamp, packets: self.packets, octets: self.octets }
    }
}
