//! A call until it is answered: its redirections, retries and forwarding.

use std::sync::Arc;

use phonegate_sip::agent::{CallEvent, EndCause, Ended, RetryReason, Transport};
use phonegate_sip::message::{SipUri, Uri};

use super::SipTrunk;
use super::driver::{OpenFlow, OutgoingCall};
use super::live::respond;
use super::media::Media;
use super::outcome::{Next, end, redirect_failed};
use super::peer::Peer;
use super::placing::transport_name;
use crate::backend::{CallStep, StepSink};
use crate::call::{Failure, FailureReason};

/// A call that was placed, and the flow that it uses.
pub(super) struct DialledCall {
    pub(super) call: OutgoingCall,
    /// Keeps the connection open.
    flow: Arc<OpenFlow>,
    /// The target of a redirection that was not followed yet.
    redirect: Option<SipUri>,
    /// Why a redirection could not be followed.
    redirect_problem: Option<String>,
    is_forwarded: bool,
}

impl DialledCall {
    pub(super) fn new(call: OutgoingCall, flow: Arc<OpenFlow>) -> Self {
        Self { call, flow, redirect: None, redirect_problem: None, is_forwarded: false }
    }

    /// Returns the failure for a call that has ended, and whether another server or backend may be asked.
    pub(super) fn end(&self, ended: &Ended) -> (Failure, Next) {
        match &self.redirect_problem {
            Some(problem) if ended.cause == EndCause::Cancelled => redirect_failed(problem, ended.may_have_rung),
            _ => end(ended),
        }
    }
}

impl SipTrunk {
    /// Returns the next event of a call that is not answered: progress, an answer or the end. `None` if the call was given
    /// up. May be dropped and called again.
    pub(super) async fn next_before_answer(
        &self,
        dialled: &mut DialledCall,
        media: &Media,
        on_step: StepSink<'_>,
    ) -> Option<CallEvent> {
        loop {
            if let Some(target) = &dialled.redirect {
                match self.follow_redirect(dialled, target).await {
                    Ok(flow) => {
                        let server = &flow.server;
                        let name = format!("{} over {}", server.address, transport_name(server.transport));
                        on_step(CallStep::Redirected(name));
                        dialled.flow = flow;
                    }
                    Err(problem) => {
                        dialled.redirect_problem = Some(problem);
                        dialled.call.hang_up();
                    }
                }
                dialled.redirect = None;
            }
            match dialled.call.next().await? {
                CallEvent::Redirected(target) => dialled.redirect = Some(target),
                CallEvent::Retried(RetryReason::Challenged) => {
                    on_step(CallStep::Retried("The trunk asked for the password."));
                }
                CallEvent::Retried(RetryReason::SessionInterval) => {
                    on_step(CallStep::Retried("The trunk asked for a longer session interval."));
                }
                event @ (CallEvent::Provisional(_) | CallEvent::Established(_) | CallEvent::Ended(_)) => {
                    return Some(event);
                }
                // No key counts before the first prompt.
                event => drop(respond(&dialled.call, media, event)),
            }
        }
    }

    /// Reports that a call is forwarded, once.
    ///
    /// # Errors
    /// The configuration refuses such calls.
    pub(super) fn admit_forwarded(&self, dialled: &mut DialledCall, on_step: StepSink<'_>) -> Result<(), Failure> {
        if !dialled.is_forwarded {
            dialled.is_forwarded = true;
            on_step(CallStep::Forwarded);
        }
        if !self.settings.refuses_forwarded {
            return Ok(());
        }
        dialled.call.hang_up();
        let sentence = "The trunk reported that the call is forwarded to another phone, and `refuse_forwarded` is set.";
        Err(Failure::new(FailureReason::Unreachable, sentence))
    }

    /// Sends the call to the server of a redirection, and returns the flow to it.
    async fn follow_redirect(&self, dialled: &DialledCall, target: &SipUri) -> Result<Arc<OpenFlow>, String> {
        let flow = self.flow_of(target, &dialled.flow).await?;
        dialled.call.follow_redirect(flow.id).map_err(|error| format!("{}: {error}", flow.server.address))?;
        Ok(flow)
    }

    /// Returns a flow to a live server of a redirection. A URI that names no transport keeps the one that was used.
    async fn flow_of(&self, target: &SipUri, before: &OpenFlow) -> Result<Arc<OpenFlow>, String> {
        let host = target.host().to_string();
        let transport = match target.transport() {
            Some(transport) => transport,
            None if target.is_secure() => transport_name(Transport::Tls),
            None => transport_name(before.server.transport),
        };
        // Without the number: the server is asked by OPTIONS, which must not reach a phone.
        let scheme = if target.is_secure() { "sips" } else { "sip" };
        let port = target.port().map(|port| format!(":{port}")).unwrap_or_default();
        let unusable = || format!("{host}: its transport is not supported");
        let Ok(Uri::Sip(uri)) = Uri::parse(&format!("{scheme}:{host}{port};transport={transport}")) else {
            return Err(unusable());
        };
        let peer = Peer::from_uri(uri).ok_or_else(unusable)?;
        let servers = peer.servers().await?;
        self.trust(&host, &servers);
        self.first_live_flow(&peer, &servers).await
    }
}
