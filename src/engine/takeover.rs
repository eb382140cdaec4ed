//! The lease of this process, and the claim of calls whose process is gone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::task::TaskTracker;

use super::Parts;
use super::active_calls::ActiveCall;
use super::call_guard::CallGuard;
use super::failures::interrupted;
use crate::clock::{Deadline, Moment};
use crate::registry::Adopted;
use crate::store::{Orphan, RENEW_EVERY};

/// Pause before a renewal that failed is repeated.
const RENEW_RETRY: Duration = Duration::from_millis(500);

const _: () = assert!(RENEW_RETRY.as_millis() < RENEW_EVERY.as_millis());

/// Renews the lease of this process while it drives calls. If it cannot, another process claims its calls.
pub(super) async fn renew_lease_loop(parts: Arc<Parts>) {
    while !parts.shutdown.is_cancelled() {
        let is_needed = !parts.active.is_empty();
        let pause = match is_needed && parts.store.renew().await.is_err() {
            true => RENEW_RETRY,
            false => RENEW_EVERY,
        };
        let _ = tokio::time::timeout(pause, parts.shutdown.cancelled()).await;
    }
}

/// Claims the calls of processes that are gone, and drives them.
///
/// After a claim that returned a call to drive, there may be more calls, so another claim follows at once. After any other
/// claim there is a pause: while the store's clock is ahead, every claim returns the overdue calls that are driven here
/// already.
pub(super) async fn claim_loop(parts: Arc<Parts>, tasks: TaskTracker) {
    while !parts.shutdown.is_cancelled() {
        let orphans = parts.store.claim_orphans().await.unwrap_or_default();
        let mut may_have_more = false;
        for orphan in orphans {
            may_have_more |= claim(&parts, orphan, &tasks);
        }
        if !may_have_more {
            let _ = tokio::time::timeout(RENEW_EVERY, parts.shutdown.cancelled()).await;
        }
    }
}

/// Drives a claimed call. Returns false if this process drives it already, or it has ended here.
fn claim(parts: &Arc<Parts>, orphan: Orphan, tasks: &TaskTracker) -> bool {
    let Orphan { attempt, number, masked, left, started, placed, attempts } = orphan;
    let deadline = Deadline::after(Moment::now(), left);
    // This process may drive it already.
    if parts.active.contains(attempt) {
        return false;
    }
    // If a repeat has taken its place here, it is driven all the same: the repeat finds it in the store and mirrors it.
    if parts.registry.adopt(attempt, number, deadline, false) == Adopted::Ended {
        // The store has lost its end. It is not known whether its phone rings.
        let failure = parts.registry.snapshot(attempt.id).and_then(|call| call.failure);
        parts.store.fail_later(attempt, failure.unwrap_or_else(interrupted), false);
        return false;
    }
    let attempts = attempts.and_then(|attempts| parts.store.restore(&attempts)).map(Arc::new);
    let age = SystemTime::now().duration_since(started).unwrap_or_default();
    let pin = parts.store.pin_of(&[number]);
    let call = ActiveCall::new(attempt, number, masked, deadline, attempts);
    let guard = CallGuard::new(parts, call.with_pin(pin).claimed_after(age));
    tasks.spawn(async move { guard.resume(placed).await });
    true
}
