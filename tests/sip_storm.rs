//! Calls under stress: lost packets, garbage at every open port, and many concurrent calls.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use phonegate::call::CallStatus;
use phonegate::registry::Registry;
use serde_json::json;
use support::gate::{TestGate, id};
use support::ports::{free_port, free_ports};
use support::process::Held;
use support::sip::{config, ending};
use support::sipp::{Callee, SDP_WITHOUT_EVENTS, Step, UNTIL_ASKED};

const RINGS: Step = Step::Answer(180, "Ringing", "");

fn answers(then: &[Step]) -> Vec<Step> {
    let start = [Step::Invite, RINGS, Step::PickUp];
    start.into_iter().chain(then.iter().cloned()).chain([Step::Receive("BYE")]).collect()
}

fn number(n: u128) -> String {
    format!("+1 425555{:04}", 1000 + n)
}

/// A relay that loses packets between PhoneGate and a trunk: of each five in each direction, these.
struct LossyRelay {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl LossyRelay {
    fn to(port: u16, lost: &'static [u32]) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
        for socket in [&inside, &outside] {
            socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        }
        let (address, ended) = (inside.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&ended);
        std::thread::spawn(move || {
            let (mut buffer, mut gate, mut counts) = ([0; 65_536], None, [0u32; 2]);
            let mut passes = |direction: usize| {
                counts[direction] += 1;
                !lost.contains(&(counts[direction] % 5))
            };
            while !until.load(Ordering::Relaxed) {
                if let Ok((length, from)) = inside.recv_from(&mut buffer) {
                    gate = Some(from);
                    if passes(0) {
                        outside.send_to(&buffer[..length], ("127.0.0.1", port)).unwrap();
                    }
                }
                if let (Ok((length, _)), Some(gate)) = (outside.recv_from(&mut buffer), gate)
                    && passes(1)
                {
                    inside.send_to(&buffer[..length], gate).unwrap();
                }
            }
        });
        Self { address, ended }
    }
}

impl Drop for LossyRelay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_call_survives_the_loss_of_signalling_packets() {
    for lost in [&[1][..], &[2], &[3], &[1, 3]] {
        let callee = Callee::start(&answers(&[UNTIL_ASKED, Step::Press("#")]), 1);
        let relay = LossyRelay::to(callee.port, lost);
        let gate = TestGate::start(config(json!({ "type": "sip", "trunk": format!("sip:{}", relay.address) }), 60));
        let ended = ending(&gate);
        gate.end();
        assert_eq!(ended, None, "lost: {lost:?}: {}", callee.messages());
    }
}

/// Texts that are inserted into mutated messages.
const WORDS: [&str; 12] = [
    "\r\n",
    "\r\n\r\n",
    ":",
    ";",
    "<sip:",
    "@",
    "\0",
    "CSeq: 99999999999 INVITE",
    "Content-Length: -1",
    "Via: SIP/2.0/UDP",
    "SIP/2.0 200 OK",
    "\u{ff}\u{fe}",
];

/// A message with some bytes changed, removed or inserted.
fn mutated(message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for _ in 0..fastrand::usize(1..6) {
        let at = fastrand::usize(..bytes.len().max(1)).min(bytes.len());
        match fastrand::u8(..4) {
            0 if at < bytes.len() => bytes[at] = fastrand::u8(..),
            1 => drop(bytes.splice(at..at, WORDS[fastrand::usize(..WORDS.len())].bytes())),
            2 => bytes.truncate(at),
            _ => drop(bytes.drain(at..(at + fastrand::usize(..20)).min(bytes.len()))),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

#[test]
fn garbage_at_every_port_never_verifies_and_ends_no_call() {
    let calls = 8;
    let (sip, rtp) = (free_port(), free_ports(2 * calls as u16));
    let callee = Callee::start(&answers(&[Step::Wait(4000), Step::Press("#")]), calls);
    let mut trunk = callee.trunk();
    trunk["local_port"] = json!(sip);
    trunk["rtp_ports"] = json!({ "first": rtp, "last": rtp + 2 * calls as u16 - 1 });
    let mut config = config(trunk, 60);
    config["prompts"]["repeat"] = json!(5);
    let gate = TestGate::start(config);
    for n in 1..=calls.into() {
        gate.initiate(id(n), &number(n));
    }
    support::wait_until("all are answered", || {
        gate.log().iter().filter(|line| line["event"] == "answered").count() == calls as usize
    });
    let messages = [
        "BYE sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 40\r\n\r\nv=0\r\nm=audio 1 RTP/AVP 0\r\nc=IN IP4 1.2.3.4",
        "INVITE sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKy\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: 2\r\nCSeq: 1 INVITE\r\nContact: <sip:a@b>\r\nContent-Length: 0\r\n\r\n",
        "INFO sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKz\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=3\r\nCall-ID: 3\r\nCSeq: 1 INFO\r\nContent-Type: application/dtmf-relay\r\nContent-Length: 10\r\n\r\nSignal=#\r\n",
    ];
    let key = [0x80, 101, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 11, 0x8a, 5, 0];
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    for n in 0..20_000u32 {
        let message = mutated(messages[n as usize % messages.len()].as_bytes());
        socket.send_to(&message, ("127.0.0.1", sip)).unwrap();
        let packet = if n % 2 == 0 { key.to_vec() } else { mutated(&key) };
        socket.send_to(&packet, ("127.0.0.1", rtp + (n % (2 * calls)) as u16)).unwrap();
    }
    for n in 1..=calls.into() {
        assert_eq!(gate.ends(id(n)), (CallStatus::Success, String::new()), "call {n}");
    }
    // The gate's end waits for the log.
    gate.end();
    let verified =
        gate.log().iter().filter(|line| line["event"] == "verified").map(|line| line["ms"].as_u64().unwrap()).min();
    assert!(verified.unwrap() >= 4000, "by the callee's own key, which it presses after four seconds");
    callee.finish();
}

#[test]
fn three_hundred_concurrent_calls_verify_by_their_own_key() {
    let calls = 300;
    let callee = Callee::start(&answers(&[Step::Wait(3000), Step::Press("#")]), calls);
    let gate = TestGate::start(config(callee.trunk(), 60));
    for n in 1..=calls.into() {
        assert_eq!(gate.initiate(id(n), &number(n)), CallStatus::Pending);
    }
    for n in 1..=calls.into() {
        assert_eq!(gate.ends(id(n)), (CallStatus::Success, String::new()), "call {n}");
    }
    gate.end();
    callee.finish();
}

/// Half of them are refused, and half verified. What is kept of each for 64*T1 (32 s), so that what is repeated late is
/// answered (RFC 3261, 17.2), is given back: the second half needs no more memory than the first.
#[test]
fn ten_thousand_calls_leave_nothing_behind_long() {
    const ROUND: u128 = 250;
    const ROUNDS: u128 = 20;
    let refusing = Callee::start(&[Step::Invite, Step::Answer(486, "Busy Here", ""), Step::Ack], 5_000);
    let pressing = [UNTIL_ASKED, Step::Info("application/dtmf-relay", "Signal=#\r\n")];
    let mut steps = answers(&pressing);
    steps[2] = Step::PickUpWith(SDP_WITHOUT_EVENTS.to_owned());
    let answering = Callee::start(&steps, 5_000);
    let registry = Arc::new(Registry::new(Duration::from_secs(1)));
    let start = |callee: &Callee| TestGate::start_with(config(callee.trunk(), 60), Arc::clone(&registry));
    let (busy, good) = (start(&refusing), start(&answering));
    let half = |half: u128| {
        for round in half * ROUNDS..(half + 1) * ROUNDS {
            let (gate, expected) =
                if round % 2 == 0 { (&busy, CallStatus::Failed) } else { (&good, CallStatus::Success) };
            let ids = || (1..=ROUND).map(|n| id(round * ROUND + n));
            for (n, id) in (1..).zip(ids()) {
                gate.initiate(id, &number(n));
            }
            for id in ids() {
                support::wait_until("it ends", || gate.status(id) != CallStatus::Pending);
                assert_eq!(gate.status(id), expected, "round {round}: {:?}", gate.snapshot(id));
            }
        }
        std::thread::sleep(Duration::from_secs(40));
        Held::now()
    };
    let (first, mut second) = (half(0), half(1));
    println!("{first:?}, then {second:?}");
    // On a busy machine the last ones may take longer than these 40 s. This comes before `finish`, which reads sipp's log
    // of all messages into memory.
    support::wait_until("the second half needs no more than the first", || {
        let needs_more = second.memory.saturating_sub(first.memory) >= 16_000_000 || second.files > first.files;
        second = Held::now();
        !needs_more
    });
    refusing.finish();
    answering.finish();
}
