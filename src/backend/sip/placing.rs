//! Placing a call at a server: its INVITE, and what happens until a phone rings.

use phonegate_sip::agent::{AgentError, CallEvent, EndCause, Transport};

use super::dialled::DialledCall;
use super::live::Live;
use super::media::{Media, MediaSettings};
use super::outcome::Next;
use super::peer::{Peer, Server};
use super::{Line, SipTrunk};
use crate::backend::{MayRing, PlaceError, StepSink};
use crate::call::{Call, Country, Failure, FailureReason};
use crate::clock::Moment;

/// What an attempt at one server has come to.
pub(super) enum Attempt {
    /// A phone rings, or the call has ended at a phone.
    Placed(Line),
    /// No other server is asked.
    Failed(PlaceError),
    /// Certainly no phone may_ring, and another server may be asked.
    TryNext(Failure),
}

impl SipTrunk {
    /// Places a call at a server.
    pub(super) async fn place_at(
        &self,
        call: &Call,
        (trunk, server, servers): (&Peer, &Server, &[Server]),
        on_step: StepSink<'_>,
    ) -> Attempt {
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
        // To find a live server takes seconds.
        if call.deadline.passed(Moment::now()) {
            let sentence = "The call's deadline passed before the trunk was asked to place it.";
            return not_rung(Failure::new(FailureReason::DeadlinePassed, sentence));
        }
        let outgoing = match flow.shared().place(flow.id, outbound) {
            Ok(outgoing) => outgoing,
            Err(error @ AgentError::TooMany(_)) => {
                let sentence = format_args!("The call cannot be placed now: {error}.");
                return not_rung(Failure::new(FailureReason::Throttled, sentence));
            }
            Err(error) => return Attempt::TryNext(unreachable(error.to_string())),
        };
        let mut dialled = DialledCall::new(outgoing, flow);
        let event = tokio::select! {
            event = self.next_before_answer(&mut dialled, &media, on_step) => event,
            // Dropped, the call is cancelled.
            () = call.deadline.wait() => {
                let sentence = "The trunk did not let the phone ring before the call's deadline.";
                let failure = Failure::new(FailureReason::DeadlinePassed, sentence);
                return Attempt::Failed(PlaceError { may_ring: MayRing::Yes, failure });
            }
        };
        match event {
            Some(CallEvent::Ended(ended)) => {
                let (failure, next) = dialled.end(&ended);
                match next {
                    Next::AnotherServer => Attempt::TryNext(failure),
                    Next::AnotherBackend => not_rung(failure),
                    Next::Nobody if matches!(ended.cause, EndCause::Rejected(_)) => {
                        Attempt::Placed(Line::Over(failure))
                    }
                    Next::Nobody => Attempt::Failed(PlaceError { may_ring: MayRing::Yes, failure }),
                }
            }
            Some(event) => {
                let language =
                    self.prompts.language_for(call.language.as_deref(), call.number.country().map(Country::as_str));
                let extension = call.number.extension().map(Into::into);
                Attempt::Placed(Line::Live(Box::new(Live {
                    dialled,
                    pending: Some(event),
                    media,
                    keys,
                    language,
                    extension,
                    is_answered: false,
                    is_asked: false,
                    outcome: None,
                })))
            }
            None => Attempt::Failed(PlaceError {
                may_ring: MayRing::Yes,
                failure: Failure::new(FailureReason::CannotPlace, "The call was given up: the trunk sent too much."),
            }),
        }
    }
}

pub(super) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    }
}

pub(super) fn unreachable(problem: String) -> Failure {
    Failure::new(FailureReason::CannotPlace, format_args!("The trunk cannot be reached: {problem}."))
}

fn not_rung(failure: Failure) -> Attempt {
    Attempt::Failed(PlaceError { may_ring: MayRing::No, failure })
}
