//! The recordings of the library, an administrator's custom ones, and the choice of the language.

#[path = "prompts/pieces.rs"]
mod pieces;
mod support;
#[path = "prompts/wav_headers.rs"]
mod wav_headers;

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};
use std::process::Command;

use phonegate::config::PromptsConfig;
use phonegate::prompts::{Language, Prompts, Recording, SAMPLE_RATE};
use phonegate_approval::policy::Method;
use phonegate_approval::script::Piece;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::gate::TestGate;
use tempfile::TempDir;

const RATE: f64 = SAMPLE_RATE as f64;

fn config(section: Value) -> PromptsConfig {
    serde_json::from_value(section).unwrap()
}

fn embedded() -> Prompts {
    Prompts::load(&PromptsConfig::default(), Method::Code, Path::new("")).unwrap()
}

/// A folder of custom recordings.
struct Own(TempDir);

impl Own {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The path of a file, in a folder that exists.
    fn at(&self, path: &str) -> PathBuf {
        let path = self.0.path().join("own").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn load(&self) -> Result<Prompts, String> {
        self.load_all(Method::Pound).map_err(|faults| faults.into_iter().next().unwrap())
    }

    /// The recordings, or each fault without its common beginning.
    fn load_all(&self, method: Method) -> Result<Prompts, Vec<String>> {
        let beginning = format!("prompts.directory: {}/", self.at("").display().to_string().trim_end_matches('/'));
        Prompts::load_all(&config(json!({ "directory": "own" })), method, self.0.path())
            .map_err(|faults| faults.iter().map(|fault| fault.to_string().replace(&beginning, "")).collect())
    }
}

/// Runs sox, which writes WAV files independently of the code that reads them.
fn sox(arguments: &[&str], file: &Path, effects: &[&str]) {
    let ran = Command::new("sox").arg("-D").args(arguments).arg(file).args(effects).output();
    let ran = ran.expect("this test needs sox: apt-get install sox");
    assert!(ran.status.success(), "sox {arguments:?} {effects:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Half a second of a tone, at -6 dB of full scale.
fn tone(format: &[&str], hertz: &str, file: &Path) {
    sox(&[&["-n"], format].concat(), file, &["synth", "0.5", "sine", hertz, "gain", "-6"]);
}

/// The amplitude of one frequency in the middle of a recording.
fn amplitude(recording: &Recording, hertz: f64) -> f64 {
    let middle = &recording[recording.len() / 4..recording.len() * 3 / 4];
    let (mut re, mut im) = (0.0, 0.0);
    for (i, sample) in middle.iter().enumerate() {
        let angle = TAU * hertz * i as f64 / RATE;
        re += f64::from(*sample) * angle.cos();
        im += f64::from(*sample) * angle.sin();
    }
    2.0 * re.hypot(im) / middle.len() as f64 / 32_768.0
}

fn make_check(folder: &Path) -> (bool, String) {
    let ran = Command::new("python3").arg(folder.join("make")).arg("--check").output();
    let ran = ran.expect("this test needs Python: apt-get install python3");
    (ran.status.success(), String::from_utf8(ran.stderr).unwrap())
}

#[test]
fn every_recording_was_made_from_its_sentence() {
    let folder = support::project_folder().join("prompts");
    assert_eq!(make_check(&folder), (true, String::new()));

    // The check would report a difference.
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(&folder).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let folder = copy.path().join("prompts");
    let texts = std::fs::read_to_string(folder.join("prompts.json")).unwrap();
    std::fs::write(folder.join("prompts.json"), texts.replace("Vielen Dank. Die Anfrage ist b", "Danke. Sie ist b"))
        .unwrap();
    std::fs::copy(folder.join("en-US/goodbye.wav"), folder.join("fr-FR/goodbye.wav")).unwrap();
    std::fs::remove_file(folder.join("it-IT/intro.wav")).unwrap();
    std::fs::create_dir(folder.join("xx-XX")).unwrap();
    std::fs::write(folder.join("xx-XX/intro.wav"), "").unwrap();
    let (good, error) = make_check(&folder);
    let named: Vec<_> = error.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(!good);
    assert_eq!(named, ["de-DE/verified.wav", "fr-FR/goodbye.wav", "it-IT/intro.wav", "xx-XX/intro.wav"]);
}

#[test]
fn common_wav_files_keep_their_speed_and_loudness() {
    let encodings = [
        "-b 8 -e unsigned",
        "-b 16 -e signed",
        "-b 24 -e signed",
        "-b 32 -e signed",
        "-b 32 -e float",
        "-e mu-law",
        "-e a-law",
    ];
    let rates = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000];
    let of_encodings = encodings.iter().flat_map(|encoding| [1, 2].map(|channels| (*encoding, channels, 16_000)));
    let of_rates = rates.map(|rate| ("-b 16 -e signed", 1, rate));
    let kinds = of_encodings.chain(of_rates);
    let own = Own::new();
    let file = own.at("en-US/intro.wav");
    for (encoding, channels, rate) in kinds {
        let kind = format!("{encoding} -c {channels} -r {rate}");
        tone(&kind.split(' ').collect::<Vec<_>>(), "1000", &file);
        let recording = own.load().unwrap().language_for(Some("en-US"), None).get(Piece::Intro).unwrap();
        let seconds = recording.len() as f64 / RATE;
        assert!((0.499..=0.501).contains(&seconds), "{kind}: {seconds} s");
        let heard = amplitude(&recording, 1000.0);
        assert!((0.49..0.51).contains(&heard), "{kind}: {heard}");
    }
}

#[test]
fn frequencies_above_the_telephones_band_are_filtered() {
    let own = Own::new();
    let file = own.at("en-US/intro.wav");
    for (hertz, heard_at, at_least, at_most) in [
        ("300", 300.0, 0.48, 0.52),
        ("3400", 3400.0, 0.48, 0.52),
        ("5000", 3000.0, 0.0, 0.001),
        ("7000", 1000.0, 0.0, 0.001),
        ("12000", 4000.0, 0.0, 0.001),
    ] {
        tone(&["-r", "44100", "-b", "16"], hertz, &file);
        let prompts = own.load();
        let Ok(prompts) = prompts else {
            assert!(at_least == 0.0, "{hertz}: {prompts:?}");
            continue;
        };
        let heard = amplitude(&prompts.language_for(None, None).get(Piece::Intro).unwrap(), heard_at);
        assert!((at_least..=at_most).contains(&heard), "{hertz}: {heard}");
    }
}

#[test]
fn a_bad_recording_is_refused_with_its_file_and_problem() {
    let own = Own::new();
    let file = own.at("de-DE/verified.wav");
    let good = |seconds: &str| {
        sox(&["-n", "-r", "8000", "-b", "16"], &file, &["synth", seconds, "sine", "500"]);
        std::fs::read(&file).unwrap()
    };
    let bytes = good("1");
    let refused = |fault: &str| {
        let error = own.load().unwrap_err();
        assert!(error.starts_with(&format!("de-DE/verified.wav: {fault}")), "{error}\nis not: {fault}");
    };
    let not_wav = "is not a WAV file of PCM (8 to 32 bits), float (32 bits), A-law or µ-law: ";
    std::fs::write(&file, "").unwrap();
    refused("is empty");
    std::fs::write(&file, &b"ID3, as MP3 files begin"[..]).unwrap();
    refused(not_wav);
    std::fs::write(&file, &bytes[..20]).unwrap();
    refused("is shorter than its header says");
    std::fs::write(&file, &bytes[..10_000]).unwrap();
    refused("is shorter than its header says");
    sox(&["-n", "-r", "8000"], &file, &["trim", "0", "0"]);
    refused("is empty");
    good("60.1");
    refused("is longer than 60 seconds");
    good("60");
    assert!(own.load().is_ok());
    sox(&["-n", "-r", "8000", "-b", "16"], &file, &["trim", "0", "1"]);
    refused("is silent");
    // Recorders describe themselves in a chunk, whose length may be odd.
    std::fs::write(&file, [&bytes[..12], b"bext\x03\0\0\0abc\0", &bytes[12..]].concat()).unwrap();
    assert!(own.load().is_ok());
    tone(&["-r", "8000", "-c", "3"], "500", &file);
    refused("has 3 channels");
    tone(&["-r", "4000"], "500", &file);
    refused("has 4000 samples a second");
    tone(&["-e", "ms-adpcm"], "500", &file);
    refused(not_wav);
    tone(&["-r", "8000", "-b", "32", "-e", "float"], "500", &file);
    let mut floats = std::fs::read(&file).unwrap();
    let end = floats.len();
    floats[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&file, floats).unwrap();
    refused("has samples that are no numbers");
    std::fs::write(&file, vec![0; 24_000_001]).unwrap();
    refused("is longer than 24000000 bytes");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    refused("is not a regular file");
}

#[test]
fn a_custom_recording_replaces_the_librarys_or_adds_a_language() {
    let own = Own::new();
    tone(&["-r", "16000"], "700", &own.at("de_de/Intro.WAV"));
    std::fs::write(own.at("de_de/README.txt"), "who spoke it").unwrap();
    std::fs::write(own.at("LICENCE.txt"), "of the recordings").unwrap();
    for piece in Piece::ALL.into_iter().filter(|piece| piece.is_spoken_with(Method::Pound)) {
        tone(&["-r", "16000"], "900", &own.at(&format!("ja-JP/{}.wav", piece.name())));
    }
    let prompts = own.load().unwrap();
    let german = prompts.language_for(Some("de-DE"), None);
    assert!(amplitude(&german.get(Piece::Intro).unwrap(), 700.0) > 0.4);
    assert_eq!(german.custom_file(Piece::Intro), Some(&*own.at("de_de/Intro.WAV")));
    let original = embedded().language_for(Some("de-DE"), None);
    let samples = |language: &Language, piece| language.get(piece).unwrap().to_vec();
    assert_eq!(samples(&german, Piece::Goodbye), samples(&original, Piece::Goodbye));
    assert_ne!(samples(&german, Piece::Intro), samples(&original, Piece::Intro));
    let japanese = prompts.language_for(Some("ja"), None);
    assert_eq!(japanese.tag(), "ja-JP");
    assert!(amplitude(&japanese.get(Piece::Goodbye).unwrap(), 900.0) > 0.4);
    let tags: Vec<_> = prompts.languages().iter().map(Language::tag).collect();
    assert_eq!(tags.len(), embedded().languages().len() + 1, "{tags:?}");
}

#[test]
fn every_fault_of_a_folder_is_reported_at_once() {
    let own = Own::new();
    tone(&["-r", "8000"], "500", &own.at("ja-JP/intro.wav"));
    tone(&["-r", "8000"], "500", &own.at("fr-FR/greting.wav"));
    std::fs::write(own.at("fr-FR/goodbye.mp3"), "x").unwrap();
    std::fs::write(own.at("fr-FR/verified.wav"), "x").unwrap();
    std::fs::write(own.at("old recordings/x"), "x").unwrap();
    std::fs::create_dir_all(own.at(".git/x")).unwrap();
    tone(&["-r", "8000"], "500", &own.at("it-IT/intro.wav"));
    tone(&["-r", "8000"], "500", &own.at("it-it/intro.wav"));
    let faults = own.load_all(Method::Pound).unwrap_err();
    for fault in [
        "fr-FR/goodbye.mp3: is not a WAV file by its name",
        "fr-FR/greting.wav: is not the name of a prompt; the names are intro, press_code, digit_0, digit_1, ",
        "fr-FR/verified.wav: is not a WAV file",
        "it-it: has the same language as another folder",
        "ja-JP: is a language that PhoneGate does not bring, and lacks press_pound.wav, not_you.wav, wrong_key.wav, \
         verified.wav, fraud_reported.wav, goodbye.wav",
        "old recordings: its name is not a language tag such as en-US",
    ] {
        assert!(faults.iter().any(|error| error.starts_with(fault)), "{fault}\nis not in {faults:#?}");
    }
    assert_eq!(faults.len(), 6, "{faults:#?}");
    let nowhere =
        Prompts::load(&config(json!({ "directory": "nowhere" })), Method::Pound, own.0.path()).unwrap_err().to_string();
    assert!(nowhere.contains("/nowhere: No such file or directory"), "{nowhere}");
}

#[test]
fn the_language_is_the_hosts_else_the_countrys_else_the_default() {
    let section =
        json!({ "language": "en-GB", "by_country": { "AT": "de", "US": "en-US", "CH": "fr-FR", "BR": "pt-br" } });
    let prompts = Prompts::load(&config(section), Method::Pound, Path::new("")).unwrap();
    for (asked, country, expected) in [
        (Some("it-IT"), Some("AT"), "it-IT"),
        (Some("IT-it"), Some("AT"), "it-IT"),
        (Some("it_IT"), None, "it-IT"),
        (Some("de"), None, "de-DE"),
        (Some("de-AT"), Some("CH"), "de-DE"),
        (Some("de-Latn-AT-1996"), None, "de-DE"),
        (Some("en-US"), None, "en-US"),
        // The language of another country: first that of the number's country, then that of the default.
        (Some("en-AU"), Some("US"), "en-US"),
        (Some("en-AU"), Some("AT"), "en-GB"),
        (Some("en"), None, "en-GB"),
        (None, Some("AT"), "de-DE"),
        (None, Some("BR"), "pt-BR"),
        (Some("ja-JP"), Some("AT"), "de-DE"),
        (Some("ja-JP"), Some("FR"), "en-GB"),
        (Some(""), None, "en-GB"),
        (Some("-"), None, "en-GB"),
        (Some("d"), None, "en-GB"),
        (Some("deutsch"), None, "en-GB"),
        (None, None, "en-GB"),
    ] {
        assert_eq!(prompts.language_for(asked, country).tag(), expected, "{asked:?} {country:?}");
    }
    assert_eq!(embedded().language_for(Some("en-AU"), None).tag(), "en-US");
}

proptest! {
    /// A file may contain anything: a damaged header, or wrong lengths and counts.
    #[test]
    fn no_file_makes_the_reader_panic(
        changes in prop::collection::vec((0_usize..120, any::<u8>()), 1..8), length in 0_usize..1_000, kind in 0_usize..6
    ) {
        let own = Own::new();
        let file = own.at("en-US/intro.wav");
        let mut bytes = GOOD_FILES.with(|files| files[kind].clone());
        bytes.truncate(bytes.len().min(length));
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        std::fs::write(&file, bytes).unwrap();
        if let Ok(prompts) = own.load() {
            let samples = prompts.language_for(None, None).get(Piece::Intro).unwrap().len();
            prop_assert!(samples <= 60 * SAMPLE_RATE as usize);
        }
    }
}

thread_local! {
    static GOOD_FILES: Vec<Vec<u8>> = {
        let file = tempfile::Builder::new().suffix(".wav").tempfile().unwrap();
        let of_sox = ["-b 16", "-b 24 -c 2", "-b 32 -e float", "-e mu-law"].map(|kind| {
            let format: Vec<_> = kind.split(' ').chain(["-r", "16000"]).collect();
            sox(&[&["-n"], format.as_slice()].concat(), file.path(), &["synth", "0.01", "sine", "500"]);
            std::fs::read(file.path()).unwrap()
        });
        let of_python = ["count=160 riff=0 data=0xffffffff", "count=160 bits=32 valid=24 pad=none"].map(|kind| {
            wav_headers::make_wav(file.path(), kind);
            std::fs::read(file.path()).unwrap()
        });
        of_sox.into_iter().chain(of_python).collect()
    };
}

/// The warnings of a gate with a trunk whose fraud key is 9.
fn warned_of_zero(prompts: Value) -> Vec<String> {
    let gate = TestGate::start(json!({
        "use": ["trunk"],
        "backends": { "trunk": { "type": "sip", "trunk": "sip:127.0.0.1:5060" } },
        "fraud": { "key": "9" },
        "prompts": prompts,
    }));
    let texts = gate.end().into_iter().filter(|line| line["event"] == "configuration");
    let texts = texts.map(|line| line["text"].as_str().unwrap().to_owned());
    texts.filter(|text| text.starts_with("fraud.key")).collect()
}

#[test]
fn another_fraud_key_is_warned_about_while_users_hear_zero() {
    let warned = warned_of_zero(json!({}));
    assert!(warned.len() == 1 && warned[0].starts_with("fraud.key: PhoneGate's own prompts say zero"), "{warned:?}");

    let own = Own::new();
    let languages: Vec<_> = embedded().languages().iter().map(|language| language.tag().to_owned()).collect();
    for language in &languages[1..] {
        tone(&[], "440", &own.at(&format!("{language}/not_you.wav")));
    }
    let warned = warned_of_zero(json!({ "directory": own.at("") }));
    assert!(warned.len() == 1 && warned[0].ends_with("users hear zero and not 9 in en-US"), "{warned:?}");
    tone(&[], "440", &own.at("en-US/not_you.wav"));
    assert_eq!(warned_of_zero(json!({ "directory": own.at("") })), Vec::<String>::new());
}
