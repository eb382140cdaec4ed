//! RTCP (RFC 3550, section 6): writes reports, and reads those of the peer.

use std::time::Duration;

use crate::rtp::{self, CLOCK_RATE, RtpHeader};

/// Longest compound packet that is read, in bytes.
pub const MAX_PACKET: usize = rtp::MAX_PACKET;

/// Maximum number of report blocks that are read from a compound packet.
pub const MAX_BLOCKS: usize = 32;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;

/// A report block on one stream (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The reported stream.
    pub ssrc: u32,
    /// Fraction of packets lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, -2^23 to 2^23 - 1. Negative if packets were duplicated.
    pub cumulative_lost: i32,
    /// Highest sequence number received, extended by the number of wraps.
    pub highest_sequence: u32,
    /// Interarrival jitter, in timestamp units.
    pub jitter: u32,
}

/// The contents of a compound packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Blocks of all sender and receiver reports, at most [`MAX_BLOCKS`].
    pub blocks: Vec<ReportBlock>,
    /// Whether it contains a BYE.
    pub is_bye: bool,
}

impl Report {
    /// Returns the last block about this stream.
    pub fn about(&self, ssrc: u32) -> Option<&ReportBlock> {
        self.blocks.iter().rev().find(|block| block.ssrc == ssrc)
    }
}

/// Why bytes are not a compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// It is longer than [`MAX_PACKET`].
    #[error("the RTCP packet is longer than {MAX_PACKET} bytes")]
    TooLong,
    /// It does not begin with a sender or receiver report of version 2 (RFC 3550, appendix A.2).
    #[error("the packet does not begin with an RTCP report")]
    NoReport,
    /// A packet in it extends beyond its end.
    #[error("the RTCP packet is truncated")]
    Truncated,
}

/// Parses a compound packet. Packets of other types are skipped.
///
/// # Errors
///
/// See [`RtcpError`]. A malformed packet is ignored as a whole.
pub fn read(compound: &[u8]) -> Result<Report, RtcpError> {
    if compound.len() > MAX_PACKET {
        return Err(RtcpError::TooLong);
    }
    let mut report = Report::default();
    let mut rest = compound;
    let mut is_first = true;
    while !rest.is_empty() || is_first {
        let ([flags, kind, high, low], after) = rest.split_first_chunk::<4>().ok_or(RtcpError::Truncated)?;
        if flags >> 6 != 2 || is_first && !matches!(*kind, SENDER_REPORT | RECEIVER_REPORT) {
            return Err(RtcpError::NoReport);
        }
        let length = usize::from(u16::from_be_bytes([*high, *low])).saturating_mul(4);
        let (body, after) = after.split_at_checked(length).ok_or(RtcpError::Truncated)?;
        let count = usize::from(flags & 0x1f);
        match *kind {
            SENDER_REPORT => read_blocks(body, 24, count, &mut report)?,
            RECEIVER_REPORT => read_blocks(body, 4, count, &mut report)?,
            GOODBYE => report.is_bye = true,
            _ => {}
        }
        (rest, is_first) = (after, false);
    }
    Ok(report)
}

/// Parses the blocks of a report, which start at `offset`.
fn read_blocks(body: &[u8], offset: usize, count: usize, report: &mut Report) -> Result<(), RtcpError> {
    let mut rest = body.get(offset..).ok_or(RtcpError::Truncated)?;
    for _ in 0..count {
        let (block, after) = rest.split_first_chunk::<24>().ok_or(RtcpError::Truncated)?;
        let [s0, s1, s2, s3, fraction_lost, l0, l1, l2, h0, h1, h2, h3, j0, j1, j2, j3, ..] = *block;
        if report.blocks.len() < MAX_BLOCKS {
            report.blocks.push(ReportBlock {
                ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
                fraction_lost,
                // The shift extends the sign of 24 bits.
                cumulative_lost: i32::from_be_bytes([l0, l1, l2, 0]) >> 8,
                highest_sequence: u32::from_be_bytes([h0, h1, h2, h3]),
                jitter: u32::from_be_bytes([j0, j1, j2, j3]),
            });
        }
        rest = after;
    }
    Ok(())
}

/// Statistics of one received stream (RFC 3550, appendix A).
#[derive(Clone, Debug, Default)]
pub struct ReceptionStats {
    ssrc: Option<u32>,
    first: u32,
    highest: u32,
    packets: u32,
    /// In sixteenths of timestamp units (appendix A.8).
    jitter: u32,
    transit: Option<u32>,
    /// Packets expected and received at the time of the previous report.
    reported: (u32, u32),
}

impl ReceptionStats {
    /// Creates empty statistics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a packet that arrived at `now`. A packet of another stream restarts the statistics. Only audio affects
    /// the jitter, because events repeat their timestamp.
    pub fn count(&mut self, header: &RtpHeader, is_audio: bool, now: Duration) {
        let sequence = u32::from(header.sequence);
        if self.ssrc != Some(header.ssrc) {
            *self = Self { ssrc: Some(header.ssrc), first: sequence, highest: sequence, ..Self::default() };
        }
        self.packets = self.packets.saturating_add(1);
        let ahead = header.sequence.wrapping_sub(self.highest as u16);
        if ahead < 0x8000 {
            self.highest = self.highest.wrapping_add(ahead.into());
        }
        if is_audio {
            let arrival = (now.as_micros().saturating_mul(CLOCK_RATE.into()) / 1_000_000) as u32;
            let transit = arrival.wrapping_sub(header.timestamp);
            if let Some(before) = self.transit.replace(transit) {
                let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
                let decay = self.jitter.saturating_add(8) >> 4;
                self.jitter = self.jitter.saturating_add(difference).saturating_sub(decay);
            }
        }
    }

    /// Returns the number of packets received.
    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// Returns the number of packets that were expected by sequence number and not received.
    pub fn lost(&self) -> u32 {
        self.expected().saturating_sub(self.packets)
    }

    /// Returns the interarrival jitter.
    pub fn jitter(&self) -> Duration {
        Duration::from_secs(u64::from(self.jitter >> 4)) / CLOCK_RATE
    }

    fn expected(&self) -> u32 {
        match self.ssrc {
            Some(_) => self.highest.wrapping_sub(self.first).wrapping_add(1),
            None => 0,
        }
    }

    /// Returns the block about this stream. The next one reports the losses from here on. `None` if nothing was
    /// received.
    pub fn report(&mut self) -> Option<ReportBlock> {
        let ssrc = self.ssrc?;
        let expected = self.expected();
        let (expected_before, packets_before) = std::mem::replace(&mut self.reported, (expected, self.packets));
        let expected_since = expected.wrapping_sub(expected_before);
        let lost_since = expected_since.saturating_sub(self.packets.wrapping_sub(packets_before));
        let fraction = (u64::from(lost_since) << 8).checked_div(expected_since.into()).unwrap_or_default();
        Some(ReportBlock {
            ssrc,
            // If all packets are lost, the fraction is 256/256, which does not fit.
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(self.lost()).unwrap_or(i32::MAX).min(0x7f_ffff),
            highest_sequence: self.highest,
            jitter: self.jitter >> 4,
        })
    }
}

/// The sending statistics of this side, for a sender report (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Time of the report in NTP format: seconds since 1900 in the upper 32 bits.
    pub ntp_timestamp: u64,
    /// The same time in timestamp units of the stream.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Bytes of payload sent.
    pub octets: u32,
}

/// Writes a compound packet: a sender report, or a receiver report if `sent` is `None`; the canonical name; and a BYE
/// if it is the last packet.
///
/// The name is derived from the SSRC, so it reveals nothing about the machine (RFC 7022).
pub fn write(ssrc: u32, sent: Option<SenderInfo>, block: Option<ReportBlock>, is_last: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    body.extend(ssrc.to_be_bytes());
    if let Some(sent) = sent {
        body.extend(sent.ntp_timestamp.to_be_bytes());
        body.extend(sent.rtp_timestamp.to_be_bytes());
        body.extend(sent.packets.to_be_bytes());
        body.extend(sent.octets.to_be_bytes());
    }
    if let Some(block) = block {
        body.extend(block.ssrc.to_be_bytes());
        let [_, l0, l1, l2] = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
        body.extend([block.fraction_lost, l0, l1, l2]);
        body.extend(block.highest_sequence.to_be_bytes());
        body.extend(block.jitter.to_be_bytes());
        // The arrival of the peer's sender reports is not recorded, so both fields for the round trip are 0.
        body.extend([0; 8]);
    }
    let kind = if sent.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
    let mut compound = Vec::with_capacity(192);
    write_packet(&mut compound, u8::from(block.is_some()), kind, &body);
    let name = format!("{ssrc:08x}@media.invalid");
    body.clear();
    body.extend(ssrc.to_be_bytes());
    body.extend([1, u8::try_from(name.len()).unwrap_or_default()]);
    body.extend(name.as_bytes());
    // At least one zero ends the items, and the chunk ends at a multiple of 4.
    body.push(0);
    body.resize(body.len().next_multiple_of(4), 0);
    write_packet(&mut compound, 1, SOURCE_DESCRIPTION, &body);
    if is_last {
        write_packet(&mut compound, 1, GOODBYE, &ssrc.to_be_bytes());
    }
    compound
}

/// Writes a packet. The length of the body must be a multiple of 4 and less than 256 KB.
fn write_packet(compound: &mut Vec<u8>, count: u8, kind: u8, body: &[u8]) {
    compound.extend([0x80 | count, kind]);
    compound.extend(u16::try_from(body.len() / 4).unwrap_or_default().to_be_bytes());
    compound.extend(body);
}

#[cfg(test)]
mod tests;
