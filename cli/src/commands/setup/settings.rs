//! The settings of a backend, as JSON.

use serde_json::Value;

/// Sets a value at a JSON pointer whose parent is an object.
pub(super) fn set(settings: &mut Value, pointer: &str, value: Value) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    if let Some(object) = settings.pointer_mut(parent).and_then(Value::as_object_mut) {
        object.insert(key.to_owned(), value);
    }
}
