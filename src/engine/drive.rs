//! One call from placing to its end: the next backend, the deadline, hanging up.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::outcome::Whose;
use super::{Flight, Shared, defect, interrupted, step, too_late};
use crate::approval::Approver;
use crate::backend::{CallRef, CallStep, HANG_UP_LIMIT, MayRing, NamedBackend, PlaceError};
use crate::call::{Call, CallEvent, Failure, FailureReason, Outcome, PhoneNumber, Progress};
use crate::clock::Moment;
use crate::config::Level;
use crate::store::AttemptChange;
use crate::telemetry::LogEntry;

/// How long a place request that has outlived its call may still bring a reference to hang up.
const LATE_REFERENCE: Duration = Duration::from_secs(20);

/// How long the last look at a call may take whose deadline has passed.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// How long the end of the gate waits for the store before what a provider has of a call is left for the next process.
const LAST_RECORD: Duration = Duration::from_secs(2);

/// What a call that was placed by a backend is known by.
type Line<'a> = (&'a NamedBackend, CallRef);

/// How far the placing of a call has come.
#[derive(Default)]
struct Placing<'a> {
    /// Which backend was asked to place it, and has not answered.
    asked: Option<&'a NamedBackend>,
    line: Option<Line<'a>>,
}

/// Why the following of a call stopped.
enum Stop {
    Outcome(Outcome),
    /// It has failed, and that was told: hang up.
    HangUp(Whose),
    /// It has failed, and that was told; nobody knows of anything to hang up.
    Unplaced(Whose, MayRing),
    /// The phone may ring, but there is nothing to hang up.
    Ambiguous {
        backend: Option<Arc<str>>,
        failure: Failure,
    },
}

impl Shared {
    /// Ends a call that nobody was rung for.
    pub(super) fn refuse(&self, flight: &Flight, number: &PhoneNumber, failure: Failure) {
        self.ledger.refused(flight.attempt, Some(self.ledger.stored(number)), failure.clone());
        self.registry.release(flight.attempt, flight.number);
        self.settle(flight, None, Outcome::Failed(failure), Moment::now());
    }

    /// Places a call that was begun then, and drives it to its end.
    pub(super) async fn place(&self, flight: &Flight, call: &Call, begun: Moment) {
        let mut placing = Placing::default();
        let driven = AssertUnwindSafe(self.place_and_follow(flight, call, begun, &mut placing)).catch_unwind().await;
        let stop = match driven {
            Ok(stop) => stop,
            Err(_) => self.stop_by_defect(flight, &placing).await,
        };
        self.finish(flight, placing.line, stop).await;
    }

    /// Takes a call up that another process has placed and left.
    pub(super) async fn resume(&self, flight: &Flight, placed: Option<(Box<str>, CallRef)>) {
        self.note(flight, CallEvent::Claimed, None);
        let lost = |sentence: &str| {
            let failure = Failure::new(FailureReason::Interrupted, sentence);
            self.finish(flight, None, Stop::Ambiguous { backend: None, failure })
        };
        let Some((backend, reference)) = placed else {
            return lost("PhoneGate was restarted before it was known whether the call had been placed.").await;
        };
        let Some(named) = self.backends.iter().find(|named| *named.name == *backend) else {
            return lost(&format!("The call was placed by `{backend}`, which is not in use any more.")).await;
        };
        if !named.backend.outlives_its_process() {
            return lost("The call was in progress in another process, which has ended, and the call with it.").await;
        }
        let followed = AssertUnwindSafe(self.follow(flight, named, &reference)).catch_unwind().await;
        let placing = Placing { asked: None, line: Some((named, reference)) };
        let stop = match followed {
            Ok(stop) => stop,
            Err(_) => self.stop_by_defect(flight, &placing).await,
        };
        self.finish(flight, placing.line, stop).await;
    }

    /// After a panic. Of a call that was not placed there is nothing to hang up.
    async fn stop_by_defect(&self, flight: &Flight, placing: &Placing<'_>) -> Stop {
        match placing {
            Placing { line: Some((named, _)), .. } => {
                Stop::HangUp(self.fail(flight, Some(&named.name), defect()).await)
            }
            Placing { asked: Some(named), .. } => {
                Stop::Ambiguous { backend: Some(Arc::clone(&named.name)), failure: defect() }
            }
            Placing { asked: None, line: None } => Stop::Outcome(Outcome::Failed(defect())),
        }
    }

    async fn finish(&self, flight: &Flight, line: Option<Line<'_>>, stop: Stop) {
        let backend = line.as_ref().map(|(named, _)| &*named.name);
        // What the provider has of a call that another process has taken over is that one's, if it can follow it.
        let ours =
            |whose| line.as_ref().filter(|(named, _)| whose != Whose::Theirs || !named.backend.outlives_its_process());
        let whose = match stop {
            Stop::Outcome(outcome) => {
                let at = Moment::now();
                let kept = self.keep_outcome(flight, outcome).await;
                // In this order: who sees the outcome may ring the number again at once.
                self.registry.release(flight.attempt, flight.number);
                match kept {
                    Ok(outcome) => {
                        self.settle(flight, backend, outcome, at);
                        Whose::Ours
                    }
                    Err(whose) => {
                        self.leave(flight);
                        whose
                    }
                }
            }
            Stop::Ambiguous { backend, failure } => {
                let whose = self.fail(flight, backend.as_deref(), failure).await;
                self.give_free_if(flight, whose, MayRing::Yes).await;
                whose
            }
            Stop::Unplaced(whose, may_ring) => {
                self.give_free_if(flight, whose, may_ring).await;
                whose
            }
            Stop::HangUp(whose) => {
                let line = ours(whose);
                let may_ring = match line {
                    Some((named, reference))
                        if self.end_line(flight, named, CallEvent::HungUp, named.backend.hang_up(reference)).await =>
                    {
                        MayRing::No
                    }
                    _ => MayRing::Yes,
                };
                self.give_free_if(flight, whose, may_ring).await;
                if let Some((named, reference)) = line {
                    self.look_for_fraud(flight, named, reference).await;
                }
                whose
            }
        };
        if let Some((named, reference)) = &line
            && let Some(text) = named.backend.summary(reference)
        {
            let media = self.entry(flight, CallEvent::Media, Some(&named.name));
            self.log.write(&LogEntry { text: Some(&text), ..media });
        }
        if let Some((named, reference)) = ours(whose)
            && (!named.backend.outlives_its_process() || self.is_recorded().await)
        {
            self.end_line(flight, named, CallEvent::CleanedUp, named.backend.clean_up(reference)).await;
        }
    }

    /// Gives a number free whose phone rings no more. If it may ring on, nobody can tell until when: it is not free before
    /// the deadline.
    async fn give_free_if(&self, flight: &Flight, whose: Whose, rings: MayRing) {
        if whose != Whose::Ours {
            return;
        }
        if rings == MayRing::Yes {
            self.must_end(flight).await;
        }
        if rings == MayRing::No || flight.deadline.passed(Moment::now()) {
            self.give_free(flight).await;
        }
    }

    /// Does the store have all of the call? What a provider has of it is the last witness until then: a process that
    /// takes the call up asks there.
    async fn is_recorded(&self) -> bool {
        let end = async {
            self.ending.cancelled().await;
            tokio::time::sleep(LAST_RECORD).await;
        };
        tokio::select! {
            biased;
            () = self.ledger.recorded() => true,
            () = end => false,
        }
    }

    /// Looks whether a fraud was reported before a call was hung up at its deadline, and after the last look.
    async fn look_for_fraud(&self, flight: &Flight, named: &NamedBackend, reference: &CallRef) {
        if flight.deadline.passed(Moment::now())
            && named.backend.outlives_its_process()
            && let Ok(failure) = look_once(flight, named, reference).await
            && failure.reason() == FailureReason::FraudReported
        {
            self.block(flight).await;
        }
    }

    async fn place_and_follow<'a>(
        &'a self,
        flight: &Flight,
        call: &Call,
        begun: Moment,
        progress: &mut Placing<'a>,
    ) -> Stop {
        let mut refusals: Vec<(&str, Failure)> = Vec::new();
        for named in &self.backends {
            // Nobody is rung for a call that is over already, or may be another process's.
            let lost = || (!self.ledger.holds_since(begun)).then(lost_lease);
            if let Some(failure) = self.must_end(flight).now_or_never().or_else(lost) {
                return Stop::Outcome(Outcome::Failed(failure));
            }
            self.note(flight, CallEvent::Dialling, Some(&named.name));
            progress.asked = Some(named);
            let on_step = |step: CallStep| self.on_step(flight, named, &step);
            let mut placing = named.backend.place(call, &on_step);
            let placed = tokio::select! {
                biased;
                placed = &mut placing => placed,
                failure = self.must_end(flight) => {
                    // The phone may ring all the same: whatever reference comes now is hung up.
                    let whose = self.fail(flight, Some(&named.name), failure).await;
                    let late = match tokio::time::timeout(LATE_REFERENCE, placing).await {
                        Ok(Ok(reference)) => {
                            progress.line = Some((named, reference));
                            // Nobody else knows this reference.
                            return Stop::HangUp(Whose::Ours);
                        }
                        Ok(Err(late)) => late,
                        Err(_) => PlaceError { may_ring: MayRing::Yes, failure: silent() },
                    };
                    self.refused(flight, &named.name, &late.failure);
                    return Stop::Unplaced(whose, late.may_ring);
                }
            };
            progress.asked = None;
            match placed {
                Ok(reference) => {
                    // The process that claims the call has to judge what its user presses.
                    let attempts = named.backend.outlives_its_process().then(|| Arc::new(call.attempts.to_stored()));
                    let (backend, at) = (Arc::clone(&named.name), reference.clone());
                    let placed = AttemptChange::Placed { backend, reference: at, attempts };
                    self.ledger.note(flight.attempt, placed);
                    self.log_event(flight, CallEvent::Placed, Some(&named.name));
                    let (_, reference) = progress.line.insert((named, reference));
                    return self.follow(flight, named, reference).await;
                }
                Err(PlaceError { may_ring, failure }) => {
                    self.refused(flight, &named.name, &failure);
                    refusals.push((&named.name, failure));
                    if may_ring == MayRing::Yes {
                        let backend = Some(Arc::clone(&named.name));
                        return Stop::Ambiguous { backend, failure: all_refused(refusals) };
                    }
                }
            }
        }
        Stop::Outcome(Outcome::Failed(all_refused(refusals)))
    }

    async fn follow(&self, flight: &Flight, named: &NamedBackend, reference: &CallRef) -> Stop {
        let on_step = |step: CallStep| self.on_step(flight, named, &step);
        let Some(approver) = approver(flight, named) else {
            return Stop::HangUp(self.fail(flight, Some(&named.name), unknown_code()).await);
        };
        tokio::select! {
            biased;
            failure = self.must_end(flight) => {
                // What the user said while no process was there is not lost.
                let failure = match flight.taken_up_after.is_some() && failure.reason() == FailureReason::DeadlinePassed {
                    true => match look_once(flight, named, reference).await {
                        Ok(failed) => return Stop::Outcome(Outcome::Failed(failed)),
                        Err(late) => late,
                    },
                    false => failure,
                };
                Stop::HangUp(self.fail(flight, Some(&named.name), failure).await)
            }
            outcome = named.backend.follow(reference, &approver, &on_step) => {
                let failure = match &outcome {
                    Outcome::Verified(_) => None,
                    Outcome::Failed(failure) => Some(failure),
                };
                self.health.judge(&named.name, failure, &self.notices);
                Stop::Outcome(outcome)
            }
        }
    }

    /// Records a step that a backend reports.
    fn on_step(&self, flight: &Flight, named: &NamedBackend, step: &CallStep) {
        let CallStep::Progress(progress) = *step else {
            return self.note_with(flight, step.event(), Some(&named.name), step.text());
        };
        self.registry.advance(flight.attempt, progress);
        if flight.advance(progress) {
            self.note(flight, progress.into(), Some(&named.name));
            // Another process may have seen the answer of a call that this one has claimed.
            if progress == Progress::Answered && flight.taken_up_after.is_none() {
                self.metrics.answered(&named.name, flight.age());
            }
        }
    }

    /// Waits until the call may not go on: its deadline, or the end of the gate.
    pub(super) async fn must_end(&self, flight: &Flight) -> Failure {
        tokio::select! {
            biased;
            () = self.ending.cancelled() => interrupted(),
            () = flight.deadline.wait() => passed(),
        }
    }

    /// Ends what the provider still has of a call, within bounds. False where that may have failed.
    async fn end_line(
        &self,
        flight: &Flight,
        named: &NamedBackend,
        event: CallEvent,
        ending: impl Future<Output = Result<(), Failure>>,
    ) -> bool {
        let ended = AssertUnwindSafe(tokio::time::timeout(HANG_UP_LIMIT, ending)).catch_unwind().await;
        let failure = match ended {
            Ok(Ok(Ok(()))) => {
                self.note(flight, event, Some(&named.name));
                return true;
            }
            Ok(Ok(Err(failure))) => failure,
            Ok(Err(_)) => Failure::new(FailureReason::CannotPlace, "The provider did not answer in time."),
            Err(_) => Failure::new(FailureReason::Internal, "A defect in PhoneGate."),
        };
        self.metrics.backend_failed(&named.name, failure.reason());
        let entry = self.entry(flight, event, Some(&named.name));
        self.log.write(&LogEntry { level: Level::Warn, failure: Some(&failure), ..entry });
        self.ledger.note(flight.attempt, step(event, Some(&named.name), Some(failure.text())));
        false
    }
}

/// Returns the judge of a call that this backend has placed. `None` if it is not known what the user is to press.
fn approver(flight: &Flight, named: &NamedBackend) -> Option<Approver> {
    let attempts = flight.attempts.clone()?;
    Some(Approver::new(attempts, named.provider_verdicts).with_pin(flight.pin.clone()))
}

/// Looks how a call has failed whose deadline has passed. Otherwise tells why it fails now.
async fn look_once(flight: &Flight, named: &NamedBackend, reference: &CallRef) -> Result<Failure, Failure> {
    let Some(approver) = approver(flight, named) else { return Err(unknown_code()) };
    let look = AssertUnwindSafe(named.backend.follow(reference, &approver, &|_| {})).catch_unwind();
    match tokio::time::timeout(LAST_LOOK, look).await {
        Ok(Ok(Outcome::Failed(failure))) => Ok(failure),
        Ok(Ok(Outcome::Verified(_))) => Err(too_late()),
        Ok(Err(_)) => Err(defect()),
        Err(_) => Err(passed()),
    }
}

fn unknown_code() -> Failure {
    let sentence = "Another process placed the call, and this one does not know what approves it: it was not recorded, or \
                    the settings of `approval` or `prompts` have changed since then.";
    Failure::new(FailureReason::Interrupted, sentence)
}

fn silent() -> Failure {
    let sentence = "The provider did not tell whether it placed the call; it may ring on.";
    Failure::new(FailureReason::CannotPlace, sentence)
}

fn lost_lease() -> Failure {
    let sentence =
        "PhoneGate stood still, or its store did, for so long that the call may be another process's by now.";
    Failure::new(FailureReason::Interrupted, sentence)
}

fn passed() -> Failure {
    Failure::new(FailureReason::DeadlinePassed, "The call had no outcome before its deadline and was hung up.")
}

/// One failure that tells of all backends that were tried; its reason is the last one's.
fn all_refused(mut refusals: Vec<(&str, Failure)>) -> Failure {
    match refusals.pop() {
        None => Failure::new(FailureReason::Internal, "There was no backend to try."),
        Some((_, failure)) if refusals.is_empty() => failure,
        Some((name, failure)) => {
            let reason = failure.reason();
            refusals.push((name, failure));
            let texts: Vec<_> = refusals.iter().map(|(name, failure)| format!("{name}: {failure}")).collect();
            Failure::verbatim(reason, texts.join(" "))
        }
    }
}
