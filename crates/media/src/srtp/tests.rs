//! Decryption of authentic packets, and attacks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::rtcp;
use crate::sdp::{Encryption, LocalSession};

const SUITES: [CryptoSuite; 2] = [CryptoSuite::AesCm128HmacSha1_80, CryptoSuite::AesCm128HmacSha1_32];

fn keys(seed: u8) -> LocalKeys {
    LocalKeys { sha1_80: MasterKey::from_bytes([seed; 30]), sha1_32: MasterKey::from_bytes([seed + 1; 30]) }
}

/// The key of a peer with these local keys, from its answer.
fn peer_key(keys: &LocalKeys, suite: CryptoSuite) -> PeerKey {
    let mut peer = LocalSession::new("192.0.2.9:4000".parse().unwrap(), 1, Encryption::Required(keys.clone()));
    let offer = peer.offer();
    let line = offer.lines().find(|line| line.contains(suite.name())).unwrap();
    let answer = format!("v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/SAVP 0 101\r\n{line}\r\n");
    let mut local = LocalSession::new("192.0.2.1:4002".parse().unwrap(), 1, Encryption::Required(self::keys(200)));
    local.check_answer(answer.as_bytes()).unwrap().key.unwrap()
}

/// The two ends of a call.
fn ends(suite: CryptoSuite) -> (Srtp, Srtp) {
    let (ours, theirs) = (keys(1), keys(11));
    let (mut local, mut peer) = (Srtp::new(&ours).unwrap(), Srtp::new(&theirs).unwrap());
    local.set_peer_key(&peer_key(&theirs, suite)).unwrap();
    peer.set_peer_key(&peer_key(&ours, suite)).unwrap();
    (local, peer)
}

fn strong_ends() -> (Srtp, Srtp) {
    ends(CryptoSuite::AesCm128HmacSha1_80)
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    let header = RtpHeader { marker: false, payload_type: 101, sequence, timestamp: 7, ssrc };
    header.write(&[11, 0x8a, 5, 0])
}

fn report(ssrc: u32) -> Vec<u8> {
    rtcp::write(ssrc, None, None, false)
}

#[test]
fn what_is_authentic_is_opened_once() {
    for suite in SUITES {
        let (mut local, mut peer) = ends(suite);
        let (rtp, rtcp) = (peer.protect_rtp(&packet(7, 100)).unwrap(), peer.protect_rtcp(&report(7)).unwrap());
        assert!(rtp[12..] != packet(7, 100)[12..] && !rtcp.ends_with(&report(7)), "encrypted");
        assert_eq!(local.open_rtp(&rtp), Ok(packet(7, 100)), "{suite:?}");
        assert_eq!(local.open_rtcp(&rtcp), Ok(report(7)), "{suite:?}");
        assert_eq!(local.open_rtp(&rtp), Err(SrtpError::Replayed));
        assert_eq!(local.open_rtcp(&rtcp), Err(SrtpError::Replayed));
        assert_eq!(local.open_rtp(&packet(7, 101)), Err(SrtpError::NotAuthentic), "in the clear");
        assert!(local.open_rtcp(&report(7)).is_err(), "in the clear");
        let own = local.protect_rtp(&packet(7, 102)).unwrap();
        assert_eq!(local.open_rtp(&own), Err(SrtpError::NotAuthentic), "reflected");
        assert_eq!(peer.open_rtp(&own), Ok(packet(7, 102)));
    }
}

/// Payloads of RFC 3550 may be padded; the padding is encrypted.
#[test]
fn sources_extension_and_padding_are_opened() {
    let (mut local, mut peer) = strong_ends();
    for (sequence, flags, rest) in [
        (1, 0x20, &[7, 7, 0, 2][..]),
        (2, 0x01, &[0, 0, 0, 1, 7, 7]),
        (3, 0x10, &[0xbe, 0xde, 0, 1, 0x10, 2, 0, 0, 7, 7]),
        (4, 0x10, &[0, 0, 0, 1, 1, 2, 3, 4, 7, 7]),
    ] {
        let header = RtpHeader { marker: false, payload_type: 0, sequence, timestamp: 7, ssrc: 7 };
        let mut packet = header.write(rest);
        packet[0] |= flags;
        let protected = peer.protect_rtp(&packet).unwrap();
        assert_eq!(local.open_rtp(&protected), Ok(packet), "{flags:x}");
    }
}

/// The library returns such packets without checking their tag.
#[test]
fn rtcp_that_is_not_encrypted_is_refused() {
    let (mut local, mut peer) = strong_ends();
    let mut forged = report(7);
    forged.extend(1u32.to_be_bytes());
    forged.extend([0; 10]);
    assert_eq!(local.open_rtcp(&forged), Err(SrtpError::NotAuthentic));
    let mut cleared = peer.protect_rtcp(&report(7)).unwrap();
    let flag = cleared.len() - RTCP_TRAILER;
    cleared[flag] &= 0x7f;
    assert_eq!(local.open_rtcp(&cleared), Err(SrtpError::NotAuthentic));
    cleared[flag] |= 0x80;
    assert_eq!(local.open_rtcp(&cleared), Ok(report(7)), "only the flag was wrong");
}

#[test]
fn a_hundred_thousand_forged_streams_create_no_state() {
    let (mut local, mut peer) = strong_ends();
    let forged_report = peer.protect_rtcp(&report(1)).unwrap();
    for ssrc in 0..100_000u32 {
        assert_eq!(local.open_rtp(&packet(ssrc, 5)), Err(SrtpError::NotAuthentic));
        let mut forged = forged_report.clone();
        forged[4..8].copy_from_slice(&ssrc.wrapping_add(2).to_be_bytes());
        assert_eq!(local.open_rtcp(&forged), Err(SrtpError::NotAuthentic));
        let state = local.peers.last().unwrap();
        assert!(state.rtp.is_empty() && state.rtcp.is_empty() && state.trial.packets <= MAX_TRIES);
    }
    let first = peer.protect_rtp(&packet(7, 1)).unwrap();
    assert!(local.open_rtp(&first).is_ok(), "packets of the peer are still accepted");
}

/// A forged packet of a known stream, or a forged first packet, moves no window.
#[test]
fn forged_sequence_numbers_do_not_keep_the_peer_out() {
    let (mut local, mut peer) = strong_ends();
    for sequence in 0..20u16 {
        for forged in [sequence.wrapping_add(30_000), sequence.wrapping_add(40_000), sequence, sequence + 1] {
            assert!(local.open_rtp(&packet(7, forged)).is_err());
        }
        let protected = peer.protect_rtp(&packet(7, sequence)).unwrap();
        assert!(local.open_rtp(&protected).is_ok(), "{sequence}");
    }
}

#[test]
fn many_streams_count_and_none_can_be_replayed() {
    let (mut local, mut peer) = strong_ends();
    let mut recorded = Vec::new();
    for ssrc in 0..MAX_STREAMS as u32 {
        for sequence in 0..2 {
            let (rtp, rtcp) = (packet(ssrc, sequence), report(ssrc));
            let (rtp, rtcp) = (peer.protect_rtp(&rtp).unwrap(), peer.protect_rtcp(&rtcp).unwrap());
            assert!(local.open_rtp(&rtp).is_ok() && local.open_rtcp(&rtcp).is_ok(), "{ssrc}");
            recorded.push((rtp, rtcp));
        }
    }
    for (rtp, rtcp) in &recorded {
        assert_eq!(local.open_rtp(rtp), Err(SrtpError::Replayed));
        assert_eq!(local.open_rtcp(rtcp), Err(SrtpError::Replayed));
    }
    let further = peer.protect_rtp(&packet(u32::MAX, 0)).unwrap();
    assert_eq!(local.open_rtp(&further), Err(SrtpError::TooManyStreams));
    let further = peer.protect_rtcp(&report(u32::MAX)).unwrap();
    assert_eq!(local.open_rtcp(&further), Err(SrtpError::TooManyStreams));
    let known = peer.protect_rtp(&packet(3, 2)).unwrap();
    assert!(local.open_rtp(&known).is_ok());
}

/// 16 bits of the sequence number alone would take a packet from half a cycle ago for a new one, and with it all that
/// followed it.
#[test]
fn a_recorded_call_cannot_be_replayed_at_any_distance() {
    let (mut local, mut peer) = strong_ends();
    let mut recorded: Vec<Vec<u8>> = Vec::new();
    for sequence in 0..70_000u32 {
        let protected = peer.protect_rtp(&packet(7, sequence as u16)).unwrap();
        assert!(local.open_rtp(&protected).is_ok(), "{sequence}");
        if (33_000..33_100).contains(&sequence) || sequence >= 65_536 {
            let back = recorded.len() - 32_768;
            assert!(local.open_rtp(&recorded[back]).is_err(), "half a cycle before {sequence}");
            assert!(local.open_rtp(&recorded[back + 1]).is_err(), "half a cycle before {sequence}");
        }
        recorded.push(protected);
    }
    for (sequence, protected) in recorded.iter().enumerate() {
        assert!(local.open_rtp(protected).is_err(), "{sequence}");
    }
}

#[test]
fn a_new_key_replaces_the_old_one() {
    let (mut local, mut peer) = strong_ends();
    let old = peer.protect_rtp(&packet(7, 100)).unwrap();
    assert!(local.open_rtp(&old).is_ok());
    let other = keys(21);
    let mut rekeyed = Srtp::new(&other).unwrap();
    rekeyed.set_peer_key(&peer_key(&keys(1), SUITES[0])).unwrap();
    local.set_peer_key(&peer_key(&other, SUITES[0])).unwrap();
    let late = peer.protect_rtp(&packet(7, 101)).unwrap();
    assert_eq!(local.open_rtp(&late), Err(SrtpError::NotAuthentic), "the old key");
    let new = rekeyed.protect_rtp(&packet(7, 50)).unwrap();
    assert_eq!(local.open_rtp(&new), Ok(packet(7, 50)));
    // The same key again, and the old one: the received packets stay known.
    local.set_peer_key(&peer_key(&other, SUITES[0])).unwrap();
    assert_eq!(local.open_rtp(&new), Err(SrtpError::Replayed));
    local.set_peer_key(&peer_key(&keys(11), SUITES[0])).unwrap();
    assert_eq!(local.open_rtp(&old), Err(SrtpError::Replayed));
    assert_eq!(local.open_rtp(&late), Ok(packet(7, 101)));
}

/// Some peers have one key for both suites.
#[test]
fn one_key_in_another_suite_is_another_key() {
    let mut one = keys(11);
    one.sha1_32 = one.sha1_80.clone();
    let (mut local, mut peer) = (Srtp::new(&keys(1)).unwrap(), Srtp::new(&one).unwrap());
    for (sequence, suite) in [(1, SUITES[0]), (2, SUITES[1]), (3, SUITES[0])] {
        local.set_peer_key(&peer_key(&one, suite)).unwrap();
        peer.set_peer_key(&peer_key(&keys(1), suite)).unwrap();
        let protected = peer.protect_rtp(&packet(7, sequence)).unwrap();
        assert_eq!(local.open_rtp(&protected), Ok(packet(7, sequence)), "{suite:?}");
    }
}

#[test]
fn packets_that_are_too_long_are_refused() {
    let (mut local, mut peer) = strong_ends();
    let rtcp = [report(7), vec![0; rtcp::MAX_PACKET]].concat();
    let rtp = [packet(7, 1), vec![0; crate::rtp::MAX_PACKET]].concat();
    let (rtp, rtcp) = (peer.protect_rtp(&rtp).unwrap(), peer.protect_rtcp(&rtcp).unwrap());
    assert_eq!((local.open_rtp(&rtp), local.open_rtcp(&rtcp)), (Err(SrtpError::Malformed), Err(SrtpError::Malformed)));
}

#[test]
fn the_number_of_keys_is_bounded() {
    let mut local = Srtp::new(&keys(1)).unwrap();
    for seed in 0..MAX_PEER_KEYS as u8 {
        local.set_peer_key(&peer_key(&keys(100 + seed), SUITES[0])).unwrap();
    }
    assert_eq!(local.set_peer_key(&peer_key(&keys(99), SUITES[0])), Err(SrtpError::TooManyKeys));
    local.set_peer_key(&peer_key(&keys(100), SUITES[0])).unwrap();
    assert_eq!(local.peers.len(), MAX_PEER_KEYS);
}

/// Two packets under one key and one index would reveal the difference of their contents.
#[test]
fn a_rekeyed_peer_gets_no_key_stream_twice() {
    let (mut local, mut peer) = strong_ends();
    let first = local.protect_rtcp(&report(5)).unwrap();
    local.set_peer_key(&peer_key(&keys(21), SUITES[0])).unwrap();
    let second = local.protect_rtcp(&report(5)).unwrap();
    assert_ne!(first[8..], second[8..]);
    for n in 65_530..65_540u32 {
        let protected = local.protect_rtp(&packet(5, n as u16)).unwrap();
        assert_eq!(peer.open_rtp(&protected), Ok(packet(5, n as u16)), "across the wrap");
        local.set_peer_key(&peer_key(&keys(30 + (n % 4) as u8 * 2), SUITES[0])).unwrap();
    }
    local.set_peer_key(&peer_key(&keys(11), SUITES[1])).unwrap();
    let other_suite = local.protect_rtp(&packet(5, 4)).unwrap();
    assert_eq!(other_suite.len(), packet(5, 4).len() + 4);
}

#[test]
fn nothing_is_opened_or_sent_before_a_key_is_known() {
    let mut local = Srtp::new(&keys(1)).unwrap();
    assert_eq!(local.open_rtp(&packet(7, 0)), Err(SrtpError::NoKey));
    assert_eq!(local.open_rtcp(&report(7)), Err(SrtpError::NoKey));
    assert_eq!(local.protect_rtp(&packet(7, 0)), Err(SrtpError::NoKey));
    assert_eq!(local.protect_rtcp(&report(7)), Err(SrtpError::NoKey));
    assert_eq!(format!("{local:?}"), "Srtp { peer_keys: 0, .. }");
}

proptest! {
    #[test]
    fn no_packet_panics_and_no_change_passes(
        mut garbage in proptest::collection::vec(any::<u8>(), 0..120),
        index in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
        length in any::<prop::sample::Index>(),
        is_known in any::<bool>(),
    ) {
        for suite in SUITES {
            let (mut local, mut peer) = ends(suite);
            let known = peer.protect_rtp(&packet(7, 99)).unwrap();
            if is_known {
                prop_assert!(local.open_rtp(&known).is_ok());
            }
            if let [first, second, ..] = garbage.as_mut_slice() {
                *first = *first & 0x3f | 0x80;
                prop_assert!(local.open_rtp(&[&[*first, *second & 0x7f][..], &[0; 40]].concat()).is_err());
            }
            prop_assert!(local.open_rtp(&garbage).is_err());
            prop_assert!(local.open_rtcp(&garbage).is_err());
            let rtp = peer.protect_rtp(&packet(7, 100)).unwrap();
            let rtcp = peer.protect_rtcp(&report(7)).unwrap();
            let changed = |packet: &[u8]| {
                let mut changed = packet.to_vec();
                changed[index.index(packet.len())] ^= flip;
                changed
            };
            prop_assert!(local.open_rtp(&changed(&rtp)).is_err());
            prop_assert!(local.open_rtcp(&changed(&rtcp)).is_err());
            prop_assert!(local.open_rtp(&rtp[..length.index(rtp.len())]).is_err());
            prop_assert!(local.open_rtcp(&rtcp[..length.index(rtcp.len())]).is_err());
            prop_assert_eq!(local.open_rtp(&rtp), Ok(packet(7, 100)));
            prop_assert_eq!(local.open_rtcp(&rtcp), Ok(report(7)));
        }
    }
}
