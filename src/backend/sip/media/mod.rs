//! The audio of one call: plays recordings, and receives digits.
//!
//! One [`ticker::Ticker`] makes each call send a packet every 20 ms, and reads what its peer has sent.
//! One task for each call reads what others send. [`MediaSession`] decides which packets are accepted, and drops and counts
//! the others.

mod dtmf;
mod keys;
mod playback;
mod playout;
mod ports;
mod random;
mod sender;
mod state;
mod summary;
mod ticker;

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use phonegate_media::dtmf::{InfoError, info_duration};
use phonegate_media::rtp::{CLOCK_RATE, PACKET_MILLISECONDS, RECEIVE_BUFFER};
use phonegate_media::sdp::{LocalSession, SdpError};
use phonegate_media::session::MediaSession;
use phonegate_media::srtp::SrtpError;
use phonegate_os::{Arrival, MediaSocket, PeerReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

pub(super) use dtmf::{DigitPress, DigitReceiver, DigitSender, UNCLEAR_DIGIT};
pub(super) use playback::{PlaybackEvent, PlaybackProgress};
pub(super) use ports::Ports;
pub(super) use summary::MediaSummary;

use crate::backend::sip::MediaEncryption;
use crate::prompts::Composition;
use sender::Sender;
use state::{Negotiation, State};
use ticker::Tick;

/// Average number of ticks between two RTCP reports: 5 s (RFC 3550, section 6.2).
const REPORT_TICKS: u32 = 5_000 / PACKET_MILLISECONDS;

/// Time of the session when it is opened. The start of a press is calculated from the duration in an event packet, and
/// must not be before zero.
const CLOCK_START: Duration = Duration::from_secs(10);

const _: () = assert!(
    CLOCK_START.as_secs() > u16::MAX as u64 / CLOCK_RATE as u64,
    "no event packet reports a longer duration than the clock shows"
);

/// The audio of one call. Dropping it stops the audio and releases its ports.
pub(super) struct Media {
    shared: Arc<CallMedia>,
    task: JoinHandle<()>,
}

/// Settings of the audio of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct MediaSettings {
    /// Local address, to which the peer sends.
    pub(super) address: IpAddr,
    pub(super) encryption: MediaEncryption,
    /// Whether the peer may send from another port than its description names: see [`MediaSession::new`].
    pub(super) learns_port: bool,
    /// Whether the signalling of the call goes over TLS.
    pub(super) is_signalling_tls: bool,
}

/// Why a session description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MediaError {
    #[error(transparent)]
    Sdp(#[from] SdpError),
    #[error(transparent)]
    Srtp(#[from] SrtpError),
}

struct CallMedia {
    rtp: MediaSocket,
    rtcp: MediaSocket,
    /// Released after the sockets above are closed.
    _ports: ports::Pair,
    is_signalling_tls: bool,
    learns_port: bool,
    opened: Instant,
    state: Mutex<State>,
}

impl Media {
    /// Opens the audio of a call on a free pair of ports.
    ///
    /// # Errors
    /// All ports are in use, or the operating system provides no random numbers.
    pub(super) fn open(settings: &MediaSettings, ports: &Arc<Ports>) -> Result<(Self, DigitReceiver), String> {
        let MediaSettings { address, learns_port, is_signalling_tls, .. } = *settings;
        let ticker = Arc::clone(ports.ticker());
        let (ports, rtp, rtcp) = ports.take(address)?;
        let encryption = keys::encryption(settings.encryption)?;
        let sender = Sender::new()?;
        let session = MediaSession::new(&encryption, sender.ssrc(), learns_port).map_err(|error| error.to_string())?;
        let id = u64::from_be_bytes(random::bytes()?);
        let local = LocalSession::new(SocketAddr::new(address, ports.rtp()), id, encryption);
        let (digits, receiver) = DigitSender::new();
        let state = Mutex::new(State {
            sender,
            until_report: until_next_report() / 2,
            digits_since: None,
            digits,
            negotiation: Box::new(Negotiation { local, session, remote: None }),
        });
        let opened = Instant::now();
        let shared = Arc::new(CallMedia { rtp, rtcp, _ports: ports, is_signalling_tls, learns_port, opened, state });
        ticker.add(&shared);
        let task = tokio::spawn(Arc::clone(&shared).receive());
        Ok((Self { shared, task }, receiver))
    }

    /// Writes the SDP offer for this side's INVITE, or in response to a re-INVITE without an offer.
    pub(super) fn offer(&self) -> String {
        self.shared.state.lock().negotiation.local.offer()
    }

    /// Applies the SDP answer to this side's offer in the INVITE. From the first one on, audio is sent and received,
    /// unless the call is on hold: see [`Media::is_on_hold`].
    ///
    /// # Errors
    /// The answer cannot be used. The session does not change.
    pub(super) fn accept_answer(&self, sdp: &[u8]) -> Result<(), MediaError> {
        let mut state = self.shared.state_to_change();
        let remote = state.negotiation.local.check_answer(sdp)?;
        state.apply(remote)
    }

    /// Applies the SDP answer to an offer that this side sent during the call, which may repeat an earlier description.
    ///
    /// # Errors
    /// As [`Media::accept_answer`].
    pub(super) fn accept_answer_to(&self, offer: &[u8], sdp: &[u8]) -> Result<(), MediaError> {
        let mut state = self.shared.state_to_change();
        let remote = state.negotiation.local.check_answer_to(offer, sdp)?;
        state.apply(remote)
    }

    /// Writes the SDP answer to an offer of the peer (hold, another address or codec), and applies the offer if there is a
    /// session already. Before that, see [`Media::accept_early_offer`].
    ///
    /// # Errors
    /// The offer cannot be used. The session does not change.
    pub(super) fn answer_offer(&self, sdp: &[u8]) -> Result<String, MediaError> {
        let mut state = self.shared.state_to_change();
        let offer = state.negotiation.local.check_offer(sdp)?;
        if state.negotiation.remote.is_some() {
            state.apply(offer.remote().clone())?;
        }
        Ok(state.negotiation.local.answer(&offer))
    }

    /// Applies an offer that the peer made before the 2xx, instead of a first SDP answer. Several phones may ring, and each
    /// may make an offer: this is the offer of the phone that accepted the call.
    ///
    /// # Errors
    /// As [`Media::accept_answer`].
    pub(super) fn accept_early_offer(&self, sdp: &[u8]) -> Result<(), MediaError> {
        let mut state = self.shared.state_to_change();
        let offer = state.negotiation.local.check_offer(sdp)?;
        state.apply(offer.remote().clone())
    }

    /// Marks the call as established. Digits in early media never count.
    pub(super) fn set_answered(&self) {
        self.shared.state_to_change().negotiation.session.set_answered();
    }

    /// Returns whether the peer holds the call: it does not send audio, or does not receive it.
    pub(super) fn is_on_hold(&self) -> bool {
        self.shared.state.lock().is_on_hold()
    }

    /// Accepts digits whose press begins from now on.
    pub(super) fn accept_digits(&self) {
        let mut state = self.shared.state_to_change();
        state.digits_since = Some(self.shared.now());
    }

    /// Returns the time of the session: [`CLOCK_START`] plus the time since it was opened.
    pub(super) fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Queues a recording. The receiver gets its progress, and `None` after its end or if it is stopped.
    pub(super) fn play(&self, recording: Composition) -> mpsc::Receiver<PlaybackEvent> {
        self.shared.state.lock().sender.playout.play(recording)
    }

    /// Queues digits as telephone events. The receiver is notified when the last one was sent. Returns `None` if the peer
    /// does not accept telephone events.
    pub(super) fn send_digits(&self, digits: &str) -> Option<oneshot::Receiver<()>> {
        let mut state = self.shared.state.lock();
        state.negotiation.remote.as_ref()?.event_type?;
        Some(state.sender.playout.send_digits(digits))
    }

    /// Stops the playback, and drops queued recordings and digits.
    pub(super) fn stop(&self) {
        self.shared.state.lock().sender.playout.stop();
    }

    /// Reads the digit of an INFO request from its `Content-Type` and its body.
    ///
    /// # Errors
    /// The request has no digit that counts: see [`MediaSession::receive_info`]. Respond with 415.
    pub(super) fn receive_info(&self, content_type: &str, body: &[u8]) -> Result<DigitPress, InfoError> {
        let now = self.now();
        let state = self.shared.state.lock();
        let digit = state.negotiation.session.receive_info(content_type, body, self.shared.is_signalling_tls)?;
        Ok(DigitPress { digit: digit.as_char(), began: now.saturating_sub(info_duration(body)) })
    }

    /// Returns the counts of sent and received packets so far.
    pub(super) fn summary(&self) -> MediaSummary {
        let state = self.shared.state.lock();
        MediaSummary {
            received: state.negotiation.session.summary(),
            sent: state.sender.packets(),
            is_on_hold: state.is_on_hold(),
            learns_port: self.shared.learns_port,
        }
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.report(true);
        // The aborted task keeps the sockets open until the runtime drops it. Until then, nothing more is sent.
        self.shared.state.lock().stop();
    }
}

impl CallMedia {
    /// Returns the time of the session.
    fn now(&self) -> Duration {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> Duration {
        CLOCK_START.saturating_add(instant.saturating_duration_since(self.opened))
    }

    /// Sends an RTCP report, with a BYE if it is the last one.
    fn report(&self, is_last: bool) {
        let report = self.state.lock().report(is_last);
        if let Some((report, to)) = report {
            // A packet that cannot be sent counts as lost in the network.
            let _ = self.rtcp.try_send_to(&report, to);
        }
    }

    /// Reads the packets that the ticker does not read.
    async fn receive(self: Arc<Self>) {
        let audio = async {
            loop {
                let receive = |packet: &[u8], from| self.on_packet(self.now(), from, packet);
                // An error may report an earlier packet that was not delivered.
                _ = self.rtp.receive::<RECEIVE_BUFFER>(receive).await;
                // A flood must not keep the thread from other tasks.
                consume_budget().await;
            }
        };
        let reports = async {
            loop {
                let receive = |packet: &[u8], from| self.state.lock().negotiation.session.receive_rtcp(from, packet);
                _ = self.rtcp.receive::<RECEIVE_BUFFER>(receive).await;
                consume_budget().await;
            }
        };
        tokio::join!(audio, reports);
    }

    /// Returns the state, for a change that may decide otherwise about packets. Those that have arrived are handled first:
    /// the ticker reads them up to 60 ms late.
    fn state_to_change(&self) -> MutexGuard<'_, State> {
        PeerReader::new(RECEIVE_BUFFER).read_arrived(&self.rtp, |arrival| self.on_arrival(&arrival));
        self.state.lock()
    }

    fn on_arrival(&self, arrival: &Arrival<'_>) {
        self.on_packet(self.at(arrival.at.into()), arrival.from, arrival.packet);
    }

    /// Handles a received packet, which arrived at this time of the session.
    fn on_packet(&self, now: Duration, from: SocketAddr, packet: &[u8]) {
        let mut state = self.state.lock();
        if let Some(press) = state.on_packet(now, from, packet) {
            state.digits.send(press);
        }
    }
}

impl Tick for CallMedia {
    fn tick(&self, now: Instant, is_late: bool, packet: &mut Vec<u8>) {
        let mut state = self.state.lock();
        let to = state.write_packet(self.at(now), is_late, self.learns_port, packet);
        state.until_report = state.until_report.saturating_sub(1);
        let is_report_due = state.until_report == 0;
        if is_report_due {
            state.until_report = until_next_report();
        }
        drop(state);
        if let Some(to) = to {
            // A packet that cannot be sent counts as lost in the network.
            let _ = self.rtp.try_send_to(packet, to);
        }
        if is_report_due {
            self.report(false);
        }
    }

    fn read(calls: &[Arc<Self>], reader: &mut PeerReader) {
        reader.read(calls.iter().map(|call| &call.rtp), |index, arrival| {
            let Some(call) = calls.get(index) else { return };
            // A panic in one call must not stop the others.
            _ = catch_unwind(AssertUnwindSafe(|| call.on_arrival(&arrival)));
        });
    }
}

/// Returns the ticks until the next report: 0.5 to 1.5 times the average, so that the reports of calls do not coincide
/// (RFC 3550, section 6.3.1).
fn until_next_report() -> u32 {
    REPORT_TICKS / 2 + fastrand::u32(..REPORT_TICKS)
}

#[cfg(test)]
mod tests;
