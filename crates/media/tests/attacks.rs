//! Attacks on the media: they never produce a digit. At most, an attacker prevents the approval of a call.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use phonegate_media::rtp::RtpHeader;
use phonegate_media::sdp::Encryption;
use phonegate_media::srtp::Srtp;
use proptest::prelude::*;

use support::*;

const ATTACKER: u32 = 0xbbbb;
const OTHER: u16 = 5000;

/// A packet of audio that cannot be distinguished from the peer's.
fn audio(ssrc: u32, sequence: u16) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    RtpHeader { marker: false, payload_type: 0, sequence, timestamp, ssrc }.write(&[0xff; 160])
}

/// A packet of an event, with the end bit.
fn key(ssrc: u32, sequence: u16, timestamp: u32) -> Vec<u8> {
    RtpHeader { marker: true, payload_type: 101, sequence, timestamp, ssrc }.write(&event('#', 1600, true))
}

/// Sends a whole press, exactly as a telephone would.
fn press(call: &mut Call, from: SocketAddr, ssrc: u32, sequence: u16) {
    for n in 0..6 {
        call.deliver(from, &key(ssrc, sequence.wrapping_add(n), sequence.into()));
    }
}

fn elsewhere() -> SocketAddr {
    ([192, 0, 2, 66], NAMED).into()
}

/// With the address and port of the peer forged, before and after the first audio, and in a stream that was guessed.
#[test]
fn one_blind_packet_is_never_a_digit() {
    for audio_packets in [0, 20] {
        for ssrc in [ATTACKER, PEER] {
            for learns_port in [false, true] {
                let mut call = if learns_port { Call::learning() } else { Call::answered(PLAIN) };
                call.talk(audio_packets);
                let sequence = call.sequence;
                call.deliver(port(NAMED), &key(ssrc, sequence.wrapping_add(1), 1));
                assert_eq!(call.digits, "");
                call.talk(20);
                call.press('#');
                assert!(
                    ["#", "?#"].contains(&call.digits.as_str()),
                    "achieved {}: at most an unclear entry",
                    call.digits
                );
            }
        }
    }
}

/// A thousand single packets, each of its own stream or press, with pauses in which the stream may change.
#[test]
fn many_blind_packets_of_their_own_are_never_a_digit() {
    for (same_stream, wait) in [(true, 20), (false, 20), (true, 1000), (false, 1000)] {
        let mut call = Call::answered(PLAIN);
        for n in 0..1000u32 {
            let ssrc = if same_stream { ATTACKER } else { ATTACKER.wrapping_add(n) };
            call.deliver(port(NAMED), &key(ssrc, (n * 7) as u16, n * 1000));
            call.now += Duration::from_millis(wait);
        }
        assert!(call.digits.chars().all(|digit| digit == '?'), "achieved {}", call.digits);
    }
}

/// 25,000 packets a second: audio in sequence and presses, spread over 100 ports of this side or sent to one, from one
/// port or from a hundred, before and after the first audio.
#[test]
fn a_spray_from_other_ports_is_never_a_digit() {
    for learns_port in [false, true] {
        for has_audio in [false, true] {
            for our_ports in [1, 100u32] {
                for their_ports in [1, 100u32] {
                    let mut call = if learns_port { Call::learning() } else { Call::answered(PLAIN) };
                    for n in 0..25_000 / our_ports {
                        call.now = Duration::from_micros(40) * (n * our_ports);
                        if has_audio && n % (500 / our_ports) == 0 {
                            let own = call.packet(0, n, &[0xff; 160]);
                            call.deliver(port(NAMED), &own);
                        }
                        let from = port(OTHER + (n % their_ports) as u16);
                        // In sequence at each port: the strongest attempt to make it learn a port.
                        let sequence = (n / their_ports) as u16;
                        call.deliver(from, &audio(ATTACKER, sequence));
                        if n % 10 == 0 {
                            press(&mut call, from, ATTACKER, sequence);
                        }
                        call.deliver(from, &key(PEER, sequence, 7));
                    }
                    let context = format!("{learns_port} {has_audio} {our_ports} {their_ports}");
                    assert_eq!((call.digits.as_str(), call.summary().learned_source), ("", None), "{context}");
                    let heard = call.summary().audio_packets;
                    assert_eq!(heard, if has_audio { 50 } else { 0 }, "{context}: the peer alone was heard");
                    call.check_keys(&context);
                }
            }
        }
    }
}

#[test]
fn another_address_is_never_a_digit() {
    for learns_port in [false, true] {
        let mut call = if learns_port { Call::learning() } else { Call::answered(PLAIN) };
        for is_during_audio in [false, true] {
            for n in 0..200 {
                if is_during_audio {
                    call.talk(1);
                }
                let sequence = call.sequence;
                call.deliver(elsewhere(), &audio(PEER, sequence));
                press(&mut call, elsewhere(), PEER, sequence);
                press(&mut call, elsewhere(), ATTACKER, n);
                call.now += PACKET_TIME;
            }
        }
        let summary = call.summary();
        assert_eq!((call.digits.as_str(), summary.dropped.address), ("", 400 * 13));
        assert_eq!((summary.audio_packets, summary.event_packets), (200, 0));
        call.check_keys("afterwards");
    }
}

/// With the address and port of the peer forged. After 1 s of silence a stream is the peer's, as transfers begin so; one
/// packet of it is still no digit, and the next audio of the peer takes the call back.
#[test]
fn another_stream_is_never_a_digit_while_the_peer_is_heard() {
    let mut call = Call::answered(PLAIN);
    for sequence in 0..200 {
        call.talk(1);
        call.deliver(port(NAMED), &audio(ATTACKER, sequence));
        press(&mut call, port(NAMED), ATTACKER, sequence);
        // The longest pause that does not count as silence.
        call.now += Duration::from_millis(979);
        press(&mut call, port(NAMED), ATTACKER, sequence);
    }
    assert_eq!((call.digits.as_str(), call.summary().event_packets), ("", 0));
    call.now += Duration::from_secs(1);
    call.deliver(port(NAMED), &key(ATTACKER, 1, 1));
    call.talk(5);
    press(&mut call, port(NAMED), ATTACKER, 2);
    assert_eq!(call.digits, "", "achieved nothing but an unclear press");
    call.press('#');
    assert_eq!(call.digits, "?#");
}

/// A packet with the SSRC of the peer, but a guessed sequence number, belongs to no press.
#[test]
fn forged_single_packets_beside_a_press_do_not_change_it() {
    let mut call = Call::answered(PLAIN);
    for digit in ['1', '2', '#'] {
        call.talk(10);
        let timestamp = call.timestamp;
        for packet in PRESS {
            call.press_as(digit, timestamp, &[packet]);
            call.deliver(elsewhere(), &key(PEER, call.sequence, timestamp));
            call.deliver(port(NAMED), &key(ATTACKER, call.sequence, timestamp));
            call.deliver(port(OTHER), &key(PEER, call.sequence, timestamp));
        }
    }
    assert_eq!(call.digits, "12#");
}

#[test]
fn a_learned_port_accepts_only_digits_near_its_audio() {
    let mut call = Call::learning();
    call.from = port(OTHER);
    call.talk(20);
    assert_eq!(call.summary().learned_source, Some(port(OTHER)));
    let sequence = call.sequence;
    press(&mut call, port(OTHER), ATTACKER, sequence);
    press(&mut call, port(OTHER + 2), PEER, sequence);
    press(&mut call, elsewhere(), PEER, sequence);
    for far in [101, 1000, 32_768, 60_000, 65_435 - 6] {
        press(&mut call, port(OTHER), PEER, sequence.wrapping_add(far));
    }
    assert_eq!(call.digits, "", "achieved nothing");
    call.check_keys("of the learned port");
}

/// No port is learned from events, whatever their number and order, and without a learned port no digit is accepted.
#[test]
fn no_port_is_learned_from_events_alone() {
    let mut call = Call::learning();
    call.from = port(OTHER);
    for digit in "0123456789".chars() {
        call.press_as(digit, call.timestamp, &PRESS);
    }
    call.talk(6);
    for _ in 0..20 {
        call.press_as('#', call.timestamp, &PRESS);
        call.talk(7);
    }
    assert_eq!((call.digits.as_str(), call.summary().learned_source), ("", None));
}

/// If an attacker's port was learned before the peer sent, the first packet of the peer removes it permanently.
#[test]
fn the_named_port_always_wins_back() {
    let mut call = Call::learning();
    for sequence in 0..20 {
        call.deliver(port(OTHER), &audio(ATTACKER, sequence));
        call.now += PACKET_TIME;
    }
    assert_eq!(call.summary().learned_source, Some(port(OTHER)));
    call.talk(1);
    for sequence in 20..200 {
        call.deliver(port(OTHER), &audio(ATTACKER, sequence));
        press(&mut call, port(OTHER), ATTACKER, sequence);
        call.now += Duration::from_millis(100);
    }
    assert_eq!((call.digits.as_str(), call.summary().learned_source), ("", None));
    call.check_keys("of the named port");
}

/// From anywhere, with any key but the peer's, and as RTP.
#[test]
fn forged_srtp_is_never_a_digit() {
    let mut call = Call::encrypted();
    let mut other = Call::encrypted();
    other.rekey(51);
    call.talk(5);
    for n in 0..200u16 {
        let sequence = call.sequence;
        for from in [port(NAMED), port(OTHER), elsewhere()] {
            call.deliver(from, &key(PEER, sequence, 7));
            other.sequence = sequence;
            let forged = other.packet(101, 7, &event('#', 1600, true));
            call.deliver(from, &forged);
            // A tag of zeros, and the packets of this side sent back.
            call.deliver(from, &[key(ATTACKER, n, 7), vec![0; 10]].concat());
            let own = call.media.protect_rtp(key(OWN, n * 3, 7)).unwrap();
            call.deliver(from, &own);
        }
        call.talk(1);
    }
    let summary = call.summary();
    assert_eq!((call.digits.as_str(), summary.not_authentic, summary.event_packets), ("", 200 * 12, 0));
    assert_eq!(summary.dropped.total(), 0);
    call.check_keys("afterwards");
}

/// All packets of the peer are sent again: immediately, after a pause, from elsewhere, after other streams, and after the peer
/// changed its key and changed it back.
#[test]
fn replayed_srtp_is_never_a_digit() {
    let mut call = Call::encrypted();
    let mut recorded = Vec::new();
    let timestamp = call.timestamp;
    for (duration, is_end) in PRESS {
        let packet = call.packet(101, timestamp, &event('7', duration, is_end));
        call.deliver(port(NAMED), &packet);
        recorded.push(packet);
        call.pass();
    }
    assert_eq!(std::mem::take(&mut call.digits), "7");
    let replay = |call: &mut Call, context: &str| {
        for from in [port(NAMED), elsewhere()] {
            recorded.iter().for_each(|packet| call.deliver(from, packet));
        }
        assert_eq!(call.digits, "", "{context}");
    };
    replay(&mut call, "at once");
    call.now += Duration::from_secs(10);
    replay(&mut call, "after a pause");
    for ssrc in 1..100 {
        call.ssrc = PEER + ssrc;
        call.talk(3);
    }
    replay(&mut call, "after other streams");
    assert_eq!((call.summary().replayed, call.summary().not_authentic), (36, 0));
    call.rekey(21);
    call.talk(5);
    replay(&mut call, "under another key");
    assert_eq!((call.summary().replayed, call.summary().not_authentic), (36, 12));
    call.rekey(11);
    replay(&mut call, "under the first key again");
}

/// Only a description can change what an encrypted call accepts.
#[test]
fn plain_rtp_in_an_encrypted_call_is_never_a_digit() {
    for encryption in [Encryption::Required(keys(1)), Encryption::Optional(keys(1))] {
        let mut call = Call::offered(encryption, true);
        let remote = Call::encrypted().rekey(11);
        call.media.set_remote(&remote).unwrap();
        call.media.set_answered();
        for from in [port(NAMED), port(OTHER)] {
            call.from = from;
            call.talk(50);
            call.press('#');
        }
        let summary = call.summary();
        assert_eq!((call.digits.as_str(), summary.is_silent(), summary.not_authentic), ("", true, 122));
        assert_eq!(summary.learned_source, None);
    }
}

/// Events under each of them; RTCP has 64 to 95 with the marker.
#[test]
fn only_agreed_payload_types_are_digits() {
    let mut encrypted = Call::encrypted();
    let mut plain = Call::answered("m=audio 4000 RTP/AVP 0 97\r\na=rtpmap:97 telephone-event/8000\r\n");
    for call in [&mut plain, &mut encrypted] {
        let mut pressed = Vec::new();
        for payload_type in 0..=127 {
            call.event_type = payload_type;
            call.press_as('5', u32::from(payload_type) * 10_000, &PRESS);
            if !std::mem::take(&mut call.digits).is_empty() {
                pressed.push(payload_type);
            }
            // With the marker.
            let (sequence, ssrc) = (call.sequence, call.ssrc);
            let header = RtpHeader { marker: true, payload_type, sequence, timestamp: 1, ssrc };
            call.deliver(elsewhere(), &header.write(&event('5', 160, false)));
        }
        let expected: &[u8] = if call.srtp.is_some() { &[101] } else { &[97, 101] };
        assert_eq!(pressed, expected);
    }
}

/// A description cannot make an audio number one of events.
#[test]
fn audio_types_are_never_events() {
    for payload_type in [0, 8, 9, 13, 18, 34, 64, 72, 95] {
        let media =
            format!("m=audio 4000 RTP/AVP 0 8 {payload_type}\r\na=rtpmap:{payload_type} telephone-event/8000\r\n");
        let mut call = Call::offered(Encryption::Off, false);
        if let Ok(remote) = call.local.check_answer(description(&media).as_bytes()) {
            call.media.set_remote(&remote).unwrap();
        }
        call.media.set_answered();
        call.event_type = payload_type;
        call.press_as('5', 1, &PRESS);
        assert_eq!(call.digits, "", "{payload_type}");
    }
}

proptest! {
    /// Whatever an attacker without the key sends to an encrypted call, and changes of what the peer sent.
    #[test]
    fn no_packet_of_an_attacker_counts_in_an_encrypted_call(
        packets in proptest::collection::vec(
            (any::<prop::sample::Index>(), 1..=u8::MAX, 0u8..4, proptest::collection::vec(any::<u8>(), 0..60)),
            1..40,
        ),
    ) {
        let mut call = Call::encrypted();
        for (index, flip, kind, mut garbage) in packets {
            let timestamp = call.timestamp;
            let mut packet = call.packet(101, timestamp, &event('1', 160, false));
            match kind {
                0 => {
                    let position = index.index(packet.len());
                    packet[position] ^= flip;
                }
                1 => packet.truncate(index.index(packet.len())),
                2 => packet.extend(garbage),
                _ => {
                    if let [first, second, ..] = garbage.as_mut_slice() {
                        (*first, *second) = (0x80, 101);
                    }
                    packet = garbage;
                }
            }
            let is_changed = kind != 2 || packet.len() > 26;
            if is_changed {
                call.deliver(port(NAMED), &packet);
                call.media.receive_rtcp(port(NAMED + 1), &packet);
            }
            call.pass();
        }
        prop_assert_eq!((call.digits.as_str(), call.summary().event_packets), ("", 0));
        prop_assert_eq!(call.summary().peer_report, None);
        call.check_keys("afterwards");
    }

    /// The key of the attacker is random.
    #[test]
    fn no_other_key_opens_a_packet(seed in 60u8..200, ssrc in any::<u32>(), sequence in any::<u16>()) {
        let mut call = Call::encrypted();
        let mut attacker = Srtp::new(&keys(seed)).unwrap();
        attacker.set_peer_key(Call::encrypted().rekey(11).key.as_ref().unwrap()).unwrap();
        for n in 0..3 {
            let forged = attacker.protect_rtp(&key(ssrc, sequence.wrapping_add(n), 7)).unwrap();
            call.deliver(port(NAMED), &forged);
        }
        prop_assert_eq!((call.digits.as_str(), call.summary().not_authentic), ("", 3));
    }
}
