//! The configuration of a command, and the gate that it starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phonegate::config::{self, ConfigError, Level, Loaded, LogConfig};
use phonegate::gate::{Gate, LogTo};
use phonegate::registry::Registry;
use phonegate::store::MemoryConfig;
use phonegate::telemetry::{CallObserver, Log, system_log};

/// The log file of this command. The service may be writing to [`LIBRARY_LOG`].
pub(crate) const LOG_FILE: &str = "phonegate-tool.log";

/// The log file of the library in the service.
pub(crate) const LIBRARY_LOG: &str = "phonegate.log";

/// Maximum time to end a gate without calls.
pub(crate) const END_WITHIN: Duration = Duration::from_secs(5);

/// How long the registry keeps an ended call: longer than a command follows it.
const KEEP_FINISHED: Duration = Duration::from_secs(600);

/// A configuration, and its file.
pub(crate) struct Context {
    pub(crate) file: PathBuf,
    pub(crate) loaded: Loaded,
}

impl Context {
    /// Reads the configuration that the arguments name, or else the one that the library would read.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let file = named.map_or_else(config::default_path, |path| Ok(path.to_owned()))?;
        // An error shows the absolute path, so that it can be understood in another folder.
        let file = std::path::absolute(&file).unwrap_or(file);
        let loaded = config::load(&file, &phonegate::TYPES)?;
        Ok(Self { file, loaded })
    }

    /// Returns the configuration of the demonstration, which writes only to `folder`.
    pub(crate) fn demo(folder: &Path) -> Result<Self, ConfigError> {
        let mut config = config::parse(include_str!("../../examples/demo.json"), &phonegate::TYPES)?;
        config.log.directory = Some(folder.to_owned());
        let loaded = Loaded { config, base: folder.to_owned(), file: None };
        Ok(Self { file: PathBuf::from("demo.json"), loaded })
    }

    /// Starts the log of this command, for its own events. It logs at least [`Level::Info`], whatever the configuration
    /// says. As in the library, few events also go to the system's log.
    pub(crate) fn log(&self) -> Result<Log, ConfigError> {
        let config = &self.loaded.config.log;
        let config = LogConfig { level: config.level.max(Level::Info), ..config.clone() };
        let log_to = LogTo { system: Some(system_log()), ..LogTo::file(LOG_FILE) };
        log_to.start(&config, &self.loaded.base).map_err(|error| error.in_file(&self.file))
    }

    /// Starts a gate whose calls are kept in memory, separate from those of the service. `observer` receives their events.
    pub(crate) fn start(mut self, observer: Option<CallObserver>) -> Result<Gate, ConfigError> {
        self.loaded.config.store = MemoryConfig {}.into();
        self.start_with_store(observer)
    }

    /// Like [`start`](Self::start), with the store of the configuration: its calls count like those of the service.
    pub(crate) fn start_with_store(self, observer: Option<CallObserver>) -> Result<Gate, ConfigError> {
        let Self { file, mut loaded } = self;
        let config = &mut loaded.config;
        // Hosts poll, so these waits are for them; they would delay the progress that a command shows.
        config.call.initiate_wait_ms = Default::default();
        config.call.keep_finished_s = Default::default();
        // The service writes that file.
        config.metrics.textfile = None;
        let registry = Arc::new(Registry::new(KEEP_FINISHED));
        Gate::start_beside_service(loaded, registry, LogTo { observer, ..LogTo::file(LOG_FILE) })
            .map_err(|error| error.in_file(&file))
    }
}
