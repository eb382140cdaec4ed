//! `phonegate prompts`: what users hear.

use std::fs::OpenOptions;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use hound::{SampleFormat, WavSpec, WavWriter};
use phonegate::config::{ErrorKind, PATH_VARIABLE, PromptsConfig};
use phonegate::prompts::{Language, Prompt, Prompts, Recording, SAMPLE_RATE, sentences};
use serde_json::json;

use crate::exit::{Exit, Trouble};
use crate::output;
use crate::setup::Setup;

/// Between two prompts in one file.
const PAUSE_SECONDS: usize = 1;

const HELP: &str = "\
Own recordings are used instead of PhoneGate's where `prompts.directory` in the configuration names a folder with
LANGUAGE/PROMPT.wav, such as de-DE/greeting.wav. A language that PhoneGate does not bring needs all five prompts. A WAV
file may be PCM of 8 to 32 bits, float of 32 bits, A-law or µ-law, of 8,000 to 192,000 samples a second, mono or stereo,
60 seconds long and 24 MB large at most; it is converted to what a telephone carries.

Examples:
  phonegate prompts say --language de                              the sentences, to record one's own
  phonegate prompts check                                          are the own recordings good?
  phonegate prompts play heard.wav --language de --prompt greeting   listen before anybody is called";

const LIST_HELP: &str = "\
Without a configuration, PhoneGate's prompts are shown.

--json prints one object a line:
  warning   text
  prompt    language, prompt, source (embedded or own), file where it is an own one, seconds
  prompts   language (the default), by_country
  error     text: see exit code 2

Exit codes:
  0  done
  2  usage or configuration, a recording that cannot be used among it: `phonegate prompts check` tells all of them";

const CHECK_HELP: &str = "\
Reads everything as the service does when it starts. The service refuses to start with any of these faults.

--json prints one object a line:
  fault     text
  checked   ok (true or false), config (the file), languages and own (how many there are, where all is well)
  error     text: see exit code 2

Exit codes:
  0  every language can be spoken
  1  there are faults
  2  usage, or the configuration has another error";

const PLAY_HELP: &str = "\
Writes what is put onto the line, as a WAV file of 8,000 samples a second that every player plays: one prompt, or all of
a language with a pause of a second between them. A file that is there is not overwritten. Without a configuration,
PhoneGate's prompts are taken.

--json prints one object: event (written), file, language, prompts, seconds.

Exit codes:
  0  written
  1  the file cannot be written
  2  usage or configuration";

const SAY_HELP: &str = "\
The sentences are those of PhoneGate's recordings: what to read aloud for own ones, and what to translate.

--json prints one object a line: event (sentence), language, prompt, text.

Exit codes:
  0  done
  2  usage, an unknown language among it";

/// The verbs of `phonegate prompts`.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum Verb {
    /// Shows the languages and their recordings.
    List(List),
    /// Checks own recordings, and the languages that the configuration names. Tells every fault.
    Check(Check),
    /// Writes what a user hears into a file.
    Play(Play),
    /// Prints the sentences of PhoneGate's recordings.
    Say(Say),
}

/// The arguments of `phonegate prompts list`.
#[derive(Args)]
#[command(after_help = LIST_HELP)]
pub(crate) struct List {
    /// Prints JSON lines.
    #[arg(long)]
    json: bool,
}

/// The arguments of `phonegate prompts check`.
#[derive(Args)]
#[command(after_help = CHECK_HELP)]
pub(crate) struct Check {
    /// Prints JSON lines.
    #[arg(long)]
    json: bool,
}

/// The arguments of `phonegate prompts play`.
#[derive(Args)]
#[command(after_help = PLAY_HELP)]
pub(crate) struct Play {
    /// The file to write.
    #[arg(value_name = "FILE.wav")]
    file: PathBuf,
    /// The language, such as de-DE or de. Absent: the configuration's default.
    #[arg(long)]
    language: Option<String>,
    /// The prompt. Absent: all of them.
    #[arg(long)]
    prompt: Option<Named>,
    /// Prints a JSON line.
    #[arg(long)]
    json: bool,
}

/// The arguments of `phonegate prompts say`.
#[derive(Args)]
#[command(after_help = SAY_HELP)]
pub(crate) struct Say {
    /// The language, such as de-DE or de. Absent: all of them.
    #[arg(long)]
    language: Option<String>,
    /// Prints JSON lines.
    #[arg(long)]
    json: bool,
}

impl Verb {
    pub(crate) fn is_json(&self) -> bool {
        match self {
            Self::List(arguments) => arguments.json,
            Self::Check(arguments) => arguments.json,
            Self::Play(arguments) => arguments.json,
            Self::Say(arguments) => arguments.json,
        }
    }
}

/// A prompt as an argument: by the name of its file.
#[derive(Clone)]
struct Named(Prompt);

impl ValueEnum for Named {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: &[Named] = &[
            Named(Prompt::Greeting),
            Named(Prompt::WrongKey),
            Named(Prompt::Verified),
            Named(Prompt::FraudReported),
            Named(Prompt::Goodbye),
        ];
        ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.0.name().into())
    }
}

/// Does what a verb says.
pub(crate) fn run(verb: &Verb, config: Option<&Path>) -> Result<Exit, Trouble> {
    match verb {
        Verb::List(arguments) => list(arguments, config),
        Verb::Check(arguments) => check(arguments, config),
        Verb::Play(arguments) => play(arguments, config),
        Verb::Say(arguments) => say(arguments),
    }
}

fn list(arguments: &List, config: Option<&Path>) -> Result<Exit, Trouble> {
    let (config, prompts) = load(config, arguments.json)?;
    let default = prompts.language_for(None, None);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["LANGUAGE", "PROMPT", "SECONDS", "SOURCE"]);
    if let Some(seconds) = table.column_mut(2) {
        seconds.set_cell_alignment(CellAlignment::Right);
    }
    for language in prompts.languages() {
        for prompt in Prompt::ALL {
            let (file, seconds) = (language.own_file(prompt), seconds(&language.get(prompt)));
            if !arguments.json {
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
            output::record(&record);
        }
    }
    let countries = config.by_country.keys().map(|code| (code.clone(), prompts.language_for(None, Some(code))));
    let countries: Vec<_> = countries.collect();
    if arguments.json {
        let by_country: serde_json::Map<_, _> =
            countries.into_iter().map(|(code, language)| (code, json!(language.tag()))).collect();
        output::record(&json!({ "event": "prompts", "language": default.tag(), "by_country": by_country }));
        return Ok(Exit::Done);
    }
    output::result(&format!("{table}\n\nThe default is {}.", default.tag()));
    for (code, language) in countries {
        output::result(&format!("Numbers of {code} are spoken to in {}.", language.tag()));
    }
    Ok(Exit::Done)
}

fn check(arguments: &Check, config: Option<&Path>) -> Result<Exit, Trouble> {
    let Setup { file, loaded } = Setup::load(config)?;
    let file = file.display().to_string();
    match Prompts::load_all(&loaded.config.prompts, &loaded.base) {
        Ok(prompts) => {
            let languages = prompts.languages();
            let own = |language: &Language| Prompt::ALL.iter().filter(|p| language.own_file(**p).is_some()).count();
            let own: usize = languages.iter().map(own).sum();
            match arguments.json {
                true => output::record(&json!({
                    "event": "checked", "ok": true, "config": file, "languages": languages.len(), "own": own,
                })),
                false => output::result(&format!(
                    "{file}\n\nAll is well: {} languages, {own} own recordings.",
                    languages.len()
                )),
            }
            Ok(Exit::Done)
        }
        Err(faults) if arguments.json => {
            for fault in faults {
                output::record(&json!({ "event": "fault", "text": fault.to_string() }));
            }
            output::record(&json!({ "event": "checked", "ok": false, "config": file }));
            Ok(Exit::Failed)
        }
        Err(faults) => {
            output::result(&format!("{file}\n"));
            faults.iter().for_each(|fault| output::result(&fault.to_string()));
            Ok(Exit::Failed)
        }
    }
}

fn play(arguments: &Play, config: Option<&Path>) -> Result<Exit, Trouble> {
    let (_, prompts) = load(config, arguments.json)?;
    let language = match &arguments.language {
        None => prompts.language_for(None, None),
        Some(tag) => find(&prompts, tag)?,
    };
    let chosen = match &arguments.prompt {
        None => Prompt::ALL.to_vec(),
        Some(Named(prompt)) => vec![*prompt],
    };
    let recordings: Vec<_> = chosen.iter().map(|prompt| language.get(*prompt)).collect();
    let pause = vec![0; PAUSE_SECONDS * SAMPLE_RATE as usize];
    let samples = recordings.join(pause.as_slice());
    let file = arguments.file.display();
    write(&arguments.file, &samples).map_err(|error| match error {
        hound::Error::IoError(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Trouble::usage(format!("{file} is there already, and is not overwritten; name another file"))
        }
        error => Trouble { exit: Exit::Failed, text: format!("cannot write {file}: {error}") },
    })?;
    let seconds = seconds(&samples.into());
    let names: Vec<_> = chosen.iter().map(|prompt| prompt.name()).collect();
    match arguments.json {
        true => output::record(&json!({
            "event": "written", "file": file.to_string(), "language": language.tag(), "prompts": names,
            "seconds": seconds,
        })),
        false => output::result(&format!("{file}: {} in {}, {seconds:.1} seconds.", names.join(", "), language.tag())),
    }
    Ok(Exit::Done)
}

fn write(file: &Path, samples: &[i16]) -> Result<(), hound::Error> {
    let spec = WavSpec { channels: 1, sample_rate: SAMPLE_RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let file = OpenOptions::new().write(true).create_new(true).open(file)?;
    let mut writer = WavWriter::new(BufWriter::new(file), spec)?;
    samples.iter().try_for_each(|sample| writer.write_sample(*sample))?;
    writer.finalize()
}

fn say(arguments: &Say) -> Result<Exit, Trouble> {
    let only = match &arguments.language {
        None => None,
        Some(tag) => Some(find(&Prompts::load(&PromptsConfig::default(), Path::new(""))?, tag)?),
    };
    for (language, sentences) in sentences() {
        if only.as_ref().is_some_and(|only| only.tag() != language) {
            continue;
        }
        for (prompt, text) in sentences {
            match arguments.json {
                true => output::record(&json!({
                    "event": "sentence", "language": language, "prompt": prompt.name(), "text": text,
                })),
                false => output::result(&format!("{language} {prompt}\n  {text}")),
            }
        }
    }
    Ok(Exit::Done)
}

/// The prompts of the configuration; where nobody named one and there is none, those of the library.
fn load(named: Option<&Path>, json: bool) -> Result<(PromptsConfig, Prompts), Trouble> {
    let is_named = named.is_some() || std::env::var_os(PATH_VARIABLE).is_some_and(|path| !path.is_empty());
    match Setup::load(named) {
        Ok(Setup { file, loaded }) => {
            let prompts = Prompts::load(&loaded.config.prompts, &loaded.base).map_err(|error| error.in_file(&file))?;
            Ok((loaded.config.prompts, prompts))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && !is_named => {
            output::warning(json, "there is no configuration, so these are PhoneGate's prompts");
            let config = PromptsConfig::default();
            let prompts = Prompts::load(&config, Path::new(""))?;
            Ok((config, prompts))
        }
        Err(error) => Err(error.into()),
    }
}

fn find(prompts: &Prompts, tag: &str) -> Result<Language, Trouble> {
    prompts.language(tag).ok_or_else(|| {
        let known: Vec<_> = prompts.languages().iter().map(Language::tag).collect();
        Trouble::usage(format!("there are no prompts in `{tag}`; there are {}", known.join(", ")))
    })
}

fn seconds(recording: &Recording) -> f64 {
    let milliseconds = recording.len() as u64 * 1_000 / u64::from(SAMPLE_RATE);
    milliseconds as f64 / 1_000.0
}
