//! The audio of one call: what is said, and the keys that come back.
//!
//! One [`ticker::Ticker`] for all calls has each send a packet every 20 ms. A task for each call reads what arrives. Which packets
//! count, and what they mean, [`MediaSession`] decides; what is not from the other side or not
//! as negotiated is dropped and counted.

mod keys;
mod playout;
mod ports;
mod random;
mod sender;
mod summary;
mod ticker;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use phonegate_media::dtmf::{DigitEvent, InfoError, info_duration};
use phonegate_media::rtcp;
use phonegate_media::sdp::{Encryption, LocalKeys, LocalSession, MasterKey, RemoteMedia, SdpError};
use phonegate_media::session::MediaSession;
use phonegate_media::srtp::SrtpError;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(super) use keys::{KeySender, Keys, Press, UNCLEAR_KEY};
pub(super) use playout::{SpeechEvent, SpeechProgress};
pub(super) use ports::Ports;
pub(super) use summary::MediaSummary;

use crate::backend::sip::MediaEncryption;
use crate::prompts::Composition;
use sender::Sender;
use ticker::Tick;

/// Ticks between two reports on average: 5 s (RFC 3550, section 6.2).
const REPORT_TICKS: u32 = 250;

/// The longest packet that is read, in bytes.
const MAX_PACKET: usize = 2048;

/// A key that began so little before the prompt may have begun with it: a packet counts its own time ahead, and gateways
/// that make events of something else name a usual duration.
const LEEWAY: Duration = Duration::from_millis(250);

/// The time of the session when it is opened. It is longer than an event packet can name (8.2 s), so that the beginning of
/// a press is never cut off.
const ORIGIN: Duration = Duration::from_secs(10);

/// The audio of one call. Dropped, it is silent, and its ports are free.
pub(super) struct Media {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the audio of a call depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct MediaSettings {
    /// The address of this machine that the other side sends to.
    pub(super) address: IpAddr,
    pub(super) encryption: MediaEncryption,
    /// Whether the other side may send from another port than it names: see [`MediaSession::new`].
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

struct Shared {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Free once the sockets above are closed.
    _ports: ports::Pair,
    is_signalling_tls: bool,
    learns_port: bool,
    opened: Instant,
    state: Mutex<State>,
}

struct State {
    local: LocalSession,
    session: MediaSession,
    /// None before the answer: nothing is said or heard until then.
    remote: Option<RemoteMedia>,
    sender: Sender,
    /// Ticks until the next report.
    until_report: u32,
    /// Keys pressed since then count.
    listening: Option<Duration>,
}

impl Media {
    /// Takes a pair of ports for a call.
    ///
    /// # Errors
    /// If all are in use, or the operating system has no random numbers.
    pub(super) fn open(settings: &MediaSettings, ports: &Arc<Ports>) -> Result<(Self, Keys), String> {
        let MediaSettings { address, learns_port, is_signalling_tls, .. } = *settings;
        let ticker = Arc::clone(ports.ticker());
        let (ports, rtp, rtcp) = ports.take(address)?;
        let encryption = encryption(settings.encryption)?;
        let sender = Sender::new()?;
        let session = MediaSession::new(&encryption, sender.ssrc(), learns_port).map_err(|error| error.to_string())?;
        let id = u64::from_be_bytes(random::bytes()?);
        let local = LocalSession::new(SocketAddr::new(address, ports.rtp()), id, encryption);
        let state = Mutex::new(State {
            local,
            session,
            remote: None,
            sender,
            until_report: until_next_report() / 2,
            listening: None,
        });
        let opened = Instant::now();
        let shared = Arc::new(Shared { rtp, rtcp, _ports: ports, is_signalling_tls, learns_port, opened, state });
        let (sender, keys) = KeySender::new();
        ticker.add(&shared);
        let task = tokio::spawn(Arc::clone(&shared).receive(sender));
        Ok((Self { shared, task }, keys))
    }

    /// The description for our INVITE, and for one of the other side that wants an offer.
    pub(super) fn offer(&self) -> String {
        self.shared.state.lock().local.offer()
    }

    /// Applies the answer to our offer. From the first one on audio is sent and received, unless it is on hold: see
    /// [`Media::is_on_hold`].
    ///
    /// # Errors
    /// Why the call cannot go on, or, for a later one, why the session goes on as it was.
    pub(super) fn accept_answer(&self, sdp: &[u8]) -> Result<(), MediaError> {
        let mut state = self.shared.state.lock();
        let remote = state.local.check_answer(sdp)?;
        state.agree(remote)
    }

    /// Answers an offer of the other side (hold, another address or codec), and applies it, unless the call has not been
    /// answered: see [`Media::accept_early_offer`].
    ///
    /// # Errors
    /// Why it is refused; the session goes on as it was.
    pub(super) fn answer_offer(&self, sdp: &[u8]) -> Result<String, MediaError> {
        let mut state = self.shared.state.lock();
        let offer = state.local.check_offer(sdp)?;
        if state.remote.is_some() {
            state.agree(offer.remote().clone())?;
        }
        Ok(state.local.answer(&offer))
    }

    /// Applies the offer that the other side made before it answered the call, in place of its first answer. Until then
    /// several phones may ring, and each may have made an offer: this is the one of the phone that answered.
    ///
    /// # Errors
    /// As [`Media::accept_answer`].
    pub(super) fn accept_early_offer(&self, sdp: &[u8]) -> Result<(), MediaError> {
        let mut state = self.shared.state.lock();
        let offer = state.local.check_offer(sdp)?;
        state.agree(offer.remote().clone())
    }

    /// Marks the call as answered: what came before was early media, whose keys never count.
    pub(super) fn set_answered(&self) {
        self.shared.state.lock().session.set_answered();
    }

    /// Returns whether the other side does not send audio or does not take it.
    pub(super) fn is_on_hold(&self) -> bool {
        self.shared.state.lock().is_on_hold()
    }

    /// From now on keys count, if they are not being pressed already.
    pub(super) fn listen(&self) {
        let now = self.shared.now();
        self.shared.state.lock().listening = Some(now);
    }

    /// Returns the time since the media was opened, plus a fixed offset.
    pub(super) fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Says recordings that were joined. The receiver gets their events, and `None` after the last or if they are stopped.
    pub(super) fn say(&self, recording: Composition) -> mpsc::Receiver<SpeechEvent> {
        self.shared.state.lock().sender.playout.say(recording)
    }

    /// Presses keys at the other side. None if it takes none.
    pub(super) fn press(&self, keys: &str) -> Option<oneshot::Receiver<()>> {
        let mut state = self.shared.state.lock();
        state.remote.as_ref()?.event_type?;
        Some(state.sender.playout.press(keys))
    }

    /// Says no more of what it was told to.
    pub(super) fn be_silent(&self) {
        self.shared.state.lock().sender.playout.stop();
    }

    /// Reads the key of an INFO request in the call, from its `Content-Type` and its body.
    ///
    /// # Errors
    /// Why it has none that counts: see [`MediaSession::receive_info`]. The request is to be answered with 415.
    pub(super) fn receive_info(&self, content_type: &str, body: &[u8]) -> Result<Press, InfoError> {
        let now = self.now();
        let state = self.shared.state.lock();
        let digit = state.session.receive_info(content_type, body, self.shared.is_signalling_tls)?;
        Ok(Press { key: digit.as_char(), began: now.saturating_sub(info_duration(body)) })
    }

    /// What was sent and received so far.
    pub(super) fn summary(&self) -> MediaSummary {
        let state = self.shared.state.lock();
        MediaSummary {
            received: state.session.summary(),
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
        // The task may hold the sockets until it is next looked at.
        self.shared.state.lock().remote = None;
    }
}

impl Shared {
    /// The time of the session.
    fn now(&self) -> Duration {
        ORIGIN.saturating_add(self.opened.elapsed())
    }

    /// Sends a report, with a goodbye if it is the last one.
    fn report(&self, is_last: bool) {
        let report = self.state.lock().report(is_last);
        if let Some((report, to)) = report {
            // As with every packet: what cannot be sent is lost.
            let _ = self.rtcp.try_send_to(&report, to);
        }
    }

    /// Reads what arrives.
    async fn receive(self: Arc<Self>, mut keys: KeySender) {
        let audio = async {
            let mut buffer = [0; MAX_PACKET];
            loop {
                // On Windows an error reports an earlier packet that was not delivered (WSAECONNRESET).
                let Ok((length, from)) = self.rtp.recv_from(&mut buffer).await else { continue };
                let packet = buffer.get(..length).unwrap_or_default();
                let press = self.state.lock().on_packet(self.now(), from, packet);
                if let Some(press) = press {
                    keys.send(press);
                }
            }
        };
        let reports = async {
            let mut buffer = [0; MAX_PACKET];
            loop {
                let Ok((length, from)) = self.rtcp.recv_from(&mut buffer).await else { continue };
                self.state.lock().session.receive_rtcp(from, buffer.get(..length).unwrap_or_default());
            }
        };
        tokio::join!(audio, reports);
    }
}

impl Tick for Shared {
    fn tick(&self, is_late: bool) {
        let now = self.now();
        let mut state = self.state.lock();
        let packet = state.next_packet(now, is_late);
        state.until_report = state.until_report.saturating_sub(1);
        let is_report_due = state.until_report == 0;
        if is_report_due {
            state.until_report = until_next_report();
        }
        drop(state);
        if let Some((packet, to)) = packet {
            // A packet that cannot be sent is a lost one.
            let _ = self.rtp.try_send_to(&packet, to);
        }
        if is_report_due {
            self.report(false);
        }
    }
}

/// Ticks between two reports: a random part of the usual time, so that those of many calls do not coincide (RFC 3550,
/// section 6.3.1).
fn until_next_report() -> u32 {
    REPORT_TICKS / 2 + fastrand::u32(..REPORT_TICKS)
}

impl State {
    fn agree(&mut self, remote: RemoteMedia) -> Result<(), MediaError> {
        self.session.set_remote(&remote)?;
        self.remote = Some(remote);
        Ok(())
    }

    fn is_on_hold(&self) -> bool {
        self.remote.as_ref().is_some_and(RemoteMedia::is_on_hold)
    }

    /// The packet of this tick, and where it goes.
    fn next_packet(&mut self, now: Duration, stalled: bool) -> Option<(Vec<u8>, SocketAddr)> {
        let remote = self.remote.as_ref()?;
        if stalled {
            self.sender.pause();
            return None;
        }
        let packet = self.sender.next_packet(now, remote)?;
        let to = self.session.learned_source().unwrap_or(remote.rtp);
        Some((self.session.protect_rtp(packet).ok()?, to))
    }

    /// Reads a packet that arrived. Returns the key that it reports, if it counts.
    fn on_packet(&mut self, now: Duration, from: SocketAddr, packet: &[u8]) -> Option<Press> {
        let (key, began) = match self.session.receive_rtp(now, from, packet)? {
            DigitEvent::Digit { digit, began } => (digit.as_char(), began),
            DigitEvent::Unclear { began } => (UNCLEAR_KEY, began),
            // What is not known here may have been the fraud key.
            _ => (UNCLEAR_KEY, now),
        };
        let is_heard = self.listening.is_some_and(|since| began.saturating_add(LEEWAY) >= since);
        is_heard.then_some(Press { key, began })
    }

    fn report(&mut self, is_last: bool) -> Option<(Vec<u8>, SocketAddr)> {
        // A peer on hold may name no address at all, which is this machine's to its own socket.
        let to = self.remote.as_ref()?.rtcp.filter(|to| !to.ip().is_unspecified())?;
        let block = self.session.reception_report();
        let report = rtcp::write(self.sender.ssrc(), self.sender.info(), block, is_last);
        Some((self.session.protect_rtcp(report).ok()?, to))
    }
}

/// Fresh keys of this side, if it may encrypt.
fn encryption(encryption: MediaEncryption) -> Result<Encryption, String> {
    let keys = || -> Result<_, String> {
        let key = || random::bytes().map(MasterKey::from_bytes);
        Ok(LocalKeys { sha1_80: key()?, sha1_32: key()? })
    };
    Ok(match encryption {
        MediaEncryption::Off => Encryption::Off,
        MediaEncryption::Optional => Encryption::Optional(keys()?),
        MediaEncryption::Required => Encryption::Required(keys()?),
    })
}

#[cfg(test)]
mod tests;
