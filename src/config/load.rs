//! Finds, reads and checks a configuration.

use std::path::{Path, PathBuf};

use super::alerts::check_alerts;
use super::approval::check_method;
use super::error::{ConfigError, ErrorKind};
use super::file::read_file;
use super::numbers::check_backends;
use super::routes::check_routes;
use super::verdict::check_verdicts;
use super::{Config, MetricsConfig, Types};
use crate::platform;
use crate::redact::mask_numbers;

/// The name of the configuration's file, which is in the folder of the library.
pub const FILE_NAME: &str = "phonegate.json";

/// The environment variable with the path of another file.
pub const PATH_VARIABLE: &str = "PHONEGATE_CONFIG";

/// Maximum size of a configuration, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A checked configuration, and its file.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The folder that its relative paths are resolved against.
    pub base: PathBuf,
    /// The file that it was read from. `None` if it does not come from a file.
    pub file: Option<PathBuf>,
}

/// Returns the path of the configuration if the caller names none: the value of `PHONEGATE_CONFIG`, or `phonegate.json`
/// in the folder of this library or program.
///
/// # Errors
/// If the variable has a relative path, or the path of this library cannot be found.
pub fn default_path() -> Result<PathBuf, ConfigError> {
    match std::env::var_os(PATH_VARIABLE).map(PathBuf::from) {
        Some(path) if path.is_absolute() => Ok(path),
        Some(path) if !path.as_os_str().is_empty() => Err(ConfigError::new(
            ErrorKind::Invalid,
            format_args!(
                "the environment variable {PATH_VARIABLE} has the relative path `{}`, which depends on the current \
                 directory (of a Windows service: System32); set it to the absolute path of {FILE_NAME}",
                path.display()
            ),
        )),
        _ => match platform::module_path() {
            Some(module) => Ok(module.with_file_name(FILE_NAME)),
            None => Err(ConfigError::new(
                ErrorKind::NotFound,
                format_args!("cannot find the path of this library; set {PATH_VARIABLE} to the path of {FILE_NAME}"),
            )),
        },
    }
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// If it cannot be read or is not valid. The error names the file and the path in it.
pub fn load(path: &Path, types: &Types) -> Result<Loaded, ConfigError> {
    load_with_text(path, types).map(|(loaded, _)| loaded)
}

/// Reads and checks the file at `path`, as [`load`] does. Also returns its text, with its byte order mark if it has
/// one.
///
/// # Errors
/// As [`load`].
pub fn load_with_text(path: &Path, types: &Types) -> Result<(Loaded, String), ConfigError> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = read(&path).map_err(|error| error.in_file(&path))?;
    let config = parse(&text, types).map_err(|error| error.in_file(&path))?;
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok((Loaded { config, base, file: Some(path) }, text))
}

pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => ConfigError::new(
            ErrorKind::NotFound,
            format_args!("there is no such file; put one there, or set {PATH_VARIABLE} to its path"),
        ),
        _ => ConfigError::new(ErrorKind::Unreadable, format_args!("cannot be read: {error}")),
    };
    let bytes = read_file(path, MAX_FILE_BYTES).map_err(failed)?;
    String::from_utf8(bytes)
        .map_err(|_| ConfigError::new(ErrorKind::Unreadable, "is not UTF-8; save it again with the encoding UTF-8"))
}

/// Checks a configuration given as text, with or without a byte order mark.
///
/// # Errors
/// If it is not valid. The error names the path in it.
pub fn parse(text: &str, types: &Types) -> Result<Config, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('[') {
        // serde accepts a list for a struct.
        return Err(ConfigError::invalid("", "is a list, but must be an object: { \"use\": …, \"backends\": … }"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let mut config: Config = serde_path_to_error::deserialize(&mut json).map_err(|error| invalid_at("", &error))?;
    json.end().map_err(|error| ConfigError::invalid("", error))?;
    config.backends = std::mem::take(&mut config.unread_backends).read(types.backends)?;
    config.store = std::mem::take(&mut config.unread_store).read(types.stores)?;
    check_routes(&config)?;
    check_metrics(&config.metrics)?;
    config.limits.check()?;
    check_backends(&config)?;
    check_alerts(&config.alerts)?;
    check_verdicts(&config)?;
    check_method(&config)?;
    Ok(config)
}

/// Converts an error of serde at a path below `parent`.
pub(super) fn invalid_at<E: std::error::Error>(parent: &str, error: &serde_path_to_error::Error<E>) -> ConfigError {
    let inner = error.path().to_string();
    let path = match (parent, inner.as_str()) {
        (parent, ".") => parent.to_owned(),
        ("", inner) => inner.to_owned(),
        (parent, inner) => format!("{parent}.{inner}"),
    };
    // The error may show a number, such as a telephone number.
    ConfigError::invalid(path, mask_numbers(&without_text(&error.inner().to_string())))
}

/// Removes the text that an error of serde shows: it may be a secret at the wrong place. The path says where it is.
fn without_text(error: &str) -> String {
    const END: &str = ", expected ";
    for kind in ["invalid type: string", "invalid value: string", "unknown variant"] {
        // What is expected contains no text of the file, so the last one ends the text.
        if let Some(shown) = error.strip_prefix(kind)
            && let Some((_, expected)) = shown.rsplit_once(END)
        {
            return format!("{kind}{END}{expected}");
        }
    }
    error.to_owned()
}

fn check_metrics(metrics: &MetricsConfig) -> Result<(), ConfigError> {
    match &metrics.textfile {
        Some(file) if file.file_name().is_some_and(|name| name == ".prom") => {
            let problem = "has nothing before .prom; name a file such as phonegate.prom";
            Err(ConfigError::invalid("metrics.textfile", format_args!("`{}` {problem}", file.display())))
        }
        Some(file) if file.extension().is_none_or(|extension| extension != "prom") => {
            let problem = "must end in .prom, since the textfile collectors read no other files";
            Err(ConfigError::invalid("metrics.textfile", format_args!("`{}` {problem}", file.display())))
        }
        _ => Ok(()),
    }
}
