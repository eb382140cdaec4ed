//! Reads of the store for the exports. They have a short time limit, because the host's thread waits.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use uuid::Uuid;

use super::Engine;
use super::lookup::{self, not_found, unanswered};
use crate::call::{CallEvent, CallId, CallStatus, Failure};
use crate::registry::Snapshot;
use crate::store::{Scope, StoreError};
use crate::telemetry::LogEntry;

/// How long an export waits for an answer of the store.
const EXPORT_LIMIT: Duration = Duration::from_millis(250);

impl Engine {
    /// Returns whether another node may know better how a call ended.
    pub(crate) fn is_shared(&self) -> bool {
        self.parts.store.scope() == Scope::Farm
    }

    /// Confirms the status of a call by a store that other nodes share. Waits for at most 250 ms. Returns Success only if
    /// the store confirmed it.
    pub(crate) fn confirm(&self, id: CallId, status: CallStatus) -> CallStatus {
        match self.read(id).recv_timeout(EXPORT_LIMIT) {
            Ok(Ok(is_verified)) => match self.parts.registry.status(id) {
                Some(CallStatus::Success) if !is_verified => CallStatus::Failed,
                Some(status) => status,
                None => CallStatus::Failed,
            },
            // A failure needs no confirmation.
            Ok(Err(_)) | Err(_) if status == CallStatus::Success => CallStatus::Pending,
            Ok(Err(_)) | Err(_) => status,
        }
    }

    /// Returns all that is known of a call, after reading the store. Waits for at most 250 ms.
    ///
    /// # Errors
    /// If the call is not known, or the store did not answer.
    pub(crate) fn explain(&self, id: CallId) -> Result<Snapshot, Failure> {
        let answer = self.read(id).recv_timeout(EXPORT_LIMIT);
        self.parts.registry.snapshot(id).ok_or_else(|| match answer {
            Ok(Ok(_)) => not_found(),
            Ok(Err(error)) => unanswered(&error),
            Err(_) => unanswered(&StoreError::unavailable("no answer yet")),
        })
    }

    /// Uses up the approval of a call that is verified in the registry. Returns Success once, in one thread of one
    /// process, and Failed after that. Returns Pending if the store does not answer within 250 ms; a later poll gets that
    /// answer.
    pub(crate) fn use_approval(&self, id: CallId) -> CallStatus {
        let registry = &self.parts.registry;
        let Some(approval) = registry.approval_to_use(id, || Uuid::new_v4().as_u128()) else {
            return CallStatus::Failed;
        };
        if !approval.is_granted {
            let (sender, answer) = sync_channel(1);
            let (parts, tasks) = (Arc::clone(&self.parts), self.tasks.clone());
            self.spawn(async move {
                let granted = parts.store.use_approval(&approval).await;
                match granted {
                    Ok(true) => parts.registry.grant(&approval),
                    // The store may have lost the approval, which is then not reported as used.
                    Ok(false) => drop(lookup::read(&parts, &tasks, id).await),
                    Err(_) => {}
                }
                let _ = sender.send(granted);
            });
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
        self.log.write(&LogEntry { id: Some(id), text: Some(text), ..LogEntry::new(CallEvent::AlreadyUsed) });
    }

    /// Starts to read an id from the store, as [`lookup::read`].
    fn read(&self, id: CallId) -> Receiver<Result<bool, StoreError>> {
        let (sender, answer) = sync_channel(1);
        let (parts, tasks) = (Arc::clone(&self.parts), self.tasks.clone());
        self.spawn(async move {
            let _ = sender.send(lookup::read(&parts, &tasks, id).await);
        });
        answer
    }
}
