//! A UDP socket for the audio of a call, which wakes its task only when a packet has arrived.
//!
//! On Unix, the sockets of tokio also wait to become writable. The kernel then reports each packet that has left, which
//! costs a third as much as sending it.

use std::io;
use std::net::{SocketAddr, UdpSocket};

#[cfg(unix)]
type Registered = tokio::io::unix::AsyncFd<UdpSocket>;
#[cfg(not(unix))]
type Registered = tokio::net::UdpSocket;

/// A socket that receives in a task, and sends without waiting.
pub struct MediaSocket(Registered);

impl MediaSocket {
    /// Makes the socket non-blocking, and registers it with the runtime of the current task.
    ///
    /// # Errors
    /// Those of the operating system.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        #[cfg(unix)]
        // SAFETY: the registration owns the socket, and nothing takes the socket out of it or replaces it. So its file
        // descriptor stays open and the same for as long as the registration exists.
        let registered = unsafe { Registered::register_with_interest(socket, tokio::io::Interest::READABLE) }?;
        #[cfg(not(unix))]
        let registered = Registered::from_std(socket)?;
        Ok(Self(registered))
    }

    /// Returns its own address.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        #[cfg(unix)]
        return self.0.get_ref().local_addr();
        #[cfg(not(unix))]
        return self.0.local_addr();
    }

    /// Waits for a packet. Returns its length and source. The rest of a packet that is longer than the buffer is lost. May
    /// be cancelled.
    ///
    /// # Errors
    /// Those of the operating system. On Windows, an error reports an earlier packet that was not delivered.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        #[cfg(unix)]
        return self.0.async_io(tokio::io::Interest::READABLE, |socket| socket.recv_from(buffer)).await;
        #[cfg(not(unix))]
        return self.0.recv_from(buffer).await;
    }

    /// Sends a packet, or fails at once.
    ///
    /// # Errors
    /// Those of the operating system, and [`io::ErrorKind::WouldBlock`] if it takes no packet now.
    pub fn try_send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
        #[cfg(unix)]
        return self.0.get_ref().send_to(packet, to);
        #[cfg(not(unix))]
        return self.0.try_send_to(packet, to);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn packets_arrive_with_their_source_in_both_directions() {
        let open = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (here, there) = (open(), open());
        let (our_address, their_address) = (here.local_addr().unwrap(), there.local_addr().unwrap());
        let (here, there) = (MediaSocket::new(here).unwrap(), MediaSocket::new(there).unwrap());
        for (from, to, source, target) in
            [(&here, &there, our_address, their_address), (&there, &here, their_address, our_address)]
        {
            let mut buffer = [0; 4];
            // The receiver waits before the packet is sent.
            let received = async { to.recv_from(&mut buffer).await.unwrap() };
            let sent = async { from.try_send_to(b"abc", target).unwrap() };
            assert_eq!(tokio::join!(received, sent), ((3, source), 3));
            assert_eq!(&buffer[..3], b"abc");
        }
    }
}
