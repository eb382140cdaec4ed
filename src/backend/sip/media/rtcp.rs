//! Reports on the stream (RFC 3550, section 6): what we sent, and how what we received arrived.

use std::time::{SystemTime, UNIX_EPOCH};

use rtcp_types::prelude::*;
use rtcp_types::{Bye, Compound, ReceiverReport, ReportBlock, Sdes, SdesChunk, SdesItem, SenderReport};

/// From the epoch of NTP, 1900, to that of Unix, 1970: seconds.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// What arrived from the other side.
#[derive(Default)]
pub(super) struct Received {
    ssrc: Option<u32>,
    first: u32,
    highest: u32,
    packets: u32,
}

impl Received {
    /// Notes a packet.
    pub(super) fn note(&mut self, ssrc: u32, sequence: u16) {
        if self.ssrc != Some(ssrc) {
            let sequence = u32::from(sequence);
            *self = Self { ssrc: Some(ssrc), first: sequence, highest: sequence, packets: 0 };
        }
        self.packets = self.packets.saturating_add(1);
        // The highest, extended by how often it wrapped (RFC 3550, appendix A.1).
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < 0x8000 {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        }
    }

    fn block(&self) -> Option<rtcp_types::ReportBlockBuilder> {
        let expected = self.highest.wrapping_sub(self.first).wrapping_add(1);
        let lost = expected.saturating_sub(self.packets).min(0x7f_ffff);
        let block = ReportBlock::builder(self.ssrc?);
        Some(block.cumulative_lost(lost).extended_sequence_number(self.highest))
    }
}

/// What we sent.
pub(super) struct Sent {
    pub(super) ssrc: u32,
    pub(super) timestamp: u32,
    pub(super) packets: u32,
    pub(super) octets: u32,
}

/// A report, and a goodbye where it is the last one.
pub(super) fn report(sent: &Sent, received: &Received, last: bool) -> Option<Vec<u8>> {
    let name = format!("{:08x}@phonegate", sent.ssrc);
    let item = SdesItem::builder(SdesItem::CNAME, &name);
    let sdes = Sdes::builder().add_chunk(SdesChunk::builder(sent.ssrc).add_item(item));
    let mut compound = Compound::builder();
    compound = if sent.packets > 0 {
        let mut report = SenderReport::builder(sent.ssrc)
            .ntp_timestamp(ntp_now())
            .rtp_timestamp(sent.timestamp)
            .packet_count(sent.packets)
            .octet_count(sent.octets);
        if let Some(block) = received.block() {
            report = report.add_report_block(block);
        }
        compound.add_packet(report)
    } else {
        let mut report = ReceiverReport::builder(sent.ssrc);
        if let Some(block) = received.block() {
            report = report.add_report_block(block);
        }
        compound.add_packet(report)
    };
    compound = compound.add_packet(sdes);
    if last {
        compound = compound.add_packet(Bye::builder().add_source(sent.ssrc));
    }
    let mut bytes = vec![0; compound.calculate_size().ok()?];
    compound.write_into(&mut bytes).ok()?;
    Some(bytes)
}

fn ntp_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    (now.as_secs().wrapping_add(NTP_TO_UNIX) << 32) | fraction
}
