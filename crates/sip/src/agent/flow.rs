//! The ways to servers: connections, and pairs of addresses over UDP.

use std::net::SocketAddr;

use crate::framing::StreamReader;

/// A transport (RFC 3261, 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams, which the agent sends again if they are not answered.
    Udp,
    /// A stream without encryption.
    Tcp,
    /// A stream with encryption.
    Tls,
}

impl Transport {
    /// Returns whether lower layers deliver or report failure, so that nothing is sent twice.
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    /// Returns the name in a Via.
    pub(crate) fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// Returns the value of the parameter `transport` of a URI, which UDP does not need.
    pub(crate) fn uri_parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
        }
    }
}

/// Identifies a flow of one agent. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub(crate) u64);

/// A way to one server: a connection, or a local and a remote address over UDP (RFC 5626, 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// The address at which the server reaches this side. It is written into Via and Contact.
    pub local: SocketAddr,
    /// The server's address.
    pub remote: SocketAddr,
}

/// What the agent knows of a flow.
pub(crate) struct FlowState {
    pub(crate) flow: Flow,
    /// Reads a stream. `None` over UDP.
    pub(crate) reader: Option<StreamReader>,
}

/// Bytes to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Identifies the bytes for [`UserAgent::handle_send_failure`](crate::agent::UserAgent::handle_send_failure).
    pub id: TransmitId,
    /// The flow to send on.
    pub flow: FlowId,
    /// Where to send a datagram. Usually the flow's remote address; a response may go to another port of the peer, and so
    /// may a request within a dialog. On a stream it has no meaning.
    pub destination: SocketAddr,
    /// The message, or a keep-alive.
    pub bytes: Vec<u8>,
}

/// Shows the length only, because the rest is personal.
impl std::fmt::Debug for Transmit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transmit")
            .field("id", &self.id)
            .field("flow", &self.flow)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Identifies one [`Transmit`] of one agent. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransmitId(pub(crate) u64);
