//! Counts for the caller: dropped messages, and resource usage.

/// Messages dropped since the agent was created, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropCounts {
    /// Messages that cannot be parsed, or that lack a mandatory header.
    pub malformed: u64,
    /// Responses that match no request of this side or have more than one Via, ACKs that match no INVITE, and input on
    /// a flow that is unknown or of the other kind.
    pub unmatched: u64,
    /// Messages beyond a limit: transactions, dialogs, PRACKs, queues, or responses outside of calls.
    pub full: u64,
}

/// Current resource usage of an agent. All fields except `flows` are zero when everything has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Calls, including those that have ended and are kept for retransmissions.
    pub calls: usize,
    /// Registrations.
    pub registrations: usize,
    /// Probes.
    pub probes: usize,
    /// Client transactions: requests of this side.
    pub client_transactions: usize,
    /// Server transactions: requests of peers within calls.
    pub server_transactions: usize,
    /// Timers.
    pub timers: usize,
    /// Open flows.
    pub flows: usize,
    /// Transmits that wait to be polled.
    pub transmits: usize,
    /// Events that wait to be polled.
    pub events: usize,
}
