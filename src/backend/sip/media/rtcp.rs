//! Reports on the stream (RFC 3550, section 6): what we sent, and how what we received arrived. What the other side
//! reports is not read, so no report of ours refers to one.

use std::time::{SystemTime, UNIX_EPOCH};

use rtcp_types::prelude::*;
use rtcp_types::{
    Bye, Compound, ReceiverReport, ReportBlock, ReportBlockBuilder, Sdes, SdesChunk, SdesItem, SenderReport,
};

/// From the epoch of NTP, 1900, to that of Unix, 1970: seconds.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// What arrived of the other side's stream.
#[derive(Default)]
pub(super) struct Received {
    ssrc: Option<u32>,
    first: u32,
    highest: u32,
    packets: u32,
    /// Sixteenths of time stamp units (appendix A.8).
    jitter: u32,
    transit: Option<u32>,
    /// What was expected and what had arrived at the last report.
    reported: (u32, u32),
}

impl Received {
    /// Notes a packet.
    pub(super) fn note(&mut self, ssrc: u32, sequence: u16) {
        if self.ssrc != Some(ssrc) {
            let sequence = u32::from(sequence);
            *self = Self { ssrc: Some(ssrc), first: sequence, highest: sequence, ..Self::default() };
        }
        self.packets = self.packets.saturating_add(1);
        // The highest, extended by how often it wrapped (appendix A.1).
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < 0x8000 {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        }
    }

    /// Notes when an audio packet of the stream arrived, in units of its time stamp.
    pub(super) fn note_arrival(&mut self, timestamp: u32, arrival: u32) {
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            let decay = self.jitter.saturating_add(8) >> 4;
            self.jitter = self.jitter.saturating_add(difference).saturating_sub(decay);
        }
    }

    /// The block on this stream; the next one counts from here.
    fn block(&mut self) -> Option<ReportBlockBuilder> {
        let ssrc = self.ssrc?;
        let expected = self.highest.wrapping_sub(self.first).wrapping_add(1);
        let (expected_then, packets_then) = std::mem::replace(&mut self.reported, (expected, self.packets));
        let since = expected.wrapping_sub(expected_then);
        let lost_since = since.saturating_sub(self.packets.wrapping_sub(packets_then));
        // In parts of 256 (appendix A.3); all lost is 255.
        let fraction = (u64::from(lost_since) << 8).checked_div(since.into()).unwrap_or_default();
        let lost = expected.saturating_sub(self.packets).min(0x7f_ffff);
        let block = ReportBlock::builder(ssrc)
            .fraction_lost(u8::try_from(fraction).unwrap_or(u8::MAX))
            .cumulative_lost(lost)
            .extended_sequence_number(self.highest)
            .interarrival_jitter(self.jitter >> 4);
        Some(block)
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
pub(super) fn report(sent: &Sent, received: &mut Received, last: bool) -> Option<Vec<u8>> {
    // A name for this call alone: it tells nothing of the machine (RFC 7022).
    let name = format!("{:08x}@phonegate", sent.ssrc);
    let item = SdesItem::builder(SdesItem::CNAME, &name);
    let sdes = Sdes::builder().add_chunk(SdesChunk::builder(sent.ssrc).add_item(item));
    let block = received.block();
    let mut compound = Compound::builder();
    compound = if sent.packets > 0 {
        let report = SenderReport::builder(sent.ssrc)
            .ntp_timestamp(ntp_now())
            .rtp_timestamp(sent.timestamp)
            .packet_count(sent.packets)
            .octet_count(sent.octets);
        compound.add_packet(block.into_iter().fold(report, |report, block| report.add_report_block(block)))
    } else {
        let report = ReceiverReport::builder(sent.ssrc);
        compound.add_packet(block.into_iter().fold(report, |report, block| report.add_report_block(block)))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use rtcp_types::Packet;

    use super::*;

    const SENT: Sent = Sent { ssrc: 7, timestamp: 8000, packets: 50, octets: 8000 };

    fn packets(report: &[u8]) -> Vec<Packet<'_>> {
        Compound::parse(report).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_report_tells_what_was_lost_and_how_evenly_it_arrived() {
        let mut received = Received::default();
        // From 65530 on over the wrap; every fourth packet is lost, and every second is 2 ms late.
        for n in (0..100u32).filter(|n| n % 4 != 3) {
            received.note(9, 65_530u16.wrapping_add(n as u16));
            received.note_arrival(n * 160, n * 160 + (n % 2) * 16);
        }
        let report = report(&SENT, &mut received, false).unwrap();
        let [Packet::Sr(sender), Packet::Sdes(_)] = &packets(&report)[..] else { panic!("{report:?}") };
        assert_eq!((sender.ssrc(), sender.packet_count(), sender.octet_count()), (7, 50, 8000));
        let block = sender.report_blocks().next().unwrap();
        assert_eq!((block.ssrc(), block.extended_sequence_number()), (9, 65_530 + 98));
        assert_eq!((block.cumulative_lost(), block.fraction_lost()), (24, (24 * 256 / 99) as u8));
        let jitter = block.interarrival_jitter();
        assert!((4..=16).contains(&jitter), "{jitter}");
    }

    #[test]
    fn each_report_counts_from_the_last_one() {
        let mut received = Received::default();
        received.note(9, 10);
        received.note(9, 13);
        report(&SENT, &mut received, false).unwrap();
        received.note(9, 14);
        let report = report(&SENT, &mut received, false).unwrap();
        let Packet::Sr(sender) = &packets(&report)[0] else { panic!("{report:?}") };
        let block = sender.report_blocks().next().unwrap();
        assert_eq!((block.cumulative_lost(), block.fraction_lost()), (2, 0));
    }

    #[test]
    fn the_last_report_says_goodbye_and_who_has_sent_nothing_reports_as_a_receiver() {
        let silent = Sent { packets: 0, ..SENT };
        let report = report(&silent, &mut Received::default(), true).unwrap();
        let [Packet::Rr(receiver), Packet::Sdes(_), Packet::Bye(bye)] = &packets(&report)[..] else {
            panic!("{report:?}")
        };
        assert_eq!((receiver.ssrc(), receiver.report_blocks().count()), (7, 0));
        assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [7]);
    }
}
