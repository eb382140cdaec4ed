//! Tests of the bank's own protocol.

use super::TYPES;
use super::stand_in::{Bank, Script};
use crate::support::backend::TestBackend;

#[test]
fn a_reply_that_is_too_long_ends_the_call() {
    let bank = Bank::start(Script::FollowFlooded);
    let backend = TestBackend::of(&TYPES, &bank.settings(), &serde_json::json!({})).unwrap();
    let reference = backend.place(1, 1, "+1 4255551212").unwrap();
    let failure = backend.fails(&reference);
    assert!(failure.text().contains("\"a line of more than 256 bytes\""), "{failure}");
    assert_eq!(bank.ended_calls(), 1, "the phone no longer rings");
}
