//! `phonegate prompts`: lists, checks and plays what users hear.

mod help;

use std::fs::OpenOptions;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::CellAlignment;
use hound::{SampleFormat, WavSpec, WavWriter};
use phonegate::config::{ApprovalMethod, ConfigError, ErrorKind, PATH_VARIABLE, PromptsConfig};
use phonegate::prompts::{ComposeError, Language, Prompts, SAMPLE_RATE, sentences};
use phonegate_approval::policy::{CODE_DIGITS, Method};
use phonegate_approval::script::{Piece, pieces};
use serde_json::json;

use self::help::{CHECK_HELP, HELP, LIST_HELP, PLAY_HELP, SAY_HELP};
use crate::Globals;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::output;

/// The pause between recordings that do not belong to one prompt, in samples: one second.
const PAUSE: usize = SAMPLE_RATE as usize;

/// The commands of `phonegate prompts`.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum PromptsCommand {
    /// Lists the languages and their recordings.
    #[command(after_help = LIST_HELP)]
    List,
    /// Checks your recordings and the configured languages, and reports every fault.
    #[command(after_help = CHECK_HELP)]
    Check,
    /// Writes what a user hears to a WAV file.
    Play(Play),
    /// Prints the sentences of PhoneGate's recordings.
    Say(Say),
}

/// The arguments of `phonegate prompts play`.
#[derive(Args)]
#[command(after_help = PLAY_HELP)]
pub(crate) struct Play {
    /// The file to write.
    #[arg(value_name = "FILE.wav")]
    file: PathBuf,
    /// The language, such as de-DE or de. [default: that of the configuration]
    #[arg(long)]
    language: Option<String>,
    /// Writes only this recording.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["method", "code"])]
    prompt: Option<PieceName>,
    /// Writes the prompt of this method of approval. [default with --code: code]
    #[arg(long)]
    method: Option<MethodName>,
    /// The code that the prompt says: 1 to 4 digits.
    #[arg(long, value_name = "DIGITS", value_parser = code)]
    code: Option<String>,
}

/// The arguments of `phonegate prompts say`.
#[derive(Args)]
#[command(after_help = SAY_HELP)]
pub(crate) struct Say {
    /// The language, such as de-DE or de. [default: all]
    #[arg(long)]
    language: Option<String>,
}

/// A recording as an argument, by the name of its file.
#[derive(Clone, Copy)]
struct PieceName(Piece);

impl ValueEnum for PieceName {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<[PieceName; Piece::ALL.len()]> = LazyLock::new(|| Piece::ALL.map(PieceName));
        &*ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.0.name().into())
    }
}

/// A method as an argument.
#[derive(Clone, Copy)]
struct MethodName(Method);

impl ValueEnum for MethodName {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<[MethodName; Method::ALL.len()]> = LazyLock::new(|| Method::ALL.map(MethodName));
        &*ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.0.name().into())
    }
}

/// Parses a code.
fn code(text: &str) -> Result<String, String> {
    let has_length = u8::try_from(text.len()).is_ok_and(|length| CODE_DIGITS.contains(&length));
    match has_length && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err(format!("a code has {} to {} digits, such as 471", CODE_DIGITS.start(), CODE_DIGITS.end())),
    }
}

/// Runs a command of `phonegate prompts`.
pub(crate) fn run(command: &PromptsCommand, globals: &Globals) -> Result<Exit, CommandError> {
    match command {
        PromptsCommand::List => list(globals),
        PromptsCommand::Check => check(globals),
        PromptsCommand::Play(arguments) => play(arguments, globals),
        PromptsCommand::Say(arguments) => say(arguments, globals.json),
    }
}

fn list(globals: &Globals) -> Result<Exit, CommandError> {
    let json = globals.json;
    let (config, prompts) = load(globals)?;
    let default = prompts.language_for(None, None);
    let mut table = output::table(["LANGUAGE", "PROMPT", "SECONDS", "SOURCE"]);
    if let Some(seconds) = table.column_mut(2) {
        seconds.set_cell_alignment(CellAlignment::Right);
    }
    for language in prompts.languages() {
        for prompt in Piece::ALL {
            let Some(recording) = language.get(prompt) else { continue };
            let (file, seconds) = (language.custom_file(prompt), seconds(recording.len()));
            if !json {
                let source = file.map_or("PhoneGate".to_owned(), |file| file.display().to_string());
                table.add_row([language.tag(), prompt.name(), &format!("{seconds:.1}"), &source]);
                continue;
            }
            let mut record = json!({
                "event": "prompt", "language": language.tag(), "prompt": prompt.name(), "seconds": seconds,
                "source": file.map_or("embedded", |_| "own"),
            });
            if let (Some(file), Some(fields)) = (file, record.as_object_mut()) {
                fields.insert("file".to_owned(), json!(file.display().to_string()));
            }
            output::json_line(&record);
        }
    }
    let countries = config.by_country.keys().map(|code| (code.clone(), prompts.language_for(None, Some(code))));
    let countries: Vec<_> = countries.collect();
    if json {
        let by_country: serde_json::Map<_, _> =
            countries.into_iter().map(|(code, language)| (code, json!(language.tag()))).collect();
        output::json_line(&json!({ "event": "prompts", "language": default.tag(), "by_country": by_country }));
        return Ok(Exit::Done);
    }
    output::print_table(&table);
    output::print(&format!("\nThe default is {}.", default.tag()));
    for (code, language) in countries {
        output::print(&format!("Calls to numbers of {code} are in {}.", language.tag()));
    }
    Ok(Exit::Done)
}

fn check(globals: &Globals) -> Result<Exit, CommandError> {
    let json = globals.json;
    let Context { file, loaded } = Context::load(globals.config())?;
    let file = file.display().to_string();
    match Prompts::load_all(&loaded.config.prompts, loaded.config.approval.method.into(), &loaded.base) {
        Ok(prompts) => {
            let languages = prompts.languages();
            let own = |language: &Language| Piece::ALL.iter().filter(|p| language.custom_file(**p).is_some()).count();
            let own: usize = languages.iter().map(own).sum();
            match json {
                true => output::json_line(&json!({
                    "event": "checked", "ok": true, "config": file, "languages": languages.len(), "own": own,
                })),
                false => output::print(&format!(
                    "{file}\n\nNo faults: {} languages, {own} of the recordings are your own.",
                    languages.len()
                )),
            }
            Ok(Exit::Done)
        }
        Err(faults) if json => {
            for fault in faults {
                output::json_line(&json!({ "event": "fault", "text": fault.to_string() }));
            }
            output::json_line(&json!({ "event": "checked", "ok": false, "config": file }));
            Ok(Exit::Failed)
        }
        Err(faults) => {
            output::print(&format!("{file}\n"));
            faults.iter().for_each(|fault| output::print(&fault.to_string()));
            Ok(Exit::Failed)
        }
    }
}

fn play(arguments: &Play, globals: &Globals) -> Result<Exit, CommandError> {
    let json = globals.json;
    let (_, prompts) = load(globals)?;
    let language = match &arguments.language {
        None => prompts.language_for(None, None),
        Some(tag) => find(&prompts, tag)?,
    };
    let method = method(arguments)?;
    let pieces = chosen(arguments, method, &language);
    let samples = match method {
        Some(_) => language.compose(pieces.iter().copied()).map(|composition| composition.to_vec()),
        None => one_by_one(&language, &pieces),
    };
    let samples = samples.map_err(|error| {
        CommandError::usage(format!(
            "the language {} {error}; `phonegate prompts list` shows what there is",
            language.tag()
        ))
    })?;
    let file = arguments.file.display();
    write(&arguments.file, &samples).map_err(|error| match error {
        hound::Error::IoError(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            CommandError::usage(format!("{file} exists already, and is not overwritten")).hint("name another file")
        }
        error => CommandError::failed(format!("cannot write {file}: {error}")),
    })?;
    let seconds = seconds(samples.len());
    let names: Vec<_> = pieces.into_iter().map(Piece::name).collect();
    match json {
        true => {
            let mut record = json!({
                "event": "written", "file": file.to_string(), "language": language.tag(), "prompts": names,
                "seconds": seconds,
            });
            if let (Some(method), Some(fields)) = (method, record.as_object_mut()) {
                fields.insert("method".to_owned(), json!(method.name()));
            }
            output::json_line(&record);
        }
        false => output::print(&format!("{file}: {} in {}, {seconds:.1} seconds.", names.join(", "), language.tag())),
    }
    Ok(Exit::Done)
}

/// Returns the method whose prompt `play` writes. `None` if it writes recordings.
fn method(arguments: &Play) -> Result<Option<Method>, CommandError> {
    let Some(method) =
        arguments.method.map(|MethodName(method)| method).or(arguments.code.as_ref().map(|_| Method::Code))
    else {
        return Ok(None);
    };
    let name = method.name();
    match (method.has_code(), &arguments.code) {
        (true, None) => {
            Err(CommandError::usage(format!("the prompt of the method {name} says a code")).hint("add one: --code 471"))
        }
        (false, Some(_)) => Err(CommandError::usage(format!("the prompt of the method {name} says no code"))
            .hint("leave out --code, or name another method")),
        _ => Ok(Some(method)),
    }
}

/// Returns what `play` writes: the pieces of a prompt, one recording, or all recordings of the language.
fn chosen(arguments: &Play, method: Option<Method>, language: &Language) -> Vec<Piece> {
    match (method, arguments.prompt) {
        (Some(method), _) => pieces(method, 1, arguments.code.as_deref().unwrap_or_default()).collect(),
        (None, Some(PieceName(piece))) => vec![piece],
        (None, None) => Piece::ALL.into_iter().filter(|piece| language.get(*piece).is_some()).collect(),
    }
}

/// Joins recordings with [`PAUSE`] between them.
fn one_by_one(language: &Language, pieces: &[Piece]) -> Result<Vec<i16>, ComposeError> {
    let recording = |piece: &Piece| language.get(*piece).ok_or(ComposeError::Missing(*piece));
    let recordings: Vec<_> = pieces.iter().map(recording).collect::<Result<_, _>>()?;
    let samples: Vec<&[i16]> = recordings.iter().map(|recording| &**recording).collect();
    Ok(samples.join([0; PAUSE].as_slice()))
}

fn write(file: &Path, samples: &[i16]) -> Result<(), hound::Error> {
    let spec = WavSpec { channels: 1, sample_rate: SAMPLE_RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let file = OpenOptions::new().write(true).create_new(true).open(file)?;
    let mut writer = WavWriter::new(BufWriter::new(file), spec)?;
    samples.iter().try_for_each(|sample| writer.write_sample(*sample))?;
    writer.finalize()
}

fn say(arguments: &Say, json: bool) -> Result<Exit, CommandError> {
    let only = match &arguments.language {
        None => None,
        Some(tag) => Some(find(&library_prompts()?, tag)?),
    };
    for (language, sentences) in sentences() {
        if only.as_ref().is_some_and(|only| only.tag() != language) {
            continue;
        }
        for (prompt, text) in sentences {
            match json {
                true => output::json_line(&json!({
                    "event": "sentence", "language": language, "prompt": prompt.name(), "text": text,
                })),
                false => output::print(&format!("{language} {}\n  {text}", prompt.name())),
            }
        }
    }
    Ok(Exit::Done)
}

/// Returns PhoneGate's own prompts, which are complete.
pub(super) fn library_prompts() -> Result<Prompts, ConfigError> {
    Prompts::load(&PromptsConfig::default(), ApprovalMethod::default().into(), Path::new(""))
}

/// Returns the prompts of the configuration. If none is named and none exists, warns and returns PhoneGate's own.
fn load(globals: &Globals) -> Result<(PromptsConfig, Prompts), CommandError> {
    let is_named = globals.config().is_some() || std::env::var_os(PATH_VARIABLE).is_some_and(|path| !path.is_empty());
    match Context::load(globals.config()) {
        Ok(Context { file, loaded }) => {
            let prompts = Prompts::load(&loaded.config.prompts, loaded.config.approval.method.into(), &loaded.base)
                .map_err(|error| error.in_file(&file))?;
            Ok((loaded.config.prompts, prompts))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && !is_named => {
            output::warning(globals.json, "there is no configuration, so these are PhoneGate's own prompts");
            let config = PromptsConfig::default();
            let prompts = library_prompts()?;
            Ok((config, prompts))
        }
        Err(error) => Err(error.into()),
    }
}

/// Finds a language by its tag.
fn find(prompts: &Prompts, tag: &str) -> Result<Language, CommandError> {
    prompts.language(tag).ok_or_else(|| {
        let known: Vec<_> = prompts.languages().iter().map(Language::tag).collect();
        CommandError::usage(format!("there are no prompts in the language `{tag}`"))
            .hint(format!("the languages are {}", known.join(", ")))
    })
}

fn seconds(samples: usize) -> f64 {
    let milliseconds = samples as u64 * 1_000 / u64::from(SAMPLE_RATE);
    milliseconds as f64 / 1_000.0
}
