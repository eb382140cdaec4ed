//! From the arguments to a configuration and a gate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phonegate::config::{self, ConfigError, Level, Loaded, LogConfig, StoreConfig, StoreKind};
use phonegate::gate::{Gate, LogTo};
use phonegate::registry::Registry;
use phonegate::telemetry::{Log, Tee, system_log};

/// The log of this command: beside the library's, which a host may be writing to.
pub(crate) const LOG_FILE: &str = "phonegate-tool.log";

/// The log of the library in the service.
pub(crate) const LIBRARY_LOG: &str = "phonegate.log";

/// How long a gate may take to end that has no call in flight.
pub(crate) const END_WITHIN: Duration = Duration::from_secs(5);

/// Longer than the tool looks at a call.
const KEEP_FINISHED: Duration = Duration::from_secs(600);

/// A configuration, and the file it came from.
pub(crate) struct Context {
    pub(crate) file: PathBuf,
    pub(crate) loaded: Loaded,
}

impl Context {
    /// Reads the file that the user named, or the one that the library would take.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let file = named.map_or_else(config::usual_path, |path| Ok(path.to_owned()))?;
        // Whoever reads an error elsewhere knows which file it was.
        let file = std::path::absolute(&file).unwrap_or(file);
        let loaded = config::load(&file)?;
        Ok(Self { file, loaded })
    }

    /// The configuration of the demonstration, which keeps what it writes in `folder`.
    pub(crate) fn demo(folder: &Path) -> Result<Self, ConfigError> {
        let mut config = config::parse(include_str!("../../examples/demo.json"))?;
        config.log.directory = Some(folder.to_owned());
        let loaded = Loaded { config, base: folder.to_owned(), file: None };
        Ok(Self { file: PathBuf::from("demo.json"), loaded })
    }

    /// Starts the log of this command, for what it does without a gate. Whatever level the configuration logs, it has the
    /// lines of [`Level::Info`]. As in the library, only few events
    /// also go to the system's log.
    pub(crate) fn log(&self) -> Result<Log, ConfigError> {
        let config = &self.loaded.config.log;
        let config = LogConfig { level: config.level.max(Level::Info), ..config.clone() };
        let log_to = LogTo { file_name: LOG_FILE, tee: None, system: Some(system_log()) };
        log_to.start(&config, &self.loaded.base).map_err(|error| error.in_file(&self.file))
    }

    /// Starts a gate that hands the steps of its calls to `tee`, whatever level the configuration logs. Its calls are
    /// kept in memory, apart from those of the service.
    pub(crate) fn start(mut self, tee: Option<Tee>) -> Result<Gate, ConfigError> {
        self.loaded.config.store = StoreConfig { kind: StoreKind::Memory, ..StoreConfig::default() };
        self.start_with_store(tee)
    }

    /// The same, with the store of the configuration, where its calls are as good as those of the service.
    pub(crate) fn start_with_store(self, tee: Option<Tee>) -> Result<Gate, ConfigError> {
        let Self { file, mut loaded } = self;
        let config = &mut loaded.config;
        // That a call was hung up is told at this level.
        config.log.level = config.log.level.max(Level::Debug);
        // What suits a host's polling would only hold up what is shown here.
        config.call.initiate_wait_ms = Default::default();
        config.call.keep_finished_s = Default::default();
        // The figures in that file are the service's.
        config.metrics.textfile = None;
        let registry = Arc::new(Registry::new(KEEP_FINISHED));
        Gate::start_beside_a_service(loaded, registry, LogTo { file_name: LOG_FILE, tee, system: None })
            .map_err(|error| error.in_file(&file))
    }
}
