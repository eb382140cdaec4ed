//! The backend `http` with OAuth 2: what a token endpoint that hangs or refuses does to calls.

mod support;

use futures_util::future::join_all;
use phonegate::backend::MayRing;
use phonegate::call::FailureReason;
use support::backend::{TestBackend, call};
use support::http_provider::{About, Auth, Fault, Provider};
use support::wait_until;

const NUMBER: &str = "+1 4255551212";

/// A service whose tokens are valid for this long, in seconds.
fn provider(lifetime: u64) -> Provider {
    Provider::start(Auth::Oauth2 { token: "token-1", lifetime })
}

fn refusal() -> Fault {
    Fault::Reply(503, "{}".to_owned(), None)
}

#[test]
fn calls_share_one_token_request_and_its_failure() {
    for fault in [Fault::Hang, refusal()] {
        let provider = provider(3600);
        provider.fail(About::Token, fault.clone());
        let backend = TestBackend::new(&provider.settings());
        let calls: Vec<_> = (1..=20).map(|n| call(n, 1, NUMBER)).collect();
        let placed = backend.runtime.block_on(join_all(calls.iter().map(|call| backend.backend.place(call, &|_| {}))));
        for refused in placed.into_iter().map(|placed| placed.expect_err("there is no token")) {
            assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::CannotPlace));
            assert!(refused.failure.text().contains("The provider's token endpoint"), "{}", refused.failure);
        }
        assert_eq!(provider.seen(About::Token).len(), 1, "{fault:?}");
        assert!(provider.seen(About::Start).is_empty(), "{fault:?}");
    }
}

#[test]
fn a_valid_token_is_used_while_its_refresh_fails() {
    for fault in [Fault::Hang, refusal()] {
        // So short a token is refreshed at each use.
        let provider = provider(30);
        let backend = TestBackend::new(&provider.settings());
        backend.place(1, 1, NUMBER).unwrap();
        provider.fail(About::Token, fault.clone());
        backend.place(2, 1, NUMBER).unwrap_or_else(|refused| panic!("{fault:?}: {}", refused.failure));
        wait_until("a token is requested", || provider.seen(About::Token).len() == 2);
        backend.place(3, 1, NUMBER).unwrap_or_else(|refused| panic!("{fault:?}: {}", refused.failure));
        assert_eq!(provider.placed(), 3, "{fault:?}");
    }
}

/// A request that needs a new token waits until one is requested again.
#[test]
fn a_call_is_hung_up_after_a_token_request_failed() {
    let provider = provider(0);
    let backend = TestBackend::new(&provider.settings());
    let reference = backend.place(1, 1, NUMBER).unwrap();
    provider.fail(About::Token, refusal());
    backend.runtime.block_on(backend.backend.hang_up(&reference)).unwrap();
    assert_eq!((provider.seen(About::Token).len(), provider.ended()), (3, 1));
}
