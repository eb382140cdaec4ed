//! INFO digits, descriptions, encryption, RTCP and the summary of a call.

mod support;

use std::time::Duration;

use phonegate_media::dtmf::InfoError;
use phonegate_media::rtcp::{self, ReportBlock};
use phonegate_media::rtp::RtpHeader;
use phonegate_media::sdp::{Encryption, LocalSession};
use phonegate_media::session::MediaSession;
use phonegate_media::srtp::SrtpError;
use proptest::prelude::*;

use support::*;

#[test]
fn info_digits_count_only_without_telephone_events() {
    let with_events = Call::answered(PLAIN);
    let without = Call::answered("m=audio 4000 RTP/AVP 0\r\n");
    let bodies = [
        ("application/dtmf", "#"),
        ("application/dtmf", "Signal=#\r\nDuration=160\r\n"),
        ("application/dtmf-relay", "Signal=#"),
        ("application/dtmf-relay", "Signal= #\r\nDuration= 250\r\n"),
        ("application/dtmf-relay", "Signal = #\r\n"),
        ("application/dtmf-relay", "\r\n Signal\t=#  \r\nDuration=\r\n\r\n"),
        ("APPLICATION/DTMF-RELAY; charset=utf-8", "signal=11\n"),
    ];
    for (content_type, body) in bodies {
        for is_tls in [false, true] {
            let read = |call: &Call| call.media.receive_info(content_type, body.as_bytes(), is_tls);
            assert_eq!(read(&without).map(|digit| digit.as_char()), Ok('#'), "{body:?}");
            assert_eq!(read(&with_events), Err(InfoError::NotAccepted), "{body:?}");
        }
    }
    let unreadable = with_events.media.receive_info("application/dtmf-relay", b"Signal=##", true);
    assert_eq!(unreadable, Err(InfoError::NotAccepted), "it is not a key that could not be read");
    let other = |content_type, body: &str| without.media.receive_info(content_type, body.as_bytes(), true);
    assert_eq!(other("application/media_control+xml", "<x/>"), Err(InfoError::ContentType));
    assert_eq!(other("application/dtmf-relay", "Duration=160"), Err(InfoError::Body));
    let mut early = Call::offered(Encryption::Off, false);
    assert_eq!(early.media.receive_info("application/dtmf", b"#", true), Err(InfoError::NotAccepted), "no media");
    early.receive_answer(&description("m=audio 4000 RTP/AVP 0\r\n"));
    assert_eq!(early.media.receive_info("application/dtmf", b"#", true), Err(InfoError::NotAccepted), "not answered");
}

/// Otherwise an unencrypted INFO request would bypass the encryption.
#[test]
fn info_digits_of_encrypted_calls_need_tls() {
    let mut call = Call::offered(Encryption::Required(keys(1)), false);
    let sdp = description("m=audio 4000 RTP/SAVP 0\r\n");
    let mut other = LocalSession::new(port(NAMED), 1, Encryption::Required(keys(11)));
    let crypto = other.offer().lines().find(|line| line.starts_with("a=crypto:1 ")).unwrap().to_owned();
    call.receive_answer(&format!("{sdp}{crypto}\r\n"));
    call.media.set_answered();
    let read = |is_tls| call.media.receive_info("application/dtmf", b"#", is_tls).map(|digit| digit.as_char());
    assert_eq!((read(false), read(true)), (Err(InfoError::NotAccepted), Ok('#')));
}

/// With SRTP, the audio of a peer behind NAT counts from any port, and the audio of this side is sent there.
#[test]
fn the_port_of_authentic_audio_is_learned_from_one_packet() {
    for learns_port in [false, true] {
        let mut call = Call::offered(Encryption::Required(keys(1)), learns_port);
        call.rekey(11);
        call.media.set_answered();
        let learned = |port| learns_port.then_some(port);
        call.from = port(5000);
        call.talk(1);
        assert_eq!(call.media.learned_source(), learned(port(5000)));
        call.check_keys("from the other port");
        call.from = ([192, 0, 2, 10], 5000).into();
        call.talk(1);
        assert_eq!(call.media.learned_source(), learned(port(5000)), "another address is never learned");
        call.from = port(NAMED);
        call.talk(1);
        assert_eq!(call.media.learned_source(), None, "the named port wins");
    }
}

/// Early media from another port, as a gateway plays a ringing tone, does not bind the call to that port.
#[test]
fn early_media_of_another_port_is_forgotten_at_the_answer() {
    let mut call = Call::offered(Encryption::Off, true);
    call.receive_answer(&description(PLAIN));
    call.from = port(5000);
    call.talk(50);
    assert_eq!(call.summary().learned_source, Some(port(5000)));
    call.media.set_answered();
    assert_eq!(call.summary().learned_source, None);
    (call.from, call.ssrc) = (port(6000), PEER + 1);
    call.talk(20);
    call.check_keys("from the port of the telephone");
    call.media.set_answered();
    assert_eq!(call.summary().learned_source, Some(port(6000)), "the call is answered once");
}

#[test]
fn digits_before_the_answer_are_ignored() {
    let mut call = Call::offered(Encryption::Off, false);
    call.receive_answer(&description(PLAIN));
    call.press('1');
    call.media.set_answered();
    call.check_keys("after the answer");
    let summary = call.summary();
    assert_eq!((summary.early_packets, summary.audio_packets, summary.event_packets), (5 + 6, 10, 12));
    // A press that continues after the answer. One or more of its packets came before.
    for early in 1..PRESS.len() {
        let mut call = Call::offered(Encryption::Off, false);
        call.receive_answer(&description(PLAIN));
        call.press_as('2', 7, &PRESS[..early]);
        call.media.set_answered();
        call.press_as('2', 7, &PRESS[early..]);
        assert_eq!(call.digits, "", "{early}");
        call.check_keys("after a press that began before the answer");
    }
}

/// The session does not apply a description that the check of descriptions would have rejected.
#[test]
fn an_encrypted_call_rejects_a_description_without_a_key() {
    let plain = LocalSession::new(([192, 0, 2, 1], 4002).into(), 5, Encryption::Off)
        .check_answer(description(PLAIN).as_bytes())
        .unwrap();
    let mut call = Call::encrypted();
    assert_eq!(call.media.set_remote(&plain), Err(SrtpError::Unencrypted));
    call.check_keys("the earlier key stays");
    let mut required = MediaSession::new(&Encryption::Required(keys(1)), OWN, false).unwrap();
    assert_eq!(required.set_remote(&plain), Err(SrtpError::Unencrypted));
    let mut optional = Call::offered(Encryption::Optional(keys(1)), false);
    assert_eq!(optional.media.set_remote(&plain), Ok(()));
    optional.media.set_answered();
    optional.check_keys("the peer cannot encrypt");
    let mut encrypted = call.rekey(31);
    assert_eq!(optional.media.set_remote(&encrypted), Ok(()));
    assert_eq!(optional.media.set_remote(&plain), Err(SrtpError::Unencrypted));
    optional.press('1');
    assert_eq!(optional.digits, "", "in the clear, after encryption was agreed on");
    let mut off = MediaSession::new(&Encryption::Off, OWN, false).unwrap();
    assert_eq!(off.set_remote(&encrypted), Err(SrtpError::NoKey));
    encrypted.key = None;
    assert_eq!(off.set_remote(&encrypted), Ok(()));
}

#[test]
fn what_is_sent_is_encrypted_once_that_is_agreed_on() {
    let (rtp, rtcp) = (
        RtpHeader { marker: true, payload_type: 0, sequence: 1, timestamp: 2, ssrc: OWN }.write(&[1; 160]),
        rtcp::write(OWN, None, None, true),
    );
    let mut early = Call::offered(Encryption::Off, false);
    assert_eq!(early.media.protect_rtp(rtp.clone()), Err(SrtpError::NoKey));
    let mut plain = Call::answered(PLAIN);
    assert_eq!(plain.media.protect_rtp(rtp.clone()).unwrap(), rtp);
    assert_eq!(plain.media.protect_rtcp(rtcp.clone()).unwrap(), rtcp);
    let mut call = Call::encrypted();
    let (sent_rtp, sent_rtcp) =
        (call.media.protect_rtp(rtp.clone()).unwrap(), call.media.protect_rtcp(rtcp.clone()).unwrap());
    assert!(sent_rtp[12..] != rtp[12..] && sent_rtcp[8..] != rtcp[8..]);
    let peer = call.srtp.as_mut().unwrap();
    assert_eq!((peer.open_rtp(&sent_rtp), peer.open_rtcp(&sent_rtcp)), (Ok(rtp), Ok(rtcp)));
}

#[test]
fn the_reports_of_the_peer_are_read() {
    let block = ReportBlock { ssrc: OWN, fraction_lost: 9, cumulative_lost: 4, highest_sequence: 99, jitter: 80 };
    let report = |block| rtcp::write(PEER, None, Some(block), false);
    let mut call = Call::answered(PLAIN);
    call.media.receive_rtcp(port(NAMED + 1), &report(ReportBlock { ssrc: 5, ..block }));
    assert_eq!(call.summary().peer_report, None, "of another stream");
    call.media.receive_rtcp(port(NAMED + 1), &report(block));
    call.media.receive_rtcp(port(NAMED + 1), &rtcp::write(PEER, None, None, true));
    assert_eq!((call.summary().peer_report, call.summary().dropped_rtcp), (Some(block), 0));
    let forged = report(ReportBlock { fraction_lost: 200, ..block });
    for from in [port(NAMED), port(NAMED + 2), ([192, 0, 2, 10], NAMED + 1).into()] {
        call.media.receive_rtcp(from, &forged);
    }
    call.media.receive_rtcp(port(NAMED + 1), b"no report");
    assert_eq!((call.summary().peer_report, call.summary().dropped_rtcp), (Some(block), 4));
    let mut mapped = Call::answered(PLAIN);
    mapped.media.receive_rtcp("[::ffff:192.0.2.9]:4001".parse().unwrap(), &report(block));
    assert_eq!(mapped.summary().peer_report, Some(block), "as a socket of both families reports it");
    let mut named = Call::answered("m=audio 4000 RTP/AVP 0 101\r\na=rtcp:4444\r\n");
    named.media.receive_rtcp(port(NAMED + 1), &report(block));
    named.media.receive_rtcp(port(4444), &report(block));
    assert_eq!((named.summary().peer_report, named.summary().dropped_rtcp), (Some(block), 1));
    let mut encrypted = Call::encrypted();
    encrypted.media.receive_rtcp(port(NAMED + 1), &forged);
    assert_eq!((encrypted.summary().peer_report, encrypted.summary().dropped_rtcp), (None, 1), "in the clear");
    let protected = encrypted.srtp.as_mut().unwrap().protect_rtcp(&report(block)).unwrap();
    encrypted.media.receive_rtcp(port(9999), &protected);
    assert_eq!(encrypted.summary().peer_report, Some(block), "authentic from anywhere");
}

#[test]
fn the_summary_counts_what_was_received() {
    let mut call = Call::answered(PLAIN);
    assert!(call.summary().is_without_rtp() && call.summary().is_silent());
    let lost = call.packet(0, 0, &[0xff; 160]);
    call.deliver(port(5000), &lost);
    let summary = call.summary();
    assert_eq!((summary.is_without_rtp(), summary.is_silent(), summary.dropped.port), (false, true, 1));
    call.talk(10);
    call.sequence += 3;
    call.talk(10);
    let summary = call.summary();
    assert_eq!((summary.audio_packets, summary.lost, summary.jitter), (20, 3, Duration::ZERO));
    let report = call.media.reception_report().unwrap();
    assert_eq!((report.ssrc, report.cumulative_lost), (PEER, 3));
    let mut encrypted = Call::encrypted();
    encrypted.srtp = None;
    encrypted.talk(5);
    let summary = encrypted.summary();
    assert_eq!((summary.not_authentic, summary.is_silent(), summary.is_without_rtp()), (5, true, false));
}

/// A call may move between threads, as a task of a runtime does.
#[test]
fn a_session_can_be_sent_to_another_thread() {
    let mut call = Call::encrypted();
    let mut media = call.media;
    let srtp = call.srtp.as_mut().unwrap();
    let header = RtpHeader { marker: false, payload_type: 0, sequence: 1, timestamp: 0, ssrc: PEER };
    let packet = srtp.protect_rtp(&header.write(&[0xff; 160])).unwrap();
    let thread = std::thread::spawn(move || {
        media.receive_rtp(Duration::ZERO, port(NAMED), &packet);
        media.summary().audio_packets
    });
    assert_eq!(thread.join().unwrap(), 1);
}

#[test]
fn debug_output_has_neither_master_keys_nor_digits() {
    let mut call = Call::encrypted();
    call.check_keys("pressed");
    let shown = format!("{:?} {:?}", call.media, call.local);
    assert!(shown.contains("EventDetector { streams: 1, .. }") && shown.contains("hidden"), "{shown}");
    // The digits, and the bytes of the keys of both sides.
    for secret in ["Digit", "[1, 1, 1", "[11, 11", "AQEBAQ", "CwsLCw"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

/// An action of the caller or of the network.
#[derive(Clone, Debug)]
enum Action {
    Rtp(u16, Vec<u8>),
    Rtcp(u16, Vec<u8>),
    Describe(usize),
    Rekey(u8),
    Answer,
    Info(Vec<u8>),
    Send(Vec<u8>),
    Wait(u16),
}

fn action() -> impl Strategy<Value = Action> {
    let packet = || {
        let noise = proptest::collection::vec(any::<u8>(), 0..60);
        (any::<bool>(), prop_oneof![Just(0u8), Just(101), Just(200), any::<u8>()], noise).prop_map(
            |(is_packet, kind, mut bytes)| {
                if let (true, [first, second, ..]) = (is_packet, bytes.as_mut_slice()) {
                    (*first, *second) = (0x80, kind);
                }
                bytes
            },
        )
    };
    prop_oneof![
        4 => (3999u16..4004, packet()).prop_map(|(from, packet)| Action::Rtp(from, packet)),
        2 => (3999u16..4004, packet()).prop_map(|(from, packet)| Action::Rtcp(from, packet)),
        1 => (0usize..5).prop_map(Action::Describe),
        1 => (11u8..15).prop_map(Action::Rekey),
        1 => Just(Action::Answer),
        1 => packet().prop_map(Action::Info),
        1 => packet().prop_map(Action::Send),
        1 => (0u16..3000).prop_map(Action::Wait),
    ]
}

proptest! {
    /// In every order, with hostile packets: nothing panics, and no digit comes before the answer.
    #[test]
    fn no_order_of_calls_panics(actions in proptest::collection::vec(action(), 0..60), mode in 0usize..3) {
        let encryption = [Encryption::Off, Encryption::Optional(keys(1)), Encryption::Required(keys(1))];
        let mut call = Call::offered(encryption[mode].clone(), true);
        let (mut is_answered, mut was_encrypted) = (false, mode == 2);
        for action in actions {
            match action {
                Action::Rtp(from, packet) => call.deliver(port(from), &packet),
                Action::Rtcp(from, packet) => call.media.receive_rtcp(port(from), &packet),
                Action::Describe(index) => {
                    let lines = ["", "a=inactive\r\n", "c=IN IP4 0.0.0.0\r\n", "a=rtcp:0\r\n", "a=sendonly\r\n"];
                    let sdp = description(&format!("{PLAIN}{}", lines[index]));
                    let mut plain = LocalSession::new(([192, 0, 2, 1], 4002).into(), 1, Encryption::Off);
                    let remote = plain.check_answer(sdp.as_bytes()).unwrap();
                    prop_assert_eq!(call.media.set_remote(&remote).is_err(), was_encrypted);
                }
                Action::Rekey(seed) if mode > 0 => {
                    let remote = Call::encrypted().rekey(seed);
                    prop_assert_eq!(call.media.set_remote(&remote), Ok(()));
                    was_encrypted = true;
                }
                Action::Answer => {
                    call.media.set_answered();
                    is_answered = true;
                }
                Action::Info(body) => {
                    let digit = call.media.receive_info("application/dtmf", &body, false);
                    prop_assert!(digit.is_err(), "the peer takes events, or nothing was agreed on");
                }
                Action::Send(packet) => {
                    let _ = call.media.protect_rtp(packet.clone());
                    let _ = call.media.protect_rtcp(packet);
                }
                Action::Wait(milliseconds) => call.now += Duration::from_millis(milliseconds.into()),
                Action::Rekey(_) => {}
            }
            prop_assert!(is_answered || call.digits.is_empty());
        }
        let _ = call.media.reception_report();
        let summary = call.summary();
        prop_assert!(!was_encrypted || mode == 1 || summary.is_silent(), "no source had the keys");
    }
}
