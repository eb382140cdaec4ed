//! The input is the packets that arrive in an encrypted call: those of the peer, and those of an attacker without the
//! key, who sends copies, modified packets and arbitrary bytes.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use phonegate_media::dtmf::DigitEvent;
use phonegate_media::rtp::RtpHeader;
use phonegate_media::sdp::{Encryption, LocalKeys, LocalSession, MasterKey};
use phonegate_media::session::MediaSession;

#[derive(Arbitrary, Debug)]
enum Step {
    /// The peer sends audio, or an event packet.
    Audio {
        stream: u8,
    },
    Event {
        stream: u8,
        digit: u8,
        duration: u8,
    },
    /// An attacker sends an earlier packet again, unchanged or with one bit changed.
    Copy {
        packet: u8,
        is_rtcp: bool,
    },
    Change {
        packet: u8,
        at: u16,
        bits: u8,
        is_rtcp: bool,
    },
    /// An attacker sends these bytes.
    Bytes {
        bytes: Vec<u8>,
        is_rtcp: bool,
    },
    /// The peer sends a report.
    Report,
    /// Time passes, in units of 10 ms.
    Wait(u8),
}

fuzz_target!(|steps: Vec<Step>| {
    let (mut own, mut peer) = sessions();
    let from: SocketAddr = ([192, 0, 2, 9], 6000).into();
    let attacker: SocketAddr = ([198, 51, 100, 66], 6000).into();
    let mut now = Duration::ZERO;
    let mut sequences = [0_u16; 4];
    let mut sent: Vec<Vec<u8>> = Vec::new();
    // Event packets of the peer by digit, and digits that were reported.
    let (mut events, mut digits) = ([0_u32; 16], [0_u32; 16]);
    for step in steps.iter().take(200) {
        let packet = match step {
            Step::Audio { stream } => protect(&mut peer, &mut sequences, *stream, 0, &[0xff; 160]),
            Step::Event { stream, digit, duration } => {
                let digit = digit % 16;
                events[usize::from(digit)] += 1;
                protect(&mut peer, &mut sequences, *stream, 101, &[digit, 10, 0, *duration])
            }
            Step::Report => {
                let report = phonegate_media::rtcp::write(7, None, None, false);
                peer.protect_rtcp(report).expect("a report is encrypted")
            }
            Step::Wait(tens) => {
                now += Duration::from_millis(u64::from(*tens) * 10);
                continue;
            }
            Step::Copy { .. } | Step::Change { .. } | Step::Bytes { .. } => {
                let (bytes, is_rtcp) = forged(step, &sent);
                let before = own.summary();
                assert_eq!(receive(&mut own, now, attacker, &bytes, is_rtcp), None, "an attacker produces no digit");
                let after = own.summary();
                let counted = [after.audio_packets, after.event_packets];
                assert_eq!(counted, [before.audio_packets, before.event_packets], "no forged packet is counted");
                continue;
            }
        };
        let reported = receive(&mut own, now, from, &packet, matches!(step, Step::Report));
        if let Some(DigitEvent::Digit { digit, .. }) = reported {
            digits[usize::from(digit.event_code())] += 1;
        }
        sent.push(packet);
    }
    for (events, digits) in events.iter().zip(digits) {
        assert!(digits <= events / 2, "a digit needs two packets");
    }
});

/// Two ends of one encrypted call.
fn sessions() -> (MediaSession, MediaSession) {
    let keys = |seed: u8| LocalKeys {
        sha1_80: MasterKey::from_bytes([seed; 30]),
        sha1_32: MasterKey::from_bytes([seed + 1; 30]),
    };
    let mut caller = LocalSession::new(([192, 0, 2, 1], 4000).into(), 1, Encryption::Required(keys(1)));
    let mut callee = LocalSession::new(([192, 0, 2, 9], 6000).into(), 2, Encryption::Required(keys(3)));
    let offer = callee.check_offer(caller.offer().as_bytes()).expect("the offer can be answered");
    let answer = callee.answer(&offer);
    let remote = caller.check_answer(answer.as_bytes()).expect("the answer can be used");
    let mut own = MediaSession::new(caller.encryption(), 5, false).expect("the keys can be used");
    let mut peer = MediaSession::new(callee.encryption(), 6, false).expect("the keys can be used");
    own.set_remote(&remote).expect("the call is encrypted");
    peer.set_remote(offer.remote()).expect("the call is encrypted");
    own.set_answered();
    (own, peer)
}

fn protect(peer: &mut MediaSession, sequences: &mut [u16; 4], stream: u8, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let stream = usize::from(stream % 4);
    let sequence = sequences[stream];
    sequences[stream] = sequence.wrapping_add(1);
    let timestamp = u32::from(sequence) * 160;
    let ssrc = 100 + u32::try_from(stream).expect("a small number");
    let header = RtpHeader { marker: false, payload_type, sequence, timestamp, ssrc };
    peer.protect_rtp(header.write(payload)).expect("a packet is encrypted")
}

/// Returns the attacker's packet, and whether it is sent to the RTCP port.
fn forged(step: &Step, sent: &[Vec<u8>]) -> (Vec<u8>, bool) {
    let pick = |packet: &u8| sent.get(usize::from(*packet) % sent.len().max(1)).cloned().unwrap_or_default();
    match step {
        Step::Copy { packet, is_rtcp } => (pick(packet), *is_rtcp),
        Step::Change { packet, at, bits, is_rtcp } => {
            let mut bytes = pick(packet);
            let at = usize::from(*at) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
            (bytes, *is_rtcp)
        }
        Step::Bytes { bytes, is_rtcp } => (bytes.clone(), *is_rtcp),
        _ => (Vec::new(), false),
    }
}

fn receive(
    own: &mut MediaSession,
    now: Duration,
    from: SocketAddr,
    packet: &[u8],
    is_rtcp: bool,
) -> Option<DigitEvent> {
    if is_rtcp {
        own.receive_rtcp(from, packet);
        return None;
    }
    own.receive_rtp(now, from, packet)
}
