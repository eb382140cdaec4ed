//! The pieces of each language: their levels, lengths and sentences.

use phonegate::prompts::{ComposeError, Language, sentences};
use phonegate_approval::ivr::PAUSE;
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::script::{Piece, pieces, repeated_pieces};

use super::{Own, RATE, embedded, sox, tone};

/// The RMS of the 20 ms frames with speech in them, in dB of full scale.
fn speech_level(recording: &[i16]) -> f64 {
    let power = |frame: &[i16]| frame.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / frame.len() as f64;
    let powers: Vec<_> = recording.chunks_exact(160).map(power).collect();
    let loudest = powers.iter().copied().fold(0.0, f64::max);
    let speech: Vec<_> = powers.iter().filter(|power| **power > loudest / 316.0).collect();
    10.0 * (speech.iter().copied().sum::<f64>() / speech.len() as f64 / 32_768.0_f64.powi(2)).log10()
}

/// The level of a part of a recording as the ear takes it: the loudest 100 ms, in dB of full scale.
fn loudest(recording: &[i16]) -> f64 {
    let power = |window: &[i16]| window.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 800.0;
    let loudest = recording.windows(800).step_by(80).map(power).fold(0.0, f64::max);
    10.0 * (loudest / 32_768.0_f64.powi(2)).log10()
}

#[test]
fn every_language_says_every_piece() {
    let prompts = embedded();
    let tags: Vec<_> = prompts.languages().iter().map(Language::tag).collect();
    assert_eq!(tags, ["en-US", "en-GB", "de-DE", "fr-FR", "es-ES", "it-IT", "pt-BR", "nl-NL", "pl-PL"]);
    let sentences = sentences();
    assert_eq!(sentences.len(), tags.len());
    for language in prompts.languages() {
        let said: Vec<_> = sentences[language.tag()].iter().map(|(piece, _)| *piece).collect();
        assert_eq!(said, Piece::ALL, "{}", language.tag());
        for piece in Piece::ALL {
            let length = language.get(piece).unwrap().len();
            assert!(length > 800, "{}/{} is longer than 100 ms", language.tag(), piece.name());
            assert_eq!(language.custom_file(piece), None);
        }
        let length = |digit: &u8| language.get(Piece::Digit(*digit)).unwrap().len();
        let longest = (0..10).max_by_key(length).unwrap().to_string().repeat(3);
        for method in Method::ALL {
            let prompt = language.compose(pieces(method, 1, &longest)).unwrap();
            let seconds = prompt.samples() as f64 / RATE;
            assert!((10.0..30.0).contains(&seconds), "{} {}: {seconds} s", language.tag(), method.name());
        }
    }
}

/// The deadline is 90 s, and a phone rings for up to 20 s. The longest usual call: silence, then a wrong entry, then
/// silence, so that all repeats and all attempts are spoken.
#[test]
fn all_repeats_and_attempts_end_well_before_the_deadline() {
    const AVAILABLE: f64 = 70.0;
    /// The time to press an entry at the end of a prompt: a PIN and a code.
    const ENTRY: f64 = 5.0;
    for language in embedded().languages() {
        let length = |digit: &u8| language.get(Piece::Digit(*digit)).unwrap().len();
        let longest = (0..10).max_by_key(length).unwrap().to_string().repeat(3);
        for method in Method::ALL {
            let policy = Policy::default().with_method(method);
            let seconds = |pieces: Vec<Piece>| language.compose(pieces).unwrap().samples() as f64 / RATE;
            let attempt = |attempt| seconds(pieces(method, attempt, &longest).collect()) + PAUSE.as_secs_f64();
            let repeat = seconds(repeated_pieces(method, 1, &longest).collect()) + PAUSE.as_secs_f64();
            let repeats = f64::from(policy.repeats() - 1) * repeat;
            let all: f64 = (1..=policy.attempts()).map(attempt).sum::<f64>() + repeats + ENTRY;
            println!("{} {}: {all:.1} s", language.tag(), method.name());
            assert!(all < AVAILABLE, "{} {}: {all:.1} s", language.tag(), method.name());
        }
    }
}

#[test]
fn every_piece_is_as_loud_as_the_others_and_not_cut_off() {
    for language in embedded().languages() {
        let levels = Piece::ALL.map(|piece| {
            let (recording, name) = (language.get(piece).unwrap(), format!("{}/{}", language.tag(), piece.name()));
            let level = speech_level(&recording);
            assert!((-24.0..-20.5).contains(&level), "{name}: {level:.1} dB");
            let peak = recording.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            assert!(peak < 31_000, "{name}: {peak}");
            let ends = [&recording[..8], &recording[recording.len() - 8..]];
            assert!(ends.iter().all(|end| end.iter().all(|sample| sample.abs() < 1_000)), "{name} ends with a click");
            // What is trimmed begins and ends with speech, so that pauses are as long as the composition says.
            let edge = |part: &[i16]| part.iter().any(|sample| sample.abs() > 100);
            assert!(edge(&recording[..800]) && edge(&recording[recording.len() - 800..]), "{name} is trimmed");
            (piece, loudest(&recording))
        });
        let (digits, sentences): (Vec<_>, Vec<_>) = levels.iter().partition(|(piece, _)| piece.is_digit());
        let mean = |levels: &[&(Piece, f64)]| levels.iter().map(|(_, level)| level).sum::<f64>() / levels.len() as f64;
        let (digits, sentences): (Vec<_>, Vec<_>) = (digits.iter().collect(), sentences.iter().collect());
        let difference = mean(&digits) - mean(&sentences);
        assert!(difference.abs() < 2.5, "{}: digits differ from sentences by {difference:.1} dB", language.tag());
    }
}

#[test]
fn a_composition_reports_the_start_of_each_piece() {
    let language = embedded().language("en-US").unwrap();
    let pieces = [Piece::Intro, Piece::PressCode, Piece::Digit(4), Piece::Digit(7), Piece::ThenPound, Piece::NotYou];
    let pauses = [200, 400, 250, 250, 250, 400];
    let composition = language.compose(pieces).unwrap();
    let mut expected = Vec::new();
    let mut starts = Vec::new();
    for (piece, pause) in pieces.iter().zip(pauses) {
        expected.extend(vec![0; pause * 8]);
        starts.push(expected.len());
        expected.extend_from_slice(&language.get(*piece).unwrap());
    }
    assert_eq!((0..).map_while(|piece| composition.start(piece)).collect::<Vec<_>>(), starts);
    assert_eq!(composition.samples(), expected.len());
    assert!(composition.to_vec() == expected);
}

#[test]
fn debug_output_of_a_composition_shows_its_length_only() {
    let language = embedded().language("en-US").unwrap();
    let composition = language.compose(pieces(Method::Code, 1, "47")).unwrap();
    let shown = format!("{composition:?}");
    assert_eq!(shown, format!("Composition {{ samples: {}, .. }}", composition.samples()));
}

/// Ten minutes and no more samples: the pauses count, too.
#[test]
fn a_composition_is_no_longer_than_a_call() {
    let own = Own::new();
    let tone_of = |piece: Piece, seconds: &str| {
        let file = own.at(&format!("en-US/{}.wav", piece.name()));
        sox(&["-n", "-r", "8000"], &file, &["synth", seconds, "sine", "500"]);
    };
    tone_of(Piece::Intro, "60");
    // With ten pauses, 600 seconds in all.
    tone_of(Piece::NotYou, "56.2");
    let fits = |last: Piece| {
        let language = own.load().unwrap().language("en-US").unwrap();
        language.compose([Piece::Intro; 9].into_iter().chain([last])).map(|composition| composition.samples())
    };
    assert_eq!(fits(Piece::NotYou), Ok(600 * 8_000));
    tone_of(Piece::NotYou, "56.200125");
    assert_eq!(fits(Piece::NotYou), Err(ComposeError::TooLong));
}

/// The set of pieces that a language needs is the method's.
#[test]
fn a_new_language_needs_every_piece_of_the_method() {
    let own = Own::new();
    for piece in Piece::ALL.into_iter().filter(|piece| piece.is_spoken_with(Method::Pound)) {
        tone(&[], "500", &own.at(&format!("ja-JP/{}.wav", piece.name())));
    }
    let japanese = own.load_all(Method::Pound).unwrap().language("ja").unwrap();
    assert_eq!(japanese.compose(pieces(Method::Code, 1, "4")).unwrap_err(), ComposeError::Missing(Piece::PressCode));
    let lacks = "ja-JP: is a language that PhoneGate does not bring, and lacks ";
    let digits: String = (0..10).map(|digit| format!("digit_{digit}.wav, ")).collect();
    for (method, missing) in [
        (Method::Code, format!("press_code.wav, {digits}then_pound.wav")),
        (Method::Pin, "enter_pin.wav".to_owned()),
        (Method::PinAndCode, format!("{digits}then_pound.wav, enter_pin_then.wav")),
    ] {
        assert_eq!(own.load_all(method).unwrap_err(), [format!("{lacks}{missing}")], "{}", method.name());
    }
}

/// Its sentence would come before the one that says what to press.
#[test]
fn a_custom_greeting_is_refused_by_name() {
    let own = Own::new();
    for name in ["greeting.wav", "Greeting.WAV", "greeting.mp3"] {
        let file = own.at(&format!("de-DE/{name}"));
        tone(&["-t", "wav"], "500", &file);
        let (pound, code) = (own.load_all(Method::Pound).unwrap_err(), own.load_all(Method::Code).unwrap_err());
        let refused = format!("de-DE/{name}: ends in \"press pound\"; replace it by intro.wav, ");
        assert_eq!(pound, [format!("{refused}press_pound.wav, not_you.wav")]);
        assert!(code.len() == 1 && code[0].starts_with(&format!("{refused}press_code.wav, digit_0.wav")), "{code:?}");
        std::fs::remove_file(file).unwrap();
    }
    assert!(own.load().is_ok());
}

#[test]
fn custom_recordings_that_no_call_can_play_are_refused() {
    let own = Own::new();
    let minute = |piece: Piece| {
        sox(&["-n", "-r", "8000"], &own.at(&format!("de-DE/{}.wav", piece.name())), &["synth", "60", "sine", "500"]);
    };
    [Piece::PressCode, Piece::Digit(7), Piece::ThenPound].into_iter().for_each(minute);
    assert!(own.load_all(Method::Pound).is_ok());
    let too_long = ["de-DE: its prompt is longer than 600 seconds; shorten the recordings"];
    assert_eq!(own.load_all(Method::Code).unwrap_err(), too_long);
}
