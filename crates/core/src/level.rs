//! The levels of the log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a log line matters. The numbers are part of the C ABI.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum Level {
    /// A defect of PhoneGate.
    Error = 1,
    /// An administrator should look at it.
    Warn = 2,
    /// The steps of each call.
    #[default]
    Info = 3,
    /// More about the steps.
    Debug = 4,
    /// Everything.
    Trace = 5,
}
