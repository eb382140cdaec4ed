//! PINs: set, guessed, locked and removed, by several processes (S15).

use phonegate::store::{NewPin, PepperFingerprint, PinGuess, PinLimits, PinState, PinToCompare, StoredPin};

use super::number_keys::{Keys, fingerprints, keyed};
use super::*;

const LOCK: Duration = Duration::from_secs(1800);

const FIVE: PinLimits = PinLimits { max_failures: 5, lock: LOCK };

fn pepper(n: u8) -> PepperFingerprint {
    PepperFingerprint::of_hash(&[n; 8])
}

fn pin(number: StoredNumber, hash: &str) -> NewPin {
    NewPin { number, hash: hash.into(), pepper: pepper(1), set_at: at(0) }
}

/// The hashes of a number, the current key's first.
fn hashes(number: &StoredNumber) -> Vec<NumberHash> {
    std::iter::once(number.hash).chain(number.otherwise.iter().map(|hashed| hashed.number)).collect()
}

async fn guess_with(store: &Arc<dyn CallStore>, number: &StoredNumber, limits: PinLimits) -> PinGuess {
    store.begin_pin_guess(&hashes(number), pepper(1), &limits).await.unwrap()
}

async fn guess(store: &Arc<dyn CallStore>, n: u128) -> PinGuess {
    guess_with(store, &number(n), FIVE).await
}

/// Begins a guess that is expected to be compared.
async fn compare(store: &Arc<dyn CallStore>, n: u128) -> PinToCompare {
    match guess(store, n).await {
        PinGuess::Compare(compared) => compared,
        other => panic!("{other:?}"),
    }
}

async fn was_right(store: &Arc<dyn CallStore>, n: u128, compared: &PinToCompare) -> bool {
    store.confirm_pin_guess(&hashes(&number(n)), compared).await.unwrap()
}

async fn is_locked(store: &Arc<dyn CallStore>, n: u128) -> bool {
    the_pin(store, n).await.locked_until.is_some()
}

async fn failures(store: &Arc<dyn CallStore>, n: u128) -> u32 {
    the_pin(store, n).await.failures
}

async fn the_pin(store: &Arc<dyn CallStore>, n: u128) -> StoredPin {
    let pins = store.pins().await.unwrap();
    pins.into_iter().find(|pin| pin.number == number(n).hash).unwrap()
}

#[test]
fn a_pin_is_set_replaced_listed_and_removed() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        assert_eq!(guess(&store, 1).await, PinGuess::NotSet);
        assert_eq!(store.pins().await.unwrap(), []);
        store.set_pin(&pin(number(1), "one")).await.unwrap();
        store.set_pin(&NewPin { set_at: at(5), ..pin(extension(1, 7), "two") }).await.unwrap();
        assert_eq!(&*compare(&other, 1).await.hash, "one");
        store.set_pin(&NewPin { set_at: at(9), ..pin(number(1), "three") }).await.unwrap();
        assert_eq!(&*compare(&other, 1).await.hash, "three");
        assert_eq!(guess(&other, 2).await, PinGuess::NotSet);
        let listed = |number: StoredNumber, milliseconds, failures| StoredPin {
            number: number.hash,
            masked: number.masked,
            set_at: at(milliseconds),
            failures,
            locked_until: None,
        };
        let expected = [listed(number(1), 9, 1), listed(extension(1, 7), 5, 0)];
        assert_eq!(other.pins().await.unwrap(), expected, "the newest first; each number has its own");
        assert!(other.remove_pin(&[number(1).hash]).await.unwrap());
        assert!(!store.remove_pin(&[number(1).hash]).await.unwrap());
        assert_eq!(guess(&store, 1).await, PinGuess::NotSet);
        assert_eq!(store.pins().await.unwrap().len(), 1);
    });
}

#[test]
fn a_pin_is_locked_after_five_wrong_entries_on_any_node() {
    on_every_store(async |open| {
        open().set_pin(&pin(number(1), "one")).await.unwrap();
        for _ in 0..5 {
            // As another process, or the same after a restart.
            compare(&open(), 1).await;
        }
        let store = open();
        let before = SystemTime::now();
        let PinGuess::Locked { until } = guess(&store, 1).await else { panic!("it is not locked") };
        assert!(until <= SystemTime::now() + LOCK && until > before, "{until:?}");
        let locked = the_pin(&store, 1).await;
        assert!(locked.failures == 5 && locked.locked_until.is_some(), "{locked:?}");
        assert!(store.unlock_pin(&[number(1).hash]).await.unwrap());
        assert!(!store.unlock_pin(&[number(2).hash]).await.unwrap(), "it has no PIN");
        assert_eq!((failures(&open(), 1).await, is_locked(&open(), 1).await), (0, false));
        compare(&store, 1).await;
    });
}

#[test]
fn parallel_guesses_never_exceed_the_maximum_of_failures() {
    on_every_store(async |open| {
        open().set_pin(&pin(number(1), "one")).await.unwrap();
        let stores: Vec<_> = (0..4).map(|_| open()).collect();
        let mut guesses = JoinSet::new();
        for store in stores.into_iter().cycle().take(64) {
            guesses.spawn(async move { guess(&store, 1).await });
        }
        let guesses = guesses.join_all().await;
        let compared = guesses.iter().filter(|guess| matches!(guess, PinGuess::Compare(_))).count();
        let locked = guesses.iter().filter(|guess| matches!(guess, PinGuess::Locked { .. })).count();
        assert_eq!((compared, locked), (5, 59));
    });
}

#[test]
fn a_lock_ends_and_attempts_during_it_do_not_extend_it() {
    on_every_store(async |open| {
        let store = open();
        let limits = PinLimits { max_failures: 1, lock: Duration::from_millis(1500) };
        store.set_pin(&pin(number(1), "one")).await.unwrap();
        assert!(matches!(guess_with(&store, &number(1), limits).await, PinGuess::Compare(_)));
        // If each attempt extended it, it would never end.
        let compared = loop {
            match guess_with(&store, &number(1), limits).await {
                PinGuess::Locked { .. } => tokio::time::sleep(Duration::from_millis(20)).await,
                PinGuess::Compare(compared) => break compared,
                PinGuess::NotSet => panic!("it is gone"),
            }
        };
        assert_eq!(failures(&store, 1).await, 1, "the failures before the lock are over");
        assert!(was_right(&store, 1, &compared).await);
        assert_eq!(failures(&store, 1).await, 0);
    });
}

#[test]
fn a_right_pin_takes_back_the_failures_before_it() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        store.set_pin(&pin(number(1), "one")).await.unwrap();
        for _ in 0..4 {
            compare(&store, 1).await;
        }
        // The fifth guess locks the PIN and, because it is right, removes that lock.
        let fifth = compare(&other, 1).await;
        assert!(is_locked(&store, 1).await);
        assert!(was_right(&other, 1, &fifth).await);
        assert_eq!((failures(&store, 1).await, is_locked(&store, 1).await), (0, false));
        for _ in 0..4 {
            compare(&store, 1).await;
        }
        assert!(was_right(&other, 1, &fifth).await, "the same may be reported again");
        assert_eq!(failures(&store, 1).await, 4, "and takes back nothing more");
    });
}

#[test]
fn a_right_pin_takes_back_no_failure_and_no_lock_after_it() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        store.set_pin(&pin(number(1), "one")).await.unwrap();
        compare(&store, 1).await;
        let right = compare(&store, 1).await;
        compare(&other, 1).await;
        assert!(was_right(&store, 1, &right).await);
        assert_eq!(failures(&store, 1).await, 1, "the one after it");
        let right = compare(&store, 1).await;
        for _ in 0..3 {
            compare(&other, 1).await;
        }
        assert!(is_locked(&store, 1).await);
        assert!(was_right(&store, 1, &right).await, "it was begun before the lock");
        assert!(is_locked(&store, 1).await);
    });
}

#[test]
fn a_guess_from_before_a_change_of_the_pin_changes_nothing() {
    on_every_store(async |open| {
        let store = open();
        let hash = [number(1).hash];
        store.set_pin(&pin(number(1), "one")).await.unwrap();
        let replaced = compare(&store, 1).await;
        store.set_pin(&pin(number(1), "two")).await.unwrap();
        compare(&store, 1).await;
        assert!(!was_right(&store, 1, &replaced).await, "a replaced PIN approves nothing");
        assert_eq!(failures(&store, 1).await, 1);
        let unlocked = compare(&store, 1).await;
        assert!(store.unlock_pin(&hash).await.unwrap());
        compare(&store, 1).await;
        assert!(was_right(&store, 1, &unlocked).await, "it is still the number's PIN");
        assert_eq!(failures(&store, 1).await, 1);
        let removed = compare(&store, 1).await;
        assert!(store.remove_pin(&hash).await.unwrap());
        assert!(!was_right(&store, 1, &removed).await, "a removed PIN approves nothing");
    });
}

#[test]
fn a_lower_limit_of_failures_holds_at_once() {
    on_every_store(async |open| {
        let store = open();
        store.set_pin(&pin(number(1), "one")).await.unwrap();
        for _ in 0..4 {
            compare(&store, 1).await;
        }
        let three = PinLimits { max_failures: 3, lock: LOCK };
        assert!(matches!(guess_with(&store, &number(1), three).await, PinGuess::Locked { .. }));
        assert!(matches!(guess(&store, 1).await, PinGuess::Locked { .. }), "the lock holds under a higher limit, too");
    });
}

#[test]
fn another_pepper_is_refused_and_counts_no_failure() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        assert_eq!(other.check_pepper(pepper(2)).await, Ok(()), "there are no PINs");
        store.set_pin(&pin(number(1), "one")).await.unwrap();
        assert_eq!(other.check_pepper(pepper(1)).await, Ok(()));
        let is_refused = |answer: &Result<(), StoreError>| {
            let text = format!("another pepper (fingerprint {})", pepper(1));
            answer
                .as_ref()
                .is_err_and(|error| error.kind() == StoreErrorKind::Refused && error.detail().contains(&text))
        };
        let refused = other.check_pepper(pepper(2)).await;
        assert!(is_refused(&refused), "{refused:?}");
        let guessed = other.begin_pin_guess(&[number(1).hash], pepper(2), &FIVE).await.map(drop);
        assert!(is_refused(&guessed), "{guessed:?}");
        for n in [1, 2] {
            let set = other.set_pin(&NewPin { pepper: pepper(2), ..pin(number(n), "two") }).await;
            assert!(is_refused(&set), "{set:?}");
        }
        assert_eq!((failures(&store, 1).await, store.pins().await.unwrap().len()), (0, 1));
        // Once the old PINs are removed, the new pepper is accepted.
        assert!(store.remove_pin(&[number(1).hash]).await.unwrap());
        assert_eq!(other.set_pin(&NewPin { pepper: pepper(2), ..pin(number(1), "two") }).await, Ok(()));
        assert!(store.check_pepper(pepper(1)).await.is_err());
    });
}

#[test]
fn a_pin_is_found_and_locked_by_each_number_key() {
    const BEFORE: Keys = &[1, 0];
    const AFTER: Keys = &[2, 1, 0];
    on_every_store(async |open| {
        let (old, changed) = (open(), open());
        let by_old = keyed(1, BEFORE);
        let by_new = keyed(1, AFTER);
        old.set_pin(&pin(by_old.clone(), "one")).await.unwrap();
        let without = open().use_number_keys(&fingerprints(&[0]), phonegate::store::KeyUse::Read).await;
        assert!(without.is_err(), "the key was recorded");
        let refused = changed.set_pin(&pin(keyed(2, &[2, 0]), "two")).await;
        assert_eq!(kind_of(refused), StoreErrorKind::Refused);
        for number in [&by_old, &by_new, &by_old] {
            assert!(matches!(guess_with(&changed, number, FIVE).await, PinGuess::Compare(_)));
        }
        // A call moves it to the current key, with its failures; the other node finds it.
        assert_eq!(begin(&changed, &new(attempt(1, 1), by_new.clone())).await, Begun::New);
        let pins = changed.pins().await.unwrap();
        assert_eq!(pins.iter().map(|pin| (pin.number, pin.failures)).collect::<Vec<_>>(), [(by_new.hash, 3)]);
        let swapped = keyed(1, &[1, 2, 0]);
        for number in [&by_new, &swapped] {
            assert!(matches!(guess_with(&old, number, FIVE).await, PinGuess::Compare(_)));
        }
        assert!(matches!(guess_with(&old, &swapped, FIVE).await, PinGuess::Locked { .. }));
        // A new PIN replaces it whatever its key.
        changed.set_pin(&pin(swapped.clone(), "two")).await.unwrap();
        let pins = changed.pins().await.unwrap();
        assert_eq!(pins.iter().map(|pin| (pin.number, pin.failures)).collect::<Vec<_>>(), [(swapped.hash, 0)]);
        assert!(old.remove_pin(&hashes(&by_new)).await.unwrap());
        assert_eq!(guess_with(&changed, &swapped, FIVE).await, PinGuess::NotSet);
    });
}

#[test]
fn a_sweep_removes_no_pin_and_no_failure() {
    on_every_store(async |open| {
        let store = open();
        let long_ago = SystemTime::now() - Duration::from_secs(1000 * 86_400);
        store.set_pin(&NewPin { set_at: long_ago, ..pin(number(1), "one") }).await.unwrap();
        compare(&store, 1).await;
        store.sweep(LONG).await.unwrap();
        assert_eq!(failures(&open(), 1).await, 1);
    });
}

/// One of several changes, at random, and what the store answers.
async fn change(store: &Arc<dyn CallStore>, random: &mut fastrand::Rng, begun: &mut Vec<PinToCompare>) -> String {
    let three = PinLimits { max_failures: 3, lock: LOCK };
    match random.u8(..20) {
        0 => format!("set {:?}", store.set_pin(&pin(number(1), ["one", "two"][random.usize(..2)])).await),
        1 => format!("remove {:?}", store.remove_pin(&[number(1).hash]).await),
        2..4 => format!("unlock {:?}", store.unlock_pin(&[number(1).hash]).await),
        4..10 if !begun.is_empty() => {
            let compared = &begun[random.usize(..begun.len())];
            format!("right {compared:?} {}", was_right(store, 1, compared).await)
        }
        _ => match guess_with(store, &number(1), three).await {
            PinGuess::Compare(compared) => {
                let answer = format!("compare {} {compared:?}", compared.hash);
                begun.push(compared);
                answer
            }
            PinGuess::Locked { .. } => "locked".to_owned(),
            PinGuess::NotSet => "not set".to_owned(),
        },
    }
}

#[test]
fn every_store_answers_the_same_to_any_sequence() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    on_every_store(async |open| {
        let (store, model): (_, Arc<dyn CallStore>) = (open(), Arc::new(MemoryStore::default()));
        let (mut random, mut model_random) = (fastrand::Rng::with_seed(seed), fastrand::Rng::with_seed(seed));
        let (mut begun, mut model_begun) = (Vec::new(), Vec::new());
        for turn in 0..400 {
            let answer = change(&store, &mut random, &mut begun).await;
            let expected = change(&model, &mut model_random, &mut model_begun).await;
            assert_eq!(answer, expected, "seed {seed}, turn {turn}");
            let failures = |pins: Vec<StoredPin>| {
                pins.iter().map(|pin| (pin.failures, pin.locked_until.is_some())).collect::<Vec<_>>()
            };
            let (kept, expected) = (store.pins().await.unwrap(), model.pins().await.unwrap());
            assert_eq!(failures(kept), failures(expected), "seed {seed}, turn {turn}: {answer}");
        }
    });
}

#[test]
fn the_state_of_a_pin_is_looked_up_without_a_guess() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        let state = async |n: u128| other.pin_state(&hashes(&number(n))).await.unwrap();
        assert_eq!(state(1).await, PinState::NotSet);
        store.set_pin(&pin(number(1), "one")).await.unwrap();
        assert_eq!(state(1).await, PinState::Open);
        for _ in 0..5 {
            compare(&store, 1).await;
        }
        assert!(matches!(state(1).await, PinState::Locked { until } if until > SystemTime::now()));
        assert_eq!(failures(&store, 1).await, 5, "looking it up counts nothing");
        assert!(store.unlock_pin(&[number(1).hash]).await.unwrap());
        assert_eq!(state(1).await, PinState::Open);
        assert_eq!(state(2).await, PinState::NotSet);
    });
}
