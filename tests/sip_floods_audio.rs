//! Floods of audio and telephone events at every port, as fast as possible: they never approve a call, and do not stop
//! the callee's own key.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use phonegate::call::FailureReason;
use phonegate_media::rtp::RtpHeader;
use serde_json::json;
use support::handset::{EVENTS, Handset, SSRC, event};
use support::ports::free_ports;
use support::service::{Ending, Service};
use support::sip::{NUMBER, config};
use support::trunk::Trunk;

/// Pairs of ports that are sprayed. The call uses one of them.
const PAIRS: u16 = 100;

/// Packets a second that a flood must reach.
const MIN_RATE: u64 = 25_000;

/// Packets a second that are sent if the machine allows it.
const RATE: u64 = 30_000;

/// Sprays audio in sequence and whole trains of key events over the ports, in the callee's stream and in one of the
/// attacker's own. Fails if the machine was too slow for it.
fn spray(from: &str, first: u16, is_over: &AtomicBool) {
    let (audio, keys, foreign) = (Handset::on(from), Handset::on(from), Handset::on(from));
    let (start, mut sent) = (Instant::now(), 0u64);
    let mut timestamp = 0u32;
    while !is_over.load(Ordering::Relaxed) {
        timestamp = timestamp.wrapping_add(160);
        for port in (first..first + 2 * PAIRS).step_by(2) {
            let to = SocketAddr::from(([127, 0, 0, 1], port));
            audio.send(to, 0, timestamp, &[0xff; 160]);
            // Eleven packets, of which the last three have the end bit.
            let is_end = timestamp / 160 % 11 > 7;
            let train = timestamp / 1_760 * 8_000;
            keys.send(to, EVENTS, train, &event('#', is_end, 1_280));
            foreign.send_in(SSRC + 1, to, EVENTS, train, &event('#', is_end, 1_280));
            sent += 3;
        }
        let due = Duration::from_micros(sent * 1_000_000 / RATE);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    let rate = (sent as f64 / start.elapsed().as_secs_f64()) as u64;
    println!("{rate} packets a second from {from}");
    assert!(rate >= MIN_RATE, "this machine is too busy for {MIN_RATE} packets a second: {rate}");
}

/// A call during such a flood. Before its end, `asked` happens.
fn sprayed(from: &str, asked: impl FnOnce(&Handset, SocketAddr)) -> Ending {
    let (trunk, handset) = (Trunk::over("udp"), Handset::on("127.0.0.1"));
    let first = free_ports(2 * PAIRS);
    let mut settings = trunk.settings();
    settings["rtp_ports"] = json!({ "first": first, "last": first + 2 * PAIRS - 1 });
    let service = Service::start(config(settings, 60));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // From before the call has a port until its end.
        let spraying = scope.spawn(|| spray(from, first, &is_over));
        let id = service.initiate(NUMBER);
        trunk.rings(NUMBER).pick_up(&handset);
        asked(&handset, handset.hear_prompt().from);
        let ending = service.ends(&id);
        is_over.store(true, Ordering::Relaxed);
        spraying.join().unwrap();
        ending
    })
}

/// Another port of the callee's own address, and another address.
const ATTACKERS: [&str; 2] = ["127.0.0.1", "127.0.0.66"];

#[test]
fn sprayed_keys_never_approve_long() {
    for from in ATTACKERS {
        for speaks in [false, true] {
            let ending = sprayed(from, |handset, audio| {
                if speaks {
                    handset.talk(audio, 50);
                }
            });
            let reason = ending.as_ref().map(|(reason, _)| *reason);
            assert_eq!(reason, Some(FailureReason::NoKeyPressed), "from {from}, {speaks}: {ending:?}");
        }
    }
}

#[test]
fn the_callees_own_key_counts_in_a_spray_long() {
    for from in ATTACKERS {
        let ending = sprayed(from, |handset, audio| {
            handset.talk(audio, 10);
            handset.press(audio, '#');
        });
        assert_eq!(ending, None, "from {from}");
    }
}

/// Packets of 8 KB a second, from the port of the callee's own audio.
const LARGE_RATE: u32 = 12_000;

#[test]
fn the_callees_own_key_counts_in_a_flood_from_its_port_long() {
    let (trunk, handset) = (Trunk::over("udp"), Handset::on("127.0.0.1"));
    let service = Service::start(config(trunk.settings(), 60));
    let id = service.initiate(NUMBER);
    trunk.rings(NUMBER).pick_up(&handset);
    let to = handset.hear_prompt().from;
    let (is_over, began, has_begun) = (AtomicBool::new(false), Instant::now(), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let header = RtpHeader { marker: false, payload_type: 0, sequence: 0, timestamp: 0, ssrc: SSRC + 1 };
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                for _ in 0..12 {
                    handset.send_packet(to, &header, &[0xff; 8_180]);
                }
                sent += 12;
                if sent == 600 {
                    has_begun.wait();
                }
                std::thread::sleep((Duration::from_secs(1) * sent / LARGE_RATE).saturating_sub(began.elapsed()));
            }
        });
        has_begun.wait();
        // As a telephone paces it.
        let timestamp = handset.next_event();
        for n in 1..=11u16 {
            handset.send(to, EVENTS, timestamp, &event('#', n > 8, n.min(8) * 160));
            handset.wait(Duration::from_millis(20));
        }
        let ending = service.ends(&id);
        is_over.store(true, Ordering::Relaxed);
        flooding.join().unwrap();
        assert_eq!(ending, None);
    });
}
