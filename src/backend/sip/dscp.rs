//! Differentiated services: the class that routers read from each packet (RFC 4594, section 3).
//!
//! Windows ignores these marks, and marks packets only as a QoS policy of the administrator specifies.

use std::net::IpAddr;

use socket2::SockRef;

/// A class of traffic, with its code point (DSCP).
#[derive(Clone, Copy, Debug)]
pub(super) enum TrafficClass {
    /// CS5 (40).
    Signalling = 40,
    /// EF (46).
    Audio = 46,
}

/// Marks the packets that a socket with this local address sends. A failure is ignored: packets without the mark are
/// sent as best effort.
pub(super) fn mark(socket: SockRef<'_>, local: IpAddr, class: TrafficClass) {
    // The upper six bits of the field; the lower two are for congestion notification (RFC 3168).
    let field = (class as u32) << 2;
    let _ = match local {
        IpAddr::V4(_) => socket.set_tos_v4(field),
        #[cfg(unix)]
        IpAddr::V6(_) => socket.set_tclass_v6(field),
        #[cfg(not(unix))]
        IpAddr::V6(_) => Ok(()),
    };
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn sockets_of_both_families_are_marked() {
        for (address, class, field) in [
            ("127.0.0.1", TrafficClass::Audio, 0xb8),
            ("127.0.0.1", TrafficClass::Signalling, 0xa0),
            ("::1", TrafficClass::Audio, 0xb8),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let socket = std::net::UdpSocket::bind((address, 0)).unwrap();
            let socket = SockRef::from(&socket);
            mark(SockRef::from(&*socket), address, class);
            let read = if address.is_ipv4() { socket.tos_v4() } else { socket.tclass_v6() };
            assert_eq!(read.unwrap(), field, "{address} {class:?}");
        }
    }
}
