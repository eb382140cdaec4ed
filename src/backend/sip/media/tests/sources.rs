//! Sources whose packets count, and a check that the secrets of one call do not reveal those of another.

use super::*;

/// A NAT router changes the port of the peer.
#[tokio::test]
async fn a_port_is_learned_until_the_named_one_sends() {
    let (media, mut keys, mut peer) = call_with(MediaEncryption::Off, true).await;
    let mut routed = Peer { ssrc: 78, ..Peer::new().await };
    routed.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    routed.talk(&media, 10).await;
    routed.receive().await;
    routed.press(&media, TELEPHONE_EVENT, 16_000, 5).await;
    assert_eq!(next(&mut keys).await, Some('5'));
    assert_eq!(media.summary().received.learned_source, Some((LOCALHOST, routed.port()).into()));
    peer.press(&media, TELEPHONE_EVENT, 8000, 6).await;
    assert_eq!(next(&mut keys).await, Some('6'), "the named port wins");
    routed.press(&media, TELEPHONE_EVENT, 24_000, POUND).await;
    expect_only_zero(&media, &mut keys, &mut peer).await;
    assert_eq!(media.summary().received.learned_source, None);
}

#[tokio::test]
async fn one_authentic_srtp_packet_moves_the_audio_to_its_port() {
    let (media, mut keys, mut peer) = call_with(MediaEncryption::Required, true).await;
    let mut routed = Peer { srtp: peer.srtp.take(), ..Peer::new().await };
    routed.talk(&media, 1).await;
    routed.receive().await;
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    expect_only_zero(&media, &mut keys, &mut routed).await;
    let received = media.summary().received;
    assert_eq!(received.not_authentic + received.replayed, 2);
}

#[tokio::test]
async fn another_port_gets_no_audio_and_counts_only_if_authentic() {
    for encryption in [MediaEncryption::Off, MediaEncryption::Required] {
        let (media, mut keys, mut peer) = call(encryption).await;
        let other = Peer::new().await;
        let audio = peer.packet(0, 160, &[0xff; 160]);
        other.send(&media, &audio).await;
        for _ in 0..2 {
            let event = peer.packet(TELEPHONE_EVENT, 8000, &[POUND, 0x8a, 5, 0]);
            other.send(&media, &event).await;
        }
        let expected = match encryption {
            MediaEncryption::Off => (3, 3),
            _ => {
                assert_eq!(next(&mut keys).await, Some('#'));
                (0, 0)
            }
        };
        expect_only_zero(&media, &mut keys, &mut peer).await;
        assert_eq!(dropped(&media), expected);
        assert!(other.socket.try_recv(&mut [0; 10]).is_err(), "nothing is sent there");
    }
}

#[tokio::test]
async fn digits_of_another_stream_count_only_after_silence() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Off).await;
    let mut other = Peer { ssrc: 78, ..Peer::new().await };
    let audio = peer.packet(0, 160, &[0xff; 160]);
    peer.send(&media, &audio).await;
    for packet in [
        other.packet(TELEPHONE_EVENT, 8000, &[POUND, 0x8a, 5, 0]),
        other.packet(TELEPHONE_EVENT, 8000, &[POUND, 0x8a, 5, 0]),
        other.packet(0, 160, &[0xff; 160]),
    ] {
        peer.send(&media, &packet).await;
    }
    expect_only_zero(&media, &mut keys, &mut peer).await;
    assert_eq!(dropped(&media), (0, 3));
    // A transfer: one stream ends, and another one begins.
    sleep(Duration::from_millis(1100)).await;
    for packet in [
        other.packet(0, 320, &[0xff; 160]),
        other.packet(TELEPHONE_EVENT, 16_000, &[5, 0x8a, 5, 0]),
        other.packet(TELEPHONE_EVENT, 16_000, &[5, 0x8a, 5, 0]),
    ] {
        peer.send(&media, &packet).await;
    }
    assert_eq!(next(&mut keys).await, Some('5'));
}

#[tokio::test]
async fn encrypted_audio_counts_only_if_authentic_and_once() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Required).await;
    let plain = Peer { srtp: None, ..Peer::new().await }.packet(TELEPHONE_EVENT, 8000, &[POUND, 0x8a, 5, 0]);
    peer.send(&media, &plain).await;
    let mut forged = peer.packet(TELEPHONE_EVENT, 16_000, &[POUND, 0x8a, 5, 0]);
    forged[12] ^= 1;
    peer.send(&media, &forged).await;
    let five = [(); 2].map(|()| peer.packet(TELEPHONE_EVENT, 24_000, &[5, 0x8a, 5, 0]));
    for packet in [&five[0], &five[0], &five[1], &five[1]] {
        peer.send(&media, packet).await;
    }
    assert_eq!(next(&mut keys).await, Some('5'));
    expect_only_zero(&media, &mut keys, &mut peer).await;
    let received = media.summary().received;
    assert_eq!((received.not_authentic, received.replayed), (2, 2));
    // The peer decrypts the audio of this side. An answer that repeats the key of this side is rejected.
    let sealed = peer.receive().await;
    let opened = peer.srtp.as_mut().unwrap().open_rtp(&sealed).unwrap();
    assert_eq!(RtpPacket::read(&opened).unwrap().payload, [0xff; 160]);
    let echo = media.offer().lines().find_map(|line| line.strip_prefix("a=crypto:1 ").map(str::to_owned)).unwrap();
    let echo = peer.sdp("RTP/SAVP 0 101", &format!("a=crypto:1 {echo}\r\n"));
    assert_eq!(media.accept_answer(echo.as_bytes()), Err(SdpError::Encryption.into()));
}

#[tokio::test]
async fn no_two_calls_share_a_master_key_ssrc_or_session_id() {
    let settings = MediaSettings { encryption: MediaEncryption::Required, ..SETTINGS };
    let mut seen = std::collections::HashSet::new();
    for _ in 0..10 {
        let (media, _keys) = Media::open(&settings, &ports()).unwrap();
        let offer = media.offer();
        let ssrc = media.shared.state.lock().sender.ssrc().to_string();
        let texts = offer.lines().filter(|line| line.starts_with("o=") || line.starts_with("a=crypto:"));
        assert!(texts.map(str::to_owned).chain([ssrc]).all(|text| seen.insert(text)), "{offer}");
    }
    assert_eq!(seen.len(), 40);
}
