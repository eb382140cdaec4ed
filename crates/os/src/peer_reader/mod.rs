//! Reads what the peers of many streams have sent: on Linux in one go, elsewhere by the task of each stream.

use std::net::SocketAddr;
use std::time::Instant;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::PeerReader;
#[cfg(target_os = "linux")]
pub(crate) use linux::report_arrival_times;

#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
pub use other::PeerReader;

/// A packet that has arrived.
pub struct Arrival<'a> {
    /// Its bytes, without those beyond the length that the reader allows.
    pub packet: &'a [u8],
    /// Its source.
    pub from: SocketAddr,
    /// When it arrived, which may be a while before it was read.
    pub at: Instant,
}
