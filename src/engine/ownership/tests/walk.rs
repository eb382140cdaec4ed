//! A walk through every state that any sequence of inputs reaches.

use std::collections::BTreeSet;

use super::*;

/// Inputs beyond this are not tried: the longest sequence is shorter, but for repeated pauses.
const MAX_DEPTH: usize = 60;

/// The state of an attempt as the walk tracks it, independently of the machine.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// How often it was published, ceded, mirrored or rejected.
    reported: usize,
    may_ring: bool,
    /// Whether a backend has placed its call, or may have.
    is_placed: bool,
    store_confirmed: bool,
    /// The failure that the store was asked to end it with last.
    ending: Option<Failure>,
    /// Whether the store's last answer showed another owner that follows the call.
    is_remote: bool,
    is_ceded: bool,
    /// The backends that were asked to place the call.
    asked: BTreeSet<usize>,
    /// Whether the last backend was asked in vain, and a next one may be asked.
    is_refused: bool,
}

/// A machine, its last action, and the tracked state of its attempt.
#[derive(Clone, Debug)]
struct Node {
    machine: AttemptMachine,
    action: Action,
    facts: Facts,
}

fn conditions() -> impl Iterator<Item = Conditions> {
    (0..8).map(|bits| Conditions {
        is_shutting_down: bits & 1 != 0,
        is_deadline_passed: bits & 2 != 0,
        is_lease_held: bits & 4 != 0,
    })
}

fn states() -> Vec<Input> {
    let failed = [FailureReason::Interrupted, FailureReason::WrongKey, FailureReason::FraudReported];
    let mut states = vec![Input::State(Err(unreachable())), Input::State(Ok(None)), pending(), ended_verified()];
    states.extend(failed.map(|reason| ended_failed(failure(reason))));
    states.push(ended_failed(deadline_passed()));
    states
}

fn polls() -> Vec<Input> {
    let said = [FailureReason::WrongKey, FailureReason::FraudReported].map(|reason| Ok(failure(reason)));
    said.into_iter().chain([Err(deadline_passed())]).map(Input::Polled).collect()
}

/// All answers to an action, and a panic.
fn answers(action: &Action) -> Vec<Input> {
    let must_end = [Input::MustEnd(EndCause::Shutdown), Input::MustEnd(EndCause::Deadline)];
    let placed = [Input::Placed, not_placed(MayRing::No), not_placed(MayRing::Yes)];
    let mut answers = match action {
        Action::Begin => {
            vec![Input::Begun, Input::AlreadyOwned(7), Input::NotBegun(failure(FailureReason::Throttled))]
        }
        Action::Place { may_skip, .. } => {
            let skipped = may_skip.then_some(Input::Skipped);
            placed.into_iter().chain(must_end).chain(skipped).collect()
        }
        Action::AwaitReference => placed.into(),
        Action::Follow => {
            let failures = [FailureReason::WrongKey, FailureReason::FraudReported].map(failed);
            let others = [Input::Outcome(verified()), Input::CannotJudge];
            failures.into_iter().chain(others).chain(must_end).collect()
        }
        Action::FinalPoll | Action::PollForFraud => polls(),
        Action::Verify(_) => {
            vec![Input::Verified(Ok(true)), Input::Verified(Ok(false)), Input::Verified(Err(unreachable()))]
        }
        Action::End { .. } => vec![Input::Ended(true), Input::Ended(false)],
        Action::ReadState => states(),
        Action::HangUp => vec![Input::HungUp(true), Input::HungUp(false)],
        Action::AwaitWrites => vec![Input::Written(true), Input::Written(false)],
        Action::Mirror(_) | Action::Reject(_) | Action::Done => return Vec::new(),
        _ => vec![Input::Done],
    };
    answers.push(Input::Panicked);
    answers
}

impl Facts {
    /// Updates the tracked state from the answer to an action.
    fn learn(&mut self, action: &Action, input: &Input) {
        self.is_refused = false;
        if let Action::Place { index, .. } = action {
            match input {
                Input::Skipped => self.may_ring = false,
                _ => assert!(self.asked.insert(*index), "a backend is asked twice"),
            }
            self.is_refused = matches!(input, Input::NotPlaced(PlaceError { may_ring: MayRing::No, .. }));
        }
        match input {
            Input::Placed => {
                self.is_placed = true;
                // This process alone knows a reference that arrives after the attempt was ceded.
                self.is_remote &= !matches!(action, Action::AwaitReference);
            }
            Input::NotPlaced(PlaceError { may_ring: MayRing::No, .. }) | Input::Outcome(_) | Input::HungUp(true) => {
                self.may_ring = false;
            }
            Input::Polled(Ok(_)) => self.may_ring = false,
            Input::Verified(Ok(true)) => self.store_confirmed = true,
            Input::State(state) => {
                self.is_remote = match state {
                    Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Verified(_), .. })) => {
                        self.store_confirmed = true;
                        true
                    }
                    Ok(Some(AttemptState::Ended { outcome: StoredOutcome::Failed(kept), .. })) => {
                        self.ending.as_ref() != Some(kept) && kept.reason() != FailureReason::Interrupted
                    }
                    Ok(Some(AttemptState::Pending { .. })) | Err(_) => true,
                    Ok(None) => false,
                };
            }
            _ => {}
        }
    }

    /// Checks the guarantees for the next action.
    fn check(&mut self, action: &Action, machine: &AttemptMachine, now: Conditions) {
        let may_release = !self.may_ring || now.is_deadline_passed;
        let outlives =
            machine.backend().and_then(|at| machine.backends.get(at)).is_some_and(|backend| backend.outlives_process);
        match action {
            Action::Place { index, .. } => {
                let trusts = |at: usize| {
                    machine
                        .backends
                        .get(at)
                        .is_some_and(|backend| backend.provider_verdicts == ProviderVerdicts::Accepted)
                };
                let mut before = (0..*index).filter(|&at| trusts(*index) && !trusts(at));
                assert!(
                    before.all(|at| self.asked.contains(&at)),
                    "a backend is skipped for one that judges by itself"
                );
                assert!(!self.may_ring && !self.is_placed, "a second phone rings");
                assert!(!now.is_shutting_down && !now.is_deadline_passed && now.is_lease_held, "a call that is over");
                self.may_ring = true;
            }
            Action::Publish(outcome) => {
                self.reported += 1;
                match outcome {
                    Outcome::Verified(_) => assert!(self.store_confirmed, "Success without the store"),
                    Outcome::Failed(_) => assert!(!self.is_remote, "another process's call is published"),
                }
            }
            Action::Cede => {
                (self.reported, self.is_ceded) = (self.reported + 1, true);
            }
            Action::Mirror(_) | Action::Reject(_) => {
                self.reported += 1;
                assert!(!self.may_ring, "a phone that may ring is left alone");
            }
            Action::End { failure, release } | Action::QueueEnd { failure, release } => {
                if self.is_refused && failure.reason() == FailureReason::CannotPlace {
                    assert_eq!(self.asked.len(), machine.backends.len(), "a backend that could place it is not asked");
                }
                assert!(!release || may_release, "the store releases a number that may ring");
                assert!(self.reported == 0, "ended as {failure} after it was published");
                (self.ending, self.is_remote) = (Some(failure.clone()), false);
            }
            Action::Verify(_) => assert!(may_release, "the store releases a number that may ring"),
            Action::Release => {
                assert!(may_release, "a number that may ring is released");
                assert!(!self.is_ceded || machine.is_placed, "the number of another process's call is released");
            }
            Action::ReleaseLocally => assert!(may_release, "a number that may ring is released"),
            Action::HangUp | Action::CleanUp => {
                assert!(self.is_placed, "there is no line to end");
                assert!(!self.is_ceded || !self.is_remote || !outlives, "the line of another process's call is ended");
            }
            Action::Done => assert_eq!(self.reported, 1, "published, ceded, mirrored or rejected once"),
            _ => {}
        }
        assert!(self.reported <= 1, "reported twice");
    }
}

/// Walks from a machine through all states that it reaches, and returns their number.
fn walk(mut machine: AttemptMachine, facts: Facts) -> usize {
    let action = machine.start();
    let mut nodes = vec![(Node { machine, action, facts }, 0)];
    let mut seen = HashSet::new();
    while let Some((node, depth)) = nodes.pop() {
        assert!(depth <= MAX_DEPTH, "no end: {node:?}");
        for input in answers(&node.action) {
            for now in conditions() {
                let mut next = node.clone();
                next.facts.learn(&node.action, &input);
                next.action = next.machine.next(input.clone(), now);
                next.facts.check(&next.action, &next.machine, now);
                if let (Action::AwaitReference, Input::Placed) = (&node.action, &input) {
                    assert_eq!(next.action, Action::HangUp, "no other process knows a late reference");
                }
                if seen.insert(format!("{next:?}")) {
                    nodes.push((next, depth + 1));
                }
            }
        }
    }
    seen.len()
}

#[test]
fn a_new_attempt_keeps_the_promises_for_all_inputs() {
    for outlives_process in [true, false] {
        let states = walk(AttemptMachine::new(backends(outlives_process), &[0, 1]), Facts::default());
        assert!(states > 200, "only {states} states were reached");
    }
}

#[test]
fn backends_that_judge_by_themselves_keep_the_promises() {
    use ProviderVerdicts::{Accepted, Refused};
    for all in [[Refused, Refused, Accepted], [Refused, Accepted, Refused], [Accepted, Refused, Accepted]] {
        let states = walk(judged_by(&all), Facts::default());
        assert!(states > 200, "only {states} states were reached");
    }
}

#[test]
fn a_claimed_attempt_keeps_the_promises_for_all_inputs() {
    for outlives_process in [true, false] {
        for call in [ClaimedCall::Unknown, ClaimedCall::UnknownBackend("gone".into()), ClaimedCall::Placed(0)] {
            let is_placed = matches!(call, ClaimedCall::Placed(_));
            let facts = Facts { may_ring: true, is_placed, ..Facts::default() };
            let states = walk(AttemptMachine::claimed(backends(outlives_process), call), facts);
            assert!(states > 10, "only {states} states were reached");
        }
    }
}

#[test]
fn every_attempt_ends_once_its_deadline_has_passed() {
    let late = Conditions { is_deadline_passed: true, ..CALM };
    for seed in 0..1_000 {
        let mut picks = fastrand::Rng::with_seed(seed);
        let mut machine = fresh();
        let mut action = machine.start();
        for step in 0.. {
            assert!(step < 30, "no end with seed {seed}: {machine:?}");
            let Some(input) = picks.choice(answers(&action)) else { break };
            action = machine.next(input, late);
        }
    }
}
