//! Answers OPTIONS in front of a sipp, which knows the requests of its scenario only.
//!
//! Everything else is passed on: to sipp, and back to the source of the call's requests. The trunk is asked by OPTIONS
//! whether it is alive before a call is placed over UDP.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Passes datagrams on until it is dropped.
pub struct OptionsResponder {
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl OptionsResponder {
    /// Listens at `front`, and passes everything but OPTIONS on to the sipp at `behind`.
    pub fn start(front: SocketAddr, behind: SocketAddr) -> Self {
        let socket = UdpSocket::bind(front).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || pass_on(&socket, behind, &stop));
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for OptionsResponder {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn pass_on(socket: &UdpSocket, behind: SocketAddr, is_over: &AtomicBool) {
    let mut callers: HashMap<String, SocketAddr> = HashMap::new();
    let mut buffer = [0; 65_536];
    while !is_over.load(Ordering::Relaxed) {
        let Ok((length, source)) = socket.recv_from(&mut buffer) else { continue };
        let datagram = &buffer[..length];
        let text = String::from_utf8_lossy(datagram);
        let call_id = header(&text, "Call-ID").to_owned();
        let destination = if source == behind {
            match callers.get(&call_id) {
                Some(caller) => *caller,
                None => continue,
            }
        } else if text.starts_with("OPTIONS ") {
            socket.send_to(respond(&text).as_bytes(), source).unwrap();
            continue;
        } else {
            callers.insert(call_id, source);
            behind
        };
        // As on the way: what cannot be sent is lost.
        let _ = socket.send_to(datagram, destination);
    }
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name)));
    line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
}

/// The response to an OPTIONS.
pub fn respond(options: &str) -> String {
    let copied: String =
        ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", header(options, name))).concat();
    format!("SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n")
}
