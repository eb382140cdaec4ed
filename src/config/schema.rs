//! The JSON Schema of `phonegate.json`, made from the types, so that an editor completes and checks the file.

use super::Config;

/// The schema as JSON text.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Config);
    format!("{:#}\n", schema.to_value())
}
