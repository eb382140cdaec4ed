//! The input is an RTP packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phonegate_media::rtp::{MAX_PACKET, RtpPacket};

fuzz_target!(|packet: &[u8]| {
    let Ok(read) = RtpPacket::read(packet) else { return };
    assert!(packet.len() <= MAX_PACKET && read.payload.len() + 12 <= packet.len());
    assert!(read.header.payload_type < 128);
    // The payload is a part of the packet, behind its header.
    let offset = read.payload.as_ptr().addr() - packet.as_ptr().addr();
    assert!(offset >= 12 && offset + read.payload.len() <= packet.len());
    let written = read.header.write(read.payload);
    assert_eq!(RtpPacket::read(&written), Ok(read), "what is written is read the same");
});
