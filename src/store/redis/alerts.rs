//! Alerts that wait for their delivery.

use async_trait::async_trait;
use redis::FromRedisValue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Json, RedisStore, keys, malformed, model, to_json};
use crate::store::alerts::NEVER_TRIED;
use crate::store::millis::{from_unix, milliseconds, to_unix};
use crate::store::{
    AlertAdded, AlertStore, ClaimedAlert, DeliveryResult, ListedAlert, Owner, QueuedAlert, RecordKind, StoreError,
};

/// An alert, as JSON. The script adds what it does not serialize.
#[derive(Serialize, Deserialize)]
struct AlertRecord {
    id: String,
    destination: Box<str>,
    about: Box<str>,
    content: Box<str>,
    urgent: bool,
    raised_at: i64,
    #[serde(skip_serializing, default)]
    failures: u32,
    #[serde(skip_serializing, default)]
    error: Option<Box<str>>,
    #[serde(skip_serializing, default)]
    ended: Option<i64>,
    #[serde(skip_serializing, default)]
    delivered_at: Option<i64>,
}

impl AlertRecord {
    fn new(alert: &QueuedAlert) -> Self {
        let QueuedAlert { id, destination, about, raised_at, content, is_urgent: urgent } = alert.clone();
        let (id, raised_at) = (id.to_string(), to_unix(raised_at));
        let (failures, error, ended, delivered_at) = (0, None, None, None);
        Self { id, destination, about, content, urgent, raised_at, failures, error, ended, delivered_at }
    }

    fn into_claimed(self) -> Option<ClaimedAlert> {
        let Self { id, destination, content, failures, .. } = self;
        Some(ClaimedAlert { id: Uuid::parse_str(&id).ok()?, destination, content, failures })
    }

    fn into_listed(self) -> Option<ListedAlert> {
        let Self { id, destination, content, raised_at, failures, error, ended, delivered_at, .. } = self;
        let is_given_up = ended.is_some() && delivered_at.is_none();
        let (id, raised_at, delivered_at) =
            (Uuid::parse_str(&id).ok()?, from_unix(raised_at), delivered_at.map(from_unix));
        Some(ListedAlert { id, destination, content, raised_at, failures, error, delivered_at, is_given_up })
    }
}

impl RedisStore {
    async fn change_alerts<T: FromRedisValue>(&self, args: &[String]) -> Result<Vec<T>, StoreError> {
        // A master without its replicas must not change alerts, since another one may have replaced it. An empty answer
        // has changed nothing.
        self.run_if_writable(|answer: &Vec<T>| !answer.is_empty(), &self.scripts.alerts, args).await
    }

    pub(super) async fn sweep_alerts(&self) -> Result<(), StoreError> {
        let args = ["sweep".to_owned(), NEVER_TRIED.to_owned()];
        self.run::<Vec<String>>(&self.scripts.sweep_alerts, &args).await.map(|_| ())
    }
}

#[async_trait]
impl AlertStore for RedisStore {
    async fn add_alert(&self, alert: &QueuedAlert) -> Result<AlertAdded, StoreError> {
        let answer: Vec<String> = self.change_alerts(&["add".to_owned(), to_json(&AlertRecord::new(alert))?]).await?;
        match answer.first().map(String::as_str) {
            Some("new") => Ok(AlertAdded::New),
            Some("repeated") => Ok(AlertAdded::Repeated),
            Some("full") => Ok(AlertAdded::Full),
            _ => Err(malformed()),
        }
    }

    async fn claim_alerts(
        &self,
        owner: Owner,
        destinations: &[Box<str>],
        limit: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError> {
        let task = ["claim".to_owned(), model::owner(owner), limit.to_string()];
        let args: Vec<_> = task.into_iter().chain(destinations.iter().map(ToString::to_string)).collect();
        let claimed: Vec<Json> = self.change_alerts(&args).await?;
        Ok(claimed
            .iter()
            .filter_map(|json| self.parse_listed(RecordKind::Alert, json, json, AlertRecord::into_claimed))
            .collect())
    }

    async fn record_delivery(&self, owner: Owner, id: Uuid, tried: &DeliveryResult) -> Result<bool, StoreError> {
        let (result, error, pause) = match tried {
            DeliveryResult::Delivered => ("delivered", "", 0),
            DeliveryResult::Failed { again_after, error } => ("failed", &**error, milliseconds(*again_after)),
            DeliveryResult::GivenUp { error } => ("given_up", &**error, 0),
            DeliveryResult::Returned => ("given_back", "", 0),
        };
        let owner = model::owner(owner);
        let args = ["delivery", &owner, &id.to_string(), result, error, &pause.to_string()].map(str::to_owned);
        self.change_alerts::<String>(&args).await.map(|answer| !answer.is_empty())
    }

    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        let records: Vec<(Json, Json)> = self.query(command.arg(self.keys.single(keys::ALERTS))).await?;
        let alert =
            |(id, json): &(Json, Json)| self.parse_listed(RecordKind::Alert, id, json, AlertRecord::into_listed);
        let mut alerts: Vec<ListedAlert> = records.iter().filter_map(alert).collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.raised_at));
        Ok(alerts)
    }
}
