//! Probes servers by OPTIONS, so that it is known before a call whether they are alive.
//!
//! If an INVITE over UDP gets no response, a phone may still ring. So servers over UDP are asked in the background, and
//! one that does not respond is left out of calls at once. A server that was not asked lately is asked before the call. A
//! connection may have died unnoticed, and is checked before a call if it was idle.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use phonegate_sip::agent::Transport;

use super::SipTrunk;
use super::driver::OpenFlow;
use super::peer::{Peer, Server};
use super::placing::unreachable;
use crate::backend::HealthSink;

/// How long a server counts as alive after its last packet over UDP.
const ALIVE_FOR: Duration = Duration::from_secs(30);

/// How long a connection counts as alive after its last bytes.
const CONNECTED_FOR: Duration = Duration::from_secs(5);

/// Maximum time until a response to OPTIONS over UDP, in which it is sent four times.
const RESPONSE_WITHIN: Duration = Duration::from_secs(4);

/// Maximum time until a response to OPTIONS on a connection.
const CONNECTION_RESPONSE_WITHIN: Duration = Duration::from_secs(2);

/// How long calls leave out a server that did not respond. Longer than from one background probe of it to the result of
/// the next, so that no call waits for a server that is known to be silent.
const SILENT_FOR: Duration = Duration::from_secs(20);

/// The pause between background probes, and how much of it is random, so that gates do not probe at the same time.
const PROBE_EVERY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));

/// The pause between background probes while a server is silent, so that calls use it soon after its restart.
const PROBE_SILENT_EVERY: Duration = Duration::from_secs(10);

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
        let flow = match flow.was_ever_heard() || flow.opened.elapsed() > CONNECTED_FOR {
            true => {
                flow.close();
                let new = self.flow(server).await?;
                self.is_alive(trunk, &new).await;
                new
            }
            false => flow,
        };
        // A server that ignores OPTIONS on a new connection may take a call all the same.
        if flow.is_open() { Ok(flow) } else { Err(flow.why_lost()) }
    }

    /// Returns a flow to the first of these servers that was heard lately.
    ///
    /// # Errors
    /// Why none can be reached.
    pub(super) async fn first_live_flow(&self, trunk: &Peer, servers: &[Server]) -> Result<Arc<OpenFlow>, String> {
        let mut problems = Vec::new();
        for server in servers {
            match self.live_flow(trunk, server).await {
                Ok(flow) => return Ok(flow),
                Err(problem) => problems.push(problem),
            }
        }
        Err(if problems.is_empty() { "it has no server".to_owned() } else { problems.join("; ") })
    }

    /// Returns whether a server was heard lately or responds now. Calls that ask at once share one request.
    async fn is_alive(&self, trunk: &Peer, flow: &OpenFlow) -> bool {
        let (alive_for, response_within) = match flow.server.transport {
            Transport::Udp => (ALIVE_FOR, RESPONSE_WITHIN),
            Transport::Tcp | Transport::Tls => (CONNECTED_FOR, CONNECTION_RESPONSE_WITHIN),
        };
        let known = || match flow.was_heard(alive_for) {
            true => Some(true),
            false => flow.was_silent(SILENT_FOR).then_some(false),
        };
        if let Some(is_alive) = known() {
            return is_alive;
        }
        let _probing = flow.probing.lock().await;
        match known() {
            Some(is_alive) => is_alive,
            None => self.probe(trunk, flow, response_within).await,
        }
    }

    /// Asks a server whether it is alive, and records the result.
    async fn probe(&self, trunk: &Peer, flow: &OpenFlow, response_within: Duration) -> bool {
        let uri = trunk.uri.to_string();
        let has_responded = flow.shared().probe(flow.id, &uri, response_within, None).await.is_some();
        flow.record_probe(has_responded);
        has_responded
    }

    /// Probes the servers of a trunk over UDP for as long as the gate runs, and reports which are silent.
    ///
    /// Connections are not probed: their loss is noticed, and an idle one is checked before a call.
    pub(super) async fn keep_probing(&self, trunk: &Peer, tell: HealthSink<'_>) {
        if !self.hop(trunk).may_use_udp() {
            return;
        }
        let mut silent = BTreeSet::new();
        loop {
            let servers = match self.servers(trunk).await {
                Ok(servers) => servers,
                Err(problem) => {
                    // A trunk that registers is reported by its registration.
                    if !self.settings.registers {
                        tell(&trunk.host(), Err(unreachable(problem)));
                    }
                    tokio::time::sleep(PROBE_SILENT_EVERY).await;
                    continue;
                }
            };
            if !self.settings.registers {
                tell(&trunk.host(), Ok(()));
            }
            let over_udp = servers.iter().filter(|server| server.transport == Transport::Udp);
            let results = join_all(over_udp.map(|server| self.probe_server(trunk, server))).await;
            let before = std::mem::take(&mut silent);
            for (address, problem) in results {
                match problem {
                    Some(problem) => {
                        tell(&address.to_string(), Err(unreachable(problem)));
                        silent.insert(address);
                    }
                    None => tell(&address.to_string(), Ok(())),
                }
            }
            // A server that DNS no longer names is not reported.
            let is_gone = |address: &&SocketAddr| !servers.iter().any(|server| server.address == **address);
            before.iter().filter(is_gone).for_each(|address| tell(&address.to_string(), Ok(())));
            let (every, random) = PROBE_EVERY;
            let pause = if silent.is_empty() { every - random.mul_f64(fastrand::f64()) } else { PROBE_SILENT_EVERY };
            tokio::time::sleep(pause).await;
        }
    }

    /// Probes a server over UDP in the background. Returns its address, and the problem if it did not respond.
    async fn probe_server(&self, trunk: &Peer, server: &Server) -> (SocketAddr, Option<String>) {
        let ignored = self.settings.flow.trusted.ignored();
        let flow = match self.flow(server).await {
            Ok(flow) => flow,
            Err(problem) => return (server.address, Some(problem)),
        };
        let _probing = flow.probing.lock().await;
        if self.probe(trunk, &flow, RESPONSE_WITHIN).await {
            return (server.address, None);
        }
        let problem = format!("{}: no response to OPTIONS within {} s", server.address, RESPONSE_WITHIN.as_secs());
        (server.address, Some(self.settings.flow.trusted.explain(problem, ignored)))
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
