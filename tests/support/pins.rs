//! PINs of users, set as an administrator does.

use std::path::Path;

use serde_json::{Value, json};

use super::calls::Calls;

/// The pepper of the tests' PINs.
pub const PEPPER: &str = "not-a-real-pepper-0123456789abcdef";

/// The section `approval` for a method with a PIN, also over a trunk without encryption.
pub fn approval(method: &str) -> Value {
    json!({ "method": method, "allow_plain_pin": true, "pin": { "pepper": PEPPER } })
}

/// Sets the PIN of a number, in the store that this file configures.
pub fn set(config: &Path, number: &str, pin: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, pin).unwrap();
    let set = Calls::of(config).records(&["pins", "set", number, "--pin-file", file.path().to_str().unwrap()]);
    assert_eq!(set.len(), 1, "the PIN is set: {set:?}");
}
