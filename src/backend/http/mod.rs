//! Calls by a web service whose requests and replies the configuration declares, by outbound HTTPS only.
//!
//! `start` places a call, `poll` asks for its state, and `hang_up` ends it. The templates of the requests are parsed, and
//! the tables of the replies are checked, when the configuration is loaded (`service`). `outcome` reads the replies.

mod api;
mod auth;
mod call_ref;
mod config;
mod header;
mod infobip;
mod outcome;
mod redaction;
mod request;
mod service;
mod settings;
mod start;
mod template;
mod tokens;
mod used;

use std::time::SystemTime;

use async_trait::async_trait;

use super::backoff::{PollSchedule, retry};
use super::random_id::random_id;
use super::replies::with_proxy;
use super::reported::Reported;
use super::start_queue::StartQueue;
use super::{BackendContext, CallRef, CallStep, HealthSink, MayRing, PlaceError, StepSink, TelephonyBackend, abandon};
use crate::approval::Approver;
use crate::call::{Call, Failure, FailureReason, Outcome, Progress};
use crate::config::ConfigError;
use api::{ApiError, Queue};
use call_ref::HttpRef;
use outcome::Report;
use request::Request;
use service::Service;
use start::place_error;
use template::Values;
use used::UsedReferences;

pub(super) use config::HttpConfig;

/// The statuses of a successful request to end a call.
const ENDED: [u16; 4] = [200, 201, 202, 204];

/// A web service that places calls.
struct HttpBackend {
    service: Service,
    start_queue: StartQueue,
    used: UsedReferences,
}

impl HttpBackend {
    /// # Errors
    /// A setting cannot work, or a secret cannot be read.
    fn new(config: &HttpConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        let service = Service::new(config, context)?;
        Ok(Self { service, start_queue: StartQueue::default(), used: UsedReferences::default() })
    }

    /// Returns the service's id in the reply to a start. `None`: calls have none.
    fn reference_in(&self, reply: &[u8]) -> Result<Option<String>, Failure> {
        if !self.service.rules.has_reference() {
            return Ok(None);
        }
        let reply = api::json(reply).map_err(|error| error.failure())?;
        self.service.rules.reference(&reply).map(Some)
    }

    /// Returns the values for a request about a call.
    fn values<'a>(&'a self, call_id: &'a str, reference: Option<&'a str>) -> Values<'a> {
        Values { call: None, language: "", call_id: Some(call_id), reference, secrets: &self.service.secrets }
    }

    /// Ends a call whose start may have succeeded, if the service knows calls by `{call_id}`.
    async fn abandon_start(&self, error: PlaceError, call_id: &str) -> PlaceError {
        let is_unknown = error.may_ring == MayRing::Yes && !error.failure.reason().may_have_rung();
        if !is_unknown || !self.service.hangs_up_by_call_id {
            return error;
        }
        PlaceError { failure: abandon(self.end(call_id, None), error.failure).await, ..error }
    }

    /// Ends a call.
    ///
    /// # Errors
    /// The phone may still ring.
    async fn end(&self, call_id: &str, reference: Option<&str>) -> Result<(), Failure> {
        let Some(hang_up) = &self.service.hang_up else {
            let sentence = "The backend declares no request that ends a call (`hang_up`).";
            return Err(Failure::new(FailureReason::NotConfigured, sentence));
        };
        let request = hang_up.render(&self.values(call_id, reference));
        let request = request.map_err(|error| ApiError::NotWritten(error).failure())?;
        let ended = retry(|| self.service.api.send(Queue::Commands, &request, &ENDED)).await;
        ended.map(drop).map_err(|error| error.failure())
    }

    /// Asks the service once for the state of the call.
    async fn poll(&self, call: &HttpRef<'_>, request: &Request) -> Result<Report, ApiError> {
        let reply = self.service.api.send(Queue::Polls, request, &[200]).await?;
        let redactor = self.service.redaction.with_token(reply.token.as_ref());
        Ok(self.service.rules.read(&api::json(&reply.body)?, call, redactor))
    }
}

#[async_trait]
impl TelephonyBackend for HttpBackend {
    async fn place(&self, call: &Call, _: StepSink<'_>) -> Result<CallRef, PlaceError> {
        let not_rung = |failure| PlaceError { may_ring: MayRing::No, failure };
        if call.number.extension().is_some() && !self.service.dials_extensions {
            let sentence = "The number has an extension, and the request `start` of the backend has no {extension}.";
            return Err(not_rung(Failure::new(FailureReason::InvalidNumber, sentence)));
        }
        let call_id = random_id().map_err(not_rung)?.to_string();
        let language = self.service.language(call);
        let values = Values { call: Some(call), language, ..self.values(&call_id, None) };
        let request = self.service.start.render(&values);
        let request = request.map_err(|error| not_rung(ApiError::NotWritten(error).failure()))?;
        let send = || self.service.start(&request, &call.deadline);
        let reply = match self.start_queue.start(&call.deadline, send, place_error).await {
            Ok(reply) => reply,
            Err(error) => return Err(self.abandon_start(error, &call_id).await),
        };
        // From here on the phone may ring.
        let rung = |failure| PlaceError { may_ring: MayRing::Yes, failure };
        let reference = match self.reference_in(&reply.body) {
            Ok(reference) => reference,
            Err(failure) => return Err(rung(abandon(self.end(&call_id, None), failure).await)),
        };
        if reference.as_deref().is_some_and(|reference| !self.used.add(reference)) {
            // A report about this id could be about the earlier call. It is not ended, since it may not be this one.
            let sentence = "The provider's id of the call is that of an earlier call. The phone may ring on.";
            return Err(rung(Failure::new(FailureReason::CannotPlace, sentence)));
        }
        match HttpRef::of(&call_id, reference.as_deref(), &call.number) {
            Ok(reference) => Ok(reference),
            Err(failure) => Err(rung(abandon(self.end(&call_id, reference.as_deref()), failure).await)),
        }
    }

    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        let call = match HttpRef::parse(reference, self.service.rules.has_reference()) {
            Ok(call) => call,
            Err(failure) => return Outcome::Failed(failure),
        };
        // The call may be one of an earlier process.
        call.reference.map(|reference| self.used.add(reference));
        on_step(CallStep::Progress(Progress::Ringing));
        let failure = match self.service.poll.render(&self.values(call.call_id, call.reference)) {
            Ok(request) => match self.follow_by(&call, &request, on_step).await {
                Ok(reported) => return reported.judge(approver).await,
                Err(Unapproved::Ended(failure)) => return Outcome::Failed(failure),
                Err(Unapproved::MayRing(failure)) => failure,
            },
            Err(error) => ApiError::NotWritten(error).failure(),
        };
        Outcome::Failed(abandon(self.end(call.call_id, call.reference), failure).await)
    }

    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure> {
        let call = HttpRef::parse(reference, self.service.rules.has_reference())?;
        self.end(call.call_id, call.reference).await
    }

    async fn run_background(&self, _: HealthSink<'_>, _: bool) {
        self.start_queue.keep_open().await;
    }

    fn outlives_its_process(&self) -> bool {
        !self.service.poll_once
    }

    async fn check(&self) -> Result<String, Failure> {
        let asked = match &self.service.check {
            Some((check, status)) => {
                let values = Values { call_id: None, ..self.values("", None) };
                let request = check.render(&values).map_err(|error| ApiError::NotWritten(error).failure())?;
                let replied = self.service.api.send(Queue::Commands, &request, &[*status]).await;
                replied.map_err(|error| with_proxy(error.failure(), &self.service.api.proxy))?;
                format!("replied with the status {status}")
            }
            None => {
                let token = self.service.api.auth.token().await;
                let token = token.map_err(|error| with_proxy(error.failure(), &self.service.api.proxy))?;
                let asked = if token.is_some() { "issued a token; nothing else was asked" } else { "was not asked" };
                format!("{asked}, since the backend declares no `check`")
            }
        };
        let description = format!("{} {asked} {}", self.service.api.host(), self.service.api.proxy);
        Ok(description.trim_end().to_owned())
    }

    async fn time(&self) -> Option<SystemTime> {
        self.service.api.date().await
    }
}

/// Why a call was not approved.
enum Unapproved {
    /// Its phone no longer rings.
    Ended(Failure),
    /// Its phone may still ring.
    MayRing(Failure),
}

impl HttpBackend {
    /// Polls a call until the service reports its end.
    async fn follow_by(
        &self,
        call: &HttpRef<'_>,
        request: &Request,
        on_step: StepSink<'_>,
    ) -> Result<Reported, Unapproved> {
        let every = self.service.poll_every;
        let mut schedule = PollSchedule::new(every, every);
        loop {
            tokio::time::sleep(schedule.next_pause()).await;
            let error = match self.poll(call, request).await {
                Ok(Report::Answered(reported)) => return Ok(reported),
                Ok(Report::Failed(failure)) => return Err(Unapproved::Ended(failure)),
                Ok(Report::Unusable(failure)) => return Err(Unapproved::MayRing(failure)),
                Ok(Report::Pending(progress)) => {
                    if let Some(progress) = progress {
                        on_step(CallStep::Progress(progress));
                    }
                    schedule.poll_succeeded();
                    continue;
                }
                Err(error) => error,
            };
            if !schedule.poll_failed(&error) {
                return Err(Unapproved::MayRing(error.failure()));
            }
        }
    }
}
