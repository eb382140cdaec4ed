//! The codes of a pending call: in Redis only while it is pending (S18).

use std::sync::Arc;
use std::time::SystemTime;

use phonegate::backend::CallRef;
use phonegate::store::{AttemptChange, CallStore, RecordedChange};
use phonegate_approval::policy::Method;

use super::*;
use crate::support::approval::{attempts, verified};
use crate::support::redis::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn codes_leave_redis_with_the_end_of_their_call() {
    let redis = Redis::start();
    let store = open(&redis.url());
    begin_at_last(&store, 1).await;
    let attempts = Arc::new(attempts(Method::Code).to_stored());
    let codes = attempts.as_text().to_owned();
    let change =
        AttemptChange::Placed { backend: "cloud".into(), reference: CallRef::new("FN1"), attempts: Some(attempts) };
    let placed = [RecordedChange { attempt: new(1).attempt, at: SystemTime::UNIX_EPOCH, change }];
    let holds = || redis.cli(&["GET", "{phonegate}:attempt:1"]).contains(&codes);
    store.record(&placed).await.unwrap();
    assert!(holds(), "a pending call has its codes");
    assert!(store.end(&end(1, verified())).await.unwrap().is_done());
    assert!(!holds(), "an ended call has none");
    // The placing may be recorded later than the end.
    store.record(&placed).await.unwrap();
    assert!(!holds(), "an ended call gets none");
}
