//! Flows to servers: opens, reuses and closes UDP sockets and connections.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use phonegate_sip::agent::{Flow, FlowId, Transmit, Transport};
use phonegate_sip::message::limits;
use rustls::ClientConfig;
use tokio::net::UdpSocket;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SharedAgent;
use super::connections::connect;
use super::datagrams::{DatagramSocket, bind, read_datagrams, route_to};
use super::lost::LostFlows;
use crate::backend::sip::target::Server;
use crate::backend::sip::trust::TrustedAddresses;

/// How long a flow is kept open after its last use.
const UNUSED_FOR: Duration = Duration::from_secs(600);

/// Maximum bytes of one read. A datagram with a message of any accepted length fits.
pub(super) const READ_BUFFER: usize = 65_536;

const _: () = assert!(READ_BUFFER >= limits::MESSAGE, "a message of any accepted length fits");

/// Settings of all flows of a trunk.
pub(in crate::backend::sip) struct FlowSettings {
    pub(in crate::backend::sip) local_address: Option<IpAddr>,
    /// The local UDP port. 0: any.
    pub(in crate::backend::sip) local_port: u16,
    pub(in crate::backend::sip) tls: Arc<ClientConfig>,
    pub(in crate::backend::sip) trusted: Arc<TrustedAddresses>,
}

/// The open flows, by server. Concurrent calls to one server share the attempt to open its flow.
#[derive(Default)]
pub(in crate::backend::sip) struct Flows {
    flows: Mutex<HashMap<Server, Arc<FlowOpening>>>,
    /// One socket for each local address, so that a fixed port serves all servers.
    sockets: Mutex<HashMap<IpAddr, Weak<DatagramSocket>>>,
    /// Connections that were lost while calls used them.
    pub(in crate::backend::sip) lost: Arc<LostFlows>,
}

/// The attempt to open a flow, and its result.
type FlowOpening = OnceCell<Result<Arc<OpenFlow>, String>>;

/// An open flow. Dropping it closes the flow.
pub(in crate::backend::sip) struct OpenFlow {
    pub(in crate::backend::sip) id: FlowId,
    pub(in crate::backend::sip) server: Server,
    pub(in crate::backend::sip) local: SocketAddr,
    /// Held while the server is probed.
    pub(in crate::backend::sip) probing: tokio::sync::Mutex<()>,
    /// When the latest probe failed. `None` if it succeeded.
    pub(super) silent_at: Mutex<Option<Instant>>,
    pub(in crate::backend::sip) opened: Instant,
    pub(super) opened_or_used: Mutex<Instant>,
    pub(super) shared: Arc<SharedAgent>,
    pub(super) lost: CancellationToken,
    /// Why a connection was lost.
    pub(super) why_lost: Arc<OnceLock<String>>,
    /// When the server last sent something, in milliseconds since the driver's start. 0: never.
    pub(super) heard: Arc<AtomicU64>,
    /// The socket of a flow over UDP.
    pub(super) socket: Option<Arc<DatagramSocket>>,
}

impl OpenFlow {
    /// Returns whether the flow is kept for the next call: it is open, and is in use or was used within [`UNUSED_FOR`]. The
    /// addresses of a name change over time, and flows to old ones would accumulate.
    fn is_kept(this: &Arc<Self>) -> bool {
        let is_used = Arc::strong_count(this) > 1 || this.opened_or_used.lock().elapsed() < UNUSED_FOR;
        this.is_open() && is_used
    }

    /// Returns whether the flow is open.
    pub(in crate::backend::sip) fn is_open(&self) -> bool {
        !self.lost.is_cancelled()
    }

    /// Waits until the flow is closed.
    pub(in crate::backend::sip) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Closes a connection that no longer works.
    pub(in crate::backend::sip) fn close(&self) {
        self.lost.cancel();
    }

    /// Returns why a connection was lost, with the server's address.
    pub(in crate::backend::sip) fn why_lost(&self) -> String {
        let reason = self.why_lost.get().map_or("the connection was lost", String::as_str);
        format!("{}: {reason}", self.server.address)
    }

    /// Returns whether the server has ever sent something.
    pub(in crate::backend::sip) fn was_ever_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the server sent something within this time, and no probe has failed since.
    pub(in crate::backend::sip) fn was_heard(&self, within: Duration) -> bool {
        let ago = match self.heard.load(Ordering::Relaxed) {
            0 => return false,
            at => self.shared.start.elapsed().saturating_sub(Duration::from_millis(at)),
        };
        ago <= within && self.silent_at.lock().is_none_or(|silent_at| ago < silent_at.elapsed())
    }

    /// Returns whether the latest probe failed within this time.
    pub(in crate::backend::sip) fn was_silent(&self, within: Duration) -> bool {
        self.silent_at.lock().is_some_and(|at| at.elapsed() < within)
    }

    /// Records whether the server responded to a probe.
    pub(in crate::backend::sip) fn record_probe(&self, has_responded: bool) {
        *self.silent_at.lock() = (!has_responded).then(Instant::now);
    }

    pub(in crate::backend::sip) fn shared(&self) -> &Arc<SharedAgent> {
        &self.shared
    }
}

impl Drop for OpenFlow {
    fn drop(&mut self) {
        self.lost.cancel();
        if let Some(socket) = &self.socket {
            let mut flows = socket.flows.lock();
            if flows.get(&self.server.address).is_some_and(|(id, _)| *id == self.id) {
                flows.remove(&self.server.address);
            }
        }
        self.shared.with(|state, now| {
            state.writers.remove(&self.id);
            state.agent.close_flow(now, self.id);
        });
    }
}

/// Writes the bytes of a flow.
pub(super) enum Writer {
    /// The operating system's socket. A send on the runtime's socket fails until the runtime knows that it is writable.
    Datagram(Arc<std::net::UdpSocket>),
    Stream(mpsc::Sender<Vec<u8>>, CancellationToken),
}

impl Writer {
    /// Sends a datagram, or queues the bytes for the task that writes the connection.
    ///
    /// # Errors
    /// Certainly no byte was sent.
    pub(super) fn send(&self, transmit: &Transmit) -> Result<(), ()> {
        match self {
            Self::Datagram(socket) => match socket.send_to(&transmit.bytes, transmit.destination) {
                Ok(_) => Ok(()),
                // The buffer is full. The datagram counts as lost in the network, and the agent retransmits it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(_) => Err(()),
            },
            Self::Stream(writer, lost) => {
                if lost.is_cancelled() {
                    return Err(());
                }
                writer.try_send(transmit.bytes.clone()).map_err(|_| lost.cancel())
            }
        }
    }

    pub(super) fn close(&self) {
        if let Self::Stream(_, lost) = self {
            lost.cancel();
        }
    }
}

impl Flows {
    /// Returns the flow to a server. Opens one if none is open.
    ///
    /// # Errors
    /// The reason why the server cannot be reached. No phone rang.
    pub(in crate::backend::sip) async fn flow(
        &self,
        shared: &Arc<SharedAgent>,
        server: &Server,
        settings: &FlowSettings,
    ) -> Result<Arc<OpenFlow>, String> {
        let opening = {
            let mut flows = self.flows.lock();
            flows.retain(|_, opening| opening.get().is_none_or(|opened| opened.as_ref().is_ok_and(OpenFlow::is_kept)));
            Arc::clone(flows.entry(server.clone()).or_default())
        };
        let open = async {
            let flow = match server.transport {
                Transport::Udp => self.open_datagrams(shared, server, settings),
                Transport::Tcp | Transport::Tls => connect(shared, server, settings, &self.lost).await,
            };
            flow.map(Arc::new)
        };
        let opened = opening.get_or_init(|| open).await.clone();
        if let Ok(flow) = &opened {
            *flow.opened_or_used.lock() = Instant::now();
            self.lost.move_calls(shared, &flow.server, flow.id);
        }
        opened
    }

    /// Returns the addresses of the servers of a name whose flows are in use.
    pub(in crate::backend::sip) fn in_use(&self, name: &str) -> Vec<IpAddr> {
        let flows = self.flows.lock();
        let of_name = flows.iter().filter(|(server, _)| server.name == name);
        let is_used = |opening: &FlowOpening| matches!(opening.get(), Some(Ok(flow)) if Arc::strong_count(flow) > 1);
        of_name.filter(|(_, opening)| is_used(opening)).map(|(server, _)| server.address.ip()).collect()
    }

    fn open_datagrams(
        &self,
        shared: &Arc<SharedAgent>,
        server: &Server,
        settings: &FlowSettings,
    ) -> Result<OpenFlow, String> {
        let address = match settings.local_address {
            Some(address) => address,
            None => {
                route_to(server.address).map_err(|error| format!("there is no route to {}: {error}", server.address))?
            }
        };
        let socket = self.socket(shared, address, settings)?;
        let flow = Flow { transport: Transport::Udp, local: socket.local, remote: server.address };
        let id = shared.with(|state, _| {
            let id = state.agent.open_flow(flow).map_err(|error| error.to_string())?;
            state.writers.insert(id, Writer::Datagram(Arc::clone(&socket.sender)));
            Ok::<_, String>(id)
        })?;
        let heard = Arc::new(AtomicU64::new(0));
        socket.flows.lock().insert(server.address, (id, Arc::clone(&heard)));
        Ok(OpenFlow {
            id,
            server: server.clone(),
            local: socket.local,
            probing: tokio::sync::Mutex::default(),
            silent_at: Mutex::default(),
            opened: Instant::now(),
            opened_or_used: Mutex::new(Instant::now()),
            shared: Arc::clone(shared),
            lost: CancellationToken::new(),
            why_lost: Arc::default(),
            heard,
            socket: Some(socket),
        })
    }

    fn socket(
        &self,
        shared: &Arc<SharedAgent>,
        address: IpAddr,
        settings: &FlowSettings,
    ) -> Result<Arc<DatagramSocket>, String> {
        let mut sockets = self.sockets.lock();
        if let Some(socket) = sockets.get(&address).and_then(Weak::upgrade) {
            return Ok(socket);
        }
        let socket = bind(SocketAddr::new(address, settings.local_port))
            .or_else(|error| match error.kind() {
                // The service uses the port, so a check or a test call takes another one.
                io::ErrorKind::AddrInUse if settings.local_port != 0 => bind(SocketAddr::new(address, 0)),
                _ => Err(error),
            })
            .map_err(|error| format!("cannot open a socket on {address}: {error}"))?;
        let local = socket.local_addr().map_err(|error| error.to_string())?;
        let sender = socket.try_clone().map_err(|error| error.to_string())?;
        let receiver = UdpSocket::from_std(socket).map_err(|error| error.to_string())?;
        let close = shared.close.child_token();
        let socket =
            Arc::new(DatagramSocket { sender: Arc::new(sender), local, flows: Mutex::default(), close: close.clone() });
        let reading =
            read_datagrams(Arc::downgrade(&socket), receiver, Arc::clone(shared), Arc::clone(&settings.trusted));
        tokio::spawn(close.run_until_cancelled_owned(reading));
        sockets.insert(address, Arc::downgrade(&socket));
        Ok(socket)
    }
}

/// Returns the milliseconds since the driver's start, at least 1.
pub(super) fn milliseconds(shared: &SharedAgent) -> u64 {
    u64::try_from(shared.start.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
}
