//! Takes secrets and telephone numbers out of what an administrator hands to somebody else.
//!
//! Twice, so that neither way has to be perfect: what is shown of a configuration is a list of what may be shown, and
//! whatever else stands in it, or in the files and variables that it names, is looked for in every other text.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use phonegate::platform::dpapi;
use phonegate::telemetry::mask_numbers;
use regex::Regex;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::exit::{Exit, Trouble};
use crate::mim::{read_bounded, settings};

const HIDDEN: &str = "…";

/// A shorter text is found in too many words that have nothing to do with it.
const MIN_SECRET: usize = 6;

/// The longest secret that the library takes, in bytes.
const MAX_SECRET: u64 = 4096;

/// So many digits without anything between them may be a number where versions and addresses stand, too.
const NUMBER_DIGITS: usize = 7;

/// Keys of the configuration whose texts are words of its own language.
const WORDS: [&str; 13] = [
    "type",
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
    "env",
    "$schema",
];

/// Keys whose texts are addresses and paths, in which a user or a number may stand.
const PLACES: [&str; 9] =
    ["trunk", "outbound_proxy", "base_url", "domain", "local_address", "proxy", "directory", "ca_file", "path"];

/// Knows what to hide.
pub(super) struct Scrubber {
    /// The longest first, since one may be a part of another.
    secrets: Vec<String>,
    user: Regex,
    digits: Regex,
}

impl Scrubber {
    /// Learns from a configuration, whose relative paths lie in `base`, and from MIM's settings, as far as there are
    /// such files and they can be read.
    pub(super) fn new(config: Option<&str>, base: &Path, mfa_settings: Option<&[u8]>) -> Result<Self, Trouble> {
        let regex = |pattern: &str| {
            Regex::new(pattern).map_err(|error| Trouble { exit: Exit::Failed, text: format!("cannot scrub: {error}") })
        };
        let mut this = Self {
            secrets: mfa_settings.map(settings::hidden_texts).unwrap_or_default(),
            user: regex(r#"(?i)((?:\b(?:sips?|tel|https?|wss?|socks[45][ah]?):(?://)?)?)[^\s<>"'@]+@"#)?,
            digits: regex(&format!(r"\d{{{NUMBER_DIGITS},}}"))?,
        };
        if let Some(value) = config.and_then(|config| read_json(config)) {
            this.learn("", &value, base);
        }
        this.secrets.retain(|secret| secret.chars().count() >= MIN_SECRET);
        this.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        this.secrets.dedup();
        Ok(this)
    }

    fn learn(&mut self, key: &str, value: &Value, base: &Path) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                match (key.as_str(), value) {
                    ("file", Value::String(file)) => {
                        let text = read_bounded(&base.join(file), MAX_SECRET).ok();
                        self.secrets.extend(text.and_then(|text| text_of(&text)));
                    }
                    ("env", Value::String(name)) => self.secrets.extend(std::env::var(name)),
                    ("dpapi", Value::String(sealed)) => {
                        let opened = BASE64_STANDARD.decode(sealed).ok().and_then(|sealed| dpapi::open(&sealed).ok());
                        self.secrets.extend(opened.and_then(|opened| text_of(&opened)));
                    }
                    _ => {}
                }
                let words = key == "by_country" || WORDS.contains(&key.as_str());
                if !words {
                    self.learn(key, value, base);
                }
            }),
            Value::Array(values) => values.iter().for_each(|value| self.learn(key, value, base)),
            Value::String(text) if PLACES.contains(&key) || key == "file" => {
                // Of an address, whoever is named in it, and the password.
                if let Some((user, _)) = text.rsplit_once('@') {
                    let user = user.rsplit_once("//").map_or(user, |(_, user)| user);
                    self.secrets.push(user.to_owned());
                    self.secrets.extend(user.split(':').map(str::to_owned));
                }
            }
            Value::String(text) => self.secrets.push(text.trim().to_owned()),
            // Long ones are hidden everywhere.
            Value::Number(_) | Value::Null | Value::Bool(_) => {}
        }
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
                map.iter().map(|(country, language)| (self.words(country), self.shown("language", language))).collect()
            }
            Value::Object(map) => map.iter().map(|(key, value)| (self.words(key), self.shown(key, value))).collect(),
            Value::Array(values) => values.iter().map(|value| self.shown(key, value)).collect(),
            Value::String(text) if WORDS.contains(&key) || PLACES.contains(&key) || key == "file" => {
                self.words(text).into()
            }
            Value::String(_) => HIDDEN.into(),
            Value::Number(number) => self.number(number),
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    fn number(&self, number: &serde_json::Number) -> Value {
        let text = number.to_string();
        match text == self.words(&text) && text.chars().filter(char::is_ascii_digit).count() < NUMBER_DIGITS {
            true => number.clone().into(),
            false => HIDDEN.into(),
        }
    }
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
