//! Flows to servers: connections, or pairs of addresses over UDP.

use std::net::SocketAddr;

use crate::framing::StreamReader;

/// A transport (RFC 3261, 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams, which the agent retransmits until a response arrives.
    Udp,
    /// A stream without encryption.
    Tcp,
    /// A stream with encryption.
    Tls,
}

impl Transport {
    /// Returns whether the transport delivers or reports a failure, so that requests are not retransmitted.
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    /// Returns the name as in the `transport` parameter of a URI: `udp`, `tcp` or `tls`. In a Via, it is in capitals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// Identifies a flow of one agent. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub(crate) u64);

/// A connection to one server, or a pair of local and remote address over UDP (RFC 5626, 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// The address at which the server reaches this side. It is written into Via and Contact.
    pub local: SocketAddr,
    /// The server's address.
    pub remote: SocketAddr,
}

impl Flow {
    /// Returns whether a message that arrives on the other flow may come from the peer of this one: over UDP, from any
    /// server that the caller accepts datagrams from; on a stream, from the same server by the same transport. Sources of
    /// datagrams can be forged, so none belongs to what goes over a stream.
    pub(crate) fn has_peer_of(&self, other: &Self) -> bool {
        self.transport == other.transport && (!self.transport.is_reliable() || self.remote == other.remote)
    }
}

/// An open flow.
pub(crate) struct FlowState {
    pub(crate) flow: Flow,
    /// The reader of the stream. `None` over UDP.
    pub(crate) reader: Option<StreamReader>,
}

/// Bytes to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Identifies the bytes for [`UserAgent::handle_send_failure`](crate::agent::UserAgent::handle_send_failure).
    pub id: TransmitId,
    /// The flow to send on.
    pub flow: FlowId,
    /// Where to send a datagram. Usually the flow's remote address; a response may go to another port of the peer, and
    /// so may a request within a dialog. Ignored for streams.
    pub destination: SocketAddr,
    /// The message, or a keep-alive.
    pub bytes: Vec<u8>,
}

/// Shows only the length: the rest is personal data.
impl std::fmt::Debug for Transmit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transmit")
            .field("id", &self.id)
            .field("flow", &self.flow)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Identifies a [`Transmit`] of one agent. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransmitId(pub(crate) u64);
