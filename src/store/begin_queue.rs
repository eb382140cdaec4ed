//! The bound on calls that wait in a store to begin (S20).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;

/// Maximum number of calls that wait to begin. A call waits for at most five seconds; on a slow disk, calls in a longer
/// queue would time out.
const MAX_WAITING: usize = 4096;

/// The places of calls that wait to begin. Operations that end a call or record something need no place.
pub(super) struct BeginQueue(Arc<Semaphore>);

impl Default for BeginQueue {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WAITING)))
    }
}

impl BeginQueue {
    /// Takes a place until the permit is dropped.
    ///
    /// # Errors
    /// Busy if all places are taken.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let full = |_| StoreError::busy(format_args!("{MAX_WAITING} calls are already waiting to begin"));
        Arc::clone(&self.0).try_acquire_owned().map_err(full)
    }
}
