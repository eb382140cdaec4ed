//! The ticker reads packets up to 60 ms late. What they mean is decided by when they arrived.

use super::*;

/// A call with early media until its answer, and the prompt right after.
async fn call_with_early_media(learns_port: bool) -> (Media, DigitReceiver, Peer) {
    let (media, keys) = Media::open(&MediaSettings { learns_port, ..SETTINGS }, &ports()).unwrap();
    let mut peer = Peer::new().await;
    let early = peer.packet(0, 0, &[0xff; 160]);
    peer.send(&media, &early).await;
    answered(&media, &peer.plain());
    media.accept_digits();
    (media, keys, peer)
}

#[tokio::test]
async fn a_digit_from_before_the_prompt_never_counts() {
    let (media, mut keys) = opened();
    let mut peer = Peer::new().await;
    answered(&media, &peer.plain());
    // The ticker reads from the peer once audio was sent to it.
    peer.expect(|_| true).await;
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    media.accept_digits();
    sleep(Duration::from_millis(200)).await;
    expect_only_zero(&media, &mut keys, &mut peer).await;
}

/// So many packets that the task of the call reads the rest.
#[tokio::test]
async fn a_digit_from_before_the_prompt_never_counts_in_a_flood() {
    let (media, mut keys) = opened();
    let mut peer = Peer::new().await;
    answered(&media, &peer.plain());
    peer.expect(|_| true).await;
    for n in 0..40 {
        let audio = peer.packet(0, n * 160, &[0xff; 160]);
        peer.send(&media, &audio).await;
    }
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    media.accept_digits();
    sleep(Duration::from_millis(200)).await;
    expect_only_zero(&media, &mut keys, &mut peer).await;
}

#[tokio::test]
async fn early_media_does_not_block_another_stream_after_the_answer() {
    let (media, mut keys, mut peer) = call_with_early_media(false).await;
    // An SBC played the ringing. Now the phone sends.
    peer.ssrc = 78;
    peer.talk(&media, 5).await;
    peer.press(&media, TELEPHONE_EVENT, 8000, 0).await;
    assert_eq!(next(&mut keys).await, Some('0'));
    assert_eq!(dropped(&media).1, 1, "the early packet, before the SDP answer");
}

#[tokio::test]
async fn early_media_does_not_prevent_a_learned_port() {
    let (media, mut keys, _) = call_with_early_media(true).await;
    let mut routed = Peer { ssrc: 78, ..Peer::new().await };
    routed.talk(&media, 20).await;
    routed.receive().await;
    routed.press(&media, TELEPHONE_EVENT, 80_000, 5).await;
    assert_eq!(next(&mut keys).await, Some('5'));
}

#[tokio::test]
async fn a_press_across_the_answer_is_unclear() {
    let (media, mut keys) = opened();
    let mut peer = Peer::new().await;
    let begins = peer.packet(TELEPHONE_EVENT, 8000, &[POUND, 0x0a, 0, 160]);
    peer.send(&media, &begins).await;
    answered(&media, &peer.plain());
    media.accept_digits();
    sleep(Duration::from_millis(100)).await;
    let goes_on = peer.packet(TELEPHONE_EVENT, 8000, &[POUND, 0x0a, 4, 0]);
    peer.send(&media, &goes_on).await;
    peer.press(&media, TELEPHONE_EVENT, 80_000, 0).await;
    assert_eq!([next(&mut keys).await, next(&mut keys).await], [Some(UNCLEAR_DIGIT), Some('0')]);
}
