//! Secrets: named in the configuration, read when they are needed, never shown.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::error::{ConfigError, ErrorKind};

/// The longest secret, in bytes.
const MAX_BYTES: u64 = 4096;

/// Where a secret is: `{"env": NAME}`, `{"file": PATH}`, or the text itself.
#[derive(Clone)]
pub enum Secret {
    /// In an environment variable.
    Env(String),
    /// In a file of its own; a line break at its end does not count.
    File(PathBuf),
    /// In the configuration: accepted, and warned about.
    Plain(SecretString),
}

impl Secret {
    /// Reads the secret. Relative files lie beside the configuration, in `base`; `path` names the place in it.
    ///
    /// # Errors
    /// Where it does not exist, is empty, too long or not UTF-8.
    pub fn resolve(&self, base: &Path, path: &str) -> Result<SecretString, ConfigError> {
        let unavailable = |problem: String| ConfigError::at(ErrorKind::SecretUnavailable, path, problem);
        let text = match self {
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
                read_file(&file).map_err(|problem| unavailable(format!("{}: {problem}", file.display())))?
            }
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(unavailable("the secret is empty".to_owned())),
            text => Ok(text.to_owned().into()),
        }
    }

    /// Does it stand in the configuration itself?
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

fn read_file(file: &Path) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("is {size} bytes long, but a secret is {MAX_BYTES} at most"));
    }
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "Secret(env {name})"),
            Self::File(file) => write!(f, "Secret(file {})", file.display()),
            Self::Plain(_) => f.write_str("Secret(plain)"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a secret: {"env": NAME}, {"file": PATH}, or text"#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        if text.is_empty() { Err(E::custom("the secret is empty")) } else { Ok(Secret::Plain(text.to_owned().into())) }
    }

    // The default texts would show the value.
    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom("a secret is text, not a number; put it in quotation marks"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        self.visit_i64(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        self.visit_i64(0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let Some((key, value)) = map.next_entry::<String, String>()? else {
            return Err(A::Error::custom(r#"is empty, but must be {"env": NAME} or {"file": PATH}"#));
        };
        if map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom(r#"has several keys, but must be {"env": NAME} or {"file": PATH}"#));
        }
        match key.as_str() {
            _ if value.is_empty() => Err(A::Error::custom(format_args!("`{key}` is empty"))),
            "env" => Ok(Secret::Env(value)),
            "file" => Ok(Secret::File(value.into())),
            "dpapi" => Err(A::Error::custom(concat!(
                "`dpapi` is not built yet in PhoneGate ",
                env!("CARGO_PKG_VERSION"),
                r#"; use {"file": PATH} with a file that only the service account can read"#
            ))),
            _ => Err(A::Error::custom(format_args!("unknown key `{key}`; a secret has `env` or `file`"))),
        }
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
        json_schema!({
            "description": "A secret. Plain text works, and is warned about.",
            "oneOf": [
                source("env", "The name of an environment variable of the service."),
                source("file", "The path of a file that holds the secret alone."),
                { "type": "string", "minLength": 1 }
            ]
        })
    }
}
