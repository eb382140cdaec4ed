//! The sockets and connections of the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::requests::{handle, header};
use super::{Send, State, TICK};

/// Binds a port that earlier connections may still occupy.
pub(super) fn bind(address: SocketAddr) -> TcpListener {
    let mut listener = None;
    super::super::wait_until("the port is free", || {
        listener = TcpListener::bind(address).ok();
        listener.is_some()
    });
    listener.unwrap()
}

pub(super) fn read_datagrams(state: &Arc<State>, socket: &Arc<UdpSocket>, is_open: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while is_open.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let socket = Arc::clone(socket);
        // What cannot be sent counts as lost in the network.
        let send: Send = Arc::new(move |text| drop(socket.send_to(text.as_bytes(), from)));
        handle(state, &text, from, &send);
    }
}

pub(super) fn accept(
    state: &Arc<State>,
    listener: &TcpListener,
    is_open: &AtomicBool,
    tls: Option<&Arc<ServerConfig>>,
) {
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
        // Let writers take the lock.
        std::thread::sleep(Duration::from_millis(1));
        match result {
            Ok(0) => return,
            // What arrives after the connection was lost is not read.
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
