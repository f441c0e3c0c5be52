#![cfg(feature = "tower")]

use std::sync::Arc;
use std::time::Duration;

use aqueduct_breaker::{Breaker, BreakerLayer, CallError, Circuit, Config, State};
use aqueduct_core::{Clock, ManualClock, Timestamp, Verdict};
use tower_test::{assert_request_eq, mock};

type Inner = mock::Mock<&'static str, &'static str>;
type Handle = mock::Handle<&'static str, &'static str>;

fn breaker() -> (Arc<Breaker>, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let second = Duration::from_secs(1);
    let config = Config::builder().consecutive_failures(1).open_for(second, 1.0, second).open_jitter(0.0);
    let config = config.half_open(1, second * 60).build().expect("a test's own");
    (Arc::new(Breaker::new(config, clock)), hand)
}

fn spawned(breaker: &Arc<Breaker>) -> (mock::Spawn<Circuit<Inner>>, Handle) {
    mock::spawn_layer(BreakerLayer::new(Arc::clone(breaker)))
}

#[tokio::test]
async fn a_closed_circuit_passes_calls_and_a_failure_opens_it() {
    let (breaker, _hand) = breaker();
    let (mut service, mut inner) = spawned(&breaker);
    assert!(service.poll_ready().is_ready());
    let answer = service.call("one");
    assert_request_eq!(inner, "one").send_response("1");
    assert_eq!(answer.await.expect("it passes"), "1");

    assert!(service.poll_ready().is_ready());
    let answer = service.call("two");
    assert_request_eq!(inner, "two").send_error("broken");
    assert!(matches!(answer.await, Err(CallError::Failed(error)) if error.to_string() == "broken"));
    assert_eq!(breaker.state(), State::Open);

    assert!(service.poll_ready().is_ready());
    assert!(matches!(service.call("three").await, Err(CallError::Refused(_))));
}

#[tokio::test]
async fn an_open_circuit_does_not_wait_for_an_inner_service_that_is_not_ready() {
    let (breaker, hand) = breaker();
    let (mut service, mut inner) = spawned(&breaker);
    inner.allow(0);
    assert!(service.poll_ready().is_pending(), "closed, it waits for the inner service");
    breaker.try_acquire().expect("it is closed").finish(Verdict::FAILURE);
    assert!(service.poll_ready().is_ready());
    let refused = service.call("one");
    assert!(
        matches!(refused.await, Err(CallError::Refused(refusal)) if refusal.retry_after == Some(Duration::from_secs(1)))
    );

    // It was ready to refuse; that its time is over meanwhile does not let a call through to a service that was not
    // asked whether it is ready.
    assert!(service.poll_ready().is_ready());
    hand.advance(Duration::from_secs(1));
    assert!(matches!(service.call("two").await, Err(CallError::Refused(_))));
    assert!(service.poll_ready().is_pending());
    inner.allow(1);
    assert!(service.poll_ready().is_ready());
    let answer = service.call("three");
    assert_request_eq!(inner, "three").send_response("3");
    assert_eq!(answer.await.expect("the probe passes"), "3");
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn a_service_that_is_ready_and_not_called_holds_no_probe_back() {
    let (breaker, hand) = breaker();
    breaker.try_acquire().expect("it is closed").finish(Verdict::FAILURE);
    hand.advance(Duration::from_secs(1));
    let (mut service, _inner) = spawned(&breaker);
    assert!(service.poll_ready().is_ready());
    assert!(breaker.try_acquire().is_ok());
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_its_probe_back() {
    let (breaker, hand) = breaker();
    breaker.try_acquire().expect("it is closed").finish(Verdict::FAILURE);
    hand.advance(Duration::from_secs(1));
    let (mut service, mut inner) = spawned(&breaker);
    assert!(service.poll_ready().is_ready());
    let call = service.call("one");
    assert_request_eq!(inner, "one");
    assert!(breaker.try_acquire().is_err(), "the only probe is under way");
    drop(call);
    assert!(breaker.try_acquire().is_ok());
}

#[tokio::test]
async fn clones_share_the_circuit_and_not_the_readiness() {
    let (breaker, _hand) = breaker();
    let (service, mut inner) = spawned(&breaker);
    let mut first = service.into_inner();
    let mut second = first.clone();
    use tower_service::Service;
    std::future::poll_fn(|cx| first.poll_ready(cx)).await.expect("it is ready");
    let answer = first.call("one");
    assert_request_eq!(inner, "one").send_error("broken");
    assert!(answer.await.is_err());
    std::future::poll_fn(|cx| second.poll_ready(cx)).await.expect("it is ready to refuse");
    assert!(matches!(second.call("two").await, Err(CallError::Refused(_))));
}

#[tokio::test]
async fn a_judge_decides_what_is_a_failure() {
    let (breaker, _hand) = breaker();
    let judge = |result: &Result<&'static str, _>| match result {
        Ok("busy") => Verdict::Failure { retry_after: Some(Duration::from_secs(30)) },
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Ignore,
    };
    let (mut service, mut inner) = mock::spawn_layer::<&'static str, &'static str, _>(
        BreakerLayer::new(Arc::clone(&breaker)).with_judge(judge),
    );
    assert!(service.poll_ready().is_ready());
    let answer = service.call("one");
    assert_request_eq!(inner, "one").send_error("my own fault");
    assert!(answer.await.is_err());
    assert_eq!(breaker.state(), State::Closed);
    assert!(service.poll_ready().is_ready());
    let answer = service.call("two");
    assert_request_eq!(inner, "two").send_response("busy");
    assert_eq!(answer.await.expect("it is a response"), "busy");
    let refused = breaker.try_acquire().map(drop).expect_err("it asked to be left alone");
    assert_eq!(refused.retry_after, Some(Duration::from_secs(30)));
}
