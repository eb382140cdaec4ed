//! The file in which a textfile collector finds the figures: written beside and renamed, so that nobody reads half of
//! it, and by threads that may wait for a disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Log, LogEntry, Metrics};
use crate::call::GateEvent;
use crate::platform;
use crate::registry::Registry;

/// How often it is written anew.
const EVERY: Duration = Duration::from_secs(15);

/// On Windows a file cannot be replaced while somebody reads it. Readers are quick.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// The file of a gate's figures.
pub struct TextFile {
    path: PathBuf,
    metrics: Metrics,
    registry: Arc<Registry>,
    log: Log,
    /// Could it not be written the last time? Held while it is written.
    fails: Mutex<bool>,
}

impl TextFile {
    /// The file at a path, which is not written yet.
    pub fn new(path: PathBuf, metrics: Metrics, registry: Arc<Registry>, log: Log) -> Self {
        Self { path, metrics, registry, log, fails: Mutex::default() }
    }

    /// Writes it again and again.
    pub(crate) async fn keep_written(self: Arc<Self>) {
        loop {
            let file = Arc::clone(&self);
            // It does not panic; if it did, the next time might go well.
            let _ = tokio::task::spawn_blocking(move || file.write()).await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Writes it. Tells the log when that begins to fail, and when it works again.
    pub fn write(&self) {
        let mut fails = self.fails.lock();
        let written = self.try_write();
        match &written {
            Err(error) if !*fails => {
                let text = format!("metrics.textfile: {}: {error}", self.path.display());
                self.log.write(&LogEntry { text: Some(&text), ..LogEntry::new(GateEvent::MetricsFail) });
            }
            Ok(()) if *fails => self.log.write(&LogEntry::new(GateEvent::MetricsWork)),
            _ => {}
        }
        *fails = written.is_err();
    }

    fn try_write(&self) -> io::Result<()> {
        let text = self.metrics.to_text(self.registry.len(), self.registry.pending()).map_err(io::Error::other)?;
        // By its name nothing that a collector reads.
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = Path::new(&beside);
        // Left behind by a process that was killed, or a link of somebody else's.
        match fs::remove_file(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(beside)?;
        platform::make_world_readable(&file)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        replace(beside, &self.path)
    }
}

fn replace(new: &Path, path: &Path) -> io::Result<()> {
    for _ in 1..TRIES {
        if fs::rename(new, path).is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    fs::rename(new, path)
}
