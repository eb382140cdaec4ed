//! Mirrors: attempts that another process drives, followed in the store until they end.

use std::time::Duration;

use super::Parts;
use super::active_calls::ActiveCall;
use super::call_guard::CallGuard;
use crate::call::{Attempt, CallEvent, Failure, FailureReason, StoredOutcome};
use crate::clock::Moment;
use crate::store::{AttemptState, DEADLINE_GRACE, LEASE, RENEW_EVERY};

/// Interval at which the store is asked about a call that another process drives.
const POLL_EVERY: Duration = Duration::from_millis(300);

/// How long after its deadline a remote call counts as lost, if it is still pending in the store.
pub(super) const REMOTE_OVERDUE: Duration = DEADLINE_GRACE;

// By then another process has had the time to claim the call, if its owner is gone.
const _: () = assert!(LEASE.as_millis() + RENEW_EVERY.as_millis() < REMOTE_OVERDUE.as_millis());

/// Follows the remote attempt of this generation until it ends, and publishes its outcome here.
///
/// Returns without an outcome at shutdown, and if a repeat has taken the call's place in the registry.
pub(super) async fn follow(guard: &CallGuard, generation: u64) {
    let (parts, call) = guard.parts_and_call();
    parts.publisher.log_step(call, CallEvent::Remote, None);
    let (outcome, ago) = loop {
        if !parts.registry.is_pending(call.attempt) {
            return;
        }
        match parts.shutdown.run_until_cancelled(poll(parts, call, generation)).await {
            None => return,
            Some(Some(end)) => break end,
            Some(None) => tokio::time::sleep(POLL_EVERY).await,
        }
    };
    parts.registry.release(call.attempt, call.number);
    parts.publisher.publish(call, None, outcome, (Moment::now(), ago));
}

/// Returns how a remote attempt has ended and how long ago, or `None` if it is pending.
async fn poll(parts: &Parts, call: &ActiveCall, generation: u64) -> Option<(StoredOutcome, Duration)> {
    let failed = |sentence: &str| {
        Some((StoredOutcome::Failed(Failure::new(FailureReason::Interrupted, sentence)), Duration::ZERO))
    };
    match parts.store.state_of(Attempt { generation, ..call.attempt }).await {
        Ok(Some(AttemptState::Ended { outcome, ago })) => return Some((outcome, ago)),
        Ok(Some(AttemptState::Pending { progress, .. })) => {
            parts.registry.advance(call.attempt, progress);
        }
        Ok(None) => return failed("Another request has taken the place of this call."),
        Err(_) => {}
    }
    let deadline = call.deadline;
    let is_overdue = Moment::now().since(deadline.start()) >= deadline.span().saturating_add(REMOTE_OVERDUE);
    if is_overdue { failed("The process that placed the call did not record how it ended.") } else { None }
}
