//! Alerts that wait for their delivery.

use async_trait::async_trait;
use uuid::Uuid;

use super::RedisStore;
use crate::store::{AlertAdded, AlertStore, AlertTried, ClaimedAlert, ListedAlert, Owner, QueuedAlert, StoreError};

#[async_trait]
impl AlertStore for RedisStore {
    async fn add_alert(&self, _alert: &QueuedAlert) -> Result<AlertAdded, StoreError> {
        Err(StoreError::Refused("not built".to_owned()))
    }

    async fn claim_alerts(
        &self,
        _owner: Owner,
        _destinations: &[Box<str>],
        _most: usize,
    ) -> Result<Vec<ClaimedAlert>, StoreError> {
        Err(StoreError::Refused("not built".to_owned()))
    }

    async fn alert_tried(&self, _owner: Owner, _id: Uuid, _tried: &AlertTried) -> Result<bool, StoreError> {
        Err(StoreError::Refused("not built".to_owned()))
    }

    async fn alerts(&self) -> Result<Vec<ListedAlert>, StoreError> {
        Err(StoreError::Refused("not built".to_owned()))
    }
}
