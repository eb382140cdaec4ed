//! A trunk in the test's own process, over UDP or TCP: its phones ring, and pick up when the test says so.
//!
//! It accepts every request, so it is for tests that disturb a call. Tests of the protocol use [`sipp`](super::sipp).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use super::attacker::Dialog;
use super::handset::Handset;

/// How often the trunk checks whether a 200 must be sent again, and whether the test is over.
const TICK: Duration = Duration::from_millis(250);

/// A trunk that runs until it is dropped.
pub struct Trunk {
    shared: Arc<Shared>,
    address: SocketAddr,
    transport: &'static str,
    threads: Vec<JoinHandle<()>>,
}

/// Sends back to the service.
#[derive(Clone)]
enum ReturnPath {
    Datagrams(Arc<UdpSocket>, SocketAddr),
    Connection(Arc<Mutex<TcpStream>>),
}

impl ReturnPath {
    fn send(&self, message: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Datagrams(socket, to) => socket.send_to(message, to).map(drop),
            Self::Connection(stream) => write(stream, message),
        }
    }
}

/// Writes bytes without interruption, then lets waiting writers continue.
fn write(connection: &Mutex<TcpStream>, bytes: &[u8]) -> std::io::Result<()> {
    let mut stream = connection.lock();
    let written = stream.write_all(bytes);
    MutexGuard::unlock_fair(stream);
    written
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// By Call-ID.
    calls: Mutex<HashMap<String, Call>>,
    connection: Mutex<Option<Arc<Mutex<TcpStream>>>>,
    connections: AtomicUsize,
}

struct Call {
    invite: String,
    path: ReturnPath,
    /// The 200, until its ACK has arrived.
    unacknowledged: Option<String>,
    is_acknowledged: bool,
    /// The later requests, each as often as it arrived.
    requests: Vec<String>,
}

impl Trunk {
    /// A trunk over `udp` or `tcp`.
    pub fn over(transport: &'static str) -> Self {
        let shared = Arc::new(Shared::default());
        let (address, receiving) = match transport {
            "udp" => receive_datagrams(&shared),
            _ => accept_connections(&shared),
        };
        let threads = vec![receiving, spawn(&shared, repeat_answers)];
        Self { shared, address, transport, threads }
    }

    /// Its settings in a configuration.
    pub fn settings(&self) -> Value {
        json!({ "type": "sip", "trunk": format!("sip:{};transport={}", self.address, self.transport) })
    }

    /// Waits until the phone of this number rings, and returns the call.
    pub fn rings(&self, number: &str) -> RingingCall<'_> {
        let number = format!("sip:{}@", number.replace(' ', ""));
        let found = || {
            let calls = self.shared.calls.lock();
            calls.iter().find(|(_, call)| call.invite.contains(&number)).map(|(call_id, _)| call_id.clone())
        };
        super::wait_until("the phone rings", || found().is_some());
        RingingCall { trunk: self, call_id: found().unwrap() }
    }

    /// The number of calls that have arrived.
    pub fn calls(&self) -> usize {
        self.shared.calls.lock().len()
    }

    /// Forgets all calls, and closes the connections that only they used.
    pub fn forget_calls(&self) {
        self.shared.calls.lock().clear();
    }

    /// The number of connections that were made to it.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The latest connection.
    pub fn connection(&self) -> Connection {
        Connection(self.shared.connection.lock().clone().expect("a connection"))
    }
}

/// A connection that the service made.
pub struct Connection(Arc<Mutex<TcpStream>>);

impl Connection {
    /// Writes bytes between two messages. Fails if the service has closed this connection, also if it has a new one.
    pub fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        write(&self.0, bytes)
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(connection) = { self.shared.connection.lock().take() } {
            // It may be closed.
            let _ = connection.lock().shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// A call at the trunk, before and after its answer.
pub struct RingingCall<'a> {
    trunk: &'a Trunk,
    call_id: String,
}

impl RingingCall<'_> {
    /// Answers with the audio of this handset.
    pub fn pick_up(&self, handset: &Handset) {
        self.pick_up_with(&handset.sdp("0 101"));
    }

    /// Answers with this description.
    pub fn pick_up_with(&self, sdp: &str) {
        self.with(|call| {
            let answer = response(&call.invite, "200 OK", sdp);
            call.path.send(answer.as_bytes()).unwrap();
            call.unacknowledged = Some(answer);
        });
        super::wait_until("the answer is acknowledged", || self.with(|call| call.is_acknowledged));
    }

    /// Everything that an attacker may know about the call.
    pub fn dialog(&self) -> Dialog {
        self.with(|call| Dialog::answered(&call.invite, &response(&call.invite, "200 OK", "")))
    }

    /// The requests of this method that have arrived in the call.
    pub fn requests(&self, method: &str) -> Vec<String> {
        self.with(|call| call.requests.iter().filter(|request| request.starts_with(method)).cloned().collect())
    }

    fn with<R>(&self, act: impl FnOnce(&mut Call) -> R) -> R {
        act(self.trunk.shared.calls.lock().get_mut(&self.call_id).unwrap())
    }
}

fn spawn(shared: &Arc<Shared>, run: impl FnOnce(&Arc<Shared>) + Send + 'static) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || run(&shared))
}

fn receive_datagrams(shared: &Arc<Shared>) -> (SocketAddr, JoinHandle<()>) {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    socket.set_read_timeout(Some(TICK)).unwrap();
    let address = socket.local_addr().unwrap();
    let receive = move |shared: &Arc<Shared>| {
        let mut buffer = [0; 65_536];
        while !shared.is_over.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let path = ReturnPath::Datagrams(Arc::clone(&socket), from);
                handle(shared, &String::from_utf8_lossy(&buffer[..length]), &path);
            }
        }
    };
    (address, spawn(shared, receive))
}

fn accept_connections(shared: &Arc<Shared>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let accept = move |shared: &Arc<Shared>| {
        while !shared.is_over.load(Ordering::Relaxed) {
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            let reader = stream.try_clone().unwrap();
            let connection = Arc::new(Mutex::new(stream));
            *shared.connection.lock() = Some(Arc::clone(&connection));
            shared.connections.fetch_add(1, Ordering::Relaxed);
            // It ends with the connection.
            spawn(shared, move |shared| read_connection(shared, reader, &ReturnPath::Connection(connection)));
        }
    };
    (address, spawn(shared, accept))
}

fn read_connection(shared: &Shared, mut stream: TcpStream, path: &ReturnPath) {
    let (mut unread, mut buffer) = (Vec::new(), [0; 65_536]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        unread.extend_from_slice(&buffer[..length]);
        while let Some(end) = end_of_message(&unread) {
            let message: Vec<u8> = unread.drain(..end).collect();
            handle(shared, &String::from_utf8_lossy(&message), path);
        }
    }
}

fn end_of_message(unread: &[u8]) -> Option<usize> {
    let head = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let length: usize = header(&String::from_utf8_lossy(&unread[..head]), "Content-Length").parse().unwrap_or(0);
    (unread.len() >= head + length).then_some(head + length)
}

fn handle(shared: &Shared, message: &str, path: &ReturnPath) {
    let method = message.split(' ').next().unwrap_or_default();
    let mut calls = shared.calls.lock();
    let known = calls.get_mut(header(message, "Call-ID"));
    // What cannot be sent counts as lost in the network.
    let respond = |status: &str| drop(path.send(response(message, status, "").as_bytes()));
    match (method, known) {
        // It has come again.
        ("INVITE", Some(_)) | ("SIP/2.0", _) => {}
        ("INVITE", None) => {
            respond("180 Ringing");
            let call = Call {
                invite: message.to_owned(),
                path: path.clone(),
                unacknowledged: None,
                is_acknowledged: false,
                requests: Vec::new(),
            };
            calls.insert(header(message, "Call-ID").to_owned(), call);
        }
        ("ACK", call) => {
            if let Some(call) = call {
                call.is_acknowledged = true;
                call.unacknowledged = None;
                call.requests.push(message.to_owned());
            }
        }
        (method, call) => {
            respond("200 OK");
            if let Some(call) = call {
                if method == "CANCEL" {
                    drop(path.send(response(&call.invite, "487 Request Terminated", "").as_bytes()));
                }
                call.requests.push(message.to_owned());
            }
        }
    }
}

/// Sends each 200 again until its ACK arrives.
fn repeat_answers(shared: &Arc<Shared>) {
    while !shared.is_over.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        for call in shared.calls.lock().values() {
            if let (ReturnPath::Datagrams(..), Some(answer)) = (&call.path, &call.unacknowledged) {
                // What cannot be sent counts as lost in the network.
                let _ = call.path.send(answer.as_bytes());
            }
        }
    }
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name)));
    line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
}

/// The response to a request, with the trunk's tag if it has none of the callee, and this description.
pub fn response(request: &str, status: &str, sdp: &str) -> String {
    let value = |name| header(request, name);
    let to = value("To");
    let target = request.split(' ').nth(1).unwrap_or_default();
    let tag = if to.contains(";tag=") { "" } else { ";tag=trunk" };
    let (kind, sdp) = match sdp {
        "" => ("", String::new()),
        sdp => ("Content-Type: application/sdp\r\n", sdp.replace('\n', "\r\n")),
    };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <{target}>\r\n{kind}Content-Length: {}\r\n\r\n{sdp}",
        value("Via"),
        value("From"),
        value("Call-ID"),
        value("CSeq"),
        sdp.len(),
    )
}
