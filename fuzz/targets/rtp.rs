//! The input is an RTP packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phonegate_media::rtp::{MAX_PACKET, RtpPacket};

fuzz_target!(|packet: &[u8]| {
    let Ok(read) = RtpPacket::read(packet) else { return };
    assert!(packet.len() <= MAX_PACKET && read.payload.len() + 12 <= packet.len());
    assert!(read.header.payload_type < 128);
    // RFC 3550, section 5.1: contributing sources, an extension, the payload, and padding that ends with its length.
    let mut start = 12 + 4 * usize::from(packet[0] & 15);
    if packet[0] & 16 != 0 {
        start += 4 + 4 * usize::from(u16::from_be_bytes([packet[start + 2], packet[start + 3]]));
    }
    let padding = if packet[0] & 32 != 0 { usize::from(packet[packet.len() - 1]) } else { 0 };
    assert_eq!(read.payload, &packet[start..packet.len() - padding]);
    let written = read.header.write(read.payload);
    assert_eq!(RtpPacket::read(&written), Ok(read), "what is written is read the same");
});
