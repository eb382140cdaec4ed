//! Thousands of callees at once, played by one thread: SIP over UDP at one port, and the audio of all calls at another.
//!
//! They use few resources, so that a test or a benchmark can place far more calls than sipp can answer on the same
//! machine. What they expect of the caller is little: `support/sipp.rs` is for stories about the signalling.

mod audio;
mod message;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use audio::Arrival;
use audio::{AudioSocket, is_silent, key, silence};
use message::Message;
use phonegate_media::rtp::RtpPacket;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

/// How a callee reacts to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Rings, and is busy.
    Busy,
    /// Rings until the caller cancels.
    Rings,
    /// Rings, answers, and presses # once, so long after the ACK.
    PressesAfter(Duration),
    /// Rings, answers, and presses # once, when it hears the first packet that is not silence.
    PressesAtPrompt,
    /// Rings, answers, and presses # once, when [`RunningCrowd::press`] is called.
    PressesWhenTold,
}

/// How all of them behave.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// The reaction to a call to this number.
    pub reaction: fn(number: &str) -> Reaction,
    /// Whether they send audio too, 50 packets a second each.
    pub talks: bool,
    /// Whether they record when each packet of audio arrived.
    pub records: bool,
}

/// What they have seen.
#[derive(Default)]
pub struct Seen {
    /// Calls, without repetitions.
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

/// A crowd at work.
pub struct RunningCrowd {
    /// The port of SIP.
    pub port: u16,
    /// Calls that are answered at the moment.
    up: Arc<AtomicUsize>,
    /// Calls that have heard the first second of a prompt.
    asked: Arc<AtomicUsize>,
    is_told: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// The time between two packets of audio.
const PERIOD: Duration = Duration::from_millis(20);

/// The packets of a prompt after which a key is not too early: a little more than a second.
const UNTIL_ASKED: usize = 55;

/// How long the thread rests after packets came, so that it reads many at once.
const REST: Duration = Duration::from_millis(1);

/// T1 of SIP: a final response is repeated until it is acknowledged.
const T1: Duration = Duration::from_millis(500);

impl Crowd {
    /// Starts to listen.
    pub fn start(self) -> RunningCrowd {
        let (signalling, audio) = (bind(), AudioSocket::new(bind()));
        let port = signalling.local_addr().unwrap().port();
        let (up, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (is_over, is_told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut state = State {
            crowd: self,
            port,
            signalling,
            audio,
            calls: HashMap::new(),
            ids: HashMap::new(),
            sources: HashMap::new(),
            timers: BinaryHeap::new(),
            up: Arc::clone(&up),
            asked: Arc::clone(&asked),
            is_told: Arc::clone(&is_told),
            seen: Seen::default(),
        };
        let until = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                state.turn();
            }
            state.seen
        });
        RunningCrowd { port, up, asked, is_told, is_over, thread: Some(thread) }
    }
}

impl RunningCrowd {
    /// The settings of a trunk that ends here.
    pub fn trunk(&self) -> Value {
        json!({ "type": "sip", "trunk": format!("sip:127.0.0.1:{}", self.port) })
    }

    /// The number of calls that are answered and have not ended.
    pub fn up(&self) -> usize {
        self.up.load(Ordering::Relaxed)
    }

    /// The number of calls so far that have heard the first second of a prompt.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Lets those press that wait for it.
    pub fn press(&self) {
        self.is_told.store(true, Ordering::Relaxed);
    }

    /// Stops, and returns what they have seen.
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

/// A socket with room for what a thousand calls send while this thread does not run.
fn bind() -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 20).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.into()
}

/// A call by the order of arrival.
type Id = usize;

struct Call {
    reaction: Reaction,
    sip_id: String,
    from: SocketAddr,
    /// The last response to the INVITE.
    response: String,
    /// The response to the INVITE once the caller cancels.
    when_cancelled: Option<String>,
    is_acknowledged: bool,
    /// Where the caller wants its audio.
    audio: SocketAddr,
    /// Packets from the first one on that was not silence.
    heard_packets: usize,
    /// Those of the next packet that is sent.
    sequence: u16,
    timestamp: u32,
    /// The packets of the key that were sent, and their time stamp.
    pressed: usize,
    pressed_at: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Repeat(Id),
    Press(Id),
    Talk(Id),
}

struct State {
    crowd: Crowd,
    port: u16,
    signalling: UdpSocket,
    audio: AudioSocket,
    calls: HashMap<Id, Call>,
    /// By Call-ID.
    ids: HashMap<String, Id>,
    /// By where its audio comes from.
    sources: HashMap<SocketAddr, Id>,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    up: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    is_told: Arc<AtomicBool>,
    seen: Seen,
}

impl State {
    /// Waits for something to happen, and handles all that has.
    fn turn(&mut self) {
        let next = self.timers.peek().map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        wait([self.signalling.as_raw_fd(), self.audio.as_raw_fd()], next.unwrap_or(PERIOD).min(PERIOD));
        self.read_audio();
        if self.is_told.swap(false, Ordering::Relaxed) {
            let waits = |call: &Call| call.reaction == Reaction::PressesWhenTold;
            let told: Vec<_> = self.calls.iter().filter(|(_, call)| waits(call)).map(|(id, _)| *id).collect();
            told.into_iter().for_each(|id| self.after(Duration::ZERO, Timer::Press(id)));
        }
        let mut buffer = [0; 8192];
        while let Ok((length, from)) = self.signalling.recv_from(&mut buffer) {
            if let Ok(text) = std::str::from_utf8(&buffer[..length]) {
                self.on_message(&Message { text, from });
            }
        }
        while let Some(Reverse((at, timer))) = self.timers.peek().copied()
            && at <= Instant::now()
        {
            self.timers.pop();
            self.on_timer(at, timer);
        }
        std::thread::sleep(REST);
    }

    fn read_audio(&mut self) {
        let mut asked = Vec::new();
        let Self { audio, calls, sources, seen, crowd, asked: all_asked, .. } = self;
        audio.read(|from, RtpPacket { header, payload }, at| {
            let arrival = Arrival { sequence: header.sequence, at };
            seen.packets += 1;
            if crowd.records {
                seen.arrivals.entry((from, header.ssrc)).or_default().push(arrival);
            }
            let Some((id, call)) = sources.get(&from).and_then(|id| Some((*id, calls.get_mut(id)?))) else { return };
            if call.heard_packets == 0 && is_silent(payload) {
                return;
            }
            call.heard_packets += 1;
            if call.heard_packets == UNTIL_ASKED {
                all_asked.fetch_add(1, Ordering::Relaxed);
                if call.reaction == Reaction::PressesAtPrompt {
                    asked.push(id);
                }
            }
        });
        for id in asked {
            self.after(Duration::ZERO, Timer::Press(id));
        }
    }

    fn on_message(&mut self, message: &Message<'_>) {
        match message.method() {
            "INVITE" => self.on_invite(message),
            "ACK" => self.on_ack(message),
            "CANCEL" => {
                self.send(message.respond("200 OK", "", ""), message.from);
                self.on_cancel(message);
            }
            "BYE" => {
                self.send(message.respond("200 OK", "", ""), message.from);
                if self.end(message).is_some() {
                    self.up.fetch_sub(1, Ordering::Relaxed);
                    self.seen.hung_up += 1;
                }
            }
            "OPTIONS" => self.send(message.respond("200 OK", "", ""), message.from),
            _ => {}
        }
    }

    fn on_invite(&mut self, invite: &Message<'_>) {
        let sip_id = invite.header("Call-ID");
        if let Some(call) = self.ids.get(sip_id).and_then(|id| self.calls.get(id)) {
            self.send(call.response.clone(), call.from);
            return;
        }
        let Some(audio) = invite.audio() else { return };
        let id = self.seen.calls;
        self.seen.calls += 1;
        let tag = format!("callee{id}");
        let contact = format!("Contact: <sip:callee@127.0.0.1:{}>\r\n", self.port);
        let ringing = invite.respond_as("180 Ringing", &tag, &contact, "");
        self.send(ringing.clone(), invite.from);
        let reaction = (self.crowd.reaction)(invite.number());
        let response = match reaction {
            Reaction::Busy => invite.respond_as("486 Busy Here", &tag, "", ""),
            Reaction::Rings => ringing,
            Reaction::PressesAfter(_) | Reaction::PressesAtPrompt | Reaction::PressesWhenTold => {
                invite.respond_as("200 OK", &tag, &contact, &self.audio.description())
            }
        };
        if reaction != Reaction::Rings {
            self.send(response.clone(), invite.from);
            self.after(T1, Timer::Repeat(id));
        }
        self.ids.insert(sip_id.to_owned(), id);
        self.sources.insert(audio, id);
        let call = Call {
            reaction,
            sip_id: sip_id.to_owned(),
            from: invite.from,
            response,
            when_cancelled: (reaction == Reaction::Rings)
                .then(|| invite.respond_as("487 Request Terminated", &tag, "", "")),
            is_acknowledged: false,
            audio,
            heard_packets: 0,
            sequence: 1,
            timestamp: 0,
            pressed: 0,
            pressed_at: 0,
        };
        self.calls.insert(id, call);
    }

    fn on_ack(&mut self, ack: &Message<'_>) {
        let Some(id) = self.ids.get(ack.header("Call-ID")).copied() else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        if std::mem::replace(&mut call.is_acknowledged, true) {
            return;
        }
        match call.reaction {
            Reaction::Busy | Reaction::Rings => drop(self.end(ack)),
            reaction => {
                self.up.fetch_add(1, Ordering::Relaxed);
                if let Reaction::PressesAfter(time) = reaction {
                    self.after(time, Timer::Press(id));
                }
                if self.crowd.talks {
                    // Not all at once.
                    self.after(PERIOD.mul_f64(fastrand::f64()), Timer::Talk(id));
                }
            }
        }
    }

    fn on_cancel(&mut self, cancel: &Message<'_>) {
        let Some(id) = self.ids.get(cancel.header("Call-ID")).copied() else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(response) = call.when_cancelled.take() else { return };
        call.response.clone_from(&response);
        let from = call.from;
        self.seen.cancelled += 1;
        self.send(response, from);
        self.after(T1, Timer::Repeat(id));
    }

    /// Forgets the call of a request.
    fn end(&mut self, request: &Message<'_>) -> Option<()> {
        let id = self.ids.remove(request.header("Call-ID"))?;
        let call = self.calls.remove(&id)?;
        self.sources.remove(&call.audio);
        Some(())
    }

    fn after(&mut self, time: Duration, timer: Timer) {
        self.timers.push(Reverse((Instant::now() + time, timer)));
    }

    fn on_timer(&mut self, at: Instant, timer: Timer) {
        let (Timer::Repeat(id) | Timer::Press(id) | Timer::Talk(id)) = timer;
        let Some(call) = self.calls.get_mut(&id) else { return };
        match timer {
            Timer::Repeat(_) if call.is_acknowledged => {}
            Timer::Repeat(_) => {
                let (response, from) = (call.response.clone(), call.from);
                self.send(response, from);
                self.after(T1, timer);
            }
            Timer::Talk(_) | Timer::Press(_) => {
                // Audio and the key are one stream.
                let ssrc = id as u32;
                let packet = if matches!(timer, Timer::Press(_)) {
                    if call.pressed == 0 {
                        call.pressed_at = call.timestamp;
                    }
                    call.pressed += 1;
                    let Some(packet) = key(call.sequence, call.pressed_at, ssrc, call.pressed) else { return };
                    packet
                } else {
                    call.timestamp += 160;
                    silence(call.sequence, call.timestamp, ssrc)
                };
                call.sequence = call.sequence.wrapping_add(1);
                // What cannot be sent is lost.
                self.audio.send(&packet, call.audio);
                self.timers.push(Reverse((at + PERIOD, timer)));
            }
        }
    }

    fn send(&self, response: String, to: SocketAddr) {
        // What cannot be sent is lost.
        let _ = self.signalling.send_to(response.as_bytes(), to);
    }
}

/// Waits until one of these sockets can be read, but not longer than `limit`.
fn wait(sockets: [i32; 2], limit: Duration) {
    let mut sockets = sockets.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: two places for the answer, which outlive the call.
    unsafe { libc::poll(sockets.as_mut_ptr(), 2, limit.as_millis() as i32) };
}
