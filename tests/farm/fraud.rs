//! A report of fraud blocks the number on all nodes, also where Redis is away when it comes.

use super::*;

/// A user reports a fraud while Redis is away in this way; then it comes back.
fn a_fraud_is_reported_while(away: impl Fn(&mut Redis), back: impl Fn(&mut Redis)) {
    // The key is pressed so late that Redis is away by then.
    let late = json!({ "type": "simulated", "answer_after_ms": 0, "press_after_ms": 8_000, "press": "0" });
    let mut farm = Farm::with(late);
    let [one, two] = [farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    farm.has_reference(1);
    away(&mut farm.redis);
    let gone = SystemTime::now();
    let (status, text) = one.ends(id(1));
    assert_eq!(status, CallStatus::Failed);
    assert!(text.ends_with("(FraudReported, code 112)"), "{text}");
    back(&mut farm.redis);

    let mut blocks = Vec::new();
    wait_until("the number is on the block list", || {
        blocks = farm.ask(async |store| store.blocks().await).unwrap_or_default();
        !blocks.is_empty()
    });
    assert_eq!(blocks.iter().map(|block| block.number).collect::<Vec<_>>(), [admitted(NUMBER).key()]);
    assert!(blocks[0].since >= gone, "it was reported before Redis was away");
    let mut n = 1;
    wait_until("the other node refuses the number", || {
        n += 1;
        two.initiate(id(n), NUMBER);
        let (status, text) = two.ends(id(n));
        assert_eq!(status, CallStatus::Failed);
        // It may not know yet that Redis is back.
        assert!(text.contains("(Blocked") || text.contains("(CannotPlace"), "{text}");
        text.contains("(Blocked")
    });
    let rings = |node: &TestGate| node.log().iter().filter(|line| line["event"] == "placed").count();
    assert_eq!([rings(&one), rings(&two)], [1, 0]);
}

#[test]
fn a_report_of_fraud_is_kept_until_a_redis_that_stands_still_goes_on() {
    a_fraud_is_reported_while(|redis| redis.pause(), |redis| redis.resume());
}

#[test]
fn a_report_of_fraud_is_kept_until_a_redis_that_was_killed_is_started_again() {
    a_fraud_is_reported_while(Redis::kill, Redis::restart);
}
