//! The `phonegate` command, for administrators: tests a configuration, shows calls, and changes what the store keeps.
//!
//! Start here: [`Command`] lists the commands by group, `commands` has a module for each, and the other modules are
//! shared by several commands.

#![warn(missing_docs, unreachable_pub)]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]
#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod audit_log;
mod call_progress;
mod call_state;
mod commands;
mod context;
mod csv_input;
mod csv_output;
mod error;
mod hidden_input;
mod output;
mod store_reader;
mod time;
mod writable;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use commands::{
    alerts, backup, blocks, call, calls, check, doctor, install, library_version, limits, numbers, pins, prompts,
    protect, report, revert, schema, setup, simulate, twilio,
};
use error::{CommandError, CommandErrorKind, Exit};

/// The phone-call second factor for Microsoft Identity Manager.
#[derive(Parser)]
#[command(name = "phonegate", version, after_help = HELP)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// The arguments that every command has.
#[derive(Args)]
pub(crate) struct Globals {
    /// The configuration. [default: the file that the environment variable PHONEGATE_CONFIG names, else phonegate.json
    /// in the folder of this program]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints JSON for scripts: one object a line, warnings and errors included.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Globals {
    /// Returns the path of the configuration, if the arguments name one.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

const HELP: &str = "\
Examples:
  phonegate setup                             asks, writes a configuration, and tries it
  phonegate call --demo +1 4255551212         a call to a simulated phone; needs no configuration
  phonegate simulate                          telephones in the browser, for a test environment
  phonegate check                             whether the configured backends can place calls
  phonegate call +1 4255551212                rings that phone
  phonegate numbers check --file users.csv    which of the users' numbers may be called
  phonegate install --dry-run                 what an installation into MIM would change
  phonegate calls --since 2h                  the calls of the last two hours, and their outcomes
  phonegate calls show ID                     one of them, step by step
  phonegate report --html report.html         the last 30 days on one page
  phonegate doctor --zip for-support.zip      checks everything, and writes a file for support
  phonegate check --config test.json --json   another configuration; JSON for a script

`phonegate COMMAND --help` has the details: arguments, examples, JSON and exit codes.

An error is printed as `error: MESSAGE`, then a line `hint: TEXT` for each thing to do about it. --json also prints it as
an object: event (error), kind (usage or failed), text, hints (an array).

Exit codes:
  0    done; call: the call was verified
  1    failed; call: the call was not verified; check: a backend cannot place calls
  2    wrong usage or configuration
  130  ended by Ctrl-C";

/// The groups of commands in `phonegate --help`: the heading, and the first command of the group.
const GROUPS: [(&str, &str); 4] = [
    ("Install and configure", "setup"),
    ("Test without users", "check"),
    ("Look at calls", "calls"),
    ("Protect users and their numbers", "blocks"),
];

/// The commands, in the order of `phonegate --help`. [`GROUPS`] names the first command of each group.
#[derive(Subcommand)]
enum Command {
    /// Asks what the company has, writes phonegate.json, and tries it.
    Setup(Box<setup::Arguments>),
    /// Installs PhoneGate into Microsoft Identity Manager.
    Install(install::Arguments),
    /// Removes PhoneGate from Microsoft Identity Manager.
    Revert(revert::Arguments),
    /// Installs the call flow in a Twilio account, or prints it.
    #[command(subcommand)]
    Twilio(twilio::TwilioCommand),
    /// Encrypts a secret for phonegate.json (Windows only).
    Protect(protect::Arguments),
    /// Prints the JSON Schema of phonegate.json.
    Schema(schema::Arguments),

    /// Checks the configuration, the store and each backend, and rings no phone.
    Check(check::Arguments),
    /// Places one call and shows its progress.
    Call(call::Arguments),
    /// Shows telephones in the browser, which a test environment calls.
    Simulate(simulate::Arguments),
    /// Shows how telephone numbers are read, and whether they may be called.
    #[command(subcommand)]
    Numbers(numbers::NumbersCommand),
    /// Lists, checks and plays what users hear.
    #[command(subcommand)]
    Prompts(prompts::PromptsCommand),
    /// Examines the installation, and writes a file for support.
    Doctor(doctor::Arguments),

    /// Lists calls and their outcomes, or shows one of them.
    Calls(calls::Arguments),
    /// Writes a page of statistics: outcomes, reasons, times, refusals.
    Report(report::Arguments),
    /// Tests the destinations of alerts, and lists alerts.
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// Copies a store of type sqlite into a new file while the service runs.
    Backup(backup::Arguments),

    /// Lists and changes the block list: numbers that are never called.
    #[command(subcommand)]
    Blocks(blocks::BlocksCommand),
    /// Lists locked numbers and the use of the daily limits, and ends locks.
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
    /// Sets, lists, unlocks and removes the PINs of users.
    #[command(subcommand)]
    Pins(pins::PinsCommand),

    /// Loads a PhoneGate library and prints its version. A damaged library ends only this process.
    #[command(hide = true)]
    LibraryVersion(library_version::Arguments),
}

fn main() -> ExitCode {
    phonegate::platform::restrict_library_search();
    let Cli { globals, command } = match parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let exit = run(&command, &globals).unwrap_or_else(|error| {
        output::error(globals.json, &error);
        error.kind.exit()
    });
    let Some(error) = output::write_error() else { return exit.into() };
    output::note(&format!("error: cannot write to stdout: {error}"));
    if exit == Exit::Done { Exit::Failed.into() } else { exit.into() }
}

fn run(command: &Command, globals: &Globals) -> Result<Exit, CommandError> {
    match command {
        Command::Setup(arguments) => setup::run(arguments, globals),
        Command::Install(arguments) => install::run(arguments, globals),
        Command::Revert(arguments) => revert::run(arguments, globals),
        Command::Twilio(command) => twilio::run(command, globals),
        Command::Protect(_) => protect::run(),
        Command::Schema(_) => schema::run(),
        Command::Check(_) => check::run(globals),
        Command::Call(arguments) => call::run(arguments, globals),
        Command::Simulate(arguments) => simulate::run(arguments, globals),
        Command::Numbers(command) => numbers::run(command, globals),
        Command::Prompts(command) => prompts::run(command, globals),
        Command::Doctor(arguments) => doctor::run(arguments, globals),
        Command::Calls(arguments) => calls::run(arguments, globals),
        Command::Report(arguments) => report::run(arguments, globals),
        Command::Alerts(command) => alerts::run(command, globals),
        Command::Backup(arguments) => backup::run(arguments, globals),
        Command::Blocks(command) => blocks::run(command, globals),
        Command::Limits(command) => limits::run(command, globals),
        Command::Pins(command) => pins::run(command, globals),
        Command::LibraryVersion(arguments) => library_version::run(arguments),
    }
}

/// Parses the arguments. Prints help, the version and errors of usage itself, and returns the exit code then.
fn parse() -> Result<Cli, ExitCode> {
    let parsed = parser().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if error.use_stderr() && asks_for_json(std::env::args_os()) {
            let hint = "`--help` shows the usage of each command".to_owned();
            output::json_error(CommandErrorKind::Usage, &usage_message(&error), &[hint]);
        }
        // There is no other place to report that stderr is closed.
        let _ = error.print();
        u8::try_from(error.exit_code()).map_or(Exit::Usage.into(), ExitCode::from)
    })
}

/// Returns the parser of the arguments. Its help lists the commands by group.
fn parser() -> clap::Command {
    let parser = Cli::command();
    let mut commands = String::new();
    for command in parser.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        if let Some((heading, _)) = GROUPS.iter().find(|(_, first)| *first == name) {
            commands.push_str(&format!("\n{heading}:\n"));
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        commands.push_str(&format!("  {name:<9}{about}\n"));
    }
    parser.help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{commands}\nOptions:\n{{options}}{{after-help}}"
    ))
}

/// Returns whether the arguments ask for JSON, even if they cannot be parsed.
fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// Returns the first paragraph of an error of usage on one line.
fn usage_message(error: &clap::Error) -> String {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
        return "a command is missing".to_owned();
    }
    let text = error.render().to_string();
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let message = lines.join(" ");
    message.strip_prefix("error: ").unwrap_or(&message).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_a_group_of_the_help() {
        let help = parser().render_help().to_string();
        for (heading, first) in GROUPS {
            assert!(help.contains(&format!("\n\n{heading}:\n  {first} ")), "{heading} in {help}");
        }
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(help.contains(&format!("\n  {} ", command.get_name())), "{} in {help}", command.get_name());
        }
    }

    #[test]
    fn the_parser_of_every_command_is_consistent() {
        parser().debug_assert();
    }
}
