//! Checks whether a server is alive before a call is placed at it.
//!
//! Silence after an INVITE over UDP says nothing: a phone may ring. So a server that was not heard lately is asked by
//! OPTIONS first, and left out if it does not respond. A connection may have died unnoticed, and is checked in the same way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use phonegate_sip::agent::Transport;
use tokio::time::Instant;

use super::SipTrunk;
use super::driver::OpenFlow;
use super::peer::{Peer, Server};

/// How long a server counts as alive after its last packet over UDP.
const ALIVE_FOR: Duration = Duration::from_secs(30);

/// How long a connection counts as alive after its last bytes.
const CONNECTED_FOR: Duration = Duration::from_secs(5);

/// Maximum time until a response to OPTIONS over UDP, in which it is sent four times.
const RESPONSE_WITHIN: Duration = Duration::from_secs(4);

/// Maximum time until a response to OPTIONS on a connection.
const CONNECTION_RESPONSE_WITHIN: Duration = Duration::from_secs(2);

/// How long a server that did not respond is left out without being asked again.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// The pause before another attempt to connect for calls whose connection was lost: the first one, and the longest.
const RECONNECT_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));

impl SipTrunk {
    /// Returns a flow to a server that was heard lately.
    ///
    /// # Errors
    /// Why the server cannot be reached: certainly no phone rang.
    pub(super) async fn live_flow(&self, trunk: &Peer, server: &Server) -> Result<Arc<OpenFlow>, String> {
        let flow = self.flow(server).await?;
        let ignored = self.settings.flow.trusted.ignored();
        if self.is_alive(trunk, &flow).await {
            return Ok(flow);
        }
        if server.transport == Transport::Udp {
            let problem = format!("{}: no response to OPTIONS within {} s", server.address, RESPONSE_WITHIN.as_secs());
            return Err(self.settings.flow.trusted.explain(problem, ignored));
        }
        flow.close();
        // A new connection was heard when it was made.
        self.flow(server).await
    }

    /// Returns whether a server was heard lately or responds now. Calls that ask at once share one request.
    async fn is_alive(&self, trunk: &Peer, flow: &OpenFlow) -> bool {
        let (alive_for, response_within) = match flow.server.transport {
            Transport::Udp => (ALIVE_FOR, RESPONSE_WITHIN),
            Transport::Tcp | Transport::Tls => (CONNECTED_FOR, CONNECTION_RESPONSE_WITHIN),
        };
        let was_heard = || flow.heard_ago().is_some_and(|ago| ago <= alive_for);
        if was_heard() {
            return true;
        }
        let asked_at = Instant::now();
        let mut silent_at = flow.probing.lock().await;
        if was_heard() {
            return true;
        }
        if silent_at.is_some_and(|at| at >= asked_at || at.elapsed() < SILENT_FOR) {
            return false;
        }
        let uri = trunk.uri.to_string();
        let is_alive = flow.shared().probe(flow.id, &uri, response_within, None).await.is_some();
        *silent_at = (!is_alive).then(Instant::now);
        is_alive
    }

    /// Connects again to servers whose connection was lost during calls, so that these can be cancelled or hung up.
    pub(super) async fn reconnect_for_calls(&self) {
        let (first, longest) = RECONNECT_AFTER;
        let mut pause = first;
        loop {
            let servers = self.flows.lost.servers(self.driver().shared()).await;
            let connected = join_all(servers.iter().map(|server| self.flow(server))).await;
            pause = if connected.iter().all(Result::is_ok) { first } else { (pause * 2).min(longest) };
            tokio::time::sleep(pause).await;
        }
    }
}
