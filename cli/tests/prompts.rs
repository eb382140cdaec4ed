//! `phonegate prompts`.

mod support;

use std::path::Path;

use phonegate::config::ApprovalMethod;
use phonegate::prompts::{Prompts, Recording};
use phonegate_approval::script::Piece;
use serde_json::{Value, json};
use support::{Place, simulated};

const PIECES: [&str; 21] = [
    "intro",
    "press_code",
    "digit_0",
    "digit_1",
    "digit_2",
    "digit_3",
    "digit_4",
    "digit_5",
    "digit_6",
    "digit_7",
    "digit_8",
    "digit_9",
    "then_pound",
    "press_pound",
    "enter_pin",
    "enter_pin_then",
    "not_you",
    "wrong_key",
    "verified",
    "fraud_reported",
    "goodbye",
];

/// The pieces that every call needs by the method `pound`.
const NEEDED: [&str; 7] = ["intro", "press_pound", "not_you", "wrong_key", "verified", "fraud_reported", "goodbye"];

/// A configuration with this section and the method `pound`, and a folder for custom recordings.
fn place(section: Value) -> Place {
    let mut config = simulated(None, 0);
    config["approval"] = json!({ "method": "pound" });
    config["prompts"] = section;
    let place = Place::with(&config);
    std::fs::create_dir_all(place.path().join("own/de-DE")).unwrap();
    place
}

/// Writes a WAV file with this many samples at this rate.
fn record(file: &Path, rate: u32, samples: u32) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let spec =
        hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(file, spec).unwrap();
    for i in 0..samples {
        writer.write_sample(if i / 20 % 2 == 0 { 8_000_i16 } else { -8_000 }).unwrap();
    }
    writer.finalize().unwrap();
}

fn without_configuration(place: &Place, arguments: &[&str]) -> support::Ran {
    place.command(arguments).env_remove("PHONEGATE_CONFIG").output().unwrap().into()
}

#[test]
fn the_list_shows_recordings_their_length_and_source() {
    let place = place(json!({ "language": "en-GB", "by_country": { "AT": "de" }, "directory": "own" }));
    let own = place.path().join("own/de-DE/intro.wav");
    record(&own, 16_000, 40_000);
    let ran = place.run(&["prompts", "list", "--json"]).exits(0);
    let prompts: Vec<_> = ran.records().into_iter().filter(|record| record["event"] == "prompt").collect();
    assert_eq!(prompts.len(), 9 * PIECES.len());
    let find = |language: &str, prompt: &str| {
        prompts.iter().find(|record| record["language"] == language && record["prompt"] == prompt).unwrap().clone()
    };
    let intro = json!({
        "event": "prompt", "language": "de-DE", "prompt": "intro", "source": "own", "file": own, "seconds": 2.5
    });
    assert_eq!(find("de-DE", "intro"), intro);
    assert_eq!(find("de-DE", "goodbye")["source"], "embedded");
    assert!(find("pl-PL", "intro")["seconds"].as_f64().unwrap() > 4.0);
    let summary = json!({ "event": "prompts", "language": "en-GB", "by_country": { "AT": "de-DE" } });
    assert_eq!(ran.record("prompts"), summary);

    let ran = place.run(&["prompts", "list"]).exits(0);
    let rows: Vec<Vec<_>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["de-DE", "intro", "2.5", own.to_str().unwrap()]), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("The default is en-GB.\nCalls to numbers of AT are in de-DE.\n"), "{}", ran.stdout);
}

#[test]
fn own_prompts_are_listed_and_played_without_a_configuration() {
    let place = Place::empty();
    let ran = without_configuration(&place, &["prompts", "list"]).exits(0);
    assert!(ran.stdout.ends_with("The default is en-US.\n"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "warning: there is no configuration, so these are PhoneGate's own prompts\n");
    without_configuration(&place, &["prompts", "play", "heard.wav"]).exits(0);
    // A configuration that is named must exist, and only a check needs one.
    for arguments in [&["prompts", "list"][..], &["prompts", "play", "other.wav"]] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr.contains("phonegate.json: there is no such file"), "{}", ran.stderr);
    }
    without_configuration(&place, &["prompts", "check"]).exits(2);
}

#[test]
fn a_check_of_good_recordings_exits_with_0() {
    let place = place(json!({ "directory": "own" }));
    record(&place.path().join("own/de-DE/intro.wav"), 44_100, 44_100);
    NEEDED.iter().for_each(|piece| record(&place.path().join(format!("own/ja-JP/{piece}.wav")), 8_000, 8_000));
    let ran = place.run(&["prompts", "check"]).exits(0);
    assert!(ran.stdout.ends_with("No faults: 10 languages, 8 of the recordings are your own.\n"), "{}", ran.stdout);
    let checked = place.run(&["prompts", "check", "--json"]).exits(0).record("checked");
    let expected = json!({ "event": "checked", "ok": true, "config": place.config(), "languages": 10, "own": 8 });
    assert_eq!(checked, expected);
}

#[test]
fn a_check_reports_every_fault_and_exits_with_1() {
    let place = place(json!({ "language": "tlh", "directory": "own" }));
    record(&place.path().join("own/de-DE/intro.wav"), 8_000, 8_000 * 61);
    std::fs::write(place.path().join("own/de-DE/goodbye.wav"), "not audio").unwrap();
    record(&place.path().join("own/sv-SE/intro.wav"), 8_000, 8_000);
    record(&place.path().join("own/fr-FR/greeting.wav"), 8_000, 8_000);
    let ran = place.run(&["prompts", "check"]).exits(1);
    let faults = [
        "own/de-DE/intro.wav: is longer than 60 seconds",
        "own/de-DE/goodbye.wav: is not a WAV file of PCM (8 to 32 bits), float (32 bits), A-law or µ-law",
        "own/fr-FR/greeting.wav: ends in \"press pound\"; replace it by intro.wav, press_pound.wav, not_you.wav",
        "own/sv-SE: is a language that PhoneGate does not bring, and lacks press_pound.wav, not_you.wav, wrong_key.wav, \
         verified.wav, fraud_reported.wav, goodbye.wav",
        "prompts.language: there are no prompts in `tlh`",
    ];
    for fault in faults {
        assert!(ran.stdout.contains(fault), "{fault} in:\n{}", ran.stdout);
    }
    let ran = place.run(&["prompts", "check", "--json"]).exits(1);
    let found: Vec<_> = ran.records().into_iter().filter(|record| record["event"] == "fault").collect();
    assert_eq!(found.len(), faults.len());
    assert_eq!(ran.record("checked"), json!({ "event": "checked", "ok": false, "config": place.config() }));
    // The service would not start either, and commands that need these prompts fail.
    for arguments in [&["check"][..], &["prompts", "list"], &["prompts", "play", "heard.wav"]] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr.contains("phonegate.json: prompts."), "{}", ran.stderr);
    }
}

fn samples(file: &Path) -> Vec<i16> {
    let reader = hound::WavReader::open(file).unwrap();
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (1, 8_000, 16));
    reader.into_samples().map(Result::unwrap).collect()
}

#[test]
fn what_is_played_is_what_a_user_hears() {
    let place = place(json!({ "language": "de-DE", "directory": "own" }));
    record(&place.path().join("own/de-DE/goodbye.wav"), 8_000, 800);
    let ran = place.run(&["prompts", "play", "goodbye.wav", "--prompt", "goodbye"]).exits(0);
    assert_eq!(ran.stdout, "goodbye.wav: goodbye in de-DE, 0.1 seconds.\n");
    let own = samples(&place.path().join("own/de-DE/goodbye.wav"));
    assert_eq!(samples(&place.path().join("goodbye.wav")), own);

    let ran = place.run(&["prompts", "play", "all.wav", "--json"]).exits(0).record("written");
    let all = samples(&place.path().join("all.wav"));
    assert_eq!(ran["prompts"], json!(PIECES));
    assert_eq!(ran["method"], Value::Null);
    assert_eq!((&ran["file"], &ran["language"]), (&json!("all.wav"), &json!("de-DE")));
    assert_eq!(ran["seconds"], (all.len() / 8) as f64 / 1_000.0);
    assert!(all.ends_with(&own) && all[all.len() - 800 - 8_000..all.len() - 800].iter().all(|sample| *sample == 0));

    place.run(&["prompts", "play", "fr.wav", "--language", "fr-CA", "--prompt", "verified"]).exits(0);
    assert_eq!(samples(&place.path().join("fr.wav")), *library("fr-FR", Piece::Verified));
}

fn library(language: &str, piece: Piece) -> Recording {
    let config = phonegate::config::PromptsConfig::default();
    let prompts = Prompts::load(&config, ApprovalMethod::default().into(), Path::new("")).unwrap();
    prompts.language(language).unwrap().get(piece).unwrap()
}

/// The pauses are 200 ms at the start, 250 ms at a digit, and 400 ms between sentences.
#[test]
fn play_writes_what_a_user_hears_for_a_code() {
    let place = place(json!({}));
    let play = |file: &str, arguments: &[&str]| {
        let arguments = [&["prompts", "play", file, "--language", "fr", "--json"], arguments].concat();
        let record = place.run(&arguments).exits(0).record("written");
        (record["method"].clone(), record["prompts"].clone(), samples(&place.path().join(file)))
    };
    let silence = |milliseconds: usize| vec![0_i16; milliseconds * 8];
    let piece = |piece: Piece| library("fr-FR", piece).to_vec();
    let code = [Piece::Digit(4), Piece::Digit(7)];
    let joined = |pieces: &[Piece]| pieces.iter().map(|said| piece(*said)).collect::<Vec<_>>().join(&silence(250)[..]);
    let request = joined(&[&[Piece::PressCode][..], &code, &[Piece::ThenPound]].concat());
    let again = joined(&[&code[..], &[Piece::NotYou]].concat());
    let whole = [piece(Piece::Intro), request, again].join(silence(400).as_slice());
    let names = "intro press_code digit_4 digit_7 then_pound digit_4 digit_7 not_you";
    let names: Vec<_> = names.split(' ').collect();
    let heard = play("code.wav", &["--code", "47"]);
    assert_eq!((&heard.0, &heard.1), (&json!("code"), &json!(names)));
    assert!(heard.2 == [silence(200), whole].concat(), "the recordings and the pauses are those of the composition");
    assert!(play("same.wav", &["--code", "47", "--method", "code"]) == heard);

    let whole = [Piece::Intro, Piece::PressPound, Piece::NotYou].map(piece).join(silence(400).as_slice());
    let heard = play("pound.wav", &["--method", "pound"]);
    assert_eq!((heard.0, heard.1), (json!("pound"), json!(["intro", "press_pound", "not_you"])));
    assert!(heard.2 == [silence(200), whole].concat());
    assert_eq!(play("pin.wav", &["--method", "pin"]).1, json!(["intro", "enter_pin", "not_you"]));
    let both = play("both.wav", &["--method", "pin_and_code", "--code", "5"]).1;
    let names = "intro enter_pin_then digit_5 then_pound digit_5 not_you";
    assert_eq!(both, json!(names.split(' ').collect::<Vec<_>>()));
}

#[test]
fn play_refuses_a_code_that_does_not_fit_and_says_why() {
    let place = place(json!({ "directory": "own" }));
    NEEDED.iter().for_each(|piece| record(&place.path().join(format!("own/sv-SE/{piece}.wav")), 8_000, 8_000));
    for (arguments, advice) in [
        (&["--code", "12345"][..], "a code has 1 to 4 digits"),
        (&["--code", "4x"], "a code has 1 to 4 digits"),
        (&["--code", ""], "a code has 1 to 4 digits"),
        (&["--method", "code"], "add one: --code 471"),
        (&["--method", "pound", "--code", "471"], "the prompt of the method pound says no code"),
        (&["--prompt", "intro", "--code", "471"], "cannot be used with"),
        (&["--language", "sv", "--code", "471"], "the language sv-SE has no recording of press_code"),
        (&["--language", "sv", "--prompt", "digit_4"], "the language sv-SE has no recording of digit_4"),
    ] {
        let ran = place.run(&[&["prompts", "play", "x.wav"], arguments].concat()).exits(2);
        assert!(ran.stderr.contains(advice), "{arguments:?}: {}", ran.stderr);
        assert!(!place.path().join("x.wav").exists(), "{arguments:?}");
    }
    let written = place.run(&["prompts", "play", "all.wav", "--language", "sv", "--json"]).exits(0).record("written");
    assert_eq!(written["prompts"].as_array().unwrap().len(), NEEDED.len());
}

/// A user may expect `play` to play the named file.
#[test]
fn an_existing_recording_is_not_overwritten() {
    let place = place(json!({}));
    std::fs::write(place.path().join("mine.wav"), "mine").unwrap();
    let ran = place.run(&["prompts", "play", "mine.wav"]).exits(2);
    assert!(ran.stderr.contains("mine.wav exists already, and is not overwritten"), "{}", ran.stderr);
    assert_eq!(std::fs::read(place.path().join("mine.wav")).unwrap(), b"mine");
    let ran = place.run(&["prompts", "play", "no/such/folder/x.wav", "--json"]).exits(1);
    assert!(ran.record("error")["text"].as_str().unwrap().starts_with("cannot write no/such/folder/x.wav: "));
}

#[test]
fn the_sentences_of_a_language_are_printed_to_be_read_aloud() {
    let place = Place::empty();
    let ran = place.run(&["prompts", "say", "--language", "de"]).exits(0);
    assert!(ran.stdout.starts_with("de-DE intro\n  Guten Tag. "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("Auf Wiederhören.\n"), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 2 * PIECES.len());
    let said = place.run(&["prompts", "say", "--json"]).exits(0).records();
    assert_eq!(said.len(), 9 * PIECES.len());
    for record in &said {
        let is_digit = record["prompt"].as_str().unwrap().starts_with("digit_");
        let words = record["text"].as_str().unwrap().split_whitespace().count();
        assert!(record["event"] == "sentence" && (words == 1) == is_digit, "{record}");
    }
    let pressed = |key: &str, language: &str| {
        let sentence =
            said.iter().find(|record| record["language"] == language && record["prompt"] == "press_pound").unwrap();
        assert!(sentence["text"].as_str().unwrap().contains(key), "{sentence}");
    };
    pressed("press the pound key", "en-US");
    pressed("press the hash key", "en-GB");
}

#[test]
fn an_unknown_language_or_prompt_exits_with_2_and_a_list() {
    let place = place(json!({}));
    for arguments in [&["prompts", "say", "--language", "tlh"][..], &["prompts", "play", "x.wav", "--language", "tlh"]]
    {
        let ran = place.run(arguments).exits(2);
        assert!(
            ran.stderr
                .contains("there are no prompts in the language `tlh`\nhint: the languages are en-US, en-GB, de-DE"),
            "{}",
            ran.stderr
        );
    }
    let ran = place.run(&["prompts", "play", "x.wav", "--prompt", "hello"]).exits(2);
    assert!(ran.stderr.contains("not_you, wrong_key, verified, fraud_reported, goodbye"), "{}", ran.stderr);
    assert!(!place.path().join("x.wav").exists());
}
