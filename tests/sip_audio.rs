//! The audio of a call over a SIP trunk: what is sent, and which keys count.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use audio_codec_algorithms::{decode_alaw, decode_ulaw};
use phonegate::call::{CallStatus, FailureReason};
use phonegate_media::rtp::RtpHeader;
use serde_json::{Value, json};
use support::gate::{TestGate, id};
use support::handset::{EVENTS, Handset, Heard, SSRC, event};
use support::ports::free_port;
use support::sip::{NUMBER, config, gate};
use support::sipp::Callee;

/// Returns silence of this length in milliseconds, as mu-law.
fn silence(milliseconds: usize) -> Vec<u8> {
    vec![0xFF; milliseconds * 8]
}

/// Returns the first prompt as mu-law: three embedded pieces, and the pauses between them.
fn greeting(language: &str) -> Vec<u8> {
    let piece = |name| spoken(language, name);
    [silence(200), piece("intro"), silence(400), piece("press_pound"), silence(400), piece("not_you")].concat()
}

/// The samples of an embedded piece, as mu-law.
fn spoken(language: &str, prompt: &str) -> Vec<u8> {
    let path = support::project_folder().join("prompts").join(language).join(format!("{prompt}.wav"));
    let wav = std::fs::read(path).unwrap();
    let data = wav.windows(4).position(|four| four == b"data").unwrap();
    let size = u32::from_le_bytes(wav[data + 4..data + 8].try_into().unwrap()) as usize;
    wav[data + 8..][..size].to_vec()
}

/// Returns the position of a recording in the received samples: packets of silence may precede it. Rounding between the
/// codecs is tolerated.
fn begin(heard: &[u8], said: &[u8], decode: fn(u8) -> i16) -> usize {
    let is_like = |(heard, said): (&u8, &u8)| {
        let (heard, said) = (i32::from(decode(*heard)), i32::from(decode_ulaw(*said)));
        (heard - said).abs() <= 16 + said.abs() / 16
    };
    let starts = (0..heard.len()).step_by(160).take(50);
    let mut found = starts.filter(|start| heard[*start..].iter().zip(said).all(is_like));
    found.next().expect("it is heard")
}

/// Starts a call, and waits for its first packet.
fn answered(gate: &TestGate, handset: &Handset) -> Heard {
    gate.initiate(id(1), NUMBER);
    handset.hear()
}

/// Starts a call, and waits for its first prompt: keys count from then on.
fn asked(gate: &TestGate, handset: &Handset) -> Heard {
    gate.initiate(id(1), NUMBER);
    handset.hear_prompt()
}

fn ends(gate: TestGate, callee: Callee) -> (Option<FailureReason>, String) {
    let (_, text) = gate.ends(id(1));
    let reason = gate.snapshot(id(1)).failure.map(|failure| failure.reason());
    gate.end();
    callee.finish();
    (reason, text)
}

#[test]
fn the_greeting_is_played_without_gaps_at_the_right_speed() {
    for (formats, codec) in [("0 101", 0), ("8 101", 8)] {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee(formats);
        let gate = TestGate::start(json!({ "use": ["trunk"], "backends": { "trunk": callee.trunk() } }));
        let first = answered(&gate, &handset);
        assert!(first.marker, "a talkspurt begins");
        let greeting = greeting("en-US");
        let mut heard = first.payload.clone();
        let mut last = first.clone();
        while heard.len() < greeting.len() + 9600 {
            let packet = handset.hear();
            assert_eq!((packet.payload_type, packet.payload.len()), (codec, 160));
            assert_eq!(packet.sequence, last.sequence.wrapping_add(1), "no packet is missing");
            // 20 ms are 160 samples. A sender that was delayed by a busy machine sets the marker and skips timestamps.
            match packet.timestamp.wrapping_sub(last.timestamp) {
                160 => assert!(!packet.marker, "no talkspurt begins without a break"),
                passed => assert!(packet.marker && passed % 160 == 0 && passed < 16_000, "{passed} samples passed"),
            }
            assert_eq!(packet.from, first.from);
            heard.extend(&packet.payload);
            last = packet;
        }
        // Silence follows the greeting.
        let decode = if codec == 0 { decode_ulaw } else { decode_alaw };
        let begin = begin(&heard, &greeting, decode);
        assert!(
            heard[begin + greeting.len() + 160..].iter().all(|sample| decode(*sample).abs() <= 8),
            "and then silence"
        );
        handset.press(first.from, '#');
        assert_eq!(ends(gate, callee).0, None);
    }
}

#[test]
fn a_key_stops_the_prompt_and_the_farewell_is_played() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let gate = TestGate::start(json!({ "use": ["trunk"], "backends": { "trunk": callee.trunk() } }));
    let first = asked(&gate, &handset);
    handset.press(first.from, '#');
    let verified = spoken("en-US", "verified");
    let mut heard = Vec::new();
    while !heard.windows(verified.len()).any(|window| window == verified) {
        assert!(heard.len() < 8000 * 10, "the greeting went on");
        heard.extend(handset.hear().payload);
    }
    assert_eq!(ends(gate, callee).0, None);
}

/// Orders of the packets of one press: some are lost, duplicated or late.
#[test]
fn a_key_counts_once_whichever_of_its_packets_arrive() {
    let trains: [&[(u16, bool, u16)]; 4] = [
        &[(8, true, 1280), (9, true, 1280)],
        &[(0, false, 160), (1, false, 320)],
        &[(2, false, 480), (0, false, 160), (8, true, 1280), (1, false, 320), (9, true, 1280)],
        &[(0, false, 160), (0, false, 160), (1, false, 160), (8, true, 1280), (9, true, 1280), (10, true, 1280)],
    ];
    for train in trains {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee("0 101");
        let gate = gate(callee.trunk());
        let first = asked(&gate, &handset);
        // If the key counted twice, the entry would be `00#`, which reports no fraud.
        let timestamp = handset.next_event();
        for (place, end, duration) in train {
            let header =
                RtpHeader { marker: false, payload_type: EVENTS, sequence: 900 + place, timestamp, ssrc: SSRC };
            handset.send_packet(first.from, &header, &event('0', *end, *duration));
        }
        handset.press(first.from, '#');
        assert_eq!(ends(gate, callee).0, Some(FailureReason::FraudReported), "{train:?}");
    }
}

/// Presses entries, each after the end of the one before.
fn entries(entries: &[&str]) -> Option<FailureReason> {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let gate = gate(callee.trunk());
    let first = asked(&gate, &handset);
    for entry in entries {
        entry.chars().for_each(|key| handset.press(first.from, key));
        // In the first second of the next prompt a key is too early.
        handset.wait(Duration::from_millis(1_700));
    }
    ends(gate, callee).0
}

#[test]
fn only_a_whole_entry_is_right() {
    assert_eq!(entries(&["5#", "#"]), None, "a second attempt may be right");
    assert_eq!(entries(&["##"]), None, "the first entry ends with its pound key");
    assert_eq!(entries(&["5#", "12#"]), Some(FailureReason::WrongKey));
    assert_eq!(entries(&["*#", "0#"]), Some(FailureReason::FraudReported));
    assert_eq!(entries(&["00#", "10#"]), Some(FailureReason::WrongKey));
    assert_eq!(entries(&["5", "0#"]), Some(FailureReason::WrongKey), "`50#` is no report, and then comes silence");
}

/// Runs a call in which the user presses no key, and `spoof` sends one from elsewhere. Returns the text of the failure.
fn not_verified(spoof: impl Fn(&Handset, SocketAddr)) -> String {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let gate = gate(callee.trunk());
    let first = asked(&gate, &handset);
    // A packet of the callee, so that its source is known.
    handset.send(first.from, 0, 160, &[0xff; 160]);
    handset.wait(Duration::from_millis(100));
    spoof(&handset, first.from);
    let (reason, text) = ends(gate, callee);
    assert_eq!(reason, Some(FailureReason::NoKeyPressed), "{text}");
    text
}

#[test]
fn keys_from_elsewhere_never_verify_and_are_reported() {
    for (address, is_same) in [("127.0.0.1", true), ("127.0.0.2", false)] {
        let text = not_verified(|_, to| Handset::on(address).press(to, '#'));
        assert!(text.contains("11 packets were dropped"), "{text}");
        assert_eq!(text.contains("11 from another port of the trunk's media address"), is_same, "{text}");
        assert_eq!(text.contains("11 from another address"), !is_same, "{text}");
        // The named port has sent, so it replaces the learned one.
        assert!(!text.contains("`learn_media_port`"), "{text}");
    }
}

/// A trunk behind NAT sends from another port than its description names, and must receive there.
#[test]
fn learn_media_port_learns_a_port_from_audio_but_never_an_address() {
    let no_key = Some(FailureReason::NoKeyPressed);
    for (address, packets, reason) in [("127.0.0.1", 20, None), ("127.0.0.1", 7, no_key), ("127.0.0.2", 20, no_key)] {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee("0 101");
        let mut trunk = callee.trunk();
        trunk["learn_media_port"] = json!(true);
        let gate = gate(trunk);
        let first = asked(&gate, &handset);
        let translated = Handset::on(address);
        translated.press(first.from, '#');
        translated.talk(first.from, packets);
        if reason.is_none() {
            translated.hear();
        }
        translated.press(first.from, '#');
        assert_eq!(ends(gate, callee).0, reason, "{packets} packets from {address}");
    }
}

#[test]
fn keys_from_another_address_never_verify_before_any_audio() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let gate = gate(callee.trunk());
    let first = asked(&gate, &handset);
    Handset::on("127.0.0.2").press(first.from, '#');
    assert_eq!(ends(gate, callee).0, Some(FailureReason::NoKeyPressed));
}

#[test]
fn keys_with_another_payload_type_never_verify() {
    not_verified(|handset, to| {
        for payload_type in [0, 8, 96, 100, 102, 127] {
            handset.send(to, payload_type, handset.next_event(), &event('#', true, 1280));
        }
    });
}

#[test]
fn malformed_packets_never_verify_and_end_no_call() {
    not_verified(|handset, to| {
        handset.send(to, EVENTS, handset.next_event(), &[]);
        handset.send(to, EVENTS, handset.next_event(), &[11]);
        handset.send(to, EVENTS, handset.next_event(), &[11, 0x8a, 5]);
        handset.send(to, EVENTS, handset.next_event(), &[255, 0x8a, 5, 0]);
    });
}

#[test]
fn keys_before_the_answer_never_verify() {
    let port = free_port();
    let handset = Handset::on("127.0.0.1");
    let steps = [
        support::sipp::Step::Invite,
        support::sipp::Step::Answer(180, "Ringing", ""),
        support::sipp::Step::Wait(1500),
        support::sipp::Step::PickUpWith(handset.sdp("0 101")),
        support::sipp::Step::Receive("BYE"),
    ];
    let callee = Callee::start(&steps, 1);
    let mut trunk = callee.trunk();
    trunk["rtp_ports"] = json!({ "first": port, "last": port + 1 });
    let gate = gate(trunk);
    gate.initiate(id(1), NUMBER);
    support::wait_until("the phone rings", || gate.log().iter().any(|line| line["event"] == "ringing"));
    handset.press(format!("127.0.0.1:{port}").parse().unwrap(), '#');
    assert_eq!(gate.status(id(1)), CallStatus::Pending);
    assert_eq!(ends(gate, callee).0, Some(FailureReason::NoKeyPressed));
}

#[test]
fn keys_before_the_prompt_of_an_extension_never_verify() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let gate = TestGate::start(config(callee.trunk(), 60));
    gate.initiate(id(1), &format!("{NUMBER}x42"));
    let first = handset.hear();
    handset.press(first.from, '#');
    let mut dialled = String::new();
    let mut last = None;
    while dialled.len() < 2 {
        let packet = handset.hear();
        if packet.payload_type == EVENTS && last != Some(packet.timestamp) {
            dialled.push_str(&packet.payload[0].to_string());
            last = Some(packet.timestamp);
        }
    }
    assert_eq!(dialled, "42", "the extension is pressed, each digit once");
    assert_eq!(ends(gate, callee).0, Some(FailureReason::NoKeyPressed));
}

#[test]
fn ports_are_released_after_a_call_and_a_lack_is_reported() {
    let port = free_port();
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let mut trunk = callee.trunk();
    trunk["rtp_ports"] = json!({ "first": port, "last": port + 1 });
    let gate = gate(trunk);
    let first = asked(&gate, &handset);
    assert_eq!(first.from.port(), port);
    gate.initiate(id(2), "+1 4255551213");
    let text = gate.ends(id(2)).1;
    assert!(text.contains("all 1 port pairs for audio are in use"), "{text}");
    handset.press(first.from, '#');
    assert_eq!(ends(gate, callee).0, None);
    assert!(std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok());
}

#[test]
fn a_language_is_chosen_by_the_request_then_by_the_country() {
    for (language, prompts, expected) in [
        (Some("de"), json!({}), "de-DE"),
        (Some("xx"), json!({ "by_country": { "US": "fr-FR" } }), "fr-FR"),
        (None, json!({ "language": "nl" }), "nl-NL"),
    ] {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee("0 101");
        let mut config: Value = json!({ "use": ["trunk"], "backends": { "trunk": callee.trunk() } });
        config["prompts"] = prompts;
        let gate = TestGate::start(config);
        let request = phonegate::gate::CallRequest {
            id: id(1),
            number: NUMBER,
            attributes: Vec::new(),
            language: language.map(str::to_owned),
        };
        gate.gate().initiate(request);
        let mut heard = Vec::<u8>::new();
        let mut last = None;
        // A key is too early in the first second of the prompt.
        while heard.len() < 12_000 {
            let packet = handset.hear();
            heard.extend(&packet.payload);
            last = Some(packet.from);
        }
        begin(&heard, &greeting(expected), decode_ulaw);
        handset.press(last.unwrap(), '#');
        assert_eq!(ends(gate, callee).0, None);
    }
}

#[test]
fn an_extension_that_cannot_be_dialled_is_reported() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0");
    let gate = gate(callee.trunk());
    gate.initiate(id(1), &format!("{NUMBER}x42"));
    let (reason, text) = ends(gate, callee);
    assert_eq!(reason, Some(FailureReason::CannotPlace));
    assert!(text.contains("The extension cannot be dialled"), "{text}");
}
