//! Which backends the calls of the service skip, because they are down. Only the service knows that; the steps of its last
//! calls show it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use phonegate::call::CallEvent;
use phonegate::store::{Query, Row};

use crate::context::Context;
use crate::error::CommandError;
use crate::store_reader::StoreReader;
use crate::time;

/// The age at which a step says nothing about the present.
const RECENT: Duration = Duration::from_secs(10 * 60);

/// Maximum number of calls that are read.
const CALLS: usize = 20;

/// When a call skipped a backend, and on which machine.
pub(super) struct Skipped {
    pub(super) at: SystemTime,
    node: Box<str>,
}

/// `skipped as down by a call on WEB1 at 2026-11-29 12:31:05`
impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped as down by a call on {} at {}", self.node, time::local(self.at, &TimeZone::system()))
    }
}

/// Returns the backends that recent calls skipped, unless the backend has placed a later call.
///
/// # Errors
/// If the store cannot be read.
pub(super) fn recent(context: &Context) -> Result<BTreeMap<Box<str>, Skipped>, CommandError> {
    let mut skipped = BTreeMap::new();
    let Some(reader) = StoreReader::open_existing(context)? else { return Ok(skipped) };
    let since = SystemTime::now().checked_sub(RECENT);
    let newest = Query { since, limit: CALLS, newest_first: true, ..Query::default() };
    let rows = reader.block_on(reader.store.rows(&newest))?;
    // The oldest first, so that later steps replace earlier ones.
    for Row { attempt, node, backend, placed, .. } in rows.into_iter().rev() {
        for step in reader.block_on(reader.store.steps(attempt))? {
            if let (Some(CallEvent::Skipped), Some(name)) = (CallEvent::from_name(&step.name), step.backend) {
                skipped.insert(name, Skipped { at: step.at, node: node.clone() });
            }
        }
        if let (Some(backend), Some(placed)) = (backend, placed)
            && skipped.get(&backend).is_some_and(|skipped: &Skipped| skipped.at < placed)
        {
            skipped.remove(&backend);
        }
    }
    Ok(skipped)
}
