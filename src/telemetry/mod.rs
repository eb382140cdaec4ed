//! The log and the metrics of a gate. Neither contains personal data.
//!
//! Nothing here is global: a host's own logging is not changed, and each gate of a process has a log of its own.

mod entry;
mod event_log;
mod file;
mod metrics;
mod observer;
mod textfile;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

pub use entry::{LogEntry, LogEvent};
pub use event_log::{SOURCE, SystemEvent, SystemEventId, SystemLog, system_log};
pub use metrics::{AlertResult, CallCounts, Metrics, StoreOperation};
pub use observer::{CallObserver, ObservedEvent};
pub use textfile::PrometheusTextfile;

use crate::call::GateEvent;
use crate::level::Level;
use file::RollingFile;

/// Maximum lines that wait for the disk or the host's callback. Further lines are dropped and counted.
const QUEUE_LINES: usize = 16_384;

/// Minimum time between two batches of lines. A line after a longer silence is written at once.
const BATCH_INTERVAL: Duration = Duration::from_millis(10);

/// Receives the lines of a log. It is called on the log's own thread.
pub type Tee = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// The receivers of a log's lines.
#[derive(Default)]
pub struct Sinks<'a> {
    /// A folder, a file's name in it, and the maximum size of the file and its older parts together, in bytes.
    pub file: Option<(&'a Path, &'a str, u64)>,
    /// Another receiver of the same lines.
    pub tee: Option<Tee>,
    /// Receives the events of calls, whatever the level.
    pub observer: Option<CallObserver>,
    /// Receives the few events for the operating system's log, whatever the level of the log.
    pub system: Option<SystemLog>,
}

/// A log. Clones write to the same sinks.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    level: Level,
    /// Whether there is a receiver of events for the operating system's log.
    has_system: bool,
    observer: Option<CallObserver>,
    lines: RwLock<Option<SyncSender<Line>>>,
    dropped: Arc<AtomicU64>,
    thread: Mutex<Option<Thread>>,
}

/// The log's thread.
struct Thread {
    /// Gets a message when the thread has written everything.
    done: Receiver<()>,
    handle: JoinHandle<()>,
}

struct Line {
    level: Level,
    /// `None` if the level of the log excludes it.
    text: Option<String>,
    system: Option<SystemEvent>,
}

/// The receivers of the lines, owned by the log's thread.
struct Receivers {
    file: Option<RollingFile>,
    /// Lines that are missing in the file and that no line of it reports yet.
    missing: u64,
    tee: Option<Tee>,
    system: Option<SystemLog>,
    /// Lines that did not fit into the queue.
    dropped: Arc<AtomicU64>,
}

impl Receivers {
    fn deliver(&mut self, line: &Line) {
        let written = self.write_to_file(line);
        if !written {
            self.missing = self.missing.saturating_add(1);
        }
        self.write_to_tee(line);
        self.report_dropped();
        if written {
            self.report_missing();
        }
        // The operating system's log comes last, because it waits for another process.
        if let (Some(system), Some(event)) = (&mut self.system, &line.system) {
            system(event);
        }
    }

    fn report_dropped(&mut self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.missing = self.missing.saturating_add(dropped);
            self.write_to_tee(&Line::lines_dropped(dropped));
        }
    }

    fn report_missing(&mut self) {
        if self.missing > 0 && self.write_to_file(&Line::lines_dropped(self.missing)) {
            self.missing = 0;
        }
    }

    fn write_to_file(&mut self, line: &Line) -> bool {
        match (&mut self.file, &line.text) {
            (Some(file), Some(text)) => file.write_line(text).is_ok(),
            _ => true,
        }
    }

    fn write_to_tee(&self, line: &Line) {
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
    /// Starts a log that writes lines of `level` and of more severe levels.
    ///
    /// # Errors
    /// If the file cannot be opened, or the log's thread cannot be started.
    pub fn start(level: Level, sinks: Sinks<'_>) -> std::io::Result<Self> {
        let Sinks { file, tee, observer, system } = sinks;
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
            while let Ok(line) = lines.recv() {
                receivers.deliver(&line);
                lines.try_iter().for_each(|line| receivers.deliver(&line));
                // Lines that are queued meanwhile do not wake this thread.
                std::thread::park_timeout(BATCH_INTERVAL);
            }
            receivers.report_dropped();
            receivers.report_missing();
            // Fails if nothing waits for the end of the log.
            let _ = finished.send(());
        })?;
        let thread = Mutex::new(Some(Thread { done, handle }));
        Ok(Self(Arc::new(Inner { level, has_system, observer, lines: RwLock::new(Some(sender)), dropped, thread })))
    }

    /// Queues a line. Never waits.
    pub fn write(&self, entry: &LogEntry<'_>) {
        if let Some(observer) = &self.0.observer {
            observer::observe(observer, entry);
        }
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

    /// Ends the log and its thread, after it has written the queued lines. Waits for at most `timeout`, and returns
    /// whether all lines were written.
    pub fn close(&self, timeout: Duration) -> bool {
        drop(self.0.lines.write().take());
        let Some(thread) = self.0.thread.lock().take() else { return true };
        thread.handle.thread().unpark();
        thread.done.recv_timeout(timeout).is_ok() && thread.handle.join().is_ok()
    }
}
