//! The JSON Schema of `phonegate.json`, with which an editor completes and checks the file.

use schemars::SchemaGenerator;
use serde_json::Value;

use super::store::section_schema;
use super::{Config, Types};

/// Returns the schema as JSON text.
pub fn schema(types: &Types) -> String {
    let mut generator = SchemaGenerator::default();
    let backends: Vec<Value> = types.backends.iter().map(|kind| kind.schema(&mut generator).to_value()).collect();
    let store = section_schema(types.stores, &mut generator);
    let mut schema = generator.into_root_schema_for::<Config>();
    if let Some(any_backend) = schema.pointer_mut("/$defs/BackendConfig/oneOf") {
        *any_backend = backends.into();
    }
    if let Some(section) = schema.pointer_mut("/$defs/StoreConfig") {
        *section = store;
    }
    format!("{:#}\n", schema.to_value())
}
