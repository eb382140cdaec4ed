//! Accepted and rejected descriptions of the peer, and descriptions of this side.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod encryption;

use proptest::prelude::*;

use super::*;

const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n";
const GOOD: &str = "m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

fn keys() -> LocalKeys {
    LocalKeys { sha1_80: MasterKey::from_bytes([1; 30]), sha1_32: MasterKey::from_bytes([2; 30]) }
}

fn session(encryption: Encryption) -> LocalSession {
    LocalSession::new("192.0.2.1:4002".parse().unwrap(), 5, encryption)
}

fn modes() -> [Encryption; 3] {
    [Encryption::Off, Encryption::Optional(keys()), Encryption::Required(keys())]
}

fn answer(media: &str) -> Result<RemoteMedia, SdpError> {
    session(Encryption::Off).check_answer(format!("{HEAD}{media}").as_bytes())
}

fn offer(media: &str) -> Result<PeerOffer, SdpError> {
    session(Encryption::Off).check_offer(format!("{HEAD}{media}").as_bytes())
}

fn media_lines(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|line| line.starts_with("m=")).collect()
}

#[test]
fn an_answer_as_offered_is_accepted() {
    let remote = answer(GOOD).unwrap();
    assert_eq!((remote.rtp, remote.codec), ("192.0.2.9:4000".parse().unwrap(), Codec::Pcmu));
    assert_eq!((remote.event_type, remote.rtcp), (Some(101), "192.0.2.9:4001".parse().ok()));
    assert_eq!((remote.is_on_hold(), remote.key), (false, None));
    let other = answer("m=audio 4000 RTP/AVP 8\r\na=rtcp:5000 IN IP4 192.0.2.10\r\n").unwrap();
    assert_eq!((other.codec, other.event_type), (Codec::Pcma, None));
    assert!(other.event_types.is_empty() && !other.event_types.contains(101), "digits come in INFO requests");
    assert_eq!(other.rtcp, "192.0.2.9:5000".parse().ok(), "reports go to no other host");
    assert_eq!(answer("m=audio 65535 RTP/AVP 0\r\n").unwrap().rtcp, None);
}

#[test]
fn formats_that_were_not_offered_are_ignored() {
    for (formats, codec) in [
        ("0 13 101", Codec::Pcmu),
        ("18 9 0 101", Codec::Pcmu),
        ("9 8 0 13 101\r\na=rtpmap:9 G722/8000", Codec::Pcma),
        ("96 0\r\na=rtpmap:96 opus/48000/2", Codec::Pcmu),
        ("0 8\r\na=rtpmap:0 G726-32/8000\r\na=rtpmap:8 pcma/8000/1", Codec::Pcma),
    ] {
        assert_eq!(answer(&format!("m=audio 4000 RTP/AVP {formats}\r\n")).unwrap().codec, codec, "{formats}");
    }
}

#[test]
fn the_peers_own_event_type_counts_beside_ours() {
    for (media, event_type, accepted) in [
        ("0 101\r\n", Some(101), vec![101]),
        ("0 96\r\na=rtpmap:96 telephone-event/8000\r\n", Some(96), vec![96, 101]),
        ("0 96\r\na=rtpmap:96  Telephone-Event/8000/1 \r\n", Some(96), vec![96, 101]),
        (
            "0 110 101\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n",
            Some(101),
            vec![101],
        ),
        ("0 97 101\r\na=rtpmap:97 telephone-event/8000\r\na=rtpmap:101 opus/48000/2\r\n", Some(97), vec![97]),
        ("0 101\r\na=rtpmap:101 opus/48000/2\r\n", None, vec![]),
        ("0 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:101 speex/8000\r\n", None, vec![]),
        ("0 101\r\na=rtpmap:101 speex/8000\r\na=rtpmap:101 telephone-event/8000\r\n", None, vec![]),
        // Numbers of audio, of RTCP, or of nothing.
        ("0 8\r\na=rtpmap:8 telephone-event/8000\r\n", None, vec![]),
        ("0 13\r\na=rtpmap:13 telephone-event/8000\r\n", None, vec![]),
        ("0 72\r\na=rtpmap:72 telephone-event/8000\r\n", None, vec![]),
        ("0 200\r\na=rtpmap:200 telephone-event/8000\r\n", None, vec![]),
        ("0\r\na=rtpmap:101 telephone-event/8000\r\n", None, vec![]),
    ] {
        let remote = answer(&format!("m=audio 4000 RTP/AVP {media}")).unwrap();
        assert_eq!((remote.event_type, remote.event_types), (event_type, accepted.into_iter().collect()), "{media}");
    }
}

#[test]
fn an_unusable_answer_is_rejected_with_its_reason() {
    let transport = |name: &str| SdpError::Transport(name.to_owned());
    for (media, error) in [
        ("", SdpError::NoAudio),
        ("m=video 4000 RTP/AVP 0\r\n", SdpError::NoAudio),
        (&format!("{GOOD}{GOOD}"), SdpError::SeveralAudio),
        ("m=audio 0 RTP/AVP 0\r\n", SdpError::Rejected),
        ("m=audio 4000/2 RTP/AVP 0\r\n", SdpError::Address),
        ("m=audio 4000 RTP/SAVP 0\r\n", transport("RTP/SAVP")),
        ("m=audio 4000 RTP/AVPF 0\r\n", transport("RTP/AVPF")),
        ("m=audio 4000 UDP/TLS/RTP/SAVPF/AND/VERY/MUCH/MORE 0\r\n", transport("UDP/TLS/RTP/SAVPF/AND/VERY/MUCH/")),
        ("m=audio 4000 RTP/AVP 18\r\n", SdpError::Codec),
        ("m=audio 4000 RTP/AVP\r\n", SdpError::Codec),
        ("m=audio 4000 RTP/AVP +0\r\n", SdpError::Codec),
        ("m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMA/8000\r\n", SdpError::Codec),
        ("m=audio 70000 RTP/AVP 0\r\n", SdpError::Malformed),
        ("m=audio +4000 RTP/AVP 0\r\n", SdpError::Malformed),
        ("m=audio\r\n", SdpError::Malformed),
        (&format!("{GOOD}c=IN IP4 pbx.example\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP6 2001:db8::1\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP6 192.0.2.9\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP6 ::ffff:192.0.2.9\r\n"), SdpError::Address),
        (&format!("{GOOD}c=ATM IP4 192.0.2.9\r\n"), SdpError::Address),
        (&format!("m=audio 4000 RTP/AVP{} 0\r\n", " 18".repeat(64)), SdpError::Codec),
        (&format!("{GOOD}c=IN IP4 192.0.2.9/127\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP4 192.0.2.9 192.0.2.10\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP4 224.0.0.1\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP4 255.255.255.255\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP4 192.0.2.\u{663}\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP4 192.0.2.9\r\nc=IN IP4 192.0.2.10\r\n"), SdpError::Address),
        (&format!("{GOOD}a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n"), SdpError::Encryption),
    ] {
        assert_eq!(answer(media), Err(error), "{media}");
    }
    let check = |sdp: &[u8]| session(Encryption::Off).check_answer(sdp).unwrap_err();
    assert_eq!(check(b""), SdpError::Malformed);
    assert_eq!(check(b"v=1\r\n"), SdpError::Malformed);
    assert_eq!(check(GOOD.as_bytes()), SdpError::Malformed);
    assert_eq!(check(format!("v=0\r\n{GOOD}").as_bytes()), SdpError::Address, "no c= line");
    assert_eq!(check(&vec![b'v'; MAX_BYTES + 1]), SdpError::TooLarge);
    assert_eq!(check(format!("{HEAD}{}", "a=x\r\n".repeat(MAX_LINES)).as_bytes()), SdpError::TooLarge);
    assert_eq!(check(format!("{HEAD}{}", GOOD.repeat(MAX_MEDIA + 1)).as_bytes()), SdpError::TooLarge);
}

#[test]
fn unused_lines_may_hold_anything() {
    for sdp in [
        "v=0 \r\no=x\r\ns=\r\nc=IN IP4 192.0.2.9 \r\nt=0 0 \r\nm=audio  4000  RTP/AVP  0  101 \r\na=sendrecv \r\n"
            .to_owned(),
        "v=0\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/AVP 0 101\n".to_owned(),
        "v=0\rc=IN IP4 192.0.2.9\rm=audio 4000 RTP/AVP 0 101\r".to_owned(),
        format!("\r\n{HEAD}{GOOD}\0"),
        format!("{HEAD}{GOOD}\0\0\r\n"),
        format!(
            "{HEAD}b=AS:64 \r\nb=AS: sixty\r\nb\r\n=\r\nr=\u{fffd}\r\nz=0 -1h\r\n{GOOD}b=TIAS\r\ni=\r\nk=clear:x\r\n"
        ),
        format!(
            "v=0\r\no=- {} {} IN IP4 pbx.example\r\nc=IN IP4 192.0.2.9\r\n{GOOD}",
            "9".repeat(4000),
            "8".repeat(4000)
        ),
        format!("{HEAD}{GOOD}a=rtcp-mux\r\na=ice-ufrag:x\r\na=\r\na=:\r\na=rtpmap\r\na=rtpmap:x\r\na=fmtp:101\r\n"),
        format!("{HEAD}{GOOD}m=video 0 RTP/AVP 31\r\nm=image 0 udptl t38\r\n"),
        format!("{HEAD}m=audio 0 RTP/SAVP 0\r\n{GOOD}"),
        format!("{HEAD}{GOOD}c=IN IP4 192.0.2.9\r\nc=IN IP4 192.0.2.9\r\n"),
    ] {
        let remote = session(Encryption::Off).check_answer(sdp.as_bytes()).unwrap();
        let seen = (remote.rtp, remote.codec, remote.event_types.contains(101), remote.is_on_hold());
        assert_eq!(seen, ("192.0.2.9:4000".parse().unwrap(), Codec::Pcmu, true, false), "{sdp}");
    }
    let mut odd_bytes = format!("{HEAD}{GOOD}").into_bytes();
    odd_bytes.extend(b"i=\xff\xfe\r\na=x:\xff\r\n");
    assert!(session(Encryption::Off).check_answer(&odd_bytes).is_ok());
}

#[test]
fn every_spelling_of_hold_is_recognized() {
    for (lines, sends, receives) in [
        ("a=sendrecv", true, true),
        ("a=sendonly ", true, false),
        ("a=recvonly", false, true),
        ("a= Inactive\t", false, false),
        ("a=sendrecv\r\na=sendonly", true, false),
        ("a=sendonly\r\na=recvonly", false, false),
        ("c=IN IP4 0.0.0.0", false, false),
        ("c=IN IP4 0.0.0.0\r\na=sendrecv", false, false),
        ("c=IN IP6 ::", false, false),
    ] {
        let remote = answer(&format!("{GOOD}{lines}\r\n")).unwrap();
        assert_eq!(remote.direction, Direction { sends, receives }, "{lines}");
        assert_eq!(remote.is_on_hold(), !(sends && receives), "{lines}");
    }
    let session_level = |media: &str| answer(&format!("a=inactive\r\n{GOOD}{media}")).unwrap().is_on_hold();
    assert!(session_level(""), "the session's direction holds for its media");
    assert!(!session_level("a=sendrecv\r\n"), "the media's own direction goes first");
}

#[test]
fn addresses_of_media_and_of_both_families_are_read() {
    let own = answer(&format!("{GOOD}c=IN IP4 192.0.2.77\r\n")).unwrap();
    assert_eq!(own.rtp, "192.0.2.77:4000".parse().unwrap());
    let mut session = LocalSession::new("[2001:db8::1]:4002".parse().unwrap(), 5, Encryption::Off);
    assert!(session.offer().contains("c=IN IP6 2001:db8::1\r\n"));
    let six = format!("v=0\r\nc=IN IP6 2001:db8::9\r\n{GOOD}");
    assert_eq!(session.check_answer(six.as_bytes()).unwrap().rtp, "[2001:db8::9]:4000".parse().unwrap());
    assert_eq!(session.check_answer(format!("{HEAD}{GOOD}").as_bytes()), Err(SdpError::Address));
    let mapped = six.replace("2001:db8::9", "::ffff:192.0.2.9");
    assert_eq!(session.check_answer(mapped.as_bytes()), Err(SdpError::Address));
}

#[test]
fn an_offer_lists_what_this_side_supports() {
    for (encryption, transport, key_count) in
        modes().into_iter().zip([("RTP/AVP", 0), ("RTP/AVP", 2), ("RTP/SAVP", 2)]).map(|(e, (t, n))| (e, t, n))
    {
        let sdp = session(encryption).offer();
        assert!(sdp.starts_with("v=0\r\no=- 5 5 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"), "{sdp}");
        assert_eq!(media_lines(&sdp), [format!("m=audio 4002 {transport} 0 8 101")]);
        assert_eq!(sdp.matches("a=crypto:").count(), key_count);
        for line in [
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
            "a=ptime:20",
            "a=sendrecv",
        ] {
            assert!(sdp.contains(&format!("{line}\r\n")), "{line}: {sdp}");
        }
    }
}

/// RFC 3264, section 8.
#[test]
fn the_version_grows_only_if_the_description_changes() {
    let version = |sdp: &str| sdp.lines().nth(1).unwrap().split(' ').nth(2).unwrap().to_owned();
    let mut local = session(Encryption::Off);
    let mut versions = vec![version(&local.offer()), version(&local.offer())];
    let hold = local.check_offer(format!("{HEAD}{GOOD}a=sendonly\r\n").as_bytes()).unwrap();
    versions.extend([version(&local.answer(&hold)), version(&local.answer(&hold)), version(&local.offer())]);
    assert_eq!(versions, ["5", "5", "6", "6", "7"]);
    assert!(
        LocalSession::new("192.0.2.1:4002".parse().unwrap(), u64::MAX, Encryption::Off)
            .offer()
            .contains(" 4611686018427387903 ")
    );
}

#[test]
fn each_media_of_an_offer_keeps_its_place() {
    let offered = format!(
        "m=video 5000 RTP/AVP 31 32\r\nm=audio 6000 RTP/AVPF 0\r\n{GOOD}m=audio 4100 RTP/AVP 0\r\nm=image 7000 udptl t38\r\nm=\u{e9} 1 \u{1}\r\n"
    );
    let offer = offer(&offered).unwrap();
    assert_eq!(offer.remote().rtp.port(), 4000);
    let sdp = session(Encryption::Off).answer(&offer);
    let expected = [
        "m=video 0 RTP/AVP 31",
        "m=audio 0 RTP/AVPF 0",
        "m=audio 4002 RTP/AVP 0 101",
        "m=audio 0 RTP/AVP 0",
        "m=image 0 udptl t38",
        "m=? 0 ? 0",
    ];
    assert_eq!(media_lines(&sdp), expected);
}

#[test]
fn a_hold_is_answered_with_the_opposite_direction() {
    for (offered, answered) in [
        ("a=sendonly", "a=recvonly"),
        ("a=recvonly", "a=sendonly"),
        ("a=inactive", "a=inactive"),
        ("c=IN IP4 0.0.0.0", "a=inactive"),
        ("a=sendrecv", "a=sendrecv"),
    ] {
        let offer = offer(&format!("{GOOD}{offered}\r\n")).unwrap();
        assert!(session(Encryption::Off).answer(&offer).ends_with(&format!("{answered}\r\n")), "{offered}");
    }
}

#[test]
fn an_offer_is_answered_in_kind() {
    let media = format!(
        "m=audio 4000 RTP/AVP 18 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=crypto:7 F8_128_HMAC_SHA1_80 {KEY}\r\n\
         a=crypto:9 AES_CM_128_HMAC_SHA1_32 {KEY}\r\n"
    );
    let sdp = format!("{HEAD}{media}");
    let mut local = session(Encryption::Optional(keys()));
    let offer = local.check_offer(sdp.as_bytes()).unwrap();
    let answer = local.answer(&offer);
    assert!(answer.contains("m=audio 4002 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\n"), "{answer}");
    assert!(answer.contains("a=crypto:9 AES_CM_128_HMAC_SHA1_32 inline:AgICAgIC"), "{answer}");
    assert_eq!(session(Encryption::Required(keys())).check_offer(sdp.as_bytes()), Err(SdpError::Unencrypted));
    let plain = session(Encryption::Off).check_offer(sdp.as_bytes()).unwrap();
    assert!(!session(Encryption::Off).answer(&plain).contains("crypto"));
    let savp = sdp.replace("RTP/AVP", "RTP/SAVP");
    assert_eq!(session(Encryption::Off).check_offer(savp.as_bytes()), Err(SdpError::Encryption));
    let mut required = session(Encryption::Required(keys()));
    let offer = required.check_offer(savp.as_bytes()).unwrap();
    assert!(required.answer(&offer).contains("m=audio 4002 RTP/SAVP 8 96\r\n"));
}

/// Two sides of this crate agree with each other.
#[test]
fn our_offer_and_our_answer_agree() {
    for encryption in modes() {
        let mut caller = session(encryption.clone());
        let other_keys = LocalKeys { sha1_80: MasterKey::from_bytes([3; 30]), sha1_32: MasterKey::from_bytes([4; 30]) };
        let encryption = match encryption {
            Encryption::Off => Encryption::Off,
            Encryption::Optional(_) => Encryption::Optional(other_keys),
            Encryption::Required(_) => Encryption::Required(other_keys),
        };
        let mut callee = LocalSession::new("192.0.2.2:6000".parse().unwrap(), 9, encryption.clone());
        let offer = callee.check_offer(caller.offer().as_bytes()).unwrap();
        let remote = caller.check_answer(callee.answer(&offer).as_bytes()).unwrap();
        assert_eq!((remote.codec, remote.event_type, remote.rtp.port()), (Codec::Pcmu, Some(101), 6000));
        assert_eq!(remote.key.is_some(), !matches!(encryption, Encryption::Off));
    }
}

#[test]
fn event_types_hold_what_was_inserted() {
    let types: EventTypes = [96, 101, 127, 200].into_iter().collect();
    assert_eq!(format!("{types:?}"), "{96, 101, 127}");
    assert!(!types.contains(200) && !types.contains(0));
}

proptest! {
    #[test]
    fn hostile_descriptions_do_not_panic(
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        garbage in any::<Vec<u8>>(),
        words in "(v=0\r\n|c=IN IP4 192.0.2.[0-9]{1,3}\r\n|m=[a-z]{0,5} [0-9]{1,6} RTP/S?AVP( [0-9]{1,3}){0,4}\r\n|a=[a-z]{0,9}:?[ -~]{0,9}\r\n){0,20}",
    ) {
        let crypto = format!("{HEAD}{GOOD}a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20\r\na=rtcp:4001\r\na=sendonly\r\n");
        let mut mutated = crypto.into_bytes();
        for (index, byte) in noise {
            let index = index.index(mutated.len());
            mutated[index] = byte;
        }
        for sdp in [&mutated, &garbage, &format!("v=0\r\n{words}").into_bytes()] {
            for encryption in modes() {
                let mut local = session(encryption);
                if let Ok(remote) = local.check_answer(sdp) {
                    prop_assert!(remote.rtp.port() != 0 && remote.rtp.is_ipv4() || remote.is_on_hold());
                }
                if let Ok(offer) = local.check_offer(sdp) {
                    let answer = local.answer(&offer);
                    // Nothing of the peer breaks out of its line, and the answer is bounded.
                    prop_assert!(answer.len() < 8192 && answer.is_ascii());
                    let description = super::description::Description::read(answer.as_bytes()).unwrap();
                    let offered = super::description::Description::read(sdp).unwrap();
                    prop_assert_eq!(description.media.len(), offered.media.len(), "{}", answer);
                }
            }
        }
    }
}

/// Any user of a machine can listen at its loopback addresses, and any neighbour of a link can take a link-local one.
#[test]
fn an_address_of_one_machine_or_link_needs_an_own_one_of_its_kind() {
    for (own, peer, is_accepted) in [
        ("192.0.2.1", "127.0.0.1", false),
        ("192.0.2.1", "127.200.0.1", false),
        ("192.0.2.1", "169.254.1.2", false),
        ("192.0.2.1", "10.0.0.1", true),
        ("192.0.2.1", "0.0.0.0", true),
        ("127.0.0.1", "127.0.0.2", true),
        ("127.0.0.1", "192.0.2.9", true),
        ("127.0.0.1", "169.254.1.2", false),
        ("169.254.1.1", "169.254.1.2", true),
        ("169.254.1.1", "127.0.0.1", false),
        ("2001:db8::1", "::1", false),
        ("2001:db8::1", "fe80::2", false),
        ("2001:db8::1", "fd00::2", true),
        ("2001:db8::1", "::", true),
        ("::1", "::1", true),
        ("fe80::1", "fe80::2", true),
        ("fe80::1", "::1", false),
    ] {
        let family = if peer.contains(':') { "IP6" } else { "IP4" };
        let sdp = format!("v=0\r\nc=IN {family} {peer}\r\n{GOOD}");
        let own = SocketAddr::new(own.parse().unwrap(), 4002);
        let mut session = LocalSession::new(own, 5, Encryption::Off);
        let answer = session.check_answer(sdp.as_bytes()).map(|remote| remote.rtp.ip());
        let offer = session.check_offer(sdp.as_bytes()).map(|offer| offer.remote().rtp.ip());
        let peer = peer.parse().unwrap();
        let expected = if is_accepted { Ok(peer) } else { Err(SdpError::Reach(peer)) };
        assert_eq!((&answer, &offer), (&expected, &expected), "{peer} for {own}");
    }
}
