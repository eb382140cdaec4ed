//! What the other side may say, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::*;

const OURS: &str = "192.0.2.1";
const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

fn description(media: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{media}")
}

const GOOD: &str = "m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

fn read_as(kind: Kind, encryption: MediaEncryption, sdp: &str) -> Result<Remote, SdpError> {
    read(sdp.as_bytes(), kind, OURS.parse().unwrap(), encryption)
}

fn answer(media: &str) -> Result<Remote, SdpError> {
    read_as(Kind::Answer, MediaEncryption::Off, &description(media))
}

fn offer(media: &str) -> Result<Remote, SdpError> {
    read_as(Kind::Offer, MediaEncryption::Off, &description(media))
}

fn ours(encryption: MediaEncryption, keying: &Keying) -> Local<'_> {
    Local { address: OURS.parse().unwrap(), port: 4002, session: 5, version: 6, encryption, keying }
}

#[test]
fn an_answer_as_offered_is_taken() {
    let remote = answer(GOOD).unwrap();
    assert_eq!((remote.rtp, remote.codec), ("192.0.2.9:4000".parse().unwrap(), Codec::Pcmu));
    assert_eq!((remote.key_events, remote.rtcp.port()), (Some(101), 4001));
    assert!(is_two_way(&remote).is_ok());
    let other = answer("m=audio 4000 RTP/AVP 8 97\r\na=rtpmap:97 telephone-event/8000/1\r\na=rtcp:5000\r\n").unwrap();
    assert_eq!((other.codec, other.key_events, other.rtcp.port()), (Codec::Pcma, Some(97), 5000));
    // What we explained need not be explained again; what we offered need not be taken.
    assert_eq!(answer("m=audio 4000 RTP/AVP 0 101\r\n").unwrap().key_events, Some(101));
    assert_eq!(answer("m=audio 4000 RTP/AVP 0\r\n").unwrap().key_events, None);
}

#[test]
fn an_answer_that_was_not_offered_is_refused_and_says_why() {
    let name = |name: &str| SdpError::PayloadType(name.to_owned());
    let proto = |name: &str| SdpError::Transport(name.to_owned());
    for (media, error) in [
        ("", SdpError::Streams(0)),
        (&format!("{GOOD}{GOOD}"), SdpError::Streams(2)),
        (&format!("{GOOD}m=video 0 RTP/AVP 31\r\n"), SdpError::Streams(2)),
        ("m=video 4000 RTP/AVP 0\r\n", SdpError::Streams(0)),
        ("m=audio 0 RTP/AVP 0\r\n", SdpError::Refused),
        ("m=audio 4000/2 RTP/AVP 0\r\n", SdpError::Address),
        ("m=audio 4000 RTP/SAVP 0\r\n", proto("RTP/SAVP")),
        ("m=audio 4000 RTP/AVPF 0\r\n", proto("RTP/AVPF")),
        ("m=audio 4000 UDP/TLS/RTP/SAVP 0\r\n", proto("UDP/TLS/RTP/SAVP")),
        ("m=audio 4000 RTP/AVP 18\r\n", SdpError::Codec),
        ("m=audio 4000 RTP/AVP 0 18\r\n", name("18")),
        ("m=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 opus/48000/2\r\n", name("96")),
        ("m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 opus/48000/2\r\n", name("101")),
        ("m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMA/8000\r\n", SdpError::Codec),
        (&format!("{GOOD}c=IN IP4 pbx.example\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP6 2001:db8::1\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP6 192.0.2.9\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP4 224.0.0.1/16\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP4 224.0.0.1\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP4 255.255.255.255\r\n"), SdpError::Address),
        (&format!("{GOOD}c=IN IP4 192.0.2.9\r\nc=IN IP4 192.0.2.10\r\n"), SdpError::Address),
        (&format!("{GOOD}a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n"), SdpError::Encryption),
    ] {
        assert_eq!(answer(media), Err(error), "{media}");
    }
    for direction in ["sendonly", "recvonly", "inactive"] {
        let one_way = answer(&format!("{GOOD}a={direction}\r\n")).unwrap();
        assert_eq!(is_two_way(&one_way), Err(SdpError::Direction), "{direction}");
    }
    let nowhere = answer(&format!("{GOOD}c=IN IP4 0.0.0.0\r\n")).unwrap();
    assert_eq!(is_two_way(&nowhere), Err(SdpError::Direction));
    assert_eq!(
        read_as(Kind::Answer, MediaEncryption::Off, &"v".repeat(20_000)),
        Err(SdpError::Unreadable("20000 bytes".to_owned()))
    );
}

#[test]
fn an_answer_encrypts_exactly_as_was_offered() {
    let line = |tag: u32, suite: &str, rest: &str| format!("a=crypto:{tag} {suite} {KEY}{rest}\r\n");
    let (strong, weak) = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32");
    let answer = |encryption, profile: &str, lines: &str| {
        let media = GOOD.replace("RTP/AVP", profile);
        read_as(Kind::Answer, encryption, &description(&format!("{media}{lines}")))
            .map(|remote| remote.crypto.is_some())
    };
    for (tag, suite, rest) in [(1, strong, ""), (2, weak, ""), (1, strong, "|2^20")] {
        assert_eq!(answer(MediaEncryption::Required, "RTP/SAVP", &line(tag, suite, rest)), Ok(true), "{suite}{rest}");
        assert_eq!(answer(MediaEncryption::Optional, "RTP/AVP", &line(tag, suite, rest)), Ok(true), "{suite}{rest}");
    }
    assert_eq!(answer(MediaEncryption::Optional, "RTP/AVP", ""), Ok(false));
    for bad in [
        line(2, strong, ""),
        line(1, weak, ""),
        line(3, strong, ""),
        line(1, "AEAD_AES_128_GCM", ""),
        line(1, strong, "|1:4"),
        line(1, strong, " UNENCRYPTED_SRTP"),
        line(1, strong, "").replace("d0Rm", ""),
        line(1, strong, "").replace("inline", "uri"),
        line(1, strong, "") + &line(2, weak, ""),
    ] {
        assert_eq!(answer(MediaEncryption::Required, "RTP/SAVP", &bad), Err(SdpError::Encryption), "{bad}");
        assert_eq!(answer(MediaEncryption::Optional, "RTP/AVP", &bad), Err(SdpError::Encryption), "{bad}");
    }
    assert_eq!(answer(MediaEncryption::Required, "RTP/SAVP", ""), Err(SdpError::Encryption));
    assert_eq!(answer(MediaEncryption::Required, "RTP/AVP", &line(1, strong, "")), Err(SdpError::Unencrypted));
}

#[test]
fn a_key_stays_out_of_what_is_shown() {
    let line = CryptoLine::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}")).unwrap();
    assert_eq!(format!("{line:?}"), "CryptoLine(1 AES_CM_128_HMAC_SHA1_80)");
}

#[test]
fn our_offer_is_what_an_answerer_reads() {
    let keying = Keying::new().unwrap();
    for (encryption, profile, keys) in [
        (MediaEncryption::Off, "RTP/AVP", 0),
        (MediaEncryption::Optional, "RTP/AVP", 2),
        (MediaEncryption::Required, "RTP/SAVP", 2),
    ] {
        let sdp = ours(encryption, &keying).offer();
        let session = Session::parse(sdp.as_bytes()).unwrap();
        let [media] = session.medias.as_slice() else { panic!("{sdp}") };
        assert_eq!((media.port, media.proto.as_str(), media.fmt.as_str()), (4002, profile, "0 8 101"));
        assert_eq!(attributes(media, "crypto").count(), keys);
        assert!(attributes(media, "crypto").all(|line| CryptoLine::parse(line).is_some_and(|line| line.was_offered())));
        assert_eq!(attributes(media, "ptime").next(), Some("20"));
        assert_eq!(direction(media, &session), "sendrecv");
    }
}

#[test]
fn each_line_of_an_offer_has_its_place_in_the_answer() {
    let offered = format!("m=video 5000 RTP/AVP 31\r\nm=audio 6000 RTP/AVPF 0\r\n{GOOD}m=image 7000 udptl t38\r\n");
    let remote = offer(&offered).unwrap();
    assert_eq!(remote.rtp.port(), 4000);
    let keying = Keying::new().unwrap();
    let sdp = ours(MediaEncryption::Off, &keying).answer(&remote);
    let lines: Vec<_> = sdp.lines().filter(|line| line.starts_with("m=")).collect();
    let expected =
        ["m=video 0 RTP/AVP 31", "m=audio 0 RTP/AVPF 0", "m=audio 4002 RTP/AVP 0 101", "m=image 0 udptl t38"];
    assert_eq!(lines, expected);
}

#[test]
fn a_hold_is_answered_by_its_counterpart() {
    let keying = Keying::new().unwrap();
    for (offered, answered, may_send) in [
        ("a=sendonly", "a=recvonly", false),
        ("a=recvonly", "a=sendonly", true),
        ("a=inactive", "a=inactive", false),
        ("c=IN IP4 0.0.0.0", "a=inactive", false),
        ("a=sendrecv", "a=sendrecv", true),
    ] {
        let remote = offer(&format!("{GOOD}{offered}\r\n")).unwrap();
        assert_eq!(remote.may_send, may_send, "{offered}");
        assert!(ours(MediaEncryption::Off, &keying).answer(&remote).contains(answered), "{offered}");
    }
}

#[test]
fn an_offer_is_answered_in_its_own_profile_suite_and_payload_types() {
    let keying = Keying::new().unwrap();
    let media = format!(
        "m=audio 4000 RTP/AVP 18 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=crypto:7 F8_128_HMAC_SHA1_80 {KEY}\r\n\
         a=crypto:9 AES_CM_128_HMAC_SHA1_32 {KEY}\r\n"
    );
    let remote = read_as(Kind::Offer, MediaEncryption::Optional, &description(&media)).unwrap();
    let sdp = ours(MediaEncryption::Optional, &keying).answer(&remote);
    assert!(sdp.contains("m=audio 4002 RTP/AVP 8 96\r\n"), "{sdp}");
    assert!(sdp.contains("a=crypto:9 AES_CM_128_HMAC_SHA1_32 inline:"), "{sdp}");
    assert_eq!(read_as(Kind::Offer, MediaEncryption::Required, &description(&media)), Err(SdpError::Unencrypted));
}

proptest! {
    #[test]
    fn garbage_and_mutations_are_no_crash(
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        garbage in any::<Vec<u8>>(),
    ) {
        let crypto = format!("{GOOD}a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20\r\na=rtcp:4001\r\na=sendonly\r\n");
        let mut mutated = description(&crypto).into_bytes();
        for (index, byte) in noise {
            let index = index.index(mutated.len());
            mutated[index] = byte;
        }
        let keying = Keying::new().unwrap();
        for sdp in [&mutated, &garbage] {
            for encryption in [MediaEncryption::Off, MediaEncryption::Optional, MediaEncryption::Required] {
                let _ = read(sdp, Kind::Answer, OURS.parse().unwrap(), encryption);
                if let Ok(remote) = read(sdp, Kind::Offer, OURS.parse().unwrap(), encryption) {
                    let answer = ours(encryption, &keying).answer(&remote);
                    prop_assert!(Session::parse(answer.as_bytes()).is_ok(), "{}", answer);
                }
            }
        }
    }
}
