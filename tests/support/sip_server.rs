//! A SIP server whose connections a test controls: it can vanish, restart, move, and look at where each request arrives.
//!
//! It answers an INVITE with what the test says, and everything else as a PBX does. Its audio is a [`Handset`]'s.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificate::Issued;
use super::handset::Handset;

/// How often a thread of the server looks whether it should end.
const TICK: Duration = Duration::from_millis(20);

/// What the server sends after an INVITE.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A response with this code and these headers, each a line.
    Status(u16, String),
    /// 200. The user hears the prompt and presses the pound key.
    Verify,
    /// 200. The user presses the pound key once the test says so, by [`SipServer::press`].
    PickUp,
}

/// A response without further headers.
pub fn status(code: u16) -> Reply {
    Reply::Status(code, String::new())
}

/// A redirection to this URI.
pub fn redirect(uri: &str) -> Reply {
    Reply::Status(302, format!("Contact: <{uri}>\r\n"))
}

/// The usual replies: it rings, and the user presses the pound key.
pub fn verify() -> Vec<Reply> {
    vec![status(180), Reply::Verify]
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Request {
    pub text: String,
    /// Where the server received it.
    pub at: SocketAddr,
    /// Where it came from. A connection has one of its own.
    pub from: SocketAddr,
}

impl Request {
    /// Its method.
    pub fn method(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// The value of a header.
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
    /// It reads nothing and says nothing, as a server without power.
    is_dead: Mutex<Arc<AtomicBool>>,
    may_press: AtomicBool,
    /// By branch and method: what was sent, for a request that is sent again.
    sent: Mutex<HashMap<String, Vec<String>>>,
    /// The INVITE by its Call-ID.
    invites: Mutex<HashMap<String, String>>,
    /// Where the responses to an INVITE go, by its Call-ID.
    paths: Mutex<HashMap<String, Send>>,
}

/// Sends to where a request came from.
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

    /// Its SIP URI.
    pub fn uri(&self) -> String {
        format!("sip:{};transport={}", self.address, self.transport)
    }

    /// Listens again, after it has stopped.
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

    /// Vanishes without a word: connections stay open, and nobody reads from them. New ones are accepted and answered.
    pub fn lose_connections(&self) -> LostConnections {
        let mut is_dead = self.state.is_dead.lock().unwrap();
        // Kept open: the reading threads have copies, which they drop.
        let kept = std::mem::take(&mut *self.state.connections.lock().unwrap());
        is_dead.store(true, Ordering::Relaxed);
        *is_dead = Arc::default();
        LostConnections { kept }
    }

    /// Answers OPTIONS from now on, or does not.
    pub fn answer_options(&self, answers: bool) {
        self.state.answers_options.store(answers, Ordering::Relaxed);
    }

    /// Asks for credentials before it removes a contact, from now on.
    pub fn challenge_removals(&self) {
        self.state.challenges_removals.store(true, Ordering::Relaxed);
    }

    /// Answers an INVITE with these from now on.
    pub fn reply(&self, replies: Vec<Reply>) {
        *self.state.replies.lock().unwrap() = replies;
    }

    /// Lets the user press the pound key, after [`Reply::PickUp`].
    pub fn press(&self) {
        self.state.may_press.store(true, Ordering::Relaxed);
    }

    /// The requests of a method so far. One that was sent again is one.
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

    /// Ends the call that this INVITE has begun, after it was answered.
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

    /// How many phones rang: INVITEs with Call-IDs of their own.
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

/// Connections that nobody reads from any more, but that are open.
pub struct LostConnections {
    kept: Vec<TcpStream>,
}

impl LostConnections {
    /// The server is back, and knows nothing of these connections: it resets them.
    pub fn reset(self) {
        for connection in &self.kept {
            socket2::SockRef::from(connection).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}

/// Binds a port that connections of before may still occupy.
fn bind(address: SocketAddr) -> TcpListener {
    let mut listener = None;
    super::wait_until("the port is free", || {
        listener = TcpListener::bind(address).ok();
        listener.is_some()
    });
    listener.unwrap()
}

fn read_datagrams(state: &Arc<State>, socket: &Arc<UdpSocket>, is_open: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while is_open.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let socket = Arc::clone(socket);
        // As on the way: what cannot be sent is lost.
        let send: Send = Arc::new(move |text| drop(socket.send_to(text.as_bytes(), from)));
        handle(state, &text, from, &send);
    }
}

fn accept(state: &Arc<State>, listener: &TcpListener, is_open: &AtomicBool, tls: Option<&Arc<ServerConfig>>) {
    while is_open.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, from)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(TICK)).unwrap();
                let state = Arc::clone(state);
                let is_dead = {
                    let is_dead = state.is_dead.lock().unwrap();
                    state.connections.lock().unwrap().push(stream.try_clone().unwrap());
                    Arc::clone(&is_dead)
                };
                let tls = tls.cloned();
                std::thread::spawn(move || match tls {
                    Some(tls) => {
                        let stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
                        read_stream(&state, stream, from, &is_dead);
                    }
                    None => read_stream(&state, stream, from, &is_dead),
                });
            }
            Err(_) => std::thread::sleep(TICK),
        }
    }
}

fn read_stream(
    state: &Arc<State>,
    stream: impl Read + Write + std::marker::Send + 'static,
    from: SocketAddr,
    is_dead: &AtomicBool,
) {
    let stream = Arc::new(Mutex::new(stream));
    let writer = Arc::downgrade(&stream);
    let send: Send = Arc::new(move |text| {
        if let Some(stream) = writer.upgrade() {
            // The other side may have closed it.
            let _ = stream.lock().unwrap().write_all(text.as_bytes());
        }
    });
    let (mut read, mut buffer) = (Vec::new(), [0; 65_536]);
    while !is_dead.load(Ordering::Relaxed) {
        let result = stream.lock().unwrap().read(&mut buffer);
        // Whoever wants to write gets the lock.
        std::thread::sleep(Duration::from_millis(1));
        match result {
            Ok(0) => return,
            // What arrived after it died was read by nobody.
            Ok(length) if !is_dead.load(Ordering::Relaxed) => read.extend_from_slice(&buffer[..length]),
            Ok(_) => return,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        while let Some(message) = next_message(&mut read) {
            handle(state, &message, from, &send);
        }
    }
}

fn next_message(read: &mut Vec<u8>) -> Option<String> {
    while read.starts_with(b"\r\n") {
        read.drain(..2);
    }
    let head = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let length: usize = header(&String::from_utf8_lossy(&read[..head]), "Content-Length").parse().unwrap_or(0);
    let whole = head + length;
    (read.len() >= whole).then(|| String::from_utf8_lossy(&read.drain(..whole).collect::<Vec<_>>()).into_owned())
}

fn handle(state: &Arc<State>, text: &str, from: SocketAddr, send: &Send) {
    let request = Request { text: text.to_owned(), at: state.address, from };
    if text.starts_with("SIP/2.0") {
        return;
    }
    let branch = request.header("Via").split(";branch=").nth(1).and_then(|rest| rest.split(';').next());
    let transaction = format!("{} {}", branch.unwrap_or_default(), request.method());
    let known = state.sent.lock().unwrap().get(&transaction).cloned();
    if let Some(sent) = known {
        sent.iter().for_each(|message| send(message));
        return;
    }
    let is_heard = request.method() != "OPTIONS" || state.answers_options.load(Ordering::Relaxed);
    state.requests.lock().unwrap().push(request.clone());
    let respond = |code: u16, headers: &str, body: &str| {
        let message = response(&request, state, code, headers, body);
        state.sent.lock().unwrap().entry(transaction.clone()).or_default().push(message.clone());
        send(&message);
    };
    state.sent.lock().unwrap().entry(transaction.clone()).or_default();
    match request.method() {
        "ACK" => {}
        "INVITE" => {
            state.invites.lock().unwrap().insert(request.header("Call-ID").to_owned(), text.to_owned());
            state.paths.lock().unwrap().insert(request.header("Call-ID").to_owned(), Arc::clone(send));
            let replies = state.replies.lock().unwrap().clone();
            for reply in replies {
                match reply {
                    Reply::Status(code, headers) => respond(code, &headers, ""),
                    Reply::Verify | Reply::PickUp => {
                        let handset = Handset::on(&state.address.ip().to_string());
                        respond(200, "", &handset.sdp("0 101").replace('\n', "\r\n"));
                        let (state, is_at_once) = (Arc::clone(state), matches!(reply, Reply::Verify));
                        std::thread::spawn(move || press_when_asked(&state, &handset, is_at_once));
                    }
                }
            }
        }
        "CANCEL" => {
            respond(200, "", "");
            let invite = state.invites.lock().unwrap().remove(request.header("Call-ID"));
            if let Some(text) = invite {
                let invite = Request { text, ..request.clone() };
                send(&response(&invite, state, 487, "", ""));
            }
        }
        "REGISTER"
            if request.header("Expires") == "0"
                && request.header("Authorization").is_empty()
                && state.challenges_removals.load(Ordering::Relaxed) =>
        {
            respond(
                401,
                "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n",
                "",
            );
        }
        "REGISTER" => {
            let contacts =
                request.text.lines().filter(|line| line.starts_with("Contact:") && !line.contains("expires=0"));
            let contacts: String = contacts.map(|line| format!("{line}\r\n")).collect();
            respond(200, &contacts, "");
        }
        _ if is_heard => respond(200, "", ""),
        _ => {}
    }
}

fn press_when_asked(state: &State, handset: &Handset, is_at_once: bool) {
    let first = handset.hear_prompt();
    if !is_at_once {
        super::wait_until("the user may press the key", || state.may_press.load(Ordering::Relaxed));
    }
    handset.talk(first.from, 10);
    handset.press(first.from, '#');
}

fn response(request: &Request, state: &State, code: u16, headers: &str, body: &str) -> String {
    let copied: String = ["Via", "From", "To", "Call-ID", "CSeq"]
        .map(|name| {
            let tag =
                if name == "To" && code > 100 && !request.header("To").contains(";tag=") { ";tag=server" } else { "" };
            format!("{name}: {}{tag}\r\n", request.header(name))
        })
        .concat();
    let is_dialog = matches!(request.method(), "INVITE") && code < 300;
    let contact = match is_dialog {
        true => format!("Contact: <sip:callee@{};transport={}>\r\n", state.address, state.transport),
        false => String::new(),
    };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("SIP/2.0 {code} Told\r\n{copied}{contact}{headers}{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name)));
    line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
}
