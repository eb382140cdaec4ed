//! Timers that are due, and requests that failed without a response.

use super::UserAgent;
use super::core::Owner;
use super::event::{ProbeResult, RequestId};
use super::timers::TimerKey;
use crate::invite::RequestFailure;
use crate::transaction::ClientKey;
use crate::transaction::client::TimeoutAction;

impl UserAgent {
    pub(super) fn handle_timer(&mut self, timer: TimerKey) {
        match timer {
            TimerKey::Client(key) => self.handle_client_timeout(key),
            TimerKey::Server(id) => self.handle_server_timeout(id),
            TimerKey::Call(id) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.handle_timeout(&mut self.core);
                }
                self.remove_if_finished(id);
            }
            TimerKey::Registration(id) => {
                if let Some(registration) = self.registrations.get_mut(&id) {
                    registration.handle_timeout(&mut self.core);
                }
                self.remove_if_unregistered(id);
            }
        }
    }

    fn handle_client_timeout(&mut self, key: ClientKey) {
        let (now, timers) = (self.core.now, self.core.config.timers);
        let Some((_, transaction)) = self.core.client(key) else { return };
        match transaction.handle_timeout(now, &timers) {
            TimeoutAction::Wait => {}
            TimeoutAction::Retransmit => self.core.retransmit(key),
            TimeoutAction::TimedOut => {
                let is_lost = self.core.client(key).is_some_and(|(_, client)| client.has_failed());
                let failure = if is_lost { RequestFailure::ConnectionLost } else { RequestFailure::TimedOut };
                self.fail_client(key, failure);
            }
            TimeoutAction::Remove => self.core.remove_client(key),
        }
        self.core.client_changed(key);
    }

    /// Notifies the owner of a transaction that its request failed.
    pub(super) fn fail_client(&mut self, key: ClientKey, failure: RequestFailure) {
        let Some((owner, _)) = self.core.client(key) else { return };
        let owner = *owner;
        self.core.remove_client(key);
        match owner {
            Owner::Call(id) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.handle_request_failure(&mut self.core, key, failure);
                }
                self.remove_if_finished(id);
            }
            Owner::Registration(id) => {
                if let Some(registration) = self.registrations.get_mut(&id) {
                    registration.handle_failure(&mut self.core, key);
                }
                self.remove_if_unregistered(id);
            }
            Owner::Probe(id) => self.end_probe(id, ProbeResult::NoResponse),
        }
    }

    fn handle_server_timeout(&mut self, id: RequestId) {
        let (now, timers) = (self.core.now, self.core.config.timers);
        let Some(server) = self.core.server(id) else { return };
        let call = server.call;
        match server.handle_timeout(now, &timers) {
            TimeoutAction::Wait => self.core.server_changed(id),
            TimeoutAction::Retransmit => {
                self.core.respond_again(id);
                self.core.server_changed(id);
            }
            TimeoutAction::Remove => self.core.remove_server(id),
            TimeoutAction::TimedOut => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.handle_peer_request_timeout(&mut self.core, id);
                }
                // Without a response, there is nothing to retransmit.
                let is_done = self.core.server(id).is_some_and(|server| server.next_timeout() <= now);
                if is_done {
                    self.core.remove_server(id);
                }
                self.remove_if_finished(call);
            }
        }
    }
}
