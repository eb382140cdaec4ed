//! The request that starts a call: until when it is sent, when it is sent again, and what its refusal means.

use phonegate_net::https_client;
use secrecy::SecretString;

use super::super::start_queue::may_ring_after;
use super::super::{MayRing, PlaceError, replies};
use super::api::{self, ApiError, Refusal, Reply};
use super::request::Request;
use super::service::Service;
use crate::call::{Failure, FailureReason};
use crate::clock::Deadline;

/// The statuses of a successful start. One without content is enough only if the service has no id of its own.
const STARTED: [u16; 4] = [200, 201, 202, 204];

/// What a refused start says at `start.error`.
pub(super) struct Stated {
    /// The reason that the table `failed` has for it.
    reason: Option<FailureReason>,
    /// The text, as a message may quote it.
    quoted: String,
}

impl Service {
    /// Starts a call before its deadline.
    ///
    /// A service that refuses a token has not processed the request, so it is sent once more with a new token. The reason that
    /// a refusal states is more certain than its status: if by that a phone may have rung, nothing is sent again.
    pub(super) async fn start(&self, request: &Request, deadline: &Deadline) -> Result<Reply, ApiError> {
        let started = self.start_once(request, deadline).await;
        if let Err(ApiError::Refused(refusal @ Refusal { status: 401, token: Some(token), .. })) = &started
            && refusal.may_ring() == MayRing::No
        {
            self.api.auth.forget(token);
            return self.start_once(request, deadline).await;
        }
        started
    }

    async fn start_once(&self, request: &Request, deadline: &Deadline) -> Result<Reply, ApiError> {
        let (response, token) = self.api.respond(request, Some(deadline)).await?;
        if !api::is_refusal(response.status()) {
            return api::accept(response, token, &STARTED).await;
        }
        let mut refusal = Refusal::of(&response, token);
        if self.rules.has_start_error() {
            // A part of it would not show whether a phone rings.
            let body = https_client::body(response).await.map_err(ApiError::of_body)?;
            refusal.stated = self.stated(&body, refusal.token.as_ref());
        }
        Err(ApiError::Refused(refusal))
    }

    /// Returns what the body of a refused start says. `token`: the one that the request had.
    fn stated(&self, body: &[u8], token: Option<&SecretString>) -> Option<Stated> {
        let body = api::json(body).ok()?;
        let (reason, text) = self.rules.refusal(&body)?;
        Some(Stated { reason, quoted: self.redaction.with_token(token).quote(text) })
    }
}

impl Refusal {
    fn may_ring(&self) -> MayRing {
        may_ring_after(self.status, self.stated_reason().unwrap_or_else(|| self.reason()))
    }

    fn stated_reason(&self) -> Option<FailureReason> {
        self.stated.as_ref()?.reason
    }
}

/// Returns the error of a call that could not be started.
pub(super) fn place_error(error: &ApiError) -> PlaceError {
    let may_ring = match error {
        ApiError::NotWritten(_) | ApiError::NoToken(..) | ApiError::NotInTime | ApiError::NotSent(_) => MayRing::No,
        ApiError::Lost(_) | ApiError::Malformed(_) => MayRing::Yes,
        ApiError::Refused(refusal) => refusal.may_ring(),
    };
    let failure = match error {
        ApiError::Refused(refusal) => refused(refusal),
        error => error.failure(),
    };
    PlaceError { may_ring, failure }
}

fn refused(refusal: &Refusal) -> Failure {
    let Some(stated) = &refusal.stated else { return refusal.failure() };
    let reason = match stated.reason {
        // A fraud is reported by the user of an answered call, and this call was not started.
        None | Some(FailureReason::FraudReported) => refusal.reason(),
        Some(reason) => reason,
    };
    let is_of_backend = match stated.reason {
        Some(reason) => reason == FailureReason::NotConfigured,
        None => replies::is_outage(refusal.status),
    };
    let failure = Failure::new(reason, format_args!("{refusal} It reports {}.", stated.quoted));
    failure.of_backend_if(is_of_backend)
}
