#![cfg(feature = "tower")]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aqueduct_core::{Clock, ManualClock, Timestamp};
use aqueduct_retry::{
    Advice, Budget, BudgetConfig, CallError, Config, Ended, Limit, Repeat, Retry, RetryLayer, Retrying,
};
use tower_service::Service;
use tower_test::mock::SendResponse;
use tower_test::{assert_request_eq, mock};

use crate::at;

type Inner = mock::Mock<&'static str, &'static str>;
type Handle = mock::Handle<&'static str, &'static str>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Outcome = Result<&'static str, BoxError>;
type Answered = Result<&'static str, CallError<BoxError>>;

const SECOND: Duration = Duration::from_secs(1);

/// `busy` is worth a retry, `open` is a refusal.
fn judge(result: &Outcome) -> Advice {
    match result {
        Ok("busy") => Advice::AGAIN,
        Ok("open") => Advice::Refused { retry_after: Some(SECOND) },
        Ok(_) => Advice::Stop,
        Err(_) => Advice::AGAIN,
    }
}

fn retry(config: Config) -> (Retry, Clock, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    (Retry::new(config, clock.clone()).expect("it is in the ranges"), clock, hand)
}

type Judged = fn(&Outcome) -> Advice;

fn spawned(retry: Retry) -> (mock::Spawn<Retrying<Inner, Judged>>, Handle) {
    mock::spawn_layer(RetryLayer::new(Arc::new(retry)).with_adviser(judge as Judged))
}

/// Polls once: the end, if it has come.
fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn pending<F: Future + Unpin>(future: &mut F) {
    assert!(poll(future).is_none());
}

fn done<F: Future<Output = Answered> + Unpin>(future: &mut F) -> Answered {
    poll(future).expect("it should have ended")
}

/// The request that the inner service has got.
async fn got(inner: &mut Handle, request: &'static str) -> SendResponse<&'static str> {
    let (seen, answer) = inner.next_request().await.expect("there is a request");
    assert_eq!(seen, request);
    answer
}

#[tokio::test]
async fn a_call_that_failed_is_made_again_after_its_wait() {
    let (retry, clock, hand) = retry(Config::default());
    let (mut service, mut inner) = spawned(retry);
    assert!(service.poll_ready().is_ready());
    let mut call = Box::pin(service.call("one"));
    assert_request_eq!(inner, "one").send_error("broken");
    pending(&mut call);
    hand.advance(SECOND);
    pending(&mut call);
    assert!(inner.poll_request().is_pending(), "it waits for two");
    hand.advance(SECOND);
    pending(&mut call);
    assert_request_eq!(inner, "one").send_response("busy");
    pending(&mut call);
    hand.advance_to_next();
    pending(&mut call);
    assert_request_eq!(inner, "one").send_response("fine");
    assert_eq!(done(&mut call).expect("it is fine"), "fine");
    assert_eq!(clock.now(), at(6.0));
}

#[tokio::test]
async fn no_attempt_is_made_of_a_service_that_is_not_ready() {
    let (retry, _, hand) = retry(Config::default());
    let (mut service, mut inner) = spawned(retry);
    inner.allow(0);
    assert!(service.poll_ready().is_pending());
    inner.allow(1);
    assert!(service.poll_ready().is_ready());
    let mut call = Box::pin(service.call("one"));
    let answer = got(&mut inner, "one").await;
    inner.allow(0);
    answer.send_response("busy");
    pending(&mut call);
    hand.advance_to_next();
    pending(&mut call);
    assert!(inner.poll_request().is_pending(), "it is not called before it is ready");
    inner.allow(1);
    pending(&mut call);
    got(&mut inner, "one").await.send_response("fine");
    assert_eq!(done(&mut call).expect("it is fine"), "fine");
}

#[tokio::test]
async fn a_refusal_is_handed_back_at_once_and_costs_no_budget() {
    let (retry, clock, hand) = retry(Config::default());
    let budget = BudgetConfig { ratio: 0.0, per_second: 0.1, window: SECOND * 10 };
    let budget = Arc::new(Budget::new(budget).expect("it is in the ranges"));
    let (mut service, mut inner) = spawned(retry.with_budget(Arc::clone(&budget)));
    assert!(service.poll_ready().is_ready());
    let mut call = Box::pin(service.call("one"));
    got(&mut inner, "one").await.send_response("busy");
    pending(&mut call);
    assert_eq!(budget.balance(clock.now()), 0, "it is held for the retry");
    hand.advance_to_next();
    pending(&mut call);
    got(&mut inner, "one").await.send_response("open");
    assert_eq!(done(&mut call).expect("a response stays one"), "open");
    assert_eq!(budget.balance(clock.now()), 1);
}

#[tokio::test]
async fn clones_share_the_budget() {
    let (retry, _, hand) = retry(Config::default());
    let budget = BudgetConfig { ratio: 0.0, per_second: 0.1, window: SECOND * 10 };
    let budget = Arc::new(Budget::new(budget).expect("it is in the ranges"));
    let (service, mut inner) = spawned(retry.with_budget(budget));
    let mut first = service.into_inner();
    let mut second = first.clone();
    std::future::poll_fn(|cx| first.poll_ready(cx)).await.expect("it is ready");
    std::future::poll_fn(|cx| second.poll_ready(cx)).await.expect("it is ready");
    let mut one = Box::pin(first.call("one"));
    got(&mut inner, "one").await.send_response("busy");
    pending(&mut one);
    let mut two = Box::pin(second.call("two"));
    got(&mut inner, "two").await.send_error("broken");
    let error = done(&mut two).expect_err("the only retry is taken");
    assert_eq!((error.attempts, error.ended), (1, Ended::Limit(Limit::Budget)));
    // Dropped while it waits, it gives it back.
    drop(one);
    assert_eq!(hand.waiting(), 0);
    assert_eq!(first.retry().budget().map(|budget| budget.balance(at(0.0))), Some(1));
}

#[tokio::test]
async fn a_deadline_ends_an_attempt_and_the_wait_for_readiness() {
    let config = Config { time_max: Some(3 * SECOND), attempt_time_max: Some(SECOND), ..Config::default() };
    let (first_retry, clock, hand) = retry(config);
    let (mut service, mut inner) = spawned(first_retry);
    assert!(service.poll_ready().is_ready());
    let mut call = Box::pin(service.call("one"));
    let _never = got(&mut inner, "one").await;
    inner.allow(0);
    pending(&mut call);
    assert_eq!(hand.advance_to_next(), Some(SECOND));
    let error = done(&mut call).expect_err("a wait of two would reach the deadline");
    assert_eq!((error.attempts, error.ended), (1, Ended::Limit(Limit::Deadline)));
    assert!(error.error.is_none());

    let (second_retry, clock_two, hand) = retry(Config { time_max: Some(4 * SECOND), ..config });
    let (mut service, mut inner) = spawned(second_retry);
    assert!(service.poll_ready().is_ready());
    let mut call = Box::pin(service.call("one"));
    let answer = got(&mut inner, "one").await;
    inner.allow(0);
    answer.send_response("busy");
    pending(&mut call);
    assert_eq!(hand.advance_to_next(), Some(2 * SECOND), "the wait");
    pending(&mut call);
    assert_eq!(hand.advance_to_next(), Some(SECOND), "it is not ready in time");
    let error = done(&mut call).expect_err("a wait of four would reach the deadline");
    assert_eq!((error.attempts, error.ended), (1, Ended::Limit(Limit::Deadline)));
    assert_eq!((clock.now(), clock_two.now()), (at(1.0), at(3.0)));
}

/// Only what reads may be made twice.
#[derive(Clone, Copy, Debug)]
struct Reads;

impl Repeat<&'static str> for Reads {
    fn repeat(&self, request: &&'static str) -> Option<&'static str> {
        request.starts_with("get").then_some(request)
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_made_twice_is_made_once() {
    let (retry, _, hand) = retry(Config::default());
    let layer = RetryLayer::new(Arc::new(retry)).with_adviser(judge as Judged).with_repeat(Reads);
    let (mut service, mut inner) = mock::spawn_layer::<&'static str, &'static str, _>(layer);
    assert!(service.poll_ready().is_ready());
    let mut call = Box::pin(service.call("put"));
    got(&mut inner, "put").await.send_error("broken");
    let error = done(&mut call).expect_err("it is broken");
    assert_eq!((error.attempts, error.ended), (1, Ended::Final));
    assert!(service.poll_ready().is_ready());
    let mut call = Box::pin(service.call("get"));
    got(&mut inner, "get").await.send_error("broken");
    pending(&mut call);
    assert_eq!(hand.waiting(), 1);
}

#[tokio::test]
async fn a_service_that_fails_to_get_ready_is_not_asked_again() {
    let (retry, _, hand) = retry(Config::default());
    let (mut service, mut inner) = spawned(retry);
    assert!(service.poll_ready().is_ready());
    let mut call = Box::pin(service.call("one"));
    got(&mut inner, "one").await.send_response("busy");
    pending(&mut call);
    inner.send_error("gone");
    hand.advance_to_next();
    let error = done(&mut call).expect_err("it is gone");
    assert_eq!((error.attempts, error.ended), (1, Ended::Final));
    inner.send_error("gone");
    let error = std::future::poll_fn(|cx| service.get_mut().poll_ready(cx)).await.expect_err("it is gone");
    assert_eq!(
        (error.attempts, error.to_string().as_str()),
        (0, "make the call: another attempt would not help")
    );
}

#[tokio::test]
async fn a_call_can_run_on_any_thread() {
    let (retry, _, _) = retry(Config::default());
    let (mut service, mut inner) = spawned(retry);
    assert!(service.poll_ready().is_ready());
    let call = tokio::spawn(service.call("one"));
    got(&mut inner, "one").await.send_response("fine");
    assert_eq!(call.await.expect("it does not panic").expect("it is fine"), "fine");
}
