//! The input is a compound RTCP packet. The same bytes are also used as the headers of RTP packets to report on.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use phonegate_media::rtcp::{self, MAX_BLOCKS, MAX_PACKET, ReceptionStats, ReportBlock, SenderInfo};
use phonegate_media::rtp::RtpHeader;

fuzz_target!(|input: &[u8]| {
    if let Ok(report) = rtcp::read(input) {
        assert!(input.len() <= MAX_PACKET && report.blocks.len() <= MAX_BLOCKS);
        report.blocks.iter().for_each(|block| check_written(*block, report.is_bye));
    }
    let mut stats = ReceptionStats::new();
    let mut last = None;
    let mut counted = 0_u32;
    let mut now = Duration::ZERO;
    for record in input.as_chunks::<8>().0 {
        let [flags, s0, s1, t0, t1, t2, t3, wait] = *record;
        let header = RtpHeader {
            marker: false,
            payload_type: 0,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from(flags & 1),
        };
        now += Duration::from_millis(wait.into());
        counted = if last == Some(header.ssrc) { counted + 1 } else { 1 };
        last = Some(header.ssrc);
        stats.count(&header, flags & 2 == 0, now);
        assert_eq!(stats.packets(), counted);
        if flags & 4 != 0 {
            let block = stats.report().expect("something arrived");
            assert_eq!(block.ssrc, header.ssrc);
            assert_eq!(stats.report().map(|next| next.fraction_lost), Some(0), "nothing was lost since");
            check_written(block, flags & 8 != 0);
        }
    }
});

/// Checks that a block is read as it was written, in a sender report and in a receiver report.
fn check_written(block: ReportBlock, is_bye: bool) {
    assert!((-0x80_0000..=0x7f_ffff).contains(&block.cumulative_lost));
    let sent = SenderInfo { ntp_timestamp: 1 << 63, rtp_timestamp: 2, packets: 3, octets: 4 };
    for sent in [None, Some(sent)] {
        let compound = rtcp::write(!block.ssrc, sent, Some(block), is_bye);
        let report = rtcp::read(&compound).expect("what is written can be read");
        assert_eq!((report.about(block.ssrc), report.blocks.len(), report.is_bye), (Some(&block), 1, is_bye));
    }
}
