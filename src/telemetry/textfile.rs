//! The metrics file for a textfile collector.
//!
//! It is written under another name and then renamed, so that a collector never reads half of it. Writing may wait for
//! a disk, so it runs on threads for blocking work.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::metrics::CallCounts;
use super::{Log, LogEntry, Metrics};
use crate::call::GateEvent;
use crate::platform;

/// Time between two writes.
const INTERVAL: Duration = Duration::from_secs(15);

/// Attempts to replace the file. On Windows this fails while a collector reads it, which takes milliseconds.
const REPLACE_ATTEMPTS: u32 = 5;
const REPLACE_PAUSE: Duration = Duration::from_millis(50);

/// The metrics file of a gate, in Prometheus' text format.
pub struct PrometheusTextfile {
    path: PathBuf,
    metrics: Metrics,
    counts: Box<dyn Fn() -> CallCounts + Send + Sync>,
    log: Log,
    /// Whether the last write failed. Locked during a write, so that two never overlap.
    failed: Mutex<bool>,
}

impl PrometheusTextfile {
    /// Creates the writer of the file at `path`. Writes nothing yet. `counts` is called at each write.
    pub fn new(
        path: PathBuf,
        metrics: Metrics,
        counts: impl Fn() -> CallCounts + Send + Sync + 'static,
        log: Log,
    ) -> Self {
        Self { path, metrics, counts: Box::new(counts), log, failed: Mutex::default() }
    }

    /// Writes the file every 15 seconds, until the future is dropped.
    pub(crate) async fn write_loop(self: Arc<Self>) {
        loop {
            let file = Arc::clone(&self);
            // Fails only if `write` panicked; the next write may succeed.
            let _ = tokio::task::spawn_blocking(move || file.write()).await;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Writes the file. Logs the first of several failures in a row, and the first success after them.
    pub fn write(&self) {
        let mut failed = self.failed.lock();
        let written = self.try_write();
        match &written {
            Err(error) if !*failed => {
                let text = format!("metrics.textfile: {}: {error}", self.path.display());
                self.log.write(&LogEntry { text: Some(&text), ..LogEntry::new(GateEvent::MetricsFail) });
            }
            Ok(()) if *failed => self.log.write(&LogEntry::new(GateEvent::MetricsWork)),
            _ => {}
        }
        *failed = written.is_err();
    }

    fn try_write(&self) -> io::Result<()> {
        let text = self.metrics.to_text((self.counts)()).map_err(io::Error::other)?;
        // A collector reads only names that end in `.prom`.
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let new = Path::new(&new);
        // The file may be that of a process that was killed, or another account's link.
        match fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(new)?;
        platform::make_world_readable(&file)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        replace(new, &self.path)
    }
}

fn replace(new: &Path, path: &Path) -> io::Result<()> {
    for _ in 1..REPLACE_ATTEMPTS {
        if fs::rename(new, path).is_ok() {
            return Ok(());
        }
        std::thread::sleep(REPLACE_PAUSE);
    }
    fs::rename(new, path)
}
