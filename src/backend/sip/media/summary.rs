//! Summarises the audio of a call at its end: a line for the log, and possible reasons why no digit arrived.

use std::fmt;

use phonegate_media::rtp::CLOCK_RATE;
use phonegate_media::session::Summary;

use crate::call::{Failure, FailureReason, Outcome};

/// Timestamp units of G.711 in a millisecond.
const UNITS_PER_MS: u32 = CLOCK_RATE / 1_000;

/// The counts of what was sent and received in a call.
pub(in crate::backend::sip) struct MediaSummary {
    pub(super) received: Summary,
    /// Packets sent.
    pub(super) sent: u32,
    /// Whether the call is on hold by the peer's latest description.
    pub(super) is_on_hold: bool,
    /// Whether another port may be learned: `learn_media_port`.
    pub(super) learns_port: bool,
}

/// The line of the log, without personal data: packets, loss and jitter of both directions.
impl fmt::Display for MediaSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { audio_packets, event_packets, early_packets, lost, jitter, peer_report, .. } = &self.received;
        write!(f, "Received {audio_packets} packets of audio and {event_packets} of key events")?;
        if *early_packets > 0 {
            write!(f, ", {early_packets} before the answer")?;
        }
        write!(f, ", {lost} lost, jitter {} ms", jitter.as_millis())?;
        if self.received.has_tones {
            write!(f, ", with DTMF tones in the audio")?;
        }
        write!(f, "; sent {} packets", self.sent)?;
        match peer_report {
            Some(report) => {
                let (lost, jitter) = (report.cumulative_lost, report.jitter / UNITS_PER_MS);
                write!(f, ", {lost} lost, jitter {jitter} ms (RTCP of the other side)")?;
            }
            None => write!(f, " (no RTCP of the other side)")?,
        }
        let dropped = self.dropped();
        if !dropped.is_empty() {
            write!(f, "; dropped {}", listed(&dropped))?;
        }
        if let Some(learned) = self.received.learned_source {
            write!(f, "; learned port {}", learned.port())?;
        }
        let state = if self.is_on_hold { "; on hold at the end." } else { "." };
        f.write_str(state)
    }
}

impl MediaSummary {
    /// Adds to a failure what the counts indicate about its cause.
    pub(in crate::backend::sip) fn explain(&self, outcome: Outcome) -> Outcome {
        let Outcome::Failed(failure) = &outcome else { return outcome };
        let sentences = match failure.reason() {
            FailureReason::NoKeyPressed => self.why_no_key(),
            // A user who heard nothing hangs up.
            FailureReason::CallEnded if self.received.is_without_rtp() => Vec::from_iter(self.why_silent()),
            _ => Vec::new(),
        };
        Outcome::Failed(sentences.into_iter().fold(failure.clone(), Failure::explained))
    }

    fn why_no_key(&self) -> Vec<String> {
        let mut sentences = Vec::from_iter(self.why_silent());
        let dropped = self.dropped();
        let total: u64 = dropped.iter().map(|(count, _)| count).sum();
        if total > 0 {
            sentences.push(format!("{total} packets were dropped: {}.", listed(&dropped)));
        }
        if self.received.is_silent() {
            sentences.extend(self.why_all_dropped().map(str::to_owned));
        }
        if self.received.has_only_tones() {
            let sentence = "DTMF tones were in the audio, but no key event came: the trunk sends keys as tones, which \
                            never count. Switch it to RFC 4733 (telephone events).";
            sentences.push(sentence.to_owned());
        }
        sentences
    }

    /// Returns a sentence if no packet arrived, or if none was accepted since the answer.
    fn why_silent(&self) -> Option<String> {
        let sentence = if self.received.is_without_rtp() {
            "No audio packet arrived: a firewall or a NAT router blocks the trunk's audio, or the trunk sends it to \
             another address. Allow UDP from the trunk to the ports in `rtp_ports`, and check `local_address`."
        } else if self.received.is_silent() {
            "No received audio was accepted after the call was answered."
        } else {
            return None;
        };
        Some(sentence.to_owned())
    }

    /// Returns advice if every packet since the answer was dropped.
    fn why_all_dropped(&self) -> Option<&'static str> {
        let Summary { dropped, not_authentic, .. } = &self.received;
        if dropped.port > 0 && !self.learns_port {
            Some("If the trunk is behind a NAT router that changes ports, set `learn_media_port`.")
        } else if dropped.port > 0 {
            Some("The port was not learned: that takes 8 packets of audio in sequence from one port.")
        } else if *not_authentic > 0 {
            Some("Check the SRTP settings of the trunk: it does not encrypt as its session description says.")
        } else if dropped.address > 0 {
            Some("The trunk must send audio from the address that its session description names.")
        } else {
            None
        }
    }

    /// Returns the counts of dropped packets, with a description of each. Packets before the answer and replayed ones are
    /// usual, and not included.
    fn dropped(&self) -> Vec<(u64, &'static str)> {
        let Summary { dropped, not_authentic, .. } = &self.received;
        let counts = [
            (dropped.port, "from another port of the trunk's media address"),
            (dropped.address, "from another address than the trunk named"),
            (*not_authentic, "not authentic (SRTP)"),
            (dropped.payload_type, "of a type that was not agreed on"),
            (dropped.stream, "of another stream (SSRC)"),
            (dropped.sequence, "key events that do not belong to the audio"),
            (dropped.not_rtp, "malformed"),
        ];
        counts.into_iter().filter(|(count, _)| *count > 0).collect()
    }
}

fn listed(dropped: &[(u64, &str)]) -> String {
    let each: Vec<_> = dropped.iter().map(|(count, what)| format!("{count} {what}")).collect();
    each.join(", ")
}
