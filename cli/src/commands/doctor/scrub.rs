//! Removes secrets and telephone numbers from texts for support.
//!
//! There are two mechanisms, so that neither has to be perfect. Of a configuration, only values that are known to be
//! harmless are shown. All its other values, and those of the files and variables that it names, are searched for and
//! hidden in every other text.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use phonegate::platform::dpapi;
use phonegate::redact::mask_numbers;
use regex::Regex;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::CommandError;
use phonegate_deploy::{read_bounded, settings};

const HIDDEN: &str = "…";

/// Minimum length of a secret that is searched for, in characters. Shorter ones occur in too many unrelated words.
const MIN_SECRET: usize = 6;

/// Maximum size of a secret, in bytes. The library accepts no longer one.
const MAX_SECRET: u64 = 4096;

/// Minimum number of adjacent digits that are treated as a telephone number in a text with versions and addresses.
const NUMBER_DIGITS: usize = 7;

/// Keys of the configuration whose texts are keywords, which are shown.
const KEYWORD_KEYS: [&str; 37] = [
    "type",
    "method",
    "use",
    "press",
    "level",
    "language",
    "by_country",
    "caller_id_header",
    "number_format",
    "media_encryption",
    "default_country",
    "allowed_countries",
    "countries",
    "allowed_types",
    "without_plus",
    "site",
    "on",
    "tls",
    "format",
    "messages",
    "$schema",
    "reference",
    "call_id",
    "state",
    "empty",
    "error",
    "digits",
    "attempt",
    "pointer",
    "pound",
    "pause",
    "full",
    "text",
    "name",
    "header",
    "timestamp_header",
    "scope",
];

/// Keys whose numbers are shown. Under another key, a number may be a secret or a telephone number.
const NUMBER_KEYS: [&str; 34] = [
    "answer_after_ms",
    "press_after_ms",
    "local_port",
    "port",
    "first",
    "last",
    "deadline_s",
    "initiate_wait_ms",
    "status_wait_ms",
    "keep_finished_s",
    "max_mb",
    "calls_per_number",
    "per_number_window_s",
    "calls_per_number_per_day",
    "in_progress",
    "per_minute",
    "concurrent_calls",
    "max_programs",
    "calls_per_minute",
    "calls_per_day",
    "per_day",
    "count",
    "window_s",
    "lock_s",
    "block_for_days",
    "keep_days",
    "attempts",
    "code_digits",
    "min_digits",
    "max_failures",
    "lock_minutes",
    "repeat",
    "every_ms",
    "status",
];

/// Keys whose texts are addresses and paths. They are shown without users and numbers.
const ADDRESS_KEYS: [&str; 16] = [
    "trunk",
    "server",
    "outbound_proxy",
    "signalling_addresses",
    "base_url",
    "token_url",
    "domain",
    "local_address",
    "proxy",
    "directory",
    "ca_file",
    "client_certificate",
    "path",
    "program",
    "script",
    "textfile",
];

/// Keys of tables by country, or by a text of a provider. Their values are keywords, or objects.
const TABLE_KEYS: [&str; 3] = ["by_country", "pending", "failed"];

/// Keys of objects whose keys the administrator or the provider chooses. Everything below them is hidden, whatever its key.
const OPAQUE_KEYS: [&str; 4] = ["secrets", "headers", "form", "json"];

/// The key whose texts are prefixes of numbers. They are shown, unless one is long enough for a whole number.
const PREFIXES_KEY: &str = "blocked_prefixes";

/// Hides secrets and telephone numbers.
pub(super) struct Scrubber {
    /// The known secrets, the longest first, since one may be a part of another.
    secrets: Vec<String>,
    /// The folder of the relative paths in the configuration.
    base: PathBuf,
    user: Regex,
    digits: Regex,
}

impl Scrubber {
    /// Collects the secrets of a configuration, whose relative paths are in the folder `base`, and of MIM's settings.
    pub(super) fn new(config: Option<&str>, base: &Path, mfa_settings: Option<&[u8]>) -> Result<Self, CommandError> {
        let mut this = Self {
            secrets: mfa_settings.map(settings::secret_texts).unwrap_or_default(),
            base: base.to_owned(),
            // A password may contain any character but a blank.
            user: regex(r#"(?i)((?:\b(?:sips?|tel|https?|wss?|socks[45][ah]?):(?://)?)?)[^\s<>"'@]\S*@"#)?,
            digits: regex(&format!(r"\d{{{NUMBER_DIGITS},}}"))?,
        };
        match config.map(|config| (config, read_json(config))) {
            Some((_, Some(value))) => this.learn("", &value),
            Some((damaged, None)) => this.learn_damaged(damaged)?,
            None => {}
        }
        this.secrets.retain(|secret| secret.chars().count() >= MIN_SECRET);
        this.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        this.secrets.dedup();
        Ok(this)
    }

    fn learn(&mut self, key: &str, value: &Value) {
        match value {
            _ if OPAQUE_KEYS.contains(&key) => self.learn_opaque(value),
            Value::Object(map) if TABLE_KEYS.contains(&key) => {
                map.values().for_each(|value| self.learn("language", value));
            }
            Value::Object(map) => map.iter().for_each(|(key, value)| self.learn(key, value)),
            Value::Array(values) => values.iter().for_each(|value| self.learn(key, value)),
            Value::String(text) => self.learn_text(key, text),
            Value::Number(number) if !NUMBER_KEYS.contains(&key) => self.secrets.push(number.to_string()),
            Value::Number(_) | Value::Null | Value::Bool(_) => {}
        }
    }

    fn learn_opaque(&mut self, value: &Value) {
        match value {
            Value::Object(map) if names_secret(map) => map.iter().for_each(|(key, value)| self.learn(key, value)),
            Value::Object(map) => map.values().for_each(|value| self.learn_opaque(value)),
            Value::Array(values) => values.iter().for_each(|value| self.learn_opaque(value)),
            Value::String(text) => self.secrets.push(text.trim().to_owned()),
            Value::Number(number) => self.secrets.push(number.to_string()),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn learn_text(&mut self, key: &str, text: &str) {
        match key {
            "env" | "file" => self.secrets.push(self.named(key, text).unwrap_or_else(|| text.to_owned())),
            "dpapi" => {
                let opened = BASE64_STANDARD.decode(text).ok().and_then(|sealed| dpapi::open(&sealed).ok());
                self.secrets.extend(opened.and_then(|opened| text_of(&opened)));
                self.secrets.push(text.to_owned());
            }
            _ if KEYWORD_KEYS.contains(&key) => {}
            PREFIXES_KEY if is_short_prefix(text) => {}
            _ if ADDRESS_KEYS.contains(&key) => {
                // The user and the password in an address are secrets.
                if let Some((user, _)) = text.rsplit_once('@') {
                    let user = user.rsplit_once("//").map_or(user, |(_, user)| user);
                    let user = user.strip_prefix("sip:").or(user.strip_prefix("sips:")).unwrap_or(user);
                    self.secrets.push(user.to_owned());
                    self.secrets.extend(user.split(':').map(str::to_owned));
                }
            }
            _ => self.secrets.push(text.trim().to_owned()),
        }
    }

    /// Returns the secret in a variable or file. `None` if it does not exist: then the configuration may have the secret
    /// itself in its place.
    fn named(&self, key: &str, text: &str) -> Option<String> {
        match key {
            "env" => std::env::var(text).ok(),
            _ => read_bounded(&self.base.join(text), MAX_SECRET).ok().and_then(|read| text_of(&read)),
        }
    }

    /// Collects secrets from a configuration that is not valid JSON: quoted texts and numbers, each with the key before
    /// it.
    fn learn_damaged(&mut self, config: &str) -> Result<(), CommandError> {
        let mut key = String::new();
        let values = regex(r#"("(?:[^"\\]|\\.)*")(\s*:)?|\d+"#)?;
        for found in values.captures_iter(config) {
            let text = found.get(0).map_or("", |text| text.as_str());
            let Some(quoted) = found.get(1).map(|text| text.as_str()) else {
                if !NUMBER_KEYS.contains(&key.as_str()) {
                    self.secrets.push(text.to_owned());
                }
                continue;
            };
            let content = serde_json::from_str(quoted).unwrap_or_else(|_| quoted.trim_matches('"').to_owned());
            match found.get(2) {
                Some(_) => key = content,
                None => self.learn_text(&key, &content),
            }
        }
        Ok(())
    }

    /// Scrubs a text that may contain versions and addresses: hides known secrets, users in addresses, and long runs of
    /// digits.
    pub(super) fn technical_text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret, HIDDEN);
        }
        let text = self.user.replace_all(&text, format!("${{1}}{HIDDEN}@"));
        self.digits.replace_all(&text, HIDDEN).into_owned()
    }

    /// Scrubs any text: also masks everything that may be a telephone number.
    pub(super) fn text(&self, text: &str) -> String {
        mask_numbers(&self.technical_text(text))
    }

    /// Scrubs a line of the log.
    pub(super) fn log_line(&self, line: &str) -> String {
        match serde_json::from_str::<Map<String, Value>>(line) {
            Ok(record) => {
                let scrubbed = record.iter().map(|(key, value)| (self.technical_text(key), self.logged(key, value)));
                Value::Object(scrubbed.collect()).to_string()
            }
            Err(_) => self.text(line),
        }
    }

    fn logged(&self, key: &str, value: &Value) -> Value {
        match (key, value) {
            // Ids and times distinguish calls, and no secret has their form.
            ("id", Value::String(id)) if Uuid::try_parse(id).is_ok() => value.clone(),
            ("time", Value::String(time)) if is_time(time) => value.clone(),
            (_, Value::String(text)) => self.text(text).into(),
            (_, Value::Number(number)) => self.number(number),
            (key, Value::Array(values)) => values.iter().map(|value| self.logged(key, value)).collect(),
            (_, Value::Object(map)) => {
                let scrubbed = map.iter().map(|(key, value)| (self.technical_text(key), self.logged(key, value)));
                Value::Object(scrubbed.collect())
            }
            (_, Value::Null | Value::Bool(_)) => value.clone(),
        }
    }

    /// Scrubs a configuration.
    ///
    /// # Errors
    /// If it is not valid JSON, so that its values cannot be recognized.
    pub(super) fn config(&self, text: &str) -> Result<String, String> {
        let value = read_json(text).ok_or("it is not JSON")?;
        serde_json::to_string_pretty(&self.shown("", &value)).map_err(|error| error.to_string())
    }

    fn shown(&self, key: &str, value: &Value) -> Value {
        match value {
            _ if OPAQUE_KEYS.contains(&key) => self.shown_opaque(value),
            Value::Object(map) if TABLE_KEYS.contains(&key) => map
                .iter()
                .map(|(country, value)| (self.technical_text(country), self.shown("language", value)))
                .collect(),
            Value::Object(map) => {
                map.iter().map(|(key, value)| (self.technical_text(key), self.shown(key, value))).collect()
            }
            Value::Array(values) => values.iter().map(|value| self.shown(key, value)).collect(),
            Value::String(text) if KEYWORD_KEYS.contains(&key) || ADDRESS_KEYS.contains(&key) => {
                self.technical_text(text).into()
            }
            Value::String(text) if matches!(key, "env" | "file") && self.named(key, text).is_some() => {
                self.technical_text(text).into()
            }
            Value::String(text) if key == PREFIXES_KEY && is_short_prefix(text) => self.technical_text(text).into(),
            Value::Number(number) if NUMBER_KEYS.contains(&key) => self.number(number),
            Value::String(_) | Value::Number(_) => HIDDEN.into(),
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    fn shown_opaque(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) if names_secret(map) => {
                map.iter().map(|(key, value)| (key.clone(), self.shown(key, value))).collect()
            }
            Value::Object(map) => {
                map.iter().map(|(key, value)| (self.technical_text(key), self.shown_opaque(value))).collect()
            }
            Value::Array(values) => values.iter().map(|value| self.shown_opaque(value)).collect(),
            Value::String(_) | Value::Number(_) => HIDDEN.into(),
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    fn number(&self, number: &serde_json::Number) -> Value {
        let text = number.to_string();
        match text == self.technical_text(&text) && digits_in(&text) < NUMBER_DIGITS {
            true => number.clone().into(),
            false => HIDDEN.into(),
        }
    }
}

/// Returns whether an object names the place of a secret.
fn names_secret(map: &Map<String, Value>) -> bool {
    map.len() == 1 && ["env", "file", "dpapi"].iter().any(|key| map.contains_key(*key))
}

/// Returns whether a text is a prefix of a number, and too short for a whole one.
fn is_short_prefix(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || "+? ".contains(c)) && digits_in(text) < NUMBER_DIGITS
}

fn digits_in(text: &str) -> usize {
    text.chars().filter(char::is_ascii_digit).count()
}

fn regex(pattern: &str) -> Result<Regex, CommandError> {
    Regex::new(pattern).map_err(|error| CommandError::failed(format!("cannot scrub: {error}")))
}

fn read_json(text: &str) -> Option<Value> {
    serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()
}

fn text_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(|text| text.trim_start_matches('\u{feff}').trim().to_owned())
}

/// Returns whether a text is a time of the log: `2026-01-31T12:00:00.123456789Z`.
fn is_time(text: &str) -> bool {
    text.len() <= 35 && text.contains('T') && text.ends_with('Z') && {
        let rest = text.trim_end_matches('Z');
        let (date, time) = rest.split_once('T').unwrap_or_default();
        let numbers = |text: &str, separator: char, count: usize| {
            text.split(separator).count() == count
                && text.chars().all(|c| c.is_ascii_digit() || c == separator || c == '.')
        };
        date.len() == 10 && numbers(date, '-', 3) && numbers(time, ':', 3)
    }
}

#[cfg(test)]
mod tests;
