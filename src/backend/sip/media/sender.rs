//! The RTP stream of this side (RFC 3550). Sequence numbers and timestamps are continuous, whatever its content.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phonegate_media::rtcp::SenderInfo;
use phonegate_media::rtp::RtpHeader;
use phonegate_media::sdp::{Codec, RemoteMedia};

use super::playout::{FRAME, Frame, Playout};
use super::random;

/// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Where the stream goes, and how it is sent: what a tick needs of a [`RemoteMedia`].
#[derive(Clone, Copy)]
pub(super) struct Destination {
    pub(super) address: SocketAddr,
    pub(super) is_encrypted: bool,
    codec: Codec,
    event_type: Option<u8>,
    receives: bool,
}

impl From<&RemoteMedia> for Destination {
    fn from(remote: &RemoteMedia) -> Self {
        Self {
            address: remote.rtp,
            is_encrypted: remote.key.is_some(),
            codec: remote.codec,
            event_type: remote.event_type,
            receives: remote.direction.receives,
        }
    }
}

/// The stream of this side in one call.
pub(super) struct Sender {
    pub(super) playout: Playout,
    destination: Option<Destination>,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    packets: u32,
    octets: u32,
    /// Whether the next packet begins a talkspurt (RFC 3551, section 4.1): at the start and after each break. Silence is sent
    /// between recordings, because NAT routers and session border controllers end streams that pause.
    marker: bool,
}

impl Sender {
    /// Creates a stream with a random SSRC, sequence number and timestamp.
    ///
    /// # Errors
    /// The operating system provides no random numbers.
    pub(super) fn new() -> Result<Self, String> {
        Ok(Self {
            playout: Playout::default(),
            destination: None,
            ssrc: u32::from_be_bytes(random::bytes()?),
            // In the lower half, so that SRTP receivers estimate the rollover counter as 0 at first (RFC 3711, 3.3.1).
            sequence: u16::from_be_bytes(random::bytes()?) & 0x7fff,
            timestamp: u32::from_be_bytes(random::bytes()?),
            packets: 0,
            octets: 0,
            marker: true,
        })
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Sets where the stream goes. `None`: nothing is sent.
    pub(super) fn set_destination(&mut self, destination: Option<Destination>) {
        self.destination = destination;
    }

    pub(super) fn destination(&self) -> Option<Destination> {
        self.destination
    }

    /// Returns the number of packets sent.
    pub(super) fn packets(&self) -> u32 {
        self.packets
    }

    /// Skips one packet. The playback waits.
    pub(super) fn pause(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        self.marker = true;
    }

    /// Writes the next packet, in place of what `packet` held. Returns `None` while there is no destination, or the peer does
    /// not receive audio.
    pub(super) fn write_packet(&mut self, now: Duration, packet: &mut Vec<u8>) -> Option<()> {
        let Destination { codec, event_type, receives, .. } = self.destination?;
        if !receives {
            self.pause();
            return None;
        }
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        packet.clear();
        // Overwritten below: the header depends on the payload.
        packet.extend([0; RtpHeader::LENGTH]);
        let (payload_type, timestamp, marker) = match self.playout.next(now, codec, event_type.is_some(), packet) {
            Frame::Audio => (codec.payload_type(), self.timestamp, std::mem::take(&mut self.marker)),
            Frame::Event { first, age } => (event_type?, self.timestamp.wrapping_sub(age), first),
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add((packet.len() - RtpHeader::LENGTH) as u32);
        let header = RtpHeader { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc };
        *packet.first_chunk_mut()? = header.to_bytes();
        Some(())
    }

    /// Returns the sender information for an RTCP report. `None` if nothing was sent.
    pub(super) fn info(&self) -> Option<SenderInfo> {
        (self.packets > 0).then(|| SenderInfo {
            ntp_timestamp: ntp_now(),
            rtp_timestamp: self.timestamp,
            packets: self.packets,
            octets: self.octets,
        })
    }
}

fn ntp_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    (now.as_secs().wrapping_add(NTP_TO_UNIX) << 32) | fraction
}
