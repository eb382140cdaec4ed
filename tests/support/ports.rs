//! Ports of this machine that no other test takes while this one runs.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixListener;
use std::sync::Mutex;

/// Below the ports that the system gives to connections, and below those of a trunk's audio.
const RANGE: Range<u16> = 10_000..20_000;

/// The marks of the ports that this process has taken. The system removes them with the process.
static TAKEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// An even port, free for UDP and TCP as is the next one.
pub fn free_port() -> u16 {
    free_ports(2)
}

/// The first of `count` ports in a row, an even one; all are free for UDP and TCP.
pub fn free_ports(count: u16) -> u16 {
    let mut taken = TAKEN.lock().unwrap();
    // The start differs by process, so that a port is not reused immediately.
    let start = std::process::id() * 64 % RANGE.len() as u32;
    let firsts = RANGE.step_by(2).cycle().skip(start as usize / 2).take(RANGE.len() / 2);
    for first in firsts.filter(|first| first + count <= RANGE.end) {
        let ports = first..first + count;
        if let Some(marks) = ports.clone().step_by(2).map(mark).collect::<Option<Vec<_>>>() {
            taken.extend(marks);
            if ports.into_iter().all(is_free) {
                return first;
            }
        }
    }
    panic!("no {count} ports of {RANGE:?} are free");
}

/// Returns an address of this machine on which no program listens.
pub fn unused_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Returns whether a program of this machine has a UDP socket on a port. Asks the system (proc(5)): a trial would take
/// the port from the program that is about to bind it.
pub fn is_bound_udp(port: u16) -> bool {
    let bound = format!(":{port:04X}");
    ["/proc/net/udp", "/proc/net/udp6"].iter().any(|sockets| {
        let sockets = std::fs::read_to_string(sockets).unwrap_or_default();
        let mut locals = sockets.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        locals.any(|local| local.ends_with(&bound))
    })
}

/// Marks a pair of ports as taken, for all processes to see, unless it is.
fn mark(port: u16) -> Option<UnixListener> {
    let name = format!("phonegate-test-port-{port}");
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    UnixListener::bind_addr(&address).ok()
}

/// Returns whether no other program uses the port.
fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
}
