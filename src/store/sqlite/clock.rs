//! The store's clock (S10). It follows the wall clock, which all processes share and which goes on between them. If the wall
//! clock is set back, it goes on by the monotonic clock, so that no limit starts again and no lease becomes longer.

use std::time::{Instant, SystemTime};

use rusqlite::Connection;

use crate::store::millis::{milliseconds, to_unix};

/// The clock of one process.
pub(super) struct Clock {
    wall: fn() -> SystemTime,
    last: Option<(i64, Instant)>,
}

impl Clock {
    pub(super) fn new(wall: fn() -> SystemTime) -> Self {
        Self { wall, last: None }
    }

    /// Returns milliseconds since 1970: at least the time in the file, and never less than before.
    pub(super) fn now(&mut self, database: &Connection) -> rusqlite::Result<i64> {
        let recorded: i64 =
            database.prepare_cached("SELECT now FROM clock WHERE only = 1")?.query_row([], |row| row.get(0))?;
        let at = Instant::now();
        let ticked = self.last.map_or(0, |(last, then)| last.saturating_add(milliseconds(at - then)));
        let now = self.wall().max(ticked).max(recorded);
        self.last = Some((now, at));
        Ok(now)
    }

    /// Returns the wall clock, in milliseconds since 1970.
    pub(super) fn wall(&self) -> i64 {
        to_unix((self.wall)())
    }

    /// Records the time in the file for the next process.
    pub(super) fn record(&self, database: &Connection, now: i64) -> rusqlite::Result<()> {
        database.prepare_cached("UPDATE clock SET now = ?1 WHERE only = 1")?.execute([now]).map(|_| ())
    }
}
