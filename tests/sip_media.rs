//! The media of calls over a SIP trunk: unusual but legal behaviour of real PBXs, and what a call without a key reports
//! about its audio.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use audio_codec_algorithms::encode_ulaw;
use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::gate::{TestGate, id};
use support::handset::{EVENTS, Handset, SSRC};
use support::ports::free_port;
use support::sip::{NUMBER, config, gate};
use support::sipp::{Callee, SDP, SDP_WITHOUT_EVENTS, Step, UNTIL_ASKED, answer_with};

const RINGS: Step = Step::Answer(180, "Ringing", "");

/// How a call ended: the reason, none if it was verified; the text; and its line in the log about its media.
struct Ended {
    reason: Option<FailureReason>,
    text: String,
    media: String,
}

fn ended(gate: TestGate) -> Ended {
    let (_, text) = gate.ends(id(1));
    let reason = gate.snapshot(id(1)).failure.map(|failure| failure.reason());
    let log = gate.end();
    let lines: Vec<_> = log.iter().filter(|line| line["event"] == "media").collect();
    let [line] = lines.as_slice() else { panic!("one line about the media: {log:#?}") };
    Ended { reason, text, media: line["text"].as_str().unwrap_or_default().to_owned() }
}

/// A call to a callee that answers with this description: what happens once the first prompt is heard, and its end.
fn call_with(handset: &Handset, sdp: String, settings: Value, then: impl FnOnce(SocketAddr)) -> Ended {
    let callee = Callee::start(&[Step::Invite, RINGS, Step::PickUpWith(sdp), Step::Receive("BYE")], 1);
    let mut trunk = callee.trunk();
    trunk.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let gate = gate(trunk);
    gate.initiate(id(1), NUMBER);
    then(handset.hear_prompt().from);
    let ended = ended(gate);
    callee.finish();
    ended
}

fn call(handset: &Handset, sdp: String, then: impl FnOnce(SocketAddr)) -> Ended {
    call_with(handset, sdp, json!({}), then)
}

/// Places a call in which sipp alone sends packets after its 200.
fn played(answer: &str, steps: &[Step]) -> (Ended, String) {
    let start = [Step::Invite, RINGS, Step::PickUpWith(answer.to_owned()), UNTIL_ASKED];
    let steps: Vec<_> = start.into_iter().chain(steps.iter().cloned()).chain([Step::Receive("BYE")]).collect();
    let callee = Callee::start(&steps, 1);
    let gate = gate(callee.trunk());
    gate.initiate(id(1), NUMBER);
    (ended(gate), callee.finish())
}

/// Transfers and music on hold begin a new stream each.
#[test]
fn keys_count_in_the_tenth_stream_of_an_encrypted_call() {
    let handset = Handset::on("127.0.0.1");
    let steps = [Step::Invite, RINGS, Step::PickUpWith(handset.encrypted_sdp()), Step::Receive("BYE")];
    let callee = Callee::start(&steps, 1);
    let mut trunk = callee.trunk();
    trunk["media_encryption"] = json!("optional");
    let gate = gate(trunk);
    gate.initiate(id(1), NUMBER);
    handset.encrypt(&callee);
    let to = handset.hear_prompt().from;
    for stream in 1..10 {
        handset.talk_in(SSRC + stream, to, 3);
    }
    handset.press_in(SSRC + 9, to, '#');
    let ended = ended(gate);
    callee.finish();
    assert_eq!(ended.reason, None, "{}", ended.text);
    // The second packet of the key ends the call, so the others may not be counted any more.
    let counts = ended.media.strip_prefix("Received 27 packets of audio and ").expect(&ended.media);
    let events: u32 = counts.split(' ').next().and_then(|count| count.parse().ok()).expect(&ended.media);
    assert!((2..=11).contains(&events), "{}", ended.media);
}

/// A refresh of the session repeats PhoneGate's answer to an offer of the callee, with the callee's tag of the key.
#[test]
fn the_answer_to_a_refresh_with_the_callees_tag_is_applied() {
    let (handset, moved) = (Handset::on("127.0.0.1"), Handset::on("127.0.0.1"));
    let tagged = |handset: &Handset| handset.encrypted_sdp().replace("crypto:1 ", "crypto:7 ");
    let Step::Raw(pick_up) = answer_with(200, "OK", "Session-Expires: 4;refresher=uac\nAllow: INVITE, ACK, BYE\n", "")
    else {
        unreachable!()
    };
    // The response to the INVITE follows the response to the UPDATE.
    let pick_up = pick_up.replace("[last_CSeq:]", "CSeq: 1 INVITE").replace("[last_Via:]", "Via:[$via]");
    let pick_up = pick_up.replace("[last_From:]", "From:[$from]").replace("[last_To:]", "To:[$to]");
    let steps = [
        Step::Invite,
        answer_with(183, "Session Progress", "Require: 100rel\nRSeq: 1\n", &handset.encrypted_sdp()),
        Step::Receive("PRACK"),
        Step::Offer("UPDATE", tagged(&handset), 200),
        Step::Raw(pick_up),
        Step::Raw("<recv request=\"INVITE\" crlf=\"true\"/>\n".to_owned()),
        answer_with(200, "OK", "Session-Expires: 1800;refresher=uac\n", &tagged(&moved)),
        Step::Receive("BYE"),
    ];
    let callee = Callee::start(&steps, 1);
    let mut trunk = callee.trunk();
    trunk["media_encryption"] = json!("optional");
    trunk["support_prack"] = json!(true);
    let gate = gate(trunk);
    gate.initiate(id(1), NUMBER);
    moved.encrypt(&callee);
    moved.press(moved.hear_prompt().from, '#');
    let ended = ended(gate);
    callee.finish();
    assert_eq!(ended.reason, None, "{}", ended.text);
}

#[test]
fn an_sdp_answer_with_more_formats_is_accepted() {
    let handset = Handset::on("127.0.0.1");
    let sdp = handset.sdp("13 18 9 0 8 118 101") + "a=rtpmap:13 CN/8000\na=rtpmap:118 telephone-event/16000\n";
    let ended = call(&handset, sdp, |to| handset.press(to, '#'));
    assert_eq!(ended.reason, None, "{}", ended.text);
}

/// A peer may also send with the number of our offer (RFC 3264, section 5.1).
#[test]
fn the_peers_payload_type_for_events_counts_beside_101() {
    for (payload_type, reason) in [(96, None), (101, None), (97, Some(FailureReason::NoKeyPressed))] {
        let handset = Handset::on("127.0.0.1");
        let sdp = handset.sdp("0 96") + "a=rtpmap:96 telephone-event/8000\n";
        let press = |to| handset.press_as(SSRC, to, (payload_type, handset.next_event()), '#');
        let ended = call(&handset, sdp, press);
        assert_eq!(ended.reason, reason, "{payload_type}: {}", ended.text);
        assert_eq!(ended.text.contains("11 of a type that was not agreed on"), reason.is_some(), "{}", ended.text);
    }
}

#[test]
fn info_keys_count_in_every_spelling() {
    for (kind, body) in [
        ("application/dtmf", "#"),
        ("application/dtmf", "11"),
        ("application/dtmf", "Signal=#\nDuration=160\n"),
        ("application/dtmf-relay", "Signal=#\nDuration=160\n"),
        ("application/dtmf-relay", "Signal= #\nDuration= 160\n"),
        ("application/dtmf-relay", "Signal = #\nDuration = 160\n"),
        ("Application/DTMF-Relay; x=y", "signal=11\n"),
    ] {
        let (ended, seen) = played(SDP_WITHOUT_EVENTS, &[Step::Info(kind, body)]);
        assert_eq!(ended.reason, None, "{kind} {body}: {} {seen}", ended.text);
    }
}

#[test]
fn other_info_requests_are_rejected_and_the_call_continues() {
    let (ended, seen) = played(
        SDP_WITHOUT_EVENTS,
        &[
            Step::InfoRefused("text/plain", "Signal=#\n"),
            Step::InfoRefused("application/media_control+xml", "#"),
            Step::Info("application/dtmf-relay", "Signal=#\n"),
        ],
    );
    assert_eq!(ended.reason, None, "{} {seen}", ended.text);
}

/// The key is unknown, so the rest of the entry must not count as the whole.
#[test]
fn an_unreadable_info_key_makes_its_entry_wrong() {
    for (kind, body) in [("application/dtmf-relay", "Signal=##\n"), ("application/dtmf", "55")] {
        let keys = [Step::InfoRefused(kind, body), Step::Info("application/dtmf-relay", "Signal=#\n")];
        let (ended, seen) = played(SDP_WITHOUT_EVENTS, &keys);
        assert_eq!(ended.reason, Some(FailureReason::WrongKey), "{body}: {} {seen}", ended.text);
    }
}

/// An INFO request is sent when its key is released.
#[test]
fn an_info_key_held_since_before_the_prompt_is_early() {
    let held = [Step::Info("application/dtmf-relay", "Signal=#\nDuration=4000\n")];
    let (ended, seen) = played(SDP_WITHOUT_EVENTS, &held);
    assert_eq!(ended.reason, Some(FailureReason::WrongKey), "{} {seen}", ended.text);
}

/// The signalling is not encrypted: a forged INFO would bypass the encryption of the audio.
#[test]
fn info_keys_never_count_with_srtp_but_without_tls() {
    let handset = Handset::on("127.0.0.1");
    let sdp = handset.encrypted_sdp().replace("RTP/AVP 0 101", "RTP/AVP 0");
    let info = Step::InfoRefused("application/dtmf-relay", "Signal=#\n");
    let steps = [Step::Invite, RINGS, Step::PickUpWith(sdp), UNTIL_ASKED, info, Step::Receive("BYE")];
    let callee = Callee::start(&steps, 1);
    let mut trunk = callee.trunk();
    trunk["media_encryption"] = json!("optional");
    let gate = gate(trunk);
    gate.initiate(id(1), NUMBER);
    assert_eq!(ended(gate).reason, Some(FailureReason::NoKeyPressed));
    callee.finish();
}

#[test]
fn a_stray_packet_of_early_media_has_no_effect() {
    for learns in [false, true] {
        let port = free_port();
        let handset = Handset::on("127.0.0.1");
        let steps =
            [Step::Invite, RINGS, Step::Wait(1500), Step::PickUpWith(handset.sdp("0 101")), Step::Receive("BYE")];
        let callee = Callee::start(&steps, 1);
        let mut trunk = callee.trunk();
        trunk["rtp_ports"] = json!({ "first": port, "last": port + 1 });
        trunk["learn_media_port"] = json!(learns);
        let gate = gate(trunk);
        gate.initiate(id(1), NUMBER);
        support::wait_until("the phone rings", || gate.log().iter().any(|line| line["event"] == "ringing"));
        let stray = Handset::on("127.0.0.1");
        stray.talk(([127, 0, 0, 1], port).into(), 1);
        let to = handset.hear_prompt().from;
        stray.talk(to, 1);
        handset.press(to, '#');
        let ended = ended(gate);
        callee.finish();
        assert_eq!(ended.reason, None, "{}", ended.text);
    }
}

/// If a key were missed, the entry would be only `0` or only `#`.
#[test]
fn keys_with_equal_or_earlier_timestamps_all_count() {
    for timestamps in [[50_000, 50_000], [50_000, 160]] {
        let handset = Handset::on("127.0.0.1");
        let ended = call(&handset, handset.sdp("0 101"), |to| {
            for (key, timestamp) in ['0', '#'].into_iter().zip(timestamps) {
                handset.press_as(SSRC, to, (EVENTS, timestamp), key);
            }
        });
        assert_eq!(ended.reason, Some(FailureReason::FraudReported), "{timestamps:?}: {}", ended.text);
    }
}

/// SDP answers that hold the call.
fn holds(handset: &Handset) -> [String; 4] {
    let sdp = handset.sdp("0 101");
    [
        format!("{sdp}a=inactive\n"),
        format!("{sdp}a=sendonly\n"),
        format!("{sdp}a=recvonly\n"),
        sdp.replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"),
    ]
}

/// The dialogue starts once audio flows in both directions. Earlier keys do not count.
#[test]
fn a_first_sdp_answer_on_hold_waits_for_the_re_invite() {
    for way in 0..4 {
        let handset = Handset::on("127.0.0.1");
        let steps = [
            Step::Invite,
            RINGS,
            Step::PickUpWith(holds(&handset)[way].clone()),
            Step::Wait(1500),
            Step::Offer("INVITE", handset.sdp("0 101"), 200),
            Step::Receive("BYE"),
        ];
        let callee = Callee::start(&steps, 1);
        let gate = gate(callee.trunk());
        gate.initiate(id(1), NUMBER);
        let to = handset.hear_prompt().from;
        assert!(callee.messages().contains("CSeq: 2 INVITE") || callee.messages().matches("INVITE sip:").count() > 1);
        handset.press(to, '#');
        let ended = ended(gate);
        let seen = callee.finish();
        assert_eq!(ended.reason, None, "{way}: {} {seen}", ended.text);
    }
}

#[test]
fn a_call_that_stays_on_hold_fails_at_its_deadline() {
    let handset = Handset::on("127.0.0.1");
    let steps = [Step::Invite, RINGS, Step::PickUpWith(holds(&handset)[0].clone()), Step::Receive("BYE")];
    let callee = Callee::start(&steps, 1);
    let gate = TestGate::start(config(callee.trunk(), 4));
    gate.initiate(id(1), NUMBER);
    let ended = ended(gate);
    callee.finish();
    assert_eq!(ended.reason, Some(FailureReason::DeadlinePassed), "{}", ended.text);
    assert!(ended.media.ends_with("on hold at the end."), "{}", ended.media);
}

/// Adds blanks at places that do not allow them.
fn odd(sdp: &str) -> String {
    let sdp = sdp.replace("v=0\n", "v=0[$blank]\n").replace("t=0 0\n", "b=AS:64[$blank]\nt=0 0\n");
    sdp.replace("m=audio ", "m=audio  ").replace("RTP/AVP 0 101", "RTP/AVP  0  101[$blank]")
}

#[test]
fn descriptions_with_odd_blanks_and_origins_are_read() {
    for origin in ["o=-".to_owned(), format!("o={} 1 1 IN IP4 127.0.0.1", "x".repeat(500))] {
        let handset = Handset::on("127.0.0.1");
        let sdp = odd(&handset.sdp("0 101")).replace("o=handset 1 1 IN IP4 127.0.0.1", &origin);
        let ended = call(&handset, sdp, |to| handset.press(to, '#'));
        assert_eq!(ended.reason, None, "{origin}: {}", ended.text);
    }
}

#[test]
fn a_hold_with_a_trailing_blank_is_a_hold() {
    let held = odd(SDP) + "a=sendonly[$blank]\n";
    let resumes = [Step::Wait(300), Step::Offer("INVITE", odd(SDP), 200), Step::Wait(200), Step::Press("#")];
    let steps: Vec<_> = [Step::Offer("INVITE", held, 200)].into_iter().chain(resumes).collect();
    let (ended, seen) = played(&odd(SDP), &steps);
    assert_eq!(ended.reason, None, "{} {seen}", ended.text);
    assert!(seen.contains("a=sendonly \r\n") && seen.contains("a=recvonly\r\n"), "{seen}");
}

/// 100 ms of the tone of `#`, in packets of mu-law.
fn pound_tone() -> Vec<Vec<u8>> {
    let sine = |n: f32, hertz: f32| (n * hertz * std::f32::consts::TAU / 8000.0).sin() * 6000.0;
    let samples = (0u16..800).map(|n| encode_ulaw((sine(n.into(), 941.0) + sine(n.into(), 1477.0)) as i16));
    samples.collect::<Vec<_>>().chunks(160).map(<[u8]>::to_vec).collect()
}

#[test]
fn tones_in_the_audio_are_no_keys_and_are_reported() {
    for formats in ["0 101", "0"] {
        let handset = Handset::on("127.0.0.1");
        let ended = call(&handset, handset.sdp(formats), |to| {
            for (n, payload) in (0..).zip(pound_tone()) {
                handset.send(to, 0, n * 160, &payload);
                handset.wait(Duration::from_millis(20));
            }
        });
        assert_eq!(ended.reason, Some(FailureReason::NoKeyPressed), "{}", ended.text);
        assert!(ended.text.contains("the trunk sends keys as tones"), "{}", ended.text);
        assert!(ended.text.contains("Switch it to RFC 4733"), "{}", ended.text);
        assert!(ended.media.contains("with DTMF tones in the audio"), "{}", ended.media);
    }
}

#[test]
fn a_call_without_rtp_reports_it() {
    let handset = Handset::on("127.0.0.1");
    let ended = call(&handset, handset.sdp("0 101"), |_| {});
    assert_eq!(ended.reason, Some(FailureReason::NoKeyPressed));
    assert!(ended.text.contains("No audio packet arrived: a firewall"), "{}", ended.text);
    assert!(ended.text.contains("`rtp_ports`") && ended.text.contains("`local_address`"), "{}", ended.text);
    assert!(ended.media.starts_with("Received 0 packets of audio"), "{}", ended.media);
}

/// The failure reports why all packets were dropped, and what to do.
#[test]
fn a_call_with_only_dropped_packets_reports_why() {
    for (from, learns, reason, advice) in [
        ("127.0.0.1", false, "20 from another port", "set `learn_media_port`"),
        ("127.0.0.2", true, "20 from another address", "from the address that its session description names"),
    ] {
        let handset = Handset::on("127.0.0.1");
        let settings = json!({ "learn_media_port": learns });
        let ended = call_with(&handset, handset.sdp("0 101"), settings, |to| Handset::on(from).talk(to, 20));
        assert_eq!(ended.reason, Some(FailureReason::NoKeyPressed));
        for words in ["No received audio was accepted after the call was answered", reason, advice] {
            assert!(ended.text.contains(words), "{words:?} is not in {}", ended.text);
        }
    }
}

#[test]
fn audio_with_another_key_is_named_in_the_failure() {
    let handset = Handset::on("127.0.0.1");
    let settings = json!({ "media_encryption": "optional" });
    // The callee cannot decrypt what arrives.
    let ended = call_with(&handset, handset.encrypted_sdp(), settings, |to| handset.talk(to, 20));
    assert_eq!(ended.reason, Some(FailureReason::NoKeyPressed));
    assert!(ended.text.contains("20 not authentic (SRTP)"), "{}", ended.text);
    assert!(ended.text.contains("Check the SRTP settings"), "{}", ended.text);
}

#[test]
fn the_log_has_one_line_about_the_media_of_a_verified_call() {
    let handset = Handset::on("127.0.0.1");
    let ended = call(&handset, handset.sdp("0 101"), |to| {
        handset.talk(to, 5);
        handset.press(to, '#');
    });
    assert_eq!(ended.reason, None, "{}", ended.text);
    assert!(ended.media.starts_with("Received 5 packets of audio"), "{}", ended.media);
    for words in [" lost, jitter ", "; sent ", " (no RTCP of the other side)"] {
        assert!(ended.media.contains(words), "{words:?} is not in {}", ended.media);
    }
}
