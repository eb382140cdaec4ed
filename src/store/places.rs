//! How many calls may wait in a store until they begin.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;

/// Maximum calls that wait to begin. A call waits for five seconds at most; behind more than this, the last ones would wait
/// in vain where a disk is slow.
const MAX_WAITING: usize = 4096;

/// The places in a store's queue for calls that are to begin. What ends a call, or records something, needs none.
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WAITING)))
    }
}

impl Places {
    /// Takes a place until the permit is dropped.
    ///
    /// # Errors
    /// When all places are taken.
    pub(super) fn take(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let full = |_| StoreError::busy(format_args!("{MAX_WAITING} calls already wait for it to begin"));
        Arc::clone(&self.0).try_acquire_owned().map_err(full)
    }
}
