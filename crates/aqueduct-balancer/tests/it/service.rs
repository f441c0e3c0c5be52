use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use aqueduct_balancer::{
    Algorithm, Balance, Balancer, CallError, Chosen, Config, Endpoint, EndpointLayer, State,
};
use aqueduct_core::{Clock, Timestamp, Verdict};
use tower_layer::Layer;
use tower_service::Service;
use tower_test::mock::{self, Mock};

use crate::{SECOND, balancer, with};

type Inner = Mock<&'static str, &'static str>;

fn mocks(count: usize) -> (Balance<Inner>, Vec<mock::Handle<&'static str, &'static str>>) {
    let (clock, _) = Clock::manual(Timestamp(0));
    let (services, handles): (Vec<_>, Vec<_>) = (0..count).map(|_| mock::pair()).unzip();
    let endpoints =
        services.into_iter().enumerate().map(|(index, service)| Endpoint::new(crate::name(index), service));
    let config = with(Algorithm::RoundRobin).build().expect("it is right");
    (Balance::new(Balancer::new(endpoints, config, clock).expect("they are endpoints")), handles)
}

fn is_ready(balance: &mut Balance<Inner>) -> bool {
    balance.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn in_flight<E>(balancer: &Balancer<E>) -> Vec<u32> {
    balancer.snapshot().iter().map(|figures| figures.in_flight).collect()
}

#[tokio::test]
async fn an_endpoint_that_is_not_ready_is_not_taken() {
    let (mut balance, mut handles) = mocks(5);
    handles.iter_mut().for_each(|handle| handle.allow(0));
    assert!(!is_ready(&mut balance));
    assert_eq!(in_flight(balance.balancer()), [0; 5]);
    // The one that is ready is found, wherever the strategy begins.
    handles[3].allow(1);
    assert!(is_ready(&mut balance));
    assert_eq!(in_flight(balance.balancer()), [0, 0, 0, 1, 0]);
    let answer = balance.call("question");
    let (request, send) = handles[3].next_request().await.expect("it was called");
    assert_eq!(request, "question");
    send.send_response("answer");
    assert_eq!(answer.await.expect("it answers"), "answer");
    let figures = balance.balancer().snapshot();
    assert_eq!((figures[3].requests, figures[3].successes), (1, 1));
    assert!([0, 1, 2, 4].iter().all(|index| figures[*index].requests == 0));
}

#[tokio::test]
async fn a_caller_is_woken_when_an_endpoint_becomes_ready_or_comes() {
    let (mut balance, mut handles) = mocks(3);
    handles.iter_mut().for_each(|handle| handle.allow(0));
    let mut other = balance.clone();
    let waiting = tokio::spawn(async move { poll_fn(|cx| other.poll_ready(cx)).await.map(|()| other) });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    handles[1].allow(1);
    drop(waiting.await.expect("it does not panic").expect("it is ready"));

    assert!(!is_ready(&mut balance) || in_flight(balance.balancer()).iter().sum::<u32>() == 1);
    let (mut balance, mut handles) = mocks(1);
    handles[0].allow(0);
    let balancer = balance.balancer().clone();
    let waiting = tokio::spawn(async move { poll_fn(|cx| balance.poll_ready(cx)).await.is_ok() });
    tokio::task::yield_now().await;
    let (service, mut handle) = mock::pair();
    handle.allow(1);
    balancer.add(Endpoint::new("new", service)).expect("the name is free");
    assert!(waiting.await.expect("it does not panic"));
}

#[tokio::test]
async fn what_was_reserved_and_not_called_is_given_back() {
    let (mut balance, mut handles) = mocks(2);
    handles.iter_mut().for_each(|handle| handle.allow(5));
    assert!(is_ready(&mut balance) && is_ready(&mut balance));
    assert_eq!(in_flight(balance.balancer()).iter().sum::<u32>(), 1);
    let clone = balance.clone();
    drop(balance);
    let figures = clone.balancer().snapshot();
    assert!(figures.iter().all(|figures| (figures.in_flight, figures.requests) == (0, 0)));
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_its_lease_back_and_says_nothing() {
    let (mut balance, mut handles) = mocks(1);
    handles[0].allow(1);
    assert!(is_ready(&mut balance));
    let call = balance.call("question");
    assert_eq!(in_flight(balance.balancer()), [1]);
    drop(call);
    let figures = balance.balancer().snapshot().remove(0);
    assert_eq!((figures.in_flight, figures.cancelled, figures.failures), (0, 1, 0));
}

#[tokio::test]
async fn without_an_endpoint_the_call_fails_at_once() {
    let (mut balance, _handles) = mocks(1);
    balance.balancer().drain("a").expect("it is there");
    assert!(is_ready(&mut balance));
    assert!(matches!(balance.call("question").await, Err(CallError::Refused(_))));
}

/// Fails when it is asked whether it is ready, while it is broken.
#[derive(Clone)]
struct Breakable(Arc<AtomicBool>);

impl Service<()> for Breakable {
    type Response = ();
    type Error = &'static str;
    type Future = std::future::Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(if self.0.load(Ordering::Relaxed) { Err("broken") } else { Ok(()) })
    }

    fn call(&mut self, (): ()) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

#[test]
fn a_service_that_fails_to_be_ready_is_a_failure_of_its_endpoint_alone() {
    let (clock, _) = Clock::manual(Timestamp(0));
    let broken = [true, false].map(|broken| Arc::new(AtomicBool::new(broken)));
    let endpoints =
        [("a", 0), ("b", 1)].map(|(name, index)| Endpoint::new(name, Breakable(Arc::clone(&broken[index]))));
    let config = with(Algorithm::RoundRobin).build().expect("it is right");
    let mut balance = Balance::new(Balancer::new(endpoints, config, clock).expect("they are endpoints"));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..20 {
        assert_eq!(balance.poll_ready(&mut context), Poll::Ready(Ok(())));
        drop(balance.call(()));
    }
    let figures = balance.balancer().snapshot();
    assert_eq!((figures[0].state, figures[0].failures, figures[1].cancelled), (State::Ejected, 5, 20));
    // Nobody is left to be ready.
    broken[1].store(true, Ordering::Relaxed);
    assert_eq!(balance.poll_ready(&mut context), Poll::Ready(Err(CallError::Failed("broken"))));
}

#[tokio::test]
async fn a_layer_tells_a_service_which_endpoint_to_call() {
    let (balancer, hand) = balancer(&[1, 1], with(Algorithm::RoundRobin));
    let judge = |result: &Result<usize, &str>| match result {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Failure { retry_after: Some(SECOND) },
    };
    let calls = Arc::new(AtomicU32::new(0));
    let client = Client(Arc::clone(&calls));
    let mut service = EndpointLayer::new(balancer.clone()).with_judge(judge).layer(client);
    let mut answers = Vec::new();
    for request in [true, true, false, true, true] {
        poll_fn(|cx| service.poll_ready(cx)).await.expect("the client is ready");
        answers.push(service.call(request).await.ok());
    }
    assert_eq!(
        answers,
        [Some(0), Some(1), None, Some(1), Some(1)],
        "the one that asked for it is left alone"
    );
    assert_eq!(calls.load(Ordering::Relaxed), 5);
    poll_fn(|cx| service.poll_ready(cx)).await.expect("the client is ready");
    assert!(service.call(false).await.is_err());
    assert_eq!(
        service.call(true).await,
        Err(CallError::Refused(balancer.pick().map(drop).expect_err("both rest")))
    );
    hand.advance(SECOND);
    assert!(service.clone().call(true).await.is_ok());
}

/// Answers with the endpoint, or fails when it is told to.
#[derive(Clone)]
struct Client(Arc<AtomicU32>);

impl Service<(Chosen<usize>, bool)> for Client {
    type Response = usize;
    type Error = &'static str;
    type Future = std::future::Ready<Result<usize, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (endpoint, good): (Chosen<usize>, bool)) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::ready(if good { Ok(*endpoint.value()) } else { Err("broken") })
    }
}

#[test]
fn services_go_from_thread_to_thread() {
    fn both<T: Send + Sync>() {}
    both::<Balance<Inner>>();
    both::<EndpointLayer<String>>();
    let _ = Config::default();
}
