//! `phonegate twilio`: installs the call flow in a Twilio account.

use clap::{Args, Subcommand};
use phonegate::backend::twilio_studio::{self, Installed, TwilioStudioConfig};
use phonegate::call::{Failure, FailureReason};
use phonegate::config::Config;
use serde_json::json;

use crate::Globals;
use crate::context::Context;
use crate::error::{CommandError, CommandErrorKind, Exit};
use crate::output::{self, Spinner};

const SHOW_HELP: &str = "\
Prints the flow that install-flow would install, as JSON, with --json or without. You can import it in Twilio's console.
The secrets of the configuration are not used.

Examples:
  phonegate twilio show-flow --config twilio.json > flow.json

Exit codes:
  0  printed
  1  stdout cannot be written
  2  wrong usage or configuration";

const HELP: &str = "\
Uses the account and the credentials of a backend of type twilio_studio in the configuration. Its flow_sid may still be a
placeholder, such as FW and 32 zeroes. An existing flow named PhoneGate is replaced. The flow depends on the
configuration: install it again after changing prompts.language, prompts.by_country, prompts.attempts, prompts.repeat,
approval.method or fraud.key.

Examples:
  phonegate twilio install-flow --config twilio.json
  phonegate twilio install-flow --backend cloud --json

--json prints one object: event (installed), backend, flow_sid, revision, created (false if a flow was replaced).

Exit codes:
  0  installed and published
  1  Twilio refused, or cannot be reached
  2  wrong usage, configuration or credentials";

/// The commands of `phonegate twilio`.
#[derive(Subcommand)]
pub(crate) enum TwilioCommand {
    /// Installs and publishes the call flow, and prints its identifier.
    InstallFlow(InstallFlow),
    /// Prints the call flow as JSON.
    #[command(after_help = SHOW_HELP)]
    ShowFlow,
}

/// The arguments of `phonegate twilio install-flow`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct InstallFlow {
    /// The backend in the configuration, if it has several of type twilio_studio.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
}

/// Runs a command of `phonegate twilio`.
pub(crate) fn run(command: &TwilioCommand, globals: &Globals) -> Result<Exit, CommandError> {
    match command {
        TwilioCommand::InstallFlow(arguments) => install_flow(arguments, globals),
        TwilioCommand::ShowFlow => show_flow(globals),
    }
}

/// Installs the flow.
fn install_flow(arguments: &InstallFlow, globals: &Globals) -> Result<Exit, CommandError> {
    let Context { file, loaded } = Context::load(globals.config())?;
    let (name, settings) = choose(&loaded.config, arguments.backend.as_deref())
        .map_err(|problem| CommandError::usage(format!("{}: {problem}", file.display())))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("cannot start the network: {error}")))?;
    let installed = {
        let spinner = Spinner::start(globals.json);
        spinner.set_message("installing the flow at Twilio");
        runtime.block_on(twilio_studio::install_flow(name, settings, &loaded.config, &loaded.base))
    };
    let installed = installed.map_err(|failure| refusal(name, &failure))?;
    show(globals.json, name, settings, &installed);
    Ok(Exit::Done)
}

/// Prints the definition of the flow.
fn show_flow(globals: &Globals) -> Result<Exit, CommandError> {
    let Context { file, loaded } = Context::load(globals.config())?;
    let definition = twilio_studio::flow_definition(&loaded.config)
        .map_err(|error| CommandError::usage(format!("{}: {error}", file.display())))?;
    output::print_all(&format!("{definition:#}\n"))
        .map_err(|error| CommandError::failed(format!("cannot print the flow: {error}")))?;
    Ok(Exit::Done)
}

/// Chooses the backend whose account is used.
fn choose<'a>(config: &'a Config, named: Option<&'a str>) -> Result<(&'a str, &'a TwilioStudioConfig), String> {
    let mut of_twilio = config.backends.iter().filter_map(|(name, backend)| Some((name.as_str(), backend.settings()?)));
    if let Some(named) = named {
        return of_twilio
            .find(|(name, _)| *name == named)
            .ok_or_else(|| format!("`backends` has none of type twilio_studio named `{named}`"));
    }
    match (of_twilio.next(), of_twilio.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err("`backends` has none of type twilio_studio; add one with the account".to_owned()),
        (Some((first, _)), Some((second, _))) => {
            Err(format!("`{first}` and `{second}` are both of type twilio_studio; choose by --backend NAME"))
        }
    }
}

/// Converts a failure of Twilio.
fn refusal(name: &str, failure: &Failure) -> CommandError {
    let kind = match failure.reason() {
        FailureReason::NotConfigured => CommandErrorKind::Usage,
        _ => CommandErrorKind::Failed,
    };
    CommandError::new(kind, format!("backend `{name}`: {failure}"))
}

/// Prints what was installed.
fn show(json: bool, name: &str, settings: &TwilioStudioConfig, installed: &Installed) {
    let Installed { sid, revision, created } = installed;
    if json {
        let record =
            json!({ "event": "installed", "backend": name, "flow_sid": sid, "revision": revision, "created": created });
        return output::json_line(&record);
    }
    let done = if *created { "Installed" } else { "Replaced" };
    output::print(&format!("{done} the flow {sid}, revision {revision}."));
    output::print(&match settings.flow_sid == *sid {
        true => format!("The configuration names it already, at backends.{name}.flow_sid."),
        false => format!("Put this into the configuration, at backends.{name}:\n  \"flow_sid\": \"{sid}\""),
    });
}
