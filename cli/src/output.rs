//! What the command shows: results on stdout, progress, warnings and errors on stderr; or JSON lines on stdout.
//!
//! A failed write ends nothing, since a call must be followed to its end. Nobody may be reading (`phonegate call … |
//! head -1`), which is as well; any other reason is told when the command ends.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

/// Why something is missing on stdout, the first time.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Why what was shown is not all there, and somebody may miss it.
pub(crate) fn unwritten() -> Option<&'static io::Error> {
    UNWRITTEN.get()
}

/// Takes note of what became of writing to stdout. False where nobody gets it.
pub(crate) fn is_written(written: io::Result<()>) -> bool {
    let Err(error) = written else { return true };
    if error.kind() != ErrorKind::BrokenPipe {
        // The first reason is told.
        let _ = UNWRITTEN.set(error);
    }
    false
}

/// A line on stdout.
pub(crate) fn result(text: &str) {
    is_written(writeln!(io::stdout(), "{text}"));
}

/// All of a text on stdout, at once. Well also where nobody reads any more.
pub(crate) fn whole(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// So many columns has the terminal that stdout is, if it is one.
pub(crate) fn columns() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns.into())
}

/// A text in no more than so many columns.
pub(crate) fn fitted(text: &str, columns: usize) -> Cow<'_, str> {
    match text.chars().count() > columns {
        true => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
        false => text.into(),
    }
}

/// A line on stderr.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A JSON line on stdout, which a script gets at once.
pub(crate) fn record(record: &impl Serialize) {
    let mut out = io::stdout().lock();
    if let Ok(line) = serde_json::to_string(record) {
        is_written(writeln!(out, "{line}").and_then(|()| out.flush()));
    }
}

/// Why a command could not do its work.
pub(crate) fn trouble(json: bool, text: &str) {
    if json {
        record(&json!({ "event": "error", "text": text }));
    }
    remark(&format!("error: {text}"));
}

/// What works, but should not stay so.
pub(crate) fn warning(json: bool, text: &str) {
    match json {
        true => record(&json!({ "event": "warning", "text": text })),
        false => remark(&format!("warning: {text}")),
    }
}

/// One step of what changes the machine, or would.
pub(crate) fn change(json: bool, step: &str, path: &Path, text: &str, done: bool) {
    let path = path.display().to_string();
    match json {
        true => record(&json!({ "event": "change", "step": step, "path": path, "text": text, "done": done })),
        false => result(&format!("{} {path}: {text}", if done { "done:" } else { "would change" })),
    }
}

/// How a file changes.
pub(crate) fn diff(json: bool, text: &str) {
    match json {
        true => record(&json!({ "event": "diff", "text": text })),
        false => result(&format!("\n{text}")),
    }
}

/// What is going on, on stderr: a moving line on a terminal, below lines that stay; elsewhere the latter alone, and
/// nothing at all beside JSON.
pub(crate) struct Live {
    bar: ProgressBar,
    json: bool,
}

impl Live {
    pub(crate) fn start(json: bool) -> Self {
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, json }
    }

    /// Changes the moving line.
    pub(crate) fn now(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Adds a line that stays.
    pub(crate) fn line(&self, text: &str) {
        match (self.json, self.bar.is_hidden()) {
            (true, _) => {}
            (false, true) => remark(text),
            (false, false) => self.bar.println(text),
        }
    }

    /// Lets something else write meanwhile.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
