//! Thousands of random calls over networks that lose, duplicate, delay and reorder datagrams, to a PBX that behaves
//! like real ones.

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::net::plan::{FEATURES, Features};
use run::{EVENT_KINDS, Run};

const SEED: &str = "PHONEGATE_SIP_SEED";
const WITHOUT: &str = "PHONEGATE_SIP_WITHOUT";
const COUNT: &str = "PHONEGATE_SIP_SEEDS";

/// Runs one seed. Returns the kinds of events that it saw, or the failure and the trace.
fn play(seed: u64, features: Features) -> Result<BTreeSet<&'static str>, (String, String)> {
    let mut run = Run::new(seed, features);
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| run.play())) else { return Ok(run.seen) };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
    Err((text, run.trace()))
}

/// Returns the features of a seed: most of them, so that many seeds differ.
fn features(seed: u64) -> Features {
    let mut random = fastrand::Rng::with_seed(seed ^ 0xfea);
    let without = std::env::var(WITHOUT).unwrap_or_default();
    let mut features = 0;
    for (place, name) in FEATURES.iter().enumerate() {
        let drawn = random.u8(0..100) < 60;
        if drawn && !without.split(',').any(|other| other == *name) {
            features |= 1 << place;
        }
    }
    Features(features)
}

/// Omits each feature without which the seed still fails, and reports the remaining ones.
fn report(seed: u64) -> String {
    let mut features = features(seed);
    for place in 0..FEATURES.len() {
        let fewer = Features(features.0 & !(1 << place));
        if fewer != features && play(seed, fewer).is_err() {
            features = fewer;
        }
    }
    let (text, trace) = play(seed, features).err().unwrap_or_default();
    let (with, without): (Vec<&str>, Vec<&str>) = FEATURES.iter().partition(|name| features.has(name));
    let without = without.join(",");
    format!("{trace}\nseed {seed} with {with:?}: {text}\nto play it again: {SEED}={seed} {WITHOUT}={without:?}")
}

/// `PHONEGATE_SIP_SEEDS` is the number of seeds. `PHONEGATE_SIP_SEED` plays one seed, without those features that
/// `PHONEGATE_SIP_WITHOUT` names.
#[test]
fn no_network_and_no_peer_leave_a_phone_ringing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number of seeds"));
    let (first, count) = number(SEED).map_or((0, number(COUNT).unwrap_or(2_000)), |seed| (seed, 1));
    let next = AtomicU64::new(first);
    let (failed, seen) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    match play(seed, features(seed)) {
                        Ok(kinds) => seen.lock().expect("no thread panics with it").extend(kinds),
                        Err((text, _)) => failed.lock().expect("no thread panics with it").push((seed, text)),
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no thread panics with it");
    failed.sort();
    let mut kinds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seed, text) in &failed {
        kinds.entry(text).or_default().push(*seed);
    }
    let list: String =
        kinds.iter().map(|(text, seeds)| format!("{text}: {:?}\n", &seeds[..seeds.len().min(10)])).collect();
    if let Some((seed, _)) = failed.first() {
        panic!("{}\n{} of {count} seeds failed:\n{list}", report(*seed), failed.len());
    }
    let seen = seen.into_inner().expect("no thread panics with it");
    for kind in EVENT_KINDS {
        let share = seen.iter().filter(|seen| *seen == kind).count();
        assert!(share >= 10 || count < 1_000, "only {share} of {count} seeds saw this: {kind}");
    }
}
