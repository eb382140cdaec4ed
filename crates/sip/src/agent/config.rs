//! The settings of an agent.

use std::time::Duration;

use crate::message::Limits;

/// The settings of a [`UserAgent`](crate::agent::UserAgent).
#[derive(Clone, Debug)]
pub struct Config {
    /// Value of User-Agent and Server. If empty, neither header is sent.
    pub product: String,
    /// Limits of received messages.
    pub limits: Limits,
    /// The timers of RFC 3261, 17.
    pub timers: TimerValues,
    /// Maximum time from an INVITE to its final response. Then the agent cancels the call. Default: 3 minutes, as Timer
    /// C of a proxy (RFC 3261, 16.6). Also the maximum time to follow a redirection.
    pub max_ringing: Duration,
    /// Maximum time for the caller to respond to an offer or INFO of the peer. Then the agent responds with 500.
    /// Default: 10 s.
    pub max_response_delay: Duration,
    /// Maximum calls, including those that have ended but may still ring. A new call evicts the oldest ended call that
    /// is kept only for retransmissions.
    pub max_calls: usize,
    /// Maximum flows.
    pub max_flows: usize,
    /// Maximum registrations, and maximum probes.
    pub max_registrations: usize,
    /// Maximum server transactions (requests of peers) of all calls.
    pub max_server_transactions: usize,
    /// Maximum bytes of the requests in server transactions. What is kept of a request, such as its response, is about as
    /// long. A BYE is accepted beyond it.
    pub max_server_bytes: usize,
    /// Maximum transmits, and maximum events, that wait to be polled. While either queue is full, received messages are
    /// dropped.
    pub max_queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            product: String::new(),
            limits: Limits::default(),
            timers: TimerValues::default(),
            max_ringing: Duration::from_secs(180),
            max_response_delay: Duration::from_secs(10),
            max_calls: 4_096,
            max_flows: 256,
            max_registrations: 256,
            max_server_transactions: 4_096,
            max_server_bytes: 16 * 1024 * 1024,
            max_queue: 16_384,
        }
    }
}

/// The timers of RFC 3261, 17.1.1.1 and table 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerValues {
    /// Estimated round trip, and the first interval of retransmissions, at least 10 ms. Default: 500 ms.
    pub t1: Duration,
    /// Maximum interval of retransmissions. Default: 4 s.
    pub t2: Duration,
    /// Maximum lifetime of a message in the network. Default: 5 s.
    pub t4: Duration,
}

impl TimerValues {
    /// Returns 64 times T1, after which a transaction times out (timers B, F, H and others).
    pub fn timeout(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

impl Default for TimerValues {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}
