//! The ways between the agent and its peer.

use std::net::SocketAddr;

use phonegate_sip::agent::Transport;

/// The way to the peer, and what lies on it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub transport: Transport,
    pub ipv6: bool,
    /// Values of Record-Route that the peer's responses have, in the order of the message.
    pub record_routes: &'static [&'static str],
    /// Whether each request but ACK and CANCEL is challenged, with a new nonce each time.
    pub challenges: bool,
}

pub const UDP: Kind = Kind { transport: Transport::Udp, ipv6: false, record_routes: &[], challenges: false };
pub const TCP: Kind = Kind { transport: Transport::Tcp, ..UDP };

const LOOSE: &[&str] = &["<sip:p2.example.net;lr>", "\"Edge\" <sip:192.0.2.7:5070;lr=on>;x=1"];
const STRICT: &[&str] = &["<sip:p2.example.net;lr>, <sip:strict@192.0.2.7:5070>"];

/// The ways over which stories are repeated.
pub const KINDS: &[Kind] = &[
    UDP,
    TCP,
    Kind { ipv6: true, ..UDP },
    Kind { record_routes: LOOSE, ..UDP },
    Kind { record_routes: STRICT, ..TCP },
    Kind { record_routes: STRICT, challenges: true, ..UDP },
    Kind { transport: Transport::Tls, record_routes: LOOSE, challenges: true, ..UDP },
];

/// Returns the address of the agent.
pub fn local(kind: Kind) -> SocketAddr {
    let text = if kind.ipv6 { "[2001:db8::1]:5060" } else { "192.0.2.1:5060" };
    text.parse().expect("it is an address")
}

/// Returns the address of the peer.
pub fn remote(kind: Kind) -> SocketAddr {
    let text = if kind.ipv6 { "[2001:db8::7]:5060" } else { "192.0.2.7:5060" };
    text.parse().expect("it is an address")
}
