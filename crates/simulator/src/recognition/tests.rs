use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use audio_codec_algorithms::decode_ulaw;
use fastrand::Rng;
use phonegate_approval::policy::Method;
use phonegate_approval::script::{pieces, repeated_pieces};

use super::*;

type Language = Vec<(Piece, Arc<[i16]>)>;

/// Silence in PCMU.
const SILENCE: u8 = 0xff;

/// Samples of a packet.
const PACKET: usize = 160;

/// The recordings of PhoneGate, by language.
static LANGUAGES: LazyLock<Vec<(String, Language)>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../prompts");
    let mut folders: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    let read = |folder: &PathBuf, piece: Piece| {
        let file = fs::read(folder.join(piece.name()).with_extension("wav")).unwrap();
        let data = file.windows(4).position(|chunk| chunk == b"data").unwrap();
        let length = u32::from_le_bytes(file[data + 4..data + 8].try_into().unwrap()) as usize;
        file[data + 8..data + 8 + length].iter().map(|sample| decode_ulaw(*sample)).collect()
    };
    let language = |folder: &PathBuf| Piece::ALL.map(|piece| (piece, read(folder, piece))).to_vec();
    folders
        .iter()
        .map(|folder| (folder.file_name().unwrap().to_string_lossy().into_owned(), language(folder)))
        .collect()
});

static RECORDINGS: LazyLock<Arc<Recordings>> =
    LazyLock::new(|| Arc::new(Recordings::new(LANGUAGES.iter().map(|(_, language)| language.clone()))));

/// Joins pieces with PhoneGate's pauses, as PCMU, after this silence.
fn speech(language: &Language, pieces: impl Iterator<Item = Piece>, before: usize) -> Vec<u8> {
    let mut audio = vec![SILENCE; before];
    let mut last: Option<Piece> = None;
    for piece in pieces {
        let pause = match last {
            None => 200,
            Some(Piece::ThenPound) => 400,
            Some(last) if last.is_digit() || piece.is_digit() => 250,
            Some(_) => 400,
        };
        audio.resize(audio.len() + pause * 8, SILENCE);
        let recording = language.iter().find(|(known, _)| *known == piece).unwrap();
        audio.extend(recording.1.iter().map(|sample| encode_ulaw(*sample)));
        last = Some(piece);
    }
    audio.resize(audio.len() + PACKET, SILENCE);
    audio
}

/// Hears audio in packets, and returns what was understood.
fn understood(audio: &[u8]) -> Vec<String> {
    let mut recognizer = Recognizer::new(Arc::clone(&RECORDINGS));
    audio.chunks(PACKET).filter_map(|packet| recognizer.hear(packet)).map(|heard| sentence(&heard)).collect()
}

/// Replaces packets by silence, each with this probability.
fn lose(audio: &mut [u8], random: &mut Rng, probability: f32) {
    for packet in audio.chunks_mut(PACKET) {
        if random.f32() < probability {
            packet.fill(SILENCE);
        }
    }
}

fn code(random: &mut Rng) -> String {
    let mut digits: Vec<char> = "0123456789".chars().collect();
    random.shuffle(&mut digits);
    digits[..random.usize(1..=6)].iter().collect()
}

#[test]
fn every_code_is_understood_in_every_language() {
    assert_eq!(LANGUAGES.len(), 9);
    let mut random = Rng::with_seed(1);
    for (tag, language) in LANGUAGES.iter() {
        for n in 0..6 {
            let code = code(&mut random);
            let method = if n % 2 == 0 { Method::Code } else { Method::PinAndCode };
            let heard = if n % 2 == 0 { Heard::Code(code.clone()) } else { Heard::PinAndCode(code.clone()) };
            let said = match n % 3 {
                0 => pieces(method, 1, &code).collect::<Vec<_>>(),
                1 => pieces(method, 2, &code).collect(),
                _ => repeated_pieces(method, 1, &code).collect(),
            };
            let audio = speech(language, said.into_iter(), random.usize(0..5_000));
            assert_eq!(understood(&audio), [sentence(&heard)], "{tag} {code}");
        }
    }
}

#[test]
fn prompts_without_a_code_are_understood() {
    for (tag, language) in LANGUAGES.iter() {
        for (method, heard) in [(Method::Pound, Heard::Pound), (Method::Pin, Heard::Pin)] {
            for before in [0, 77] {
                let audio = speech(language, pieces(method, 1, ""), before);
                assert_eq!(understood(&audio), [sentence(&heard)], "{tag} {}", method.name());
            }
        }
    }
}

/// A digit that was lost makes no shorter code: what is understood is right, or nothing.
#[test]
fn lost_packets_make_no_wrong_code() {
    let mut random = Rng::with_seed(2);
    for (probability, is_understood) in [(0.1, true), (0.3, false), (0.6, false)] {
        let mut all = 0;
        let mut right = 0;
        for (tag, language) in LANGUAGES.iter() {
            for _ in 0..3 {
                let code = code(&mut random);
                let mut audio = speech(language, pieces(Method::Code, 1, &code), random.usize(0..PACKET));
                lose(&mut audio, &mut random, probability);
                let heard = understood(&audio);
                let expected = sentence(&Heard::Code(code.clone()));
                assert!(heard.is_empty() || heard == [expected], "{tag} {code}: {heard:?}");
                all += 1;
                right += heard.len();
            }
        }
        assert!(right == all || !is_understood, "{right} of {all} with {probability}");
    }
}

/// The second time, the code is said without "press".
#[test]
fn a_code_is_understood_when_it_is_said_again() {
    let (_, language) = &LANGUAGES[0];
    let said: Vec<_> = pieces(Method::Code, 1, "471").collect();
    let first = speech(language, said.iter().take(3).copied(), 0).len() - PACKET;
    let begin = speech(language, said.iter().take(2).copied(), 0).len() - PACKET;
    let mut audio = speech(language, said.into_iter(), 0);
    audio[begin..first].fill(SILENCE);
    assert_eq!(understood(&audio), ["The prompt asks for 4, 7, 1, then #."]);
}

#[test]
fn each_new_code_of_a_call_is_understood() {
    let (_, language) = &LANGUAGES[0];
    let mut audio = speech(language, pieces(Method::Code, 1, "471"), 0);
    audio.extend(speech(language, pieces(Method::Code, 2, "952"), 24_000));
    let expected = ["The prompt asks for 4, 7, 1, then #.", "The prompt asks for 9, 5, 2, then #."];
    assert_eq!(understood(&audio), expected);
}

#[test]
fn the_same_request_is_understood_again_after_a_wrong_entry() {
    let (_, language) = &LANGUAGES[0];
    let mut audio = speech(language, pieces(Method::Pound, 1, ""), 0);
    audio.extend(speech(language, repeated_pieces(Method::Pound, 1, ""), 24_000));
    assert_eq!(understood(&audio).len(), 1, "a repeat asks for nothing new");
    audio.extend(speech(language, pieces(Method::Pound, 2, ""), 8_000));
    assert_eq!(understood(&audio).len(), 2);
}

#[test]
fn noise_is_not_understood() {
    let mut random = Rng::with_seed(3);
    let audio: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(20_000).collect();
    assert!(understood(&audio).is_empty());
}
