//! The audio of a callee: it hears what is said, and sends what a test wants. Its signalling is sipp's.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

use audio_codec_algorithms::decode_ulaw;
use rtp_types::{RtpPacket, RtpPacketBuilder};

use super::sipp::{Callee, Step};

/// The payload type of key events that PhoneGate offers, and therefore gets.
pub const EVENTS: u8 = 101;

/// The synchronization source of a handset's stream.
pub const SSRC: u32 = 77;

/// A packet that arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
    pub from: SocketAddr,
}

/// A callee's audio.
pub struct Handset {
    socket: UdpSocket,
    /// Sequence number and time stamp of the next packet.
    next: Mutex<(u16, u32)>,
}

impl Handset {
    /// A handset on an address of this machine.
    pub fn on(address: &str) -> Self {
        let socket = UdpSocket::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
        socket.set_read_timeout(Some(super::PATIENCE)).unwrap();
        Self { socket, next: Mutex::new((1000, 16_000)) }
    }

    /// A callee that rings and picks up with this audio, and sees us hang up.
    pub fn callee(&self, formats: &str) -> Callee {
        let steps =
            [Step::Invite, Step::Answer(180, "Ringing", ""), Step::PickUpWith(self.sdp(formats)), Step::Receive("BYE")];
        Callee::start(&steps, 1)
    }

    /// A description of this audio, with these payload types.
    pub fn sdp(&self, formats: &str) -> String {
        let address = self.socket.local_addr().unwrap();
        format!(
            "v=0\no=handset 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 {}\nt=0 0\nm=audio {} RTP/AVP {formats}\n\
             a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n",
            address.ip(),
            address.port()
        )
    }

    /// The next packet that arrives.
    pub fn hear(&self) -> Heard {
        let mut buffer = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut buffer).expect("a packet arrives");
        let packet = RtpPacket::parse(&buffer[..length]).expect("it is RTP");
        Heard {
            payload_type: packet.payload_type(),
            sequence: packet.sequence_number(),
            timestamp: packet.timestamp(),
            marker: packet.marker_bit(),
            payload: packet.payload().to_vec(),
            from,
        }
    }

    /// Hears the first prompt begin: keys count from then on.
    pub fn hear_prompt(&self) -> Heard {
        loop {
            let heard = self.hear();
            if heard.payload.iter().any(|sample| decode_ulaw(*sample).abs() > 8) {
                return heard;
            }
        }
    }

    /// Sends a packet.
    pub fn send(&self, to: SocketAddr, payload_type: u8, timestamp: u32, payload: &[u8]) {
        self.send_in(SSRC, to, payload_type, timestamp, payload);
    }

    /// Sends a packet of another stream than the usual one.
    pub fn send_in(&self, ssrc: u32, to: SocketAddr, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let mut next = self.next.lock().unwrap();
        let packet = RtpPacketBuilder::<_, &[u8]>::new()
            .payload_type(payload_type)
            .sequence_number(next.0)
            .timestamp(timestamp)
            .ssrc(ssrc)
            .payload(payload)
            .write_vec()
            .unwrap();
        next.0 = next.0.wrapping_add(1);
        self.socket.send_to(&packet, to).unwrap();
    }

    /// Presses a key: its whole train of packets.
    pub fn press(&self, to: SocketAddr, key: char) {
        self.press_in(SSRC, to, key);
    }

    /// As `press`, in another stream than the usual one.
    pub fn press_in(&self, ssrc: u32, to: SocketAddr, key: char) {
        let timestamp = self.next_event();
        for n in 1..=8u16 {
            self.send_in(ssrc, to, EVENTS, timestamp, &event(key, false, n * 160));
        }
        for _ in 0..3 {
            self.send_in(ssrc, to, EVENTS, timestamp, &event(key, true, 1280));
        }
    }

    /// The time stamp of the next key event.
    pub fn next_event(&self) -> u32 {
        let mut next = self.next.lock().unwrap();
        next.1 = next.1.wrapping_add(8000);
        next.1
    }

    /// Waits, hearing nothing.
    pub fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The payload of a key event (RFC 4733, section 2.3).
pub fn event(key: char, end: bool, duration: u16) -> [u8; 4] {
    let code = "0123456789*#".find(key).unwrap() as u8;
    let [high, low] = duration.to_be_bytes();
    [code, if end { 0x8a } else { 0x0a }, high, low]
}
