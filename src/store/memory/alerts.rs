//! Alerts that wait for their delivery (S19).

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
// Tests can pause this clock.
use tokio::time::Instant;
use uuid::Uuid;

use super::MemoryStore;
use crate::store::alerts::{ENDED_ALERT_RETENTION, MAX_ENDED_ALERTS, NEVER_TRIED, REPEAT_WINDOW, alert_lease};
use crate::store::{
    AlertAdded, AlertStore, ClaimedAlert, DeliveryResult, ListedAlert, MAX_ALERT_WAIT, MAX_WAITING_ALERTS,
    MAX_WAITING_ALERTS_TOTAL, Owner, QueuedAlert, StoreError,
};

/// The alerts of a store, in the order in which they were added.
#[derive(Default)]
pub(super) struct Alerts(Vec<AlertEntry>);

struct AlertEntry {
    listed: ListedAlert,
    about: Box<str>,
    is_urgent: bool,
    added: Instant,
    /// When it may be claimed.
    due: Instant,
    claimed_by: Option<Owner>,
    ended: Option<Instant>,
}

#[async_trait]
impl AlertStore for MemoryStore {
    async fn add_alert(&self, alert: &QueuedAlert) -> Result<AlertAdded, StoreError> {
        Ok(self.alerts.lock().add(alert, Instant::now()))
    }

    async fn claim_alerts(
        &self,
        owner: Owner,
        destinations: &[Box<str>],
        limit: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError> {
        Ok(self.alerts.lock().claim(owner, destinations, limit, Instant::now()))
    }

    async fn record_delivery(&self, owner: Owner, id: Uuid, tried: &DeliveryResult) -> Result<bool, StoreError> {
        Ok(self.alerts.lock().tried(owner, id, tried, Instant::now()))
    }

    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError> {
        let mut alerts: Vec<_> = self.alerts.lock().0.iter().map(|alert| alert.listed.clone()).collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.raised_at));
        Ok(alerts)
    }
}

impl Alerts {
    fn add(&mut self, alert: &QueuedAlert, now: Instant) -> AlertAdded {
        let QueuedAlert { id, destination, about, raised_at, content, is_urgent } = alert.clone();
        let repeats = |entry: &AlertEntry| {
            entry.listed.destination == destination
                && entry.about == about
                && now.saturating_duration_since(entry.added) < REPEAT_WINDOW
        };
        if self.0.iter().any(repeats) {
            return AlertAdded::Repeated;
        }
        let waiting = || self.0.iter().filter(|entry| entry.ended.is_none());
        let is_full = waiting().filter(|entry| entry.listed.destination == destination).count() >= MAX_WAITING_ALERTS;
        if is_full || waiting().count() >= MAX_WAITING_ALERTS_TOTAL {
            return AlertAdded::Full;
        }
        let (failures, error, delivered_at, is_given_up) = (0, None, None, false);
        let listed = ListedAlert { id, destination, content, raised_at, failures, error, delivered_at, is_given_up };
        self.0.push(AlertEntry { listed, about, is_urgent, added: now, due: now, claimed_by: None, ended: None });
        AlertAdded::New
    }

    fn claim(&mut self, owner: Owner, destinations: &[Box<str>], limit: usize, now: Instant) -> Vec<ClaimedAlert> {
        let mut claimed = Vec::new();
        for destination in destinations {
            let is_due = |entry: &&mut AlertEntry| {
                entry.ended.is_none() && entry.due <= now && entry.listed.destination == *destination
            };
            let mut due: Vec<_> = self.0.iter_mut().filter(is_due).collect();
            due.sort_by_key(|entry| (!entry.is_urgent, entry.due));
            claimed.extend(due.into_iter().take(limit).map(|entry| {
                entry.claimed_by = Some(owner);
                entry.due = now + alert_lease();
                let ListedAlert { id, destination, content, failures, .. } = entry.listed.clone();
                ClaimedAlert { id, destination, content, failures }
            }));
        }
        claimed
    }

    fn tried(&mut self, owner: Owner, id: Uuid, tried: &DeliveryResult, now: Instant) -> bool {
        let is_claimed = |entry: &&mut AlertEntry| entry.listed.id == id && entry.claimed_by == Some(owner);
        let Some(entry) = self.0.iter_mut().find(is_claimed) else { return false };
        entry.claimed_by = None;
        entry.due = now;
        match tried {
            DeliveryResult::Delivered => {
                entry.listed.delivered_at = Some(SystemTime::now());
                entry.ended = Some(now);
            }
            DeliveryResult::Failed { again_after, error } => {
                entry.listed.failed(error);
                entry.due = now + *again_after;
            }
            DeliveryResult::GivenUp { error } => {
                entry.listed.failed(error);
                entry.give_up(now);
            }
            DeliveryResult::Returned => {}
        }
        self.remove_some_ended();
        true
    }

    fn remove_some_ended(&mut self) {
        let mut ended: Vec<_> = self.0.iter().filter_map(|entry| entry.ended).collect();
        if let Some(excess) = ended.len().checked_sub(MAX_ENDED_ALERTS + 1) {
            let (_, last, _) = ended.select_nth_unstable(excess);
            let last = *last;
            self.0.retain(|entry| entry.ended.is_none_or(|at| at > last));
        }
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        let is_older = |at: Instant, limit: Duration| now.saturating_duration_since(at) >= limit;
        self.0.retain(|entry| entry.ended.is_none_or(|at| !is_older(at, ENDED_ALERT_RETENTION)));
        for entry in self.0.iter_mut().filter(|entry| entry.ended.is_none() && is_older(entry.added, MAX_ALERT_WAIT)) {
            entry.listed.error.get_or_insert_with(|| NEVER_TRIED.into());
            entry.give_up(now);
        }
    }
}

impl AlertEntry {
    fn give_up(&mut self, now: Instant) {
        self.listed.is_given_up = true;
        self.claimed_by = None;
        self.ended = Some(now);
    }
}

impl ListedAlert {
    fn failed(&mut self, error: &str) {
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error.into());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;
    use crate::store::CallStore;

    const OWNER: Owner = Owner(Uuid::from_u128(1));

    fn alert(n: u128) -> QueuedAlert {
        QueuedAlert {
            id: Uuid::from_u128(n),
            destination: "a".into(),
            about: format!("fraud:{n}").into(),
            raised_at: SystemTime::UNIX_EPOCH + Duration::from_secs(n as u64),
            content: "{}".into(),
            is_urgent: false,
        }
    }

    async fn claim(store: &MemoryStore) -> Vec<Uuid> {
        let claimed = store.claim_alerts(OWNER, &["a".into()], 10).await.unwrap();
        claimed.into_iter().map(|alert| alert.id).collect()
    }

    async fn sweep_after(store: &MemoryStore, time: Duration) -> Vec<ListedAlert> {
        tokio::time::advance(time).await;
        store.sweep(Duration::from_secs(90 * 86_400)).await.unwrap();
        store.alerts().await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_about_the_same_is_added_again_after_an_hour() {
        let store = MemoryStore::default();
        assert_eq!(store.add_alert(&alert(1)).await, Ok(AlertAdded::New));
        tokio::time::advance(REPEAT_WINDOW - Duration::from_millis(1)).await;
        let second = QueuedAlert { id: Uuid::from_u128(2), ..alert(1) };
        assert_eq!(store.add_alert(&second).await, Ok(AlertAdded::Repeated));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(store.add_alert(&second).await, Ok(AlertAdded::New));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_waits_seven_days_and_is_listed_another_day() {
        let store = MemoryStore::default();
        store.add_alert(&alert(1)).await.unwrap();
        assert_eq!(claim(&store).await.len(), 1);
        let listed = sweep_after(&store, MAX_ALERT_WAIT - Duration::from_secs(1)).await;
        assert!(!listed[0].is_given_up, "{listed:?}");
        let listed = sweep_after(&store, Duration::from_secs(1)).await;
        assert!(listed[0].is_given_up && listed[0].error.as_deref() == Some(NEVER_TRIED), "{listed:?}");
        assert!(claim(&store).await.is_empty(), "it is not delivered any more");
        let tried = store.record_delivery(OWNER, Uuid::from_u128(1), &DeliveryResult::Delivered).await;
        assert_eq!(tried, Ok(false), "its claim ended, too");
        assert_eq!(sweep_after(&store, ENDED_ALERT_RETENTION - Duration::from_secs(1)).await.len(), 1);
        assert_eq!(sweep_after(&store, Duration::from_secs(1)).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn of_ended_alerts_the_last_thousand_are_kept() {
        let store = MemoryStore::default();
        for n in 0..=MAX_ENDED_ALERTS as u128 {
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(store.add_alert(&alert(n)).await, Ok(AlertAdded::New));
            assert_eq!(claim(&store).await, [Uuid::from_u128(n)]);
            assert_eq!(store.record_delivery(OWNER, Uuid::from_u128(n), &DeliveryResult::Delivered).await, Ok(true));
        }
        let listed = store.alerts().await.unwrap();
        assert_eq!((listed.len(), listed.last().unwrap().id), (MAX_ENDED_ALERTS, Uuid::from_u128(1)));
    }
}
