//! UDP sockets: one for each local address, shared by all servers that are reached from it.

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

use super::SharedAgent;
use super::flows::{READ_BUFFER, milliseconds};
use crate::backend::sip::dscp::{TrafficClass, mark};
use crate::backend::sip::trust::TrustedAddresses;

/// Requested size of the send and receive buffers of a socket, in bytes. The operating system may grant less.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Maximum datagrams that are read before the task yields.
const MAX_DATAGRAMS: usize = 64;

/// A UDP socket, and the flows that use it, by server address.
pub(super) struct DatagramSocket {
    pub(super) sender: Arc<std::net::UdpSocket>,
    pub(super) local: SocketAddr,
    pub(super) flows: Mutex<HashMap<SocketAddr, (FlowId, Arc<AtomicU64>)>>,
    pub(super) close: CancellationToken,
}

impl DatagramSocket {
    /// Returns the flow of a datagram: that of its source, otherwise one of the same IP address, otherwise any. In the first
    /// two cases, the server counts as heard.
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

/// Reads datagrams. Those from addresses that are not the trunk's are dropped before they are parsed.
pub(super) async fn read_datagrams(
    owner: Weak<DatagramSocket>,
    socket: UdpSocket,
    shared: Arc<SharedAgent>,
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

/// Opens a socket with buffers for the datagrams of hundreds of concurrent calls.
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

/// Returns the local address from which the operating system sends packets to `server`.
pub(super) fn route_to(server: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = std::net::UdpSocket::bind((any, 0))?;
    probe.connect(server)?;
    Ok(probe.local_addr()?.ip())
}
