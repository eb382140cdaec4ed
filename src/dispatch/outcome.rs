//! How a call ends: the store has it first, then the registry and the log.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::{Flight, Shared, step, taken_over, too_late};
use crate::call::{Failure, FailureReason, Outcome};
use crate::clock::Moment;
use crate::config::Level;
use crate::store::CurrentState;
use crate::telemetry::Event;

/// How soon the store is asked again whether a call is verified.
const VERIFY_AGAIN: Duration = Duration::from_millis(250);

impl Shared {
    /// Lets the store have the outcome of a call that rings no more, before anybody is told. Returns what it is now, and
    /// whether the call was this process's to end.
    pub(super) async fn keep_outcome(&self, flight: &Flight, outcome: Outcome) -> (Outcome, bool) {
        let failure = match outcome {
            Outcome::Verified => match self.keep_verified(flight).await {
                Ok(()) => return (Outcome::Verified, true),
                Err(failure) => failure,
            },
            Outcome::Failed(failure) => failure,
        };
        if failure.reason() == FailureReason::FraudReported {
            self.ledger.block(flight.number, &flight.masked).await;
            self.note(flight, Level::Warn, "blocked", None);
        }
        if self.ledger.fail(flight.attempt, &failure, true).await {
            return (Outcome::Failed(failure), true);
        }
        // It has ended already, perhaps by an answer of the store that was lost.
        match self.verdict_of(flight).await {
            Some(Outcome::Verified) => (Outcome::Verified, true),
            Some(Outcome::Failed(_)) => (Outcome::Failed(failure), true),
            None => (Outcome::Failed(failure), false),
        }
    }

    /// Asks the store until it says that the call is verified, or is not, or the call may not go on.
    async fn keep_verified(&self, flight: &Flight) -> Result<(), Failure> {
        loop {
            if let Some(failure) = self.must_end(flight).now_or_never() {
                return Err(failure);
            }
            // Never dropped half-way: what the store has been asked it may do.
            match self.ledger.verify(flight.attempt).await {
                Ok(true) => return Ok(()),
                Ok(false) => break,
                Err(_) => tokio::time::sleep(VERIFY_AGAIN).await,
            }
        }
        match self.verdict_of(flight).await {
            Some(Outcome::Verified) => Ok(()),
            Some(Outcome::Failed(failure)) => Err(failure),
            None if flight.deadline.passed(Moment::now()) => Err(too_late()),
            None => Err(taken_over()),
        }
    }

    /// What the store has as the end of a call, if it has one.
    async fn verdict_of(&self, flight: &Flight) -> Option<Outcome> {
        let current = self.ledger.find(flight.attempt.id).await.ok()??;
        match current.state {
            CurrentState::Ended { outcome, .. } if current.attempt == flight.attempt => Some(outcome),
            CurrentState::Ended { .. } | CurrentState::Pending { .. } => None,
        }
    }

    /// Fails a call whose phone may still ring. False where it was not this process's to end.
    pub(super) async fn fail(&self, flight: &Flight, backend: Option<&str>, failure: Failure) -> bool {
        let is_ours = self.ledger.fail(flight.attempt, &failure, false).await;
        self.settle(flight, backend, Outcome::Failed(failure), Moment::now());
        is_ours
    }

    /// In this order: who begins with the number here asks the store, too.
    pub(super) async fn give_free(&self, flight: &Flight) {
        self.ledger.release(flight.attempt).await;
        self.registry.release(flight.attempt, flight.number);
    }

    /// Tells the outcome of a call that this process has driven. False where the call had one already.
    pub(super) fn settle(&self, flight: &Flight, backend: Option<&str>, outcome: Outcome, at: Moment) -> bool {
        let told = self.tell(flight, backend, outcome, at);
        if let Some(outcome) = &told {
            self.metrics.ended(outcome, backend, flight.age());
        }
        told.is_some()
    }

    /// The one place where an outcome reaches registry and log. Returns it as it was kept, None where the call had one
    /// already.
    pub(super) fn tell(&self, flight: &Flight, backend: Option<&str>, outcome: Outcome, at: Moment) -> Option<Outcome> {
        let _telling = self.telling.read();
        let outcome = self.registry.settle(flight.attempt, outcome, at)?;
        match &outcome {
            Outcome::Verified => self.log_step(flight, Level::Info, "verified", backend),
            Outcome::Failed(failure) => {
                let level = match failure.reason() {
                    FailureReason::Internal => Level::Error,
                    FailureReason::NotConfigured | FailureReason::CannotPlace | FailureReason::FraudReported => {
                        Level::Warn
                    }
                    _ => Level::Info,
                };
                let event =
                    Event { number: Some(&flight.masked), failure: Some(failure), ..self.event(flight, backend) };
                self.log.write(level, &Event { event: "failed", ..event });
            }
        }
        Some(outcome)
    }

    pub(super) fn refused(&self, flight: &Flight, backend: &Arc<str>, failure: &Failure) {
        self.health.judge(backend, Some(failure), &self.log);
        self.metrics.backend_failed(backend, failure.reason());
        let name = "backend_refused";
        let event = Event { event: name, failure: Some(failure), ..self.event(flight, Some(backend)) };
        self.log.write(Level::Warn, &event);
        self.ledger.note(flight.attempt, step(name, Some(backend), Some(failure.text())));
    }

    /// A step of a call, for log and store.
    pub(super) fn note(&self, flight: &Flight, level: Level, name: &str, backend: Option<&Arc<str>>) {
        self.log_step(flight, level, name, backend.map(|backend| &**backend));
        self.ledger.note(flight.attempt, step(name, backend, None));
    }

    pub(super) fn log_step(&self, flight: &Flight, level: Level, event: &str, backend: Option<&str>) {
        self.log.write(level, &Event { event, ..self.event(flight, backend) });
    }

    pub(super) fn event<'a>(&self, flight: &Flight, backend: Option<&'a str>) -> Event<'a> {
        Event { attempt: Some(flight.attempt), backend, ms: Some(flight.age().as_millis()), ..Event::default() }
    }
}
