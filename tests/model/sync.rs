//! loom's locks with the interface of parking_lot's, which the registry uses.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

/// A lock that loom controls.
#[derive(Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

/// A held lock.
pub struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

/// A condition variable that loom controls.
#[derive(Default)]
pub struct Condvar(loom::sync::Condvar);

/// The result of a wait, which never times out.
pub struct WaitTimeoutResult;

impl<T> Mutex<T> {
    /// Locks the mutex.
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

    /// Wakes all waiting threads.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl WaitTimeoutResult {
    /// Returns false.
    pub fn timed_out(&self) -> bool {
        false
    }
}
