//! How a call ends: the store has it first, then the registry and the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use phonegate_approval::verdict::Approval;

use super::{Flight, Shared, lost, step, too_late, unconfirmed};
use crate::call::{CallEvent, Failure, FailureReason, Outcome, StoredOutcome};
use crate::clock::Moment;
use crate::config::Level;
use crate::store::{AttemptState, Ended, Lockout};
use crate::telemetry::LogEntry;

/// How soon the store is asked again whether a call is verified.
const VERIFY_AGAIN: Duration = Duration::from_millis(250);

/// Whose a call is by the word of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// This process's, or nobody's.
    Ours,
    /// Another process has taken it over, since this one was not heard of for too long.
    Theirs,
    /// Another process has taken it over and could not follow it: what the provider has of it is this one's to end.
    Unfollowed,
}

impl Shared {
    /// Lets the store have the outcome of a call that rings no more, before anybody is told. Returns what it is now, or
    /// whose the call is where it is another process's to tell.
    pub(super) async fn keep_outcome(&self, flight: &Flight, outcome: Outcome) -> Result<Outcome, Whose> {
        let failure = match outcome {
            Outcome::Verified(approval) => match self.keep_verified(flight, &approval).await {
                Ok(()) => return Ok(Outcome::Verified(approval)),
                Err(failure) => failure,
            },
            Outcome::Failed(failure) => failure,
        };
        if failure.reason() == FailureReason::FraudReported {
            self.block(flight).await;
        }
        match self.end_as_failed(flight, &failure, true).await {
            Whose::Ours => Ok(Outcome::Failed(failure)),
            whose => Err(whose),
        }
    }

    /// Blocks the number of somebody who reported a fraud.
    pub(super) async fn block(&self, flight: &Flight) {
        self.ledger.block(flight.number, &flight.masked).await;
        let text = self.notices.blocked(flight.attempt, flight.number, &flight.masked, self.ledger.days_blocked());
        self.ledger.note(flight.attempt, step(CallEvent::Blocked, None, Some(&text)));
    }

    /// Asks the store until it says that the call is verified, or is not, or the call may not go on.
    async fn keep_verified(&self, flight: &Flight, approval: &Approval) -> Result<(), Failure> {
        let mut problem = None;
        let ended = loop {
            if let Some(failure) = self.must_end(flight).now_or_never() {
                match problem {
                    None => return Err(failure),
                    Some(error) => break Some(unconfirmed(failure.reason(), &error)),
                }
            }
            // Never dropped half-way: what the store has been asked it may do.
            match self.ledger.verify(flight.attempt, approval.clone()).await {
                Ok(true) => return Ok(()),
                Ok(false) => break None,
                Err(error) => {
                    problem = Some(error);
                    tokio::time::sleep(VERIFY_AGAIN).await;
                }
            }
        };
        match self.ledger.state_of(flight.attempt).await {
            // Perhaps by an answer that was lost.
            Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Verified(_), .. })) => Ok(()),
            Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Failed(failure), .. })) => Err(failure),
            kept => Err(ended.unwrap_or_else(|| match kept {
                Ok(Some(_)) => too_late(),
                Ok(None) => lost(),
                Err(error) => unconfirmed(FailureReason::DeadlinePassed, &error),
            })),
        }
    }

    /// Fails a call whose phone may still ring.
    pub(super) async fn fail(&self, flight: &Flight, backend: Option<&str>, failure: Failure) -> Whose {
        let whose = self.end_as_failed(flight, &failure, false).await;
        match whose {
            Whose::Ours => {
                self.settle(flight, backend, Outcome::Failed(failure), Moment::now());
            }
            Whose::Theirs | Whose::Unfollowed => self.leave(flight),
        }
        whose
    }

    async fn end_as_failed(&self, flight: &Flight, failure: &Failure, release: bool) -> Whose {
        if let Ended::Yes { locked_until } = self.ledger.fail(flight.attempt, failure, release).await {
            if let Some(until) = locked_until {
                let Flight { attempt, number, masked, .. } = flight;
                let lockout = Lockout { attempt: *attempt, number: *number, masked: masked.clone(), until };
                self.notices.locked_out(&lockout);
            }
            return Whose::Ours;
        }
        match self.ledger.state_of(flight.attempt).await {
            Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Failed(kept), .. })) if kept == *failure => {
                // The answer was lost, and with it whether the number is locked: the same end, recorded again, returns that.
                self.ledger.fail_later(flight.attempt, failure.clone(), release);
                Whose::Ours
            }
            Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Failed(kept), .. }))
                if kept.reason() == FailureReason::Interrupted =>
            {
                Whose::Unfollowed
            }
            // The store has lost it: nobody else knows of it.
            Ok(None) => Whose::Ours,
            Ok(Some(_)) | Err(_) => Whose::Theirs,
        }
    }

    /// Leaves a call to the process that has taken it over: whoever asks for it here is told what the store says.
    pub(super) fn leave(&self, flight: &Flight) {
        self.registry.forget(flight.attempt, flight.number);
        flight.is_told.store(true, Ordering::Relaxed);
        self.log_event(flight, CallEvent::OwnershipLost, None);
    }

    /// In this order: who begins with the number here asks the store, too.
    pub(super) async fn give_free(&self, flight: &Flight) {
        self.ledger.release(flight.attempt).await;
        self.registry.release(flight.attempt, flight.number);
    }

    /// Tells the outcome of a call that this process has driven. False where the call had one already.
    pub(super) fn settle(&self, flight: &Flight, backend: Option<&str>, outcome: Outcome, at: Moment) -> bool {
        let told = self.tell(flight, backend, (&outcome).into(), (at, Duration::ZERO));
        if let Some(outcome) = &told {
            self.metrics.ended(outcome, backend, flight.age());
        }
        told.is_some()
    }

    /// The one place where an outcome reaches registry and log, at a moment so long after the end. Returns it as it was
    /// kept, None where the call had one already.
    pub(super) fn tell(
        &self,
        flight: &Flight,
        backend: Option<&str>,
        outcome: StoredOutcome,
        (at, ago): (Moment, Duration),
    ) -> Option<StoredOutcome> {
        let _telling = self.telling.read();
        if flight.is_told.swap(true, Ordering::Relaxed) {
            return None;
        }
        // In the registry, a repeat may stand for a call that was taken up; that is told what the store has.
        let is_stood_for = flight.taken_up_after.is_some().then(|| outcome.clone());
        let outcome = self.registry.settle_late(flight.attempt, outcome, ago, at).or(is_stood_for)?;
        match &outcome {
            StoredOutcome::Verified(_) => self.log_event(flight, CallEvent::Verified, backend),
            StoredOutcome::Failed(failure) => {
                let level = match failure.reason() {
                    FailureReason::Internal => Level::Error,
                    FailureReason::NotConfigured | FailureReason::CannotPlace | FailureReason::FraudReported => {
                        Level::Warn
                    }
                    _ => Level::Info,
                };
                let failed = self.entry(flight, CallEvent::Failed, backend);
                self.log.write(&LogEntry { level, number: Some(&flight.masked), failure: Some(failure), ..failed });
            }
        }
        Some(outcome)
    }

    pub(super) fn refused(&self, flight: &Flight, backend: &Arc<str>, failure: &Failure) {
        self.health.judge(backend, Some(failure), &self.notices);
        self.metrics.backend_failed(backend, failure.reason());
        let event = CallEvent::BackendRefused;
        self.log.write(&LogEntry { failure: Some(failure), ..self.entry(flight, event, Some(backend)) });
        self.ledger.note(flight.attempt, step(event, Some(backend), Some(failure.text())));
    }

    /// Logs an event of a call, and records it as a step in the store.
    pub(super) fn note(&self, flight: &Flight, event: CallEvent, backend: Option<&Arc<str>>) {
        self.note_with(flight, event, backend, None);
    }

    /// As [`Self::note`], with details.
    pub(super) fn note_with(&self, flight: &Flight, event: CallEvent, backend: Option<&Arc<str>>, text: Option<&str>) {
        let entry = self.entry(flight, event, backend.map(|backend| &**backend));
        self.log.write(&LogEntry { text, ..entry });
        self.ledger.note(flight.attempt, step(event, backend, text));
    }

    /// Logs an event of a call that is no step in the store.
    pub(super) fn log_event(&self, flight: &Flight, event: CallEvent, backend: Option<&str>) {
        self.log.write(&self.entry(flight, event, backend));
    }

    pub(super) fn entry<'a>(&self, flight: &Flight, event: CallEvent, backend: Option<&'a str>) -> LogEntry<'a> {
        let ms = Some(flight.age().as_millis());
        LogEntry { attempt: Some(flight.attempt), backend, ms, ..LogEntry::new(event) }
    }
}
