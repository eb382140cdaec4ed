//! Descriptions and packets of real peers, in virtual time: each digit is reported once, in order, and nothing else
//! becomes a digit.

mod support;

use std::time::Duration;

use phonegate_media::rtp::RtpHeader;
use phonegate_media::sdp::{Codec, Encryption, LocalSession, SdpError};
use phonegate_media::srtp::Srtp;

use support::*;

/// Transfers and music on hold begin new streams, one while the other still sends.
#[test]
fn digits_count_in_every_stream_of_an_encrypted_call() {
    let mut call = Call::encrypted();
    for ssrc in 0..20 {
        call.ssrc = PEER + ssrc;
        (call.sequence, call.timestamp) = (u16::MAX - 8, u32::MAX - 500);
        call.check_keys(&format!("stream {ssrc}"));
    }
    let summary = call.summary();
    assert_eq!((summary.not_authentic, summary.dropped.total()), (0, 0));
    assert_eq!((summary.audio_packets, summary.event_packets), (200, 240));
}

#[test]
fn digits_count_in_every_stream_after_a_pause() {
    let mut call = Call::answered(PLAIN);
    for ssrc in 0..20 {
        call.ssrc = PEER + ssrc;
        call.now += Duration::from_secs(1);
        call.check_keys(&format!("stream {ssrc}"));
    }
}

/// Formats that were not offered, unsolicited attributes, and every spelling of the others.
#[test]
fn an_answer_with_more_than_was_offered_is_accepted() {
    for (media, audio_type, event_type) in [
        ("m=audio 4000 RTP/AVP 0 13 101", 0, 101),
        ("m=audio 4000 RTP/AVP 18 9 8 101\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no", 8, 101),
        ("m=audio 4000 RTP/AVP 0 8 3 101 110\r\na=rtpmap:110 telephone-event/48000", 0, 101),
        (
            "m=audio 4000 RTP/AVP 0 110 96\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:96 telephone-event/8000",
            0,
            96,
        ),
        ("m=audio 4000 RTP/AVP 0 100 101\r\na=rtpmap:100 telephone-event/8000\r\na=fmtp:101 0-15,66", 0, 100),
        ("m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 TELEPHONE-EVENT/8000\r\na=rtpmap:0 pcmu/8000/1", 0, 101),
        ("m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:8 PcmA/8000\r\na=ptime:30\r\na=maxptime:60", 8, 101),
        ("m=audio 4000 RTP/AVP 0 101\r\na=rtcp-mux\r\na=rtcp:4000\r\na=ssrc:7 cname:x", 0, 101),
        ("m=audio 4000/1 RTP/AVP 0 101", 0, 101),
        ("m=audio 4000 RTP/AVP 0 101\r\na=fmtp:101\r\na=silenceSupp:off - - - -", 0, 101),
        ("m=AUDIO 4000 rtp/avp 0 101", 0, 101),
        ("m=audio 4000 RTP/AVP 0 101\r\nm=video 0 RTP/AVP 96\r\nm=image 0 udptl t38", 0, 101),
    ] {
        let mut call = Call::answered(&format!("{media}\r\n"));
        (call.audio_type, call.event_type) = (audio_type, event_type);
        call.check_keys(media);
        assert_eq!(call.summary().dropped.total(), 0, "{media}");
    }
}

#[test]
fn an_answer_without_an_audio_address_is_rejected() {
    let mut local = LocalSession::new(([192, 0, 2, 1], 4002).into(), 5, Encryption::Off);
    for (media, error) in [
        ("m=audio 0 RTP/AVP 0 101\r\n", SdpError::Rejected),
        ("m=audio 4000/2 RTP/AVP 0 101\r\n", SdpError::Address),
        ("m=audio 4000 RTP/AVP 18 101\r\n", SdpError::Codec),
    ] {
        assert_eq!(local.check_answer(description(media).as_bytes()), Err(error), "{media}");
    }
}

/// The address of the media description takes precedence over that of the session.
#[test]
fn the_media_address_precedes_that_of_the_session() {
    let mut call = Call::answered("m=audio 4000 RTP/AVP 0 101\r\nc=IN IP4 192.0.2.77\r\n");
    call.press('1');
    assert_eq!(call.digits, "", "from the address of the session");
    call.from = ([192, 0, 2, 77], NAMED).into();
    call.check_keys("from its own address");
}

/// A peer may send with its own number or with that of the offer.
#[test]
fn the_peers_own_event_type_is_accepted() {
    for own in [35, 63, 96, 97, 127] {
        let mut call =
            Call::answered(&format!("m=audio 4000 RTP/AVP 0 {own}\r\na=rtpmap:{own} telephone-event/8000\r\n"));
        for event_type in [own, 101] {
            call.event_type = event_type;
            call.check_keys(&format!("{event_type} for {own}"));
        }
        call.event_type = own - 1;
        call.press('1');
        assert_eq!(call.digits, "", "a payload type of neither side");
    }
}

/// With and without learning of ports, before and after the answer.
#[test]
fn a_stray_packet_of_early_media_has_no_effect() {
    for learns_port in [false, true] {
        for is_early in [false, true] {
            let mut call = Call::offered(Encryption::Off, learns_port);
            call.receive_answer(&description(PLAIN));
            if !is_early {
                call.media.set_answered();
            }
            let stray = call.packet(0, 0, &[0xff; 160]);
            call.deliver(port(5000), &stray);
            call.media.set_answered();
            call.ssrc += 1;
            call.check_keys("from the named port");
            assert_eq!(call.summary().learned_source, None);
        }
    }
}

#[test]
fn two_digits_with_one_timestamp_are_two_digits() {
    let mut call = Call::answered(PLAIN);
    call.talk(5);
    for digit in ['1', '2', '3', '#'] {
        call.press_as(digit, 777, &PRESS);
    }
    assert_eq!(call.digits, "123#");
}

#[test]
fn the_same_digit_twice_with_one_timestamp_is_two_digits() {
    let mut call = Call::answered(PLAIN);
    call.press_as('5', 777, &PRESS);
    call.talk(10);
    call.press_as('5', 777, &PRESS);
    assert_eq!(call.digits, "55");
}

/// Some peers restart their timestamps after a re-INVITE, within one stream.
#[test]
fn digits_count_after_timestamps_jump_back() {
    let mut call = Call::answered(PLAIN);
    call.timestamp = 4_000_000_000;
    call.check_keys("before");
    call.receive_offer(&description(PLAIN));
    for timestamp in [0, 3_000_000_000, 10, 10] {
        call.timestamp = timestamp;
        call.check_keys(&format!("from {timestamp}"));
    }
    call.sequence = 3;
    call.check_keys("sequence numbers too");
}

#[test]
fn digits_count_after_a_first_answer_on_hold() {
    for hold in ["a=inactive\r\n", "a=sendonly\r\n", "a=recvonly\r\n", "c=IN IP4 0.0.0.0\r\n", "a=sendonly \r\n"] {
        let mut call = Call::offered(Encryption::Off, false);
        assert!(call.receive_answer(&description(&format!("{PLAIN}{hold}"))).is_on_hold(), "{hold}");
        call.media.set_answered();
        call.talk(10);
        let answer = call.receive_offer(&description(PLAIN));
        assert!(answer.contains("a=sendrecv\r\n"), "{answer}");
        call.check_keys(hold);
    }
}

/// Packets of a peer whose direction says that it does not send are dropped.
#[test]
fn a_peer_on_hold_sends_no_digits() {
    for (hold, expected) in
        [("a=inactive\r\n", ""), ("a=recvonly\r\n", ""), ("c=IN IP4 0.0.0.0\r\n", ""), ("a=sendonly\r\n", "1")]
    {
        let mut call = Call::answered(PLAIN);
        call.receive_offer(&description(&format!("{PLAIN}{hold}")));
        call.press('1');
        assert_eq!(call.digits, expected, "{hold}");
    }
}

#[test]
fn odd_but_readable_descriptions_are_accepted() {
    for sdp in [
        "v=0 \r\no=- 1 1 IN IP4 192.0.2.9 \r\ns=- \r\nc=IN IP4 192.0.2.9 \r\nb=AS:64 \r\nt=0 0 \r\nm=audio 4000 RTP/AVP 0 101 \r\na=sendrecv \r\n".to_owned(),
        description("m=audio  4000  RTP/AVP  0  101\r\n"),
        description("m=audio 4000 RTP/AVP 0 101\r\n\0"),
        description("b=AS:sixty four\r\nb=:\r\nm=audio 4000 RTP/AVP 0 101\r\n"),
        "v=0\r\no=x\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 0 101\r\n".to_owned(),
        format!("v=0\r\no={}\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 0 101\r\n", "9".repeat(30_000)),
        description("m=audio 4000 RTP/AVP 0 101\r\n").replace("\r\n", "\n"),
        description("m=audio 4000 RTP/AVP 0 101").trim_end().to_owned(),
    ] {
        let mut call = Call::offered(Encryption::Off, false);
        call.receive_answer(&sdp);
        call.media.set_answered();
        call.check_keys(&sdp);
        let held = call.local.check_answer(format!("{}\r\na=sendonly \r\n", sdp.trim_end_matches('\0')).as_bytes());
        assert!(held.unwrap().is_on_hold(), "{sdp}");
    }
}

/// A peer that accepted events may still send digits as tones in the audio.
#[test]
fn tones_in_the_audio_are_detected_but_are_no_digits() {
    for (audio_type, encode) in
        [(0, audio_codec_algorithms::encode_ulaw as fn(i16) -> u8), (8, audio_codec_algorithms::encode_alaw)]
    {
        let tone: Vec<u8> = (0..800)
            .map(|n| {
                let sine = |frequency: f32| (std::f32::consts::TAU * frequency * n as f32 / 8000.0).sin() * 6000.0;
                encode((sine(941.0) + sine(1477.0)) as i16)
            })
            .collect();
        let mut call = Call::offered(Encryption::Off, false);
        call.receive_answer(&description(PLAIN));
        call.audio_type = audio_type;
        let play = |call: &mut Call| tone.chunks(160).for_each(|audio| call.send(audio_type, call.timestamp, audio));
        play(&mut call);
        assert!(!call.summary().has_tones, "before the answer");
        call.media.set_answered();
        call.talk(20);
        assert!(!call.summary().has_tones, "silence");
        play(&mut call);
        assert!(call.summary().has_only_tones());
        call.check_keys("as events");
        let summary = call.summary();
        assert!(summary.has_tones && !summary.has_only_tones(), "a gateway that sends both");
    }
}

/// Our offer in the 200 to a re-INVITE without a description, and the answer in its ACK.
#[test]
fn the_sdp_answer_in_an_ack_sets_address_codec_and_master_key() {
    let mut call = Call::answered(PLAIN);
    call.check_keys("before");
    let offer = call.local.offer();
    assert!(offer.contains("m=audio 4002 RTP/AVP 0 8 101\r\n"), "{offer}");
    call.check_keys("an ACK without a body keeps the session");
    let remote = call.receive_answer(
        "v=0\r\nc=IN IP4 192.0.2.50\r\nm=audio 7000 RTP/AVP 8 97\r\na=rtpmap:97 telephone-event/8000\r\n",
    );
    assert_eq!((remote.codec, remote.event_type), (Codec::Pcma, Some(97)));
    call.press('1');
    assert_eq!(call.digits, "", "from the address before");
    call.from = ([192, 0, 2, 50], 7000).into();
    (call.ssrc, call.audio_type, call.event_type) = (PEER + 1, 8, 97);
    call.check_keys("from the new address, without a pause");
    let mut encrypted = Call::encrypted();
    encrypted.check_keys("before");
    let mut old = encrypted.srtp.take().unwrap();
    encrypted.rekey(21);
    encrypted.check_keys("with the new key");
    let sequence = encrypted.sequence;
    let header = RtpHeader { marker: false, payload_type: 0, sequence, timestamp: 0, ssrc: PEER };
    let late = old.protect_rtp(&header.write(&[0xff; 160])).unwrap();
    encrypted.deliver(port(NAMED), &late);
    assert_eq!(encrypted.summary().not_authentic, 1, "the old key");
}

/// The peer offers another key in a re-INVITE, with the transport and the suites of an encrypted call.
#[test]
fn an_offer_of_the_peer_sets_its_new_master_key() {
    let mut call = Call::encrypted();
    call.check_keys("before");
    for (seed, suite) in [(21, "AES_CM_128_HMAC_SHA1_32"), (31, "AES_CM_128_HMAC_SHA1_80")] {
        let new_keys = keys(seed);
        let mut peer = LocalSession::new(port(NAMED), 9, Encryption::Required(new_keys.clone()));
        let offer = peer.offer();
        let lines = offer.lines().filter(|line| !line.starts_with("a=crypto:") || line.contains(suite));
        let offer: String = lines.flat_map(|line| [line, "\r\n"]).collect();
        let answer = call.receive_offer(&offer);
        let agreed = peer.check_answer(answer.as_bytes()).unwrap();
        let mut srtp = Srtp::new(&new_keys).unwrap();
        srtp.set_peer_key(agreed.key.as_ref().unwrap()).unwrap();
        call.srtp = Some(srtp);
        call.check_keys(suite);
    }
    assert_eq!(call.summary().not_authentic, 0);
}

/// A reliable 183 was answered, and the PBX moves the media before the 200.
#[test]
fn media_follows_an_offer_before_the_answer() {
    let mut call = Call::offered(Encryption::Off, false);
    call.receive_answer(&description(PLAIN));
    call.talk(10);
    let answer = call.receive_offer("v=0\r\nc=IN IP4 192.0.2.50\r\nm=audio 7000 RTP/AVP 0 8 101\r\na=rtcp-mux\r\n");
    assert!(answer.contains("m=audio 4002 RTP/AVP 0 101\r\n") && !answer.contains("rtcp-mux"), "{answer}");
    call.media.set_answered();
    call.press('1');
    assert_eq!(call.digits, "", "from the address before");
    call.from = ([192, 0, 2, 50], 7000).into();
    call.check_keys("from the new address");
}

/// An unusable re-INVITE is rejected, and the call continues.
#[test]
fn an_unusable_re_invite_changes_nothing() {
    let mut call = Call::answered(PLAIN);
    for media in ["m=audio 0 RTP/AVP 0 101\r\n", "m=audio 4000 RTP/AVP 18\r\n", "m=audio 4000 RTP/SAVP 0\r\n", ""] {
        assert!(call.local.check_offer(description(media).as_bytes()).is_err(), "{media}");
        call.check_keys(media);
    }
}
