//! The registry's promises over any sequence of operations, and its bounds.

use std::collections::HashMap;
use std::time::Duration;

use phonegate::admission::{Admission, NumberHasher};
use phonegate::call::{Attempt, CallId, CallStatus, Failure, FailureReason, PhoneNumber, Progress, StoredOutcome};
use phonegate::clock::{Deadline, Moment};
use phonegate::registry::{Adopted, AttemptEnd, Begun, Registry};
use phonegate_approval::verdict::StoredApproval;
use proptest::prelude::*;
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(86_400);
const DEADLINE: Duration = Duration::from_secs(90);
const KEEP: Duration = Duration::from_secs(600);

fn id(n: u128) -> CallId {
    CallId::new(Uuid::from_u128(n + 1)).unwrap()
}

fn number(n: u32) -> PhoneNumber {
    thread_local! {
        static US: Admission = Admission::new(&serde_json::from_str(r#"{ "default_country": "US" }"#).unwrap()).unwrap();
    }
    US.with(|us| us.admit(&format!("+1425555{n:04}")).unwrap())
}

fn refused() -> Failure {
    Failure::new(FailureReason::Blocked, "On the list.")
}

const VERIFIED: StoredOutcome = StoredOutcome::Verified(StoredApproval { judged_by: None });

fn wrong_key() -> StoredOutcome {
    StoredOutcome::Failed(Failure::new(FailureReason::WrongKey, "Another key."))
}

#[derive(Clone, Debug)]
enum Operation {
    Begin { id: u128, number: Option<u32> },
    Advance { attempt: usize, progress: Progress },
    End { attempt: usize, verified: bool },
    Release { attempt: usize },
    Pass { monotonic: Duration, wall: Duration },
    Sweep,
}

fn operation() -> impl Strategy<Value = Operation> {
    let seconds = || prop_oneof![Just(0), 1u64..100, 500u64..700].prop_map(Duration::from_secs);
    let progress = prop_oneof![Just(Progress::Dialling), Just(Progress::Ringing), Just(Progress::Answered)];
    prop_oneof![
        4 => (0u128..4, prop_oneof![4 => (1000u32..1003).prop_map(Some), 1 => Just(None)])
            .prop_map(|(id, number)| Operation::Begin { id, number }),
        2 => (any::<usize>(), progress).prop_map(|(attempt, progress)| Operation::Advance { attempt, progress }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(attempt, verified)| Operation::End { attempt, verified }),
        3 => any::<usize>().prop_map(|attempt| Operation::Release { attempt }),
        2 => (seconds(), seconds()).prop_map(|(monotonic, wall)| Operation::Pass { monotonic, wall }),
        1 => Just(Operation::Sweep),
    ]
}

/// What the registry promises, written as plainly as possible.
#[derive(Default)]
struct Model {
    calls: HashMap<u128, Call>,
    ringing: HashMap<u32, u64>,
}

#[derive(Clone)]
struct Call {
    generation: u64,
    number: Option<u32>,
    begun: Duration,
    ended: Option<(Duration, bool)>,
}

impl Model {
    fn status(&self, id: u128, now: Duration) -> Option<CallStatus> {
        match self.calls.get(&id)?.ended {
            None => Some(CallStatus::Pending),
            Some((end, _)) if now - end >= KEEP => None,
            Some((_, true)) => Some(CallStatus::Success),
            Some((_, false)) => Some(CallStatus::Failed),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_operations_keeps_the_promises(operations in prop::collection::vec(operation(), 1..60)) {
        let registry = Registry::new(KEEP);
        let start = Moment::now();
        let (mut monotonic, mut wall) = (Duration::ZERO, Duration::ZERO);
        let mut model = Model::default();
        let mut attempts: Vec<(Attempt, u128, u32)> = Vec::new();

        for operation in operations {
            // Spans here are long and the clocks start together, so the same clock stays ahead.
            let time = monotonic.max(wall);
            let now = start.moved(time, time, time);
            match operation {
                Operation::Begin { id: n, number: wanted } => {
                    let admitted = wanted.map(number).ok_or_else(refused);
                    let begun = registry.begin(id(n), admitted, Deadline::after(now, DEADLINE));
                    let pending = model.status(n, time) == Some(CallStatus::Pending);
                    let same = model.calls.get(&n).is_some_and(|call| call.number.is_some() && call.number == wanted);
                    match begun {
                        Begun::StillPending(_) => prop_assert!(pending && same),
                        Begun::New(attempt) => {
                            let wanted = wanted.unwrap();
                            prop_assert!(!pending && !model.ringing.contains_key(&wanted));
                            prop_assert!(attempts.iter().all(|(earlier, ..)| earlier.generation != attempt.generation));
                            let generation = attempt.generation;
                            model.ringing.insert(wanted, generation);
                            model.calls.insert(n, Call { generation, number: Some(wanted), begun: time, ended: None });
                            attempts.push((attempt, n, wanted));
                        }
                        Begun::RefusedRepeat(failure, _) => prop_assert!(pending && !same, "{}", failure),
                        Begun::Refused(failure, _) => {
                            let collides = wanted.is_some_and(|wanted| model.ringing.contains_key(&wanted));
                            prop_assert!(!pending && (wanted.is_none() || collides), "{}", failure);
                            let ended = Some((time, false));
                            model.calls.insert(n, Call { generation: 0, number: None, begun: time, ended });
                            let shown = registry.snapshot(id(n)).unwrap().failure;
                            prop_assert_eq!(shown, Some(failure));
                        }
                    }
                }
                Operation::Advance { attempt, progress } => {
                    if let Some((attempt, n, _)) = attempts.get(attempt % attempts.len().max(1)) {
                        let current = model.calls.get(n).is_some_and(|call| call.generation == attempt.generation);
                        let pending = current && model.status(*n, time) == Some(CallStatus::Pending);
                        let news = registry.advance(*attempt, progress);
                        prop_assert!(pending || !news);
                        if pending {
                            prop_assert!(registry.snapshot(id(*n)).unwrap().progress.unwrap() >= progress);
                        }
                    }
                }
                Operation::End { attempt, verified } => {
                    if let Some((attempt, n, _)) = attempts.get(attempt % attempts.len().max(1)) {
                        let outcome = if verified { VERIFIED } else { wrong_key() };
                        let ended = registry.end(*attempt, outcome, now);
                        let call = model.calls.get_mut(n).filter(|call| call.generation == attempt.generation);
                        match call.filter(|call| call.ended.is_none()) {
                            None => prop_assert_eq!(ended, None),
                            Some(call) => {
                                let in_time = time - call.begun < DEADLINE;
                                let success = verified && in_time;
                                prop_assert_eq!(ended == Some(VERIFIED), success);
                                call.ended = Some((time, success));
                            }
                        }
                    }
                }
                Operation::Release { attempt } => {
                    if let Some((attempt, _, wanted)) = attempts.get(attempt % attempts.len().max(1)) {
                        registry.release(*attempt, number(*wanted).hash());
                        if model.ringing.get(wanted) == Some(&attempt.generation) {
                            model.ringing.remove(wanted);
                        }
                    }
                }
                Operation::Pass { monotonic: m, wall: w } => {
                    monotonic += m;
                    wall += w;
                }
                Operation::Sweep => registry.sweep(now),
            }
            let time = monotonic.max(wall);
            let now = start.moved(time, time, time);
            for n in 0..4 {
                let (seen, promised) = (registry.status_at(id(n), || now), model.status(n, time));
                // A failure may be kept for longer, a success never.
                let forgotten_late = seen == Some(CallStatus::Failed) && promised.is_none();
                prop_assert!(seen == promised || forgotten_late, "id {}: {:?}, promised {:?}", n, seen, promised);
            }
        }
    }
}

fn begun(registry: &Registry, n: u128, now: Moment) -> Attempt {
    match registry.begin(id(n), Ok(number(1000 + n as u32)), Deadline::after(now, DEADLINE)) {
        Begun::New(attempt) => attempt,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_approval_after_the_deadline_by_either_clock_fails() {
    let zero = Duration::ZERO;
    for (monotonic, wall) in [(DEADLINE, zero), (zero, DEADLINE), (DEADLINE, DEADLINE)] {
        let (registry, now) = (Registry::new(KEEP), Moment::now());
        let attempt = begun(&registry, 1, now);
        let Some(StoredOutcome::Failed(failure)) =
            registry.end(attempt, VERIFIED, now.moved(monotonic, monotonic, wall))
        else {
            panic!("approved {monotonic:?} and {wall:?} after the start")
        };
        assert_eq!(failure.reason(), FailureReason::DeadlinePassed);
        assert_eq!(registry.status(id(1)), Some(CallStatus::Failed));
    }
}

#[test]
fn a_wall_clock_that_is_set_back_stretches_nothing() {
    let now = Moment::now();
    let start = now.moved(Duration::ZERO, Duration::ZERO, DAY);
    let deadline = Deadline::after(start, DEADLINE);
    assert!(deadline.passed(now.moved(DEADLINE, DEADLINE, Duration::ZERO)));
    assert_eq!(deadline.left(now), DEADLINE);

    // Neither does a later sleep of the machine, which only the time since boot includes.
    assert!(deadline.passed(now.moved(Duration::ZERO, DEADLINE, Duration::ZERO)));
}

#[test]
fn a_success_is_forgotten_after_its_time_by_either_clock() {
    let zero = Duration::ZERO;
    for (monotonic, wall) in [(KEEP, zero), (zero, KEEP)] {
        let (registry, now) = (Registry::new(KEEP), Moment::now());
        let attempt = begun(&registry, 1, now);
        registry.end(attempt, VERIFIED, now);
        let almost = KEEP - Duration::from_secs(1);
        let before = now.moved(monotonic.min(almost), monotonic.min(almost), wall.min(almost));
        assert_eq!(registry.status_at(id(1), || before), Some(CallStatus::Success));
        assert_eq!(registry.status_at(id(1), || now.moved(monotonic, monotonic, wall)), None);
        registry.sweep(now.moved(monotonic, monotonic, wall));
        assert!(registry.is_empty());
    }
}

#[test]
fn a_forgotten_success_stays_forgotten_if_a_gate_keeps_longer() {
    let registry = Registry::new(Duration::from_secs(1));
    let start = Moment::now();
    let attempt = begun(&registry, 1, start);
    registry.end(attempt, VERIFIED, start);
    registry.keep_finished_for(KEEP);
    let two = Duration::from_secs(2);
    let later = start.moved(two, two, two);
    assert_eq!(registry.status_at(id(1), || start), Some(CallStatus::Success));
    assert_eq!(registry.status_at(id(1), || later), None);
}

#[test]
fn a_repeat_with_another_number_is_refused_and_changes_nothing() {
    let (registry, now) = (Registry::new(KEEP), Moment::now());
    let attempt = begun(&registry, 1, now);
    let repeat = registry.begin(id(1), Ok(number(2000)), Deadline::after(now, DEADLINE));
    let Begun::RefusedRepeat(failure, of) = repeat else { panic!("{repeat:?}") };
    assert_eq!((failure.reason(), of), (FailureReason::AlreadyInProgress, attempt));
    assert_eq!(registry.snapshot(id(1)).unwrap().failure, Some(failure.clone()));
    assert_eq!(registry.status(id(1)), Some(CallStatus::Pending));
    registry.end(attempt, VERIFIED, now);
    assert_eq!(registry.status(id(1)), Some(CallStatus::Success));
    assert_eq!(registry.snapshot(id(1)).unwrap().failure, Some(failure), "the host may ask for it late");
}

#[test]
fn a_repeat_that_admission_refuses_keeps_its_own_reason() {
    let (registry, now) = (Registry::new(KEEP), Moment::now());
    let attempt = begun(&registry, 1, now);
    let repeat = registry.begin(id(1), Err(refused()), Deadline::after(now, DEADLINE));
    assert_eq!(repeat, Begun::RefusedRepeat(refused(), attempt));
    assert_eq!(registry.snapshot(id(1)).unwrap().failure, Some(refused()));
    assert_eq!(registry.status(id(1)), Some(CallStatus::Pending));
}

#[test]
fn calls_beyond_the_bound_are_throttled_until_one_ends() {
    let registry = Registry::with_bounds(KEEP, 2, 1_000);
    let now = Moment::now();
    let first = begun(&registry, 1, now);
    begun(&registry, 2, now);
    let third = registry.begin(id(3), Ok(number(1003)), Deadline::after(now, DEADLINE));
    let Begun::Refused(failure, _) = third else { panic!("{third:?}") };
    assert_eq!(failure.reason(), FailureReason::Throttled);
    registry.end(first, wrong_key(), now);
    begun(&registry, 3, now);
}

#[test]
fn memory_is_bounded_if_every_call_is_refused() {
    let registry = Registry::with_bounds(KEEP, 10, 640);
    let now = Moment::now();
    for n in 0..20_000 {
        registry.begin(id(n), Err(refused()), Deadline::after(now, DEADLINE));
        registry.begin(id(n % 7), Err(refused()), Deadline::after(now, DEADLINE));
        assert!(registry.len() <= 640);
    }
    assert_eq!(registry.status(id(19_999)), Some(CallStatus::Failed), "the newest are kept");
}

#[test]
fn a_repeat_under_an_older_number_key_places_no_second_call() {
    let deadline = Deadline::after(Moment::now(), DEADLINE);
    let numbers = serde_json::from_str(r#"{ "default_country": "US" }"#).unwrap();
    let hasher = NumberHasher::new(Some("not-a-real-number-key-0123456789abcdef".into()), []);
    let admission = Admission::new(&numbers).unwrap().hashing_with(hasher);
    let rehashed = |n: u32| admission.admit(&format!("+1425555{n:04}")).unwrap();
    assert_ne!(rehashed(1000).hash(), number(1000).hash());
    // The store has the call from before the key was set.
    let registry = Registry::new(KEEP);
    let attempt = Attempt { id: id(1), generation: 7 };
    assert_eq!(registry.adopt(attempt, number(1000).hash(), deadline, false), Adopted::Pending);
    assert_eq!(registry.begin(id(1), Ok(rehashed(1000)), deadline), Begun::StillPending(attempt));
    let other = registry.begin(id(1), Ok(rehashed(1001)), deadline);
    assert!(matches!(other, Begun::RefusedRepeat(_, repeated) if repeated == attempt), "{other:?}");
}

#[test]
fn an_approval_is_used_up_once_and_by_the_ticket_of_its_entry() {
    let registry = Registry::new(KEEP);
    let deadline = Deadline::after(Moment::now(), DEADLINE);
    let Begun::New(attempt) = registry.begin(id(1), Ok(number(1000)), deadline) else { panic!("it is new") };
    assert_eq!(registry.approval_to_use(id(1), || 7), None, "it is pending");
    registry.end(attempt, VERIFIED, Moment::now()).unwrap();
    let first = registry.approval_to_use(id(1), || 7).unwrap();
    assert_eq!((first.attempt, first.ticket, first.is_granted), (attempt, 7, false));
    registry.grant(&first);
    let again = registry.approval_to_use(id(1), || 8).unwrap();
    assert_eq!((again.ticket, again.is_granted), (7, true), "what was granted to the entry stays");

    registry.forget_successes();
    let ended = AttemptEnd { attempt, number: Some(number(1000).hash()), outcome: VERIFIED, ago: Duration::ZERO };
    assert!(registry.adopt_end(ended, Moment::now(), None));
    assert!(!registry.use_up(&first), "the entry was forgotten");
    let reread = registry.approval_to_use(id(1), || 9).unwrap();
    assert_eq!((reread.ticket, reread.is_granted), (9, false), "another entry has another ticket");
    assert!(registry.use_up(&reread));
    assert!(!registry.use_up(&reread));
    let failure = registry.snapshot(id(1)).unwrap().failure.unwrap();
    assert_eq!(failure.reason(), FailureReason::AlreadyUsed);
}
