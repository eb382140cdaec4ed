//! Limits and measures the store's operations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::{Failure, FailureReason};
use crate::engine::backend_health::BackendHealth;
use crate::engine::notices::{Notices, THE_STORE};
use crate::store::{CallStore, StoreError, StoreErrorKind};
use crate::telemetry::{Log, Metrics, StoreOperation};

/// Derives the health of the store from its answers.
#[derive(Clone)]
pub(in crate::engine) struct StoreProbe {
    pub(in crate::engine) store: Arc<dyn CallStore>,
    pub(in crate::engine) log: Log,
    pub(in crate::engine) metrics: Metrics,
    pub(in crate::engine) notices: Notices,
    pub(in crate::engine) health: Arc<BackendHealth>,
}

impl StoreProbe {
    /// Waits for an answer of the store, for at most `limit`. An operation that has no answer by then may still be done.
    pub(super) async fn ask<T>(
        &self,
        operation: StoreOperation,
        limit: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let asked = Instant::now();
        let late = |_| {
            let sign = format!("no answer within {} s", limit.as_secs());
            Err(if self.store.is_working() { StoreError::busy(sign) } else { StoreError::unavailable(sign) })
        };
        let answer = tokio::time::timeout(limit, answer).await.unwrap_or_else(late);
        self.metrics.store_asked(operation, asked.elapsed(), answer.is_err());
        self.record_health(operation, answer.as_ref().err());
        answer
    }

    fn record_health(&self, operation: StoreOperation, error: Option<&StoreError>) {
        // Answers to these do not show that the store works: a store that cannot be written to gives them, too.
        if matches!(operation, StoreOperation::Find | StoreOperation::Sweep) {
            return;
        }
        let failure = match error.map(|error| (error.kind(), error)) {
            Some((StoreErrorKind::Unavailable, error)) => {
                Some(Failure::new(FailureReason::CannotPlace, format_args!("No call can be begun: {error}.")))
            }
            // A refusal does not change the store's health. Each call that fails because of it is logged.
            Some((StoreErrorKind::Busy, _)) => return,
            None | Some((StoreErrorKind::Refused, _)) => None,
        };
        self.health.record_result(THE_STORE, failure.as_ref());
    }
}
