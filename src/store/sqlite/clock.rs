//! The store's clock. It follows the wall clock, which goes on between processes and for all of them; but where somebody
//! sets that back, it goes on by the monotonic one, so that no limit counts anew and no lease is stretched.

use std::time::{Instant, SystemTime};

use rusqlite::Connection;

use crate::store::millis::{milliseconds, to_unix};

/// A clock of one process.
pub(super) struct Clock {
    wall: fn() -> SystemTime,
    last: Option<(i64, Instant)>,
}

impl Clock {
    pub(super) fn new(wall: fn() -> SystemTime) -> Self {
        Self { wall, last: None }
    }

    /// Milliseconds since 1970: at least what another process has written down, and never less than before.
    pub(super) fn now(&mut self, database: &Connection) -> rusqlite::Result<i64> {
        let kept: i64 =
            database.prepare_cached("SELECT now FROM clock WHERE only = 1")?.query_row([], |row| row.get(0))?;
        let at = Instant::now();
        let ticked = self.last.map_or(0, |(last, then)| last.saturating_add(milliseconds(at - then)));
        let now = self.wall().max(ticked).max(kept);
        self.last = Some((now, at));
        Ok(now)
    }

    /// The wall clock, wherever somebody has set it.
    pub(super) fn wall(&self) -> i64 {
        to_unix((self.wall)())
    }

    /// Writes it down for the next process.
    pub(super) fn keep(&self, database: &Connection, now: i64) -> rusqlite::Result<()> {
        database.prepare_cached("UPDATE clock SET now = ?1 WHERE only = 1")?.execute([now]).map(|_| ())
    }
}
