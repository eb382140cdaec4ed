//! PINs in the file: processes that are killed, the clock, and the number keys that they need.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use phonegate::call::{KeyFingerprint, NumberHash};
use phonegate::store::{KeyUse, NewPin, PepperFingerprint, PinGuess, PinLimits, PinStore};

use super::*;

/// The variable that names the file in a process that will be killed.
const FILE: &str = "PHONEGATE_PINS_FILE";

const LIMITS: PinLimits = PinLimits { max_failures: 40, lock: Duration::from_secs(1800) };

fn pepper() -> PepperFingerprint {
    PepperFingerprint::of_hash(&[1; 8])
}

fn pin(number: StoredNumber) -> NewPin {
    NewPin { number, hash: "hash".into(), pepper: pepper(), set_at: SystemTime::now() }
}

fn hash() -> [NumberHash; 1] {
    [admitted(NUMBER).hash()]
}

fn guess(store: &SqliteStore, limits: PinLimits) -> PinGuess {
    wait(store.begin_pin_guess(&hash(), pepper(), &limits)).unwrap()
}

#[test]
fn kills_never_give_more_guesses() {
    if let Some(file) = std::env::var_os(FILE) {
        guess_until_killed(Path::new(&file));
    }
    let (_folder, file) = file();
    wait(SqliteStore::open(&file).unwrap().set_pin(&pin(StoredNumber::new(&admitted(NUMBER), false)))).unwrap();
    let (mut compared, mut is_locked) = (0, false);
    while !is_locked {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["pins::kills_never_give_more_guesses", "--exact", "--nocapture"])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut heard = String::new();
        while !heard.contains("compared") && !heard.contains("locked") {
            assert_ne!(lines.read_line(&mut heard).unwrap(), 0, "it ended by itself: {heard}");
        }
        // It goes on guessing meanwhile.
        process.kill().unwrap();
        lines.read_to_string(&mut heard).unwrap();
        process.wait().unwrap();
        compared += heard.matches("compared").count();
        is_locked = heard.contains("locked");
        let kept = wait(SqliteStore::open(&file).unwrap().pins()).unwrap();
        let failures = usize::try_from(kept[0].failures).unwrap();
        assert!((compared..=40).contains(&failures), "{compared} were compared, {failures} counted");
    }
    assert!(matches!(guess(&SqliteStore::open(&file).unwrap(), LIMITS), PinGuess::Locked { .. }));
}

fn guess_until_killed(file: &Path) -> ! {
    let store = SqliteStore::open(file).unwrap();
    loop {
        let line = match guess(&store, LIMITS) {
            PinGuess::Compare(_) => "compared\n",
            PinGuess::Locked { .. } => "locked\n",
            PinGuess::NotSet => "not set\n",
        };
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
    }
}

static PINS_SET_BACK: AtomicI64 = AtomicI64::new(0);

fn clock() -> SystemTime {
    SystemTime::now() - Duration::from_secs(PINS_SET_BACK.load(Ordering::Relaxed).unsigned_abs())
}

#[test]
fn a_clock_that_is_set_back_does_not_extend_a_lock() {
    let (_folder, file) = file();
    let limits = PinLimits { max_failures: 1, lock: Duration::from_secs(2) };
    let store = SqliteStore::open_with_clock(&file, clock).unwrap();
    wait(store.set_pin(&pin(StoredNumber::new(&admitted(NUMBER), false)))).unwrap();
    assert!(matches!(guess(&store, limits), PinGuess::Compare(_)));
    PINS_SET_BACK.store(5 * 3600, Ordering::Relaxed);
    drop(store);
    let store = SqliteStore::open_with_clock(&file, clock).unwrap();
    support::wait_until("the lock ends", || matches!(guess(&store, limits), PinGuess::Compare(_)));
}

#[test]
fn a_number_key_is_kept_while_a_pin_needs_it() {
    let (_folder, file) = file();
    let store = SqliteStore::open(&file).unwrap();
    let unkeyed = StoredNumber::new(&admitted(NUMBER), false);
    let keyed = StoredNumber::new(&number_keys::keyed(number_keys::ONE, NUMBER), false);
    let may_start = || {
        Connection::open(&file).unwrap().execute("UPDATE number_keys SET used_at = 1", []).unwrap();
        wait(store.sweep(DAY)).unwrap();
        wait(store.use_number_keys(&[keyed.fingerprint], KeyUse::Read)).is_ok()
    };
    wait(store.set_pin(&pin(unkeyed.clone()))).unwrap();
    assert!(!may_start());
    // It is moved to the current hash.
    wait(store.set_pin(&pin(keyed.clone()))).unwrap();
    assert!(may_start());
    assert!(wait(store.use_number_keys(&[KeyFingerprint::UNKEYED], KeyUse::Read)).is_err(), "it is the PIN's key");
    assert!(wait(store.remove_pin(&[keyed.hash])).unwrap());
    assert!(may_start());
    assert!(wait(store.use_number_keys(&[KeyFingerprint::UNKEYED], KeyUse::Read)).is_ok(), "no PIN is left");
}
