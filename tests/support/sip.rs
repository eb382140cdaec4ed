//! A gate with a SIP trunk, and prompts that are short.

use std::path::Path;
use std::sync::LazyLock;

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::gate::{TestGate, id};

pub const NUMBER: &str = "+1 4255551212";

/// All pieces but the digits.
const PIECES: [&str; 11] = [
    "intro",
    "wrong_key",
    "verified",
    "fraud_reported",
    "goodbye",
    "press_pound",
    "not_you",
    "press_code",
    "then_pound",
    "enter_pin",
    "enter_pin_then",
];

/// Returns the frequency of the tone that replaces the recording of a digit, in Hz.
pub fn digit_tone(digit: u32) -> f32 {
    1_500.0 + 100.0 * digit as f32
}

/// Tones instead of sentences, so that the tests are short: of 400 Hz for the first piece, and of 100 Hz more for each
/// next one. A farewell lasts half a second, and a prompt with its pauses less than two seconds.
static PROMPTS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("en-US")).unwrap();
    for (n, prompt) in PIECES.into_iter().enumerate() {
        let is_long = matches!(prompt, "intro" | "wrong_key" | "verified" | "fraud_reported" | "goodbye");
        let seconds = if is_long { 0.5 } else { 0.1 };
        tone(&folder.path().join("en-US").join(format!("{prompt}.wav")), 400.0 + 100.0 * n as f32, seconds);
    }
    for digit in 0..10 {
        tone(&folder.path().join("en-US").join(format!("digit_{digit}.wav")), digit_tone(digit), 0.2);
    }
    folder
});

/// Writes a tone of this frequency in Hz and duration in seconds.
pub fn tone(path: &Path, hertz: f32, seconds: f32) {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..(8000.0 * seconds) as u32 {
        let sample = (n as f32 * hertz * std::f32::consts::TAU / 8000.0).sin() * 8000.0;
        file.write_sample(sample as i16).unwrap();
    }
    file.finalize().unwrap();
}

/// The configuration of a gate with this trunk, short prompts and a deadline.
pub fn config(trunk: Value, deadline_s: u64) -> Value {
    json!({
        "use": ["trunk"],
        "backends": { "trunk": trunk },
        "call": { "deadline_s": deadline_s },
        "prompts": prompts(),
    })
}

/// Short prompts, with two prompts before silence fails a call.
pub fn prompts() -> Value {
    json!({ "directory": PROMPTS.path(), "repeat": 2, "attempts": 2 })
}

/// A gate with this trunk.
pub fn gate(trunk: Value) -> TestGate {
    TestGate::start(config(trunk, 60))
}

/// Places a call and waits for its end. Returns the reason and the text of the failure, `None` if it was verified.
pub fn ending(gate: &TestGate) -> Option<(FailureReason, String)> {
    gate.initiate(id(1), NUMBER);
    gate.ends(id(1));
    gate.snapshot(id(1)).failure.map(|failure| (failure.reason(), failure.text().to_owned()))
}
