//! Removes the codes of ended calls from the write-ahead log (S18).
//!
//! The end of a call removes its codes from its row, but the log keeps earlier versions of pages until it is reset
//! (<https://www.sqlite.org/wal.html#checkpointing>).

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::file::BUSY_TIMEOUT;

/// Pause between two attempts to reset the log. An attempt fails while another process reads.
pub(super) const RESET_EVERY: Duration = Duration::from_secs(1);

/// Whether the log may have codes in it.
pub(super) struct CodesInWal {
    may_have: bool,
    tried: Option<Instant>,
}

impl CodesInWal {
    /// The log may have codes of an earlier process.
    pub(super) fn new() -> Self {
        Self { may_have: true, tried: None }
    }

    /// Records that codes were written.
    pub(super) fn were_written(&mut self) {
        self.may_have = true;
    }

    /// Returns how soon to call [`reset`](Self::reset). `None` if that is not necessary.
    pub(super) fn due(&self) -> Option<Duration> {
        self.may_have.then(|| self.tried.map_or(Duration::ZERO, |tried| RESET_EVERY.saturating_sub(tried.elapsed())))
    }

    /// Resets the log, unless a pending call has codes or another process reads. Does not wait.
    pub(super) fn reset(&mut self, database: &Connection) {
        self.tried = Some(Instant::now());
        // An attempt that fails is repeated.
        self.may_have = !reset(database).unwrap_or(false);
    }
}

/// Resets the log. Returns whether it has no codes any more.
fn reset(database: &Connection) -> rusqlite::Result<bool> {
    let pending = "SELECT EXISTS (SELECT 1 FROM attempts WHERE ended IS NULL AND codes IS NOT NULL)";
    if database.prepare_cached(pending)?.query_row([], |row| row.get(0))? {
        return Ok(false);
    }
    database.busy_timeout(Duration::ZERO)?;
    // The first column is 1 if another connection prevented the reset.
    let is_busy = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    database.busy_timeout(BUSY_TIMEOUT)?;
    is_busy.map(|is_busy| !is_busy)
}
