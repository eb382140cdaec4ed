//! The callees of a crowd: their signalling, and when they press a digit.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use phonegate_media::rtp::RtpPacket;
use socket2::{Domain, Socket, Type};

use super::audio::{Arrival, AudioSocket, is_silent, key, silence};
use super::message::Message;
use super::{Crowd, Reaction, Seen};

/// The time between two packets of audio.
const PERIOD: Duration = Duration::from_millis(20);

/// The packets of a prompt after which a key is not too early. A second has 50; a busy gate sends up to 200 ms of audio at
/// once, and a press is dated back by its duration.
const UNTIL_ASKED: usize = 75;

/// How long the thread sleeps after it has read packets, so that it reads many at once.
const REST: Duration = Duration::from_millis(1);

/// T1 of SIP: a final response is repeated until it is acknowledged.
const T1: Duration = Duration::from_millis(500);

/// Opens a socket with buffers for the packets of a thousand calls.
pub(super) fn bind() -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 20).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.into()
}

/// The number of a call, in order of arrival.
pub(super) type Id = usize;

pub(super) struct Call {
    reaction: Reaction,
    sip_id: String,
    from: SocketAddr,
    /// The last response to the INVITE.
    response: String,
    /// The response to the INVITE once the caller cancels.
    when_cancelled: Option<String>,
    is_acknowledged: bool,
    /// The address at which the caller receives audio.
    audio: SocketAddr,
    /// Packets from the first one on that was not silence.
    heard_packets: usize,
    /// Sequence number of the next packet.
    sequence: u16,
    timestamp: u32,
    /// Packets of the digit that were sent, and their timestamp.
    pressed: usize,
    pressed_at: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Repeat(Id),
    Press(Id),
    Talk(Id),
}

/// The state of all callees.
pub(super) struct Callees {
    pub(super) crowd: Crowd,
    pub(super) port: u16,
    pub(super) signalling: UdpSocket,
    pub(super) audio: AudioSocket,
    pub(super) calls: HashMap<Id, Call>,
    /// Calls by Call-ID.
    pub(super) ids: HashMap<String, Id>,
    /// Calls by the source of their audio.
    pub(super) sources: HashMap<SocketAddr, Id>,
    pub(super) timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    pub(super) up: Arc<AtomicUsize>,
    pub(super) asked: Arc<AtomicUsize>,
    pub(super) is_press_requested: Arc<AtomicBool>,
    pub(super) seen: Seen,
}

impl Callees {
    /// Waits for something to happen, and handles all that has.
    pub(super) fn turn(&mut self) {
        let next = self.timers.peek().map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        wait([self.signalling.as_raw_fd(), self.audio.as_raw_fd()], next.unwrap_or(PERIOD).min(PERIOD));
        self.read_audio();
        if self.is_press_requested.swap(false, Ordering::Relaxed) {
            let waits = |call: &Call| call.reaction == Reaction::PressesOnCommand;
            let pressing: Vec<_> = self.calls.iter().filter(|(_, call)| waits(call)).map(|(id, _)| *id).collect();
            pressing.into_iter().for_each(|id| self.after(Duration::ZERO, Timer::Press(id)));
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
            Reaction::PressesAfter(_) | Reaction::PressesAtPrompt | Reaction::PressesOnCommand => {
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

    /// Removes the call of a request.
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
