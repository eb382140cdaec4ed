//! Offers and answers within a call: hold, another address or codec, and early offers.

use super::*;

/// Two phones ring, and each makes an offer by UPDATE (RFC 3311).
#[tokio::test]
async fn the_early_offer_of_the_established_phone_is_applied() {
    let (media, mut keys) = opened();
    let (mut answering, mut other) = (Peer::new().await, Peer::new().await);
    for peer in [&answering, &other] {
        let answer = media.answer_offer(peer.sdp("RTP/AVP 8 101", "").as_bytes()).unwrap();
        assert!(answer.contains("RTP/AVP 8 101"), "{answer}");
    }
    media.accept_early_offer(answering.sdp("RTP/AVP 8 101", "").as_bytes()).unwrap();
    media.set_answered();
    media.accept_digits();
    answering.receive().await;
    other.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    expect_only_zero(&media, &mut keys, &mut answering).await;
    assert!(other.socket.try_recv(&mut [0; 10]).is_err(), "nothing is sent to the other phone");
}

#[tokio::test]
async fn nothing_is_sent_on_hold_but_timestamps_advance() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Off).await;
    media.answer_offer(peer.sdp("RTP/AVP 0 101", "a=inactive\r\n").as_bytes()).unwrap();
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    // Packets under way arrive, then none.
    let mut last = peer.receive().await;
    while let Ok(packet) = timeout(Duration::from_millis(400), peer.receive()).await {
        last = packet;
    }
    let answer = media.answer_offer(peer.plain().as_bytes()).unwrap();
    assert!(answer.contains("a=sendrecv"), "{answer}");
    let resumed = peer.receive().await;
    let (last, resumed) = (RtpPacket::read(&last).unwrap().header, RtpPacket::read(&resumed).unwrap().header);
    assert!(resumed.marker, "a talkspurt begins");
    assert_eq!((resumed.ssrc, resumed.sequence), (last.ssrc, last.sequence.wrapping_add(1)));
    let passed = resumed.timestamp.wrapping_sub(last.timestamp);
    assert!(passed >= 10 * 160 && passed.is_multiple_of(160), "{passed}");
    expect_only_zero(&media, &mut keys, &mut peer).await;
}

#[tokio::test]
async fn an_offer_switches_address_codec_and_payload_type() {
    let (media, mut keys, mut before) = call(MediaEncryption::Off).await;
    expect_only_zero(&media, &mut keys, &mut before).await;
    let mut after = Peer::new().await;
    let offer = after.sdp("RTP/AVP 8 96", "a=rtpmap:96 telephone-event/8000\r\n");
    let answer = media.answer_offer(offer.as_bytes()).unwrap();
    assert!(answer.contains("RTP/AVP 8 96\r\n"), "{answer}");
    after.expect(|packet| packet.header.payload_type == Codec::Pcma.payload_type()).await;
    let audio = after.packet(8, 160, &[0xd5; 160]);
    after.send(&media, &audio).await;
    after.expect(|_| true).await;
    // Only the new source and the new payload type count.
    before.press(&media, 96, 8_000_000, POUND).await;
    after.press(&media, 97, 8_000_000, POUND).await;
    after.press(&media, 96, 8_008_000, 5).await;
    assert_eq!(next(&mut keys).await, Some('5'));
    assert!(media.send_digits("42").is_some());
    after.expect(|packet| packet.header.payload_type == 96 && packet.payload[0] == 4 && packet.header.marker).await;
    after.expect(|packet| packet.header.payload_type == 96 && packet.payload[0] == 2 && packet.header.marker).await;
}

#[tokio::test]
async fn an_sdp_answer_to_a_requested_offer_may_hold_the_call() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Off).await;
    assert_eq!(media.offer(), media.offer(), "a description that is the same keeps its version");
    media.accept_answer(peer.sdp("RTP/AVP 0 101", "a=inactive\r\n").as_bytes()).unwrap();
    assert!(media.is_on_hold());
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    sleep(Duration::from_millis(100)).await;
    media.accept_answer(peer.plain().as_bytes()).unwrap();
    assert!(!media.is_on_hold());
    expect_only_zero(&media, &mut keys, &mut peer).await;
    assert!(media.accept_answer(b"v=0").is_err());
    assert!(media.accept_answer(peer.sdp("RTP/AVP 18", "").as_bytes()).is_err());
    let offer = peer.sdp("RTP/AVP 18", "");
    assert_eq!(media.answer_offer(offer.as_bytes()), Err(SdpError::Codec.into()));
    peer.expect(|packet| packet.header.payload_type == 0).await;
}

#[tokio::test]
async fn a_first_sdp_answer_on_hold_delays_the_audio() {
    for (lines, says) in [("a=inactive\r\n", false), ("a=sendonly\r\n", false), ("a=recvonly\r\n", true)] {
        let (media, mut keys) = opened();
        let mut peer = Peer::new().await;
        answered(&media, &peer.sdp("RTP/AVP 0 101", lines));
        assert!(media.is_on_hold(), "{lines}");
        sleep(Duration::from_millis(100)).await;
        assert_eq!(peer.socket.try_recv(&mut [0; 200]).is_ok(), says, "{lines}");
        media.answer_offer(peer.plain().as_bytes()).unwrap();
        assert!(!media.is_on_hold(), "{lines}");
        media.accept_digits();
        sleep(Duration::from_millis(200)).await;
        peer.receive().await;
        expect_only_zero(&media, &mut keys, &mut peer).await;
    }
}
