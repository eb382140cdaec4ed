//! Ports that are learned from audio.

use super::*;

#[test]
fn a_port_is_learned_from_eight_audio_packets() {
    let mut call = Call::new(true);
    call.press(OTHER, PEER, 0);
    assert_eq!(call.talk(OTHER, PEER, 2..9), 0);
    assert_eq!(call.receiver.learned_source(), None, "seven");
    assert_eq!(call.talk(OTHER, PEER, 9..20), 11);
    assert_eq!(call.receiver.learned_source(), Some(port(OTHER)));
    call.press(OTHER, PEER, 20);
    assert_eq!(call.digits, "#");
    assert_eq!(Call::new(false).talk(OTHER, PEER, 0..100), 0, "only if it is allowed");
    let mut another_host = Call::new(true);
    for sequence in 0..20 {
        let audio = packet(0, PEER, sequence, &[0xff; 160]);
        let from = ([192, 0, 2, 10], OTHER).into();
        assert_eq!(another_host.send(from, &audio, Protection::None), Some(DropReason::Address));
        another_host.now += PACKET_TIME;
    }
}

#[test]
fn a_port_is_not_learned_from_less() {
    let mut with_gaps = Call::new(true);
    for n in 0..20 {
        with_gaps.talk(OTHER, PEER, n * 10..n * 10 + 7);
    }
    let mut with_events = Call::new(true);
    for n in 0..100 {
        with_events.event(OTHER, PEER, n, 0);
        with_events.now += PACKET_TIME;
    }
    let mut with_a_third_port = Call::new(true);
    for n in 0..100 {
        with_a_third_port.talk(OTHER, PEER, n..n + 1);
        if n % 7 == 0 {
            with_a_third_port.audio(OTHER + 2, ATTACKER, n);
        }
    }
    let mut with_two_streams = Call::new(true);
    for n in 0..100 {
        with_two_streams.talk(OTHER, PEER, n..n + 1);
        with_two_streams.talk(OTHER, ATTACKER, n..n + 1);
    }
    let mut by_turns = Call::new(true);
    let mut two_ssrcs = Call::new(true);
    for n in 0..100 {
        by_turns.talk(OTHER + n % 2, PEER, n..n + 1);
        two_ssrcs.talk(OTHER, if n % 2 == 0 { PEER } else { ATTACKER }, n..n + 1);
    }
    let mut at_once = Call::new(true);
    for n in 0..1000 {
        at_once.audio(OTHER, PEER, n);
    }
    // 25,000 packets a second over 100 ports of this side: each sees a source of 250 a second.
    let mut sprayed = Call::new(true);
    for n in 0..2000 {
        sprayed.audio(OTHER, PEER, n);
        sprayed.now += Duration::from_millis(4);
    }
    for call in [with_gaps, with_events, with_a_third_port, with_two_streams, by_turns, two_ssrcs, at_once, sprayed] {
        assert_eq!((call.receiver.learned_source(), call.digits.as_str()), (None, ""));
    }
}

#[test]
fn the_named_port_always_replaces_a_learned_one() {
    // Before: a stray packet of early media, or a whole stream, takes nothing.
    let mut call = Call::new(true);
    call.audio(OTHER, ATTACKER, 0);
    assert_eq!(call.talk(NAMED, PEER, 0..5), 5);
    call.now += 10 * STREAM_SILENCE;
    assert_eq!(call.talk(OTHER, ATTACKER, 0..100), 0);
    // After: it takes the call back, and keeps it.
    let mut call = Call::new(true);
    call.talk(OTHER, ATTACKER, 0..20);
    assert!(call.receiver.learned_source().is_some());
    assert_eq!(call.audio(NAMED, PEER, 0), None);
    assert_eq!((call.audio(OTHER, ATTACKER, 20), call.receiver.learned_source()), (Some(DropReason::Port), None));
    call.press(OTHER, ATTACKER, 21);
    call.press(NAMED, PEER, 1);
    assert_eq!(call.digits, "#");
    // At the answer, or with another description, learning restarts.
    call.receiver.forget_source();
    assert_eq!(call.talk(OTHER, PEER, 0..10), 3);
    call.receiver.set_remote(&remote(NAMED, "sendrecv"));
    assert_eq!(call.receiver.learned_source(), Some(port(OTHER)), "a description that says the same");
    call.receiver.set_remote(&remote(6000, "sendrecv"));
    assert_eq!(call.receiver.learned_source(), None);
    assert_eq!(call.talk(6000, PEER, 10..15), 5);
}

#[test]
fn digits_from_a_learned_port_are_near_its_audio() {
    for (sequence, expected) in [(119, "#"), (99, "#"), (0, ""), (130, ""), (30_000, "")] {
        let mut call = Call::new(true);
        call.talk(OTHER, PEER, 0..20);
        // The window reaches from 19 - 100, which wraps, to 19 + 100.
        let sequence = if sequence == 0 { 19u16.wrapping_sub(102) } else { sequence };
        call.event(OTHER, PEER, sequence - 1, 7);
        call.event(OTHER, PEER, sequence, 7);
        assert_eq!(call.digits, expected, "{sequence}");
        assert_eq!(call.receiver.dropped().sequence > 0, expected.is_empty());
    }
    let mut call = Call::new(true);
    call.talk(OTHER, PEER, 0..20);
    call.press(OTHER, ATTACKER, 20);
    call.press(OTHER + 2, PEER, 20);
    assert_eq!(call.digits, "");
    // A late packet does not move the window, but audio that restarts does.
    call.audio(OTHER, PEER, 19u16.wrapping_sub(50));
    assert_eq!(call.event(OTHER, PEER, 90, 1), None);
    call.audio(OTHER, PEER, 40_000);
    assert_eq!(call.event(OTHER, PEER, 91, 2), Some(DropReason::Sequence));
    assert_eq!(call.event(OTHER, PEER, 40_001, 2), None);
    let mut call = Call::new(true);
    call.talk(OTHER, PEER, 0..20);
    // A long press, during which no audio comes.
    for n in 20..320 {
        assert_eq!(call.event(OTHER, PEER, n, 9), None);
        call.now += PACKET_TIME;
    }
    assert_eq!(call.digits, "#");
}

#[test]
fn a_learned_port_changes_stream_only_after_silence() {
    let mut call = Call::new(true);
    call.talk(OTHER, PEER, 0..20);
    assert_eq!(call.talk(OTHER, ATTACKER, 0..40), 0, "the learned stream was just heard");
    call.now += STREAM_SILENCE;
    assert_eq!(call.talk(OTHER + 2, ATTACKER, 0..40), 0, "another port");
    assert_eq!(call.talk(OTHER, 3, 0..10), 3);
    call.press(OTHER, 3, 10);
    assert_eq!(call.digits, "#");
}
