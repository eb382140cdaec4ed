//! The packets of a call: silence and keys to PhoneGate, and its audio in order.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use phonegate_media::dtmf::Digit;
use phonegate_media::rtp::{PACKET_SAMPLES, RtpHeader, RtpPacket};
use phonegate_media::sdp::{Codec, RemoteMedia};

/// A sample of silence in PCMU.
pub(super) const SILENCE: u8 = 0xff;

/// Duration of a key, in packets.
const KEY_PACKETS: u32 = 5;

/// Number of packets with the end of a key (RFC 4733, section 2.5.1.4).
const END_PACKETS: u32 = 3;

/// Number of packets of silence after a key.
const PAUSE_PACKETS: u32 = 3;

/// Power of a key, in -dBm0.
const VOLUME: u8 = 10;

/// Maximum number of keys that wait.
const MAX_KEYS: usize = 64;

/// Number of packets for which a missing one is awaited.
const MAX_WAIT: usize = 5;

/// Longest gap that becomes silence, in packets. After a longer one the stream begins again.
const MAX_GAP: u16 = 500;

/// Longest audio of a packet, in samples: 60 ms.
const MAX_SAMPLES: usize = 3 * PACKET_SAMPLES as usize;

/// The stream to PhoneGate: a packet every 20 ms.
pub(super) struct Sender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    keys: VecDeque<Digit>,
    /// The key that is pressed, with the packets of it that were sent.
    pressed: Option<(Digit, u32)>,
    /// The start of the pressed key.
    began: u32,
    is_first: bool,
}

impl Sender {
    /// Creates a stream. Its identifier and its start are made of `random`.
    pub(super) fn new(random: u64) -> Self {
        Self {
            ssrc: (random >> 32) as u32,
            sequence: (random & 0x7fff) as u16,
            timestamp: (random >> 8) as u32,
            keys: VecDeque::new(),
            pressed: None,
            began: 0,
            is_first: true,
        }
    }

    /// Presses a key when those before it were sent. Returns false if too many wait, or it is no key.
    pub(super) fn press(&mut self, key: char) -> bool {
        let digit = Digit::from_char(key).filter(|_| self.keys.len() < MAX_KEYS);
        self.keys.extend(digit);
        digit.is_some()
    }

    /// Returns the packet for the next 20 ms. `None` while PhoneGate receives none.
    pub(super) fn next_packet(&mut self, remote: &RemoteMedia) -> Option<Vec<u8>> {
        self.timestamp = self.timestamp.wrapping_add(PACKET_SAMPLES);
        if !remote.direction.receives {
            return None;
        }
        if self.pressed.is_none()
            && let Some(digit) = self.keys.pop_front()
        {
            (self.pressed, self.began) = (Some((digit, 0)), self.timestamp);
        }
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = RtpHeader {
            marker: false,
            payload_type: Codec::Pcmu.payload_type(),
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let event = self.pressed.and_then(|(digit, sent)| self.event(digit, sent)).zip(remote.event_type);
        Some(match event {
            Some(((payload, is_first), event_type)) => {
                (header.marker, header.payload_type, header.timestamp) = (is_first, event_type, self.began);
                header.write(&payload)
            }
            None => {
                header.marker = std::mem::take(&mut self.is_first);
                header.write(&[SILENCE; PACKET_SAMPLES as usize])
            }
        })
    }

    /// Returns the payload of the next packet of a key, and whether it is the first. `None` in the pause after it.
    fn event(&mut self, digit: Digit, sent: u32) -> Option<([u8; 4], bool)> {
        let is_over = sent.saturating_add(1) == KEY_PACKETS + END_PACKETS + PAUSE_PACKETS;
        self.pressed = (!is_over).then_some((digit, sent.saturating_add(1)));
        if sent >= KEY_PACKETS + END_PACKETS {
            return None;
        }
        let duration = sent.saturating_add(1).min(KEY_PACKETS).saturating_mul(PACKET_SAMPLES);
        let [high, low] = u16::try_from(duration).unwrap_or(u16::MAX).to_be_bytes();
        let end = if sent >= KEY_PACKETS { 0x80 } else { 0 };
        Some(([digit.event_code(), end | VOLUME, high, low], sent == 0))
    }
}

/// The stream of PhoneGate, in the order of its sequence numbers. Lost packets become silence.
#[derive(Default)]
pub(super) struct Receiver {
    stream: Option<Stream>,
}

struct Stream {
    ssrc: u32,
    /// The sequence number of the next audio.
    next: u16,
    /// Packets that arrived before an earlier one, by their distance to `next`.
    waiting: BTreeMap<u16, Vec<u8>>,
}

impl Receiver {
    /// Handles a packet from an address. Returns the audio that it completes, which may be empty.
    pub(super) fn receive(&mut self, packet: &[u8], from: SocketAddr, remote: &RemoteMedia) -> Vec<u8> {
        let Ok(RtpPacket { header, payload }) = RtpPacket::read(packet) else { return Vec::new() };
        // Of other payload types, only the place in the sequence counts: a key of an extension has no audio.
        let is_audio = header.payload_type == Codec::Pcmu.payload_type();
        if from != remote.rtp || payload.len() > MAX_SAMPLES {
            return Vec::new();
        }
        let payload = if is_audio { payload } else { &[] };
        let is_of_stream = |stream: &&mut Stream| {
            let ahead = header.sequence.wrapping_sub(stream.next);
            stream.ssrc == header.ssrc && (ahead < MAX_GAP || ahead > u16::MAX - MAX_GAP)
        };
        match self.stream.as_mut().filter(is_of_stream) {
            Some(stream) => stream.receive(header.sequence, payload),
            None => {
                let next = header.sequence.wrapping_add(1);
                self.stream = Some(Stream { ssrc: header.ssrc, next, waiting: BTreeMap::new() });
                payload.to_vec()
            }
        }
    }
}

impl Stream {
    fn receive(&mut self, sequence: u16, payload: &[u8]) -> Vec<u8> {
        let ahead = sequence.wrapping_sub(self.next);
        if ahead >= MAX_GAP {
            // It is a copy, or so late that silence has taken its place.
            return Vec::new();
        }
        self.waiting.insert(ahead, payload.to_vec());
        let mut audio = Vec::new();
        while let Some((ahead, payload)) = self.waiting.pop_first() {
            if ahead > 0 && self.waiting.len() < MAX_WAIT {
                self.waiting.insert(ahead, payload);
                break;
            }
            audio.resize(audio.len().saturating_add(usize::from(ahead) * PACKET_SAMPLES as usize), SILENCE);
            audio.extend(payload);
            let done = ahead.saturating_add(1);
            self.next = self.next.wrapping_add(done);
            let rest = std::mem::take(&mut self.waiting);
            self.waiting = rest.into_iter().map(|(ahead, payload)| (ahead.saturating_sub(done), payload)).collect();
        }
        audio
    }
}

#[cfg(test)]
mod tests {
    use phonegate_media::dtmf::{DigitEvent, EventDetector, EventPosition};
    use phonegate_media::sdp::{Encryption, LocalSession};

    use super::*;

    fn remote() -> RemoteMedia {
        let session = LocalSession::new("127.0.0.1:4000".parse().unwrap(), 1, Encryption::Off);
        let sdp = b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 6000 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n";
        session.check_offer(sdp).unwrap().remote().clone()
    }

    fn packet(sequence: u16, sample: u8) -> Vec<u8> {
        RtpHeader { marker: false, payload_type: 0, sequence, timestamp: 0, ssrc: 7 }.write(&[sample; 160])
    }

    /// Returns the first sample of each 20 ms.
    fn heard(sequence: &[(u16, u8)]) -> Vec<u8> {
        let mut receiver = Receiver::default();
        let remote = remote();
        let audio = sequence.iter().flat_map(|(n, sample)| receiver.receive(&packet(*n, *sample), remote.rtp, &remote));
        audio.collect::<Vec<_>>().chunks(160).map(|packet| packet[0]).collect()
    }

    #[test]
    fn keys_are_events_that_a_detector_reads() {
        let mut sender = Sender::new(0x1234_5678_9abc_def0);
        assert!("4711#".chars().all(|key| sender.press(key)));
        assert!(!sender.press('x'));
        let mut detector = EventDetector::default();
        let mut keys = String::new();
        let mut ends = 0;
        for n in 0..100 {
            let packet = sender.next_packet(&remote()).unwrap();
            let RtpPacket { header, payload } = RtpPacket::read(&packet).unwrap();
            if header.payload_type != 96 {
                assert_eq!((header.payload_type, payload), (0, &[SILENCE; 160][..]));
                continue;
            }
            ends += u32::from(payload[1] & 0x80 != 0);
            let RtpHeader { ssrc, sequence, timestamp, .. } = header;
            let now = std::time::Duration::from_millis(20 * n);
            let position = EventPosition { ssrc, sequence, timestamp };
            if let Some(DigitEvent::Digit { digit, .. }) = detector.read(position, payload, now) {
                keys.push(digit.as_char());
            }
        }
        assert_eq!((keys.as_str(), ends), ("4711#", 15));
    }

    #[test]
    fn packets_are_put_in_order() {
        assert_eq!(heard(&[(65_535, 1), (1, 3), (0, 2), (0, 2), (2, 4)]), [1, 2, 3, 4]);
    }

    #[test]
    fn lost_packets_become_silence() {
        let mut packets: Vec<_> = (10..30).map(|n| (n, n as u8)).collect();
        packets.remove(6);
        packets.remove(5);
        let mut expected: Vec<_> = (10..30).collect();
        (expected[5], expected[6]) = (SILENCE, SILENCE);
        assert_eq!(heard(&packets), expected);
    }

    #[test]
    fn a_stream_that_jumps_begins_again() {
        assert_eq!(heard(&[(1, 1), (20_000, 2), (20_001, 3)]), [1, 2, 3]);
    }

    #[test]
    fn packets_of_others_are_ignored() {
        let (mut receiver, remote) = (Receiver::default(), remote());
        assert!(receiver.receive(&packet(1, 1), "127.0.0.1:6001".parse().unwrap(), &remote).is_empty());
        assert_eq!(receiver.receive(&packet(1, 1), remote.rtp, &remote).len(), 160);
    }
}
