//! The changing part of a call's audio: what was negotiated, what is sent, and which digits count.

use std::net::SocketAddr;
use std::time::Duration;

use phonegate_media::dtmf::DigitEvent;
use phonegate_media::rtcp;
use phonegate_media::sdp::{LocalSession, RemoteMedia};
use phonegate_media::session::MediaSession;

use super::MediaError;
use super::dtmf::{DigitPress, DigitSender, UNCLEAR_DIGIT};
use super::sender::{Destination, Sender};

/// Tolerance for a press that seems to begin before the prompt: the duration in the first packet of an event includes the
/// time of the packet itself, and gateways that convert tones report a fixed duration.
const START_TOLERANCE: Duration = Duration::from_millis(250);

/// What each tick needs is together here, so that the calls of a busy gate fit into the processor's cache.
pub(super) struct State {
    pub(super) sender: Sender,
    /// Ticks until the next report.
    pub(super) until_report: u32,
    /// A digit counts if its packet arrived at or after this time, and its press began then or later (within
    /// [`START_TOLERANCE`]). `None`: no digit counts.
    pub(super) digits_since: Option<Duration>,
    pub(super) digits: DigitSender,
    pub(super) negotiation: Box<Negotiation>,
}

pub(super) struct Negotiation {
    pub(super) local: LocalSession,
    pub(super) session: MediaSession,
    /// `None` before the first SDP answer. Until then, nothing is sent, and received packets are dropped.
    pub(super) remote: Option<RemoteMedia>,
}

impl State {
    pub(super) fn apply(&mut self, remote: RemoteMedia) -> Result<(), MediaError> {
        self.negotiation.session.set_remote(&remote)?;
        self.sender.set_destination(Some(Destination::from(&remote)));
        self.negotiation.remote = Some(remote);
        Ok(())
    }

    /// Sends and receives nothing from now on.
    pub(super) fn stop(&mut self) {
        self.sender.set_destination(None);
        self.negotiation.remote = None;
    }

    pub(super) fn is_on_hold(&self) -> bool {
        self.negotiation.remote.as_ref().is_some_and(RemoteMedia::is_on_hold)
    }

    /// Writes the packet of this tick, in place of what `packet` held. Returns its destination.
    pub(super) fn write_packet(
        &mut self,
        now: Duration,
        is_late: bool,
        learns_port: bool,
        packet: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let destination = self.sender.destination()?;
        if is_late {
            self.sender.pause();
            return None;
        }
        self.sender.write_packet(now, packet)?;
        let session = &mut self.negotiation.session;
        if destination.is_encrypted {
            *packet = session.protect_rtp(std::mem::take(packet)).ok()?;
        }
        let learned = if learns_port { session.learned_source() } else { None };
        Some(learned.unwrap_or(destination.address))
    }

    /// Handles a packet that was received at this time. Returns its digit, if it counts.
    pub(super) fn on_packet(&mut self, now: Duration, from: SocketAddr, packet: &[u8]) -> Option<DigitPress> {
        let (digit, began) = match self.negotiation.session.receive_rtp(now, from, packet)? {
            DigitEvent::Digit { digit, began } => (digit.as_char(), began),
            DigitEvent::Unclear { began } => (UNCLEAR_DIGIT, began),
            // An unknown event may have been the fraud key.
            _ => (UNCLEAR_DIGIT, now),
        };
        // A packet may be read after digits began to count, although it arrived before.
        let counts = |since| now >= since && began.saturating_add(START_TOLERANCE) >= since;
        self.digits_since.is_some_and(counts).then_some(DigitPress { digit, began })
    }

    pub(super) fn report(&mut self, is_last: bool) -> Option<(Vec<u8>, SocketAddr)> {
        // A peer on hold may name the unspecified address. A packet to it would loop back to this machine.
        let Negotiation { session, remote, .. } = &mut *self.negotiation;
        let to = remote.as_ref()?.rtcp.filter(|to| !to.ip().is_unspecified())?;
        let block = session.reception_report();
        let report = rtcp::write(self.sender.ssrc(), self.sender.info(), block, is_last);
        Some((session.protect_rtcp(report).ok()?, to))
    }
}
