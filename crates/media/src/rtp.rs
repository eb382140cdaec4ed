//! RTP packets (RFC 3550, section 5.1).

/// Longest packet that is read, in bytes. A 20 ms packet of G.711 has 172.
pub const MAX_PACKET: usize = 2048;

/// Bytes of a buffer for a received packet. One that is longer than [`MAX_PACKET`] fills it, and is rejected instead of being
/// read as a shorter one.
pub const RECEIVE_BUFFER: usize = MAX_PACKET + 1;

/// Timestamp units a second of G.711 (RFC 3551, table 4), and of the telephone events that are negotiated with it.
pub const CLOCK_RATE: u32 = 8_000;

/// Duration of the audio in one packet of this side, in milliseconds.
pub const PACKET_MILLISECONDS: u32 = 20;

/// Timestamp units, and bytes of G.711, in one packet of this side.
pub const PACKET_SAMPLES: u32 = CLOCK_RATE * PACKET_MILLISECONDS / 1_000;

/// The fields of an RTP header that a call uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Marker bit: the beginning of a talk spurt or of an event.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in units of the codec's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
}

impl RtpHeader {
    /// Length without contributing sources and extension, in bytes.
    pub const LENGTH: usize = 12;

    /// Returns the header of a packet without contributing sources, extension and padding. The highest bit of the payload
    /// type is ignored.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        [0x80, u8::from(self.marker) << 7 | self.payload_type & 0x7f, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]
    }

    /// Returns a packet of this header and payload: see [`RtpHeader::to_bytes`].
    pub fn write(&self, payload: &[u8]) -> Vec<u8> {
        [&self.to_bytes(), payload].concat()
    }

    /// Parses the fixed header. Returns it, the first byte of the packet, and the rest after the fixed header. The
    /// payload of an SRTP packet cannot be parsed before decryption, because its padding is encrypted.
    pub(crate) fn read(packet: &[u8]) -> Result<(Self, u8, &[u8]), RtpError> {
        if packet.len() > MAX_PACKET {
            return Err(RtpError::TooLong);
        }
        if packet.first().is_some_and(|first| first >> 6 != 2) {
            return Err(RtpError::Version);
        }
        let (fixed, rest) = packet.split_first_chunk::<{ Self::LENGTH }>().ok_or(RtpError::Truncated)?;
        let [flags, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        // RTCP types 192 to 223 look like payload types 64 to 95 with the marker bit.
        if matches!(second, 192..=223) {
            return Err(RtpError::Rtcp);
        }
        let header = Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        };
        Ok((header, flags, rest))
    }
}

/// A received RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// Its header.
    pub header: RtpHeader,
    /// Its payload, without padding. It may be empty.
    pub payload: &'a [u8],
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// It is longer than [`MAX_PACKET`].
    #[error("the packet is longer than {MAX_PACKET} bytes")]
    TooLong,
    /// The version is not 2: the packet may be STUN or DTLS.
    #[error("the packet is not RTP version 2")]
    Version,
    /// It is an RTCP packet on the RTP port (RFC 5761, section 4).
    #[error("the packet is RTCP")]
    Rtcp,
    /// Header, contributing sources, extension or padding extend beyond its end.
    #[error("the packet is truncated or its padding is malformed")]
    Truncated,
}

impl<'a> RtpPacket<'a> {
    /// Reads a packet. Contributing sources and header extensions are skipped.
    ///
    /// # Errors
    ///
    /// See [`RtpError`].
    pub fn read(packet: &'a [u8]) -> Result<Self, RtpError> {
        let (header, flags, rest) = RtpHeader::read(packet)?;
        let sources = usize::from(flags & 0x0f).saturating_mul(4);
        let mut payload = rest.get(sources..).ok_or(RtpError::Truncated)?;
        if flags & 0x10 != 0 {
            let ([_, _, high, low], rest) = payload.split_first_chunk::<4>().ok_or(RtpError::Truncated)?;
            let words = usize::from(u16::from_be_bytes([*high, *low]));
            payload = rest.get(words.saturating_mul(4)..).ok_or(RtpError::Truncated)?;
        }
        if flags & 0x20 != 0 {
            // The last byte is the length of the padding, including itself.
            let padding = payload.last().copied().filter(|padding| *padding != 0).ok_or(RtpError::Truncated)?;
            let length = payload.len().checked_sub(padding.into()).ok_or(RtpError::Truncated)?;
            payload = payload.get(..length).ok_or(RtpError::Truncated)?;
        }
        Ok(Self { header, payload })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const HEADER: RtpHeader =
        RtpHeader { marker: true, payload_type: 101, sequence: 0x1234, timestamp: 0x0102_0304, ssrc: 0xa0b0_c0d0 };

    fn with_flags(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = HEADER.write(rest);
        packet[0] |= flags;
        packet
    }

    #[test]
    fn a_packet_is_written_as_the_rfc_says() {
        let expected = [0x80, 0xe5, 0x12, 0x34, 1, 2, 3, 4, 0xa0, 0xb0, 0xc0, 0xd0, 9, 8];
        assert_eq!(HEADER.write(&[9, 8]), expected);
        assert_eq!(RtpPacket::read(&expected), Ok(RtpPacket { header: HEADER, payload: &[9, 8] }));
        assert_eq!(RtpPacket::read(&HEADER.write(&[])).unwrap().payload, []);
    }

    #[test]
    fn sources_extension_and_padding_are_no_payload() {
        for (flags, rest) in [
            (0x01, &[0, 0, 0, 1, 7, 7][..]),
            (0x10, &[0xbe, 0xde, 0, 1, 1, 2, 3, 4, 7, 7]),
            (0x10, &[0xbe, 0xde, 0, 0, 7, 7]),
            (0x20, &[7, 7, 0, 0, 0, 4]),
            (0x20, &[7, 7, 1]),
            (0x31, &[0, 0, 0, 1, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 7, 7, 0, 2]),
        ] {
            assert_eq!(RtpPacket::read(&with_flags(flags, rest)).unwrap().payload, [7, 7], "{flags:x} {rest:?}");
        }
    }

    #[test]
    fn malformed_packets_are_refused() {
        for (packet, error) in [
            (vec![], RtpError::Truncated),
            (vec![0x80; 11], RtpError::Truncated),
            (vec![0x00; 20], RtpError::Version),
            (vec![0x40; 20], RtpError::Version),
            (vec![0x80; MAX_PACKET + 1], RtpError::TooLong),
            (vec![0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0], RtpError::Rtcp),
            (with_flags(0x0f, &[0; 59]), RtpError::Truncated),
            (with_flags(0x10, &[0, 0, 0]), RtpError::Truncated),
            (with_flags(0x10, &[0, 0, 0xff, 0xff, 1]), RtpError::Truncated),
            (with_flags(0x20, &[]), RtpError::Truncated),
            (with_flags(0x20, &[7, 0]), RtpError::Truncated),
            (with_flags(0x20, &[7, 3]), RtpError::Truncated),
        ] {
            assert_eq!(RtpPacket::read(&packet), Err(error), "{packet:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            marker in any::<bool>(),
            payload_type in (0u8..128).prop_filter("RTCP", |payload_type| !(64..96).contains(payload_type)),
            (sequence, timestamp, ssrc) in any::<(u16, u32, u32)>(),
            payload in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let header = RtpHeader { marker, payload_type, sequence, timestamp, ssrc };
            let packet = header.write(&payload);
            prop_assert_eq!(RtpPacket::read(&packet), Ok(RtpPacket { header, payload: &payload }));
        }

        #[test]
        fn no_packet_panics(mut packet in proptest::collection::vec(any::<u8>(), 0..200), is_version_2 in any::<bool>()) {
            if let (true, Some(first)) = (is_version_2, packet.first_mut()) {
                *first = *first & 0x3f | 0x80;
            }
            if let Ok(read) = RtpPacket::read(&packet) {
                prop_assert!(read.payload.len() + RtpHeader::LENGTH <= packet.len());
            }
        }
    }
}
