//! A call in virtual time with a scripted peer, which sends real descriptions and packets.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::time::Duration;

use phonegate_media::dtmf::{Digit, DigitEvent};
use phonegate_media::rtp::RtpHeader;
use phonegate_media::sdp::{Encryption, LocalKeys, LocalSession, MasterKey, RemoteMedia};
use phonegate_media::session::{MediaSession, Summary};
use phonegate_media::srtp::Srtp;

/// The stream of this side, and that of the peer.
pub const OWN: u32 = 0x1234_5678;
pub const PEER: u32 = 0xaaaa;

/// The port that the peer names, and the one after it for RTCP.
pub const NAMED: u16 = 4000;

/// The default description of the peer.
pub const PLAIN: &str = "m=audio 4000 RTP/AVP 0 101\r\n";

pub const PACKET_TIME: Duration = Duration::from_millis(20);

/// A press as a telephone sends it: durations and end bits of its packets, of which the last three are the same.
pub const PRESS: [(u16, bool); 6] = [(160, false), (320, false), (480, false), (640, true), (640, true), (640, true)];

pub fn keys(seed: u8) -> LocalKeys {
    LocalKeys { sha1_80: MasterKey::from_bytes([seed; 30]), sha1_32: MasterKey::from_bytes([seed + 1; 30]) }
}

pub fn description(media: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{media}")
}

/// A port of the peer's address.
pub fn port(port: u16) -> SocketAddr {
    ([192, 0, 2, 9], port).into()
}

/// One call: this side, and the stream of the peer.
pub struct Call {
    pub local: LocalSession,
    pub media: MediaSession,
    pub now: Duration,
    /// What was reported; `?` is an unclear press.
    pub digits: String,
    /// The address from which the peer sends.
    pub from: SocketAddr,
    /// The SSRC of the peer's next packet.
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub audio_type: u8,
    pub event_type: u8,
    /// `None` if the peer does not encrypt.
    pub srtp: Option<Srtp>,
}

impl Call {
    /// A call in which this side has sent its offer.
    pub fn offered(encryption: Encryption, learns_port: bool) -> Self {
        let mut local = LocalSession::new(([192, 0, 2, 1], 4002).into(), 5, encryption);
        local.offer();
        let media = MediaSession::new(local.encryption(), OWN, learns_port).unwrap();
        Self {
            local,
            media,
            now: Duration::ZERO,
            digits: String::new(),
            from: port(NAMED),
            ssrc: PEER,
            sequence: 1000,
            timestamp: 50_000,
            audio_type: 0,
            event_type: 101,
            srtp: None,
        }
    }

    /// A call without encryption whose answer names this media.
    pub fn answered(media: &str) -> Self {
        let mut call = Self::offered(Encryption::Off, false);
        call.receive_answer(&description(media));
        call.media.set_answered();
        call
    }

    /// A call that may learn another port of the peer.
    pub fn learning() -> Self {
        let mut call = Self::offered(Encryption::Off, true);
        call.receive_answer(&description(PLAIN));
        call.media.set_answered();
        call
    }

    /// A call in which both sides encrypt.
    pub fn encrypted() -> Self {
        let mut call = Self::offered(Encryption::Required(keys(1)), false);
        call.rekey(11);
        call.media.set_answered();
        call
    }

    /// Applies an answer of the peer.
    pub fn receive_answer(&mut self, sdp: &str) -> RemoteMedia {
        let remote = self.local.check_answer(sdp.as_bytes()).unwrap();
        self.media.set_remote(&remote).unwrap();
        remote
    }

    /// Applies an offer of the peer, and returns the answer.
    pub fn receive_offer(&mut self, sdp: &str) -> String {
        let offer = self.local.check_offer(sdp.as_bytes()).unwrap();
        let answer = self.local.answer(&offer);
        self.media.set_remote(offer.remote()).unwrap();
        answer
    }

    /// Answers our offer with other keys, which the peer uses from here on. Returns what was agreed on.
    pub fn rekey(&mut self, seed: u8) -> RemoteMedia {
        let keys = keys(seed);
        let mut peer = LocalSession::new(port(NAMED), 9, Encryption::Required(keys.clone()));
        let offer = peer.check_offer(self.local.offer().as_bytes()).unwrap();
        let answer = peer.answer(&offer);
        let mut srtp = Srtp::new(&keys).unwrap();
        srtp.set_peer_key(offer.remote().key.as_ref().unwrap()).unwrap();
        self.srtp = Some(srtp);
        self.receive_answer(&answer)
    }

    /// Delivers bytes as they are.
    pub fn deliver(&mut self, from: SocketAddr, packet: &[u8]) {
        match self.media.receive_rtp(self.now, from, packet) {
            Some(DigitEvent::Digit { digit, .. }) => self.digits.push(digit.as_char()),
            Some(_) => self.digits.push('?'),
            None => {}
        }
    }

    /// The bytes of a packet of the peer.
    pub fn packet(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let header = RtpHeader { marker: false, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc };
        self.sequence = self.sequence.wrapping_add(1);
        let packet = header.write(payload);
        match &mut self.srtp {
            Some(srtp) => srtp.protect_rtp(&packet).unwrap(),
            None => packet,
        }
    }

    /// Sends the next packet of the peer. Time passes.
    pub fn send(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let packet = self.packet(payload_type, timestamp, payload);
        self.deliver(self.from, &packet);
        self.pass();
    }

    /// The time of one packet passes.
    pub fn pass(&mut self) {
        self.now += PACKET_TIME;
        self.timestamp = self.timestamp.wrapping_add(160);
    }

    /// Sends audio that is silent.
    pub fn talk(&mut self, packets: usize) {
        for _ in 0..packets {
            self.send(self.audio_type, self.timestamp, &[0xff; 160]);
        }
    }

    /// Sends audio, and one press of a key.
    pub fn press(&mut self, digit: char) {
        self.talk(5);
        self.press_as(digit, self.timestamp, &PRESS);
    }

    /// Sends the packets of one press with this timestamp.
    pub fn press_as(&mut self, digit: char, timestamp: u32, packets: &[(u16, bool)]) {
        for (duration, is_end) in packets {
            self.send(self.event_type, timestamp, &event(digit, *duration, *is_end));
        }
    }

    /// Presses `4` and `#`, and checks that they are all that was reported since the last call.
    pub fn check_keys(&mut self, context: &str) {
        self.press('4');
        self.press('#');
        assert_eq!(std::mem::take(&mut self.digits), "4#", "{context}");
    }

    pub fn summary(&self) -> Summary {
        self.media.summary()
    }
}

/// The payload of an event packet.
pub fn event(digit: char, duration: u16, is_end: bool) -> [u8; 4] {
    let [high, low] = duration.to_be_bytes();
    [Digit::from_char(digit).unwrap().event_code(), u8::from(is_end) << 7 | 10, high, low]
}
