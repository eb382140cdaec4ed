//! A SIP server whose connections a test controls: it can vanish, restart and move, and it records where each request
//! arrives.
//!
//! It responds to an INVITE as the test says, and to everything else as a PBX does. Its audio is that of a
//! [`Handset`](super::handset::Handset).

mod requests;
mod transport;

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::Issued;
use requests::header;
use transport::{accept, bind, read_datagrams};

/// How often the threads of the server check whether they should end.
const TICK: Duration = Duration::from_millis(20);

/// A reply of the server to an INVITE.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A response with this code and these headers, each a line.
    Status(u16, String),
    /// 200. The user hears the prompt and presses the pound key.
    Verify,
    /// 200. The user presses the pound key after [`SipServer::press`].
    PickUp,
}

/// Returns a response without further headers.
pub fn status(code: u16) -> Reply {
    Reply::Status(code, String::new())
}

/// Returns a redirection to this URI.
pub fn redirect(uri: &str) -> Reply {
    Reply::Status(302, format!("Contact: <{uri}>\r\n"))
}

/// Returns the usual replies: the phone rings, and the user presses the pound key.
pub fn verify() -> Vec<Reply> {
    vec![status(180), Reply::Verify]
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Request {
    pub text: String,
    /// The address at which the server received it.
    pub at: SocketAddr,
    /// The source of the request. Each connection is a source of its own.
    pub from: SocketAddr,
}

impl Request {
    /// Returns the method.
    pub fn method(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> &str {
        header(&self.text, name)
    }
}

/// A running server.
pub struct SipServer {
    pub address: SocketAddr,
    transport: &'static str,
    tls: Option<Arc<ServerConfig>>,
    state: Arc<State>,
    listening: Mutex<Arc<AtomicBool>>,
}

struct State {
    address: SocketAddr,
    transport: &'static str,
    replies: Mutex<Vec<Reply>>,
    requests: Mutex<Vec<Request>>,
    connections: Mutex<Vec<TcpStream>>,
    answers_options: AtomicBool,
    challenges_removals: AtomicBool,
    /// Whether the current connections are neither read nor written, as by a server without power.
    is_dead: Mutex<Arc<AtomicBool>>,
    may_press: AtomicBool,
    /// Sent responses by branch and method, for retransmitted requests.
    sent: Mutex<HashMap<String, Vec<String>>>,
    /// The INVITE of each Call-ID.
    invites: Mutex<HashMap<String, String>>,
    /// Sends to the source of the INVITE, by Call-ID.
    paths: Mutex<HashMap<String, Send>>,
}

/// Sends to the source of a request.
type Send = Arc<dyn Fn(&str) + std::marker::Send + Sync>;

impl SipServer {
    /// Starts a server over `udp` or `tcp`.
    pub fn start(transport: &'static str, address: SocketAddr, replies: Vec<Reply>) -> Self {
        Self::with(transport, address, replies, None)
    }

    /// Starts a server over TLS.
    pub fn tls(address: SocketAddr, replies: Vec<Reply>, issued: &Issued) -> Self {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            config.with_no_client_auth().with_single_cert(vec![issued.certificate.der().clone()], key).unwrap();
        Self::with("tls", address, replies, Some(Arc::new(config)))
    }

    fn with(transport: &'static str, address: SocketAddr, replies: Vec<Reply>, tls: Option<Arc<ServerConfig>>) -> Self {
        let state = Arc::new(State {
            address,
            transport,
            replies: Mutex::new(replies),
            requests: Mutex::default(),
            connections: Mutex::default(),
            answers_options: AtomicBool::new(true),
            challenges_removals: AtomicBool::new(false),
            is_dead: Mutex::default(),
            may_press: AtomicBool::new(false),
            sent: Mutex::default(),
            invites: Mutex::default(),
            paths: Mutex::default(),
        });
        let server = Self { address, transport, tls, state, listening: Mutex::default() };
        server.listen();
        server
    }

    /// Returns the SIP URI.
    pub fn uri(&self) -> String {
        format!("sip:{};transport={}", self.address, self.transport)
    }

    /// Starts to listen, also after [`Self::stop_listening`].
    pub fn listen(&self) {
        let is_open = Arc::new(AtomicBool::new(true));
        *self.listening.lock().unwrap() = Arc::clone(&is_open);
        let state = Arc::clone(&self.state);
        if self.transport == "udp" {
            let socket = Arc::new(UdpSocket::bind(self.address).unwrap());
            socket.set_read_timeout(Some(TICK)).unwrap();
            std::thread::spawn(move || read_datagrams(&state, &socket, &is_open));
        } else {
            let listener = bind(self.address);
            listener.set_nonblocking(true).unwrap();
            let tls = self.tls.clone();
            std::thread::spawn(move || accept(&state, &listener, &is_open, tls.as_ref()));
        }
    }

    /// Refuses connections, and receives no datagrams, from now on. Connections stay.
    pub fn stop_listening(&self) {
        self.listening.lock().unwrap().store(false, Ordering::Relaxed);
        super::wait_until("the server has closed its socket", || match self.transport {
            "udp" => UdpSocket::bind(self.address).is_ok(),
            _ => TcpStream::connect(self.address).is_err(),
        });
    }

    /// Ends all connections, with RST or with FIN.
    pub fn disconnect(&self, is_reset: bool) {
        for connection in self.state.connections.lock().unwrap().drain(..) {
            if is_reset {
                socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO)).unwrap();
            } else {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
        // The threads that read them end, and close them.
        let mut is_dead = self.state.is_dead.lock().unwrap();
        is_dead.store(true, Ordering::Relaxed);
        *is_dead = Arc::default();
    }

    /// Stops reading the open connections without closing them. New ones work.
    pub fn lose_connections(&self) -> LostConnections {
        let mut is_dead = self.state.is_dead.lock().unwrap();
        // Kept open: the reading threads have copies, which they drop.
        let kept = std::mem::take(&mut *self.state.connections.lock().unwrap());
        is_dead.store(true, Ordering::Relaxed);
        *is_dead = Arc::default();
        LostConnections { kept }
    }

    /// Sets whether the server responds to OPTIONS.
    pub fn answer_options(&self, answers: bool) {
        self.state.answers_options.store(answers, Ordering::Relaxed);
    }

    /// Challenges REGISTER requests that remove a contact from now on.
    pub fn challenge_removals(&self) {
        self.state.challenges_removals.store(true, Ordering::Relaxed);
    }

    /// Sets the responses to an INVITE.
    pub fn reply(&self, replies: Vec<Reply>) {
        *self.state.replies.lock().unwrap() = replies;
    }

    /// Makes the user press the pound key, after [`Reply::PickUp`].
    pub fn press(&self) {
        self.state.may_press.store(true, Ordering::Relaxed);
    }

    /// Returns the requests of a method so far, without retransmissions.
    pub fn requests(&self, method: &str) -> Vec<Request> {
        let requests = self.state.requests.lock().unwrap();
        requests.iter().filter(|request| request.method() == method).cloned().collect()
    }

    /// Waits for the first `count` requests of a method.
    pub fn receives(&self, method: &str, count: usize) -> Vec<Request> {
        super::wait_until(&format!("{} receives {count} {method}", self.address), || {
            self.requests(method).len() >= count
        });
        self.requests(method)
    }

    /// Ends the established call of this INVITE.
    pub fn hang_up(&self, invite: &Request) {
        let uri = invite.header("Contact").trim_matches(['<', '>']);
        let (transport, address) = (self.transport.to_ascii_uppercase(), self.address);
        let bye = format!(
            "BYE {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {address};branch=z9hG4bKbye\r\nFrom: {};tag=server\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            invite.header("To"),
            invite.header("From"),
            invite.header("Call-ID"),
        );
        let path = Arc::clone(&self.state.paths.lock().unwrap()[invite.header("Call-ID")]);
        path(&bye);
    }

    /// Returns how many phones rang: the number of Call-IDs of INVITEs.
    pub fn rings(&self) -> usize {
        let requests = self.requests("INVITE");
        requests.iter().map(|request| request.header("Call-ID")).collect::<std::collections::HashSet<_>>().len()
    }
}

impl Drop for SipServer {
    fn drop(&mut self) {
        self.listening.lock().unwrap().store(false, Ordering::Relaxed);
        self.state.is_dead.lock().unwrap().store(true, Ordering::Relaxed);
    }
}

/// Open connections that are no longer read.
pub struct LostConnections {
    kept: Vec<TcpStream>,
}

impl LostConnections {
    /// Resets the connections, as a restarted server does.
    pub fn reset(self) {
        for connection in &self.kept {
            socket2::SockRef::from(connection).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}
