//! Pairs of UDP ports for RTP and RTCP (RFC 3550, section 11): an even one and the next.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use parking_lot::Mutex;
use phonegate_os::MediaSocket;
use socket2::SockRef;

use super::ticker::Ticker;
use super::{CallMedia, random};
use crate::backend::sip::config::PortRange;
use crate::backend::sip::dscp::{TrafficClass, mark};
use crate::config::ConfigError;

/// The ports that calls may use, and the ticker of their audio.
pub(in crate::backend::sip) struct Ports {
    first: u16,
    pairs: u16,
    used: Mutex<HashSet<u16>>,
    ticker: Arc<Ticker<CallMedia>>,
}

/// A pair in use. Dropping it releases the pair.
pub(super) struct Pair {
    rtp: u16,
    ports: Arc<Ports>,
}

impl Ports {
    /// Creates the pairs of the port range at `path` of the configuration.
    ///
    /// # Errors
    /// The range contains no pair.
    pub(in crate::backend::sip) fn new(path: &str, range: &PortRange) -> Result<Arc<Self>, ConfigError> {
        let port = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        let (first, last) = (port(range.first.get()), port(range.last.get()));
        let first = first.checked_next_multiple_of(2).unwrap_or(u16::MAX);
        match last.checked_sub(first) {
            Some(span @ 1..) => {
                Ok(Arc::new(Self { first, pairs: span.div_ceil(2), used: Mutex::default(), ticker: Arc::default() }))
            }
            _ => Err(ConfigError::invalid(path, "contains no pair of an even port and the next one")),
        }
    }

    pub(super) fn ticker(&self) -> &Arc<Ticker<CallMedia>> {
        &self.ticker
    }

    /// Binds a free pair on `address`. The search starts at a random pair, so that a port is not reused immediately.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<(Pair, MediaSocket, MediaSocket), String> {
        let failure = |error| format!("cannot open ports on {address}: {error}");
        let start = u32::from_be_bytes(random::bytes()?) % u32::from(self.pairs);
        for step in 0..self.pairs {
            let index = (start + u32::from(step)) % u32::from(self.pairs);
            let rtp = self.first + u16::try_from(index).unwrap_or_default() * 2;
            if !self.used.lock().insert(rtp) {
                continue;
            }
            let pair = Pair { rtp, ports: Arc::clone(self) };
            match (UdpSocket::bind((address, rtp)), UdpSocket::bind((address, rtp + 1))) {
                (Ok(rtp), Ok(rtcp)) => {
                    let (rtp, rtcp) = media_sockets(address, rtp, rtcp).map_err(failure)?;
                    return Ok((pair, rtp, rtcp));
                }
                (Err(error), _) | (_, Err(error)) if !is_taken(&error) => return Err(failure(error)),
                _ => {}
            }
        }
        Err(format!("all {} port pairs for audio are in use", self.pairs))
    }
}

impl Pair {
    /// Returns the even port.
    pub(super) fn rtp(&self) -> u16 {
        self.rtp
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.ports.used.lock().remove(&self.rtp);
    }
}

/// Returns whether another program uses the port. Windows denies access to the ports that it reserves.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn media_sockets(address: IpAddr, rtp: UdpSocket, rtcp: UdpSocket) -> io::Result<(MediaSocket, MediaSocket)> {
    let configure = |socket: &UdpSocket| mark(SockRef::from(socket), address, TrafficClass::Audio);
    configure(&rtcp);
    Ok((MediaSocket::for_stream(rtp, configure)?, MediaSocket::new(rtcp)?))
}
