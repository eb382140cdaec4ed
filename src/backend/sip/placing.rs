//! Placing a call at a server: its INVITE, and what happens until a phone rings.

use std::sync::Arc;

use phonegate_sip::agent::{AgentError, CallEvent, EndCause, Transport};
use phonegate_sip::message::{SipUri, Uri};

use super::driver::{OpenFlow, OutgoingCall};
use super::live::{Live, respond};
use super::media::{Media, MediaSettings};
use super::outcome::{Next, end};
use super::peer::{Peer, Server};
use super::{Line, SipTrunk};
use crate::backend::{PlaceError, Rang};
use crate::call::{Call, Failure, FailureReason};

/// What an attempt at one server has come to.
pub(super) enum Attempt {
    /// A phone rings, or the call has ended at a phone.
    Placed(Line),
    /// No other server is asked.
    Failed(PlaceError),
    /// Certainly no phone rang, and another server may be asked.
    TryNext(Failure),
}

impl SipTrunk {
    /// Places a call at a server.
    pub(super) async fn place_at(&self, call: &Call, trunk: &Peer, server: &Server, servers: &[Server]) -> Attempt {
        let flow = match self.live_flow(trunk, server).await {
            Ok(flow) => flow,
            Err(problem) => return Attempt::TryNext(unreachable(problem)),
        };
        let media = MediaSettings {
            address: flow.local.ip(),
            encryption: self.settings.encryption(server),
            learns_port: self.settings.learns_port,
            is_signalling_tls: server.transport == Transport::Tls,
        };
        let (media, keys) = match Media::open(&media, &self.settings.ports) {
            Ok(opened) => opened,
            Err(problem) => {
                let sentence = format_args!("The call has no audio: {problem}.");
                return not_rung(Failure::new(FailureReason::Throttled, sentence));
            }
        };
        let mut outbound = match self.settings.call(&call.number, trunk, servers) {
            Ok(outbound) => outbound,
            Err(failure) => return not_rung(failure),
        };
        outbound.offer = media.offer().into_bytes();
        self.pace().await;
        let outgoing = match flow.shared().place(flow.id, outbound) {
            Ok(outgoing) => outgoing,
            Err(error @ AgentError::TooMany(_)) => {
                let sentence = format_args!("The call cannot be placed now: {error}.");
                return not_rung(Failure::new(FailureReason::Throttled, sentence));
            }
            Err(error) => return Attempt::TryNext(unreachable(error.to_string())),
        };
        let mut ringing = Ringing { call: outgoing, flow };
        let ended = tokio::select! {
            event = self.until_ringing(&mut ringing, &media) => event,
            // Dropped, the call is cancelled.
            () = call.deadline.wait() => {
                let sentence = "The trunk did not let the phone ring before the call's deadline.";
                let failure = Failure::new(FailureReason::DeadlinePassed, sentence);
                return Attempt::Failed(PlaceError { rang: Rang::Perhaps, failure });
            }
        };
        match ended {
            Some(CallEvent::Ended(ended)) => {
                let (failure, next) = end(&ended);
                match next {
                    Next::AnotherServer => Attempt::TryNext(failure),
                    Next::AnotherBackend => not_rung(failure),
                    Next::Nobody if matches!(ended.cause, EndCause::Refused(_)) => Attempt::Placed(Line::Over(failure)),
                    Next::Nobody => Attempt::Failed(PlaceError { rang: Rang::Perhaps, failure }),
                }
            }
            Some(event) => {
                let language = self.prompts.language_for(call.language.as_deref(), call.number.country());
                let extension = call.number.extension().map(Into::into);
                let Ringing { call, flow } = ringing;
                Attempt::Placed(Line::Live(Box::new(Live {
                    call,
                    pending: Some(event),
                    media,
                    keys,
                    language,
                    extension,
                    is_answered: false,
                    outcome: None,
                    _flow: flow,
                })))
            }
            None => Attempt::Failed(PlaceError {
                rang: Rang::Perhaps,
                failure: Failure::new(FailureReason::CannotPlace, "The call was given up: the trunk sent too much."),
            }),
        }
    }

    /// Waits until a phone rings, the call is answered, or it ends.
    async fn until_ringing(&self, ringing: &mut Ringing, media: &Media) -> Option<CallEvent> {
        loop {
            match ringing.call.next().await? {
                event @ (CallEvent::Progress(_) | CallEvent::Answered(_) | CallEvent::Ended(_)) => return Some(event),
                CallEvent::Redirected(target) => self.follow_redirect(ringing, &target).await,
                event => drop(respond(&ringing.call, media, event)),
            }
        }
    }

    /// Follows a redirection, or hangs up if the server cannot be reached. The end is the call's next event.
    async fn follow_redirect(&self, ringing: &mut Ringing, target: &SipUri) {
        let Some(flow) = self.flow_of(target, &ringing.flow).await else {
            ringing.call.hang_up();
            return;
        };
        match ringing.call.follow_redirect(flow.id) {
            Ok(()) => ringing.flow = flow,
            Err(_) => ringing.call.hang_up(),
        }
    }

    /// Returns a flow to the server of a redirection. A URI that names no transport keeps the one that was used.
    async fn flow_of(&self, target: &SipUri, before: &OpenFlow) -> Option<Arc<OpenFlow>> {
        let transport = match before.server.transport {
            transport if target.transport().is_none() && !target.is_secure() => {
                format!(";transport={}", transport_name(transport))
            }
            _ => String::new(),
        };
        let Ok(Uri::Sip(uri)) = Uri::parse(&format!("{target}{transport}")) else { return None };
        let servers = Peer::from_uri(uri)?.servers().await.ok()?;
        self.settings.flow.trusted.record(&target.host().to_string(), servers.iter().map(|server| server.address.ip()));
        for server in servers {
            if let Ok(flow) = self.flow(&server).await {
                return Some(flow);
            }
        }
        None
    }
}

/// A call that was placed, and the flow that it uses.
struct Ringing {
    call: OutgoingCall,
    flow: Arc<OpenFlow>,
}

pub(super) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    }
}

fn unreachable(problem: String) -> Failure {
    Failure::new(FailureReason::CannotPlace, format_args!("The trunk cannot be reached: {problem}."))
}

fn not_rung(failure: Failure) -> Attempt {
    Attempt::Failed(PlaceError { rang: Rang::No, failure })
}
