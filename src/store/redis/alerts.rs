//! Alerts that wait for their delivery.

use async_trait::async_trait;
use redis::Script;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::form::{self, at, milliseconds, since_1970};
use super::{RedisStore, from_text, strange, to_text};
use crate::store::alerts::{ALERT_LISTED, MAX_ENDED_ALERTS, NEVER_TRIED, REPEATED_WITHIN, alert_lease};
use crate::store::{
    ALERT_KEPT, AlertAdded, AlertStore, ClaimedAlert, DeliveryResult, ListedAlert, MAX_WAITING_ALERTS,
    MAX_WAITING_IN_ALL, Owner, QueuedAlert, StoreError,
};

/// Returns the script of all changes, with its limits. For sweeps, `writes` is false: a server whose memory is full would
/// refuse the note of the clock.
pub(super) fn script(writes: bool, make: impl Fn(bool, &str) -> Script) -> Script {
    let [lease, repeated, listed, kept] =
        [alert_lease(), REPEATED_WITHIN, ALERT_LISTED, ALERT_KEPT].map(|span| span.as_millis());
    let constants = format!(
        "local ALERT_LEASE, REPEATED_WITHIN, ALERT_LISTED, ALERT_KEPT = {lease}, {repeated}, {listed}, {kept}\n\
         local MAX_WAITING_ALERTS, MAX_WAITING_IN_ALL = {MAX_WAITING_ALERTS}, {MAX_WAITING_IN_ALL}\n\
         local MAX_ENDED_ALERTS = {MAX_ENDED_ALERTS}\n"
    );
    make(writes, &[&constants, include_str!("alerts.lua")].concat())
}

/// An alert, as JSON. The script adds what it does not serialize.
#[derive(Serialize, Deserialize)]
struct KeptAlert {
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

impl KeptAlert {
    fn new(alert: &QueuedAlert) -> Self {
        let QueuedAlert { id, destination, about, raised_at, content, is_urgent: urgent } = alert.clone();
        let (id, raised_at) = (id.to_string(), since_1970(raised_at));
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
        let (id, raised_at, delivered_at) = (Uuid::parse_str(&id).ok()?, at(raised_at), delivered_at.map(at));
        Some(ListedAlert { id, destination, content, raised_at, failures, error, delivered_at, is_given_up })
    }
}

impl RedisStore {
    async fn change_alerts(&self, args: &[String]) -> Result<Vec<String>, StoreError> {
        // A master without its replicas must not change alerts, since another one may have replaced it. An empty answer
        // has changed nothing.
        self.run_where(|answer: &Vec<String>| !answer.is_empty(), &self.scripts.alerts, args).await
    }

    pub(super) async fn sweep_alerts(&self) -> Result<(), StoreError> {
        let args = ["sweep".to_owned(), NEVER_TRIED.to_owned()];
        self.run::<Vec<String>>(&self.scripts.sweep_alerts, &args).await.map(|_| ())
    }
}

#[async_trait]
impl AlertStore for RedisStore {
    async fn add_alert(&self, alert: &QueuedAlert) -> Result<AlertAdded, StoreError> {
        let answer = self.change_alerts(&["add".to_owned(), to_text(&KeptAlert::new(alert))?]).await?;
        match answer.first().map(String::as_str) {
            Some("new") => Ok(AlertAdded::New),
            Some("repeated") => Ok(AlertAdded::Repeated),
            Some("full") => Ok(AlertAdded::Full),
            _ => Err(strange()),
        }
    }

    async fn claim_alerts(
        &self,
        owner: Owner,
        destinations: &[Box<str>],
        most: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError> {
        let task = ["claim".to_owned(), form::owner(owner), most.to_string()];
        let args: Vec<_> = task.into_iter().chain(destinations.iter().map(ToString::to_string)).collect();
        let claimed = self.change_alerts(&args).await?;
        claimed.iter().map(|text| from_text(text, KeptAlert::into_claimed)).collect()
    }

    async fn record_delivery(&self, owner: Owner, id: Uuid, tried: &DeliveryResult) -> Result<bool, StoreError> {
        let (result, error, pause) = match tried {
            DeliveryResult::Delivered => ("delivered", "", 0),
            DeliveryResult::Failed { again_after, error } => ("failed", &**error, milliseconds(*again_after)),
            DeliveryResult::GivenUp { error } => ("given_up", &**error, 0),
            DeliveryResult::Returned => ("given_back", "", 0),
        };
        let owner = form::owner(owner);
        let args = ["tried", &owner, &id.to_string(), result, error, &pause.to_string()].map(str::to_owned);
        self.change_alerts(&args).await.map(|answer| !answer.is_empty())
    }

    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError> {
        let mut command = redis::cmd("HVALS");
        let texts: Vec<String> = self.query(command.arg(self.whole_key("alerts"))).await?;
        let alerts = texts.iter().map(|text| from_text(text, KeptAlert::into_listed));
        let mut alerts: Vec<ListedAlert> = alerts.collect::<Result<_, _>>()?;
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.raised_at));
        Ok(alerts)
    }
}
