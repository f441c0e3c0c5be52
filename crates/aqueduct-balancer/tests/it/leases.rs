use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_balancer::{Algorithm, Balancer, CallError, Config, Endpoint, Event, Health, Lease, State};
use aqueduct_core::{Classified, ErrorClass, Forget, Verdict};

use crate::{ALGORITHMS, MILLISECOND, SECOND, balancer, pick, with};

#[test]
fn a_lease_that_is_dropped_says_nothing_about_its_endpoint() {
    for algorithm in ALGORITHMS {
        let (balancer, hand) = balancer(&[1, 1, 1], with(algorithm));
        for _ in 0..100 {
            let lease = balancer.pick().expect("there are three");
            hand.advance(SECOND);
            drop(lease);
        }
        let figures = balancer.snapshot();
        assert_eq!(figures.iter().map(|figures| figures.cancelled).sum::<u64>(), 100);
        for figures in figures {
            assert_eq!((figures.in_flight, figures.successes, figures.failures), (0, 0, 0));
            assert_eq!((figures.latency, figures.state), (None, State::Active));
        }
    }
}

#[test]
fn a_lease_outlives_the_balancer() {
    let (balancer, _hand) = balancer(&[1], Config::builder());
    let lease = balancer.pick().expect("there is one");
    drop(balancer);
    assert_eq!((lease.name(), *lease.value(), lease.weight(), lease.priority()), ("a", 0, 1, 0));
    lease.finish(Verdict::FAILURE);
}

#[tokio::test]
async fn a_call_is_made_and_judged() {
    let (balancer, _hand) = balancer(&[1], Config::builder());
    let name = balancer.call(async |endpoint| Ok::<_, String>(endpoint.name().to_owned())).await;
    assert_eq!(name, Ok("a".to_owned()));
    assert_eq!(balancer.call(async |_| Err::<(), _>("broken")).await, Err(CallError::Failed("broken")));
    let ignored = balancer.call_with(|_| Verdict::Ignore, async |_| Err::<(), _>("mine")).await;
    assert_eq!(ignored, Err(CallError::Failed("mine")));
    let figures = balancer.snapshot().remove(0);
    assert_eq!((figures.successes, figures.failures, figures.ignored, figures.requests), (1, 1, 1, 3));
    balancer.drain("a").expect("it is there");
    let refused = balancer.call(async |_| Ok::<_, &str>(())).await.expect_err("there is none");
    assert!(matches!(refused, CallError::Refused(refusal) if refusal.class() == ErrorClass::Overload));
}

#[test]
fn no_endpoint_is_an_error_that_says_how_long_to_wait() {
    let (balancer, hand) = balancer(&[1, 1], Config::builder());
    for wait in [3, 2] {
        let lease = balancer.pick().expect("one is left");
        lease.finish(Verdict::Failure { retry_after: Some(SECOND * wait) });
    }
    let refusal = balancer.pick().map(drop).expect_err("both asked to be left alone");
    assert_eq!((refusal.retry_after(), refusal.class()), (Some(SECOND * 2), ErrorClass::Overload));
    hand.advance(SECOND * 2);
    pick(&balancer);
}

#[tokio::test]
async fn a_bounded_wait_ends_when_an_endpoint_comes_back_or_the_limit_is_over() {
    let (balancer, hand) = balancer(&[1], Config::builder());
    balancer.pick().expect("it is there").finish(Verdict::Failure { retry_after: Some(SECOND * 5) });
    let wait = |limit: Duration| {
        let balancer = balancer.clone();
        tokio::spawn(async move { balancer.pick_within(limit).await.map(|lease| lease.name().to_owned()) })
    };
    let (short, long) = (wait(SECOND), wait(SECOND * 60));
    while hand.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    hand.advance(SECOND);
    let refusal = short.await.expect("it does not panic").expect_err("it is not back");
    assert_eq!(refusal.retry_after(), Some(SECOND * 4));
    assert!(!long.is_finished());
    hand.advance(SECOND * 4);
    assert_eq!(long.await.expect("it does not panic"), Ok("a".to_owned()));
}

#[tokio::test]
async fn a_waiter_is_woken_by_an_endpoint_that_is_added() {
    let (balancer, hand) = balancer(&[1], Config::builder());
    balancer.remove("a").expect("it is there");
    let waiting = {
        let balancer = balancer.clone();
        tokio::spawn(async move { balancer.pick_within(SECOND).await.map(|lease| *lease.value()) })
    };
    while hand.waiting() < 1 {
        tokio::task::yield_now().await;
    }
    balancer.add(Endpoint::new("b", 7)).expect("the name is free");
    assert_eq!(waiting.await.expect("it does not panic"), Ok(7));
}

#[test]
fn the_observer_hears_every_change_once() {
    let (balancer, hand) = balancer(&[1, 1, 1, 1], with(Algorithm::RoundRobin));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&heard);
    let balancer = balancer.with_observer(move |event: &Event| {
        events.lock().expect("nobody panics").push(format!("{event:?}"));
    });
    let take = || std::mem::take(&mut *heard.lock().expect("nobody panics")).join("\n");
    for _ in 0..20 {
        let lease = balancer.pick().expect("there are four");
        let verdict = if lease.name() == "b" { Verdict::FAILURE } else { Verdict::Success };
        lease.finish(verdict);
    }
    assert_eq!(take(), "Ejected { endpoint: \"b\", cause: ConsecutiveFailures, lasts: 30s }");
    hand.advance(SECOND * 30);
    pick(&balancer);
    assert_eq!(take(), "Returned { endpoint: \"b\" }");
    for name in ["a", "b", "c"] {
        balancer.set_health(name, Health::Unhealthy).expect("it is there");
        balancer.set_health(name, Health::Unhealthy).expect("it is there");
    }
    assert_eq!(
        take(),
        "Unhealthy { endpoint: \"a\" }\nUnhealthy { endpoint: \"b\" }\nUnhealthy { endpoint: \"c\" }\nPanic { priority: 0 }"
    );
    balancer.set_health("a", Health::Healthy).expect("it is there");
    assert_eq!(take(), "Healthy { endpoint: \"a\" }\nCalm { priority: 0 }");
    balancer.drain("c").and_then(|()| balancer.remove("c")).expect("it is there");
    assert_eq!(take(), "Draining { endpoint: \"c\" }\nRemoved { endpoint: \"c\" }");
    let lease = balancer.pick().expect("two are left");
    lease.finish(Verdict::Failure { retry_after: Some(MILLISECOND) });
    assert!(take().starts_with("Resting"));
}

#[test]
fn balancers_and_leases_go_from_thread_to_thread() {
    fn both<T: Send + Sync>() {}
    both::<Balancer<String>>();
    both::<Lease<String>>();
    both::<Event>();
}

#[test]
fn a_balancer_is_forgotten_only_when_nothing_is_under_way_and_all_are_well() {
    let (balancer, _hand) = balancer(&[1, 1], Config::builder());
    let may = || balancer.may_forget(aqueduct_core::Instant::ZERO);
    assert!(may());
    let lease = balancer.pick().expect("there are two");
    assert!(!may());
    let name = lease.name().to_owned();
    lease.finish(Verdict::Success);
    assert!(may());
    balancer.set_health(&name, Health::Unhealthy).expect("it is there");
    assert!(!may());
}
