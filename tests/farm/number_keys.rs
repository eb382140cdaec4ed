//! A number key is set on one node after the other.

use super::*;

const KEY: &str = "not-a-real-number-key-0123456789abcdef";

#[test]
fn a_number_key_is_introduced_node_by_node_during_calls() {
    let farm = Farm::new();
    let with = |privacy| farm.node_with("privacy", privacy);
    let one = farm.node();
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    // First every node gets the key, then every node uses it.
    let knows = with(json!({ "other_number_keys": [KEY] }));
    let uses = with(json!({ "number_key": KEY }));
    is_refused(&uses, 2, NUMBER, "Another request is ringing");
    is_refused(&knows, 3, NUMBER, "Another request is ringing");
    farm.answer_call(1, "1");
    status_is(&uses, 1, CallStatus::Success);
    uses.initiate(id(4), NUMBER);
    farm.wait_for_rings(2);
    is_refused(&knows, 5, NUMBER, "Another request is ringing");
    // A node without the key places no call, and does not start again.
    is_refused(&one, 6, &number(6), "another number key");
    let mut forgotten = farm.config();
    forgotten["privacy"] = json!({});
    assert!(TestGate::why_not(forgotten).contains("does not fit the Redis of `store.url`"));
    farm.answer_call(4, "1");
    status_is(&knows, 4, CallStatus::Success);
    assert_eq!(farm.rings(), 2);
}
