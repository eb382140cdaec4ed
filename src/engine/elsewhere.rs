//! Calls that other processes drive, or have driven: looked up in the store, watched until they end, and taken up where
//! their process is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{Engine, Flight, Shared, Unsettled, interrupted};
use crate::call::{Attempt, CallEvent, CallId, CallStatus, Failure, FailureReason, StoredOutcome};
use crate::clock::{Deadline, Moment};
use crate::registry::{Adopted, AttemptEnd, Snapshot};
use crate::store::{AttemptState, LatestAttempt, Orphan, RENEW_EVERY, Scope, StoreError};
use crate::telemetry::LogEntry;

/// How often the store is asked about a call that another process drives.
const WATCH_EVERY: Duration = Duration::from_millis(300);

/// How soon the lease is renewed where that failed.
const RENEW_AGAIN: Duration = Duration::from_millis(500);

/// How much longer than its deadline a call may stay pending in the store before nobody believes in it any more: its
/// process may have died, and another one must have had the time to take it up.
const GRACE: Duration = Duration::from_secs(30);

/// How long an export waits for the store's word, where it must have one.
const EXPORT_LIMIT: Duration = Duration::from_millis(250);

/// How long the answer of a look-up that found nothing holds.
const HOLDS: Duration = Duration::from_secs(2);

const NOT_KNOWN: &str = "Call ID is not found: no such call is known here.";

/// How long an id of a farm stays pending although the store has no such call: another node may be about to begin it.
const MAY_BEGIN: Duration = Duration::from_secs(2);

/// How long an id stays pending while the store cannot tell whether there is such a call.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many ids are looked up at once.
const MAX_LOOK_UPS: usize = 1024;

/// What is known of ids that the registry does not know.
#[derive(Default)]
pub(super) struct LookUps(Mutex<HashMap<CallId, LookUp>>);

enum LookUp {
    /// A task asks the store, since then.
    Running(Instant),
    /// Waits to be asked for again.
    Again(Instant),
    Done(Failure, Instant),
}

/// What a look into the store has shown.
pub(crate) enum Known {
    /// Nothing yet.
    NotYet,
    /// That there is no such call, or that the store cannot tell.
    Not(Failure),
}

impl Engine {
    /// Looks an id up in the store that the registry does not know. Waits for nothing.
    pub(crate) fn look_up(&self, id: CallId) -> Known {
        if self.shared.ledger.scope() == Scope::Process {
            return Known::Not(unknown(NOT_KNOWN));
        }
        let mut look_ups = self.shared.look_ups.0.lock();
        look_ups.retain(|_, look_up| match look_up {
            LookUp::Done(_, at) => at.elapsed() < HOLDS,
            // Nobody has asked for it any more, or a defect has ended the task.
            LookUp::Again(since) | LookUp::Running(since) => since.elapsed() < 2 * PATIENCE,
        });
        let since = match look_ups.get(&id) {
            Some(LookUp::Done(failure, _)) => return Known::Not(failure.clone()),
            Some(LookUp::Running(_)) => return Known::NotYet,
            Some(LookUp::Again(since)) => *since,
            None if look_ups.len() < MAX_LOOK_UPS => Instant::now(),
            None => {
                // The one that was asked for first gives way to a new one.
                let waiting = look_ups.iter().filter_map(|(id, look_up)| match look_up {
                    LookUp::Again(since) => Some((*since, *id)),
                    LookUp::Running(_) | LookUp::Done(..) => None,
                });
                let Some((_, first)) = waiting.min_by_key(|(since, _)| *since) else { return Known::NotYet };
                look_ups.remove(&first);
                Instant::now()
            }
        };
        look_ups.insert(id, LookUp::Running(since));
        drop(look_ups);
        let (shared, tasks) = (Arc::clone(&self.shared), self.tasks.clone());
        let look = async move {
            let looked = shared.look(id, &tasks).await;
            let patience = match (&looked, shared.ledger.scope()) {
                (Err(_), _) => PATIENCE,
                (Ok(_), Scope::Farm) => MAY_BEGIN,
                (Ok(_), Scope::Machine | Scope::Process) => Duration::ZERO,
            };
            let mut look_ups = shared.look_ups.0.lock();
            match looked {
                Ok(_) if shared.registry.status(id).is_some() => look_ups.remove(&id),
                _ if since.elapsed() < patience => look_ups.insert(id, LookUp::Again(since)),
                Ok(_) => look_ups.insert(id, LookUp::Done(unknown(NOT_KNOWN), Instant::now())),
                Err(error) => look_ups.insert(id, LookUp::Done(cannot_tell(&error), Instant::now())),
            };
        };
        self.tasks.spawn_on(look, &self.runtime);
        Known::NotYet
    }

    /// Brings what the registry knows of an id up to date, within a quarter of a second, on a store that other nodes
    /// share. Returns what may be told of it.
    pub(crate) fn confirm(&self, id: CallId, status: CallStatus) -> CallStatus {
        let (sender, answer) = sync_channel(1);
        self.refresh(id, sender);
        match answer.recv_timeout(EXPORT_LIMIT) {
            Ok(Ok(confirmed)) => match self.shared.registry.status(id) {
                Some(CallStatus::Success) if !confirmed => CallStatus::Failed,
                Some(status) => status,
                None => CallStatus::Failed,
            },
            // Success only by the store's word; a failure is one without it, too.
            Ok(Err(_)) | Err(_) if status == CallStatus::Success => CallStatus::Pending,
            Ok(Err(_)) | Err(_) => status,
        }
    }

    /// Uses up the approval of a call that is verified in the registry. Returns Success once, in one thread of one
    /// process, and Failed after that. Returns Pending if the store does not answer within 250 ms; a later poll gets that
    /// answer.
    pub(crate) fn use_approval(&self, id: CallId) -> CallStatus {
        let registry = &self.shared.registry;
        let Some(approval) = registry.approval_to_use(id, || Uuid::new_v4().as_u128()) else {
            return CallStatus::Failed;
        };
        if !approval.is_granted {
            let (sender, answer) = sync_channel(1);
            let shared = Arc::clone(&self.shared);
            let ask = async move {
                let granted = shared.ledger.use_approval(&approval).await;
                if granted == Ok(true) {
                    shared.registry.grant(&approval);
                }
                let _ = sender.send(granted);
            };
            self.tasks.spawn_on(ask, &self.runtime);
            match answer.recv_timeout(EXPORT_LIMIT) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    if registry.use_up(&approval) {
                        self.log_already_used(id);
                    }
                    return CallStatus::Failed;
                }
                Ok(Err(_)) | Err(_) => return CallStatus::Pending,
            }
        }
        if registry.use_up(&approval) {
            return CallStatus::Success;
        }
        self.log_already_used(id);
        CallStatus::Failed
    }

    fn log_already_used(&self, id: CallId) {
        let text = "the approval was used before; only the first poll gets Success (call.single_use)";
        self.shared.log.write(&LogEntry { id: Some(id), text: Some(text), ..LogEntry::new(CallEvent::AlreadyUsed) });
    }

    /// All that is known of a call that the registry does not know: the store is asked, within a quarter of a second.
    pub(crate) fn explain(&self, id: CallId) -> Result<Snapshot, Failure> {
        let (sender, answer) = sync_channel(1);
        self.refresh(id, sender);
        let answered = answer.recv_timeout(EXPORT_LIMIT);
        self.shared.registry.snapshot(id).ok_or_else(|| match answered {
            Ok(Ok(_)) => unknown(NOT_KNOWN),
            Ok(Err(error)) => cannot_tell(&error),
            Err(_) => cannot_tell(&StoreError::Unavailable("no answer yet".to_owned())),
        })
    }

    /// May another node know better how a call ended?
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.ledger.scope() == Scope::Farm
    }

    fn refresh(&self, id: CallId, answer: SyncSender<Result<bool, StoreError>>) {
        let (shared, tasks) = (Arc::clone(&self.shared), self.tasks.clone());
        let refresh = async move {
            let _ = answer.send(shared.look(id, &tasks).await);
        };
        self.tasks.spawn_on(refresh, &self.runtime);
    }
}

impl Shared {
    /// Looks an id up, and takes in what is found. True where the store says that the call is verified which the
    /// registry has now.
    async fn look(self: &Arc<Self>, id: CallId, tasks: &TaskTracker) -> Result<bool, StoreError> {
        let known = self.registry.stored_generation(id);
        let Some(LatestAttempt { attempt, number, state }) = self.ledger.find(id).await? else { return Ok(false) };
        match state {
            AttemptState::Ended { outcome, .. } if known == Some(attempt.generation) => Ok(outcome.is_verified()),
            AttemptState::Ended { outcome, ago } => {
                let is_verified = outcome.is_verified();
                if is_verified
                    && let Some(failed) = known.filter(|_| self.registry.status(id) == Some(CallStatus::Failed))
                    && !self.ledger.are_in_order(id, [failed, attempt.generation]).await?
                {
                    // What failed here is the later one, or the store has not heard of it yet.
                    return Ok(false);
                }
                let ended = AttemptEnd { attempt, number, outcome, ago };
                Ok(self.registry.adopt_end(ended, Moment::now(), known) && is_verified)
            }
            AttemptState::Pending { .. } if known == Some(attempt.generation) => Ok(false),
            AttemptState::Pending { left, .. } => {
                let Some(number) = number else { return Ok(false) };
                let deadline = Deadline::after(Moment::now(), left.saturating_add(GRACE));
                if self.registry.adopt(attempt, number, deadline, true) == Adopted::Pending {
                    let flight = Flight::new(attempt, number, "".into(), deadline, None);
                    let watched = Unsettled::elsewhere(self, flight);
                    tasks.spawn(async move { watched.watch(attempt.generation).await });
                }
                Ok(false)
            }
        }
    }

    /// Says that this process is alive, as long as it drives calls.
    pub(super) async fn keep_alive(self: Arc<Self>) {
        while !self.ending.is_cancelled() {
            // An owner that could not say so in time loses its calls to another one, which ends them.
            let is_needed = !self.flights.lock().is_empty();
            let pause = match is_needed && self.ledger.renew().await.is_err() {
                true => RENEW_AGAIN,
                false => RENEW_EVERY,
            };
            let _ = tokio::time::timeout(pause, self.ending.cancelled()).await;
        }
    }

    /// Takes up the calls of processes that are gone.
    pub(super) async fn take_all_up(self: Arc<Self>, tasks: TaskTracker) {
        while !self.ending.is_cancelled() {
            let orphans = self.ledger.claim_orphans().await.unwrap_or_default();
            let there_may_be_more = !orphans.is_empty();
            orphans.into_iter().for_each(|orphan| self.claim_orphans(orphan, &tasks));
            if !there_may_be_more {
                let _ = tokio::time::timeout(RENEW_EVERY, self.ending.cancelled()).await;
            }
        }
    }

    fn claim_orphans(self: &Arc<Self>, orphan: Orphan, tasks: &TaskTracker) {
        let Orphan { attempt, number, masked, left, started, placed, attempts } = orphan;
        let deadline = Deadline::after(Moment::now(), left);
        // One that this process drives already is not driven twice.
        if self.flights.lock().contains_key(&attempt) {
            return;
        }
        // Overtaken by a repeat, it is driven all the same: the repeat will find it in the store, and wait for it.
        if self.registry.adopt(attempt, number, deadline, false) == Adopted::Ended {
            // What the store was told of its end was lost. Whether its phone rings is not known.
            let failure = self.registry.snapshot(attempt.id).and_then(|call| call.failure);
            return self.ledger.fail_later(attempt, failure.unwrap_or_else(interrupted), false);
        }
        let attempts = attempts.and_then(|attempts| self.ledger.restore(&attempts)).map(Arc::new);
        let taken_up_after = Some(SystemTime::now().duration_since(started).unwrap_or_default());
        let pin = self.ledger.pin_of(&[number]);
        let flight = Flight { taken_up_after, pin, ..Flight::new(attempt, number, masked, deadline, attempts) };
        let taken = Unsettled::new(self, flight);
        tasks.spawn(async move { taken.resume(placed).await });
    }
}

impl Unsettled {
    /// Stands for a call that another process drives: dropped, it is forgotten here, and goes on there.
    fn elsewhere(shared: &Arc<Shared>, flight: Flight) -> Self {
        Self { shared: Arc::clone(shared), flight: Arc::new(flight), is_elsewhere: true }
    }

    /// Lets the call stand for an attempt that another process drives, and watches that.
    pub(super) async fn mirror(mut self, generation: u64) {
        self.is_elsewhere = true;
        self.shared.flights.lock().remove(&self.flight.attempt);
        self.shared.registry.stand_for(self.flight.attempt, generation);
        self.watch(generation).await;
    }

    async fn watch(self, generation: u64) {
        let Self { shared, flight, .. } = &self;
        shared.log_event(flight, CallEvent::Remote, None);
        let (outcome, ago) = loop {
            // A repeat has its own.
            if !shared.registry.is_pending(flight.attempt) {
                return;
            }
            let Some(ended) = shared.ending.run_until_cancelled(shared.end_of(flight, generation)).await else {
                return;
            };
            match ended {
                Some(ended) => break ended,
                None => tokio::time::sleep(WATCH_EVERY).await,
            }
        };
        shared.registry.release(flight.attempt, flight.number);
        shared.tell(flight, None, outcome, (Moment::now(), ago));
    }
}

impl Shared {
    /// How an attempt of another process has ended, and how long ago, where it has.
    async fn end_of(&self, flight: &Flight, generation: u64) -> Option<(StoredOutcome, Duration)> {
        let failed = |sentence: &str| {
            Some((StoredOutcome::Failed(Failure::new(FailureReason::Interrupted, sentence)), Duration::ZERO))
        };
        match self.ledger.state_of(Attempt { generation, ..flight.attempt }).await {
            Ok(Some(AttemptState::Ended { outcome, ago })) => return Some((outcome, ago)),
            Ok(Some(AttemptState::Pending { progress, .. })) => {
                self.registry.advance(flight.attempt, progress);
            }
            Ok(None) => return failed("Another request has taken the place of this call."),
            Err(_) => {}
        }
        let is_late = Moment::now().since(flight.deadline.start()) >= flight.deadline.span().saturating_add(GRACE);
        if is_late { failed("Nobody has told how the call ended.") } else { None }
    }
}

fn cannot_tell(error: &StoreError) -> Failure {
    unknown(format_args!("Whether there is such a call is not known: {error}."))
}

fn unknown(sentence: impl std::fmt::Display) -> Failure {
    Failure::new(FailureReason::UnknownCall, sentence)
}
