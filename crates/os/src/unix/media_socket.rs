//! The socket of a call's audio.
//!
//! The sockets of tokio also wait to become writable. The kernel then reports each packet that has left, which costs a
//! third as much as sending it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::Poll;

use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A UDP socket that wakes its task only when a packet has arrived, and sends without waiting.
pub struct MediaSocket {
    unconnected: AsyncFd<UdpSocket>,
    connected: Option<Connected>,
}

/// A second socket at the port of the unconnected one, connected to the receiver of a stream: the kernel looks up the route
/// once, and not for each packet. Once connected, it receives what its peer sends, and the unconnected one the rest. Before
/// that, either socket may receive.
struct Connected {
    socket: AsyncFd<UdpSocket>,
    /// `None` before the first packet, and after it could not be connected.
    peer: Mutex<Option<SocketAddr>>,
}

impl MediaSocket {
    /// Makes the socket non-blocking, and registers it with the runtime of the current task.
    ///
    /// # Errors
    /// Those of the operating system.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self { unconnected: register(socket)?, connected: None })
    }

    /// As [`MediaSocket::new`], for a socket that sends a stream: many packets to one address. On Linux, it uses two file
    /// descriptors, or one if the system refuses a second socket at the port. `configure` sets the options of each.
    ///
    /// # Errors
    /// Those of the operating system.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn for_stream(socket: UdpSocket, configure: impl Fn(&UdpSocket)) -> io::Result<Self> {
        configure(&socket);
        let second = if cfg!(target_os = "linux") { bind_same_port(&socket).ok() } else { None };
        second.iter().for_each(configure);
        let connected = second.and_then(|second| register(second).ok());
        let connected = connected.map(|socket| Connected { socket, peer: Mutex::new(None) });
        Ok(Self { unconnected: register(socket)?, connected })
    }

    /// Returns its own address.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.unconnected.get_ref().local_addr()
    }

    /// Waits for a packet. Returns its length and source. The rest of a packet that is longer than the buffer is lost. May
    /// be cancelled. Only one task may wait.
    ///
    /// # Errors
    /// Those of the operating system. An error may report an earlier packet that was not delivered.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let connected = self.connected.as_ref().map(|connected| &connected.socket);
        std::future::poll_fn(|context| {
            // The peer's socket is read first, so that a flood from other addresses does not delay its packets.
            for socket in connected.into_iter().chain([&self.unconnected]) {
                while let Poll::Ready(mut ready) = socket.poll_read_ready(context)? {
                    if let Ok(received) = ready.try_io(|socket| socket.get_ref().recv_from(buffer)) {
                        return Poll::Ready(received);
                    }
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Sends a packet, or fails at once.
    ///
    /// # Errors
    /// Those of the operating system, and [`io::ErrorKind::WouldBlock`] if it takes no packet now.
    pub fn try_send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
        let Some(Connected { socket, peer }) = &self.connected else {
            return self.unconnected.get_ref().send_to(packet, to);
        };
        let mut peer = peer.lock();
        if *peer != Some(to) {
            // After a failure, the kernel may have kept the old peer: the next packet tries again.
            *peer = None;
            socket.get_ref().connect(to)?;
            *peer = Some(to);
        }
        match socket.get_ref().send(packet) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // The error is of an earlier packet: anyone can send an ICMP message that causes it. This packet was not sent.
            Err(_) => socket.get_ref().send(packet),
            sent => sent,
        }
    }
}

fn register(socket: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    socket.set_nonblocking(true)?;
    // SAFETY: the registration owns the socket, and nothing takes the socket out of it or replaces it. So its file
    // descriptor stays open and the same for as long as the registration exists.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// Binds a second socket to the address of this one. The port is shared only during the bind: afterwards no other program
/// can bind it, and the kernel does not spread packets over both.
fn bind_same_port(socket: &UdpSocket) -> io::Result<UdpSocket> {
    let address = socket.local_addr()?;
    let second = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    let share = |is_shared| {
        [SockRef::from(socket), SockRef::from(&second)].iter().try_for_each(|socket| socket.set_reuse_port(is_shared))
    };
    let bound = share(true).and_then(|()| second.bind(&address.into()));
    share(false)?;
    bound?;
    Ok(second.into())
}
