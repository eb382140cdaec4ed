//! The audio of one call: what is said, and the keys that come back.
//!
//! A task for each call sends a packet every 20 ms by an absolute schedule, so that it does not drift, and reads what
//! arrives. A key counts only from the negotiated address (its first source is latched, everything else is dropped
//! and counted), with the payload type that we offered, and where encryption was negotiated only if it is authentic.

mod keys;
mod playout;
mod ports;
mod rtcp;
mod sdp;
mod srtp;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rtp_types::{RtpPacket, RtpPacketBuilder};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

pub(super) use ports::Ports;
pub(super) use sdp::SdpError;

use crate::config::MediaEncryption;
use crate::prompts::Recording;
use keys::KeyReader;
use playout::{FRAME, Frame, Playout};
use rtcp::{Received, Sent};
use sdp::{KEY_EVENTS, Local, Remote};
use srtp::{Keying, Srtp};

/// The time between two packets.
const TICK: Duration = Duration::from_millis(20);

/// Ticks between two reports: 5 s (RFC 3550, section 6.2).
const REPORT_TICKS: u32 = 250;

/// The longest packet that is read, in bytes.
const MAX_PACKET: usize = 2048;

/// The audio of one call. Dropped, it is silent, and its ports are free.
pub(super) struct Media {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// Where the keys of a call arrive.
pub(super) type Keys = mpsc::UnboundedReceiver<char>;

struct Shared {
    address: IpAddr,
    ports: ports::Pair,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    encryption: MediaEncryption,
    keying: Keying,
    session: u64,
    state: Mutex<State>,
}

struct State {
    version: u64,
    remote: Option<Remote>,
    srtp: Option<Srtp>,
    latched: Option<SocketAddr>,
    playout: Playout,
    reader: KeyReader,
    received: Received,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    packets: u32,
    octets: u32,
    /// The next packet begins a talkspurt.
    marker: bool,
    dropped: u64,
}

impl Media {
    /// Takes a pair of ports for a call from `address`.
    ///
    /// # Errors
    /// Where all are in use.
    pub(super) fn open(
        address: IpAddr,
        ports: &Arc<Ports>,
        encryption: MediaEncryption,
    ) -> Result<(Self, Keys), String> {
        let (ports, rtp, rtcp) = ports.take(address)?;
        let keying = Keying::new().map_err(|_| "there is no randomness for a key".to_owned())?;
        let state = State {
            version: 1,
            remote: None,
            srtp: None,
            latched: None,
            playout: Playout::default(),
            reader: KeyReader::default(),
            received: Received::default(),
            ssrc: fastrand::u32(..),
            sequence: fastrand::u16(..0x8000),
            timestamp: fastrand::u32(..),
            packets: 0,
            octets: 0,
            marker: true,
            dropped: 0,
        };
        let session = fastrand::u64(..i64::MAX as u64);
        let shared =
            Arc::new(Shared { address, ports, rtp, rtcp, encryption, keying, session, state: Mutex::new(state) });
        let (sender, keys) = mpsc::unbounded_channel();
        let task = tokio::spawn(Arc::clone(&shared).run(sender));
        Ok((Self { shared, task }, keys))
    }

    /// The description for our INVITE.
    pub(super) fn offer(&self) -> String {
        self.shared.local(self.shared.state.lock().version).offer()
    }

    /// Takes the answer to our offer. From here on it is spoken and heard.
    ///
    /// # Errors
    /// Why the call cannot go on.
    pub(super) fn accept_answer(&self, sdp: &[u8]) -> Result<(), SdpError> {
        let remote = self.shared.read(sdp)?;
        sdp::is_two_way(&remote)?;
        if remote.crypto.as_ref().is_some_and(|line| !self.shared.keying.has_offered(line)) {
            return Err(SdpError::Encryption);
        }
        self.shared.use_remote(remote)
    }

    /// Takes an offer within the call (hold, another address or codec), and answers it. Without one, offers anew.
    ///
    /// # Errors
    /// Why it is refused; the session goes on as it was.
    pub(super) fn answer_offer(&self, sdp: &[u8]) -> Result<String, SdpError> {
        let remote = self.shared.read(sdp)?;
        self.shared.use_remote(remote.clone())?;
        let mut state = self.shared.state.lock();
        state.version += 1;
        Ok(self.shared.local(state.version).answer(&remote))
    }

    /// Says a recording. The receiver hears when it was said to its end.
    pub(super) fn say(&self, recording: Recording) -> oneshot::Receiver<()> {
        self.shared.state.lock().playout.say(recording)
    }

    /// Presses keys at the other side.
    pub(super) fn press(&self, keys: &str) -> oneshot::Receiver<()> {
        self.shared.state.lock().playout.press(keys)
    }

    /// Says no more of what it was told to.
    pub(super) fn be_silent(&self) {
        self.shared.state.lock().playout.stop();
    }

    /// How many packets were dropped, since they were not from the other side or not as negotiated.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.state.lock().dropped
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.report(true);
    }
}

impl Shared {
    fn local(&self, version: u64) -> Local<'_> {
        Local {
            address: self.address,
            port: self.ports.rtp(),
            session: self.session,
            version,
            encryption: self.encryption,
            keying: &self.keying,
        }
    }

    fn read(&self, sdp: &[u8]) -> Result<Remote, SdpError> {
        sdp::read(sdp, self.address, self.encryption)
    }

    fn use_remote(&self, remote: Remote) -> Result<(), SdpError> {
        let mut state = self.state.lock();
        let before = state.remote.as_ref();
        if before.is_none_or(|before| before.crypto != remote.crypto) {
            state.srtp = match &remote.crypto {
                Some(theirs) => Some(Srtp::new(&self.keying, theirs).ok_or(SdpError::Encryption)?),
                None => None,
            };
        }
        if state.remote.as_ref().is_none_or(|before| before.rtp != remote.rtp) {
            state.latched = None;
        }
        state.marker = true;
        state.remote = Some(remote);
        Ok(())
    }

    /// Sends a report, with a goodbye where it is the last one.
    fn report(&self, last: bool) {
        let report = self.state.lock().report(last);
        if let Some((report, to)) = report {
            // As with every packet: what cannot be sent is lost.
            let _ = self.rtcp.try_send_to(&report, to);
        }
    }

    async fn run(self: Arc<Self>, keys: mpsc::UnboundedSender<char>) {
        // The first tick is somewhere within a period, so that many calls do not send all at once.
        let start = tokio::time::Instant::now() + Duration::from_micros(fastrand::u64(..20_000));
        let mut ticks = tokio::time::interval_at(start, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut until_report = REPORT_TICKS / 2;
        let (mut buffer, mut aside) = ([0; MAX_PACKET], [0; MAX_PACKET]);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let packet = self.state.lock().next_packet();
                    if let Some((packet, to)) = packet {
                        // A packet that cannot be sent is a lost one.
                        let _ = self.rtp.try_send_to(&packet, to);
                    }
                    until_report -= 1;
                    if until_report == 0 {
                        until_report = REPORT_TICKS;
                        self.report(false);
                    }
                }
                received = self.rtp.recv_from(&mut buffer) => {
                    // On Windows an error tells of an earlier packet that nobody took (WSAECONNRESET).
                    let Ok((length, from)) = received else { continue };
                    let packet = buffer.get(..length).unwrap_or_default();
                    if let Some(key) = self.state.lock().on_packet(packet, from) {
                        let _ = keys.send(key);
                    }
                }
                // Read, so that the socket does not fill up; nothing in it changes what we do.
                _ = self.rtcp.recv_from(&mut aside) => {}
            }
        }
    }
}

impl State {
    /// The packet of this tick, and where it goes.
    fn next_packet(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let remote = self.remote.as_ref()?;
        let (codec, key_events, to) = (remote.codec, remote.key_events, self.latched.unwrap_or(remote.rtp));
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        if !remote.may_send {
            // The clock goes on, and what is said waits.
            return None;
        }
        let frame = self.playout.next(codec, key_events.is_some());
        let (payload_type, timestamp, marker) = match &frame {
            Frame::Audio(_) => (codec.payload_type(), self.timestamp, std::mem::take(&mut self.marker)),
            Frame::Event { first, age, .. } => (key_events?, self.timestamp.wrapping_sub(*age), *first),
        };
        let payload = match &frame {
            Frame::Audio(audio) => audio.as_slice(),
            Frame::Event { payload, .. } => payload.as_slice(),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let packet = RtpPacketBuilder::<_, &[u8]>::new()
            .payload_type(payload_type)
            .sequence_number(self.sequence)
            .timestamp(timestamp)
            .marker_bit(marker)
            .ssrc(self.ssrc)
            .payload(payload)
            .write_vec()
            .ok()?;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        let packet = match &mut self.srtp {
            Some(srtp) => srtp.protect(&packet)?,
            None => packet,
        };
        Some((packet, to))
    }

    fn report(&mut self, last: bool) -> Option<(Vec<u8>, SocketAddr)> {
        let to = self.remote.as_ref()?.rtcp;
        let sent = Sent { ssrc: self.ssrc, timestamp: self.timestamp, packets: self.packets, octets: self.octets };
        let report = rtcp::report(&sent, &self.received, last)?;
        match &mut self.srtp {
            Some(srtp) => Some((srtp.protect_rtcp(&report)?, to)),
            None => Some((report, to)),
        }
    }

    /// The key that a packet brings, if it is one of the other side's and brings one.
    fn on_packet(&mut self, packet: &[u8], from: SocketAddr) -> Option<char> {
        let key = self.accept(packet, from);
        if key.is_none() {
            self.dropped = self.dropped.saturating_add(1);
        }
        key?
    }

    /// None where the packet must not be looked at; else its key, if it has one.
    fn accept(&mut self, packet: &[u8], from: SocketAddr) -> Option<Option<char>> {
        let remote = self.remote.as_ref()?;
        let is_theirs = match self.latched {
            Some(latched) => from == latched,
            None => from.ip() == remote.rtp.ip(),
        };
        if !is_theirs {
            return None;
        }
        let opened = match &mut self.srtp {
            Some(srtp) => Some(srtp.open(packet)?),
            None => None,
        };
        let packet = RtpPacket::parse(opened.as_deref().unwrap_or(packet)).ok()?;
        let is_key = packet.payload_type() == KEY_EVENTS;
        if !is_key && packet.payload_type() != remote.codec.payload_type() {
            return None;
        }
        self.latched = Some(from);
        self.received.note(packet.ssrc(), packet.sequence_number());
        Some(if is_key { self.reader.read(packet.ssrc(), packet.timestamp(), packet.payload()) } else { None })
    }
}
