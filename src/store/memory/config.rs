//! The settings of a store in memory.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::MemoryStore;
use crate::config::{ConfigError, NetworkConfig, StoreSettings};
use crate::store::{CallStore, OpenError, OpenStore};

/// In the memory of the process: calls are lost when it ends.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {}

impl StoreSettings for MemoryConfig {
    fn is_persistent(&self) -> bool {
        false
    }
}

impl OpenStore for MemoryConfig {
    const NAME: &'static str = "memory";

    fn open(&self, _: &NetworkConfig, _: &Path) -> Result<Arc<dyn CallStore>, OpenError> {
        Ok(Arc::new(MemoryStore::default()))
    }

    fn location(&self, _: &Path) -> Result<String, ConfigError> {
        Ok("the store in memory".to_owned())
    }
}
