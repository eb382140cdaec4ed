//! loom's locks in the shape of parking_lot's, which the registry is written for.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

/// A lock that loom knows.
#[derive(Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

/// A lock that is held.
pub struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

/// A condition that loom knows.
#[derive(Default)]
pub struct Condvar(loom::sync::Condvar);

/// Never a time-out: who waits must be woken.
pub struct WaitTimeoutResult;

impl<T> Mutex<T> {
    /// Locks it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap()))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

impl Condvar {
    /// Waits until it is notified.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> WaitTimeoutResult {
        guard.0 = guard.0.take().map(|guard| self.0.wait(guard).unwrap());
        WaitTimeoutResult
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl WaitTimeoutResult {
    /// Never.
    pub fn timed_out(&self) -> bool {
        false
    }
}
