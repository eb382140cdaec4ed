//! The sequences of actions for the most important attempts.

use super::*;

const LATE: Conditions = Conditions { is_deadline_passed: true, ..CALM };
const SHUTDOWN: Conditions = Conditions { is_shutting_down: true, ..CALM };
const LEASE_LOST: Conditions = Conditions { is_lease_held: false, ..CALM };

/// Names an action in a line, with the reason of a failure and without its text.
fn name(action: &Action) -> String {
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Verified(_) => "Success".to_owned(),
        Outcome::Failed(failure) => failure.reason().name().to_owned(),
    };
    let ended = |failure: &Failure, release: bool| {
        format!("{}, {}", failure.reason().name(), if release { "release" } else { "hold" })
    };
    match action {
        Action::End { failure, release } => format!("End({})", ended(failure, *release)),
        Action::QueueEnd { failure, release } => format!("QueueEnd({})", ended(failure, *release)),
        Action::Publish(published) => format!("Publish({})", outcome(published)),
        Action::Reject(failure) => format!("Reject({})", failure.reason().name()),
        Action::Verify(_) => "Verify".to_owned(),
        Action::Place { index, .. } => format!("Place({index})"),
        other => format!("{other:?}"),
    }
}

/// Passes the inputs to a machine. Each must return the action that is listed with it.
fn follows(mut machine: AttemptMachine, start: &str, steps: Vec<(Input, Conditions, &str)>) {
    assert_eq!(name(&machine.start()), start);
    for (input, now, expected) in steps {
        let what = format!("after {input:?} with {now:?}");
        assert_eq!(name(&machine.next(input, now)), expected, "{what}");
    }
}

/// The steps up to the following of a call that the first backend placed.
fn placed() -> Vec<(Input, Conditions, &'static str)> {
    vec![(Input::Begun, CALM, "Place(0)"), (Input::Placed, CALM, "Follow")]
}

/// The steps after the outcome of a placed call is published.
fn cleaned_up() -> Vec<(Input, Conditions, &'static str)> {
    vec![
        (Input::Done, CALM, "LogSummary"),
        (Input::Done, CALM, "AwaitWrites"),
        (Input::Written(true), CALM, "CleanUp"),
        (Input::Done, CALM, "Done"),
    ]
}

fn placed_then(steps: Vec<(Input, Conditions, &'static str)>) -> Vec<(Input, Conditions, &'static str)> {
    placed().into_iter().chain(steps).collect()
}

#[test]
fn success_is_published_after_the_store_confirmed_it() {
    let mut steps = placed_then(vec![
        (Input::Outcome(verified()), CALM, "Verify"),
        (Input::Verified(Ok(true)), CALM, "ReleaseLocally"),
        (Input::Done, CALM, "Publish(Success)"),
    ]);
    steps.extend(cleaned_up());
    follows(fresh(), "Begin", steps);
}

#[test]
fn an_unreachable_store_is_asked_until_the_deadline() {
    let again = [(Input::Verified(Err(unreachable())), CALM, "Pause"), (Input::Done, CALM, "Verify")];
    let mut steps = placed_then(vec![(Input::Outcome(verified()), CALM, "Verify")]);
    steps.extend(again.iter().chain(&again).cloned());
    steps.extend([
        (Input::Verified(Err(unreachable())), CALM, "Pause"),
        (Input::Done, LATE, "ReadState"),
        (Input::State(Err(unreachable())), LATE, "End(DeadlinePassed, release)"),
        (Input::Ended(true), LATE, "ReleaseLocally"),
        (Input::Done, LATE, "Publish(DeadlinePassed)"),
    ]);
    follows(fresh(), "Begin", steps);
}

#[test]
fn a_lost_confirmation_is_found_in_the_store() {
    let steps = placed_then(vec![
        (Input::Outcome(verified()), CALM, "Verify"),
        (Input::Verified(Ok(false)), CALM, "ReadState"),
        (ended_verified(), CALM, "ReleaseLocally"),
        (Input::Done, CALM, "Publish(Success)"),
    ]);
    follows(fresh(), "Begin", steps);
}

#[test]
fn an_approval_that_the_store_refuses_is_a_failure() {
    for (state, failed) in [
        (pending(), "End(DeadlinePassed, release)"),
        (Input::State(Ok(None)), "End(Interrupted, release)"),
        (Input::State(Err(unreachable())), "End(DeadlinePassed, release)"),
        (ended_failed(failure(FailureReason::CallEnded)), "End(CallEnded, release)"),
    ] {
        let steps = placed_then(vec![
            (Input::Outcome(verified()), CALM, "Verify"),
            (Input::Verified(Ok(false)), CALM, "ReadState"),
            (state, CALM, failed),
        ]);
        follows(fresh(), "Begin", steps);
    }
}

#[test]
fn a_backend_that_did_not_ring_is_followed_by_the_next() {
    let steps = vec![
        (Input::Begun, CALM, "Place(0)"),
        (not_placed(MayRing::No), CALM, "Place(1)"),
        (not_placed(MayRing::No), CALM, "End(CannotPlace, release)"),
        (Input::Ended(true), CALM, "ReleaseLocally"),
        (Input::Done, CALM, "Publish(CannotPlace)"),
        (Input::Done, CALM, "Done"),
    ];
    follows(fresh(), "Begin", steps);
}

#[test]
fn a_phone_that_may_ring_holds_its_number_until_the_deadline() {
    let failed = || {
        vec![
            (Input::Begun, CALM, "Place(0)"),
            (not_placed(MayRing::Yes), CALM, "End(CannotPlace, hold)"),
            (Input::Ended(true), CALM, "Publish(CannotPlace)"),
            (Input::Done, CALM, "AwaitEnd"),
        ]
    };
    let mut until_deadline = failed();
    until_deadline.extend([(Input::Done, LATE, "Release"), (Input::Done, LATE, "Done")]);
    follows(fresh(), "Begin", until_deadline);
    let mut until_shutdown = failed();
    until_shutdown.push((Input::Done, SHUTDOWN, "Done"));
    follows(fresh(), "Begin", until_shutdown);
}

#[test]
fn no_backend_is_asked_for_a_call_that_must_end() {
    for (now, end) in [
        (LATE, "End(DeadlinePassed, release)"),
        (SHUTDOWN, "End(Interrupted, release)"),
        (LEASE_LOST, "End(Interrupted, release)"),
    ] {
        follows(fresh(), "Begin", vec![(Input::Begun, now, end)]);
        follows(fresh(), "Begin", vec![(Input::Begun, CALM, "Place(0)"), (not_placed(MayRing::No), now, end)]);
    }
}

#[test]
fn a_call_is_hung_up_at_its_deadline() {
    let steps = placed_then(vec![
        (Input::MustEnd(EndCause::Deadline), LATE, "End(DeadlinePassed, hold)"),
        (Input::Ended(true), LATE, "Publish(DeadlinePassed)"),
        (Input::Done, LATE, "HangUp"),
        (Input::HungUp(true), LATE, "Release"),
        (Input::Done, LATE, "PollForFraud"),
        (Input::Polled(Ok(failure(FailureReason::FraudReported))), LATE, "Block"),
        (Input::Done, LATE, "LogSummary"),
    ]);
    follows(fresh(), "Begin", steps);
}

#[test]
fn a_late_reference_is_hung_up() {
    let steps = vec![
        (Input::Begun, CALM, "Place(0)"),
        (Input::MustEnd(EndCause::Shutdown), SHUTDOWN, "End(Interrupted, hold)"),
        (Input::Ended(true), SHUTDOWN, "Publish(Interrupted)"),
        (Input::Done, SHUTDOWN, "AwaitReference"),
        (Input::Placed, SHUTDOWN, "HangUp"),
        (Input::HungUp(false), SHUTDOWN, "AwaitEnd"),
        (Input::Done, SHUTDOWN, "LogSummary"),
    ];
    follows(fresh(), "Begin", steps);
}

#[test]
fn a_late_reference_is_hung_up_after_the_call_was_ceded() {
    let steps = vec![
        (Input::Begun, CALM, "Place(0)"),
        (Input::MustEnd(EndCause::Deadline), LATE, "End(DeadlinePassed, hold)"),
        (Input::Ended(false), LATE, "ReadState"),
        (pending(), LATE, "Cede"),
        (Input::Done, LATE, "AwaitReference"),
        (Input::Placed, LATE, "HangUp"),
        (Input::HungUp(true), LATE, "Release"),
    ];
    follows(fresh(), "Begin", steps);
}

#[test]
fn a_remote_call_is_ceded_and_not_hung_up() {
    for state in [pending(), ended_verified(), Input::State(Err(unreachable())), ended_failed(deadline_passed())] {
        let steps = placed_then(vec![
            (Input::MustEnd(EndCause::Shutdown), SHUTDOWN, "End(Interrupted, hold)"),
            (Input::Ended(false), SHUTDOWN, "ReadState"),
            (state, SHUTDOWN, "Cede"),
            (Input::Done, SHUTDOWN, "LogSummary"),
            (Input::Done, SHUTDOWN, "Done"),
        ]);
        follows(fresh(), "Begin", steps);
    }
}

#[test]
fn an_abandoned_remote_call_is_ceded_and_hung_up() {
    let steps = placed_then(vec![
        (Input::MustEnd(EndCause::Deadline), LATE, "End(DeadlinePassed, hold)"),
        (Input::Ended(false), LATE, "ReadState"),
        (ended_failed(interrupted()), LATE, "Cede"),
        (Input::Done, LATE, "HangUp"),
        (Input::HungUp(true), LATE, "PollForFraud"),
        (Input::Polled(Err(deadline_passed())), LATE, "LogSummary"),
        (Input::Done, LATE, "AwaitWrites"),
        (Input::Written(false), LATE, "Done"),
    ]);
    follows(fresh(), "Begin", steps);
}

#[test]
fn a_call_that_the_store_has_lost_is_published_here() {
    let steps = placed_then(vec![
        (failed(FailureReason::WrongKey), CALM, "End(WrongKey, release)"),
        (Input::Ended(false), CALM, "ReadState"),
        (Input::State(Ok(None)), CALM, "ReleaseLocally"),
        (Input::Done, CALM, "Publish(WrongKey)"),
    ]);
    follows(fresh(), "Begin", steps);
}

#[test]
fn an_end_whose_answer_was_lost_is_queued_to_read_its_lock() {
    let steps = placed_then(vec![
        (failed(FailureReason::WrongKey), CALM, "End(WrongKey, release)"),
        (Input::Ended(false), CALM, "ReadState"),
        (ended_failed(failure(FailureReason::WrongKey)), CALM, "QueueEnd(WrongKey, release)"),
        (Input::Done, CALM, "ReleaseLocally"),
        (Input::Done, CALM, "Publish(WrongKey)"),
    ]);
    follows(fresh(), "Begin", steps);
}

#[test]
fn fraud_is_blocked_before_the_call_ends() {
    let steps = placed_then(vec![
        (failed(FailureReason::FraudReported), CALM, "Block"),
        (Input::Done, CALM, "End(FraudReported, release)"),
    ]);
    follows(fresh(), "Begin", steps);
}

#[test]
fn a_claimed_call_is_polled_once_after_its_deadline() {
    let late = (Input::MustEnd(EndCause::Deadline), LATE, "FinalPoll");
    let said = Input::Polled(Ok(failure(FailureReason::WrongKey)));
    follows(claimed(), "Follow", vec![late.clone(), (said, LATE, "End(WrongKey, release)")]);
    let silent = Input::Polled(Err(deadline_passed()));
    follows(claimed(), "Follow", vec![late, (silent, LATE, "End(DeadlinePassed, hold)")]);
}

#[test]
fn a_claimed_call_that_cannot_be_followed_holds_its_number() {
    for call in [ClaimedCall::Unknown, ClaimedCall::UnknownBackend("gone".into()), ClaimedCall::Placed(0)] {
        let machine = AttemptMachine::claimed(backends(false), call);
        let steps = vec![
            (Input::Ended(true), CALM, "Publish(Interrupted)"),
            (Input::Done, CALM, "AwaitEnd"),
            (Input::Done, LATE, "Release"),
        ];
        follows(machine, "End(Interrupted, hold)", steps);
    }
}

#[test]
fn a_backend_that_is_down_is_asked_after_the_others() {
    // The second backend is the last that may be asked, unless the first one was skipped.
    let place = |index, may_skip| Action::Place { index, may_skip };
    let refused = || not_placed(MayRing::No);
    for (steps, end) in [
        (
            vec![(Input::Begun, place(0, true)), (Input::Skipped, place(1, true)), (refused(), place(0, false))],
            refused(),
        ),
        (vec![(Input::Begun, place(0, true)), (refused(), place(1, false))], refused()),
        (
            vec![
                (Input::Begun, place(0, true)),
                (Input::Skipped, place(1, true)),
                (Input::Skipped, place(0, false)),
                (refused(), place(1, false)),
            ],
            refused(),
        ),
    ] {
        let mut machine = fresh();
        assert_eq!(machine.start(), Action::Begin);
        for (input, expected) in steps {
            assert_eq!(machine.next(input.clone(), CALM), expected, "after {input:?}");
        }
        assert_eq!(name(&machine.next(end, CALM)), "End(CannotPlace, release)");
    }
}

#[test]
fn a_provider_that_judges_replaces_no_backend_that_is_down() {
    use ProviderVerdicts::{Accepted, Refused};
    // All backends are down. With the order in which they are considered, each until it is asked.
    for (all, expected) in [
        (vec![Refused, Accepted], vec![(0, false), (1, false)]),
        (vec![Accepted, Refused], vec![(0, true), (1, false), (0, false)]),
        (vec![Accepted, Accepted], vec![(0, true), (1, true), (0, false), (1, false)]),
        (vec![Refused, Refused, Accepted], vec![(0, true), (1, true), (0, false), (1, false), (2, false)]),
        (vec![Refused, Accepted, Refused], vec![(0, false), (1, true), (2, false), (1, false)]),
    ] {
        let mut machine = judged_by(&all);
        machine.start();
        let mut action = machine.next(Input::Begun, CALM);
        let mut considered = Vec::new();
        while let Action::Place { index, may_skip } = action {
            considered.push((index, may_skip));
            let answer = if may_skip { Input::Skipped } else { not_placed(MayRing::No) };
            action = machine.next(answer, CALM);
        }
        assert_eq!(considered, expected, "{all:?}");
    }
}

#[test]
fn the_only_backend_is_asked_although_it_is_down() {
    let mut machine = AttemptMachine::new(backends(true), &[1]);
    assert_eq!(machine.start(), Action::Begin);
    assert_eq!(machine.next(Input::Begun, CALM), Action::Place { index: 1, may_skip: false });
    // Not an answer to that.
    assert_eq!(name(&machine.next(Input::Skipped, CALM)), "End(Internal, hold)");
}

#[test]
fn no_other_backend_is_asked_if_the_phone_may_ring() {
    let steps = vec![
        (Input::Begun, CALM, "Place(0)"),
        (Input::Skipped, CALM, "Place(1)"),
        (not_placed(MayRing::Yes), CALM, "End(CannotPlace, hold)"),
    ];
    follows(fresh(), "Begin", steps);
}

#[test]
fn a_repeat_mirrors_the_attempt_of_another_process() {
    follows(fresh(), "Begin", vec![(Input::AlreadyOwned(7), CALM, "Mirror(7)"), (Input::Done, CALM, "Done")]);
    let refused = Input::NotBegun(failure(FailureReason::Throttled));
    follows(fresh(), "Begin", vec![(refused, CALM, "Reject(Throttled)"), (Input::Done, CALM, "Done")]);
}

#[test]
fn a_panic_fails_the_call_and_ends_its_line() {
    follows(fresh(), "Begin", vec![(Input::Panicked, CALM, "Reject(Internal)")]);
    follows(fresh(), "Begin", vec![(Input::Begun, CALM, "Place(0)"), (Input::Panicked, CALM, "End(Internal, hold)")]);
    let steps = placed_then(vec![
        (Input::Panicked, CALM, "End(Internal, hold)"),
        (Input::Panicked, CALM, "QueueEnd(Internal, hold)"),
        (Input::Panicked, CALM, "Publish(Internal)"),
        (Input::Panicked, CALM, "HangUp"),
        (Input::Panicked, CALM, "AwaitEnd"),
    ]);
    follows(fresh(), "Begin", steps);
}
