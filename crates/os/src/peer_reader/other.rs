//! Where no system call reads many sockets, the task of each stream reads all that arrives.

use super::Arrival;
use crate::MediaSocket;

/// Reads nothing: see [`MediaSocket::receive`].
pub struct PeerReader;

impl PeerReader {
    /// Creates a reader.
    pub fn new(_longest: usize) -> Self {
        Self
    }

    /// Does nothing.
    pub fn read<'a>(
        &mut self,
        _sockets: impl Iterator<Item = &'a MediaSocket> + Clone,
        _receive: impl FnMut(usize, Arrival<'_>),
    ) {
    }

    /// Does nothing.
    pub fn read_arrived(&mut self, _socket: &MediaSocket, _receive: impl FnMut(Arrival<'_>)) {}
}
