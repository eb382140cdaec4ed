#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use secrecy::ExposeSecret;

use super::*;

/// A token endpoint that counts its requests.
#[derive(Default)]
struct Endpoint {
    tokens: Tokens,
    requests: Arc<AtomicUsize>,
}

/// What the endpoint does with a request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// A token with this lifetime, in seconds.
    Issues(u64),
    Refuses,
    Hangs,
    Panics,
}

impl Endpoint {
    /// Returns the name of the token, or the text of the failure. `answer`: that of a request that this begins.
    async fn get(&self, answer: Answer) -> Result<String, String> {
        let requests = Arc::clone(&self.requests);
        let issued = self.tokens.get(move || async move {
            let n = requests.fetch_add(1, Ordering::Relaxed) + 1;
            let requested_at = Instant::now();
            tokio::time::sleep(Duration::from_millis(100)).await;
            match answer {
                Answer::Issues(s) => Ok(Token::new(format!("t{n}").into(), Duration::from_secs(s), requested_at)),
                Answer::Refuses => Err(ApiError::Malformed(format!("is refusal {n}"))),
                Answer::Hangs => std::future::pending().await,
                Answer::Panics => std::panic::resume_unwind(Box::new(())),
            }
        });
        issued.await.map(|token| token.expose_secret().to_owned()).map_err(|error| error.failure().text().to_owned())
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn one_request_serves_all_that_wait() {
    let endpoint = Endpoint::default();
    let issued = join_all((0..50).map(|_| endpoint.get(Answer::Issues(3600)))).await;
    assert!(issued.iter().all(|token| token.as_deref() == Ok("t1")), "{issued:?}");
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_kept_for_five_seconds() {
    let endpoint = Endpoint::default();
    let issued = join_all((0..50).map(|_| endpoint.get(Answer::Refuses))).await;
    assert!(issued.iter().all(|failed| failed.as_ref().is_err_and(|text| text.contains("is refusal 1"))), "{issued:?}");
    pass(4).await;
    assert!(endpoint.get(Answer::Issues(3600)).await.is_err(), "it is kept");
    assert_eq!(endpoint.requests(), 1);
    pass(1).await;
    assert_eq!(endpoint.get(Answer::Issues(3600)).await.as_deref(), Ok("t2"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_fails_after_five_seconds() {
    let endpoint = Endpoint::default();
    let begun = Instant::now();
    let text = endpoint.get(Answer::Hangs).await.unwrap_err();
    assert!(
        text.starts_with("The provider's token endpoint cannot be reached: there was no reply within 5 s."),
        "{text}"
    );
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_valid_token_is_used_until_it_expires() {
    for answer in [Answer::Hangs, Answer::Refuses, Answer::Panics] {
        let endpoint = Endpoint::default();
        endpoint.get(Answer::Issues(100)).await.unwrap();
        pass(69).await;
        endpoint.get(answer).await.unwrap();
        assert_eq!(endpoint.requests(), 1, "its refresh is not due");
        for _ in 0..25 {
            pass(1).await;
            assert_eq!(endpoint.get(answer).now_or_never().unwrap().as_deref(), Ok("t1"), "{answer:?}");
        }
        assert!(endpoint.requests() > 2, "its refresh is tried again");
        pass(20).await;
        assert!(endpoint.get(Answer::Refuses).await.is_err(), "it has expired");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_token_replaces_the_last_one() {
    let endpoint = Endpoint::default();
    endpoint.get(Answer::Issues(100)).await.unwrap();
    pass(75).await;
    assert_eq!(endpoint.get(Answer::Issues(100)).await.as_deref(), Ok("t1"), "the call does not wait");
    pass(1).await;
    assert_eq!(endpoint.get(Answer::Hangs).await.as_deref(), Ok("t2"));
    assert_eq!(endpoint.requests(), 2);
}

/// The call that began a request may end at any time.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_fails_no_other_call() {
    let endpoint = Endpoint::default();
    assert!(endpoint.get(Answer::Issues(3600)).now_or_never().is_none());
    assert_eq!(endpoint.get(Answer::Refuses).await.as_deref(), Ok("t1"));
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_panics_fails_only_its_calls() {
    let endpoint = Endpoint::default();
    assert!(endpoint.get(Answer::Panics).await.unwrap_err().contains("was cut off"));
    assert_eq!(endpoint.get(Answer::Issues(3600)).await.as_deref(), Ok("t2"));
}

#[tokio::test(start_paused = true)]
async fn only_the_refused_token_is_forgotten() {
    let endpoint = Endpoint::default();
    endpoint.get(Answer::Issues(3600)).await.unwrap();
    endpoint.tokens.forget(&"t0".to_owned().into());
    assert_eq!(endpoint.get(Answer::Issues(3600)).await.as_deref(), Ok("t1"));
    endpoint.tokens.forget(&"t1".to_owned().into());
    assert_eq!(endpoint.get(Answer::Issues(3600)).await.as_deref(), Ok("t2"));
}
