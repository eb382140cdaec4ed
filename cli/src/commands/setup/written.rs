//! The files that setup has written, and how it reports them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::secret;
use crate::error::CommandError;
use crate::output;

/// The name of the number key in messages.
const NUMBER_KEY: &str = "number key";

/// The name of its file, without the extension.
const KEY_STEM: &str = "number-key";

/// The files of secrets that were written. They are removed if the configuration is not written, since they are of no
/// use without it.
#[derive(Default)]
pub(super) struct NewFiles(Vec<(&'static str, PathBuf)>);

impl NewFiles {
    /// Keeps the secret of the backend `name` in `folder`. Returns its place, as the configuration names it.
    pub(super) fn keep_secret(&mut self, text: &str, folder: &Path, name: &str) -> Result<Value, CommandError> {
        self.keep(text, folder, &format!("{name}-secret"), "secret")
    }

    /// Keeps a number key in `folder`. Returns its place, as the configuration names it.
    pub(super) fn keep_number_key(&mut self, key: &str, folder: &Path) -> Result<Value, CommandError> {
        self.keep(key, folder, KEY_STEM, NUMBER_KEY)
    }

    /// `stem` is the name of a file for the secret without the extension, and `what` names the secret.
    fn keep(&mut self, text: &str, folder: &Path, stem: &str, what: &'static str) -> Result<Value, CommandError> {
        let kept = secret::keep(text, folder, stem)?;
        self.0.extend(kept.file.map(|file| (what, file)));
        Ok(kept.setting)
    }

    /// Returns the files, which stay.
    pub(super) fn into_kept(mut self) -> Vec<(&'static str, PathBuf)> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, file)| drop(std::fs::remove_file(file)));
    }
}

/// What was written.
pub(super) struct Written {
    pub(super) config: PathBuf,
    /// The files of secrets, each with what it has.
    pub(super) files: Vec<(&'static str, PathBuf)>,
    /// Whether the configuration has a new number key.
    pub(super) has_new_key: bool,
    /// The copy of the configuration that was replaced.
    pub(super) backup: Option<PathBuf>,
    /// The flow that was installed at Twilio.
    pub(super) flow_sid: Option<String>,
}

impl Written {
    /// Prints what was written, and what to do about it.
    pub(super) fn report(&self, json: bool) {
        match json {
            true => output::json_line(&self.record()),
            false => self.lines().iter().for_each(|line| output::print(line)),
        }
        self.warnings().for_each(|text| output::warning(json, &text));
        if !json {
            output::print("");
        }
    }

    fn record(&self) -> Map<String, Value> {
        let mut record = Map::new();
        let mut insert = |key: &str, value: String| record.insert(key.to_owned(), json!(value));
        insert("event", "written".to_owned());
        insert("config", shown(&self.config));
        for (what, file) in &self.files {
            insert(&format!("{}_file", what.replace(' ', "_")), shown(file));
        }
        self.backup.iter().for_each(|backup| drop(insert("backup", shown(backup))));
        self.flow_sid.iter().for_each(|flow| drop(insert("flow_sid", flow.clone())));
        record
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.flow_sid.iter().map(|flow| format!("Installed the flow {flow}.")));
        lines.extend(self.files.iter().map(|(what, file)| format!("Wrote the {what} to {}.", file.display())));
        if self.has_new_key && !self.is_key_encrypted() {
            lines
                .push("Keep a copy of the number key apart from the store: docs/store.md, \"Number keys\".".to_owned());
        }
        lines.extend(self.backup.iter().map(|file| format!("Saved the previous configuration as {}.", file.display())));
        lines.push(format!("Wrote {}.", self.config.display()));
        lines
    }

    fn warnings(&self) -> impl Iterator<Item = String> {
        self.encrypted_key_warning().into_iter().chain(self.other_key_warning())
    }

    /// Returns a warning if only this machine can read the number key.
    fn encrypted_key_warning(&self) -> Option<String> {
        self.is_key_encrypted().then(|| {
            format!(
                "the number key is encrypted in {}, and only this machine can decrypt it; without the key, a rebuilt \
                 machine or another node cannot use the store. docs/store.md, \"Number keys\", has the command that prints \
                 it: keep a copy apart from the store",
                self.config.display()
            )
        })
    }

    /// Returns a warning if there was a number key already, which a store may have been used with.
    fn other_key_warning(&self) -> Option<String> {
        let key = self.key_file()?;
        let first = key.with_file_name(secret::file_name(KEY_STEM));
        (key != first).then(|| {
            format!(
                "{} was there already, and is not used. If calls were stored with that key, the store refuses the new one: \
                 run this again with --force --number-key-file {}",
                first.display(),
                first.display()
            )
        })
    }

    /// Returns whether the new number key is in the configuration, and not in a file.
    fn is_key_encrypted(&self) -> bool {
        self.has_new_key && self.key_file().is_none()
    }

    /// Returns the file of the new number key.
    fn key_file(&self) -> Option<&Path> {
        self.files.iter().find(|(what, _)| *what == NUMBER_KEY).map(|(_, file)| file.as_path())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[&'static str], has_new_key: bool) -> Written {
        let files = files.iter().map(|what| (*what, PathBuf::from("file.txt"))).collect();
        Written { config: "phonegate.json".into(), files, has_new_key, backup: None, flow_sid: None }
    }

    #[test]
    fn only_a_key_that_is_encrypted_is_warned_about() {
        for (files, has_new_key, is_warned) in [
            (&["secret"][..], true, true),
            (&[], true, true),
            (&["secret", NUMBER_KEY], true, false),
            (&["secret"], false, false),
        ] {
            let written = written(files, has_new_key);
            assert_eq!(written.encrypted_key_warning().is_some(), is_warned, "{files:?} {has_new_key}");
            let is_in_file = written.lines().iter().any(|line| line.starts_with("Keep a copy of the number key"));
            assert_eq!(is_in_file, has_new_key && !is_warned, "{files:?} {has_new_key}");
        }
    }

    #[test]
    fn the_warning_says_where_the_key_is_and_how_to_copy_it() {
        let warning = written(&[], true).encrypted_key_warning().unwrap_or_default();
        for words in ["phonegate.json", "only this machine", "docs/store.md, \"Number keys\""] {
            assert!(warning.contains(words), "{warning}");
        }
    }
}
