//! Alerts that wait for their delivery (S19).

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use uuid::Uuid;

use super::{Owner, StoreError};
use crate::failpoint;

/// How long a claim of an alert is valid. After that another owner may claim the alert.
pub const ALERT_LEASE: Duration = Duration::from_secs(60);

/// [`ALERT_LEASE`] in tests that set the fault `store.alert_lease`.
const SHORT_ALERT_LEASE: Duration = Duration::from_secs(2);

/// Maximum number of undelivered alerts for one destination.
pub const MAX_WAITING_ALERTS: usize = 1_000;

/// Maximum number of undelivered alerts in a store: those of the 16 destinations that a configuration may have. Alerts
/// for destinations that were removed count, too.
pub const MAX_WAITING_ALERTS_TOTAL: usize = 16 * MAX_WAITING_ALERTS;

/// Maximum number of alerts in a store that were delivered or given up. Beyond it the oldest ones are removed.
pub(super) const MAX_ENDED_ALERTS: usize = 1_000;

/// Time within which a second alert about the same, for one destination, is a repetition and is not added.
pub(crate) const REPEAT_WINDOW: Duration = Duration::from_secs(60 * 60);

/// How long an alert is listed after it was delivered or given up.
pub(super) const ENDED_ALERT_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum time that an alert waits for its delivery.
pub const MAX_ALERT_WAIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The error of an alert that waited longer than [`MAX_ALERT_WAIT`], if no delivery was tried.
pub(super) const NEVER_TRIED: &str = "no node with this destination was running";

/// Returns [`ALERT_LEASE`], or a shorter one in tests that set a fault.
pub(super) fn alert_lease() -> Duration {
    if failpoint::is_set("store.alert_lease") { SHORT_ALERT_LEASE } else { ALERT_LEASE }
}

/// The alerts of a store (S19). Each is for one destination. A node delivers those for the destinations that it has.
///
/// Every store guarantees, by its own clock:
///
/// - While one owner's claim of an alert is valid, no other owner can claim it. A claim is valid for [`ALERT_LEASE`], or
///   until [`AlertStore::record_delivery`].
/// - An alert that ended, because it was delivered or given up, is never claimed again.
/// - At most [`MAX_WAITING_ALERTS`] wait for one destination and [`MAX_WAITING_ALERTS_TOTAL`] in all, and at most 1,000 ended
///   ones are kept. The cost of [`AlertStore::claim_alerts`] does not depend on how many wait.
/// - [`CallStore::sweep`](super::CallStore::sweep) gives up alerts that have waited for longer than [`MAX_ALERT_WAIT`], and
///   removes those that ended longer than a day ago.
///
/// An alert is delivered at least once: the node that claimed it may be killed after the delivery and before it records
/// that. Its id is the same in each delivery.
#[async_trait]
pub trait AlertStore: Send + Sync {
    /// Adds an alert, unless one about the same was added for the same destination within the last hour, or too many
    /// wait for that destination or in all. To add the same alert again is a repetition, so that an addition with an unknown result can be retried.
    ///
    /// # Errors
    /// If it is not known whether it was added.
    async fn add_alert(&self, alert: &QueuedAlert) -> Result<AlertAdded, StoreError>;

    /// Claims up to `limit` alerts that are due for each of these destinations, which differ. Urgent ones come first, then
    /// those that have been due for longest.
    ///
    /// # Errors
    /// If it is not known which were claimed: they can be claimed again after [`ALERT_LEASE`].
    async fn claim_alerts(
        &self,
        owner: Owner,
        destinations: &[Box<str>],
        limit: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError>;

    /// Records the result of a delivery. Returns false, and changes nothing, if `owner` has no claim of the alert.
    ///
    /// # Errors
    /// If it is not known whether that was recorded.
    async fn record_delivery(&self, owner: Owner, id: Uuid, tried: &DeliveryResult) -> Result<bool, StoreError>;

    /// Returns all alerts of the store, the newest first.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError>;
}

/// An alert to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedAlert {
    /// Identifies it in every delivery.
    pub id: Uuid,
    /// The key of its destination.
    pub destination: Box<str>,
    /// What it is about: its kind, and the hash of a number or the name of a backend or limit.
    pub about: Box<str>,
    /// When it was raised.
    pub raised_at: SystemTime,
    /// The alert as JSON. No personal data.
    pub content: Box<str>,
    /// Whether it is delivered before others for the same destination.
    pub is_urgent: bool,
}

/// Whether an alert was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertAdded {
    /// It waits for its delivery.
    New,
    /// One about the same was added within the last hour.
    Repeated,
    /// Too many alerts wait.
    Full,
}

/// An alert to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedAlert {
    /// Its id.
    pub id: Uuid,
    /// The key of its destination.
    pub destination: Box<str>,
    /// The alert as JSON.
    pub content: Box<str>,
    /// Deliveries that failed so far.
    pub failures: u32,
}

/// The result of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The destination accepted it.
    Delivered,
    /// It failed, and the alert is due again after `again_after`.
    Failed {
        /// The pause, which starts when the result is recorded.
        again_after: Duration,
        /// Why, without personal data.
        error: Box<str>,
    },
    /// It failed, and the alert is not delivered again.
    GivenUp {
        /// Why, without personal data.
        error: Box<str>,
    },
    /// It was interrupted, and the alert is due again at once. This does not count as a failure.
    Returned,
}

/// An alert for a list, with the state of its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAlert {
    /// Its id.
    pub id: Uuid,
    /// The key of its destination.
    pub destination: Box<str>,
    /// The alert as JSON.
    pub content: Box<str>,
    /// When it was raised.
    pub raised_at: SystemTime,
    /// Deliveries that failed so far.
    pub failures: u32,
    /// Why the last one failed.
    pub error: Option<Box<str>>,
    /// When it was delivered.
    pub delivered_at: Option<SystemTime>,
    /// Whether it was given up: it was not delivered, and no delivery will be tried again.
    pub is_given_up: bool,
}
