//! The answers, and how their configuration is written.

use std::path::{Path, PathBuf};

use phonegate::backend::twilio_studio::{self, TwilioStudioConfig};
use phonegate::config::{self, Config};
use serde_json::{Map, Value, json};

use super::asker::{Asker, Stop};
use super::number_key::{self, Privacy};
use super::secret::{self, SecretAnswer};
use super::telephony::{self, Backend};
use super::{Arguments, file, numbers, settings, validate};
use crate::error::CommandError;
use crate::output::{self, Spinner};

/// Placeholder for the number key while the answers are checked, before a key is generated.
const NO_KEY: &str = "placeholder-of-the-number-key-0000";

/// The answers. Until [`Answers::write`], nothing is changed.
pub(super) struct Answers {
    backend: Backend,
    numbers: Value,
    language: String,
    privacy: Privacy,
    /// Without the secrets.
    pub(super) config: Config,
}

impl Answers {
    /// Asks the questions. Changes nothing.
    pub(super) fn ask(arguments: &Arguments, asker: &Asker, path: &Path) -> Result<Self, Stop> {
        let privacy = Privacy::choose(arguments, path)?;
        let backend = telephony::ask(arguments, asker, path.parent().unwrap_or(Path::new("")))?;
        let numbers = numbers::ask_numbers(arguments, asker)?;
        let language = numbers::ask_language(arguments, asker, &numbers)?;
        let settings = backend.settings_with(validate::SECRET);
        let config = parse(&document(&backend, settings, &numbers, &language, privacy.with_key(json!(NO_KEY))))?;
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

    /// Keeps the secrets, installs the flow if that was asked for, and writes the configuration.
    pub(super) fn write(&self, path: &Path, replace: bool, json: bool) -> Result<(), CommandError> {
        let mut written = NewFiles::default();
        let mut settings = self.backend.settings.clone();
        let base = path.parent().unwrap_or(Path::new(""));
        // Before the flow: if one failed afterwards, the flow would be installed and its SID lost.
        if let Some((pointer, SecretAnswer::Typed(text))) = &self.backend.secret {
            let place = written.keep(text, base, &format!("{}-secret", self.backend.name), "secret")?;
            settings::set(&mut settings, pointer, place);
        }
        let number_key = match self.privacy.needs_key() {
            true => written.keep(&number_key::generate()?, base, "number-key", "number key")?,
            false => Value::Null,
        };
        let mut flow_sid = None;
        if self.backend.installs_flow {
            let sid = self.install_flow(base, json)?;
            settings::set(&mut settings, "/flow_sid", json!(sid));
            flow_sid = Some(sid);
        }
        let document = self.document(settings, self.privacy.with_key(number_key));
        let backup = parse(&document).and_then(|_| file::write(path, &format!("{document:#}\n"), replace));
        let backup = backup.map_err(|error| match &flow_sid {
            Some(flow) => {
                error.hint(format!("the flow is installed at Twilio; from now on, --flow-sid {flow} names it"))
            }
            None => error,
        })?;
        let new = written.into_kept();
        let shown = |path: &Path| path.display().to_string();
        if json {
            let mut record = Map::new();
            let mut insert = |key: &str, value: String| record.insert(key.to_owned(), json!(value));
            insert("event", "written".to_owned());
            insert("config", shown(path));
            for (what, file) in &new {
                insert(&format!("{}_file", what.replace(' ', "_")), shown(file));
            }
            backup.map(|backup| insert("backup", shown(&backup)));
            flow_sid.map(|flow| insert("flow_sid", flow));
            output::json_line(&record);
            return Ok(());
        }
        flow_sid.iter().for_each(|flow| output::print(&format!("Installed the flow {flow}.")));
        new.iter().for_each(|(what, file)| output::print(&format!("Wrote the {what} to {}.", file.display())));
        if self.privacy.needs_key() {
            output::print("Keep a copy of the number key apart from the store: docs/store.md, \"Number keys\".");
        }
        backup
            .iter()
            .for_each(|file| output::print(&format!("Saved the previous configuration as {}.", file.display())));
        output::print(&format!("Wrote {}.\n", path.display()));
        Ok(())
    }

    /// Installs the call flow in the Twilio account.
    fn install_flow(&self, base: &Path, json: bool) -> Result<String, CommandError> {
        let settings = match &self.backend.secret {
            Some((_, SecretAnswer::Typed(text))) => self.backend.settings_with(text),
            _ => self.backend.settings.clone(),
        };
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

/// The files of secrets that were written. They are removed if the configuration is not written, since they are of no
/// use without it.
#[derive(Default)]
struct NewFiles(Vec<(&'static str, PathBuf)>);

impl NewFiles {
    /// Keeps a secret in `folder`. Returns its place, as the configuration names it. `stem` is the name of a file for it
    /// without the extension, and `what` names the secret.
    fn keep(&mut self, text: &str, folder: &Path, stem: &str, what: &'static str) -> Result<Value, CommandError> {
        let kept = secret::keep(text, folder, stem)?;
        self.0.extend(kept.file.map(|file| (what, file)));
        Ok(kept.setting)
    }

    /// Returns the files, which stay.
    fn into_kept(mut self) -> Vec<(&'static str, PathBuf)> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, file)| drop(std::fs::remove_file(file)));
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
    config::parse(&document.to_string(), &phonegate::TYPES)
        .map_err(|error| CommandError::usage(format!("these answers give an invalid configuration: {error}")))
}
