//! UDP sockets, each for all servers that are reached from its address.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use phonegate_sip::agent::FlowId;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::flows::{READ_BUFFER, milliseconds};
use crate::backend::sip::dscp::{TrafficClass, mark};
use crate::backend::sip::trust::TrustedAddresses;

/// The buffers of a socket, in bytes, as far as the operating system grants them.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Datagrams that are read before other tasks get their turn.
const MAX_DATAGRAMS: usize = 64;

/// A UDP socket, and the flows that use it by the address of their server.
pub(super) struct DatagramSocket {
    pub(super) sender: Arc<std::net::UdpSocket>,
    pub(super) local: SocketAddr,
    pub(super) flows: Mutex<HashMap<SocketAddr, (FlowId, Arc<AtomicU64>)>>,
    pub(super) close: CancellationToken,
}

impl DatagramSocket {
    /// Returns the flow that a datagram belongs to: that of its source, else that of another port of its address, else any.
    /// Only in the first two cases its server was heard.
    fn flow_of(&self, source: SocketAddr, now: impl Fn() -> u64) -> Option<FlowId> {
        let flows = self.flows.lock();
        let of_address = || flows.iter().find(|(server, _)| server.ip() == source.ip()).map(|(_, flow)| flow);
        if let Some((flow, heard)) = flows.get(&source).or_else(of_address) {
            heard.store(now(), Ordering::Relaxed);
            return Some(*flow);
        }
        flows.values().next().map(|(flow, _)| *flow)
    }
}

impl Drop for DatagramSocket {
    fn drop(&mut self) {
        self.close.cancel();
    }
}

/// Reads datagrams, and drops what is not from an address of the trunk before it is parsed.
pub(super) async fn read_datagrams(
    owner: Weak<DatagramSocket>,
    socket: UdpSocket,
    shared: Arc<Shared>,
    trusted: Arc<TrustedAddresses>,
) {
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        // On Windows an error reports an earlier datagram that was refused (WSAECONNRESET).
        if socket.readable().await.is_err() {
            continue;
        }
        for _ in 0..MAX_DATAGRAMS {
            let (length, source) = match socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => continue,
            };
            let Some(owner) = owner.upgrade() else { return };
            if !trusted.admits(source.ip()) {
                continue;
            }
            let Some(flow) = owner.flow_of(source, || milliseconds(&shared)) else { continue };
            shared.handle_datagram(flow, source, buffer.get(..length).unwrap_or_default());
        }
        tokio::task::yield_now().await;
    }
}

/// A socket whose buffers hold the datagrams of hundreds of calls at once.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for granted in [socket.set_recv_buffer_size(SOCKET_BUFFER), socket.set_send_buffer_size(SOCKET_BUFFER)] {
        granted?;
    }
    mark(SockRef::from(&socket), address.ip(), TrafficClass::Signalling);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The address from which packets to `server` are sent.
pub(super) fn route_to(server: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = std::net::UdpSocket::bind((any, 0))?;
    probe.connect(server)?;
    Ok(probe.local_addr()?.ip())
}
