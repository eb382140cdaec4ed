//! Probes servers with OPTIONS, so that an INVITE is sent only to a server that responds.
//!
//! If an INVITE over UDP gets no response, a phone may ring all the same, and no other server may be tried. Servers over
//! UDP are therefore probed in the background, and calls skip those that do not respond. A server without a recent probe is
//! probed before the call. So is a connection that was idle, because it may have died without notice.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use phonegate_sip::agent::Transport;

use super::SipTrunk;
use super::driver::OpenFlow;
use super::placing::trunk_not_reached;
use super::target::{Server, Target};
use crate::backend::HealthSink;

/// How long a server over UDP counts as responsive after its latest datagram.
const RESPONSIVE_FOR: Duration = Duration::from_secs(30);

/// How long a server counts as responsive after its latest bytes on a connection.
const CONNECTION_RESPONSIVE_FOR: Duration = Duration::from_secs(5);

/// Maximum time for a response to OPTIONS over UDP. In it, OPTIONS is sent four times: at 0, 0.5, 1.5 and 3.5 s.
const RESPONSE_WITHIN: Duration = Duration::from_secs(4);

/// Maximum time for a response to OPTIONS on a connection.
const CONNECTION_RESPONSE_WITHIN: Duration = Duration::from_secs(2);

/// How long calls skip a server after a failed probe. Longer than the time between the results of two background probes,
/// so that no call waits for a server that is known to be silent.
const SKIP_FOR: Duration = Duration::from_secs(20);

/// Pause between background probes, and its random part, so that gates do not probe at the same time.
const PROBE_INTERVAL: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));

/// Pause between background probes while a server is silent: calls use it again this soon after its restart.
const PROBE_INTERVAL_SILENT: Duration = Duration::from_secs(10);

const _: () = assert!(
    SKIP_FOR.as_secs() > PROBE_INTERVAL_SILENT.as_secs() + RESPONSE_WITHIN.as_secs(),
    "a server stays skipped until the result of its next background probe"
);

/// First and longest pause between attempts to reconnect for calls that lost their connection.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));

impl SipTrunk {
    /// Returns a flow to a server that has responded recently, or responds to a probe now.
    ///
    /// # Errors
    /// The reason why the server cannot be reached. No phone rang.
    pub(super) async fn responsive_flow(&self, trunk: &Target, server: &Server) -> Result<Arc<OpenFlow>, String> {
        let flow = self.flow(server).await?;
        let ignored = self.settings.flow.trusted.ignored();
        if self.is_alive(trunk, &flow).await {
            return Ok(flow);
        }
        if server.transport == Transport::Udp {
            let problem = format!("{}: no response to OPTIONS within {} s", server.address, RESPONSE_WITHIN.as_secs());
            return Err(self.settings.flow.trusted.explain(problem, ignored));
        }
        let flow = match flow.was_ever_heard() || flow.opened.elapsed() > CONNECTION_RESPONSIVE_FOR {
            true => {
                flow.close();
                let new = self.flow(server).await?;
                self.is_alive(trunk, &new).await;
                new
            }
            false => flow,
        };
        // A server that ignores OPTIONS on a new connection may still accept a call.
        if flow.is_open() { Ok(flow) } else { Err(flow.why_lost()) }
    }

    /// Returns a flow to the first responsive server: see [`Self::responsive_flow`].
    ///
    /// # Errors
    /// The reasons why none can be reached.
    pub(super) async fn first_responsive_flow(
        &self,
        trunk: &Target,
        servers: &[Server],
    ) -> Result<Arc<OpenFlow>, String> {
        let mut problems = Vec::new();
        for server in servers {
            match self.responsive_flow(trunk, server).await {
                Ok(flow) => return Ok(flow),
                Err(problem) => problems.push(problem),
            }
        }
        Err(if problems.is_empty() { "it has no server".to_owned() } else { problems.join("; ") })
    }

    /// Returns whether a server has responded recently, or responds to a probe now. Concurrent calls share one probe.
    async fn is_alive(&self, trunk: &Target, flow: &OpenFlow) -> bool {
        let (alive_for, response_within) = match flow.server.transport {
            Transport::Udp => (RESPONSIVE_FOR, RESPONSE_WITHIN),
            Transport::Tcp | Transport::Tls => (CONNECTION_RESPONSIVE_FOR, CONNECTION_RESPONSE_WITHIN),
        };
        let known = || match flow.was_heard(alive_for) {
            true => Some(true),
            false => flow.was_silent(SKIP_FOR).then_some(false),
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

    /// Sends OPTIONS to a server, and records whether it responded.
    async fn probe(&self, trunk: &Target, flow: &OpenFlow, response_within: Duration) -> bool {
        let uri = trunk.uri.to_string();
        let has_responded = flow.shared().probe(flow.id, &uri, response_within, None).await.is_some();
        flow.record_probe(has_responded);
        has_responded
    }

    /// Probes the servers of a trunk over UDP until the gate shuts down, and reports those that do not respond.
    ///
    /// Connections are not probed here: TCP reports most losses, and an idle connection is probed before a call.
    pub(super) async fn probe_loop(&self, trunk: &Target, report: HealthSink<'_>) {
        if !self.first_hop(trunk).may_use_udp() {
            return;
        }
        let mut silent = BTreeSet::new();
        loop {
            let servers = match self.servers(trunk).await {
                Ok(servers) => servers,
                Err(problem) => {
                    // For a trunk that registers, the registration reports the state.
                    if !self.settings.registers {
                        report(&trunk.host(), Err(trunk_not_reached(problem)));
                    }
                    tokio::time::sleep(PROBE_INTERVAL_SILENT).await;
                    continue;
                }
            };
            if !self.settings.registers {
                report(&trunk.host(), Ok(()));
            }
            let over_udp = servers.iter().filter(|server| server.transport == Transport::Udp);
            let results = join_all(over_udp.map(|server| self.probe_server(trunk, server))).await;
            let before = std::mem::take(&mut silent);
            for (address, problem) in results {
                match problem {
                    Some(problem) => {
                        report(&address.to_string(), Err(trunk_not_reached(problem)));
                        silent.insert(address);
                    }
                    None => report(&address.to_string(), Ok(())),
                }
            }
            // A server that DNS no longer names is reported as up, which clears its state.
            let is_gone = |address: &&SocketAddr| !servers.iter().any(|server| server.address == **address);
            before.iter().filter(is_gone).for_each(|address| report(&address.to_string(), Ok(())));
            let (every, random) = PROBE_INTERVAL;
            let pause = if silent.is_empty() { every - random.mul_f64(fastrand::f64()) } else { PROBE_INTERVAL_SILENT };
            tokio::time::sleep(pause).await;
        }
    }

    /// Probes a server over UDP in the background. Returns its address, and the problem if it did not respond.
    async fn probe_server(&self, trunk: &Target, server: &Server) -> (SocketAddr, Option<String>) {
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

    /// Reconnects to servers whose connection was lost during calls, so that the calls can be cancelled or hung up.
    pub(super) async fn reconnect_for_calls(&self) {
        let (first, longest) = RECONNECT_PAUSE;
        let mut pause = first;
        loop {
            let servers = self.flows.lost.servers(self.driver().shared()).await;
            let connected = join_all(servers.iter().map(|server| self.flow(server))).await;
            pause = if connected.iter().all(Result::is_ok) { first } else { (pause * 2).min(longest) };
            tokio::time::sleep(pause).await;
        }
    }
}
