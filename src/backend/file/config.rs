//! The settings of a file of calls.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::FileBackend;
use crate::backend::{BackendContext, BuildBackend, TelephonyBackend};
use crate::config::{ApprovalConfig, BackendSettings, ConfigError, Judge};

/// A text file in which a person or a script answers the calls, as in Microsoft's sample.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileConfig {
    /// The file: one call a line, `requestId;phoneNumber;status;message`. Relative to the configuration.
    pub(super) path: PathBuf,
    /// Whether an approval in the file approves a call, without a code that PhoneGate compares. By default
    /// `allow_test_backends` decides. If false, the backend cannot be in `use`.
    #[serde(default)]
    pub(super) accept_provider_verdict: Option<bool>,
}

impl BackendSettings for FileConfig {
    fn judge(&self) -> Judge {
        Judge::Provider { accept: self.accept_provider_verdict }
    }

    /// A method with a PIN refuses a backend whose provider judges, whatever its settings.
    fn check_pins(&self, _: &str, _: &ApprovalConfig) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl BuildBackend for FileConfig {
    fn build(&self, context: &BackendContext<'_>) -> Result<Arc<dyn TelephonyBackend>, ConfigError> {
        Ok(Arc::new(FileBackend::new(context.base.join(&self.path))))
    }
}
