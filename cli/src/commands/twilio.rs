//! `phonegate twilio`: what concerns a Twilio account.

use clap::{Args, Subcommand};
use phonegate::backend::twilio_studio::{self, Installed};
use phonegate::call::{Failure, FailureReason};
use phonegate::config::{BackendConfig, Config, TwilioStudioConfig};
use serde_json::json;

use crate::Globals;
use crate::context::Context;
use crate::error::{CommandError, CommandErrorKind, Exit};
use crate::output::{self, Spinner};

const SHOW_HELP: &str = "\
The flow is generated for the configuration, whose secrets are not used. It can be imported in Twilio's console instead
of being installed by install-flow.

Examples:
  phonegate twilio show-flow --config twilio.json > flow.json

Exit codes:
  0  printed
  2  usage or configuration";

const HELP: &str = "\
The account and its credentials are those of a backend of type twilio_studio in the configuration. Its flow_sid is not
looked at: it may still be a placeholder, such as FW and 32 zeroes. A flow named PhoneGate that is there already is
replaced. The flow is generated for the configuration: install it again after changing prompts.language,
prompts.by_country, prompts.attempts, prompts.repeat, approval.method or fraud.key.

Examples:
  phonegate twilio install-flow --config twilio.json
  phonegate twilio install-flow --backend cloud --json

--json prints one object: event (installed), backend, flow_sid, revision, created (false where one was replaced).

Exit codes:
  0  installed and published
  1  Twilio refused, or cannot be reached
  2  usage, configuration or credentials";

/// The verbs of `phonegate twilio`.
#[derive(Subcommand)]
pub(crate) enum TwilioCommand {
    /// Puts the flow that calls, asks and listens into the account, and prints its identifier.
    InstallFlow(InstallFlow),
    /// Prints the flow as JSON.
    #[command(after_help = SHOW_HELP)]
    ShowFlow,
}

/// The arguments of `phonegate twilio install-flow`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct InstallFlow {
    /// The backend's name in the configuration, where there is more than one of type twilio_studio.
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
        .map_err(|error| CommandError::failed(format!("cannot start: {error}")))?;
    let installed = {
        let spinner = Spinner::start(globals.json);
        spinner.set_message("installing the flow at Twilio");
        runtime.block_on(twilio_studio::install_flow(name, settings, &loaded.config, &loaded.base))
    };
    let installed = installed.map_err(|failure| refusal(name, &failure))?;
    tell(globals.json, name, settings, &installed);
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

/// The backend whose account is meant.
fn choose<'a>(config: &'a Config, named: Option<&'a str>) -> Result<(&'a str, &'a TwilioStudioConfig), String> {
    let mut of_twilio = config.backends.iter().filter_map(|(name, backend)| match backend {
        BackendConfig::TwilioStudio(settings) => Some((name.as_str(), settings)),
        _ => None,
    });
    if let Some(named) = named {
        return of_twilio
            .find(|(name, _)| *name == named)
            .ok_or_else(|| format!("`backends` has none of type twilio_studio named `{named}`"));
    }
    match (of_twilio.next(), of_twilio.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err("`backends` has none of type twilio_studio, whose account would be used; add one".to_owned()),
        (Some((first, _)), Some((second, _))) => {
            Err(format!("`{first}` and `{second}` are both of type twilio_studio; choose by --backend NAME"))
        }
    }
}

fn refusal(name: &str, failure: &Failure) -> CommandError {
    let kind = match failure.reason() {
        FailureReason::NotConfigured => CommandErrorKind::Usage,
        _ => CommandErrorKind::Failed,
    };
    CommandError::new(kind, format!("backend `{name}`: {failure}"))
}

fn tell(json: bool, name: &str, settings: &TwilioStudioConfig, installed: &Installed) {
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
