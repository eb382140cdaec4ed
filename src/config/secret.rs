//! Secrets: named in the configuration, read when they are needed, never shown.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use zeroize::Zeroizing;

use super::error::{ConfigError, ErrorKind};
use super::file::read_text;
use crate::platform::dpapi;

/// A secret, or where it is: `{"env": NAME}`, `{"file": PATH}`, `{"dpapi": BASE64}`, or the text itself.
#[derive(Clone)]
pub enum Secret {
    /// The name of an environment variable.
    Env(String),
    /// A file with the secret only. A line break at its end is ignored.
    File(PathBuf),
    /// A secret that `phonegate protect` sealed on this Windows machine.
    Dpapi(Vec<u8>),
    /// The text itself, which causes a warning.
    Plain(SecretString),
}

impl Secret {
    /// Maximum length of a secret in a file, in bytes.
    pub const MAX_BYTES: u64 = 4096;

    /// Reads the secret. A relative file is resolved against `base`. `path` is its path in the configuration, for
    /// errors.
    ///
    /// # Errors
    /// If it does not exist, is empty, too long or not UTF-8.
    pub fn resolve(&self, base: &Path, path: &str) -> Result<SecretString, ConfigError> {
        let unavailable = |problem: String| ConfigError::at(ErrorKind::SecretUnavailable, path, problem);
        let text = Zeroizing::new(match self {
            Self::Plain(text) => return Ok(text.clone()),
            Self::Env(name) => match std::env::var(name) {
                Ok(text) => text,
                Err(std::env::VarError::NotPresent) => {
                    return Err(unavailable(format!("the environment variable {name} is not set for this process")));
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(unavailable(format!("the environment variable {name} is not UTF-8")));
                }
            },
            Self::File(file) => {
                let file = base.join(file);
                read_text(&file, Self::MAX_BYTES)
                    .map_err(|problem| unavailable(format!("{}: {problem}", file.display())))?
            }
            Self::Dpapi(sealed) => open(sealed).map_err(unavailable)?,
        });
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(unavailable("the secret is empty".to_owned())),
            text => Ok(text.to_owned().into()),
        }
    }

    /// Returns whether the configuration has the text itself.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

fn open(sealed: &[u8]) -> Result<String, String> {
    let secret = dpapi::open(sealed).map_err(|error| {
        format!("cannot be opened here: {error}; a secret can be opened only on the machine that sealed it")
    })?;
    std::str::from_utf8(&secret).map(str::to_owned).map_err(|_| "is not UTF-8".to_owned())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "Secret(env {name})"),
            Self::File(file) => write!(f, "Secret(file {})", file.display()),
            Self::Dpapi(_) => f.write_str("Secret(dpapi)"),
            Self::Plain(_) => f.write_str("Secret(plain)"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Read as a whole first: errors of serde would show the value, and its keys.
        let value = Value::deserialize(deserializer)?;
        parse(value).map_err(D::Error::custom)
    }
}

fn parse(value: Value) -> Result<Secret, String> {
    const FORMS: &str = r#"{"env": NAME}, {"file": PATH}, {"dpapi": BASE64}, or text in quotation marks"#;
    let (key, value) = match value {
        Value::String(text) if text.is_empty() => return Err("the secret is empty".to_owned()),
        Value::String(text) => return Ok(Secret::Plain(text.into())),
        Value::Object(map) => {
            let mut entries = map.into_iter();
            match (entries.next(), entries.next()) {
                (Some((key, Value::String(value))), None) => (key, value),
                (Some(_), Some(_)) => return Err(format!("has several keys, but a secret is {FORMS}")),
                _ => return Err(format!("is incomplete; a secret is {FORMS}")),
            }
        }
        _ => return Err(format!("is neither text nor an object; a secret is {FORMS}")),
    };
    match key.as_str() {
        "env" if !value.is_empty() => Ok(Secret::Env(value)),
        "file" if !value.is_empty() => Ok(Secret::File(value.into())),
        "dpapi" if !value.is_empty() => BASE64_STANDARD
            .decode(&value)
            .map(Secret::Dpapi)
            .map_err(|_| "`dpapi` is not Base64; `phonegate protect` prints it".to_owned()),
        "env" | "file" | "dpapi" => Err(format!("`{key}` is empty")),
        _ => Err(format!("has another key than `env`, `file` or `dpapi`; a secret is {FORMS}")),
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let source = |key: &str, description: &str| {
            json_schema!({
                "type": "object",
                "properties": { key: { "type": "string", "minLength": 1 } },
                "required": [key],
                "additionalProperties": false,
                "description": description
            })
        };
        let mut dpapi = source("dpapi", "Sealed by `phonegate protect`; can be opened only on that Windows machine.");
        if let Some(value) = dpapi.pointer_mut("/properties/dpapi").and_then(Value::as_object_mut) {
            // Base64.
            value.insert("pattern".to_owned(), "^[A-Za-z0-9+/]+={0,2}$".into());
        }
        json_schema!({
            "description": "A secret. Plain text works, but causes a warning.",
            "oneOf": [
                source("env", "The name of an environment variable of the service."),
                source("file", "The path of a file with the secret only."),
                dpapi,
                { "type": "string", "minLength": 1 }
            ]
        })
    }
}
