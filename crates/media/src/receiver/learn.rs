//! Learns another port of the named address, for peers behind NAT that changes ports.
//!
//! A port is learned from 8 consecutive audio packets of one stream, at the pace of audio. A packet from a third port
//! or of another stream restarts the learning, and one from the named port ends it. Then only the learned port is
//! accepted, one stream at a time, and telephone events only near the audio. So an attacker who cannot see the audio
//! cannot join it, and one who sends at the same time can at most keep the port from being learned.

use std::net::SocketAddr;
use std::time::Duration;

use super::{DropReason, STREAM_SILENCE};
use crate::rtp::RtpHeader;

/// Consecutive audio packets from which a port is learned.
const RUN: u32 = 8;

/// Shortest time from the first to the last packet of a run. Audio takes 140 ms at 20 ms per packet, and 70 ms at 10
/// ms; a flood is faster.
const MIN_RUN_TIME: Duration = Duration::from_millis(60);

/// Longest distance, in sequence numbers, of a telephone event from the latest packet of its stream.
const MAX_EVENT_DISTANCE: u16 = 100;

#[derive(Debug, Default)]
pub(super) struct PortLearner {
    /// Whether a packet came from the named port. If so, no other is learned.
    heard_named: bool,
    learned: Option<Learned>,
    candidate: Option<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    from: SocketAddr,
    ssrc: u32,
    /// Highest accepted sequence number.
    sequence: u16,
    last_heard: Duration,
}

/// A run of audio packets from one port.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    began: Duration,
    packets: u32,
}

impl PortLearner {
    pub(super) fn learned_source(&self) -> Option<SocketAddr> {
        self.learned.map(|learned| learned.from)
    }

    /// Records a packet from the named port. It replaces a learned port, and ends the learning.
    pub(super) fn heard_named(&mut self) {
        *self = Self { heard_named: true, learned: None, candidate: None };
    }

    /// Records an audio packet that SRTP has authenticated, from a port of the named address. One is enough, because only
    /// the peer can have sent it.
    pub(super) fn heard_authentic(&mut self, now: Duration, from: SocketAddr, header: &RtpHeader, is_named: bool) {
        if is_named {
            self.heard_named();
        } else {
            self.learned = Some(Learned { from, ssrc: header.ssrc, sequence: header.sequence, last_heard: now });
        }
    }

    /// Accepts a packet from another port of the named address if it belongs to the learned stream. Of the packets from
    /// which a port is learned, only the last is accepted.
    pub(super) fn accept_other_port(
        &mut self,
        now: Duration,
        from: SocketAddr,
        header: &RtpHeader,
        is_audio: bool,
    ) -> Result<(), DropReason> {
        if self.heard_named {
            return Err(DropReason::Port);
        }
        if let Some(learned) = &mut self.learned {
            if learned.from == from && learned.ssrc == header.ssrc {
                return learned.accept(now, header, is_audio);
            }
            if learned.from != from {
                return Err(DropReason::Port);
            }
            // A transfer begins a new stream, which must be learned like the first one.
            if now.saturating_sub(learned.last_heard) < STREAM_SILENCE {
                return Err(DropReason::Stream);
            }
        }
        if is_audio && self.completes_run(now, from, header) {
            self.candidate = None;
            self.learned = Some(Learned { from, ssrc: header.ssrc, sequence: header.sequence, last_heard: now });
            return Ok(());
        }
        Err(DropReason::Port)
    }

    /// Counts an audio packet. Returns whether it completes a run.
    fn completes_run(&mut self, now: Duration, from: SocketAddr, header: &RtpHeader) -> bool {
        let first = Candidate { from, ssrc: header.ssrc, sequence: header.sequence, began: now, packets: 1 };
        let next = match self.candidate {
            Some(run) if run.from == from && run.ssrc == header.ssrc => {
                let is_next = header.sequence == run.sequence.wrapping_add(1);
                if is_next {
                    Candidate { began: run.began, packets: run.packets.saturating_add(1), ..first }
                } else {
                    first
                }
            }
            _ => first,
        };
        let is_long = next.packets >= RUN;
        let is_paced = now.saturating_sub(next.began) >= MIN_RUN_TIME;
        self.candidate = Some(if is_long && !is_paced { first } else { next });
        is_long && is_paced
    }
}

impl Learned {
    fn accept(&mut self, now: Duration, header: &RtpHeader, is_audio: bool) -> Result<(), DropReason> {
        let ahead = header.sequence.wrapping_sub(self.sequence);
        let distance = ahead.min(ahead.wrapping_neg());
        if !is_audio && distance > MAX_EVENT_DISTANCE {
            return Err(DropReason::Sequence);
        }
        // A late packet does not lower the number, but audio may restart at any number.
        if ahead <= u16::MAX / 2 || is_audio && distance > MAX_EVENT_DISTANCE {
            self.sequence = header.sequence;
        }
        self.last_heard = now;
        Ok(())
    }
}
