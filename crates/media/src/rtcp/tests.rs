//! Reports of this side and of the peer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::*;

const SENT: SenderInfo =
    SenderInfo { ntp_timestamp: 0x1122_3344_5566_7788, rtp_timestamp: 8000, packets: 50, octets: 8000 };
const BLOCK: ReportBlock =
    ReportBlock { ssrc: 9, fraction_lost: 64, cumulative_lost: 24, highest_sequence: 70_000, jitter: 12 };

fn header(ssrc: u32, sequence: u16, timestamp: u32) -> RtpHeader {
    RtpHeader { marker: false, payload_type: 0, sequence, timestamp, ssrc }
}

#[test]
fn what_is_written_is_read() {
    for block in [BLOCK, ReportBlock { cumulative_lost: -5, ..BLOCK }] {
        for sent in [Some(SENT), None] {
            for is_last in [true, false] {
                let report = read(&write(7, sent, Some(block), is_last)).unwrap();
                assert_eq!((report.blocks.as_slice(), report.is_bye), (&[block][..], is_last));
                assert_eq!((report.about(9), report.about(7)), (Some(&block), None));
            }
        }
    }
    assert_eq!(read(&write(7, None, None, false)), Ok(Report::default()));
}

#[test]
fn a_report_is_written_as_the_rfc_says() {
    let compound = write(7, Some(SENT), Some(BLOCK), true);
    assert_eq!(compound[..8], [0x81, 200, 0, 12, 0, 0, 0, 7]);
    assert_eq!(
        compound[8..28],
        [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0x1f, 0x40, 0, 0, 0, 50, 0, 0, 0x1f, 0x40]
    );
    assert_eq!(compound[28..44], [0, 0, 0, 9, 64, 0, 0, 24, 0, 1, 0x11, 0x70, 0, 0, 0, 12]);
    assert_eq!(compound[52..62], [0x81, 202, 0, 8, 0, 0, 0, 7, 1, 22]);
    assert_eq!(&compound[62..84], b"00000007@media.invalid");
    assert_eq!(compound[84..], [0, 0, 0, 0, 0x81, 203, 0, 1, 0, 0, 0, 7]);
}

#[test]
fn malformed_packets_are_refused() {
    let good = write(7, None, Some(BLOCK), true);
    for (compound, error) in [
        (vec![], RtcpError::Truncated),
        (vec![0x80, 201], RtcpError::Truncated),
        (vec![0; 8], RtcpError::NoReport),
        (vec![0x80, 203, 0, 0], RtcpError::NoReport),
        (vec![0x80, 201, 0, 2, 0, 0, 0, 7], RtcpError::Truncated),
        (vec![0x81, 201, 0, 1, 0, 0, 0, 7], RtcpError::Truncated),
        (vec![0x80, 200, 0, 1, 0, 0, 0, 7], RtcpError::Truncated),
        ([&good[..], &[0x80]].concat(), RtcpError::Truncated),
        ([&good[..], &[0, 203, 0, 0]].concat(), RtcpError::NoReport),
        (vec![0x80; MAX_PACKET + 1], RtcpError::TooLong),
    ] {
        assert_eq!(read(&compound), Err(error), "{compound:?}");
    }
    let later = ReportBlock { cumulative_lost: 25, ..BLOCK };
    let twice = [&good[..], &write(7, None, Some(later), false)].concat();
    assert_eq!(read(&twice).unwrap().about(9), Some(&later), "the latest counts");
    let many = write(7, None, Some(BLOCK), false).get(..32).unwrap().repeat(MAX_BLOCKS + 1);
    assert_eq!(read(&many).unwrap().blocks.len(), MAX_BLOCKS);
    let other = [&good[..], &[0x80, 204, 0, 1, 1, 2, 3, 4]].concat();
    assert_eq!(read(&other).unwrap().blocks, [BLOCK], "packets of other types are skipped");
}

#[test]
fn loss_and_jitter_are_measured_over_the_wrap() {
    let mut stats = ReceptionStats::new();
    // Every fourth packet is lost, and every second is 2 ms late.
    for n in (0..100u32).filter(|n| n % 4 != 3) {
        let now = Duration::from_millis((n * 20 + n % 2 * 2).into());
        stats.count(&header(9, 65_530u16.wrapping_add(n as u16), n * 160), true, now);
    }
    let block = stats.report().unwrap();
    assert_eq!((block.ssrc, block.highest_sequence), (9, 65_530 + 98));
    assert_eq!((block.cumulative_lost, block.fraction_lost), (24, (24 * 256 / 99) as u8));
    assert!((4..=16).contains(&block.jitter), "{}", block.jitter);
    assert_eq!((stats.packets(), stats.lost()), (75, 24));
    assert!(stats.jitter() <= Duration::from_millis(2), "{:?}", stats.jitter());
}

#[test]
fn a_loss_that_does_not_fit_is_the_largest_that_does() {
    let mut stats = ReceptionStats::new();
    for n in 0..1000u16 {
        stats.count(&header(9, n.wrapping_mul(0x7fff), 0), true, Duration::ZERO);
    }
    assert_eq!(stats.report().unwrap().cumulative_lost, 0x7f_ffff);
    let block = ReportBlock { cumulative_lost: i32::MAX, ..BLOCK };
    assert_eq!(read(&write(7, None, Some(block), false)).unwrap().blocks[0].cumulative_lost, 0x7f_ffff);
}

#[test]
fn each_report_counts_from_the_one_before() {
    let mut stats = ReceptionStats::new();
    assert_eq!((stats.report(), stats.lost()), (None, 0));
    stats.count(&header(9, 10, 0), true, Duration::ZERO);
    stats.count(&header(9, 13, 480), true, Duration::ZERO);
    stats.report().unwrap();
    stats.count(&header(9, 14, 640), true, Duration::ZERO);
    let block = stats.report().unwrap();
    assert_eq!((block.cumulative_lost, block.fraction_lost), (2, 0));
    stats.count(&header(10, 500, 0), true, Duration::ZERO);
    assert_eq!((stats.packets(), stats.lost(), stats.report().unwrap().ssrc), (1, 0, 10), "another stream");
}

proptest! {
    #[test]
    fn no_packet_panics(
        garbage in proptest::collection::vec(any::<u8>(), 0..300),
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        headers in proptest::collection::vec((0u32..3, any::<u16>(), any::<u32>(), any::<u64>(), any::<bool>()), 0..50),
    ) {
        let mut mutated = write(7, Some(SENT), Some(BLOCK), true);
        for (index, byte) in noise {
            let index = index.index(mutated.len());
            mutated[index] = byte;
        }
        for compound in [garbage, mutated] {
            if let Ok(report) = read(&compound) {
                prop_assert!(report.blocks.len() <= MAX_BLOCKS);
            }
        }
        let mut stats = ReceptionStats::new();
        for (ssrc, sequence, timestamp, now, is_audio) in headers {
            stats.count(&header(ssrc, sequence, timestamp), is_audio, Duration::from_micros(now));
            if timestamp % 3 == 0 {
                let block = stats.report().unwrap();
                prop_assert!(read(&write(ssrc, None, Some(block), false)).is_ok());
            }
        }
    }
}
