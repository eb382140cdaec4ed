//! Has the library read and build a backend from its settings, before anything is written. No network is used.

use std::path::Path;

use phonegate::admission::Admission;
use phonegate::backend;
use phonegate::config::{self, BackendConfig, Config, ConfigError};
use phonegate::prompts::Prompts;
use serde_json::{Map, Value, json};

use super::settings;

/// The name of the backend in the configurations of this module.
const BACKEND_NAME: &str = "trial";

/// Placeholder for a secret that was not given yet, or that only the service may have.
pub(super) const SECRET: &str = "placeholder";

/// Checks the answer that some settings of a backend have. `base` is the folder of the configuration.
///
/// # Errors
/// The problem, without the path of the setting.
pub(super) fn check(settings: &Value, base: &Path) -> Result<(), String> {
    build(settings, base).map_err(|error| error.problem().to_owned())
}

/// Builds a backend from its settings. `base` is the folder of the configuration.
///
/// # Errors
/// The setting that cannot work.
pub(super) fn build(settings: &Value, base: &Path) -> Result<(), ConfigError> {
    let mut settings = settings.clone();
    if is_local(&settings)? {
        // Whether it may be on this machine is a question of its own.
        allow_local_peer(&mut settings);
    }
    let numbers = json!({ "default_country": "US" });
    let document = json!({ "use": [BACKEND_NAME], "backends": { BACKEND_NAME: settings }, "numbers": numbers });
    try_out(document, base).map(drop)
}

/// Reads a configuration and builds its backends, as a start does, and returns it. Environment variables with secrets are
/// not read: the service may have one that this process lacks. `base` is the folder of the configuration.
///
/// # Errors
/// The setting that cannot work.
pub(super) fn try_out(mut document: Value, base: &Path) -> Result<Config, ConfigError> {
    let backends = document.get_mut("backends").and_then(Value::as_object_mut);
    backends.into_iter().flat_map(Map::values_mut).for_each(replace_variables);
    let config = config::parse(&document.to_string(), &phonegate::TYPES)?;
    Admission::new(&config.numbers)?;
    let prompts = Prompts::load(&config.prompts, config.approval.method.into(), base)?;
    backend::build_in_use(&config, &prompts, base)?;
    Ok(config)
}

/// Replaces each secret of a backend that is in an environment variable by a placeholder.
fn replace_variables(settings: &mut Value) {
    // The names in `secrets` are the administrator's, and one may be `env`.
    let secrets = settings.get_mut("secrets").and_then(Value::as_object_mut);
    secrets.into_iter().flat_map(Map::values_mut).for_each(replace_below);
    for key in ["password", "api_key_secret", "auth", "preset"] {
        settings.get_mut(key).into_iter().for_each(replace_below);
    }
}

fn replace_below(value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    match object.len() == 1 && object.get("env").is_some_and(Value::is_string) {
        true => *value = json!(SECRET),
        false => object.values_mut().for_each(replace_below),
    }
}

/// Returns whether the provider is at an address of this machine, and the settings do not allow that (`local_peer`).
///
/// # Errors
/// The setting that is not valid.
pub(super) fn is_local(settings: &Value) -> Result<bool, ConfigError> {
    let config = parse(&settings.to_string())?;
    Ok(config.backends.get(BACKEND_NAME).is_some_and(BackendConfig::is_for_tests))
}

/// Allows a provider at an address of this machine.
pub(super) fn allow_local_peer(settings: &mut Value) {
    settings::set(settings, "/local_peer", json!(true));
}

/// Reads the settings of a backend, which are JSON, without using it. So an object that has a key twice is refused.
///
/// # Errors
/// The setting that is not valid.
pub(super) fn parse(settings: &str) -> Result<Config, ConfigError> {
    let document = format!(
        r#"{{"use":["phone"],"allow_test_backends":true,"numbers":{{"default_country":"US"}},
            "backends":{{"phone":{{"type":"simulated"}},"{BACKEND_NAME}":{settings}}}}}"#
    );
    config::parse(&document, &phonegate::TYPES)
}

/// Describes an error by the path below the backend and the problem.
pub(super) fn describe(error: &ConfigError) -> String {
    let path = error.path().strip_prefix("backends.").unwrap_or(error.path());
    let path = path.strip_prefix(BACKEND_NAME).unwrap_or(path).trim_start_matches('.');
    match path {
        "" => error.problem().to_owned(),
        path => format!("{path}: {}", error.problem()),
    }
}
