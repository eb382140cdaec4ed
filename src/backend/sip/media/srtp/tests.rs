//! Who may be heard where the audio is encrypted.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;
use rtp_types::RtpPacketBuilder;

use super::*;

/// The two ends of a call.
fn ends(tag: u32, suite: Suite) -> (Srtp, Srtp) {
    let (ours, theirs) = (Keying::new().unwrap(), Keying::new().unwrap());
    let line = |keying: &Keying| CryptoLine::parse(&keying.line(tag, suite)).unwrap();
    (Srtp::new(&ours, &line(&theirs)).unwrap(), Srtp::new(&theirs, &line(&ours)).unwrap())
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    let packet = RtpPacketBuilder::<_, &[u8]>::new().payload_type(101).ssrc(ssrc).sequence_number(sequence);
    packet.payload(&[11, 0x8a, 5, 0][..]).write_vec().unwrap()
}

#[test]
fn what_is_authentic_is_opened_once() {
    for (tag, suite) in SUITES {
        let (mut ours, mut theirs) = ends(tag, suite);
        let sealed = theirs.protect(&packet(7, 100)).unwrap();
        assert_eq!(ours.open(&sealed), Some(packet(7, 100)), "{suite:?}");
        assert_eq!(ours.open(&sealed), None, "a replay");
        assert_eq!(ours.open(&packet(7, 101)), None, "in the clear");
        let mut forged = theirs.protect(&packet(7, 102)).unwrap();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(ours.open(&forged), None, "forged");
        let (_, mut other) = ends(tag, suite);
        assert_eq!(ours.open(&other.protect(&packet(7, 103)).unwrap()), None, "of another call");
    }
}

#[test]
fn a_flood_of_forged_streams_neither_fills_the_memory_nor_keeps_the_other_side_out() {
    let (mut ours, mut theirs) = ends(1, Suite::Sha1_80);
    for ssrc in 0..1000 {
        assert_eq!(ours.open(&packet(ssrc, 5)), None);
    }
    assert!(ours.streams.is_empty());
    assert!(ours.open(&theirs.protect(&packet(7, 100)).unwrap()).is_some());
    for ssrc in 8..20 {
        let _ = ours.open(&theirs.protect(&packet(ssrc, 100)).unwrap());
    }
    assert_eq!(ours.streams.len(), MAX_STREAMS);
}

#[test]
fn what_was_received_is_remembered_when_the_key_stays() {
    let (mut ours, mut theirs) = ends(1, Suite::Sha1_80);
    let sealed = theirs.protect(&packet(7, 100)).unwrap();
    assert!(ours.open(&sealed).is_some());
    let same = ours.theirs.clone();
    ours.go_on(&same);
    assert_eq!(ours.open(&sealed), None, "a replay");
    assert!(ours.open(&theirs.protect(&packet(7, 101)).unwrap()).is_some());
}

proptest! {
    #[test]
    fn garbage_and_mutations_are_no_crash_and_never_opened(
        garbage in any::<Vec<u8>>(),
        index in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
        length in any::<prop::sample::Index>(),
    ) {
        let (mut ours, mut theirs) = ends(1, Suite::Sha1_80);
        prop_assert_eq!(ours.open(&garbage), None);
        let sealed = theirs.protect(&packet(7, 100)).unwrap();
        let mut mutated = sealed.clone();
        mutated[index.index(sealed.len())] ^= flip;
        prop_assert_eq!(ours.open(&mutated), None);
        prop_assert_eq!(ours.open(&sealed[..length.index(sealed.len())]), None);
        prop_assert!(ours.open(&sealed).is_some());
    }
}
