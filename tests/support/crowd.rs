//! Thousands of concurrent callees, played by one thread: SIP over UDP at one port, and the audio of all calls at another.
//!
//! They use few resources, so that a test or a benchmark can place far more calls than sipp can accept on the same
//! machine. They check little of the signalling: tests of that use `support/sipp.rs`.

mod audio;
mod callees;
mod message;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub use audio::Arrival;
use audio::AudioSocket;
use callees::{Callees, bind};
use serde_json::{Value, json};

/// How a callee reacts to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Rings, and is busy.
    Busy,
    /// Rings until the caller cancels.
    Rings,
    /// Rings, answers, and presses # once, this long after the ACK.
    PressesAfter(Duration),
    /// Rings, answers, and presses # once, when it hears the first packet that is not silence.
    PressesAtPrompt,
    /// Rings, answers, and presses # once, when [`RunningCrowd::press`] is called.
    PressesOnCommand,
}

/// How all callees behave.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// The reaction to a call to this number.
    pub reaction: fn(number: &str) -> Reaction,
    /// Whether they send audio too, 50 packets a second each.
    pub talks: bool,
    /// Whether they record when each packet of audio arrived.
    pub records: bool,
}

/// The counts of what the callees have received.
#[derive(Default)]
pub struct Seen {
    /// Calls, without retransmitted INVITEs.
    pub calls: usize,
    /// Calls that ended by the caller's BYE.
    pub hung_up: usize,
    /// Calls that the caller cancelled.
    pub cancelled: usize,
    /// Packets of audio.
    pub packets: usize,
    /// The recorded packets of each stream, by source and SSRC.
    pub arrivals: HashMap<(SocketAddr, u32), Vec<Arrival>>,
}

/// A running crowd.
pub struct RunningCrowd {
    /// The port of SIP.
    pub port: u16,
    /// Established calls.
    up: Arc<AtomicUsize>,
    /// Calls that have heard the first second of a prompt.
    asked: Arc<AtomicUsize>,
    is_press_requested: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

impl Crowd {
    /// Starts the callees.
    pub fn start(self) -> RunningCrowd {
        let (signalling, audio) = (bind(), AudioSocket::new(bind()));
        let port = signalling.local_addr().unwrap().port();
        let (up, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (is_over, is_press_requested) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut callees = Callees {
            crowd: self,
            port,
            signalling,
            audio,
            calls: HashMap::new(),
            ids: HashMap::new(),
            sources: HashMap::new(),
            timers: Default::default(),
            up: Arc::clone(&up),
            asked: Arc::clone(&asked),
            is_press_requested: Arc::clone(&is_press_requested),
            seen: Seen::default(),
        };
        let until = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                callees.turn();
            }
            callees.seen
        });
        RunningCrowd { port, up, asked, is_press_requested, is_over, thread: Some(thread) }
    }
}

impl RunningCrowd {
    /// Returns the settings of a trunk to this crowd.
    pub fn trunk(&self) -> Value {
        json!({ "type": "sip", "trunk": format!("sip:127.0.0.1:{}", self.port) })
    }

    /// Returns the number of established calls.
    pub fn up(&self) -> usize {
        self.up.load(Ordering::Relaxed)
    }

    /// Returns the number of calls so far that have heard the first second of a prompt.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Makes the callees with [`Reaction::PressesOnCommand`] press.
    pub fn press(&self) {
        self.is_press_requested.store(true, Ordering::Relaxed);
    }

    /// Stops the crowd, and returns what it has received.
    pub fn finish(mut self) -> Seen {
        self.stop().expect("it runs")
    }

    fn stop(&mut self) -> Option<Seen> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map(|thread| thread.join().unwrap())
    }
}

impl Drop for RunningCrowd {
    fn drop(&mut self) {
        self.stop();
    }
}
