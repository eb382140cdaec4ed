//! Session timers (RFC 4028).

use std::time::Duration;

use super::{Call, Purpose, SentRequest};
use crate::agent::core::Core;
use crate::message::{Message, Refresher, header};

/// The smallest session interval that is kept, in seconds. A peer that agrees on less than the RFC allows ends the call if
/// it is not refreshed in time; below this, refreshes would be a flood.
const MIN_REFRESHED: u32 = 4;

/// The smallest session interval that may be proposed, in seconds (RFC 4028, 5).
pub(super) const MIN_SECONDS: u32 = 90;

/// When the session of a dialog is refreshed, and when it is ended for lack of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionTimer {
    seconds: u32,
    /// When this side refreshes. `None`: the peer refreshes, or a refresh is pending.
    refresh_at: Option<Duration>,
    is_refresher: bool,
    /// When the session is ended: a third of the interval, but at most 32 s, before it expires (RFC 4028, 10).
    ends_at: Duration,
}

impl SessionTimer {
    fn new(now: Duration, seconds: u32, is_refresher: bool) -> Self {
        let seconds = seconds.max(MIN_REFRESHED);
        let interval = Duration::from_secs(u64::from(seconds));
        let margin = Duration::from_secs(u64::from(seconds / 3).min(32));
        let refresh_at = is_refresher.then(|| now.saturating_add(interval / 2));
        Self { seconds, refresh_at, is_refresher, ends_at: now.saturating_add(interval.saturating_sub(margin)) }
    }

    /// Reads the interval that a 2xx to a request of this side agrees on. `None`: the session does not expire.
    pub(super) fn from_response(now: Duration, response: &Message) -> Option<Self> {
        let agreed = response.session_expires().ok()??;
        Some(Self::new(now, agreed.seconds, agreed.refresher != Some(Refresher::Uas)))
    }

    /// Reads the interval that a request of the peer proposes. Returns the timer, and the value of Session-Expires in
    /// the 2xx.
    pub(super) fn from_request(now: Duration, request: &Message) -> Option<(Self, String)> {
        let proposed = request.session_expires().ok()??;
        // The peer refreshes, unless it asks this side to or does not support timers (RFC 4028, 9, table 2).
        let is_refresher = proposed.refresher == Some(Refresher::Uas) || !request.has_option("timer");
        let seconds = proposed.seconds.max(MIN_SECONDS);
        let value = format!("{seconds};refresher={}", if is_refresher { "uas" } else { "uac" });
        Some((Self::new(now, seconds, is_refresher), value))
    }

    /// Sets the time of the next refresh.
    pub(super) fn refresh_at(&mut self, at: Duration) {
        self.refresh_at = Some(at);
    }

    pub(super) fn next_timeout(&self) -> Duration {
        self.refresh_at.map_or(self.ends_at, |at| at.min(self.ends_at))
    }
}

impl Call {
    pub(super) fn handle_session_timers(&mut self, core: &mut Core) {
        let established = match self.stage {
            super::Stage::Established(id) => Some(id),
            _ => None,
        };
        // The 2xx of a refresh may arrive after the end of the call. A timer that is never handled would stay due.
        for fork in self.forks.iter_mut().filter(|fork| Some(fork.id) != established) {
            fork.timer = None;
        }
        let Some(id) = established else { return };
        let now = core.now;
        let Some(fork) = self.fork(id) else { return };
        let Some(timer) = &mut fork.timer else { return };
        if timer.ends_at <= now {
            fork.timer = None;
            self.lose_session(core, id);
        } else if timer.refresh_at.is_some_and(|at| at <= now) {
            timer.refresh_at = None;
            let purpose = if fork.allows_update { Purpose::Update } else { Purpose::Reinvite };
            self.send_request(core, id, purpose, crate::auth::RequestAuth::default(), 0);
        }
    }

    /// Returns the session timer headers of a refresh.
    pub(super) fn session_headers(&self, fork: u32) -> Vec<(&'static str, String)> {
        let Some(timer) = self.forks.iter().find(|other| other.id == fork).and_then(|fork| fork.timer) else {
            return Vec::new();
        };
        let refresher = if timer.is_refresher { "uac" } else { "uas" };
        let mut headers = vec![(header::SESSION_EXPIRES, format!("{};refresher={refresher}", timer.seconds))];
        if let Some(minimum) = self.min_interval {
            headers.push((header::MIN_SE, minimum.to_string()));
        }
        headers
    }

    /// Handles a rejected refresh. If the peer may accept it later or in another form, it is retried; otherwise the
    /// session expires.
    pub(super) fn handle_refresh_rejected(
        &mut self,
        core: &mut Core,
        request: &SentRequest,
        status: u16,
        response: &Message,
    ) {
        let is_by_update = request.purpose == Purpose::Update;
        match status {
            408 | 481 => self.lose_session(core, request.fork),
            // Glare. This side owns the Call-ID, so it waits for 2.1 to 4 s (RFC 3261, 14.1).
            491 | 500 => {
                let wait = core.random_duration(Duration::from_millis(2_100), Duration::from_secs(4));
                let at = core.now.saturating_add(wait);
                if let Some(timer) = self.fork(request.fork).and_then(|fork| fork.timer.as_mut()) {
                    timer.refresh_at(at);
                }
            }
            422 => {
                let minimum = response.min_se().ok().flatten();
                let timer = self.fork(request.fork).and_then(|fork| fork.timer.as_mut());
                if let (Some(minimum), Some(timer)) = (minimum, timer)
                    && minimum > timer.seconds
                {
                    timer.seconds = minimum;
                    self.min_interval = Some(minimum);
                    self.repeat_refresh(core, request, request.purpose.clone());
                }
            }
            // The peer does not support UPDATE, although it said so.
            405 | 501 if is_by_update => {
                if let Some(fork) = self.fork(request.fork) {
                    fork.allows_update = false;
                }
                self.repeat_refresh(core, request, Purpose::Reinvite);
            }
            _ => {}
        }
    }
}
