//! Takes secrets and telephone numbers out of what an administrator hands to somebody else.
//!
//! Twice, so that neither way has to be perfect: what is shown of a configuration is a list of what may be shown, and
//! whatever else stands in it, or in the files and variables that it names, is looked for in every other text.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use phonegate::platform::dpapi;
use phonegate::telemetry::mask_numbers;
use regex::Regex;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::CommandError;
use crate::mim::{read_bounded, settings};

const HIDDEN: &str = "…";

/// A shorter text is found in too many words that have nothing to do with it.
const MIN_SECRET: usize = 6;

/// The longest secret that the library takes, in bytes.
const MAX_SECRET: u64 = 4096;

/// So many digits without anything between them may be a number where versions and addresses stand, too.
const NUMBER_DIGITS: usize = 7;

/// Keys of the configuration whose texts are words of its own language.
const WORDS: [&str; 20] = [
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
    "allowed_types",
    "without_plus",
    "site",
    "on",
    "tls",
    "format",
    "messages",
    "$schema",
];

/// Keys whose numbers are numbers. Under another key one may be a secret, or somebody's.
const NUMBERS: [&str; 31] = [
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
];

/// Keys whose texts are addresses and paths, in which a user or a number may stand.
const PLACES: [&str; 13] = [
    "trunk",
    "server",
    "outbound_proxy",
    "signalling_addresses",
    "base_url",
    "domain",
    "local_address",
    "proxy",
    "directory",
    "ca_file",
    "client_certificate",
    "path",
    "textfile",
];

/// The key whose texts are beginnings of numbers, and are shown unless they may be a whole number.
const PREFIXES: &str = "blocked_prefixes";

/// Knows what to hide.
pub(super) struct Scrubber {
    /// The longest first, since one may be a part of another.
    secrets: Vec<String>,
    /// Where the configuration's relative paths lie.
    base: PathBuf,
    user: Regex,
    digits: Regex,
}

impl Scrubber {
    /// Learns from a configuration, whose relative paths lie in `base`, and from MIM's settings, as far as there are
    /// such files and they can be read.
    pub(super) fn new(config: Option<&str>, base: &Path, mfa_settings: Option<&[u8]>) -> Result<Self, CommandError> {
        let mut this = Self {
            secrets: mfa_settings.map(settings::hidden_texts).unwrap_or_default(),
            base: base.to_owned(),
            // A password may have anything in it but a blank.
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
            // By the codes of countries: languages, and limits.
            Value::Object(map) if key == "by_country" => map.values().for_each(|value| self.learn("language", value)),
            Value::Object(map) => map.iter().for_each(|(key, value)| self.learn(key, value)),
            Value::Array(values) => values.iter().for_each(|value| self.learn(key, value)),
            Value::String(text) => self.learn_text(key, text),
            Value::Number(number) if !NUMBERS.contains(&key) => self.secrets.push(number.to_string()),
            Value::Number(_) | Value::Null | Value::Bool(_) => {}
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
            _ if WORDS.contains(&key) => {}
            PREFIXES if is_short_prefix(text) => {}
            _ if PLACES.contains(&key) => {
                // Of an address, whoever is named in it, and the password.
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

    /// The secret that is in that variable or file. None where there is no such one: whoever has mistaken the place has
    /// written the secret itself there.
    fn named(&self, key: &str, text: &str) -> Option<String> {
        match key {
            "env" => std::env::var(text).ok(),
            _ => read_bounded(&self.base.join(text), MAX_SECRET).ok().and_then(|read| text_of(&read)),
        }
    }

    /// Of a configuration that is not JSON, the texts in quotation marks and the numbers, each after the key that comes
    /// before it.
    fn learn_damaged(&mut self, config: &str) -> Result<(), CommandError> {
        let mut key = String::new();
        let values = regex(r#"("(?:[^"\\]|\\.)*")(\s*:)?|\d+"#)?;
        for found in values.captures_iter(config) {
            let text = found.get(0).map_or("", |text| text.as_str());
            let Some(quoted) = found.get(1).map(|text| text.as_str()) else {
                if !NUMBERS.contains(&key.as_str()) {
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

    /// Text in which versions and addresses may stand: what is known to be secret, the users in addresses, and long
    /// runs of digits are hidden.
    pub(super) fn words(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret, HIDDEN);
        }
        let text = self.user.replace_all(&text, format!("${{1}}{HIDDEN}@"));
        self.digits.replace_all(&text, HIDDEN).into_owned()
    }

    /// Text from anywhere: whatever may be a number is masked besides.
    pub(super) fn text(&self, text: &str) -> String {
        mask_numbers(&self.words(text))
    }

    /// A line of the log.
    pub(super) fn log_line(&self, line: &str) -> String {
        match serde_json::from_str::<Map<String, Value>>(line) {
            Ok(record) => {
                let scrubbed = record.iter().map(|(key, value)| (self.words(key), self.logged(key, value)));
                Value::Object(scrubbed.collect()).to_string()
            }
            Err(_) => self.text(line),
        }
    }

    fn logged(&self, key: &str, value: &Value) -> Value {
        match (key, value) {
            // They are what tells one call from another, and nothing else would fit their form.
            ("id", Value::String(id)) if Uuid::try_parse(id).is_ok() => value.clone(),
            ("time", Value::String(time)) if is_time(time) => value.clone(),
            (_, Value::String(text)) => self.text(text).into(),
            (_, Value::Number(number)) => self.number(number),
            (key, Value::Array(values)) => values.iter().map(|value| self.logged(key, value)).collect(),
            (_, Value::Object(map)) => {
                let scrubbed = map.iter().map(|(key, value)| (self.words(key), self.logged(key, value)));
                Value::Object(scrubbed.collect())
            }
            (_, Value::Null | Value::Bool(_)) => value.clone(),
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// Where it is not JSON, so that it is not known what is what in it.
    pub(super) fn config(&self, text: &str) -> Result<String, String> {
        let value = read_json(text).ok_or("it is not JSON")?;
        serde_json::to_string_pretty(&self.shown("", &value)).map_err(|error| error.to_string())
    }

    fn shown(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::Object(map) if key == "by_country" => {
                map.iter().map(|(country, value)| (self.words(country), self.shown("language", value))).collect()
            }
            Value::Object(map) => map.iter().map(|(key, value)| (self.words(key), self.shown(key, value))).collect(),
            Value::Array(values) => values.iter().map(|value| self.shown(key, value)).collect(),
            Value::String(text) if WORDS.contains(&key) || PLACES.contains(&key) => self.words(text).into(),
            Value::String(text) if matches!(key, "env" | "file") && self.named(key, text).is_some() => {
                self.words(text).into()
            }
            Value::String(text) if key == PREFIXES && is_short_prefix(text) => self.words(text).into(),
            Value::Number(number) if NUMBERS.contains(&key) => self.number(number),
            Value::String(_) | Value::Number(_) => HIDDEN.into(),
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    fn number(&self, number: &serde_json::Number) -> Value {
        let text = number.to_string();
        match text == self.words(&text) && digits_in(&text) < NUMBER_DIGITS {
            true => number.clone().into(),
            false => HIDDEN.into(),
        }
    }
}

/// Whether a text can be the beginning of a number, and is too short for a whole one.
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

/// As the log writes it: `2026-01-31T12:00:00.123456789Z`.
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
