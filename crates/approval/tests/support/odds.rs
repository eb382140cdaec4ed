//! Recordings that answer a call and press keys, and how often they are approved.

use phonegate_approval::policy::{Method, Policy};

use super::{PIN, Press, attempts, play, pressed};

/// The keys of a machine that does not listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// `#` every 100 ms, from the answer on.
    Pounds,
    /// `1#2#…9#1#…`, a key every 100 ms, from the answer on.
    DigitsInTurn,
    /// A random digit or `#` every 100 ms, from the answer on.
    RandomKeys,
    /// `#` once, after the prompt began to be heard.
    PoundInTime,
    /// An entry for each attempt, after its code began to be spoken: random digits that could be its code, then `#`.
    /// The best that a machine can do that does not listen, but knows the settings and the times.
    GuessInTime,
    /// The same, after the PIN of the number. The PIN is known.
    PinAndGuessInTime,
}

impl Recording {
    pub const ALL: [Self; 6] = [
        Self::Pounds,
        Self::DigitsInTurn,
        Self::RandomKeys,
        Self::PoundInTime,
        Self::GuessInTime,
        Self::PinAndGuessInTime,
    ];

    pub fn describe(self) -> &'static str {
        match self {
            Self::Pounds => "# every 100 ms from the answer on",
            Self::DigitsInTurn => "1#2#3#... every 100 ms from the answer on",
            Self::RandomKeys => "random keys every 100 ms from the answer on",
            Self::PoundInTime => "# once, in time",
            Self::GuessInTime => "a guess for each attempt, in time",
            Self::PinAndGuessInTime => "the known PIN and a guess, in time",
        }
    }

    /// The probability that a call is approved, by the rules alone.
    pub fn odds(self, policy: &Policy) -> f64 {
        let codes = |digits: u8| 9.0 * 8_f64.powi(i32::from(digits) - 1);
        // PINs of four digits, guessed as if they were codes.
        let pins = 10_000.0;
        let entry = match (self, policy.method()) {
            (Self::Pounds | Self::DigitsInTurn | Self::RandomKeys, _) => 0.0,
            (Self::PoundInTime, Method::Pound) => return 1.0,
            (Self::PoundInTime, _) => 0.0,
            (Self::GuessInTime, Method::Code) => 1.0 / codes(policy.code_digits()),
            (Self::GuessInTime, Method::Pound) => 0.0,
            (Self::GuessInTime, Method::Pin) => 1.0 / pins,
            (Self::GuessInTime, Method::PinAndCode) => 1.0 / pins / codes(policy.code_digits()),
            (Self::PinAndGuessInTime, Method::Pin) => return 1.0,
            (Self::PinAndGuessInTime, Method::PinAndCode) => 1.0 / codes(policy.code_digits()),
            (Self::PinAndGuessInTime, _) => 0.0,
        };
        1.0 - (1.0_f64 - entry).powi(i32::from(policy.attempts()))
    }

    fn keys(self, policy: &Policy, random: &mut fastrand::Rng) -> Vec<Press> {
        // Ten seconds: what begins with the answer has ended each call long before.
        let often = |keys: &mut dyn FnMut(u64) -> char| (0..100).map(|place| (place * 100, keys(place))).collect();
        // After the first prompt and its pause no attempt is over, so each entry falls into the next attempt.
        let in_time = |entries: Vec<String>| {
            let entries = (0..).zip(entries).flat_map(|(place, entry)| pressed(12_000 + place * 12_000, 100, &entry));
            entries.collect::<Vec<_>>()
        };
        match self {
            Self::Pounds => often(&mut |_| '#'),
            Self::DigitsInTurn => often(&mut |place| match place % 2 {
                0 => char::from_digit(u32::try_from(place / 2 % 9 + 1).unwrap(), 10).unwrap(),
                _ => '#',
            }),
            Self::RandomKeys => often(&mut |_| char::from(*random.choice(b"123456789#").unwrap())),
            Self::PoundInTime => pressed(12_000, 0, "#"),
            Self::GuessInTime | Self::PinAndGuessInTime => {
                let mut entry = || {
                    let pin = match self {
                        Self::PinAndGuessInTime => PIN.to_owned(),
                        _ if policy.method().has_pin() => format!("{:04}", random.u32(..10_000)),
                        _ => String::new(),
                    };
                    format!("{pin}{}#", guess(policy, random))
                };
                in_time((0..policy.attempts()).map(|_| entry()).collect())
            }
        }
    }
}

/// Digits that could be a code. With [`Method::Pound`] a digit, since `#` is not a guess.
fn guess(policy: &Policy, random: &mut fastrand::Rng) -> String {
    let count = if policy.method() == Method::Pound { 1 } else { policy.code_digits() };
    let mut guess = String::new();
    for _ in 0..count {
        let allowed = "123456789".chars().filter(|digit| !guess.ends_with(*digit));
        guess.push(random.choice(allowed.collect::<Vec<_>>()).unwrap());
    }
    guess
}

/// Plays calls to a recording, each with other codes. Returns how many were approved.
pub fn approved(policy: Policy, recording: Recording, calls: u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(calls ^ 0x0dd5);
    let is_approved = |seed: &u64| {
        let keys = recording.keys(&policy, &mut random);
        play(&attempts(policy, *seed), &keys).result.is_ok()
    };
    let approved = (0..calls).filter(is_approved).count();
    u64::try_from(approved).unwrap()
}
