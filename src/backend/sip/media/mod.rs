//! The audio of one call: what is said, and the keys that come back.
//!
//! A task for each call sends a packet every 20 ms by an absolute schedule, so that it does not drift, and reads what
//! arrives. A key counts only if its packets come from the address and port that the other side named (or from a
//! learned port, if that is configured), belong to the stream of the audio, have the payload type that we offered and,
//! if encryption was negotiated, are authentic. Everything else is dropped and counted.

mod keys;
mod playout;
mod ports;
mod receiver;
mod rtcp;
mod sdp;
mod sender;
mod srtp;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

#[cfg(test)]
pub(super) use keys::UNCLEAR_KEY;
pub(super) use ports::Ports;
pub(super) use receiver::Dropped;
pub(super) use sdp::SdpError;

use crate::config::MediaEncryption;
use crate::prompts::Recording;
use receiver::Receiver;
use sdp::{KEY_EVENTS, Kind, Local, Remote};
use sender::Sender;
use srtp::{Keying, Srtp};

/// The time between two packets.
const TICK: Duration = Duration::from_millis(20);

/// After a stall of the machine (a sleep, a move to another host) what was not sent is not made up for.
const STALL: Duration = Duration::from_millis(200);

/// Ticks between two reports on average: 5 s (RFC 3550, section 6.2).
const REPORT_TICKS: u32 = 250;

/// The longest packet that is read, in bytes.
const MAX_PACKET: usize = 2048;

/// The most keys that wait to be read.
const MAX_KEYS: usize = 64;

/// The audio of one call. Dropped, it is silent, and its ports are free.
pub(super) struct Media {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// Where the keys of a call arrive.
pub(super) type Keys = mpsc::Receiver<char>;

struct Shared {
    address: IpAddr,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Free once the sockets above are closed.
    ports: ports::Pair,
    encryption: MediaEncryption,
    session: u64,
    state: Mutex<State>,
}

struct State {
    version: u64,
    keying: Keying,
    /// None before the answer: nothing is said or heard until then.
    remote: Option<Remote>,
    srtp: Option<Srtp>,
    sender: Sender,
    receiver: Receiver,
}

impl Media {
    /// Takes a pair of ports for a call from `address`. With `learns_port`, the other side may send from another port
    /// than it names: the port of its first packet.
    ///
    /// # Errors
    /// Where all are in use.
    pub(super) fn open(
        address: IpAddr,
        ports: &Arc<Ports>,
        encryption: MediaEncryption,
        learns_port: bool,
    ) -> Result<(Self, Keys), String> {
        let (ports, rtp, rtcp) = ports.take(address)?;
        let keying = new_keying()?;
        let state = State {
            version: 0,
            keying,
            remote: None,
            srtp: None,
            sender: Sender::new(),
            receiver: Receiver::new(learns_port),
        };
        let session = fastrand::u64(..i64::MAX as u64);
        let shared = Arc::new(Shared { address, rtp, rtcp, ports, encryption, session, state: Mutex::new(state) });
        let (sender, keys) = mpsc::channel(MAX_KEYS);
        let task = tokio::spawn(Arc::clone(&shared).run(sender));
        Ok((Self { shared, task }, keys))
    }

    /// The description for our INVITE, and for one of the other side that wants an offer.
    pub(super) fn offer(&self) -> String {
        self.shared.local(&mut self.shared.state.lock()).offer()
    }

    /// Takes the answer to our offer. From the first one on it is spoken and heard; a later one may also hold.
    ///
    /// # Errors
    /// Why the call cannot go on, or, for a later one, why the session goes on as it was.
    pub(super) fn accept_answer(&self, sdp: &[u8]) -> Result<(), SdpError> {
        let remote = sdp::read(sdp, Kind::Answer, self.shared.address, self.shared.encryption)?;
        let mut state = self.shared.state.lock();
        if state.remote.is_none() {
            sdp::is_two_way(&remote)?;
        }
        let suites = (state.srtp.as_ref().map(Srtp::suite), remote.crypto.as_ref().map(|line| line.suite));
        if matches!(suites, (Some(before), Some(now)) if before != now) {
            return Err(SdpError::Encryption);
        }
        // We offered one payload type, whichever the other side uses for its own.
        let key_events = remote.key_events.and(Some(KEY_EVENTS));
        state.agree(remote, key_events)
    }

    /// Takes an offer within the call (hold, another address or codec), and answers it.
    ///
    /// # Errors
    /// Why it is refused; the session goes on as it was.
    pub(super) fn answer_offer(&self, sdp: &[u8]) -> Result<String, SdpError> {
        let remote = sdp::read(sdp, Kind::Offer, self.shared.address, self.shared.encryption)?;
        let mut state = self.shared.state.lock();
        if state.remote.is_none() {
            return Err(SdpError::TooEarly);
        }
        let suite = state.srtp.as_ref().map(Srtp::suite);
        if remote.crypto.as_ref().is_some_and(|theirs| Some(theirs.suite) != suite) {
            // A key must not begin again: what it encrypts would not be secret.
            state.keying = new_keying().map_err(|_| SdpError::Encryption)?;
        }
        state.agree(remote.clone(), remote.key_events)?;
        Ok(self.shared.local(&mut state).answer(&remote))
    }

    /// From now on keys count, if they are not being pressed already.
    pub(super) fn listen(&self) {
        self.shared.state.lock().receiver.listen();
    }

    /// Says a recording. The receiver hears when it was said to its end.
    pub(super) fn say(&self, recording: Recording) -> oneshot::Receiver<()> {
        self.shared.state.lock().sender.playout.say(recording)
    }

    /// Presses keys at the other side. None where it takes none.
    pub(super) fn press(&self, keys: &str) -> Option<oneshot::Receiver<()>> {
        let mut state = self.shared.state.lock();
        state.remote.as_ref()?.key_events?;
        Some(state.sender.playout.press(keys))
    }

    /// Says no more of what it was told to.
    pub(super) fn be_silent(&self) {
        self.shared.state.lock().sender.playout.stop();
    }

    /// Returns whether keys come as events in the audio.
    pub(super) fn has_key_events(&self) -> bool {
        self.shared.state.lock().receiver.key_events.is_some()
    }

    /// How many packets were dropped, since they were not from the other side or not as negotiated.
    pub(super) fn dropped(&self) -> Dropped {
        self.shared.state.lock().receiver.dropped
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.report(true);
    }
}

impl Shared {
    /// What the next description says of us.
    fn local<'a>(&self, state: &'a mut State) -> Local<'a> {
        state.version += 1;
        Local {
            address: self.address,
            port: self.ports.rtp(),
            session: self.session,
            version: state.version,
            encryption: self.encryption,
            keying: &state.keying,
        }
    }

    /// Sends a report, with a goodbye where it is the last one.
    fn report(&self, last: bool) {
        let report = self.state.lock().report(last);
        if let Some((report, to)) = report {
            // As with every packet: what cannot be sent is lost.
            let _ = self.rtcp.try_send_to(&report, to);
        }
    }

    /// A task for each call, and not a ticker for all: with 300 calls at once neither packets nor CPU told them apart.
    async fn run(self: Arc<Self>, keys: mpsc::Sender<char>) {
        // The first tick is somewhere within a period, so that many calls do not send all at once.
        let start = Instant::now() + Duration::from_micros(fastrand::u64(..20_000));
        let mut ticks = tokio::time::interval_at(start, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        // A random part of the usual time, so that reports of many calls do not coincide (RFC 3550, section 6.3.1).
        let until_next = || REPORT_TICKS / 2 + fastrand::u32(..REPORT_TICKS);
        let mut until_report = until_next() / 2;
        let (mut buffer, mut aside) = ([0; MAX_PACKET], [0; MAX_PACKET]);
        loop {
            tokio::select! {
                due = ticks.tick() => {
                    let packet = self.state.lock().next_packet(due.elapsed() > STALL);
                    if let Some((packet, to)) = packet {
                        // A packet that cannot be sent is a lost one.
                        let _ = self.rtp.try_send_to(&packet, to);
                    }
                    until_report -= 1;
                    if until_report == 0 {
                        until_report = until_next();
                        self.report(false);
                    }
                }
                received = self.rtp.recv_from(&mut buffer) => {
                    // On Windows an error tells of an earlier packet that nobody took (WSAECONNRESET).
                    let Ok((length, from)) = received else { continue };
                    let key = self.state.lock().on_packet(buffer.get(..length).unwrap_or_default(), from);
                    if let Some(key) = key {
                        // Who presses more keys than are read has none that counts.
                        let _ = keys.try_send(key);
                    }
                }
                // Read, so that the socket does not fill up; nothing in it changes what we do.
                _ = self.rtcp.recv_from(&mut aside) => {}
            }
        }
    }
}

impl State {
    fn agree(&mut self, remote: Remote, key_events: Option<u8>) -> Result<(), SdpError> {
        match (&mut self.srtp, &remote.crypto) {
            (_, Some(theirs)) if self.keying.is_echoed_by(theirs) => return Err(SdpError::Encryption),
            (Some(srtp), Some(theirs)) if srtp.suite() == theirs.suite => srtp.go_on(theirs),
            (srtp, Some(theirs)) => *srtp = Some(Srtp::new(&self.keying, theirs).ok_or(SdpError::Encryption)?),
            (srtp, None) => *srtp = None,
        }
        if self.remote.as_ref().is_some_and(|before| before.rtp != remote.rtp) {
            self.receiver.expect_another_source();
        }
        self.receiver.key_events = key_events;
        self.remote = Some(remote);
        Ok(())
    }

    /// The packet of this tick, and where it goes.
    fn next_packet(&mut self, stalled: bool) -> Option<(Vec<u8>, SocketAddr)> {
        let remote = self.remote.as_ref()?;
        if stalled {
            self.sender.pause();
            return None;
        }
        let packet = self.sender.next_packet(remote)?;
        let packet = match &mut self.srtp {
            Some(srtp) => srtp.protect(&packet)?,
            None => packet,
        };
        Some((packet, self.receiver.learnt.unwrap_or(remote.rtp)))
    }

    fn on_packet(&mut self, packet: &[u8], from: SocketAddr) -> Option<char> {
        let remote = self.remote.as_ref()?;
        self.receiver.on_packet(packet, from, remote, self.srtp.as_mut())
    }

    fn report(&mut self, last: bool) -> Option<(Vec<u8>, SocketAddr)> {
        // Who holds may name no address at all, which is this machine's to its own socket.
        let to = self.remote.as_ref()?.rtcp;
        if to.ip().is_unspecified() {
            return None;
        }
        let report = rtcp::report(&self.sender.sent(), &mut self.receiver.received, last)?;
        match &mut self.srtp {
            Some(srtp) => Some((srtp.protect_rtcp(&report)?, to)),
            None => Some((report, to)),
        }
    }
}

fn new_keying() -> Result<Keying, String> {
    Keying::new().map_err(|_| "there is no randomness for a key".to_owned())
}

#[cfg(test)]
mod tests;
