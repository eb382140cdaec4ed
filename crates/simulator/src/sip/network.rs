//! The sockets of SIP, and which call a message belongs to.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use phonegate_sip::framing::{StreamEvent, StreamReader};
use phonegate_sip::message::{Limits, Message, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::call::Invitation;
use super::driver::{self, NewCall};
use super::requests::{self, Peer};
use crate::exchange::Exchange;
use crate::number::is_e164;
use crate::recognition::Recordings;

/// Maximum number of TCP connections. For a further one, the one that has received nothing for the longest time is closed.
const MAX_CONNECTIONS: usize = 64;

/// Maximum number of calls in progress or ended in the last 32 s. Further ones are refused with 503.
const MAX_CALLS: usize = 500;

/// Number of messages that may wait for a call or a connection. Further ones are dropped, as a network would.
const MAX_WAITING: usize = 64;

/// Number of free ports that are tried until one is free for UDP and TCP, or one and the next for audio.
pub(super) const PORT_ATTEMPTS: usize = 20;

/// The time until the next attempt when a connection could not be accepted, such as for lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Why a call is refused if there are too many, and what to do.
const NO_MORE_CALLS: &str = "A call over SIP was refused with 503, because 500 calls, the maximum, are in progress or \
    ended in the last 32 s: call again later.";

/// The reason phrase of that refusal.
const NO_MORE_CALLS_PHRASE: &str = "500 calls, the maximum, are in progress or ended in the last 32 s";

/// Why a call is refused with 484, and what to do.
const NOT_E164: &str = "A call over SIP was refused with 484, because its number is not in E.164 with +: set `number_format` \
    of the backend to e164_plus, and remove `number_prefix`.";

/// The reason phrase of a call that is refused because the simulator ends.
const ENDING_PHRASE: &str = "The simulator ends";

/// The bytes of a stream that are read at once.
const CHUNK: usize = 16 * 1024;

/// The longest UDP datagram.
const MAX_DATAGRAM: usize = 65_535;

/// The sockets at one port.
pub(super) struct Sockets {
    pub(super) address: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
}

/// Binds a port for UDP and TCP.
pub(super) async fn bind(address: SocketAddr) -> io::Result<Sockets> {
    if address.ip().is_unspecified() {
        let problem = "the SIP callee needs one address, such as 127.0.0.1";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let mut attempt = 0;
    loop {
        let tcp = TcpListener::bind(address).await?;
        let bound = tcp.local_addr()?;
        match UdpSocket::bind(bound).await {
            Ok(udp) => return Ok(Sockets { address: bound, udp, tcp }),
            Err(error) if address.port() != 0 || attempt == PORT_ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}

/// Sends messages. Cheap to clone.
#[derive(Clone)]
pub(super) struct Network {
    udp: Arc<UdpSocket>,
    connections: Arc<Mutex<HashMap<u64, TcpConnection>>>,
}

/// A TCP connection.
struct TcpConnection {
    to_send: mpsc::Sender<Vec<u8>>,
    received_at: Arc<Mutex<Instant>>,
    task: AbortHandle,
}

impl Network {
    /// Sends a message. It is lost if its connection is closed, or too many wait.
    pub(super) async fn send(&self, to: Peer, bytes: Vec<u8>) {
        match to.connection {
            None => drop(self.udp.send_to(&bytes, to.address).await),
            Some(id) => {
                if let Some(connection) = self.connections.lock().get(&id) {
                    let _ = connection.to_send.try_send(bytes);
                }
            }
        }
    }

    /// Closes the connection that has received nothing for the longest time, if there are `MAX_CONNECTIONS`.
    fn close_idlest_if_full(&self) {
        let mut connections = self.connections.lock();
        connections.retain(|_, connection| !connection.task.is_finished());
        if connections.len() < MAX_CONNECTIONS {
            return;
        }
        let idlest = connections.iter().min_by_key(|(_, connection)| *connection.received_at.lock());
        if let Some(connection) = idlest.map(|(id, _)| *id).and_then(|id| connections.remove(&id)) {
            connection.task.abort();
        }
    }
}

/// Receives messages until it is dropped, and with it all calls and connections. Once `ending` is closed, it ends the
/// calls, and returns when the last one has ended.
pub(super) async fn serve(
    sockets: Sockets,
    exchange: Exchange,
    recordings: Arc<Recordings>,
    mut ending: watch::Receiver<()>,
) {
    let Sockets { address, udp, tcp } = sockets;
    let network = Network { udp: Arc::new(udp), connections: Arc::default() };
    let (inbox, mut messages) = mpsc::channel(MAX_WAITING);
    let mut server = Server {
        address,
        network: network.clone(),
        exchange,
        recordings,
        tag: format!("{:016x}", fastrand::u64(..)),
        calls: HashMap::new(),
        tasks: JoinSet::new(),
        ending: ending.clone(),
    };
    let mut next_connection = 0;
    let mut datagram = vec![0; MAX_DATAGRAM];
    while !server.has_ended() {
        tokio::select! {
            _ = ending.changed(), if !server.is_ending() => {}
            received = network.udp.recv_from(&mut datagram) => {
                // An error is about an earlier datagram: nothing listened at its destination.
                let Ok((length, address)) = received else { continue };
                let bytes = datagram.get(..length).unwrap_or_default();
                if let Ok(message) = Message::from_datagram(bytes, &Limits::default()) {
                    server.receive(message, Peer { address, connection: None }).await;
                }
            }
            accepted = tcp.accept() => {
                let Ok((stream, address)) = accepted else {
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                };
                network.close_idlest_if_full();
                next_connection += 1;
                let (sender, to_send) = mpsc::channel(MAX_WAITING);
                let received_at = Arc::new(Mutex::new(Instant::now()));
                let peer = Peer { address, connection: Some(next_connection) };
                let serving = serve_connection(stream, peer, inbox.clone(), to_send, Arc::clone(&received_at));
                let connection = TcpConnection { to_send: sender, received_at, task: server.tasks.spawn(serving) };
                network.connections.lock().insert(next_connection, connection);
            }
            Some((message, peer)) = messages.recv() => server.receive(message, peer).await,
            Some(_) = server.tasks.join_next() => server.calls.retain(|_, call| !call.is_closed()),
        }
    }
}

async fn serve_connection(
    mut stream: TcpStream,
    peer: Peer,
    inbox: mpsc::Sender<(Message, Peer)>,
    mut to_send: mpsc::Receiver<Vec<u8>>,
    received_at: Arc<Mutex<Instant>>,
) {
    let mut reader = StreamReader::new(Limits::default());
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = tokio::select! {
            received = stream.read(&mut buffer) => match received {
                Ok(length @ 1..) => length,
                _ => return,
            },
            Some(bytes) = to_send.recv() => match stream.write_all(&bytes).await {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        *received_at.lock() = Instant::now();
        if reader.push(buffer.get(..length).unwrap_or_default()).is_err() {
            return;
        }
        loop {
            match reader.next_event() {
                Ok(None) => break,
                Ok(Some(StreamEvent::Message(message))) => {
                    if inbox.send((message, peer)).await.is_err() {
                        return;
                    }
                }
                // The response to a keep-alive (RFC 5626, 4.4.1).
                Ok(Some(StreamEvent::Ping)) => {
                    if stream.write_all(b"\r\n").await.is_err() {
                        return;
                    }
                }
                Ok(Some(_)) => {}
                Err(_) => return,
            }
        }
    }
}

struct Server {
    address: SocketAddr,
    network: Network,
    exchange: Exchange,
    recordings: Arc<Recordings>,
    /// The tag of responses outside of calls.
    tag: String,
    /// The calls by Call-ID.
    calls: HashMap<String, mpsc::Sender<(Message, Peer)>>,
    /// Calls and connections.
    tasks: JoinSet<()>,
    /// Closed when the calls must end.
    ending: watch::Receiver<()>,
}

impl Server {
    fn is_ending(&self) -> bool {
        self.ending.has_changed().is_err()
    }

    fn has_ended(&self) -> bool {
        self.is_ending() && self.calls.values().all(mpsc::Sender::is_closed)
    }

    async fn receive(&mut self, message: Message, peer: Peer) {
        let Ok(essentials) = message.essentials() else {
            let is_answered =
                message.method().is_some_and(|method| *method != Method::Ack) && message.top_via().is_ok();
            if is_answered {
                self.send(requests::finish(requests::response(&message, peer, 400, &self.tag), peer)).await;
            }
            return;
        };
        if let Some(call) = self.calls.get(essentials.call_id).filter(|call| !call.is_closed()) {
            let _ = call.try_send((message, peer));
            return;
        }
        if !message.is_request() {
            return;
        }
        if essentials.cseq.method != Method::Invite || essentials.to.tag().is_some() {
            self.send(requests::respond_outside_calls(&message, &essentials, peer, &self.tag)).await;
            return;
        }
        let invitation = Invitation::read(&message, &essentials, peer, (self.address, &self.tag));
        let call_id = essentials.call_id.to_owned();
        let is_full = self.calls.len() >= MAX_CALLS;
        match invitation {
            Ok(invitation) if !is_e164(&invitation.number) => {
                self.exchange.report_problem(&invitation.number, NOT_E164);
                let refusal = requests::refusal(&message, peer, (484, "The number is not in E.164 with +"), &self.tag);
                self.send(requests::finish(refusal, peer)).await;
            }
            Ok(_) if self.is_ending() => {
                let refusal = requests::refusal(&message, peer, (503, ENDING_PHRASE), &self.tag);
                self.send(requests::finish(refusal, peer)).await;
            }
            Ok(invitation) if !is_full => {
                let (sender, messages) = mpsc::channel(MAX_WAITING);
                self.calls.insert(call_id, sender);
                let call = NewCall { invitation, sip: self.address, messages, ending: self.ending.clone() };
                let (network, exchange) = (self.network.clone(), self.exchange.clone());
                self.tasks.spawn(driver::run(call, network, exchange, Arc::clone(&self.recordings)));
            }
            Ok(invitation) => {
                self.exchange.report_problem(&invitation.number, NO_MORE_CALLS);
                let refusal = requests::refusal(&message, peer, (503, NO_MORE_CALLS_PHRASE), &self.tag);
                self.send(requests::finish(refusal, peer)).await;
            }
            Err(refusal) => self.send(requests::finish(refusal, peer)).await,
        }
    }

    async fn send(&self, response: Option<(Peer, Vec<u8>)>) {
        if let Some((to, bytes)) = response {
            self.network.send(to, bytes).await;
        }
    }
}
