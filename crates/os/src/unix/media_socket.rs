//! The socket of a call's audio.
//!
//! The sockets of tokio also wait to become writable. The kernel then reports each packet that has left, which costs a
//! third as much as sending it. Even a socket that waits only to become readable costs a part of that.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::SetOnce;

/// A UDP socket that wakes its task only when a packet has arrived, and sends without waiting.
pub struct MediaSocket {
    unconnected: AsyncFd<UdpSocket>,
    connected: Option<Connected>,
}

/// A second socket at the port of the unconnected one, connected to the receiver of a stream: the kernel looks up the route
/// once, and not for each packet. Once connected, it receives what its peer sends, and the unconnected one the rest. Before
/// that, either socket may receive.
struct Connected {
    /// Wakes the task of the socket, once its peer sends more than a [`PeerReader`](crate::PeerReader) reads. Dropped
    /// before the socket.
    watched: SetOnce<AsyncFd<RawFd>>,
    socket: UdpSocket,
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
        socket.set_nonblocking(true)?;
        // SAFETY: the registration owns the socket, and nothing takes the socket out of it or replaces it.
        Ok(Self { unconnected: unsafe { register(socket) }?, connected: None })
    }

    /// As [`MediaSocket::new`], for a socket that sends a stream: many packets to one address. A
    /// [`PeerReader`](crate::PeerReader) must read what its peer sends, besides [`MediaSocket::receive`]. On Linux, it
    /// uses two file descriptors, or one if the system refuses a second socket at the port. `configure` sets the options of
    /// each.
    ///
    /// # Errors
    /// Those of the operating system.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn for_stream(socket: UdpSocket, configure: impl Fn(&UdpSocket)) -> io::Result<Self> {
        configure(&socket);
        #[cfg(target_os = "linux")]
        let connected = Connected::new(&socket).ok();
        #[cfg(not(target_os = "linux"))]
        let connected: Option<Connected> = None;
        connected.iter().for_each(|connected| configure(&connected.socket));
        Ok(Self { connected, ..Self::new(socket)? })
    }

    /// Returns its own address.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.unconnected.get_ref().local_addr()
    }

    /// Waits for a packet that no [`PeerReader`](crate::PeerReader) reads, and passes it to `on_packet` with its
    /// source. The rest of a packet that is longer than `LONGEST` bytes is lost. May be cancelled. Only one task may
    /// wait.
    ///
    /// # Errors
    /// Those of the operating system. An error may report an earlier packet that was not delivered.
    pub async fn receive<const LONGEST: usize>(&self, mut on_packet: impl FnMut(&[u8], SocketAddr)) -> io::Result<()> {
        let mut read = |socket: &UdpSocket| {
            // On the stack, so that a socket which waits takes no memory for it.
            let mut buffer = [0; LONGEST];
            let (length, from) = socket.recv_from(&mut buffer)?;
            on_packet(buffer.get(..length).unwrap_or_default(), from);
            Ok(())
        };
        loop {
            let from_peer = async {
                match &self.connected {
                    Some(Connected { watched, socket, .. }) => (watched.wait().await.readable().await, socket),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // First, so that a flood from other addresses does not delay the packets of the peer.
                biased;
                (ready, socket) = from_peer => {
                    if let Ok(received) = ready?.try_io(|_| read(socket)) {
                        return received;
                    }
                }
                ready = self.unconnected.readable() => {
                    if let Ok(received) = ready?.try_io(|socket| read(socket.get_ref())) {
                        return received;
                    }
                }
            }
        }
    }

    /// Returns the socket that receives what the peer sends.
    #[cfg(target_os = "linux")]
    pub(crate) fn connected(&self) -> Option<&UdpSocket> {
        self.connected.as_ref().map(|connected| &connected.socket)
    }

    /// Returns the socket that only a [`PeerReader`](crate::PeerReader) reads.
    #[cfg(target_os = "linux")]
    pub(crate) fn unwatched(&self) -> Option<&UdpSocket> {
        self.connected.as_ref().filter(|connected| !connected.watched.initialized()).map(|connected| &connected.socket)
    }

    /// Has the task of the socket read what the peer sends.
    #[cfg(target_os = "linux")]
    pub(crate) fn watch_peer(&self) {
        if let Some(connected) = &self.connected
            // SAFETY: the socket stays open until after the registration, which is dropped first and never leaves its
            // place.
            && let Ok(watched) = unsafe { register(connected.socket.as_raw_fd()) }
        {
            // Only the reader sets it, once.
            _ = connected.watched.set(watched);
        }
    }

    /// Sends a packet, or fails at once.
    ///
    /// # Errors
    /// Those of the operating system, and [`io::ErrorKind::WouldBlock`] if it takes no packet now.
    pub fn try_send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
        let Some(Connected { socket, peer, .. }) = &self.connected else {
            return self.unconnected.get_ref().send_to(packet, to);
        };
        let mut peer = peer.lock();
        if *peer != Some(to) {
            // After a failure, the kernel may have kept the old peer: the next packet tries again.
            *peer = None;
            socket.connect(to)?;
            *peer = Some(to);
        }
        match socket.send(packet) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // The error is of an earlier packet: anyone can send an ICMP message that causes it. This packet was not sent.
            Err(_) => socket.send(packet),
            sent => sent,
        }
    }
}

#[cfg(target_os = "linux")]
impl Connected {
    /// Creates the second socket at the port of the first one.
    fn new(first: &UdpSocket) -> io::Result<Self> {
        let socket = bind_same_port(first)?;
        socket.set_nonblocking(true)?;
        crate::peer_reader::report_arrival_times(&socket)?;
        Ok(Self { watched: SetOnce::new(), socket, peer: Mutex::new(None) })
    }
}

/// Registers a socket, which must not block, with the runtime of the current task.
///
/// # Safety
/// The file descriptor must stay open, and the same, until the registration is dropped.
unsafe fn register<T: AsRawFd>(socket: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the caller promises it.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// Binds a second socket to the address of this one. The port is shared only during the bind: afterwards no other program
/// can bind it, and the kernel does not spread packets over both.
#[cfg(target_os = "linux")]
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
