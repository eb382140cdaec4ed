//! The section `store`: which types there are, and what the rest of the configuration must know about a store.
//!
//! The settings of each type are in its folder below `src/store`, which depends on this module.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::{Map, Value};

use super::backend::sentence_list;
use super::error::ConfigError;
use super::load::invalid_at;
use super::secret::Secret;
use crate::no_duplicate_keys::{self, Json};

/// What the rest of the configuration must know about the settings of a store.
pub trait StoreSettings: Any + fmt::Debug + Send + Sync {
    /// Checks what the types of the settings do not check.
    ///
    /// # Errors
    /// The first setting that is wrong or missing.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Returns whether the store outlives the process.
    fn is_persistent(&self) -> bool {
        true
    }

    /// Returns the settings that are secrets, each with its key.
    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        Vec::new()
    }

    /// Returns the store's own file of certificate authorities. An account that can change it can approve calls.
    fn ca_file(&self) -> Option<&Path> {
        None
    }

    /// Returns the files with calls that the configuration names. An account that can change them can approve calls.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// A type of store, which the key `type` selects.
pub struct StoreType {
    name: &'static str,
    read: fn(Value) -> Result<Box<dyn StoreSettings>, ConfigError>,
    schema: fn(&mut SchemaGenerator) -> Schema,
    /// Opaque to this module, which does not know stores. `crate::store` opens a store with it.
    opener: &'static (dyn Any + Send + Sync),
}

impl StoreType {
    /// Returns the type `name` with the settings `T`. `crate::store` provides the opener.
    pub(crate) const fn new<T>(name: &'static str, opener: &'static (dyn Any + Send + Sync)) -> Self
    where
        T: StoreSettings + DeserializeOwned + JsonSchema,
    {
        Self { name, read: read::<T>, schema: T::json_schema, opener }
    }

    /// Returns the value of `type` that selects it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns whether it has the setting `key`.
    fn has(&self, key: &str) -> bool {
        let schema = (self.schema)(&mut SchemaGenerator::default());
        schema.get("properties").is_some_and(|properties| properties.get(key).is_some())
    }
}

fn read<T: StoreSettings + DeserializeOwned>(value: Value) -> Result<Box<dyn StoreSettings>, ConfigError> {
    let settings: T = serde_path_to_error::deserialize(value).map_err(|error| invalid_at("store", &error))?;
    settings.check()?;
    Ok(Box::new(settings))
}

/// The store: its type and its settings.
pub struct StoreConfig {
    kind: &'static StoreType,
    settings: Box<dyn StoreSettings>,
}

impl StoreConfig {
    /// Returns the configuration of a store of type `kind`. `settings` must be those of that type.
    pub(crate) fn new(kind: &'static StoreType, settings: impl StoreSettings) -> Self {
        Self { kind, settings: Box::new(settings) }
    }

    /// Returns the value of its `type`.
    pub fn type_name(&self) -> &'static str {
        self.kind.name
    }

    /// Returns whether the store outlives the process.
    pub fn is_persistent(&self) -> bool {
        self.settings.is_persistent()
    }

    /// Returns the settings if they are of the type `T`.
    pub fn settings<T: StoreSettings>(&self) -> Option<&T> {
        (&*self.settings as &dyn Any).downcast_ref()
    }

    /// Returns what the rest of the configuration must know about the settings.
    pub(super) fn facts(&self) -> &dyn StoreSettings {
        &*self.settings
    }

    /// Returns the opener of its type, if it is a `T`.
    pub(crate) fn opener<T: Any>(&self) -> Option<&'static T> {
        (self.kind.opener as &dyn Any).downcast_ref()
    }
}

/// The type of a section before it is read.
static UNREAD: StoreType = StoreType::new::<()>("unread", &());

impl StoreSettings for () {}

impl Default for StoreConfig {
    /// Returns a placeholder until [`parse`](super::parse) has read the section. No store can be opened with it.
    fn default() -> Self {
        Self::new(&UNREAD, ())
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.kind.name).field(&self.settings).finish()
    }
}

/// The schema of all types, which [`schema`](super::schema()) fills in.
impl JsonSchema for StoreConfig {
    fn schema_name() -> Cow<'static, str> {
        "StoreConfig".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// Returns the schema of the section: the keys of all types. Only [`parse`](super::parse) refuses a key of another type,
/// with an error that names that type.
pub(super) fn section_schema(types: &[StoreType], generator: &mut SchemaGenerator) -> Value {
    let (mut names, mut properties) = (Vec::new(), Map::new());
    for kind in types {
        let mut schema = (kind.schema)(generator);
        let description = schema.remove("description");
        names.push(serde_json::json!({ "type": "string", "const": kind.name, "description": description }));
        if let Some(Value::Object(own)) = schema.remove("properties") {
            properties.extend(own);
        }
    }
    let kind = serde_json::json!({
        "description": "The type of store.",
        "default": types.first().map(StoreType::name),
        "oneOf": names
    });
    properties.insert("type".to_owned(), kind);
    serde_json::json!({
        "description": "Where calls are stored, so that they outlive the process.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false
    })
}

/// The section as JSON. Its `Debug` shows nothing of it, since it may hold secrets.
#[derive(Default)]
pub(super) struct UnreadStore(BTreeMap<String, Json>);

impl UnreadStore {
    /// Reads the section by its type, which is one of `types`. The first is the default.
    pub(super) fn read(mut self, types: &'static [StoreType]) -> Result<StoreConfig, ConfigError> {
        let names = || sentence_list(types.iter().map(StoreType::name));
        let kind = match self.0.remove("type") {
            None => types.first().ok_or_else(|| "is missing".to_owned()),
            Some(Json(Value::String(name))) => types
                .iter()
                .find(|kind| kind.name == name)
                .ok_or_else(|| format!("unknown type `{name}`; there are {}", names())),
            Some(_) => Err(format!("must be text; there are {}", names())),
        };
        let kind = kind.map_err(|problem| ConfigError::invalid("store.type", problem))?;
        let settings = (kind.read)(Value::Object(self.settings_of(kind, types)?))?;
        Ok(StoreConfig { kind, settings })
    }

    /// Returns the settings, without those of other types that are null.
    ///
    /// # Errors
    /// If a setting of another type has a value.
    fn settings_of(self, kind: &StoreType, types: &[StoreType]) -> Result<Map<String, Value>, ConfigError> {
        let mut settings = Map::new();
        for (key, Json(value)) in self.0 {
            match types.iter().find(|other| other.has(&key)).filter(|_| !kind.has(&key)) {
                None => _ = settings.insert(key, value),
                Some(_) if value.is_null() => {}
                Some(owner) => {
                    let problem = format_args!("is only for a store of type {}; remove it", owner.name);
                    return Err(ConfigError::invalid(format!("store.{key}"), problem));
                }
            }
        }
        Ok(settings)
    }
}

impl<'de> Deserialize<'de> for UnreadStore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        no_duplicate_keys::map(deserializer).map(Self)
    }
}

impl fmt::Debug for UnreadStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnreadStore")
    }
}
