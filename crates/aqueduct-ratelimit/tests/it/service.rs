#![cfg(feature = "tower")]

use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Clock, ManualClock, Timestamp};
use aqueduct_ratelimit::{CallError, Quota, RateLimit, RateLimitLayer, RateLimiter, WhenDenied};
use tower_service::Service;
use tower_test::{assert_request_eq, mock};

type Inner = mock::Mock<&'static str, &'static str>;
type Handle = mock::Handle<&'static str, &'static str>;

fn limited(
    when_denied: WhenDenied,
) -> (mock::Spawn<RateLimit<Inner>>, Handle, Arc<RateLimiter>, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let quota = Quota::per_second(1).expect("a test's own");
    let limiter = Arc::new(RateLimiter::token_bucket(quota, clock));
    let (service, inner) = mock::spawn_layer(RateLimitLayer::new(Arc::clone(&limiter), when_denied));
    (service, inner, limiter, hand)
}

#[tokio::test]
async fn a_call_without_a_token_is_refused_with_its_wait() {
    let (mut service, mut inner, _limiter, _hand) = limited(WhenDenied::Refuse);
    assert!(service.poll_ready().is_ready());
    let answer = service.call("one");
    assert_request_eq!(inner, "one").send_response("1");
    assert_eq!(answer.await.expect("there was a token"), "1");
    assert!(service.poll_ready().is_ready());
    let refused = service.call("two").await;
    assert!(
        matches!(refused, Err(CallError::Refused(denied)) if denied.retry_after == Some(Duration::from_secs(1)))
    );
}

#[tokio::test]
async fn or_the_service_is_not_ready_until_there_is_one() {
    let (mut service, mut inner, limiter, hand) = limited(WhenDenied::Wait);
    limiter.check().expect("the burst");
    assert!(service.poll_ready().is_pending());
    hand.advance(Duration::from_millis(999));
    assert!(service.poll_ready().is_pending());
    hand.advance(Duration::from_millis(1));
    assert!(service.is_woken());
    assert!(service.poll_ready().is_ready());
    let answer = service.call("one");
    assert_request_eq!(inner, "one").send_response("1");
    assert_eq!(answer.await.expect("there was a token"), "1");
}

#[tokio::test]
async fn a_token_of_a_service_that_is_not_called_is_given_back() {
    let (mut service, _inner, limiter, _hand) = limited(WhenDenied::Refuse);
    assert!(service.poll_ready().is_ready() && service.poll_ready().is_ready());
    assert!(limiter.peek(1).is_err(), "it was taken once");
    drop(service);
    assert!(limiter.peek(1).is_ok());
    assert_eq!(Arc::strong_count(&limiter), 1);
}

#[tokio::test]
async fn no_token_is_taken_while_the_inner_service_is_not_ready() {
    let (mut service, mut inner, limiter, _hand) = limited(WhenDenied::Wait);
    inner.allow(0);
    assert!(service.poll_ready().is_pending());
    assert!(limiter.peek(1).is_ok());
}

#[tokio::test]
async fn clones_share_one_limit() {
    // A limit a clone is the mistake that made a limit of 5 let 1,500 pass (github.com/tokio-rs/axum/issues/2634).
    let (service, mut inner, limiter, _hand) = limited(WhenDenied::Refuse);
    inner.allow(100);
    let service = service.into_inner();
    let mut passed = 0;
    for _ in 0..20 {
        let mut clone = service.clone();
        std::future::poll_fn(|cx| clone.poll_ready(cx)).await.expect("it is ready to refuse");
        let mut call = std::pin::pin!(clone.call("one"));
        let refused = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::future::Future::poll(call.as_mut(), cx).is_ready())
        });
        passed += u32::from(!refused.await);
    }
    assert_eq!(passed, 1);
    assert!(limiter.peek(1).is_err());
}
