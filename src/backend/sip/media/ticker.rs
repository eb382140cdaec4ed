//! Ticks the audio of all calls: one task makes each call send a packet every 20 ms, and reads what its peer has sent every
//! 60 ms. So a received packet wakes no task.
//!
//! The schedule is absolute, so that no call drifts. Each call has one of 4 slots of 5 ms, so that calls do not send all
//! at once. Shorter slots wake the processor more often without benefit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use phonegate_media::rtp::{PACKET_MILLISECONDS, RECEIVE_BUFFER};
use phonegate_os::{PeerReader, prefetch};
use tokio::time::{Instant, sleep_until};

/// A call's audio, which sends a packet at each tick.
pub(super) trait Tick: Send + Sync + 'static {
    /// Sends the packet that is due. `is_late`: the machine stalled, so the packet is skipped. `buffer` is for the packet, so
    /// that none is allocated.
    fn tick(&self, now: Instant, is_late: bool, buffer: &mut Vec<u8>);

    /// Reads the packets that have arrived for these calls.
    fn read(calls: &[Arc<Self>], reader: &mut PeerReader);
}

/// Slots between two packets of a call.
const SLOTS: usize = 4;
const SLOT: Duration = Duration::from_millis(5);

const _: () = assert!(SLOT.as_millis() * SLOTS as u128 == PACKET_MILLISECONDS as u128, "a period is one packet");

/// Ticks of a call between two reads of what its peer has sent. So a digit may be read up to 60 ms late, but its press
/// is timed by its arrival.
const TICKS_PER_READ: u32 = 3;

/// Minimum stall (the host slept or was migrated) after which missed packets are skipped.
const STALL: Duration = Duration::from_millis(200);

/// Lag after which the schedule restarts, so that a machine that slept for hours does not run every missed tick.
const LONGEST_LAG: Duration = Duration::from_secs(10);

/// The calls by slot. The task ends with the last call.
pub(super) struct Ticker<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    slots: [Vec<Weak<T>>; SLOTS],
    is_running: bool,
}

impl<T> Default for Ticker<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { slots: std::array::from_fn(|_| Vec::new()), is_running: false }) }
    }
}

impl<T: Tick> Ticker<T> {
    /// Adds a call. It is ticked until it is dropped.
    pub(super) fn add(self: &Arc<Self>, call: &Arc<T>) {
        let mut state = self.state.lock();
        if let Some(slot) = state.slots.get_mut(fastrand::usize(..SLOTS)) {
            slot.push(Arc::downgrade(call));
        }
        if !std::mem::replace(&mut state.is_running, true) {
            tokio::spawn(Arc::clone(self).run());
        }
    }

    async fn run(self: Arc<Self>) {
        let mut due = Instant::now();
        let mut slot = 0;
        let mut buffer = Vec::new();
        let (mut reader, mut ticks_since_read) = (PeerReader::new(RECEIVE_BUFFER), [0; SLOTS]);
        let sleep = sleep_until(due);
        tokio::pin!(sleep);
        while let Some(step) = self.until_next(slot) {
            slot = (slot + step) % SLOTS;
            due += SLOT * u32::try_from(step).unwrap_or_default();
            if due.elapsed() > LONGEST_LAG {
                due = Instant::now();
            }
            // Awaited even if it is in the past, so that other tasks run while this one catches up.
            sleep.as_mut().reset(due);
            sleep.as_mut().await;
            let ticked = self.tick(slot, due.elapsed() > STALL, &mut buffer);
            if let Some(ticks_since_read) = ticks_since_read.get_mut(slot) {
                *ticks_since_read = (*ticks_since_read + 1) % TICKS_PER_READ;
                if *ticks_since_read == 0 {
                    T::read(&ticked, &mut reader);
                }
            }
        }
    }

    /// Returns the number of slots until the next one that has calls. Without calls, returns `None` and stops running.
    fn until_next(&self, slot: usize) -> Option<usize> {
        let mut state = self.state.lock();
        let step =
            (1..=SLOTS).find(|step| state.slots.get((slot + step) % SLOTS).is_some_and(|calls| !calls.is_empty()));
        state.is_running = step.is_some();
        step
    }

    /// Makes the calls of a slot send their packets, and returns these calls.
    fn tick(&self, slot: usize, is_late: bool, buffer: &mut Vec<u8>) -> Vec<Arc<T>> {
        let swap = |calls: &mut Vec<Weak<T>>| {
            let mut state = self.state.lock();
            if let Some(slot) = state.slots.get_mut(slot) {
                std::mem::swap(slot, calls);
            }
        };
        let mut calls = Vec::new();
        swap(&mut calls);
        let now = Instant::now();
        let (mut kept, mut ticked) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
        let mut rest = calls.into_iter();
        while let Some(call) = rest.next() {
            // With many calls, waiting for memory takes longer than anything but sending.
            rest.as_slice().first().into_iter().for_each(prefetch);
            // A panic in one call must not stop the others.
            if let Some(shared) = call.upgrade()
                && catch_unwind(AssertUnwindSafe(|| shared.tick(now, is_late, buffer))).is_ok()
            {
                ticked.push(shared);
                kept.push(call);
            }
        }
        // Put the calls back, and append those that were added meanwhile.
        swap(&mut kept);
        if let Some(slot) = self.state.lock().slots.get_mut(slot) {
            slot.append(&mut kept);
        }
        ticked
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counter {
        in_time: AtomicUsize,
        late: AtomicUsize,
    }

    impl Tick for Counter {
        fn tick(&self, _: Instant, is_late: bool, _: &mut Vec<u8>) {
            let count = if is_late { &self.late } else { &self.in_time };
            count.fetch_add(1, Ordering::Relaxed);
        }

        fn read(_: &[Arc<Self>], _: &mut PeerReader) {}
    }

    impl Counter {
        fn counts(&self) -> (usize, usize) {
            (self.in_time.load(Ordering::Relaxed), self.late.load(Ordering::Relaxed))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_call_ticks_every_20_ms_and_none_after_its_end() {
        let ticker = Arc::<Ticker<Counter>>::default();
        let calls: Vec<_> = (0..50).map(|_| Arc::new(Counter::default())).collect();
        calls.iter().for_each(|call| ticker.add(call));
        tokio::time::sleep(Duration::from_millis(10_010)).await;
        for call in &calls {
            let (in_time, late) = call.counts();
            assert!((500..=501).contains(&in_time) && late == 0, "{in_time} ticks in 10 s, and {late} late");
        }
        drop(calls);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(Arc::strong_count(&ticker), 1, "the task has ended");
        let next = Arc::new(Counter::default());
        ticker.add(&next);
        tokio::time::sleep(Duration::from_millis(1_010)).await;
        assert!(next.counts().0 >= 50, "it runs again");
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_after_a_stall_are_late_and_keep_the_schedule() {
        let ticker = Arc::<Ticker<Counter>>::default();
        let call = Arc::new(Counter::default());
        ticker.add(&call);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = call.counts().0;
        tokio::time::advance(Duration::from_secs(2)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (in_time, late) = call.counts();
        assert!(late >= 89 && in_time + late >= before + 99, "{before} before, then {in_time} and {late} late");
    }
}
