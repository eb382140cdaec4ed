//! Look-ups: what the store knows of calls that the registry does not have, because another process drives or has driven
//! them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::active_calls::ActiveCall;
use super::call_guard::CallGuard;
use super::mirror::{self, REMOTE_OVERDUE};
use super::{Engine, Parts};
use crate::call::{Attempt, CallId, CallStatus, Failure, FailureReason, NumberHash};
use crate::clock::{Deadline, Moment};
use crate::registry::{Adopted, AttemptEnd};
use crate::store::{AttemptState, LatestAttempt, Scope, StoreError};

/// How long it is remembered that the store has no such call.
const NOT_FOUND_TTL: Duration = Duration::from_secs(2);

/// How long an id of a farm stays pending although the store has no such call: another node may be about to begin it.
const NOT_FOUND_PENDING: Duration = Duration::from_secs(2);

/// How long an id stays pending while the store does not answer.
const STORE_OUTAGE_PENDING: Duration = Duration::from_secs(60);

/// How long a look-up is kept that no poll asks for again, or whose task ended without a result.
const LOOKUP_DROPPED_AFTER: Duration = STORE_OUTAGE_PENDING.saturating_mul(2);

/// Maximum concurrent look-ups.
const MAX_LOOKUPS: usize = 1024;

const NOT_FOUND: &str = "Call ID is not found: no such call is known here.";

/// The result of a look-up.
pub(crate) enum Lookup {
    /// The store has not answered yet, or the call is pending there.
    InProgress,
    /// There is no such call, or the store cannot say.
    NotFound(Failure),
}

/// The look-ups of ids that the registry does not know.
#[derive(Default)]
pub(super) struct Lookups(Mutex<HashMap<CallId, Entry>>);

/// A look-up. The first time is that of the first poll.
#[derive(Clone)]
enum Entry {
    /// A task reads the store.
    Running(Instant),
    /// The task ended without a result. The next poll starts another one.
    Unanswered(Instant),
    /// The result, and the time of the store's answer.
    NotFound(Failure, Instant),
}

/// What a poll does for an id.
enum Request {
    Return(Lookup),
    /// Start a task that reads the store.
    Start(Instant),
}

impl Lookups {
    fn request(&self, id: CallId) -> Request {
        let mut entries = self.0.lock();
        entries.retain(|_, entry| match entry {
            Entry::NotFound(_, at) => at.elapsed() < NOT_FOUND_TTL,
            Entry::Unanswered(since) | Entry::Running(since) => since.elapsed() < LOOKUP_DROPPED_AFTER,
        });
        let since = match entries.get(&id).cloned() {
            Some(Entry::NotFound(failure, _)) => return Request::Return(Lookup::NotFound(failure)),
            Some(Entry::Running(_)) => return Request::Return(Lookup::InProgress),
            Some(Entry::Unanswered(since)) => since,
            None if entries.len() < MAX_LOOKUPS || remove_oldest_unanswered(&mut entries) => Instant::now(),
            None => return Request::Return(Lookup::InProgress),
        };
        entries.insert(id, Entry::Running(since));
        Request::Start(since)
    }

    /// Records the result of a read that was requested at `since`.
    fn finish(&self, id: CallId, since: Instant, is_known: bool, scope: Scope, result: Result<(), StoreError>) {
        let pending_for = match (&result, scope) {
            (Err(_), _) => STORE_OUTAGE_PENDING,
            (Ok(()), Scope::Farm) => NOT_FOUND_PENDING,
            (Ok(()), Scope::Machine | Scope::Process) => Duration::ZERO,
        };
        let mut entries = self.0.lock();
        match result {
            Ok(()) if is_known => entries.remove(&id),
            _ if since.elapsed() < pending_for => entries.insert(id, Entry::Unanswered(since)),
            Ok(()) => entries.insert(id, Entry::NotFound(not_found(), Instant::now())),
            Err(error) => entries.insert(id, Entry::NotFound(unanswered(&error), Instant::now())),
        };
    }
}

/// Removes a look-up to make room for a new one. Returns false if all of them are running or have a result.
fn remove_oldest_unanswered(entries: &mut HashMap<CallId, Entry>) -> bool {
    let unanswered = entries.iter().filter_map(|(id, entry)| match entry {
        Entry::Unanswered(since) => Some((*since, *id)),
        Entry::Running(_) | Entry::NotFound(..) => None,
    });
    let oldest = unanswered.min_by_key(|(since, _)| *since);
    oldest.is_some_and(|(_, id)| entries.remove(&id).is_some())
}

impl Engine {
    /// Looks an id up in the store that the registry does not know. Does not wait.
    pub(crate) fn look_up(&self, id: CallId) -> Lookup {
        let scope = self.parts.store.scope();
        if scope == Scope::Process {
            return Lookup::NotFound(not_found());
        }
        let since = match self.parts.lookups.request(id) {
            Request::Return(lookup) => return lookup,
            Request::Start(since) => since,
        };
        let (parts, tasks) = (Arc::clone(&self.parts), self.tasks.clone());
        self.spawn(async move {
            let result = read(&parts, &tasks, id).await.map(|_| ());
            let is_known = parts.registry.status(id).is_some();
            parts.lookups.finish(id, since, is_known, scope, result);
        });
        Lookup::InProgress
    }
}

/// Reads the latest attempt of an id, and brings the registry up to date. Returns whether the call that the registry has
/// now is verified according to the store.
pub(super) async fn read(parts: &Arc<Parts>, tasks: &TaskTracker, id: CallId) -> Result<bool, StoreError> {
    // Read before the store, which has an approval before the registry has it.
    let (known, approved) = (parts.registry.stored_generation(id), parts.registry.approved(id));
    let found = parts.store.find(id).await?;
    if let Some(lost) = approved.filter(|approved| has_lost(found.as_ref(), *approved)) {
        parts.publisher.lose_approval(lost);
    }
    let Some(LatestAttempt { attempt, number, state }) = found else { return Ok(false) };
    match state {
        AttemptState::Ended { outcome, .. } if known == Some(attempt.generation) => Ok(outcome.is_verified()),
        AttemptState::Ended { outcome, ago } => {
            adopt_end(parts, known, AttemptEnd { attempt, number, outcome, ago }).await
        }
        AttemptState::Pending { .. } if known == Some(attempt.generation) => Ok(false),
        AttemptState::Pending { left, .. } => {
            if let Some(number) = number {
                adopt_pending(parts, tasks, attempt, number, left);
            }
            Ok(false)
        }
    }
}

/// Returns whether a store in which this is the latest attempt of an id has lost an earlier approval of the id.
fn has_lost(found: Option<&LatestAttempt>, approved: Attempt) -> bool {
    found.is_none_or(|found| found.attempt == approved && matches!(found.state, AttemptState::Pending { .. }))
}

async fn adopt_end(parts: &Parts, known: Option<u64>, end: AttemptEnd) -> Result<bool, StoreError> {
    let (id, is_verified) = (end.attempt.id, end.outcome.is_verified());
    if is_verified
        && let Some(failed) = known.filter(|_| parts.registry.status(id) == Some(CallStatus::Failed))
        && !parts.store.are_in_order(id, [failed, end.attempt.generation]).await?
    {
        // The failure here is later, or the store does not have it yet.
        return Ok(false);
    }
    Ok(parts.registry.adopt_end(end, Moment::now(), known) && is_verified)
}

fn adopt_pending(parts: &Arc<Parts>, tasks: &TaskTracker, attempt: Attempt, number: NumberHash, left: Duration) {
    let deadline = Deadline::after(Moment::now(), left.saturating_add(REMOTE_OVERDUE));
    if parts.registry.adopt(attempt, number, deadline, true) == Adopted::Pending {
        let call = ActiveCall::new(attempt, number, "".into(), deadline, None);
        let guard = CallGuard::of_remote(parts, call);
        tasks.spawn(async move { mirror::follow(&guard, attempt.generation).await });
    }
}

pub(super) fn not_found() -> Failure {
    Failure::new(FailureReason::UnknownCall, NOT_FOUND)
}

pub(super) fn unanswered(error: &StoreError) -> Failure {
    Failure::new(
        FailureReason::UnknownCall,
        format_args!("Whether there is such a call is not known: {}.", error.with_advice()),
    )
}
