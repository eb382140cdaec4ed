//! Limits the responses to requests outside of calls. Without a limit, a flood of requests causes a flood of
//! responses, each as long as its request.

use std::time::Duration;

/// Maximum responses at once, and maximum responses a second after that. A server that checks this side by OPTIONS, or
/// repeats a request of a call that has ended, needs a few.
const RESPONSES: u32 = 200;

/// The time after which one more response may be sent.
const INTERVAL: Duration = Duration::from_millis(1_000 / RESPONSES as u64);

/// The responses that may be sent now.
pub(crate) struct ResponseBudget {
    left: u32,
    /// When the latest response was added.
    added_at: Duration,
}

impl Default for ResponseBudget {
    fn default() -> Self {
        Self { left: RESPONSES, added_at: Duration::ZERO }
    }
}

impl ResponseBudget {
    /// Takes one response. Returns false if none is left.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.added_at).as_millis();
        let added = u32::try_from(passed / INTERVAL.as_millis()).unwrap_or(u32::MAX);
        self.added_at = self.added_at.saturating_add(INTERVAL.saturating_mul(added));
        self.left = self.left.saturating_add(added).min(RESPONSES);
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}
