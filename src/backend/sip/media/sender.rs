//! The stream that we send (RFC 3550): continuous in number and time, whatever is said in it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phonegate_media::rtcp::SenderInfo;
use phonegate_media::rtp::RtpHeader;
use phonegate_media::sdp::RemoteMedia;

use super::playout::{FRAME, Frame, Playout};
use super::random;

/// From the epoch of NTP, 1900, to that of Unix, 1970, in seconds.
const NTP_TO_UNIX: u64 = 2_208_988_800;

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
    /// # Errors
    /// If there are no random numbers for the stream.
    pub(super) fn new() -> Result<Self, String> {
        Ok(Self {
            playout: Playout::default(),
            ssrc: u32::from_be_bytes(random::bytes()?),
            // The lower half: SRTP guesses how often it wrapped, and must not be wrong from the start (RFC 3711, 3.3.1).
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

    /// Packets sent.
    pub(super) fn packets(&self) -> u32 {
        self.packets
    }

    /// Lets 20 ms pass without a packet. What is being said waits.
    pub(super) fn pause(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        self.marker = true;
    }

    /// The packet of the next 20 ms. None while the other side takes no audio.
    pub(super) fn next_packet(&mut self, now: Duration, remote: &RemoteMedia) -> Option<Vec<u8>> {
        if !remote.direction.receives {
            self.pause();
            return None;
        }
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        let frame = self.playout.next(now, remote.codec, remote.event_type.is_some());
        let (payload_type, timestamp, marker) = match &frame {
            Frame::Audio(_) => (remote.codec.payload_type(), self.timestamp, std::mem::take(&mut self.marker)),
            Frame::Event { first, age, .. } => (remote.event_type?, self.timestamp.wrapping_sub(*age), *first),
        };
        let payload = match &frame {
            Frame::Audio(audio) => audio.as_slice(),
            Frame::Event { payload, .. } => payload.as_slice(),
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        let header = RtpHeader { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc };
        Some(header.write(payload))
    }

    /// What was sent until now. None if that is nothing.
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
