//! Ends a call if its task ends without an outcome, so that no call stays pending.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::active_calls::ActiveCall;
use super::call_task::CallTask;
use super::failures::{defect, interrupted};
use super::{Parts, mirror};
use crate::call::{Call, CallEvent, CallRef, Outcome};
use crate::clock::Moment;

/// A call that this process drives or mirrors.
///
/// Dropping it ends the call here, if the call has not ended before: at the end of its task, by a panic, or when the
/// runtime ends. A call that this process drives fails; one that it mirrors goes on in the other process.
pub(crate) struct CallGuard {
    parts: Arc<Parts>,
    call: Arc<ActiveCall>,
    is_remote: bool,
}

impl CallGuard {
    /// Guards a call that this process drives.
    pub(super) fn new(parts: &Arc<Parts>, call: ActiveCall) -> Self {
        let call = Arc::new(call);
        parts.active.insert(&call);
        Self { parts: Arc::clone(parts), call, is_remote: false }
    }

    /// Guards a call that another process drives.
    pub(super) fn of_remote(parts: &Arc<Parts>, call: ActiveCall) -> Self {
        Self { parts: Arc::clone(parts), call: Arc::new(call), is_remote: true }
    }

    pub(super) fn parts_and_call(&self) -> (&Arc<Parts>, &ActiveCall) {
        (&self.parts, &self.call)
    }

    /// Drives a new call to its end.
    pub(super) async fn drive(mut self, request: Call) {
        if let Some(generation) = CallTask::new(&self.parts, &self.call, &request).run().await {
            self.is_remote = true;
            self.parts.active.remove(self.call.attempt);
            self.parts.registry.alias_to(self.call.attempt, generation);
            mirror::follow(&self, generation).await;
        }
    }

    /// Drives a claimed call to its end. `placed` is the backend that placed it, with its reference.
    pub(super) async fn resume(self, placed: Option<(Box<str>, CallRef)>) {
        self.parts.publisher.step(&self.call, CallEvent::Claimed, None, None);
        CallTask::claimed(&self.parts, &self.call, placed).run().await;
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let failure = if std::thread::panicking() { defect() } else { interrupted() };
        // A second panic while the first one unwinds would abort the host's process.
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            let Self { parts, call, is_remote } = self;
            if *is_remote {
                return parts.registry.forget(call.attempt, call.number);
            }
            if parts.publisher.finish(call, None, Outcome::Failed(failure.clone()), Moment::now()) {
                // It is not known whether its phone rings.
                parts.store.fail_later(call.attempt, failure, false);
            }
            parts.registry.release(call.attempt, call.number);
            parts.active.remove(call.attempt);
        }));
        dropped.unwrap_or_else(std::mem::forget);
    }
}
