//! Connections that were lost while calls used them.
//!
//! A call continues without its connection: its phone may ring, or its audio may flow. The driver moves it to the next
//! connection to the same server, so that it can be cancelled or hung up.

use parking_lot::Mutex;
use phonegate_sip::agent::FlowId;
use tokio::sync::Notify;

use super::SharedAgent;
use crate::backend::sip::target::Server;

/// The lost connections that calls still need, with their servers. There are at most as many as calls.
#[derive(Default)]
pub(in crate::backend::sip) struct LostFlows {
    flows: Mutex<Vec<(Server, FlowId)>>,
    recorded: Notify,
}

impl LostFlows {
    /// Records a connection that has closed although calls need it.
    pub(super) fn record(&self, server: Server, flow: FlowId) {
        self.flows.lock().push((server, flow));
        self.recorded.notify_one();
    }

    /// Moves the calls of all lost connections to this server to a new one.
    pub(super) fn move_calls(&self, shared: &SharedAgent, server: &Server, new: FlowId) {
        let mut flows = self.flows.lock();
        for (_, old) in flows.iter().filter(|(lost, _)| lost == server) {
            shared.replace_flow(*old, new);
        }
        forget_unneeded(&mut flows, shared);
    }

    /// Waits until calls need a connection that was lost, and returns the servers to connect to.
    pub(in crate::backend::sip) async fn servers(&self, shared: &SharedAgent) -> Vec<Server> {
        loop {
            let recorded = self.recorded.notified();
            let servers: Vec<_> = {
                let mut flows = self.flows.lock();
                forget_unneeded(&mut flows, shared);
                flows.iter().map(|(server, _)| server.clone()).collect()
            };
            if !servers.is_empty() {
                return servers;
            }
            recorded.await;
        }
    }
}

fn forget_unneeded(flows: &mut Vec<(Server, FlowId)>, shared: &SharedAgent) {
    flows.retain(|(_, flow)| shared.with(|state, _| state.agent.has_calls(*flow)));
}
