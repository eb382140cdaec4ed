//! A call until it is established: redirections, retries and forwarding.

use std::net::IpAddr;
use std::sync::Arc;

use phonegate_sip::agent::{CallEvent, EndCause, Ended, RetryReason, Transport};
use phonegate_sip::message::{SipUri, Uri};

use super::SipTrunk;
use super::call::respond;
use super::driver::{CallHandle, OpenFlow};
use super::media::Media;
use super::outcome::{NextAttempt, end, redirect_failed};
use super::target::Target;
use crate::backend::{CallStep, StepSink};
use crate::call::{Failure, FailureReason};

/// A call that was placed at a trunk, and the flow that it uses.
pub(super) struct TrunkCall {
    pub(super) call: CallHandle,
    /// Keeps the connection open.
    flow: Arc<OpenFlow>,
    /// Keeps packets from the servers of the latest redirection accepted.
    _redirect_addresses: Option<Arc<[IpAddr]>>,
    /// A redirection that was not followed yet.
    redirect: Option<SipUri>,
    /// Why a redirection could not be followed.
    redirect_problem: Option<String>,
    is_forwarded: bool,
    /// Whether the trunk's configuration has a password.
    has_credentials: bool,
}

impl TrunkCall {
    pub(super) fn new(call: CallHandle, flow: Arc<OpenFlow>, has_credentials: bool) -> Self {
        Self {
            call,
            flow,
            _redirect_addresses: None,
            redirect: None,
            redirect_problem: None,
            is_forwarded: false,
            has_credentials,
        }
    }

    /// Returns the failure of a call that has ended, and what may be tried next.
    pub(super) fn end(&self, ended: &Ended) -> (Failure, NextAttempt) {
        match &self.redirect_problem {
            Some(problem) if ended.cause == EndCause::Cancelled => redirect_failed(problem, ended.may_have_rung),
            _ => end(ended, self.has_credentials),
        }
    }
}

impl SipTrunk {
    /// Follows redirections and responds to requests until the next provisional response, the 2xx or the end. Returns `None`
    /// as [`CallHandle::next`] does. Cancel safe.
    pub(super) async fn next_before_answer(
        &self,
        outbound: &mut TrunkCall,
        media: &Media,
        on_step: StepSink<'_>,
    ) -> Option<CallEvent> {
        loop {
            if let Some(target) = &outbound.redirect {
                match self.follow_redirect(outbound, target).await {
                    Ok((flow, addresses)) => {
                        let server = &flow.server;
                        let name = format!("{} over {}", server.address, server.transport.name());
                        on_step(CallStep::Redirected(name));
                        outbound.flow = flow;
                        outbound._redirect_addresses = Some(addresses);
                    }
                    Err(problem) => {
                        outbound.redirect_problem = Some(problem);
                        outbound.call.start_hang_up();
                    }
                }
                outbound.redirect = None;
            }
            match outbound.call.next().await? {
                CallEvent::Redirected(target) => outbound.redirect = Some(target),
                CallEvent::Retried(RetryReason::Challenged) => {
                    on_step(CallStep::Retried("The trunk asked for the password."));
                }
                CallEvent::Retried(RetryReason::SessionInterval) => {
                    on_step(CallStep::Retried("The trunk asked for a longer session interval."));
                }
                event @ (CallEvent::Provisional(_) | CallEvent::Established(_) | CallEvent::Ended(_)) => {
                    return Some(event);
                }
                // Digits do not count before the first prompt.
                event => drop(respond(&outbound.call, media, event)),
            }
        }
    }

    /// Reports once that the call is forwarded.
    ///
    /// # Errors
    /// `refuse_forwarded` is set, so the call is hung up.
    pub(super) fn handle_forwarded(&self, outbound: &mut TrunkCall, on_step: StepSink<'_>) -> Result<(), Failure> {
        if !outbound.is_forwarded {
            outbound.is_forwarded = true;
            on_step(CallStep::Forwarded);
        }
        if !self.settings.refuses_forwarded {
            return Ok(());
        }
        outbound.call.start_hang_up();
        let sentence = "The trunk reported that the call is forwarded to another phone, and `refuse_forwarded` is set.";
        Err(Failure::new(FailureReason::Unreachable, sentence))
    }

    /// Sends the call to the server of a redirection. Returns the flow to it, and the addresses of its servers.
    async fn follow_redirect(
        &self,
        outbound: &TrunkCall,
        target: &SipUri,
    ) -> Result<(Arc<OpenFlow>, Arc<[IpAddr]>), String> {
        let (flow, addresses) = self.flow_to(target, &outbound.flow).await?;
        outbound.call.follow_redirect(flow.id).map_err(|error| format!("{}: {error}", flow.server.address))?;
        Ok((flow, addresses))
    }

    /// Returns a flow to a responsive server of a redirection, and the addresses of its servers. A URI without a transport
    /// keeps that of the call so far.
    async fn flow_to(&self, target: &SipUri, before: &OpenFlow) -> Result<(Arc<OpenFlow>, Arc<[IpAddr]>), String> {
        let host = target.host().to_string();
        let transport = match target.transport() {
            Some(transport) => transport,
            None if target.is_secure() => Transport::Tls.name(),
            None => before.server.transport.name(),
        };
        // Without the user part: this URI is probed by OPTIONS, which must not reach a phone.
        let scheme = if target.is_secure() { "sips" } else { "sip" };
        let port = target.port().map(|port| format!(":{port}")).unwrap_or_default();
        let unusable = || format!("{host}: its transport is not supported");
        let Ok(Uri::Sip(uri)) = Uri::parse(&format!("{scheme}:{host}{port};transport={transport}")) else {
            return Err(unusable());
        };
        let target = Target::from_uri(uri).ok_or_else(unusable)?;
        let servers = target.servers(self.settings.loopback).await?;
        // Not for longer than the call: DNS may no longer name an address that a redirection names.
        let addresses = servers.iter().map(|server| server.address.ip());
        let addresses = self.settings.flow.trusted.admit_for_call(addresses);
        Ok((self.first_responsive_flow(&target, &servers).await?, addresses))
    }
}
