//! `phonegate setup`: asks what the company has, writes a configuration, and tries it.
//!
//! | module | what it is for |
//! |---|---|
//! | `asker` | asks a question: by its option, else at the terminal |
//! | `telephony` | what the company may have. A further kind is one entry there |
//! | `sip`, `twilio`, `http`, `exec` | the questions about each kind |
//! | `settings` | changes the settings of a backend |
//! | `validate` | has the library check them before anything is written |
//! | `numbers` | the countries of the users, and the language of calls |
//! | `secret` | how a password is given and kept |
//! | `number_key` | the key by which the store hashes numbers |
//! | `answers` | the configuration |
//! | `file` | writes it |
//! | `written` | reports what was written |

mod answers;
mod asker;
mod exec;
mod file;
mod http;
mod number_key;
mod numbers;
mod secret;
mod settings;
mod sip;
mod telephony;
mod twilio;
mod validate;
mod written;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use phonegate::config::{self, Config};

use self::answers::Answers;
use self::asker::{Asker, Question, Stop};
use super::{call, check};
use crate::Globals;
use crate::context::Context;
use crate::error::{CommandError, CommandErrorKind, Exit};
use crate::output;
use crate::writable;

const HELP: &str = "\
Asks what the company has, writes phonegate.json, checks it, and offers a test call. A question is not asked if its option
is given. Without a terminal and with --json nothing is asked: each option without a default must be given.

Nothing is changed before the last question. Esc or Ctrl-C ends the questions.

The file is written to the place that --config or PHONEGATE_CONFIG names, else beside this program. Only this user, on
Windows administrators, and the account of MIM's service can read it. A password that is typed is kept encrypted on
Windows, and elsewhere in a private file beside the configuration. So is a new key by which the store hashes telephone
numbers. --force keeps the number keys of the configuration that it replaces.

Examples:
  phonegate setup
  phonegate setup --config test.json --has sip --trunk sbc.contoso.local --transport tls --default-country US
  phonegate setup --has sip --trunk 192.0.2.10 --transport udp --username mim --secret-file /etc/phonegate/sip.txt \\
    --default-country DE --allowed-countries DE,AT --no-call
  phonegate setup --has twilio --account-sid AC… --api-key-sid SK… --secret-env TWILIO_API_KEY_SECRET --install-flow \\
    --caller-id +14255550100 --default-country US --call \"+1 4255551212\"
  phonegate setup --has infobip --base-url https://abcde.api.infobip.com --scenario-id E83E78… --caller-id +14255550100 \\
    --secret-file /etc/phonegate/infobip.txt --default-country US
  phonegate setup --has http --service-file calls.json --default-country US
  phonegate setup --has exec --program /usr/bin/python3 --argument=-I --script /opt/phonegate/place_call.py \\
    --environment GATEWAY --supports-check --default-country US

The file of --service-file has what `backends` has for the service: docs/backends.md, \"A web service of your own\". Its
relative paths belong to the folder of the configuration. It is checked as a part of the configuration, and copied.

--json prints one object a line: written (config, backup if a file was replaced, number_key_file and secret_file if such
files were written, flow_sid if a flow was installed), a warning about a new number key if it must be copied or if there was
one already, then the lines of `phonegate check`, and with --call those of `phonegate call`.

Exit codes:
  0    written; each backend can place calls; the test call, if any, was verified
  1    written, but the check or the test call failed; or nothing was written, since Twilio or the disk refused
  2    wrong usage, an answer is missing, or there is a configuration already; nothing was written
  130  ended by Esc or Ctrl-C; nothing was written";

/// The arguments of `phonegate setup`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The telephone service.
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
    /// Infobip: the address of the account, such as https://abcde.api.infobip.com. Twilio: another address of the
    /// service, such as a regional one.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Infobip: the voice scenario.
    #[arg(long, value_name = "ID")]
    scenario_id: Option<String>,
    /// http: a JSON file with the settings of the backend.
    #[arg(long, value_name = "FILE")]
    service_file: Option<PathBuf>,
    /// exec: the program that places a call.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// exec: the script that the program runs. It becomes the last argument. [default: none]
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// exec: an argument of the program. Can be repeated; empty: none. [default: none; for PowerShell with a script:
    /// -NoProfile -NonInteractive -ExecutionPolicy AllSigned -File]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    argument: Vec<String>,
    /// exec: the names of environment variables that the program gets, such as GATEWAY,TOKEN. [default: none]
    #[arg(long, value_name = "NAMES")]
    environment: Option<String>,
    /// exec: the program supports checks, which ring no phone.
    #[arg(long)]
    supports_check: bool,
    /// Allows a trunk or service at an address of this machine. Any user of the machine could listen there in its place,
    /// and approve calls.
    #[arg(long)]
    local_peer: bool,
    /// The number that users see, in E.164, such as +14255550100. Not for http and exec. [default for sip: none]
    #[arg(long, value_name = "NUMBER")]
    caller_id: Option<String>,
    /// A file with the password, or with the API key or its secret. It is not copied.
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
    /// A file with the key by which the store hashes numbers, such as that of the other nodes of a farm. It is not copied.
    /// [default: a new key]
    #[arg(long, value_name = "FILE")]
    number_key_file: Option<PathBuf>,
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
    check_place(&path, arguments.force)?;
    let asker = Asker::new(globals.json);
    let answers = match Answers::ask(arguments, &asker, &path) {
        Ok(answers) => answers,
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Cancelled) => {
            output::note("Cancelled: nothing was changed.");
            return Ok(Exit::Interrupted);
        }
    };
    answers.write(&path, arguments, globals.json)?;
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

/// Checks that a configuration can be written to a path, and that only a file is replaced, with `force`.
fn check_place(path: &Path, force: bool) -> Result<(), CommandError> {
    let other = "--config FILE writes to another file";
    let shown = path.display();
    match (path.metadata(), path.read_link()) {
        (Err(error), Ok(target)) if error.kind() == ErrorKind::NotFound => {
            let problem = format!("{shown} is a link to {}, which does not exist", target.display());
            return Err(CommandError::usage(problem).hint("restore that file, or remove the link").hint(other));
        }
        (Ok(meta), _) if meta.is_dir() => {
            return Err(CommandError::usage(format!("{shown} is a folder")).hint("name a file by --config FILE"));
        }
        (Ok(meta), _) if !meta.is_file() => {
            return Err(CommandError::usage(format!("{shown} is not a regular file")).hint(other));
        }
        (Ok(_), _) if !force => {
            let error = CommandError::usage(format!("there is a configuration already: {shown}"));
            return Err(error.hint("--force replaces it and keeps a copy").hint(other));
        }
        // If it cannot be examined, the operating system reports why when it is read or written.
        _ => {}
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    if !folder.is_dir() {
        let error = CommandError::failed(format!("there is no folder {}", folder.display()));
        return Err(error.hint("no configuration was written; make the folder, or choose another one by --config FILE"));
    }
    match writable::why_not_written(folder) {
        Some(problem) => Err(CommandError::failed(problem).hint("no configuration was written")),
        None => Ok(()),
    }
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
        check: &|text| numbers::admit(config, text),
    };
    asker.number(&question, arguments.call.as_deref()).map(Some)
}
