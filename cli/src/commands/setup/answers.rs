//! The answers, and how their configuration is written.

use std::path::Path;

use phonegate::backend::twilio_studio::{self, TwilioStudioConfig};
use phonegate::config::{self, Config, ConfigError};
use serde_json::{Value, json};

use super::asker::{Asker, Stop};
use super::number_key::{self, Privacy};
use super::secret::SecretAnswer;
use super::telephony::{self, Backend};
use super::written::{NewFiles, Written};
use super::{Arguments, file, numbers, settings, validate};
use crate::error::CommandError;
use crate::output::Spinner;

/// Placeholder for the number key while the answers are checked, before a key is generated.
const NO_KEY: &str = "placeholder-of-the-number-key-0000";

/// The answers. Until [`Answers::write`], nothing is changed.
pub(super) struct Answers {
    backend: Backend,
    numbers: Value,
    language: String,
    privacy: Privacy,
    /// With placeholders for the number key, for secrets in environment variables, and for a flow that is not installed yet.
    pub(super) config: Config,
}

impl Answers {
    /// Asks the questions. Changes nothing.
    pub(super) fn ask(arguments: &Arguments, asker: &Asker, path: &Path) -> Result<Self, Stop> {
        let privacy = Privacy::choose(arguments, path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        let backend = telephony::ask(arguments, asker, base)?;
        let numbers = numbers::ask_numbers(arguments, asker)?;
        let language = numbers::ask_language(arguments, asker, &numbers)?;
        let privacy_section = privacy.with_key(json!(NO_KEY));
        let trial = document(&backend, backend.plain_settings(), &numbers, &language, privacy_section);
        let config = validate::try_out(trial, base).map_err(|error| invalid(&error))?;
        if let Some(number) = &arguments.call {
            numbers::admit(&config, number).map_err(|problem| CommandError::usage(format!("--call: {problem}")))?;
        }
        if !asker.confirm(&format!("Write {}?", path.display()), true)? {
            return Err(Stop::Cancelled);
        }
        Ok(Self { backend, numbers, language, privacy, config })
    }

    fn document(&self, settings: Value, privacy: Value) -> Value {
        document(&self.backend, settings, &self.numbers, &self.language, privacy)
    }

    /// Installs the flow if that was asked for, keeps the secrets, and writes the configuration.
    pub(super) fn write(&self, path: &Path, arguments: &Arguments, json: bool) -> Result<(), CommandError> {
        let base = path.parent().unwrap_or(Path::new(""));
        // Before the secrets: if this process is killed while it waits for Twilio, no file is left.
        let flow_sid = match self.backend.installs_flow {
            true => Some(self.install_flow(base, json)?),
            false => None,
        };
        let written = self.write_files(path, base, arguments, flow_sid.clone());
        let written = written.map_err(|error| match flow_sid {
            Some(flow) => {
                error.hint(format!("the flow is installed at Twilio; from now on, --flow-sid {flow} names it"))
            }
            None => error,
        })?;
        written.report(json);
        Ok(())
    }

    fn write_files(
        &self,
        path: &Path,
        base: &Path,
        arguments: &Arguments,
        flow_sid: Option<String>,
    ) -> Result<Written, CommandError> {
        if Privacy::choose(arguments, path)? != self.privacy {
            let problem = format!("another program has just changed the number keys of {}", path.display());
            return Err(CommandError::failed(problem).hint("no configuration was written; run this again"));
        }
        let mut new = NewFiles::default();
        let mut settings = self.backend.settings.clone();
        if let Some((pointer, SecretAnswer::Typed(text))) = &self.backend.secret {
            settings::set(&mut settings, pointer, new.keep_secret(text, base, self.backend.name)?);
        }
        if let Some(flow) = &flow_sid {
            settings::set(&mut settings, "/flow_sid", json!(flow));
        }
        let has_new_key = self.privacy.needs_key();
        let number_key = match has_new_key {
            true => new.keep_number_key(&number_key::generate()?, base)?,
            false => Value::Null,
        };
        let document = self.document(settings, self.privacy.with_key(number_key));
        parse(&document)?;
        let backup = file::write(path, &format!("{document:#}\n"), arguments.force)?;
        Ok(Written { config: path.to_owned(), files: new.into_kept(), has_new_key, backup, flow_sid })
    }

    /// Installs the call flow in the Twilio account.
    fn install_flow(&self, base: &Path, json: bool) -> Result<String, CommandError> {
        let settings = self.backend.plain_settings();
        let config = parse(&self.document(settings, self.privacy.with_key(json!(NO_KEY))))?;
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

fn document(backend: &Backend, settings: Value, numbers: &Value, language: &str, privacy: Value) -> Value {
    json!({
        "use": [backend.name],
        "strict_permissions": true,
        "backends": { backend.name: settings },
        "approval": { "method": "code" },
        "numbers": numbers,
        "prompts": { "language": language },
        "store": { "type": "sqlite" },
        "privacy": privacy,
        "messages": "brief",
    })
}

/// Parses a configuration as the library does.
fn parse(document: &Value) -> Result<Config, CommandError> {
    config::parse(&document.to_string(), &phonegate::TYPES).map_err(|error| invalid(&error))
}

fn invalid(error: &ConfigError) -> CommandError {
    CommandError::usage(format!("these answers give an invalid configuration: {error}"))
}
