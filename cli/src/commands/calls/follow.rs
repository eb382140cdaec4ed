//! `phonegate calls --follow`: shows new calls, and changes of pending ones.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use phonegate::call::FailureReason;
use phonegate::platform;
use phonegate::store::{CallStore, Query, Row, RowOutcome, StoreError};

use super::format::CallPrinter;
use crate::error::{CommandError, Exit};
use crate::store_reader::StoreReader;

/// Time between two queries.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Maximum number of attempts that are searched for pending ones at the start.
const INITIAL_LIMIT: usize = 10_000;

/// Maximum number of attempts that are read at once.
const PAGE: usize = 1_000;

/// The attempts that were shown and may still change.
pub(super) struct Follower {
    /// The query without its reason, since a pending attempt has none yet.
    query: Query,
    reason: Option<FailureReason>,
    /// The attempts from the first pending one on, by their sequence.
    seen: BTreeMap<u64, Row>,
}

impl Follower {
    /// Starts to follow the calls that match a query.
    pub(super) fn start(reader: &StoreReader, query: &Query) -> Result<Self, CommandError> {
        reader.block_on(Self::from(&*reader.store, query))
    }

    async fn from(store: &dyn CallStore, query: &Query) -> Result<Self, StoreError> {
        let all = Query { reason: None, limit: INITIAL_LIMIT, newest_first: true, ..query.clone() };
        let rows = store.rows(&all).await?;
        let mut follower = Self { query: all, reason: query.reason, seen: BTreeMap::new() };
        follower.remember(rows);
        Ok(follower)
    }

    /// Prints changes until Ctrl-C, or until the reader closes stdout. If the store does not answer, tries again.
    pub(super) fn run(mut self, reader: &StoreReader, mut printer: CallPrinter) -> Result<Exit, CommandError> {
        let interrupted = on_interrupt()?;
        let mut was_unavailable = false;
        while printer.flush() {
            if interrupted.recv_timeout(POLL_INTERVAL).is_ok() {
                return Ok(Exit::Interrupted);
            }
            // Without a write, a closed pipe is not noticed otherwise.
            if platform::is_stdout_closed() {
                return Ok(Exit::Done);
            }
            match reader.try_block_on(self.changes(&*reader.store)) {
                Ok(changed) => {
                    if std::mem::take(&mut was_unavailable) {
                        printer.warn("the store answers again");
                    }
                    changed.iter().for_each(|row| printer.row(row));
                }
                Err(error) if !std::mem::replace(&mut was_unavailable, true) => {
                    printer.warn(&format!("{error}; trying again"))
                }
                Err(_) => {}
            }
        }
        Ok(Exit::Done)
    }

    /// Returns what has changed since the last time.
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
        self.remember(changed.clone());
        changed.retain(|row| self.reason.is_none_or(|reason| is_for(row, reason)));
        Ok(changed)
    }

    /// Remembers rows, and drops those before the first pending one.
    fn remember(&mut self, rows: Vec<Row>) {
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
    // At the end of the command, the receiver is gone.
    ctrlc::set_handler(move || {
        let _ = sender.send(());
    })
    .map_err(|error| CommandError::failed(format!("cannot install a Ctrl-C handler: {error}")))?;
    Ok(interrupted)
}
