//! Places a call at a server: sends the INVITE, and waits until a phone rings or the call ends.

use std::sync::Arc;

use phonegate_sip::agent::{AgentError, CallEvent, EndCause, Ended, Transport};

use super::call::SipCall;
use super::driver::OpenFlow;
use super::media::{DigitReceiver, Media, MediaSettings};
use super::outbound_call::TrunkCall;
use super::outcome::{NextAttempt, flooded};
use super::target::{Server, Target};
use super::{CallState, SipTrunk};
use crate::backend::{MayRing, PlaceError, StepSink};
use crate::call::{Call, Country, Failure, FailureReason};
use crate::clock::Moment;

/// The result of placing a call at one server.
pub(super) enum ServerResult {
    /// A phone rings, or a phone may have rung and the call was rejected.
    Placed(CallState),
    /// No other server may be tried.
    Failed(PlaceError),
    /// No phone can have rung, so another server may be tried.
    TryNext(Failure),
}

/// An INVITE that was sent, and the audio that it offers.
struct Invited {
    outbound: TrunkCall,
    media: Media,
    digits: DigitReceiver,
}

impl SipTrunk {
    /// Places a call at a server.
    pub(super) async fn place_at(
        &self,
        call: &Call,
        (trunk, server, servers): (&Target, &Server, &[Server]),
        on_step: StepSink<'_>,
    ) -> ServerResult {
        let flow = match self.responsive_flow(trunk, server).await {
            Ok(flow) => flow,
            Err(problem) => return ServerResult::TryNext(trunk_not_reached(problem).of_backend()),
        };
        let mut invited = match self.invite(call, flow, (trunk, servers)).await {
            Ok(invited) => invited,
            Err(result) => return result,
        };
        let event = tokio::select! {
            event = self.next_before_answer(&mut invited.outbound, &invited.media, on_step) => event,
            // Dropping the call cancels it.
            () = call.deadline.wait() => {
                let sentence = "The trunk did not let the phone ring before the call's deadline.";
                return may_ring(Failure::new(FailureReason::DeadlinePassed, sentence));
            }
        };
        match event {
            Some(CallEvent::Ended(ended)) => result_of_ended(&invited.outbound, &ended),
            Some(event) => ServerResult::Placed(self.ringing(call, invited, event)),
            None => may_ring(flooded()),
        }
    }

    /// Opens the audio of a call, and sends its INVITE. Returns the failed result if no INVITE was sent.
    async fn invite(
        &self,
        call: &Call,
        flow: Arc<OpenFlow>,
        (trunk, servers): (&Target, &[Server]),
    ) -> Result<Invited, ServerResult> {
        let media = MediaSettings {
            address: flow.local.ip(),
            encryption: self.settings.encryption(&flow.server),
            learns_port: self.settings.learns_port,
            is_signalling_tls: flow.server.transport == Transport::Tls,
        };
        let (media, digits) = Media::open(&media, &self.settings.ports).map_err(|problem| {
            let sentence = format_args!("The call has no audio: {problem}.");
            not_rung(Failure::new(FailureReason::Throttled, sentence))
        })?;
        let mut setup = self.settings.call(call, trunk, servers).map_err(not_rung)?;
        setup.offer = media.offer().into_bytes();
        self.wait_for_turn().await;
        // Finding a responsive server may have taken seconds.
        if call.deadline.passed(Moment::now()) {
            let sentence = "The call's deadline passed before the trunk was asked to place it.";
            return Err(not_rung(Failure::new(FailureReason::DeadlinePassed, sentence)));
        }
        let has_credentials = setup.credentials.is_some();
        match flow.shared().place(flow.id, setup) {
            Ok(placed) => Ok(Invited { outbound: TrunkCall::new(placed, flow, has_credentials), media, digits }),
            Err(error @ AgentError::TooMany(_)) => {
                let sentence = format_args!("The call cannot be placed now: {error}.");
                Err(not_rung(Failure::new(FailureReason::Throttled, sentence)))
            }
            Err(error) => {
                // Another error may be about what is dialled.
                let is_lost = error == AgentError::UnknownFlow;
                Err(ServerResult::TryNext(trunk_not_reached(error.to_string()).of_backend_if(is_lost)))
            }
        }
    }

    /// Returns the state of a call after its first event that is not its end.
    fn ringing(&self, call: &Call, invited: Invited, event: CallEvent) -> CallState {
        let country = call.number.country().map(Country::as_str);
        let Invited { outbound, media, digits } = invited;
        CallState::Active(Box::new(SipCall {
            outbound,
            pending: Some(event),
            media,
            digits,
            language: self.prompts.language_for(call.language.as_deref(), country),
            extension: call.number.extension().map(Into::into),
            is_answered: false,
            is_ivr_started: false,
            outcome: None,
        }))
    }
}

/// Returns the result of a call that ended before a phone was reported to ring.
fn result_of_ended(outbound: &TrunkCall, ended: &Ended) -> ServerResult {
    let (failure, next) = outbound.end(ended);
    match next {
        NextAttempt::AnotherServer => ServerResult::TryNext(failure),
        NextAttempt::AnotherBackend => not_rung(failure),
        NextAttempt::Nothing if matches!(ended.cause, EndCause::Rejected(_)) => {
            ServerResult::Placed(CallState::Ended(failure))
        }
        NextAttempt::Nothing => may_ring(failure),
    }
}

/// Returns the failure of a trunk that cannot be reached.
pub(super) fn trunk_not_reached(problem: String) -> Failure {
    Failure::new(FailureReason::CannotPlace, format_args!("The trunk cannot be reached: {problem}."))
}

fn not_rung(failure: Failure) -> ServerResult {
    ServerResult::Failed(PlaceError { may_ring: MayRing::No, failure })
}

fn may_ring(failure: Failure) -> ServerResult {
    ServerResult::Failed(PlaceError { may_ring: MayRing::Yes, failure })
}
