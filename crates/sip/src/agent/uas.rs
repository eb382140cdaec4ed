//! The agent as a user agent server: dispatches requests to their call, and responds to those outside of calls.

use std::net::SocketAddr;

use super::UserAgent;
use super::flow::FlowId;
use super::receive::count;
use super::response::ResponseBuilder;
use crate::invite::{capabilities, unsupported};
use crate::message::{Essentials, Message, Method, header};
use crate::transaction::ServerKey;

pub(super) fn handle_request(
    agent: &mut UserAgent,
    (flow, source): (FlowId, SocketAddr),
    request: &Message,
    essentials: &Essentials<'_>,
) {
    let server_key = ServerKey::new(essentials);
    let method = &essentials.cseq.method;
    let call = agent.call_on(flow, essentials.call_id);
    let known = agent.core.server_id(&server_key, flow);
    if *method == Method::Ack {
        match (known, call.and_then(|call| agent.calls.get_mut(&call))) {
            (_, Some(call)) if call.acknowledges(essentials) => call.handle_ack(&mut agent.core, request, essentials),
            (Some(id), _) => agent.core.acknowledge_server(id),
            (None, _) => count(&mut agent.core.drops.unmatched),
        }
        return;
    }
    if let Some(id) = known {
        agent.core.respond_again(id);
        return;
    }
    if *method == Method::Cancel {
        let invite = agent.core.server_id(&server_key.cancelled_invite(), flow);
        let status = if invite.is_some() { 200 } else { 481 };
        respond(agent, (flow, source), request, status, |response| response);
        if let (Some(invite), Some(call)) = (invite, call.and_then(|call| agent.calls.get_mut(&call))) {
            call.handle_cancel(&mut agent.core, invite);
        }
        return;
    }
    match call {
        Some(call) => {
            let Some(id) = agent.core.start_server((server_key, call), (flow, source), request.clone()) else {
                count(&mut agent.core.drops.full);
                respond(agent, (flow, source), request, 503, |response| response);
                return;
            };
            if let Some(call) = agent.calls.get_mut(&call) {
                call.handle_request(&mut agent.core, id, request, essentials);
            }
            agent.remove_if_finished(call);
        }
        None => respond_outside_calls(agent, (flow, source), request, essentials),
    }
}

/// Responds statelessly to a request that belongs to no call. This agent places calls and never accepts any.
fn respond_outside_calls(
    agent: &mut UserAgent,
    source: (FlowId, SocketAddr),
    request: &Message,
    essentials: &Essentials<'_>,
) {
    let extensions = unsupported(request);
    if !extensions.is_empty() && essentials.to.tag().is_none() {
        respond(agent, source, request, 420, |response| response.header(header::UNSUPPORTED, extensions));
        return;
    }
    match &essentials.cseq.method {
        Method::Options => respond(agent, source, request, 200, capabilities),
        Method::Other(_) => respond(agent, source, request, 501, capabilities),
        _ if essentials.to.tag().is_some() => respond(agent, source, request, 481, |response| response),
        Method::Invite => respond(agent, source, request, 403, |response| response),
        Method::Bye | Method::Info | Method::Prack | Method::Update => {
            respond(agent, source, request, 481, |response| response);
        }
        _ => respond(agent, source, request, 405, capabilities),
    }
}

/// Responds without a transaction, unless the budget for such responses is exhausted.
pub(super) fn respond(
    agent: &mut UserAgent,
    (flow, source): (FlowId, SocketAddr),
    request: &Message,
    status: u16,
    write: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
) {
    if !agent.stateless_responses.take(agent.core.now) {
        count(&mut agent.core.drops.full);
        return;
    }
    let (product, tag) = (&agent.core.config.product, &agent.core.stateless_tag);
    if let Ok((destination, response)) = write(ResponseBuilder::new(request, source, status, (product, tag))).build() {
        agent.core.send(flow, destination, response);
    }
}
