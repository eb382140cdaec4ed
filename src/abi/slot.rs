//! The process's one gate: started at the first call that needs it, ended by a shutdown, started anew by the next call.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use once_cell::sync::{Lazy, OnceCell};
use parking_lot::Mutex;

use super::{CallResult, callback, guard};
use crate::config::{self, ConfigError, ErrorKind, Level};
use crate::gate::{Gate, LogTo};
use crate::platform;
use crate::registry::Registry;
use crate::telemetry::{Event, Log};

/// A start that failed is not tried again sooner.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How long ended calls are kept while no configuration says so.
const KEEP_FINISHED: Duration = Duration::from_secs(600);

/// The log's name in its folder.
const LOG_FILE: &str = "phonegate.log";

/// All calls of the process. They outlive the gate, so that what a shutdown interrupted can still be explained.
pub(super) static REGISTRY: Lazy<Arc<Registry>> = Lazy::new(|| Arc::new(Registry::new(KEEP_FINISHED)));

static SLOT: Lazy<ArcSwap<Slot>> = Lazy::new(ArcSwap::default);

/// A place for one gate.
#[derive(Default)]
pub(super) struct Slot {
    gate: OnceCell<Gate>,
    /// The path that the host named, kept also after a failure.
    path: Mutex<Option<PathBuf>>,
    failure: Mutex<Option<(Instant, ConfigError)>>,
}

/// The gate that is running, started if need be.
pub(super) fn running() -> Result<arc_swap::Guard<Arc<Slot>>, ConfigError> {
    let slot = SLOT.load();
    slot.start(Some(RETRY_AFTER))?;
    Ok(slot)
}

/// Starts the gate from the file at `path`.
pub(super) fn initialize(path: Option<PathBuf>) -> Result<(), (CallResult, String)> {
    let slot = SLOT.load();
    {
        let mut kept = slot.path.lock();
        if slot.gate.get().is_some() {
            return match (&path, &*kept) {
                (None, _) => Ok(()),
                (Some(path), Some(kept)) if path == kept => Ok(()),
                _ => Err((
                    CallResult::AlreadyInitialized,
                    "PhoneGate already runs with another configuration; call PhoneGateShutdown first.".to_owned(),
                )),
            };
        }
        if path.is_some() {
            *kept = path;
        }
    }
    slot.start(None).map(|_| ()).map_err(|error| (CallResult::Config(error.kind()), error.to_string()))
}

/// Ends the gate, if one is running.
pub(super) fn shut_down(timeout: Duration) -> CallResult {
    let slot = SLOT.swap(Arc::default());
    match slot.gate.get() {
        Some(gate) if !gate.shut_down(timeout) => CallResult::TimedOut,
        _ => CallResult::Ok,
    }
}

impl Slot {
    /// The gate, where it has started.
    pub(super) fn gate(&self) -> Option<&Gate> {
        self.gate.get()
    }

    /// Starts the gate unless it runs. One thread does it while others wait.
    fn start(&self, retry_after: Option<Duration>) -> Result<&Gate, ConfigError> {
        self.gate.get_or_try_init(|| {
            if let (Some(pause), Some((at, error))) = (retry_after, &*self.failure.lock())
                && at.elapsed() < pause
            {
                return Err(error.clone());
            }
            platform::pin_module();
            guard::hook_panics(log_panic);
            self.start_gate().inspect_err(|error| {
                log_refusal(error);
                *self.failure.lock() = Some((Instant::now(), error.clone()));
            })
        })
    }

    fn start_gate(&self) -> Result<Gate, ConfigError> {
        let named = self.path.lock().clone();
        let path = named.map_or_else(config::usual_path, Ok)?;
        let loaded = config::load(&path)?;
        let log_to = LogTo { file_name: LOG_FILE, tee: Some(Arc::new(callback::deliver)) };
        Gate::start(loaded, Arc::clone(&REGISTRY), log_to).map_err(|error| error.in_file(&path))
    }
}

/// Writes why the gate could not start: to the usual folder, since the configuration names none that can be trusted,
/// and to the host's callback.
fn log_refusal(error: &ConfigError) {
    let log_to = LogTo { file_name: LOG_FILE, tee: Some(Arc::new(callback::deliver)) };
    let log = log_to.start(&config::LogConfig::default(), std::path::Path::new("")).or_else(|_| {
        Log::start(Level::Info, None, Some(Arc::new(callback::deliver)))
            .map_err(|error| ConfigError::new(ErrorKind::StateFolder, error))
    });
    if let Ok(log) = log {
        let text = error.to_string();
        log.write(Level::Warn, &Event { event: "not_configured", text: Some(&text), ..Event::default() });
    }
}

fn log_panic(text: &str) {
    let slot = SLOT.load();
    if let Some(gate) = slot.gate() {
        gate.log_defect(text);
    }
}
