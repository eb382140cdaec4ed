//! What an administrator can read: one JSON line for each step of a call, and figures; without personal data.
//!
//! The log belongs to its gate. Nothing here is global, so that a host's own logging is left alone, and a gate that
//! is started anew logs anew.

mod entry;
mod file;
mod metrics;
mod system;
mod textfile;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

pub use entry::{LogEntry, LogEvent};
pub use metrics::{AlertResult, Metrics, StoreOperation};
pub use system::{SOURCE, SystemEvent, SystemEventId, SystemLog, system_log};
pub use textfile::TextFile;

use crate::call::GateEvent;
use crate::level::Level;
pub use crate::redact::{diagnostic_text, mask_numbers, sanitize_untrusted};
use file::RollingFile;

/// Lines that may wait for the disk or the host's callback; beyond it they are dropped and counted.
const QUEUE_LINES: usize = 16_384;

/// Another receiver of the lines. It is called on the log's own thread.
pub type Tee = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// Where a log's lines go.
#[derive(Default)]
pub struct Sinks<'a> {
    /// A folder, a file's name in it, and the most bytes that it and its older parts take up.
    pub file: Option<(&'a Path, &'a str, u64)>,
    /// Another receiver of the same lines.
    pub tee: Option<Tee>,
    /// Who gets the few events for the operating system's log, whatever the level.
    pub system: Option<SystemLog>,
}

/// A log. Clones write to the same one.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    level: Level,
    /// Somebody takes events for the operating system's log.
    has_system: bool,
    lines: RwLock<Option<SyncSender<Line>>>,
    dropped: Arc<AtomicU64>,
    thread: Mutex<Option<Thread>>,
}

/// The log's thread: it tells when it has written everything, just before it ends.
struct Thread {
    done: Receiver<()>,
    handle: JoinHandle<()>,
}

struct Line {
    level: Level,
    /// None where the level leaves it out.
    text: Option<String>,
    system: Option<SystemEvent>,
}

/// Where the lines go, seen from the log's thread.
struct Receivers {
    file: Option<RollingFile>,
    /// Lines that are missing in the file, of which it has not told yet.
    missing: u64,
    tee: Option<Tee>,
    system: Option<SystemLog>,
    /// Lines that found no room in the queue.
    dropped: Arc<AtomicU64>,
}

impl Receivers {
    fn take(&mut self, line: &Line) {
        let written = self.file_takes(line);
        if !written {
            self.missing = self.missing.saturating_add(1);
        }
        self.tell_tee(line);
        self.count_dropped();
        if written {
            self.tell_missing();
        }
        // Last, since it asks another process.
        if let (Some(system), Some(event)) = (&mut self.system, &line.system) {
            system(event);
        }
    }

    fn count_dropped(&mut self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.missing = self.missing.saturating_add(dropped);
            self.tell_tee(&Line::lines_dropped(dropped));
        }
    }

    fn tell_missing(&mut self) {
        if self.missing > 0 && self.file_takes(&Line::lines_dropped(self.missing)) {
            self.missing = 0;
        }
    }

    fn file_takes(&mut self, line: &Line) -> bool {
        match (&mut self.file, &line.text) {
            (Some(file), Some(text)) => file.write_line(text).is_ok(),
            _ => true,
        }
    }

    fn tell_tee(&self, line: &Line) {
        if let (Some(tee), Some(text)) = (&self.tee, &line.text) {
            tee(line.level, text);
        }
    }
}

impl Line {
    fn lines_dropped(count: u64) -> Self {
        let entry = LogEntry { count: Some(count), ..LogEntry::new(GateEvent::LinesDropped) };
        Self { level: entry.level, text: Some(entry.to_line()), system: None }
    }
}

impl Log {
    /// Starts a log of the lines of `level` and above.
    ///
    /// # Errors
    /// Where the file cannot be opened, or the log's thread not started.
    pub fn start(level: Level, sinks: Sinks<'_>) -> std::io::Result<Self> {
        let Sinks { file, tee, system } = sinks;
        let has_system = system.is_some();
        let file = match file {
            Some((folder, name, max_bytes)) => Some(RollingFile::open(folder, name, max_bytes)?),
            None => None,
        };
        let (sender, lines) = sync_channel::<Line>(QUEUE_LINES);
        let (finished, done) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut receivers = Receivers { file, missing: 0, tee, system, dropped: Arc::clone(&dropped) };
        let handle = std::thread::Builder::new().name("phonegate-log".to_owned()).spawn(move || {
            for line in &lines {
                receivers.take(&line);
            }
            receivers.count_dropped();
            receivers.tell_missing();
            // The log ends when its sender is gone; nobody may be waiting for this.
            let _ = finished.send(());
        })?;
        let thread = Mutex::new(Some(Thread { done, handle }));
        Ok(Self(Arc::new(Inner { level, has_system, lines: RwLock::new(Some(sender)), dropped, thread })))
    }

    /// Writes an entry. Never waits.
    pub fn write(&self, entry: &LogEntry<'_>) {
        let level = entry.level;
        let text = (level <= self.0.level).then(|| entry.to_line());
        let system = self.0.has_system.then(|| SystemEvent::of(entry)).flatten();
        if text.is_none() && system.is_none() {
            return;
        }
        let line = Line { level, text, system };
        if let Some(lines) = &*self.0.lines.read()
            && lines.try_send(line).is_err()
        {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes out what waits and ends the log and its thread, within `timeout`. True where all was written.
    pub fn close(&self, timeout: Duration) -> bool {
        drop(self.0.lines.write().take());
        let Some(thread) = self.0.thread.lock().take() else { return true };
        thread.done.recv_timeout(timeout).is_ok() && thread.handle.join().is_ok()
    }
}
