//! What `phonegate prompts` promises.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Place, simulated};

const PROMPTS: [&str; 5] = ["greeting", "wrong_key", "verified", "fraud_reported", "goodbye"];

/// A configuration with this section, and a folder for own recordings beside it.
fn place(section: Value) -> Place {
    let mut config = simulated("#", 0);
    config["prompts"] = section;
    let place = Place::with(&config);
    std::fs::create_dir_all(place.path().join("own/de-DE")).unwrap();
    place
}

/// A WAV file of so many samples at this rate.
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
fn the_list_tells_languages_recordings_their_length_and_where_they_come_from() {
    let place = place(json!({ "language": "en-GB", "by_country": { "AT": "de" }, "directory": "own" }));
    let own = place.path().join("own/de-DE/greeting.wav");
    record(&own, 16_000, 40_000);
    let ran = place.run(&["prompts", "list", "--json"]).exits(0);
    let prompts: Vec<_> = ran.records().into_iter().filter(|record| record["event"] == "prompt").collect();
    assert_eq!(prompts.len(), 9 * 5);
    let find = |language: &str, prompt: &str| {
        prompts.iter().find(|record| record["language"] == language && record["prompt"] == prompt).unwrap().clone()
    };
    let greeting = json!({
        "event": "prompt", "language": "de-DE", "prompt": "greeting", "source": "own", "file": own, "seconds": 2.5
    });
    assert_eq!(find("de-DE", "greeting"), greeting);
    assert_eq!(find("de-DE", "goodbye")["source"], "embedded");
    assert!(find("pl-PL", "greeting")["seconds"].as_f64().unwrap() > 10.0);
    let summary = json!({ "event": "prompts", "language": "en-GB", "by_country": { "AT": "de-DE" } });
    assert_eq!(ran.record("prompts"), summary);

    let ran = place.run(&["prompts", "list"]).exits(0);
    let rows: Vec<Vec<_>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["de-DE", "greeting", "2.5", own.to_str().unwrap()]), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("The default is en-GB.\nNumbers of AT are spoken to in de-DE.\n"), "{}", ran.stdout);
}

#[test]
fn the_library_s_prompts_can_be_seen_and_heard_without_a_configuration() {
    let place = Place::empty();
    let ran = without_configuration(&place, &["prompts", "list"]).exits(0);
    assert!(ran.stdout.ends_with("The default is en-US.\n"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "warning: there is no configuration, so these are PhoneGate's prompts\n");
    without_configuration(&place, &["prompts", "play", "heard.wav"]).exits(0);
    // One that is named must be there, and only a check needs one.
    for arguments in [&["prompts", "list"][..], &["prompts", "play", "other.wav"]] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr.contains("phonegate.json: there is no such file"), "{}", ran.stderr);
    }
    without_configuration(&place, &["prompts", "check"]).exits(2);
}

#[test]
fn a_check_of_good_recordings_exits_with_0() {
    let place = place(json!({ "directory": "own" }));
    record(&place.path().join("own/de-DE/greeting.wav"), 44_100, 44_100);
    PROMPTS.iter().for_each(|prompt| record(&place.path().join(format!("own/ja-JP/{prompt}.wav")), 8_000, 8_000));
    let ran = place.run(&["prompts", "check"]).exits(0);
    assert!(ran.stdout.ends_with("All is well: 10 languages, 6 own recordings.\n"), "{}", ran.stdout);
    let checked = place.run(&["prompts", "check", "--json"]).exits(0).record("checked");
    let expected = json!({ "event": "checked", "ok": true, "config": place.config(), "languages": 10, "own": 6 });
    assert_eq!(checked, expected);
}

#[test]
fn a_check_tells_every_fault_and_exits_with_1() {
    let place = place(json!({ "language": "tlh", "directory": "own" }));
    record(&place.path().join("own/de-DE/greeting.wav"), 8_000, 8_000 * 61);
    std::fs::write(place.path().join("own/de-DE/goodbye.wav"), "not audio").unwrap();
    record(&place.path().join("own/sv-SE/greeting.wav"), 8_000, 8_000);
    let ran = place.run(&["prompts", "check"]).exits(1);
    let faults = [
        "own/de-DE/greeting.wav: is longer than 60 seconds",
        "own/de-DE/goodbye.wav: is not a WAV file of PCM (8 to 32 bits), float (32 bits), A-law or µ-law",
        "own/sv-SE: is a language that PhoneGate does not bring, and lacks wrong_key.wav, verified.wav",
        "prompts.language: there are no prompts in `tlh`",
    ];
    for fault in faults {
        assert!(ran.stdout.contains(fault), "{fault} in:\n{}", ran.stdout);
    }
    let ran = place.run(&["prompts", "check", "--json"]).exits(1);
    let told: Vec<_> = ran.records().into_iter().filter(|record| record["event"] == "fault").collect();
    assert_eq!(told.len(), faults.len());
    assert_eq!(ran.record("checked"), json!({ "event": "checked", "ok": false, "config": place.config() }));
    // The service would not start either, nor does what needs these prompts.
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
    assert_eq!(ran["prompts"], json!(PROMPTS));
    assert_eq!((&ran["file"], &ran["language"]), (&json!("all.wav"), &json!("de-DE")));
    assert_eq!(ran["seconds"], (all.len() / 8) as f64 / 1_000.0);
    assert!(all.ends_with(&own) && all[all.len() - 800 - 8_000..all.len() - 800].iter().all(|sample| *sample == 0));

    place.run(&["prompts", "play", "fr.wav", "--language", "fr-CA", "--prompt", "verified"]).exits(0);
    assert_eq!(samples(&place.path().join("fr.wav")), *library("fr-FR", phonegate::prompts::Prompt::Verified));
}

fn library(language: &str, prompt: phonegate::prompts::Prompt) -> phonegate::prompts::Recording {
    let config = phonegate::config::PromptsConfig::default();
    phonegate::prompts::Prompts::load(&config, Path::new("")).unwrap().language(language).unwrap().get(prompt)
}

/// `play` could be taken for playing the file that is named.
#[test]
fn a_recording_that_is_there_is_not_overwritten() {
    let place = place(json!({}));
    std::fs::write(place.path().join("mine.wav"), "mine").unwrap();
    let ran = place.run(&["prompts", "play", "mine.wav"]).exits(2);
    assert!(ran.stderr.contains("mine.wav is there already, and is not overwritten"), "{}", ran.stderr);
    assert_eq!(std::fs::read(place.path().join("mine.wav")).unwrap(), b"mine");
    let ran = place.run(&["prompts", "play", "no/such/folder/x.wav", "--json"]).exits(1);
    assert!(ran.record("error")["text"].as_str().unwrap().starts_with("cannot write no/such/folder/x.wav: "));
}

#[test]
fn the_sentences_of_a_language_are_printed_to_be_read_aloud() {
    let place = Place::empty();
    let ran = place.run(&["prompts", "say", "--language", "de"]).exits(0);
    assert!(ran.stdout.starts_with("de-DE greeting\n  Guten Tag. "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("Auf Wiederhören.\n"), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 2 * PROMPTS.len());
    let said = place.run(&["prompts", "say", "--json"]).exits(0).records();
    assert_eq!(said.len(), 9 * PROMPTS.len());
    for record in &said {
        assert!(record["event"] == "sentence" && record["text"].as_str().unwrap().len() > 20, "{record}");
    }
    let pressed = |key: &str, language: &str| {
        let greeting =
            said.iter().find(|record| record["language"] == language && record["prompt"] == "greeting").unwrap();
        assert!(greeting["text"].as_str().unwrap().contains(key), "{greeting}");
    };
    pressed("press the pound key", "en-US");
    pressed("press the hash key", "en-GB");
}

#[test]
fn an_unknown_language_or_prompt_exits_with_2_and_tells_those_there_are() {
    let place = place(json!({}));
    for arguments in [&["prompts", "say", "--language", "tlh"][..], &["prompts", "play", "x.wav", "--language", "tlh"]]
    {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr.contains("there are no prompts in `tlh`; there are en-US, en-GB, de-DE"), "{}", ran.stderr);
    }
    let ran = place.run(&["prompts", "play", "x.wav", "--prompt", "hello"]).exits(2);
    assert!(ran.stderr.contains("greeting, wrong_key, verified, fraud_reported, goodbye"), "{}", ran.stderr);
    assert!(!place.path().join("x.wav").exists());
}
