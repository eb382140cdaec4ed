//! Attacks on calls over a SIP trunk: each by somebody who knows everything about the call, and none of them approves
//! it, ends it, leads it elsewhere, or learns an answer to a challenge.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::attacker::Dialog;
use support::gate::{TestGate, id};
use support::handset::{EVENTS, Handset, event};
use support::ports::free_ports;
use support::sip::{NUMBER, ending, gate};
use support::sipp::{Callee, Step, UNTIL_ASKED};

const RINGS: Step = Step::Answer(180, "Ringing", "");

/// The reason for which the call failed, None where it was verified, and the text.
fn ended(gate: &TestGate) -> (Option<FailureReason>, String) {
    let (_, text) = gate.ends(id(1));
    (gate.snapshot(id(1)).failure.map(|failure| failure.reason()), text)
}

/// A call that is answered, and in which keys count: an attack on its signalling, and how it ended.
fn attacked(
    handset: &Handset,
    callee: Callee,
    trunk: Value,
    attack: impl FnOnce(&Dialog, SocketAddr),
) -> (Option<FailureReason>, String) {
    let gate = gate(trunk);
    gate.initiate(id(1), NUMBER);
    let gate_audio = handset.hear_prompt().from;
    attack(&Dialog::of(&callee), gate_audio);
    let ended = ended(&gate);
    gate.end();
    ended
}

/// Whole trains of packets to 100 pairs of ports, from the address of the audio and from another one, before the callee
/// has sent anything and after.
#[test]
fn key_events_sprayed_over_every_port_never_approve() {
    const PAIRS: u16 = 100;
    for (from, speaks) in [("127.0.0.1", false), ("127.0.0.1", true), ("127.0.0.2", false), ("127.0.0.2", true)] {
        let handset = Handset::on("127.0.0.1");
        let callee = handset.callee("0 101");
        let first = free_ports(2 * PAIRS);
        let mut trunk = callee.trunk();
        trunk["rtp_ports"] = json!({ "first": first, "last": first + 2 * PAIRS - 1 });
        let (reason, text) = attacked(&handset, callee, trunk, |_, to| {
            if speaks {
                handset.send(to, 0, 160, &[0xff; 160]);
                handset.wait(Duration::from_millis(100));
            }
            let attacker = Handset::on(from);
            for port in (first..first + 2 * PAIRS).step_by(2) {
                attacker.press(SocketAddr::new(to.ip(), port), '#');
            }
        });
        assert_eq!(reason, Some(FailureReason::NoKeyPressed), "from {from}, speaks: {speaks}: {text}");
    }
}

#[test]
fn a_single_event_packet_never_approves() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |_, to| {
        handset.send(to, EVENTS, handset.next_event(), &event('#', true, 1280));
    });
    assert_eq!(reason, Some(FailureReason::NoKeyPressed), "{text}");
}

/// From the very address and port of the audio: another stream than the audio's is not the callee's.
#[test]
fn events_of_another_stream_than_the_audio_never_approve() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |_, to| {
        handset.send(to, 0, 160, &[0xff; 160]);
        handset.press_in(78, to, '#');
        // Audio of that stream does not make it the callee's either.
        handset.send_in(78, to, 0, 320, &[0xff; 160]);
        handset.press_in(78, to, '#');
    });
    assert_eq!(reason, Some(FailureReason::NoKeyPressed), "{text}");
}

#[test]
fn a_stray_packet_before_the_first_audio_takes_nothing() {
    let handset = Handset::on("127.0.0.1");
    let callee = handset.callee("0 101");
    let trunk = callee.trunk();
    let (reason, text) = attacked(&handset, callee, trunk, |_, to| {
        Handset::on("127.0.0.1").send(to, 0, 160, &[0xff; 160]);
        handset.wait(Duration::from_millis(100));
        handset.press(to, '#');
    });
    assert_eq!(reason, None, "{text}");
}

/// From the trunk itself: where key events were agreed on, a key in the signalling is not the callee's.
#[test]
fn an_info_never_approves_where_key_events_were_agreed_on() {
    let info = Step::Info("application/dtmf-relay", "Signal=#\r\n");
    let callee = Callee::start(&[Step::Invite, RINGS, Step::PickUp, UNTIL_ASKED, info, Step::Receive("BYE")], 1);
    let gate = gate(callee.trunk());
    assert_eq!(ending(&gate).map(|(reason, _)| reason), Some(FailureReason::NoKeyPressed));
    gate.end();
    callee.finish();
}
