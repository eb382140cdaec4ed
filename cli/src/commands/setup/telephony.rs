//! What the company may have. A further kind is one entry here, and a module with its questions.

use std::path::Path;

use clap::builder::PossibleValuesParser;
use phonegate_simulator::number::is_e164;
use serde_json::{Value, json};

use super::asker::{Asker, Question, Stop};
use super::secret::SecretAnswer;
use super::{Arguments, exec, http, settings, sip, twilio, validate};
use crate::error::CommandError;

/// The backend of the configuration.
pub(super) struct Backend {
    pub(super) name: &'static str,
    /// Without a typed secret.
    pub(super) settings: Value,
    /// Where the secret belongs in the settings, as a JSON pointer, and the secret.
    pub(super) secret: Option<(&'static str, SecretAnswer)>,
    /// Whether PhoneGate's flow is to be installed in the Twilio account.
    pub(super) installs_flow: bool,
}

impl Backend {
    pub(super) fn new(name: &'static str, settings: Value) -> Self {
        Self { name, settings, secret: None, installs_flow: false }
    }

    /// Adds the secret at a JSON pointer.
    pub(super) fn with_secret(mut self, pointer: &'static str, secret: SecretAnswer) -> Self {
        if let SecretAnswer::At(place) = &secret {
            settings::set(&mut self.settings, pointer, place.clone());
        }
        Self { secret: Some((pointer, secret)), ..self }
    }

    /// Returns the settings with a typed secret as plain text.
    pub(super) fn plain_settings(&self) -> Value {
        let mut settings = self.settings.clone();
        if let Some((pointer, SecretAnswer::Typed(text))) = &self.secret {
            settings::set(&mut settings, pointer, json!(text.as_str()));
        }
        settings
    }
}

/// What a company may have.
struct Kind {
    /// The value of `--has`.
    name: &'static str,
    title: &'static str,
    /// The options that only some kinds have.
    options: &'static [&'static str],
    ask: fn(&Arguments, &Asker, &Path) -> Result<Backend, Stop>,
}

/// The kinds, in the order in which they are offered.
const KINDS: [Kind; 5] = [
    Kind {
        name: "sip",
        title: "A telephone system, a session border controller or a carrier (SIP)",
        options: &[
            "--trunk",
            "--transport",
            "--username",
            "--caller-id",
            "--secret-file",
            "--secret-env",
            "--local-peer",
        ],
        ask: sip::ask,
    },
    Kind {
        name: "twilio",
        title: "An account at Twilio",
        options: &[
            "--account-sid",
            "--api-key-sid",
            "--flow-sid",
            "--install-flow",
            "--base-url",
            "--caller-id",
            "--secret-file",
            "--secret-env",
            "--local-peer",
        ],
        ask: twilio::ask,
    },
    Kind {
        name: "infobip",
        title: "An account at Infobip",
        options: &["--base-url", "--scenario-id", "--caller-id", "--secret-file", "--secret-env", "--local-peer"],
        ask: http::ask_infobip,
    },
    Kind {
        name: "http",
        title: "Another web service that places calls",
        options: &["--service-file", "--local-peer"],
        ask: http::ask_service,
    },
    Kind {
        name: "exec",
        title: "A program or script that places calls",
        options: &["--program", "--script", "--argument", "--environment", "--supports-check"],
        ask: exec::ask,
    },
];

/// The choice for a company without any of these.
const NONE_YET: &str = "None of these yet";

/// Hints for that choice.
const TRY_CALL: &str = "`phonegate call --demo +1 4255551212` calls a simulated phone, without a configuration";
const TRY_SIMULATOR: &str =
    "`phonegate simulate` shows telephones in the browser, and prints a configuration that calls them";

/// Returns the parser of `--has`.
pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(KINDS.map(|kind| kind.name))
}

/// Asks what the company has, and the questions about that. `base` is the folder of the configuration.
pub(super) fn ask(arguments: &Arguments, asker: &Asker, base: &Path) -> Result<Backend, Stop> {
    let given = arguments.has.as_deref().and_then(|name| KINDS.iter().find(|kind| kind.name == name));
    let kind = match given {
        Some(kind) => Some(kind),
        None => {
            let titles = KINDS.iter().map(|kind| kind.title).chain([NONE_YET]).collect();
            KINDS.get(asker.choice("--has", "What does the company have?", titles)?)
        }
    };
    let Some(kind) = kind else {
        let message = "PhoneGate calls users through a telephone system, a provider or a program, and none was chosen; \
                       nothing was written";
        return Err(CommandError::usage(message).hint(TRY_CALL).hint(TRY_SIMULATOR).into());
    };
    if let Some(option) = given_options(arguments).find(|option| !kind.options.contains(option)) {
        return Err(CommandError::usage(format!("{option} does not apply to --has {}", kind.name)).into());
    }
    let mut backend = (kind.ask)(arguments, asker, base)?;
    let settings = backend.plain_settings();
    let wrong = |error| CommandError::usage(format!("--has {}: {}", kind.name, validate::describe(&error)));
    validate::build(&settings, base).map_err(wrong)?;
    let is_local = validate::is_local(&settings).map_err(wrong)?;
    if is_local && !arguments.local_peer {
        ask_local_peer(asker)?;
    }
    // Other names can resolve to loopback too; setup does not look them up.
    if is_local || arguments.local_peer {
        validate::allow_local_peer(&mut backend.settings);
    }
    Ok(backend)
}

/// Asks whether a provider at an address of this machine is allowed.
fn ask_local_peer(asker: &Asker) -> Result<(), Stop> {
    if !asker.is_interactive() {
        let problem = "--local-peer is missing: the address is on this machine: any of its users could listen there in \
                       place of the provider, and approve calls";
        return Err(CommandError::usage(problem)
            .hint("add --local-peer if only trusted users can log on to this machine")
            .into());
    }
    let note = "  This address is on this machine: any of its users could listen there in place of the provider, and \
                approve calls.";
    crate::output::note(note);
    match asker.confirm("Allow that?", false)? {
        true => Ok(()),
        false => Err(Stop::Cancelled),
    }
}

/// Returns the options of kinds that are given.
fn given_options(arguments: &Arguments) -> impl Iterator<Item = &'static str> {
    let options = [
        ("--trunk", arguments.trunk.is_some()),
        ("--transport", arguments.transport.is_some()),
        ("--username", arguments.username.is_some()),
        ("--account-sid", arguments.account_sid.is_some()),
        ("--api-key-sid", arguments.api_key_sid.is_some()),
        ("--flow-sid", arguments.flow_sid.is_some()),
        ("--install-flow", arguments.install_flow),
        ("--base-url", arguments.base_url.is_some()),
        ("--scenario-id", arguments.scenario_id.is_some()),
        ("--service-file", arguments.service_file.is_some()),
        ("--program", arguments.program.is_some()),
        ("--script", arguments.script.is_some()),
        ("--argument", !arguments.argument.is_empty()),
        ("--environment", arguments.environment.is_some()),
        ("--supports-check", arguments.supports_check),
        ("--caller-id", arguments.caller_id.is_some()),
        ("--secret-file", arguments.secret_file.is_some()),
        ("--secret-env", arguments.secret_env.is_some()),
        ("--local-peer", arguments.local_peer),
    ];
    options.into_iter().filter_map(|(option, is_given)| is_given.then_some(option))
}

/// Asks for the caller id of a kind that shows one in E.164.
pub(super) fn ask_caller_id(arguments: &Arguments, asker: &Asker, is_optional: bool) -> Result<String, Stop> {
    let question = Question {
        option: "--caller-id",
        text: "Number that users see when they are called",
        help: if is_optional { "such as +14255550100; empty: the trunk chooses" } else { "a number of the account" },
        default: is_optional.then(String::new),
        check: &|text| match is_e164(text) || is_optional && text.is_empty() {
            true => Ok(()),
            false => Err("write it with + and the country code, without blanks: +14255550100".to_owned()),
        },
    };
    asker.text(&question, arguments.caller_id.as_deref())
}
