//! The sections `audit` and `metrics`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::bounded::Bounded;

/// What is stored of ended calls, and for how long.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Days that a call is stored after its end.
    pub keep_days: Bounded<1, 3650, 90>,
    /// Stores the whole number, too. Otherwise it is stored masked, with a hash by which it is found.
    pub full_numbers: bool,
}

/// Metrics for a monitoring system.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// A file that is replaced every 15 seconds, in Prometheus' text format, for the textfile collector of
    /// windows_exporter or node_exporter; its name ends in `.prom`. Null: none.
    #[schemars(extend("pattern" = r"\.prom$"))]
    pub textfile: Option<PathBuf>,
}
