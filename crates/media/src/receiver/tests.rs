//! Accepted sources, and packets from other sources.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::sdp::{Encryption, LocalSession};

mod learning;

const NAMED: u16 = 4000;
const OTHER: u16 = 5000;
const PEER: u32 = 0xaaaa;
const ATTACKER: u32 = 0xbbbb;
const PACKET_TIME: Duration = Duration::from_millis(20);

fn remote(port: u16, direction: &str) -> RemoteMedia {
    let sdp = format!("v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio {port} RTP/AVP 0 101\r\na={direction}\r\n");
    let mut session = LocalSession::new("192.0.2.1:4002".parse().unwrap(), 1, Encryption::Off);
    session.check_answer(sdp.as_bytes()).unwrap()
}

fn port(port: u16) -> SocketAddr {
    ([192, 0, 2, 9], port).into()
}

fn packet(payload_type: u8, ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    RtpHeader { marker: false, payload_type, sequence, timestamp, ssrc }.write(payload)
}

/// A call in virtual time.
struct Call {
    receiver: Receiver,
    now: Duration,
    digits: String,
}

impl Call {
    fn new(learns_port: bool) -> Self {
        let mut receiver = Receiver::new(learns_port);
        receiver.set_remote(&remote(NAMED, "sendrecv"));
        Self { receiver, now: Duration::ZERO, digits: String::new() }
    }

    /// Returns why a packet was dropped.
    fn send(&mut self, from: SocketAddr, packet: &[u8], protection: Protection) -> Option<DropReason> {
        match self.receiver.receive(self.now, from, packet, protection) {
            Reception::Dropped(reason) => return Some(reason),
            Reception::Event(Some(DigitEvent::Digit { digit, .. })) => self.digits.push(digit.as_char()),
            Reception::Event(Some(DigitEvent::Unclear { .. })) => self.digits.push('?'),
            Reception::Event(None) | Reception::Audio { .. } => {}
        }
        None
    }

    fn audio(&mut self, from: u16, ssrc: u32, sequence: u16) -> Option<DropReason> {
        self.send(port(from), &packet(0, ssrc, sequence, &[0xff; 160]), Protection::None)
    }

    /// Audio at its usual pace. Returns how many packets were heard.
    fn talk(&mut self, from: u16, ssrc: u32, sequences: std::ops::Range<u16>) -> usize {
        let mut heard = 0;
        for sequence in sequences {
            heard += usize::from(self.audio(from, ssrc, sequence).is_none());
            self.now += PACKET_TIME;
        }
        heard
    }

    /// One packet of an event, with a timestamp of its own press.
    fn event(&mut self, from: u16, ssrc: u32, sequence: u16, press: u32) -> Option<DropReason> {
        let header = RtpHeader { marker: false, payload_type: 101, sequence, timestamp: press, ssrc };
        self.send(port(from), &header.write(&[11, 0x8a, 6, 0x40]), Protection::None)
    }

    /// Two packets of an event.
    fn press(&mut self, from: u16, ssrc: u32, sequence: u16) {
        self.event(from, ssrc, sequence, sequence.into());
        self.event(from, ssrc, sequence.wrapping_add(1), sequence.into());
    }
}

#[test]
fn the_named_address_and_port_are_accepted() {
    let mut call = Call::new(false);
    assert_eq!(call.talk(NAMED, PEER, 0..10), 10);
    call.press(NAMED, PEER, 10);
    assert_eq!(call.digits, "#");
    assert_eq!((call.receiver.dropped().total(), call.receiver.stats().packets()), (0, 12));
    // The peer may change between the codecs that were offered.
    assert_eq!(call.send(port(NAMED), &packet(8, PEER, 12, &[0xd5; 160]), Protection::None), None);
}

#[test]
fn sources_are_compared_by_address_and_port_alone() {
    let mut call = Call::new(false);
    let mapped = "[::ffff:192.0.2.9]:4000".parse().unwrap();
    assert_eq!(call.send(mapped, &packet(0, PEER, 0, &[0xff; 160]), Protection::None), None);
    let mut scoped = RemoteMedia { rtp: "[fe80::9]:4000".parse().unwrap(), ..remote(NAMED, "sendrecv") };
    call.receiver.set_remote(&scoped);
    assert_eq!(
        call.send("[fe80::9%3]:4000".parse().unwrap(), &packet(0, PEER, 0, &[0xff; 160]), Protection::None),
        None
    );
    scoped.rtp.set_port(5000);
    call.receiver.set_remote(&scoped);
    assert!(
        call.send("[fe80::9%3]:4000".parse().unwrap(), &packet(0, PEER, 0, &[0xff; 160]), Protection::None).is_some()
    );
}

#[test]
fn every_other_packet_is_dropped_and_counted() {
    let mut call = Call::new(false);
    let elsewhere: SocketAddr = ([192, 0, 2, 10], NAMED).into();
    let audio = packet(0, PEER, 0, &[0xff; 160]);
    for (from, bytes, reason) in [
        (elsewhere, audio.clone(), DropReason::Address),
        (port(OTHER), audio.clone(), DropReason::Port),
        (port(NAMED), b"\x00\x01\x00\x00 stun".to_vec(), DropReason::NotRtp),
        (port(NAMED), vec![], DropReason::NotRtp),
        (port(NAMED), packet(13, PEER, 0, &[0]), DropReason::PayloadType),
        (port(NAMED), packet(96, PEER, 0, &[11, 0x8a, 6, 0x40]), DropReason::PayloadType),
    ] {
        assert_eq!(call.send(from, &bytes, Protection::None), Some(reason));
    }
    call.audio(NAMED, PEER, 1);
    assert_eq!(call.audio(NAMED, ATTACKER, 2), Some(DropReason::Stream));
    call.receiver.set_remote(&remote(NAMED, "recvonly"));
    assert_eq!(call.audio(NAMED, PEER, 3), Some(DropReason::NotSending));
    let dropped = call.receiver.dropped();
    let expected =
        DropCounts { not_sending: 1, address: 1, port: 1, not_rtp: 2, payload_type: 2, stream: 1, sequence: 0 };
    assert_eq!((*dropped, dropped.total()), (expected, 8));
    let mut unanswered = Receiver::new(true);
    let verdict = unanswered.receive(Duration::ZERO, port(NAMED), &audio, Protection::None);
    assert_eq!(verdict, Reception::Dropped(DropReason::NotSending));
}

#[test]
fn a_new_stream_counts_after_a_second_of_silence() {
    let mut call = Call::new(false);
    call.talk(NAMED, PEER, 0..5);
    call.now += STREAM_SILENCE - PACKET_TIME - Duration::from_millis(1);
    assert_eq!(call.audio(NAMED, ATTACKER, 0), Some(DropReason::Stream));
    call.press(NAMED, ATTACKER, 1);
    assert_eq!(call.digits, "");
    call.now += Duration::from_millis(1);
    assert_eq!(call.audio(NAMED, 3, 0), None);
    assert_eq!(call.audio(NAMED, PEER, 6), Some(DropReason::Stream), "the stream before");
    // Many transfers, each with a stream of its own.
    for ssrc in 100..150 {
        call.now += STREAM_SILENCE;
        assert_eq!(call.talk(NAMED, ssrc, 0..3), 3);
        call.press(NAMED, ssrc, 3);
    }
    assert_eq!(call.digits, "#".repeat(50));
}

/// A peer that is quiet sends comfort noise (RFC 3389), which is dropped.
#[test]
fn comfort_noise_keeps_the_stream_and_the_named_port() {
    let mut call = Call::new(false);
    call.talk(NAMED, PEER, 0..5);
    for sequence in 5..50 {
        call.now += STREAM_SILENCE / 2;
        assert_eq!(
            call.send(port(NAMED), &packet(13, PEER, sequence, &[60]), Protection::None),
            Some(DropReason::PayloadType)
        );
        assert_eq!(call.audio(NAMED, ATTACKER, sequence), Some(DropReason::Stream));
    }
    call.now += STREAM_SILENCE;
    let foreign = packet(13, ATTACKER, 0, &[60]);
    assert_eq!(call.send(port(NAMED), &foreign, Protection::None), Some(DropReason::PayloadType));
    assert_eq!(call.audio(NAMED, 3, 0), None, "another stream's noise keeps nothing");
    let mut elsewhere = Call::new(true);
    elsewhere.send(port(OTHER), &packet(13, PEER, 0, &[60]), Protection::None);
    assert_eq!(elsewhere.talk(OTHER, PEER, 1..20), 12, "noise from another port does not make it the named one");
    let mut learning = Call::new(true);
    learning.send(port(NAMED), &packet(13, PEER, 0, &[60]), Protection::None);
    assert_eq!(learning.talk(OTHER, ATTACKER, 0..20), 0);
}

#[test]
fn events_before_the_first_audio_do_not_keep_it_out() {
    let mut call = Call::new(false);
    call.press(NAMED, PEER, 0);
    assert_eq!(call.digits, "#", "a peer that sends no audio");
    call.event(NAMED, ATTACKER, 0, 7);
    assert_eq!(call.receiver.dropped().stream, 1);
    let mut with_audio = Call::new(false);
    with_audio.talk(NAMED, PEER, 0..5);
    with_audio.press(NAMED, PEER, 5);
    assert_eq!(with_audio.audio(NAMED, ATTACKER, 0), Some(DropReason::Stream), "after a press in the audio's stream");
    assert_eq!(call.audio(NAMED, 3, 0), None);
    call.press(NAMED, PEER, 9);
    assert_eq!(call.digits, "#");
}

#[test]
fn a_single_packet_never_presses_a_digit() {
    for has_audio in [false, true] {
        let mut call = Call::new(true);
        if has_audio {
            call.talk(NAMED, PEER, 0..10);
        }
        for attempt in 0..1000u32 {
            call.event(NAMED, PEER.wrapping_add(attempt), 10, attempt);
            call.event(OTHER, PEER, 10, attempt);
            call.now += STREAM_SILENCE;
        }
        assert!(call.digits.chars().all(|digit| digit == '?'), "{}", call.digits);
    }
}

#[test]
fn authenticated_packets_count_whatever_their_stream() {
    let mut call = Call::new(false);
    call.talk(NAMED, PEER, 0..5);
    for ssrc in 0..20u32 {
        let from = port(OTHER + ssrc as u16);
        for sequence in 0..2 {
            let event = packet(101, ssrc, sequence, &[5, 0x8a, 6, 0x40]);
            let header = RtpHeader { timestamp: 0, ..RtpPacket::read(&event).unwrap().header };
            assert_eq!(call.send(from, &header.write(&[5, 0x8a, 6, 0x40]), Protection::Authenticated), None);
        }
    }
    assert_eq!(call.digits, "5".repeat(20));
}

proptest! {
    /// Whatever comes from elsewhere, with any content and at any time, changes nothing for the peer.
    #[test]
    fn packets_from_other_ports_never_count(
        packets in proptest::collection::vec((1u16..6, 0u32..3, any::<u16>(), any::<bool>(), 0u64..400), 0..200),
        learns_port in any::<bool>(),
    ) {
        let mut call = Call::new(learns_port);
        let mut sequence = 0;
        call.audio(NAMED, PEER, sequence);
        for (from, ssrc, noise, is_event, wait) in packets {
            call.now += Duration::from_millis(wait);
            let dropped = if is_event {
                call.event(NAMED + from, PEER + ssrc, sequence.wrapping_add(noise % 3), 0)
            } else {
                call.audio(NAMED + from, PEER + ssrc, noise)
            };
            prop_assert_eq!(dropped, Some(DropReason::Port));
            sequence += 1;
            prop_assert_eq!(call.audio(NAMED, PEER, sequence), None);
        }
        prop_assert_eq!(call.digits, "");
    }

    #[test]
    fn no_packet_panics(
        packets in proptest::collection::vec((any::<u8>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..100),
        learns_port in any::<bool>(),
    ) {
        let mut call = Call::new(learns_port);
        let count = packets.len() as u64;
        for (from, now, mut bytes, is_rtp) in packets {
            call.now = Duration::from_millis(now.into());
            if is_rtp && bytes.len() > 1 {
                (bytes[0], bytes[1]) = (0x80, if bytes[1] > 127 { 101 } else { 0 });
            }
            call.send(port(NAMED + u16::from(from % 4)), &bytes, Protection::None);
        }
        prop_assert!(call.receiver.dropped().total() <= count);
    }
}
