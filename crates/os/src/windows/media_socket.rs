//! The socket of a call's audio.

use std::io;
use std::net::{SocketAddr, UdpSocket};

/// A UDP socket that wakes its task when a packet has arrived, and sends without waiting.
pub struct MediaSocket(tokio::net::UdpSocket);

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
        tokio::net::UdpSocket::from_std(socket).map(Self)
    }

    /// As [`MediaSocket::new`], for a socket that sends a stream: many packets to one address. `configure` sets the options
    /// of each socket that sends.
    ///
    /// # Errors
    /// Those of the operating system.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn for_stream(socket: UdpSocket, configure: impl Fn(&UdpSocket)) -> io::Result<Self> {
        configure(&socket);
        Self::new(socket)
    }

    /// Returns its own address.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits for a packet, and passes it to `on_packet` with its source. The rest of a packet that is longer than
    /// `LONGEST` bytes is lost. May be cancelled. Only one task may wait.
    ///
    /// # Errors
    /// Those of the operating system. An error may report an earlier packet that was not delivered (WSAECONNRESET).
    pub async fn receive<const LONGEST: usize>(&self, mut on_packet: impl FnMut(&[u8], SocketAddr)) -> io::Result<()> {
        loop {
            self.0.readable().await?;
            // On the stack, so that a socket which waits takes no memory for it.
            let mut buffer = [0; LONGEST];
            match self.0.try_recv_from(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok((length, from)) => {
                    on_packet(buffer.get(..length).unwrap_or_default(), from);
                    return Ok(());
                }
            }
        }
    }

    /// Sends a packet, or fails at once.
    ///
    /// # Errors
    /// Those of the operating system, and [`io::ErrorKind::WouldBlock`] if it takes no packet now.
    pub fn try_send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.0.try_send_to(packet, to)
    }
}
