//! Reads datagrams and streams, and dispatches responses to their transaction. [`uas`](super::uas) handles requests.

use std::net::SocketAddr;

use super::core::Owner;
use super::event::Event;
use super::flow::FlowId;
use super::uas::{handle_request, respond};
use super::{CallId, UserAgent};
use crate::framing::StreamEvent;
use crate::invite::ack_or_cancel;
use crate::message::{Essentials, Message, MessageError, Method};
use crate::transaction::ClientKey;
use crate::transaction::client::ResponseAction;

/// Maximum bytes of a stream that are parsed before the messages in them are handled.
const CHUNK: usize = 16 * 1024;

pub(super) fn handle_datagram(agent: &mut UserAgent, flow: FlowId, source: SocketAddr, datagram: &[u8]) {
    let is_datagram_flow = agent.core.flows.get(&flow).is_some_and(|state| state.reader.is_none());
    if !is_datagram_flow {
        count(&mut agent.core.drops.unmatched);
        return;
    }
    if agent.core.is_congested() {
        count(&mut agent.core.drops.full);
        return;
    }
    match Message::from_datagram(datagram, &agent.core.config.limits) {
        Ok(message) => handle_message(agent, flow, source, message),
        Err(MessageError::Empty) => {}
        Err(_) => count(&mut agent.core.drops.malformed),
    }
}

pub(super) fn handle_stream(agent: &mut UserAgent, flow: FlowId, bytes: &[u8]) {
    for chunk in bytes.chunks(CHUNK) {
        if !read_chunk(agent, flow, chunk) {
            return;
        }
    }
}

/// Parses a part of a stream. Returns false if the stream can no longer be parsed.
fn read_chunk(agent: &mut UserAgent, flow: FlowId, chunk: &[u8]) -> bool {
    let Some(state) = agent.core.flows.get_mut(&flow) else {
        count(&mut agent.core.drops.unmatched);
        return false;
    };
    let source = state.flow.remote;
    let Some(reader) = &mut state.reader else {
        count(&mut agent.core.drops.unmatched);
        return false;
    };
    let had_failed = reader.has_failed();
    if reader.push(chunk).is_err() {
        if !had_failed {
            agent.core.push_event(Event::FlowFailed(flow));
        }
        return false;
    }
    loop {
        let Some(reader) = agent.core.flows.get_mut(&flow).and_then(|state| state.reader.as_mut()) else {
            return false;
        };
        match reader.next_event() {
            Ok(None) => return true,
            Ok(Some(StreamEvent::Message(message))) if agent.core.is_congested() => {
                drop(message);
                count(&mut agent.core.drops.full);
            }
            Ok(Some(StreamEvent::Message(message))) => handle_message(agent, flow, source, message),
            Ok(Some(StreamEvent::Unreadable(_))) => count(&mut agent.core.drops.malformed),
            // RFC 5626, 4.4.1
            Ok(Some(StreamEvent::Ping)) if !agent.core.is_congested() => {
                agent.core.send(flow, source, b"\r\n".to_vec());
            }
            Ok(Some(StreamEvent::Ping | StreamEvent::Pong)) => {}
            Err(_) => {
                agent.core.push_event(Event::FlowFailed(flow));
                return false;
            }
        }
    }
}

fn handle_message(agent: &mut UserAgent, flow: FlowId, source: SocketAddr, message: Message) {
    match message.essentials() {
        Ok(essentials) if message.is_request() => handle_request(agent, (flow, source), &message, &essentials),
        Ok(essentials) => handle_response(agent, flow, &message, &essentials),
        Err(_) => {
            count(&mut agent.core.drops.malformed);
            let is_answerable = message.method().is_some_and(|method| *method != Method::Ack);
            if is_answerable && message.top_via().is_ok() {
                respond(agent, (flow, source), &message, 400, |response| response);
            }
        }
    }
}

fn handle_response(agent: &mut UserAgent, flow: FlowId, response: &Message, essentials: &Essentials<'_>) {
    let status = response.status().unwrap_or_default();
    let is_cancel = essentials.cseq.method == Method::Cancel;
    let key = essentials.via.branch().and_then(|branch| ClientKey::from_branch(branch, is_cancel));
    let known = key.and_then(|key| agent.core.client(key).map(|(owner, sent)| (key, *owner, sent.flow)));
    // Checked first, because a flood may have long lists of Via.
    let is_foreign = match known {
        Some((_, owner, sent_on)) => !is_from_peer(agent, flow, sent_on, owner),
        None => stray_invite(agent, flow, key, essentials).is_none(),
    };
    // RFC 3261, 8.1.3.3
    if is_foreign || !response.vias().is_ok_and(|vias| vias.len() == 1) {
        count(&mut agent.core.drops.unmatched);
        return;
    }
    let Some((key, owner, _)) = known else {
        match stray_invite(agent, flow, key, essentials) {
            Some((id, key)) => deliver(agent, id, key, response, essentials),
            None => count(&mut agent.core.drops.unmatched),
        }
        return;
    };
    let (now, timers) = (agent.core.now, agent.core.config.timers);
    let Some((_, transaction)) = agent.core.client(key) else { return };
    let Some(request) = transaction.request().filter(|request| is_response_to(request, essentials)) else {
        count(&mut agent.core.drops.unmatched);
        return;
    };
    let action = transaction.handle_response(now, status, &timers);
    if action == ResponseAction::DeliverAndAcknowledge
        && let Ok(ack) = ack_or_cancel(&request, &Method::Ack, Some(response))
    {
        transaction.set_ack(ack);
    }
    agent.core.client_changed(key);
    if matches!(action, ResponseAction::Acknowledge | ResponseAction::DeliverAndAcknowledge) {
        agent.core.acknowledge(key);
    }
    if matches!(action, ResponseAction::Ignore | ResponseAction::Acknowledge) {
        return;
    }
    match owner {
        Owner::Call(id) => deliver(agent, id, key, response, essentials),
        Owner::Registration(id) => {
            if let Some(registration) = agent.registrations.get_mut(&id) {
                registration.handle_response(&mut agent.core, key, response);
            }
            agent.remove_if_unregistered(id);
        }
        Owner::Probe(id) => {
            let result = agent.probes.get_mut(&id).and_then(|probe| probe.handle_response(&mut agent.core, response));
            if let Some(result) = result {
                agent.end_probe(id, result);
            }
        }
    }
}

/// Returns whether a response that arrived on a flow may come from the server of its request: on the flow of the request,
/// or on the one that the call has moved to since.
fn is_from_peer(agent: &UserAgent, flow: FlowId, sent_on: FlowId, owner: Owner) -> bool {
    let Some(flow) = agent.core.flow(flow) else { return false };
    let is_of_call = |id| agent.calls.get(&id).is_some_and(|call| call.is_reached_by(&flow));
    agent.core.flow(sent_on).is_some_and(|sent_on| sent_on.has_peer_of(&flow))
        || matches!(owner, Owner::Call(id) if is_of_call(id))
}

/// Returns whether a response matches the request of its branch in Call-ID, CSeq and From tag, and in To tag if the
/// request has one.
fn is_response_to(request: &Message, essentials: &Essentials<'_>) -> bool {
    let Ok(sent) = request.essentials() else { return false };
    sent.call_id == essentials.call_id
        && sent.cseq == essentials.cseq
        && sent.from.tag() == essentials.from.tag()
        && sent.to.tag().is_none_or(|tag| essentials.to.tag() == Some(tag))
}

/// Returns the call and the INVITE that a response without a transaction belongs to. Such a response may be the 2xx of
/// a phone, which must be acknowledged: on a stream, the transaction of a rejected INVITE ends at once.
///
/// A response with another branch is dropped, even if it has the Call-ID and the tags of the call (RFC 3261, 17.1.3).
fn stray_invite(
    agent: &UserAgent,
    flow: FlowId,
    key: Option<ClientKey>,
    essentials: &Essentials<'_>,
) -> Option<(CallId, ClientKey)> {
    let (key, flow) = (key?, agent.core.flow(flow)?);
    let id = *agent.call_ids.get(essentials.call_id)?;
    let invite = agent.calls.get(&id)?.invite_on(&flow, key)?;
    is_response_to(invite, essentials).then_some((id, key))
}

fn deliver(agent: &mut UserAgent, id: CallId, key: ClientKey, response: &Message, essentials: &Essentials<'_>) {
    match agent.calls.get_mut(&id) {
        Some(call) => call.handle_response(&mut agent.core, key, response, essentials),
        None => count(&mut agent.core.drops.unmatched),
    }
    agent.remove_if_finished(id);
}

/// Increments a counter of [`DropCounts`](super::DropCounts).
pub(super) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
