//! The input is the packets that arrive in a call: audio, presses and others, from any source and in any order.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use phonegate_media::dtmf::DigitEvent;
use phonegate_media::receiver::{Protection, Receiver, Reception, STREAM_SILENCE};
use phonegate_media::rtp::{RtpHeader, RtpPacket};
use phonegate_media::sdp::{Encryption, LocalSession, RemoteMedia};

const PACKET_TIME: Duration = Duration::from_millis(20);

#[derive(Arbitrary, Debug)]
struct Input {
    learns_port: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Up to 15 packets of audio, with the next sequence numbers of the stream.
    Talk { from: Source, stream: u8, packets: u8, is_fast: bool },
    /// Up to 7 packets of an event, with the next sequence numbers.
    Press { from: Source, stream: u8, digit: u8, packets: u8 },
    /// An event packet with arbitrary numbers.
    Event { from: Source, stream: u8, sequence: u16, timestamp: u32, payload: [u8; 4], number: u8 },
    /// An arbitrary packet.
    Bytes { from: Source, bytes: Vec<u8> },
    /// Time passes, in units of 10 ms.
    Wait(u8),
    /// The stream's sequence number jumps: by up to 127, or anywhere.
    Jump { stream: u8, by: i16, is_far: bool },
    /// The peer's description names another port, direction or number for events.
    Remote { port: bool, direction: u8, number: u8 },
    /// The call is answered.
    Established,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Source {
    Named,
    NamedAsMapped,
    OtherPort,
    ThirdPort,
    OtherHost,
    OtherHostAuthenticated,
}

impl Source {
    fn address(self) -> SocketAddr {
        match self {
            Self::Named => ([192, 0, 2, 9], 4000).into(),
            Self::NamedAsMapped => ([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0209], 4000).into(),
            Self::OtherPort => ([192, 0, 2, 9], 5000).into(),
            Self::ThirdPort => ([192, 0, 2, 9], 6000).into(),
            Self::OtherHost | Self::OtherHostAuthenticated => ([192, 0, 2, 66], 4000).into(),
        }
    }

    fn protection(self) -> Protection {
        if matches!(self, Self::OtherHostAuthenticated) { Protection::Authenticated } else { Protection::None }
    }
}

fuzz_target!(|input: Input| {
    let mut call = Call::new(input.learns_port);
    for step in input.steps.iter().take(300) {
        call.step(step);
    }
});

/// A call in virtual time, with the checks of the receiver.
struct Call {
    learns_port: bool,
    receiver: Receiver,
    /// Gets only packets from allowed sources. The others must make no difference.
    alone: Receiver,
    /// Gets each packet twice, which must make no difference either. `None` if ports are learned, because a duplicate
    /// interrupts the sequence from which a port is learned.
    doubled: Option<Receiver>,
    now: Duration,
    remote: RemoteMedia,
    sequences: [u16; 4],
    packets: u64,
    heard: u64,
    /// Accepted event packets, and reported digits, by event code.
    event_packets: [u32; 16],
    digits: [u32; 16],
    /// The latest unprotected stream from the named port: SSRC, time, and whether it had audio.
    stream: Option<(u32, Duration, bool)>,
    /// Whether the named port has sent.
    named: bool,
    /// The latest audio packets from other ports.
    run: Vec<(SocketAddr, u32, u16, Duration)>,
    /// Streams and sequence numbers accepted from another port.
    other: Vec<(u32, u16)>,
}

impl Call {
    fn new(learns_port: bool) -> Self {
        let remote = remote(4000, "sendrecv", 101);
        let new = || {
            let mut receiver = Receiver::new(learns_port);
            receiver.set_remote(&remote);
            receiver
        };
        let (receiver, alone, doubled) = (new(), new(), (!learns_port).then(new));
        Self {
            learns_port,
            receiver,
            alone,
            doubled,
            now: Duration::ZERO,
            remote,
            sequences: [0; 4],
            packets: 0,
            heard: 0,
            event_packets: [0; 16],
            digits: [0; 16],
            stream: None,
            named: false,
            run: Vec::new(),
            other: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Talk { from, stream, packets, is_fast } => {
                for _ in 0..packets % 16 {
                    let header = self.next_header(*stream, 0);
                    self.receive(*from, &header.write(&[0xff; 4]));
                    self.now += if *is_fast { Duration::from_millis(1) } else { PACKET_TIME };
                }
            }
            Step::Press { from, stream, digit, packets } => {
                let number = self.remote.event_type.unwrap_or(101);
                let timestamp = self.next_header(*stream, number).timestamp;
                for n in 0..packets % 8 {
                    let header = RtpHeader { timestamp, ..self.next_header(*stream, number) };
                    self.receive(*from, &header.write(&[digit % 20, if n < 5 { 0 } else { 0x80 }, 0, n * 40]));
                    self.now += PACKET_TIME;
                }
            }
            Step::Event { from, stream, sequence, timestamp, payload, number } => {
                let header = self.next_header(*stream, *number);
                let header = RtpHeader { sequence: *sequence, timestamp: *timestamp, ..header };
                self.receive(*from, &header.write(payload));
            }
            Step::Bytes { from, bytes } => self.receive(*from, bytes),
            Step::Wait(time) => self.now += Duration::from_millis(10) * u32::from(*time),
            Step::Jump { stream, by, is_far } => {
                let sequence = &mut self.sequences[usize::from(stream % 4)];
                *sequence = sequence.wrapping_add_signed(if *is_far { *by } else { by % 128 });
            }
            Step::Remote { port, direction, number } => {
                let direction = ["sendrecv", "sendonly", "recvonly", "inactive"][usize::from(direction % 4)];
                let media = remote(if *port { 5000 } else { 4000 }, direction, 96 + number % 32);
                if media.rtp != self.remote.rtp {
                    self.forget();
                }
                self.receivers().for_each(|receiver| receiver.set_remote(&media));
                self.remote = media;
            }
            Step::Established => {
                self.receivers().for_each(Receiver::forget_source);
                self.forget();
            }
        }
    }

    fn receivers(&mut self) -> impl Iterator<Item = &mut Receiver> {
        [&mut self.receiver, &mut self.alone].into_iter().chain(&mut self.doubled)
    }

    fn next_header(&mut self, stream: u8, payload_type: u8) -> RtpHeader {
        let sequence = &mut self.sequences[usize::from(stream % 4)];
        *sequence = sequence.wrapping_add(1);
        let timestamp = u32::from(*sequence) * 160;
        RtpHeader { marker: false, payload_type, sequence: *sequence, timestamp, ssrc: (stream % 4).into() }
    }

    fn forget(&mut self) {
        (self.stream, self.named) = (None, false);
        self.run.clear();
        self.other.clear();
    }

    fn receive(&mut self, source: Source, packet: &[u8]) {
        let (from, protection) = (source.address(), source.protection());
        let learned = self.receiver.learned_source();
        let verdict = self.receiver.receive(self.now, from, packet, protection);
        self.packets += 1;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let is_authenticated = protection == Protection::Authenticated;
        let is_named = from == self.remote.rtp;
        let may_be_heard = is_authenticated || is_named || self.learns_port && from.ip() == self.remote.rtp.ip();
        if may_be_heard {
            let alone = self.alone.receive(self.now, from, packet, protection);
            assert_eq!(verdict, alone, "packets from other sources make no difference");
        }
        if let Some(doubled) = &mut self.doubled {
            assert_eq!(verdict, doubled.receive(self.now, from, packet, protection), "copies make no difference");
            let copy = doubled.receive(self.now, from, packet, protection);
            assert!(!matches!(copy, Reception::Event(Some(_))), "a copy reports nothing");
        }
        let header = match verdict {
            Reception::Dropped(_) => RtpPacket::read(packet).ok().map(|packet| packet.header),
            Reception::Audio { codec, packet } => {
                assert_eq!(packet.header.payload_type, codec.payload_type());
                Some(packet.header)
            }
            Reception::Event(event) => {
                let packet = RtpPacket::read(packet).expect("an event is in an RTP packet");
                assert!(self.remote.event_types.contains(packet.header.payload_type));
                self.event(packet.payload, event);
                Some(packet.header)
            }
            other => panic!("an unknown verdict: {other:?}"),
        };
        let is_heard = !matches!(verdict, Reception::Dropped(_));
        if let Some(header) = header.filter(|_| !is_authenticated && self.remote.direction.sends) {
            let is_audio = matches!(header.payload_type, 0 | 8);
            if is_named && (is_audio || self.remote.event_types.contains(header.payload_type)) {
                self.named = true;
            } else if is_audio && from.ip() == self.remote.rtp.ip() {
                self.run.push((from, header.ssrc, header.sequence, self.now));
            }
            let now_learned = self.receiver.learned_source();
            if now_learned.is_some() && now_learned != learned {
                self.check_learned(from);
            }
            if is_heard && is_named {
                self.check_stream(header.ssrc, is_audio);
            }
            if is_heard && !is_named {
                assert_eq!(now_learned, Some(from), "another port is heard once it is learned");
                assert!(!self.named, "the named port wins");
                let is_near = |(ssrc, sequence): &(u32, u16)| {
                    *ssrc == header.ssrc && (header.sequence.wrapping_sub(*sequence) as i16).unsigned_abs() <= 100
                };
                assert!(is_audio || self.other.iter().any(is_near), "an event is near the audio of its stream");
                self.other.push((header.ssrc, header.sequence));
            }
        }
        if is_heard {
            self.heard += 1;
            assert!(may_be_heard, "only packets from allowed sources are accepted");
            assert!(self.remote.direction.sends);
        }
        assert_eq!(self.heard + self.receiver.dropped().total(), self.packets, "each packet is counted");
    }

    fn event(&mut self, payload: &[u8], event: Option<DigitEvent>) {
        let code = payload.first().map_or(16, |code| usize::from(*code));
        if let Some(packets) = self.event_packets.get_mut(code) {
            *packets += 1;
        }
        match event {
            Some(DigitEvent::Digit { digit, began }) => {
                assert_eq!(usize::from(digit.event_code()), code, "a digit is that of its packet");
                assert!(began <= self.now);
                self.digits[code] += 1;
                assert!(self.digits[code] * 2 <= self.event_packets[code], "a digit needs two packets");
            }
            Some(DigitEvent::Unclear { began }) => assert!(began <= self.now),
            _ => {}
        }
    }

    /// Checks that a port is learned from 8 consecutive audio packets, at the pace of audio.
    fn check_learned(&self, from: SocketAddr) {
        assert!(!self.named && self.learns_port && from.ip() == self.remote.rtp.ip());
        let run = self.run.last_chunk::<8>().expect("eight packets of audio came");
        let [first, .., last] = run;
        assert!(last.3 - first.3 >= Duration::from_millis(60), "no port is learned from a flood");
        for (before, next) in run.iter().zip(&run[1..]) {
            assert_eq!((next.0, next.1, next.2), (from, before.1, before.2.wrapping_add(1)));
        }
        assert_eq!(first.0, from);
    }

    /// Checks that another stream is accepted only after the previous one was silent, or if it brings audio after
    /// events alone.
    fn check_stream(&mut self, ssrc: u32, is_audio: bool) {
        let same = self.stream.filter(|stream| stream.0 == ssrc);
        if let (None, Some((_, last, had_audio))) = (same, self.stream) {
            assert!(self.now - last >= STREAM_SILENCE || is_audio && !had_audio);
        }
        self.stream = Some((ssrc, self.now, is_audio || same.is_some_and(|stream| stream.2)));
    }
}

fn remote(port: u16, direction: &str, number: u8) -> RemoteMedia {
    let sdp = format!(
        "v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio {port} RTP/AVP 0 {number}\r\na=rtpmap:{number} telephone-event/8000\r\n\
         a={direction}\r\n"
    );
    let mut local = LocalSession::new(([192, 0, 2, 1], 4002).into(), 1, Encryption::Off);
    local.check_answer(sdp.as_bytes()).expect("the description can be used")
}
