//! PINs: the rules for setting them, their hashes, and their checks.

mod hash;
mod pepper;
mod rules;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use phonegate_approval::secret::Pin;
use phonegate_approval::verdict::PinAnswer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::call::{NumberHash, PhoneNumber};
use crate::store::{
    CallStore, NewPin, PepperFingerprint, PinGuess, PinLimits, PinState, PinToCompare, StoreError, StoredNumber,
};
pub use hash::HashError;
pub use pepper::{Pepper, PepperTooShort};
pub use rules::{PinRefused, PinRules};

/// Maximum concurrent hashes: each takes 19 MiB and one core.
const CONCURRENT_HASHES: usize = 2;

/// Timeout of a check, including the wait for other checks. `phonegate_approval` waits for
/// [`MAX_PIN_CHECK`](phonegate_approval::ivr::MAX_PIN_CHECK), which is longer.
const CHECK_LIMIT: Duration = Duration::from_secs(8);

/// Returns the hashes of a number with each number key, the current one first.
pub fn number_hashes(number: &PhoneNumber) -> Vec<NumberHash> {
    std::iter::once(number.hash()).chain(number.hashed_otherwise().iter().map(|hashed| hashed.number)).collect()
}

/// Sets and checks PINs. A clone shares the limit of concurrent hashes.
///
/// A check of a number without a PIN, or of a locked PIN, hashes nothing and is faster. The time reveals nothing,
/// because the user hears these results anyway.
#[derive(Clone)]
pub struct PinChecker {
    store: Arc<dyn CallStore>,
    pepper: Pepper,
    limits: PinLimits,
    hashes: Arc<Semaphore>,
    report: Arc<dyn Fn(&CheckError) + Send + Sync>,
}

/// Why a PIN could not be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The store operation failed.
    #[error("{}", .0.with_advice())]
    Store(#[from] StoreError),
    /// The entry could not be compared.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The thread that hashes was cancelled, or panicked.
    #[error("the PIN was not hashed, because of a defect or the end of the process")]
    Aborted,
    /// The check timed out.
    #[error("the PIN was not checked within {} s: the store or the machine is too busy", CHECK_LIMIT.as_secs())]
    TimedOut,
    /// The PIN was replaced or removed meanwhile.
    #[error("the PIN was replaced or removed while it was checked")]
    Replaced,
}

impl CheckError {
    /// Returns whether it is a defect of PhoneGate. Anything else is for an administrator to fix.
    pub fn is_defect(&self) -> bool {
        matches!(self, Self::Aborted)
    }
}

/// Why a PIN could not be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetPinError {
    /// The store operation failed.
    #[error("{}", .0.with_advice())]
    Store(#[from] StoreError),
    /// It could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The thread that hashes was cancelled, or panicked.
    #[error("the PIN was not hashed, because of a defect or the end of the process")]
    Aborted,
}

/// A thread that waits for the hash to compare an entered PIN with. It ends when this is dropped.
struct Comparison {
    to_compare: oneshot::Sender<Box<str>>,
    /// `None` if there was no hash.
    is_right: JoinHandle<Option<Result<bool, HashError>>>,
}

impl fmt::Debug for PinChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinChecker").field("pepper", &self.pepper).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl PinChecker {
    /// Creates a checker of the PINs in a store.
    pub fn new(store: Arc<dyn CallStore>, pepper: Pepper, limits: PinLimits) -> Self {
        let hashes = Arc::new(Semaphore::new(CONCURRENT_HASHES));
        Self { store, pepper, limits, hashes, report: Arc::new(|_| {}) }
    }

    /// Calls `report` with the error of each check that ends as [`PinAnswer::Failed`].
    pub fn reporting_to(self, report: impl Fn(&CheckError) + Send + Sync + 'static) -> Self {
        Self { report: Arc::new(report), ..self }
    }

    /// Returns the fingerprint of the pepper.
    pub fn fingerprint(&self) -> PepperFingerprint {
        self.pepper.fingerprint()
    }

    /// Sets the PIN of a number, and replaces one that it has. [`PinRules::check`] creates the PIN.
    ///
    /// # Errors
    /// If it could not be hashed, or the store operation failed.
    pub async fn set(&self, number: &PhoneNumber, pin: Pin) -> Result<(), SetPinError> {
        let permit = self.permit().await.ok_or(SetPinError::Aborted)?;
        let pepper = self.pepper.clone();
        let hashed = spawn_blocking(move || {
            let _permit = permit;
            hash::hash(&pepper, pin.as_bytes())
        });
        let hash = hashed.await.map_err(|_| SetPinError::Aborted)??;
        let new = NewPin {
            number: StoredNumber::new(number, false),
            hash: hash.into(),
            pepper: self.pepper.fingerprint(),
            set_at: SystemTime::now(),
        };
        Ok(self.store.set_pin(&new).await?)
    }

    /// Checks whether this is the PIN of a number, and counts a failure if it is not. `numbers` are its hashes: see
    /// [`number_hashes`]. Takes at most 8 seconds. A check that is dropped counts as a failure.
    pub async fn check(&self, numbers: &[NumberHash], pin: &Pin) -> PinAnswer {
        self.answer(async {
            // Wait for a thread before the guess is counted: a time-out here must not cost the user a failure.
            let comparison = self.comparison(pin).await?;
            match self.store.begin_pin_guess(numbers, self.pepper.fingerprint(), &self.limits).await? {
                PinGuess::NotSet => Ok(PinAnswer::NotSet),
                PinGuess::Locked { .. } => Ok(PinAnswer::Locked),
                PinGuess::Compare(compared) => self.compare(numbers, compared, comparison).await,
            }
        })
        .await
    }

    /// Looks up whether the PIN of a number can be entered now. Takes at most 8 seconds.
    ///
    /// # Errors
    /// If that is not known.
    pub async fn state(&self, numbers: &[NumberHash]) -> Result<PinState, CheckError> {
        Ok(timeout(CHECK_LIMIT, self.store.pin_state(numbers)).await.map_err(|_| CheckError::TimedOut)??)
    }

    /// Counts a failure, for an entry that was wrong whatever its PIN. Returns what [`PinChecker::check`] returns for a
    /// wrong PIN.
    pub async fn count_failure(&self, numbers: &[NumberHash]) -> PinAnswer {
        self.answer(async {
            Ok(match self.store.begin_pin_guess(numbers, self.pepper.fingerprint(), &self.limits).await? {
                PinGuess::NotSet => PinAnswer::NotSet,
                PinGuess::Locked { .. } => PinAnswer::Locked,
                PinGuess::Compare(_) => PinAnswer::Wrong,
            })
        })
        .await
    }

    async fn answer(&self, check: impl Future<Output = Result<PinAnswer, CheckError>>) -> PinAnswer {
        let answer = timeout(CHECK_LIMIT, check).await.unwrap_or(Err(CheckError::TimedOut));
        answer.unwrap_or_else(|error| {
            (self.report)(&error);
            PinAnswer::Failed
        })
    }

    /// Waits for a thread that can compare the entered PIN.
    async fn comparison(&self, pin: &Pin) -> Result<Comparison, CheckError> {
        let permit = self.permit().await.ok_or(CheckError::Aborted)?;
        let (pepper, entered) = (self.pepper.clone(), Zeroizing::new(pin.as_bytes().to_vec()));
        let (started, is_started) = oneshot::channel();
        let (to_compare, hash) = oneshot::channel::<Box<str>>();
        // A check that is dropped does not stop the hashing, so the thread has the permit.
        let is_right = spawn_blocking(move || {
            let _permit = permit;
            // Fails if the check was dropped; then there is no hash either.
            let _ = started.send(());
            let hash = hash.blocking_recv().ok()?;
            Some(hash::is_pin_of(&pepper, &entered, &hash))
        });
        is_started.await.map_err(|_| CheckError::Aborted)?;
        Ok(Comparison { to_compare, is_right })
    }

    async fn compare(
        &self,
        numbers: &[NumberHash],
        compared: PinToCompare,
        comparison: Comparison,
    ) -> Result<PinAnswer, CheckError> {
        comparison.to_compare.send(compared.hash.clone()).map_err(|_| CheckError::Aborted)?;
        let is_right = comparison.is_right.await.ok().flatten().ok_or(CheckError::Aborted)?;
        if !is_right? {
            return Ok(PinAnswer::Wrong);
        }
        match self.store.confirm_pin_guess(numbers, &compared).await? {
            true => Ok(PinAnswer::Right),
            false => Err(CheckError::Replaced),
        }
    }

    /// Waits for a permit to hash. Never returns `None`, because the semaphore is not closed.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.hashes).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests;
