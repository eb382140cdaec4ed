//! The section `backends`: which types there are, and what the rest of the configuration must know about a backend.
//!
//! The settings of each type are in its folder below `src/backend`, which depends on this module.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;

use super::error::ConfigError;
use super::load::invalid_at;
use super::secret::Secret;
use super::{ApprovalConfig, BackendNumbers};
use crate::no_duplicate_keys::{self, Json};

/// What the rest of the configuration must know about the settings of a backend.
pub trait BackendSettings: Any + fmt::Debug + Send + Sync {
    /// Returns the settings that are secrets, each with its key.
    fn secrets(&self) -> Vec<(&'static str, Option<&Secret>)> {
        Vec::new()
    }

    /// Returns the secrets whose keys the configuration chooses, each with its path below the backend.
    fn named_secrets(&self) -> Vec<(String, &Secret)> {
        Vec::new()
    }

    /// Returns whether the provider or trunk is at a loopback address, where any user of this machine could take its
    /// place, and the configuration does not allow that (`local_peer`). Such a backend counts as a test backend.
    /// [`phonegate_net::loopback`] says what loopback is.
    fn is_local_test(&self) -> bool {
        false
    }

    /// Returns the backend's own file of certificate authorities. An account that can change it can approve calls.
    fn ca_file(&self) -> Option<&Path> {
        None
    }

    /// Returns the programs that the backend runs. An account that can change one can approve calls.
    fn trusted_files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Returns who judges what the users of this backend answer.
    fn judge(&self) -> Judge {
        Judge::PhoneGate
    }

    /// Returns whether calls play the recordings of `prompts`.
    fn plays_recordings(&self) -> bool {
        false
    }

    /// Returns whether a call can show another caller id than that of the settings: the one of its route.
    fn can_change_caller_id(&self) -> bool {
        false
    }

    /// Checks the settings against the numbers that the backend is asked to call. `path` is that of the backend. Called
    /// for every backend, also if it is not in use.
    ///
    /// # Errors
    /// The first setting that contradicts them.
    fn check_numbers(&self, _path: &str, _numbers: BackendNumbers<'_>) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Checks whether users may enter PINs over this backend. `path` is that of the backend. Called for the backends in
    /// use if `approval.method` asks for a PIN.
    ///
    /// # Errors
    /// The setting that does not allow it, and what to do.
    fn check_pins(&self, path: &str, approval: &ApprovalConfig) -> Result<(), ConfigError>;

    /// Returns what works but should be changed. Called for the backends in use.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Who judges what the users of a backend answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// PhoneGate: the backend reports what was pressed.
    PhoneGate,
    /// The provider: the backend reports only whether the user approved.
    Provider {
        /// The backend's `accept_provider_verdict`: whether such a verdict approves a call. `None`: not configured.
        accept: Option<bool>,
    },
}

/// Reads the settings at a path of the configuration.
type ReadSettings = fn(&str, Value) -> Result<Box<dyn BackendSettings>, ConfigError>;

/// A type of backend, which the key `type` selects.
pub struct BackendType {
    name: &'static str,
    is_for_tests: bool,
    read: ReadSettings,
    schema: fn(&mut SchemaGenerator) -> Schema,
    /// Opaque to this module, which does not know backends. `crate::backend` builds a backend with it.
    builder: &'static (dyn Any + Send + Sync),
}

impl BackendType {
    /// Returns the type `name` with the settings `T`. [`crate::backend::backend_type`] provides the builder.
    pub(crate) const fn new<T>(name: &'static str, builder: &'static (dyn Any + Send + Sync)) -> Self
    where
        T: BackendSettings + DeserializeOwned + JsonSchema,
    {
        Self { name, is_for_tests: false, read: read::<T>, schema: T::json_schema, builder }
    }

    /// Marks a type that approves calls without a telephone. It needs `allow_test_backends`.
    pub const fn for_tests(self) -> Self {
        Self { is_for_tests: true, ..self }
    }

    /// Returns the value of `type` that selects it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns whether it approves calls without a telephone.
    pub fn is_for_tests(&self) -> bool {
        self.is_for_tests
    }

    /// Returns the schema of a backend of this type.
    pub(super) fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let mut schema = (self.schema)(generator);
        let object = schema.ensure_object();
        if let Some(properties) =
            object.entry("properties").or_insert_with(|| Value::Object(Default::default())).as_object_mut()
        {
            properties.insert("type".to_owned(), serde_json::json!({ "type": "string", "const": self.name }));
        }
        if let Some(required) = object.entry("required").or_insert_with(|| Value::Array(Vec::new())).as_array_mut() {
            required.insert(0, "type".into());
        }
        schema
    }
}

fn read<T: BackendSettings + DeserializeOwned>(
    path: &str,
    value: Value,
) -> Result<Box<dyn BackendSettings>, ConfigError> {
    match serde_path_to_error::deserialize::<_, T>(value) {
        Ok(settings) => Ok(Box::new(settings)),
        Err(error) => Err(invalid_at(path, &error)),
    }
}

/// Why a backend counts as a test backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestReason {
    /// Its type approves calls without a telephone.
    NoTelephone,
    /// Its provider or trunk is at a loopback address, and `local_peer` is not set.
    Loopback,
}

impl TestReason {
    /// Returns the reason, as the predicate of a sentence about the backend.
    pub fn clause(self) -> &'static str {
        match self {
            Self::NoTelephone => "approves without a telephone",
            Self::Loopback => "connects to this machine, where any user could listen in its place",
        }
    }

    /// Returns what makes it a real backend. `None` if nothing does.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::NoTelephone => None,
            Self::Loopback => {
                Some("set \"local_peer\": true in the backend if its PBX, proxy or service really runs on this machine")
            }
        }
    }

    /// Returns what to do if it is refused.
    pub fn advice(self) -> String {
        match self.remedy() {
            None => "it needs \"allow_test_backends\": true, never in production".to_owned(),
            Some(remedy) => format!("{remedy}, or \"allow_test_backends\": true for tests, never in production"),
        }
    }
}

/// One backend: its type and its settings.
pub struct BackendConfig {
    kind: &'static BackendType,
    settings: Box<dyn BackendSettings>,
}

impl BackendConfig {
    /// Reads the backend at `path`, whose `type` is one of `types`.
    fn read(path: String, mut value: Value, types: &'static [BackendType]) -> Result<Self, ConfigError> {
        let Some(settings) = value.as_object_mut() else {
            return Err(ConfigError::invalid(path, "must be an object with a `type`"));
        };
        let kind = match settings.remove("type") {
            Some(Value::String(name)) => types.iter().find(|kind| kind.name == name).ok_or_else(|| {
                format!("unknown type `{name}`; there are {}", sentence_list(types.iter().map(BackendType::name)))
            }),
            _ => Err(format!("is missing; there are {}", sentence_list(types.iter().map(BackendType::name)))),
        };
        match kind {
            Ok(kind) => Ok(Self { kind, settings: (kind.read)(&path, value)? }),
            Err(problem) => Err(ConfigError::invalid(path + ".type", problem)),
        }
    }

    /// Returns the value of its `type`.
    pub fn type_name(&self) -> &'static str {
        self.kind.name
    }

    /// Returns whether it counts as a test backend.
    pub fn is_for_tests(&self) -> bool {
        self.test_reason().is_some()
    }

    /// Returns why it counts as a test backend. `None` if it does not.
    pub fn test_reason(&self) -> Option<TestReason> {
        match self.kind.is_for_tests {
            true => Some(TestReason::NoTelephone),
            false => self.settings.is_local_test().then_some(TestReason::Loopback),
        }
    }

    /// Returns whether its type is for tests: it approves calls without a telephone.
    pub(super) fn is_of_test_type(&self) -> bool {
        self.kind.is_for_tests
    }

    /// Returns the settings if they are of the type `T`.
    pub fn settings<T: BackendSettings>(&self) -> Option<&T> {
        (&*self.settings as &dyn Any).downcast_ref()
    }

    /// Returns what the rest of the configuration must know about the settings.
    pub(super) fn facts(&self) -> &dyn BackendSettings {
        &*self.settings
    }

    /// Returns the builder of its type, if it is a `T`.
    pub(crate) fn builder<T: Any>(&self) -> Option<&'static T> {
        (self.kind.builder as &dyn Any).downcast_ref()
    }
}

impl fmt::Debug for BackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.kind.name).field(&self.settings).finish()
    }
}

/// Returns names as a part of a sentence: `a, b and c`.
pub(super) fn sentence_list(names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<_> = names.collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// The schema of all types, which [`schema`](super::schema()) fills in.
impl JsonSchema for BackendConfig {
    fn schema_name() -> Cow<'static, str> {
        "BackendConfig".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "The settings of a backend. `type` selects its type.", "oneOf": [] })
    }
}

/// The section as JSON. Its `Debug` shows nothing of it, since it may hold secrets.
#[derive(Default)]
pub(super) struct UnreadBackends(BTreeMap<String, Json>);

impl UnreadBackends {
    /// Reads each backend by its type, so that an error names its path.
    pub(super) fn read(self, types: &'static [BackendType]) -> Result<BTreeMap<String, BackendConfig>, ConfigError> {
        let read = self.0.into_iter().map(|(name, Json(value))| {
            let backend = BackendConfig::read(format!("backends.{name}"), value, types)?;
            Ok((name, backend))
        });
        read.collect()
    }
}

impl<'de> Deserialize<'de> for UnreadBackends {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        no_duplicate_keys::map(deserializer).map(Self)
    }
}

impl fmt::Debug for UnreadBackends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnreadBackends")
    }
}
