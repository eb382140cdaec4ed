//! New calls and changes of pending ones, as they come.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use phonegate::call::FailureReason;
use phonegate::platform;
use phonegate::store::{CallStore, Query, Row, RowOutcome, StoreError};

use super::format::CallPrinter;
use crate::error::{CommandError, Exit};
use crate::store_reader::StoreReader;

/// How often the store is asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// So many of the newest are looked through for pending ones at the start. There are no more calls at once.
const AT_START: usize = 10_000;

/// So many rows are read at once.
const PAGE: usize = 1_000;

/// What has been shown, and what may still change.
pub(super) struct Follower {
    /// Without a reason: a pending attempt has none yet.
    query: Query,
    reason: Option<FailureReason>,
    /// The attempts after the last one before which all have ended.
    seen: BTreeMap<u64, Row>,
}

impl Follower {
    /// From now on.
    pub(super) fn start(reader: &StoreReader, query: &Query) -> Result<Self, CommandError> {
        reader.block_on(Self::from(&*reader.store, query))
    }

    async fn from(store: &dyn CallStore, query: &Query) -> Result<Self, StoreError> {
        let all = Query { reason: None, limit: AT_START, newest_first: true, ..query.clone() };
        let rows = store.rows(&all).await?;
        let mut follower = Self { query: all, reason: query.reason, seen: BTreeMap::new() };
        follower.see(rows);
        Ok(follower)
    }

    /// Shows what comes until Ctrl-C, or until nobody reads any more. A store that does not answer is asked again.
    pub(super) fn run(mut self, reader: &StoreReader, mut printer: CallPrinter) -> Result<Exit, CommandError> {
        let interrupted = on_interrupt()?;
        let mut was_away = false;
        while printer.flush() {
            if interrupted.recv_timeout(LOOK_EVERY).is_ok() {
                return Ok(Exit::Interrupted);
            }
            // As long as nothing is written, no write tells it.
            if platform::is_stdout_left() {
                return Ok(Exit::Done);
            }
            match reader.try_block_on(self.changes(&*reader.store)) {
                Ok(changed) => {
                    if std::mem::take(&mut was_away) {
                        printer.warn("the store answers again");
                    }
                    changed.iter().for_each(|row| printer.row(row));
                }
                Err(error) if !std::mem::replace(&mut was_away, true) => {
                    printer.warn(&format!("{error}; trying again"))
                }
                Err(_) => {}
            }
        }
        Ok(Exit::Done)
    }

    /// What is new since the last time.
    async fn changes(&mut self, store: &dyn CallStore) -> Result<Vec<Row>, StoreError> {
        let mut changed = Vec::new();
        let mut page = Query { limit: PAGE, newest_first: false, after: self.query.after, ..self.query.clone() };
        loop {
            let rows = store.rows(&page).await?;
            let (count, last) = (rows.len(), rows.last().map(|row| row.sequence));
            changed.extend(rows.into_iter().filter(|row| self.seen.get(&row.sequence) != Some(row)));
            match last {
                Some(last) if count == PAGE => page.after = last,
                _ => break,
            }
        }
        self.see(changed.clone());
        changed.retain(|row| self.reason.is_none_or(|reason| is_for(row, reason)));
        Ok(changed)
    }

    /// Remembers rows, and forgets those before the first that may still change.
    fn see(&mut self, rows: Vec<Row>) {
        self.seen.extend(rows.into_iter().map(|row| (row.sequence, row)));
        let is_pending = |row: &&Row| row.outcome == RowOutcome::Pending;
        let first_pending = self.seen.values().find(is_pending).map(|row| row.sequence.saturating_sub(1));
        let newest = self.seen.last_key_value().map(|(sequence, _)| *sequence);
        self.query.after = first_pending.or(newest).unwrap_or(self.query.after);
        self.seen = self.seen.split_off(&self.query.after);
    }
}

fn is_for(row: &Row, reason: FailureReason) -> bool {
    matches!(&row.outcome, RowOutcome::Failed(failure) if failure.reason() == reason)
}

fn on_interrupt() -> Result<Receiver<()>, CommandError> {
    let (sender, interrupted) = mpsc::channel();
    // Nobody waits for it any more once the command ends.
    ctrlc::set_handler(move || {
        let _ = sender.send(());
    })
    .map_err(|error| CommandError::failed(format!("cannot be told of Ctrl-C: {error}")))?;
    Ok(interrupted)
}
