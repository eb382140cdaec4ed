//! A report of fraud blocks the number on all nodes, also if Redis is unreachable when it is made.

use super::*;

/// A user reports fraud during an outage of Redis.
fn a_fraud_is_reported_while(away: impl Fn(&mut Redis), back: impl Fn(&mut Redis)) {
    // The key is pressed after the outage begins.
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
    assert_eq!(blocks.iter().map(|block| block.number).collect::<Vec<_>>(), [admitted(NUMBER).hash()]);
    assert!(blocks[0].since >= gone, "it was reported before the outage");
    let mut n = 1;
    wait_until("the other node refuses the number", || {
        n += 1;
        two.initiate(id(n), NUMBER);
        let (status, text) = two.ends(id(n));
        assert_eq!(status, CallStatus::Failed);
        // The block may not have reached Redis yet.
        assert!(text.contains("(Blocked") || text.contains("(CannotPlace"), "{text}");
        text.contains("(Blocked")
    });
    let rings = |node: &TestGate| node.end().iter().filter(|line| line["event"] == "placed").count();
    assert_eq!([rings(&one), rings(&two)], [1, 0]);
}

#[test]
fn a_fraud_report_waits_for_a_redis_that_stalls() {
    a_fraud_is_reported_while(|redis| redis.pause(), |redis| redis.resume());
}

#[test]
fn a_fraud_report_waits_for_a_redis_that_restarts() {
    a_fraud_is_reported_while(Redis::kill, Redis::restart);
}
