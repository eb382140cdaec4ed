//! `phonegate setup`: asks what the company has, writes a configuration, and tries it.
//!
//! | module | what it is for |
//! |---|---|
//! | `asker` | asks a question: by its option, else at the terminal |
//! | `telephony` | what the company may have, and the questions about it. A further kind is one entry there |
//! | `secret` | how a password is given and kept |
//! | `file` | writes the configuration |

mod asker;
mod file;
mod secret;
mod telephony;

use std::path::{Path, PathBuf};

use clap::Args;
use phonegate::admission::Admission;
use phonegate::backend::twilio_studio::{self, TwilioStudioConfig};
use phonegate::config::{self, Config, NumbersConfig};
use phonegate::prompts::sentences;
use serde_json::{Map, Value, json};

use self::asker::{Asker, Question, Stop};
use self::secret::SecretAnswer;
use self::telephony::Backend;
use super::{call, check};
use crate::Globals;
use crate::context::Context;
use crate::error::{CommandError, CommandErrorKind, Exit};
use crate::output::{self, Spinner};

const HELP: &str = "\
Asks what the company has, writes phonegate.json, checks it, and offers a test call. A question is not asked if its option
is given. Without a terminal and with --json nothing is asked: each option without a default must be given.

Nothing is changed before the last question. Esc or Ctrl-C ends the questions.

The file is written to the place that --config or PHONEGATE_CONFIG names, else beside this program. Only this user, on
Windows administrators, and the account of MIM's service can read it. A password that is typed is kept encrypted on
Windows, and elsewhere in a private file beside the configuration.

Examples:
  phonegate setup
  phonegate setup --config test.json --has sip --trunk sbc.contoso.local --transport tls --default-country US
  phonegate setup --has sip --trunk 192.0.2.10 --transport udp --username mim --secret-file /etc/phonegate/sip.txt \\
    --default-country DE --allowed-countries DE,AT --no-call
  phonegate setup --has twilio --account-sid AC… --api-key-sid SK… --secret-env TWILIO_API_KEY_SECRET --install-flow \\
    --caller-id +14255550100 --default-country US --call \"+1 4255551212\"

--json prints one object a line: written (config, backup if a file was replaced, flow_sid if a flow was installed), then
the lines of `phonegate check`, and with --call those of `phonegate call`.

Exit codes:
  0    written; each backend can place calls; the test call, if any, was verified
  1    written, but the check or the test call failed; or nothing was written, since Twilio or the disk refused
  2    wrong usage, an answer is missing, or there is a configuration already; nothing was written
  130  ended by Esc or Ctrl-C; nothing was written";

/// The arguments of `phonegate setup`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The telephone service: sip or twilio.
    #[arg(long, value_name = "WHAT", value_parser = telephony::names())]
    has: Option<String>,
    /// SIP: the address of the trunk, such as sbc.contoso.local or 192.0.2.10:5060, or a SIP URI.
    #[arg(long, value_name = "ADDRESS")]
    trunk: Option<String>,
    /// SIP: udp, tcp or tls. [default: tls]
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<String>,
    /// SIP: the user name at the trunk. [default: none]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Twilio: the account, AC and 32 hexadecimal digits.
    #[arg(long, value_name = "SID")]
    account_sid: Option<String>,
    /// Twilio: the API key, SK and 32 hexadecimal digits.
    #[arg(long, value_name = "SID")]
    api_key_sid: Option<String>,
    /// Twilio: the call flow in the account, FW and 32 hexadecimal digits.
    #[arg(long, value_name = "SID", conflicts_with = "install_flow")]
    flow_sid: Option<String>,
    /// Twilio: installs the call flow in the account.
    #[arg(long)]
    install_flow: bool,
    /// Twilio: another address of the service, such as a regional one.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Allows a trunk or an address of Twilio's service on this machine, where any user could listen in its place.
    #[arg(long)]
    local_peer: bool,
    /// The number that users see, in E.164, such as +14255550100. [default for sip: none]
    #[arg(long, value_name = "NUMBER")]
    caller_id: Option<String>,
    /// A file with the password, or with the secret of the API key. It is not copied.
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    secret_file: Option<PathBuf>,
    /// The environment variable with it, which the service must have, too.
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// The country of numbers without a country code, such as US.
    #[arg(long, value_name = "COUNTRY")]
    default_country: Option<String>,
    /// The countries that may be called, such as US,CA. [default: the default country]
    #[arg(long, value_name = "COUNTRIES")]
    allowed_countries: Option<String>,
    /// The language of calls, such as de-DE. [default: that of the default country, else en-US]
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// Replaces a configuration that is there, and keeps a copy of it.
    #[arg(long)]
    force: bool,
    /// Places a test call to this number when the check was good.
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_call")]
    call: Option<String>,
    /// Places no test call, and does not ask.
    #[arg(long)]
    no_call: bool,
}

/// Asks, writes, checks, and offers a test call.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let path = globals.config().map_or_else(config::default_path, |path| Ok(path.to_owned()))?;
    let path = std::path::absolute(&path).unwrap_or(path);
    if !arguments.force && path.symlink_metadata().is_ok() {
        let error = CommandError::usage(format!("there is a configuration already: {}", path.display()));
        return Err(error.hint("--force replaces it and keeps a copy").hint("--config FILE writes to another file"));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    if !folder.is_dir() {
        let error = CommandError::failed(format!("there is no folder {}", folder.display()));
        return Err(error.hint("no configuration was written; make the folder, or choose another one by --config FILE"));
    }
    let asker = Asker::new(globals.json);
    let answers = match Answers::ask(arguments, &asker, &path) {
        Ok(answers) => answers,
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Cancelled) => {
            output::note("Ended; nothing was changed.");
            return Ok(Exit::Interrupted);
        }
    };
    answers.write(&path, arguments.force, globals.json)?;
    let checked = Context::load(Some(&path)).map_err(CommandError::from);
    // The configuration was written, so this is no error of usage.
    let checked = checked.and_then(|context| check::check(context, globals.json)).map_err(|error| CommandError {
        kind: CommandErrorKind::Failed,
        ..error.hint("the configuration was written; `phonegate setup --force` replaces it")
    })?;
    if checked != Exit::Done {
        output::note("Correct what the check has found in the configuration, then run `phonegate check`.");
        return Ok(checked);
    }
    if !globals.json {
        output::print(&format!("Next, on the MIM server: phonegate install --config {} --dry-run\n", path.display()));
    }
    let globals = Globals { config: Some(path), json: globals.json };
    match number_to_call(arguments, &asker, &answers.config) {
        Ok(Some(number)) => call::place(&number, &globals),
        Ok(None) | Err(Stop::Cancelled) => Ok(Exit::Done),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// The answers, as a configuration.
struct Answers {
    document: Value,
    config: Config,
    backend: Backend,
}

impl Answers {
    /// Asks the questions. Changes nothing.
    fn ask(arguments: &Arguments, asker: &Asker, path: &Path) -> Result<Self, Stop> {
        let backend = telephony::ask(arguments, asker)?;
        let numbers = ask_numbers(arguments, asker)?;
        let language = ask_language(arguments, asker, &numbers)?;
        let document = json!({
            "use": [backend.name],
            "strict_permissions": true,
            "backends": { backend.name: backend.settings },
            "approval": { "method": "code" },
            "numbers": numbers,
            "prompts": { "language": language },
            "store": { "type": "sqlite" },
            "messages": "brief",
        });
        let config = parse(&document)?;
        if let Some(number) = &arguments.call {
            admit(&config, number).map_err(|problem| CommandError::usage(format!("--call: {problem}")))?;
        }
        if !asker.confirm(&format!("Write {}?", path.display()), true)? {
            return Err(Stop::Cancelled);
        }
        Ok(Self { document, config, backend })
    }

    /// Installs the flow if that was asked for, and writes the configuration.
    fn write(&self, path: &Path, replace: bool, json: bool) -> Result<(), CommandError> {
        let mut document = self.document.clone();
        let base = path.parent().unwrap_or(Path::new(""));
        // Before the flow: if it failed afterwards, the flow would be installed and its SID lost.
        let secret = match &self.backend.secret {
            Some((key, SecretAnswer::Typed(text))) => {
                let kept = secret::keep(text, base, self.backend.name)?;
                set(&mut document, self.backend.name, key, kept.setting.clone());
                kept.file
            }
            _ => None,
        };
        // It is of no use without the configuration.
        let discard_secret = || secret.iter().for_each(|file| drop(std::fs::remove_file(file)));
        let mut flow_sid = None;
        if self.backend.installs_flow {
            let sid = self.install_flow(base, json).inspect_err(|_| discard_secret())?;
            set(&mut document, self.backend.name, "flow_sid", json!(sid));
            flow_sid = Some(sid);
        }
        let written = parse(&document).and_then(|_| file::write(path, &format!("{document:#}\n"), replace));
        let backup = written.map_err(|error| {
            discard_secret();
            match &flow_sid {
                Some(flow) => {
                    error.hint(format!("the flow is installed at Twilio; from now on, --flow-sid {flow} names it"))
                }
                None => error,
            }
        })?;
        if json {
            let mut record = Map::new();
            let mut insert = |key: &str, value: Value| record.insert(key.to_owned(), value);
            insert("event", json!("written"));
            insert("config", json!(path));
            backup.map(|backup| insert("backup", json!(backup)));
            flow_sid.map(|flow| insert("flow_sid", json!(flow)));
            output::json_line(&record);
            return Ok(());
        }
        flow_sid.iter().for_each(|flow| output::print(&format!("Installed the flow {flow}.")));
        secret.iter().for_each(|file| output::print(&format!("Wrote the secret to {}.", file.display())));
        backup.iter().for_each(|file| output::print(&format!("Kept the former configuration as {}.", file.display())));
        output::print(&format!("Wrote {}.\n", path.display()));
        Ok(())
    }

    /// Installs the call flow in the Twilio account.
    fn install_flow(&self, base: &Path, json: bool) -> Result<String, CommandError> {
        let mut document = self.document.clone();
        if let Some((key, SecretAnswer::Typed(text))) = &self.backend.secret {
            set(&mut document, self.backend.name, key, json!(text.as_str()));
        }
        let config = parse(&document)?;
        let settings = config.backends.get(self.backend.name).and_then(|backend| backend.settings());
        let settings: &TwilioStudioConfig =
            settings.ok_or_else(|| CommandError::usage("only an account at Twilio has a flow"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CommandError::failed(format!("cannot start the network: {error}")))?;
        let spinner = Spinner::start(json);
        spinner.set_message("installing the flow at Twilio");
        let installed = runtime.block_on(twilio_studio::install_flow(self.backend.name, settings, &config, base));
        installed.map(|installed| installed.sid).map_err(|failure| {
            CommandError::failed(format!("the flow was not installed, and nothing was written: {failure}"))
        })
    }
}

/// Sets a key of a backend.
fn set(document: &mut Value, backend: &str, key: &str, value: Value) {
    let settings = document.get_mut("backends").and_then(|backends| backends.get_mut(backend));
    if let Some(settings) = settings.and_then(Value::as_object_mut) {
        settings.insert(key.to_owned(), value);
    }
}

/// Has the library read a configuration.
fn parse(document: &Value) -> Result<Config, CommandError> {
    config::parse(&document.to_string(), &phonegate::TYPES)
        .map_err(|error| CommandError::usage(format!("these answers give an invalid configuration: {error}")))
}

fn ask_numbers(arguments: &Arguments, asker: &Asker) -> Result<Value, Stop> {
    let question = Question {
        option: "--default-country",
        text: "Country of your users (two letters)",
        help: "numbers without a country code are read as numbers of this country",
        default: None,
        check: &|text| check_numbers(text, text),
    };
    let country = asker.text(&question, arguments.default_country.as_deref())?.to_ascii_uppercase();
    let question = Question {
        option: "--allowed-countries",
        text: "Countries that may be called",
        help: "two letters each, separated by commas; calls to any other country are refused",
        default: Some(country.clone()),
        check: &|text| check_numbers(&country, text),
    };
    let allowed = countries(&asker.text(&question, arguments.allowed_countries.as_deref())?);
    Ok(json!({ "default_country": country, "allowed_countries": allowed }))
}

fn countries(text: &str) -> Vec<String> {
    let countries = text.split([',', ' ']).map(|country| country.trim().to_ascii_uppercase());
    countries.filter(|country| !country.is_empty()).collect()
}

fn check_numbers(default: &str, allowed: &str) -> Result<(), String> {
    let allowed = countries(allowed);
    if allowed.is_empty() {
        return Err("name at least one country".to_owned());
    }
    let default_country = Some(default.to_ascii_uppercase());
    let numbers = NumbersConfig { default_country, allowed_countries: Some(allowed), ..NumbersConfig::default() };
    Admission::new(&numbers).map(drop).map_err(|error| error.to_string())
}

fn ask_language(arguments: &Arguments, asker: &Asker, numbers: &Value) -> Result<String, Stop> {
    let tags: Vec<String> = sentences().into_keys().collect();
    let country = numbers.get("default_country").and_then(Value::as_str).unwrap_or_default();
    let of_country = tags.iter().find(|tag| tag.ends_with(&format!("-{country}")));
    let default = of_country.cloned().unwrap_or_else(|| "en-US".to_owned());
    let all = tags.join(", ");
    let question = Question {
        option: "--language",
        text: "Language of the calls",
        help: &all,
        default: Some(default),
        check: &|text| match tags.iter().any(|tag| tag.eq_ignore_ascii_case(text)) {
            true => Ok(()),
            false => Err(format!("there are sentences for {all}")),
        },
    };
    let answer = asker.text(&question, arguments.language.as_deref())?;
    Ok(tags.iter().find(|tag| tag.eq_ignore_ascii_case(&answer)).cloned().unwrap_or(answer))
}

/// Returns the number of the test call, if there is to be one.
fn number_to_call(arguments: &Arguments, asker: &Asker, config: &Config) -> Result<Option<String>, Stop> {
    if arguments.no_call || (arguments.call.is_none() && !asker.is_interactive()) {
        return Ok(None);
    }
    if arguments.call.is_none() && !asker.confirm("Place a test call now?", false)? {
        return Ok(None);
    }
    let question = Question {
        option: "--call",
        text: "Number to call",
        help: "this telephone will ring",
        default: None,
        check: &|text| admit(config, text),
    };
    asker.number(&question, arguments.call.as_deref()).map(Some)
}

/// Checks that a number may be called.
fn admit(config: &Config, number: &str) -> Result<(), String> {
    let admission = Admission::new(&config.numbers).map_err(|error| error.to_string())?;
    admission.admit(number).map(drop).map_err(|failure| failure.to_string())
}
