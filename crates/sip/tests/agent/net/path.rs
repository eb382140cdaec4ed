//! The paths between the agent and its peer.

use std::net::SocketAddr;

use phonegate_sip::agent::Transport;

/// A transport to the peer, and the proxies and challenges on the way.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub transport: Transport,
    pub ipv6: bool,
    /// Values of Record-Route that the peer's responses have, in the order of the message.
    pub record_routes: &'static [&'static str],
    /// Whether each request but ACK and CANCEL is challenged, with a new nonce each time.
    pub challenges: bool,
}

pub const UDP: Path = Path { transport: Transport::Udp, ipv6: false, record_routes: &[], challenges: false };
pub const TCP: Path = Path { transport: Transport::Tcp, ..UDP };

const LOOSE: &[&str] = &["<sip:p2.example.net;lr>", "\"Edge\" <sip:192.0.2.7:5070;lr=on>;x=1"];
const STRICT: &[&str] = &["<sip:p2.example.net;lr>, <sip:strict@192.0.2.7:5070>"];

/// The paths over which scenarios are repeated.
pub const PATHS: &[Path] = &[
    UDP,
    TCP,
    Path { ipv6: true, ..UDP },
    Path { record_routes: LOOSE, ..UDP },
    Path { record_routes: STRICT, ..TCP },
    Path { record_routes: STRICT, challenges: true, ..UDP },
    Path { transport: Transport::Tls, record_routes: LOOSE, challenges: true, ..UDP },
];

/// Returns the address of the agent.
pub fn local(path: Path) -> SocketAddr {
    let text = if path.ipv6 { "[2001:db8::1]:5060" } else { "192.0.2.1:5060" };
    text.parse().expect("it is an address")
}

/// Returns the address of the peer.
pub fn remote(path: Path) -> SocketAddr {
    let text = if path.ipv6 { "[2001:db8::7]:5060" } else { "192.0.2.7:5060" };
    text.parse().expect("it is an address")
}
