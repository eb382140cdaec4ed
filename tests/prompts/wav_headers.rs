//! WAV files whose headers are unusual but valid, or were never completed, and those that are damaged.

use std::path::Path;
use std::process::{Command, Stdio};

use phonegate::prompts::Recording;
use phonegate_approval::script::Piece;

use super::{Own, RATE, amplitude};

/// Writes half a second of a tone of 1 kHz, at -6 dB of full scale and 16,000 samples a second. Each argument changes one
/// thing about the file: `NAME=VALUE`.
const MAKE_WAV: &str = r#"
import math, struct, sys
options = dict(option.split("=") for option in sys.argv[2:])
number = lambda name, default: int(str(options.get(name, default)), 0)
rate, channels = 16000, number("channels", 1)
bits = number("bits", 16)                       # of the container
valid = number("valid", bits)                   # of these, from the top
count = number("count", rate // 2)
frames = bytearray()
for i in range(count):
    value = round(0.5 * (2 ** (valid - 1) - 1) * math.sin(2 * math.pi * 1000 * i / rate)) << (bits - valid)
    value += 128 if bits == 8 else 0
    frames += value.to_bytes(bits // 8, "little", signed=bits != 8) * channels
block = number("block", channels * bits // 8)
plain = struct.pack("<HHIIHH", 1, channels, rate, rate * block, block, number("named_bits", bits))
pcm = bytes.fromhex(options.get("guid", "0100000000001000800000aa00389b71"))
extensible = b"\xfe\xff" + plain[2:] + struct.pack("<HHI", 22, valid, 4 if channels == 1 else 3) + pcm
format = extensible if "valid" in options or "guid" in options else plain
def chunk(name, body, size=None):
    pad = b"\0" if len(body) % 2 and options.get("pad") != "none" else b""
    return name + struct.pack("<I", len(body) if size is None else size) + body + pad
file = chunk(b"LIST", b"INFOodd", None) if "pad" in options else b""
file += chunk(b"fmt ", format)
file += chunk(b"bext", b"odd") if "pad" in options else b""
file += chunk(b"data", bytes(frames), number("data", len(frames)))
file += chunk(b"LIST", b"INFO") if "after" in options else b""
file = b"RIFF" + struct.pack("<I", number("riff", len(file) + 4)) + b"WAVE" + file
open(sys.argv[1], "wb").write(file[:number("cut", len(file))])
"#;

pub fn make_wav(file: &Path, options: &str) {
    let made = Command::new("python3").args(["-c", MAKE_WAV]).arg(file).args(options.split_whitespace()).output();
    let made = made.expect("this test needs Python: apt-get install python3");
    assert!(made.status.success(), "{options}: {}", String::from_utf8_lossy(&made.stderr));
}

fn assert_is_the_tone(recording: &Recording, kind: &str) {
    let seconds = recording.len() as f64 / RATE;
    assert!((0.499..=0.501).contains(&seconds), "{kind}: half a second is expected, not {seconds} s");
    let heard = amplitude(recording, 1000.0);
    assert!((0.49..0.51).contains(&heard), "{kind}: an amplitude of 0.5 is expected, not {heard}");
}

fn assert_are_heard(kinds: &[&str]) {
    let own = Own::new();
    let file = own.at("en-US/intro.wav");
    for kind in kinds {
        make_wav(&file, kind);
        let recording = own.load().unwrap_or_else(|fault| panic!("{kind}: {fault}"));
        assert_is_the_tone(&recording.language_for(Some("en-US"), None).get(Piece::Intro).unwrap(), kind);
    }
}

#[test]
fn wav_samples_may_be_smaller_than_their_container() {
    assert_are_heard(&[
        "bits=32 valid=24",
        "bits=32 valid=24 channels=2",
        "bits=32 valid=20",
        "bits=32 valid=32",
        "bits=24 valid=20",
        "bits=24 valid=24",
        "bits=16 valid=12",
        "bits=8 valid=8",
    ]);
}

#[test]
fn wav_without_sizes_is_read_to_its_end() {
    assert_are_heard(&[
        "data=0",
        "data=0xffffffff",
        "riff=0 data=0",
        "riff=0xffffffff data=0xffffffff",
        "riff=0 data=0xffffffff",
        "riff=36 data=0",
        "riff=0",
        "riff=0xffffffff",
        "data=0x7ffff000",
        "data=0 bits=32 valid=24 channels=2",
        "data=0xffffffff pad=there",
        "data=0xffffffff bits=8 count=8001 pad=there",
        "data=0xffffffff bits=24 count=8001 pad=there",
        "data=0 pad=none",
    ]);
}

/// sox cannot seek in a pipe, so it writes the largest size that it can.
#[test]
fn wav_that_sox_wrote_into_a_pipe_is_read() {
    let own = Own::new();
    let file = own.at("en-US/intro.wav");
    for kind in ["-b 8 -e unsigned", "-b 16", "-b 24 -c 2", "-b 32", "-b 32 -e float", "-e mu-law", "-e a-law -c 2"] {
        let arguments = ["-D", "-n", "-r", "16000"].into_iter().chain(kind.split(' ')).chain(["-t", "wav", "-"]);
        let tone = ["synth", "0.5", "sine", "1000", "gain", "-6"];
        let ran = Command::new("sox").args(arguments).args(tone).stdout(Stdio::piped()).output();
        let ran = ran.expect("this test needs sox: apt-get install sox");
        assert!(ran.status.success(), "{kind}: {}", String::from_utf8_lossy(&ran.stderr));
        let warning = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(warning.contains("can't seek"), "{kind}: sox wrote into a pipe: {warning}");
        std::fs::write(&file, ran.stdout).unwrap();
        let recording = own.load().unwrap_or_else(|fault| panic!("{kind}: {fault}"));
        assert_is_the_tone(&recording.language_for(Some("en-US"), None).get(Piece::Intro).unwrap(), kind);
    }
}

#[test]
fn wav_chunks_of_odd_size_may_lack_their_pad_byte() {
    assert_are_heard(&[
        "pad=there",
        "pad=none",
        "pad=there after=LIST",
        "pad=none after=LIST",
        "pad=none bits=8 count=8001 after=LIST",
        "pad=there bits=24 count=8001 after=LIST",
        "pad=there bits=32 valid=24",
    ]);
}

#[test]
fn damaged_wav_is_refused_with_its_fault() {
    let own = Own::new();
    let file = own.at("en-US/intro.wav");
    let not_wav = "is not a WAV file of PCM (8 to 32 bits), float (32 bits), A-law or µ-law: ";
    for (kind, fault) in [
        ("cut=10000", "is shorter than its header says"),
        ("cut=10000 pad=there", "is shorter than its header says"),
        ("cut=10000 pad=none", "is shorter than its header says"),
        ("cut=10000 bits=32 valid=24", "is shorter than its header says"),
        // More bytes than the file has, but not one of the sizes that a writer leaves if it cannot seek.
        ("data=0x01000000", "is shorter than its header says"),
        ("data=0x7ffeffff", "is shorter than its header says"),
        ("count=0", "is empty"),
        ("count=0 data=0xffffffff", "is empty"),
        ("count=0 after=LIST", "is empty"),
        ("count=0 after=LIST pad=none", "is empty"),
        ("cut=36", &format!("{not_wav}it has no samples (no data chunk)")),
        ("valid=25 bits=24 count=0 riff=0", &format!("{not_wav}it says that 25 of 24 bits are valid")),
        // The place of the 24 bits in the four bytes.
        ("bits=32 named_bits=24", &format!("{not_wav}its samples of 24 bits are in blocks of 4 bytes")),
        ("bits=16 block=3", &format!("{not_wav}its samples of 16 bits are in blocks of 3 bytes")),
        ("guid=0200000000001000800000aa00389b71", &format!("{not_wav}its encoding is not known")),
        ("guid=01000000000010008000000000000000", &format!("{not_wav}its encoding is not known")),
        ("data=0xffffffff count=960001", "is longer than 60 seconds"),
    ] {
        make_wav(&file, kind);
        let error = own.load().map(|_| ()).expect_err(kind);
        assert!(error.starts_with(&format!("en-US/intro.wav: {fault}")), "{kind}: {error}\nis not: {fault}");
    }
    std::fs::write(&file, b"RIFF\0\0\0\0AVI fmt \0\0\0\0").unwrap();
    let error = own.load().map(|_| ()).unwrap_err();
    assert!(error.starts_with(&format!("en-US/intro.wav: {not_wav}it does not begin with RIFF and WAVE")), "{error}");
}
