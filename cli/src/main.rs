//! The `phonegate` command: what an administrator tries a configuration with, before and beside the host.

#![warn(missing_docs, unreachable_pub)]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]
#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod alerts;
mod audit_log;
mod backup;
mod blocks;
mod call;
mod calls;
mod check;
mod csv_file;
mod doctor;
mod exit;
mod install;
mod limits;
mod mim;
mod numbers;
mod output;
mod pending;
mod permissions;
mod pins;
mod places;
mod prompts;
mod protect;
mod report;
mod revert;
mod revert_calls;
mod setup;
mod spreadsheet;
mod steps;
mod store;
mod twilio;
mod when;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{Exit, Trouble};

const EXAMPLES: &str = "\
Examples:
  phonegate call --demo +1 4255551212          a call on a simulated phone; needs no configuration
  phonegate check                              can the configured backends place calls?
  phonegate call +1 4255551212                 rings that phone
  phonegate --config test.json check --json    another configuration; JSON lines for scripts
  phonegate calls --since 2h                   which calls there were, and what became of them
  phonegate calls show ID                      one of them, step by step
  phonegate alerts test                        do alerts reach the destinations in phonegate.json?
  phonegate blocks list                        the numbers that are not called; add and remove change it
  phonegate limits list                        the numbers that are locked, and the use of the daily limits
  phonegate report --html report.html          the last 30 days on one page
  phonegate backup calls-monday.db             copies the calls into a new file, while the service runs
  phonegate doctor                             what is wrong? --zip FILE is for whoever helps
  phonegate numbers check --file users.csv     which of the users' numbers could be called?
  phonegate pins set +1 4255551212             sets a user's PIN, if approval.method asks for PINs
  phonegate install --dry-run                  what would be done to install it into MIM
  phonegate prompts list                       what users can hear, by language
  phonegate twilio install-flow                puts the call flow into a Twilio account
  phonegate protect                            seals a secret for phonegate.json
  phonegate schema > phonegate.schema.json     for an editor that completes and checks phonegate.json

Exit codes:
  0    it went well (call: the call was verified)
  1    it did not (call: not verified; check: a backend cannot place calls; calls: the store cannot be read)
  2    usage or configuration; the error says where and what would be right
  130  interrupted by Ctrl-C";

/// The phone-call second factor for Microsoft Identity Manager.
#[derive(Parser)]
#[command(name = "phonegate", version, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration. Absent: the file that the environment variable PHONEGATE_CONFIG names, else phonegate.json
    /// beside this program.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Tests the destinations of alerts, and lists alerts.
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// Copies the calls, of a store of type sqlite, into a new file while the service runs.
    Backup(backup::Arguments),
    /// The numbers that are not called.
    #[command(subcommand)]
    Blocks(blocks::Verb),
    /// Places one call and shows its progress.
    Call(call::Arguments),
    /// Lists calls and what became of them.
    Calls(calls::Arguments),
    /// Checks the configuration, its secrets, and whether each backend is reachable. Rings nobody.
    Check(check::Arguments),
    /// Looks for what is wrong, and writes a file for whoever helps.
    Doctor(doctor::Arguments),
    /// Installs PhoneGate into Microsoft Identity Manager.
    Install(install::Arguments),
    /// The numbers that are locked after denials, and the use of the daily limits.
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
    /// How telephone numbers are read, and which may be called.
    #[command(subcommand)]
    Numbers(numbers::NumbersCommand),
    /// The PINs with which users approve calls.
    #[command(subcommand)]
    Pins(pins::PinsCommand),
    /// What users hear: languages, recordings, sentences.
    #[command(subcommand)]
    Prompts(prompts::Verb),
    /// Seals a secret, so that it need not stand in phonegate.json in plain text. Windows only.
    Protect(protect::Arguments),
    /// Makes a page of what became of the calls: outcomes, reasons, times, refusals.
    Report(report::Arguments),
    /// Takes PhoneGate out of Microsoft Identity Manager again.
    Revert(revert::Arguments),
    /// What concerns a Twilio account.
    #[command(subcommand)]
    Twilio(twilio::Verb),
    /// Prints the JSON Schema of phonegate.json.
    Schema,
    /// Loads a library of PhoneGate's and prints what it says of itself. A damaged one ends this process alone.
    #[command(hide = true)]
    LibraryVersion {
        /// The library.
        path: PathBuf,
    },
}

impl Verb {
    fn is_json(&self) -> bool {
        match self {
            Self::Alerts(command) => command.is_json(),
            Self::Backup(arguments) => arguments.json,
            Self::Blocks(verb) => verb.is_json(),
            Self::Call(arguments) => arguments.json,
            Self::Calls(arguments) => arguments.is_json(),
            Self::Check(arguments) => arguments.json,
            Self::Doctor(arguments) => arguments.json,
            Self::Install(arguments) => arguments.json,
            Self::Limits(command) => command.is_json(),
            Self::Numbers(verb) => verb.is_json(),
            Self::Pins(command) => command.is_json(),
            Self::Prompts(verb) => verb.is_json(),
            Self::Report(arguments) => arguments.json,
            Self::Revert(arguments) => arguments.json,
            Self::Twilio(twilio::Verb::InstallFlow(arguments)) => arguments.json,
            Self::Twilio(twilio::Verb::ShowFlow) => false,
            Self::Protect(_) | Self::Schema | Self::LibraryVersion { .. } => false,
        }
    }
}

fn main() -> ExitCode {
    phonegate::platform::restrict_library_search();
    let Arguments { config, verb } = Arguments::parse();
    let config = config.as_deref();
    let json = verb.is_json();
    let done = match &verb {
        Verb::Alerts(command) => alerts::run(command, config),
        Verb::Backup(arguments) => backup::run(arguments, config),
        Verb::Blocks(verb) => blocks::run(verb, config),
        Verb::Call(arguments) => call::run(arguments, config),
        Verb::Calls(arguments) => calls::run(arguments, config),
        Verb::Check(arguments) => check::run(arguments, config),
        Verb::Doctor(arguments) => doctor::run(arguments, config),
        Verb::Install(arguments) => install::run(arguments, config),
        Verb::Limits(command) => limits::run(command, config),
        Verb::Numbers(verb) => numbers::run(verb, config),
        Verb::Pins(command) => pins::run(command, config),
        Verb::Prompts(verb) => prompts::run(verb, config),
        Verb::Protect(_) => protect::run(),
        Verb::Report(arguments) => report::run(arguments, config),
        Verb::Revert(arguments) => revert::run(arguments),
        Verb::Twilio(twilio::Verb::InstallFlow(arguments)) => twilio::install_flow(arguments, config),
        Verb::Twilio(twilio::Verb::ShowFlow) => twilio::show_flow(config),
        Verb::Schema => print_schema(),
        Verb::LibraryVersion { path } => print_library_version(path),
    };
    let exit = done.unwrap_or_else(|trouble| {
        output::trouble(json, &trouble.text);
        trouble.exit
    });
    let Some(error) = output::unwritten() else { return exit.into() };
    output::remark(&format!("error: cannot write to stdout: {error}"));
    if exit == Exit::Done { Exit::Failed.into() } else { exit.into() }
}

fn print_library_version(path: &Path) -> Result<Exit, Trouble> {
    let library = doctor::library_version(path).map_err(|text| Trouble { exit: Exit::Failed, text })?;
    output::record(&library);
    Ok(Exit::Done)
}

fn print_schema() -> Result<Exit, Trouble> {
    output::whole(&phonegate::config::schema(&phonegate::TYPES))
        .map_err(|error| Trouble::failed(format!("cannot write the schema: {error}")))?;
    Ok(Exit::Done)
}
