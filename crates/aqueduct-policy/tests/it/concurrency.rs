use std::time::Duration;

use aqueduct_core::Classified;
use aqueduct_policy::{
    Aimd, AimdConfig, Call, Concurrency, Gradient, GradientConfig, Policy, PolicyError, RefusedBy, Sample,
    Scope,
};

use crate::{Crowd, MS, PASSING, SECOND, Scripted, clock, run};

fn sample(took: Duration, in_flight: u32, dropped: bool) -> Sample {
    Sample { took, in_flight, dropped }
}

/// Figures of Netflix concurrency-limits, `AIMDLimitTest` (Apache-2.0): the limit at first, what was seen, the limit then.
#[test]
fn aimd_moves_as_that_of_netflix() {
    for (initial, max, seen, expected) in [
        (20, 200, sample(MS, 10, false), 21),
        (30, 200, sample(Duration::ZERO, 0, true), 27),
        (21, 21, sample(MS, 10, false), 21),
        // Ours: slow is failed, and what is not used does not grow.
        (30, 200, sample(SECOND * 6, 30, false), 27),
        (20, 200, sample(MS, 9, false), 20),
    ] {
        let mut aimd = Aimd::new(AimdConfig { initial, max, ..AimdConfig::default() }).expect("in range");
        assert_eq!(aimd.limit(), initial);
        assert_eq!(aimd.update(seen), expected, "{initial} after {seen:?}");
    }
}

/// Worked out by hand from the formulas of `Gradient2Limit` with its own defaults, the least limit of 20 among them.
#[test]
fn the_gradient_moves_as_that_of_netflix() {
    let config = GradientConfig { min: 20, initial: 100, ..GradientConfig::default() };
    // Steady: 100 * 0.8 + (100 + 4) * 0.2 = 100.8, then 101.6.
    let mut gradient = Gradient::new(config).expect("in range");
    assert_eq!(gradient.update(sample(MS * 10, 100, false)), 100);
    assert_eq!(gradient.update(sample(MS * 10, 100, false)), 101);
    // Less than half of it is used: it stays.
    assert_eq!(gradient.update(sample(MS * 10, 50, false)), 101);
    // The average of three times 10 and once 30 ms is 15 ms, half of 30: 101.6 * 0.8 + (50.8 + 4) * 0.2 = 92.24.
    assert_eq!(gradient.update(sample(MS * 30, 100, false)), 92);
}

#[test]
fn no_limit_falls_below_one() {
    let mut aimd = Aimd::new(AimdConfig::default()).expect("in range");
    let mut gradient = Gradient::new(GradientConfig::default()).expect("in range");
    for _ in 0..1_000 {
        aimd.update(sample(MS, 1, true));
        gradient.update(sample(MS, 1, true));
        assert!(aimd.limit() >= 1 && gradient.limit() >= 1);
    }
    assert_eq!((aimd.limit(), gradient.limit()), (1, 1));
}

#[test]
fn never_more_calls_are_under_way_than_the_limit() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS * (1 + request % 7), Ok(request)));
    let policy = Policy::builder().concurrency(Concurrency::fixed(5)).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..200 {
        crowd.join(backend.call(Call::new(request)));
    }
    let done = crowd.finish(&hand);
    assert!(done.len() == 200 && done.iter().all(|(_, result)| result.is_ok()));
    assert_eq!(service.most(), 5);
    let figures = backend.snapshot();
    assert_eq!((figures.concurrency_limit, figures.in_flight, figures.queued), (Some(5), 0, 0));
}

#[test]
fn a_tenant_with_ten_thousand_waiters_delays_another_by_one_turn() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS, Ok(request)));
    let concurrency = Concurrency::fixed(1).queue_max(20_000);
    let policy = Policy::builder().concurrency(concurrency).clock(clock).build().expect("in range");
    let backend = policy.over_one(service).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..10_000 {
        crowd.join(backend.call(Call::new(request).tenant("many")));
    }
    crowd.settle();
    crowd.join(backend.call(Call::new(10_000).tenant("one")));
    crowd.settle();
    // One call is under way; its end is the turn of whoever is next, and that is the other tenant at the latest.
    for _ in 0..3 {
        hand.advance_to_next();
        crowd.settle();
    }
    let turn = crowd.done.iter().position(|(number, _)| *number == 10_000).expect("it had its turn");
    assert!(turn <= 2, "it was number {turn}");
}

#[test]
fn within_a_tenant_the_first_who_came_goes_first() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS, Ok(request)));
    let policy = Policy::builder().concurrency(Concurrency::fixed(1)).clock(clock).build().expect("in range");
    let backend = policy.over_one(service).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..50 {
        crowd.join(backend.call(Call::new(request)));
    }
    let order: Vec<usize> = crowd.finish(&hand).into_iter().map(|(number, _)| number).collect();
    assert_eq!(order, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_full_queue_refuses_at_once() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS, Ok(request)));
    let concurrency = Concurrency::fixed(1).queue_max(2);
    let policy = Policy::builder().concurrency(concurrency).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..4 {
        crowd.join(backend.call(Call::new(request)));
    }
    crowd.settle();
    match crowd.done.as_slice() {
        [(3, Err(PolicyError::Refused(refusal)))] => assert_eq!(refusal.by, RefusedBy::Concurrency),
        other => panic!("{other:?}"),
    }
    assert_eq!(crowd.finish(&hand).len(), 4);
    assert_eq!((service.attempts(), backend.snapshot().refused_by_concurrency), (3, 1));
}

#[test]
fn a_place_of_its_own_for_each_key() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS, Ok(request)));
    let concurrency = Concurrency::fixed(1).scope(Scope::PerKey);
    let policy = Policy::builder().concurrency(concurrency).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..30 {
        crowd.join(backend.call(Call::new(request).key(["a", "b", "c"][request as usize % 3])));
    }
    assert_eq!(crowd.finish(&hand).len(), 30);
    assert_eq!(service.most(), 3);
}

#[test]
fn an_adaptive_limit_finds_what_the_backend_bears() {
    // It takes eight at once, and fails what is more.
    let (clock, hand) = clock();
    let under_way = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let service = Bounded { clock: clock.clone(), under_way, bears: 8 };
    let policy = Policy::builder().concurrency(Concurrency::aimd(AimdConfig::default())).clock(clock).build();
    let backend = policy.expect("in range").over_one(service).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for _ in 0..40 {
        crowd.join(async {
            for _ in 0..50 {
                let _ = backend.call(Call::new(0)).await;
            }
        });
    }
    crowd.finish(&hand);
    let figures = backend.snapshot();
    assert!(figures.succeeded * 10 >= figures.calls * 8, "{figures:?}");
    assert!(figures.concurrency_limit.is_some_and(|limit| (4..=12).contains(&limit)), "{figures:?}");
}

/// Fails at once what is more than it bears.
#[derive(Clone)]
struct Bounded {
    clock: aqueduct_core::Clock,
    under_way: std::sync::Arc<std::sync::atomic::AtomicU32>,
    bears: u32,
}

impl tower_service::Service<u32> for Bounded {
    type Response = ();
    type Error = crate::Broken;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<(), crate::Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), crate::Broken>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            use std::sync::atomic::Ordering::Relaxed;
            let here = this.under_way.fetch_add(1, Relaxed);
            this.clock.sleep(MS).await;
            this.under_way.fetch_sub(1, Relaxed);
            if here < this.bears { Ok(()) } else { Err(PASSING) }
        })
    }
}

#[test]
fn who_is_refused_a_place_is_refused() {
    let (clock, hand) = clock();
    let concurrency = Concurrency::fixed(1).queue_max(0);
    let policy = Policy::builder().concurrency(concurrency).clock(clock.clone()).build().expect("in range");
    let backend = policy.over_one(Scripted::echo(&clock)).expect("nothing to refuse");
    // There is a place, so a queue of nobody does no harm.
    assert!(run(&hand, backend.call(Call::new(1))).is_ok_and(|answer| answer == 1));
    assert!(!PASSING.is_refusal());
}

#[test]
fn many_failures_at_once_lower_the_limit_once() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |_| (MS, Err(PASSING)));
    let aimd = AimdConfig { initial: 100, ..AimdConfig::default() };
    let policy =
        Policy::builder().concurrency(Concurrency::aimd(aimd)).clock(clock).build().expect("in range");
    let backend = policy.over_one(service).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..100 {
        crowd.join(backend.call(Call::new(request)));
    }
    assert_eq!(crowd.finish(&hand).len(), 100);
    assert_eq!(backend.snapshot().concurrency_limit, Some(90));
}

#[test]
fn who_leaves_the_queue_makes_room_in_it() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS, Ok(request)));
    let concurrency = Concurrency::fixed(1).queue_max(1);
    let policy = Policy::builder().concurrency(concurrency).clock(clock).build().expect("in range");
    let backend = policy.over_one(service).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    crowd.join(backend.call(Call::new(0)));
    for request in 1..100 {
        crowd.join(backend.call(Call::new(request)));
        crowd.settle();
        assert_eq!(backend.snapshot().queued, 1);
        crowd.drop(request as usize);
    }
    crowd.join(backend.call(Call::new(100)));
    let done = crowd.finish(&hand);
    assert!(done.len() == 2 && done.iter().all(|(_, result)| result.is_ok()), "{done:?}");
}

/// Gives way to others before it answers, and never sees more callers than may be under way.
#[derive(Clone)]
struct Yielding(std::sync::Arc<std::sync::atomic::AtomicU32>);

impl tower_service::Service<u32> for Yielding {
    type Response = u32;
    type Error = crate::Broken;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<u32, crate::Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), crate::Broken>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        let under_way = std::sync::Arc::clone(&self.0);
        Box::pin(async move {
            use std::sync::atomic::Ordering::SeqCst;
            let here = under_way.fetch_add(1, SeqCst) + 1;
            let _leaves = Leaves(under_way);
            tokio::task::yield_now().await;
            Ok(here)
        })
    }
}

struct Leaves(std::sync::Arc<std::sync::atomic::AtomicU32>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn no_turn_is_lost_between_threads() {
    let policy = Policy::builder().concurrency(Concurrency::fixed(3)).build().expect("in range");
    let backend = policy.over_one::<_, u32>(Yielding(std::sync::Arc::default())).expect("nothing to refuse");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let backend = &backend;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..8)
                        .map(|task| {
                            let backend = backend.clone();
                            tokio::spawn(async move {
                                for number in 0..200 {
                                    let mut call =
                                        Box::pin(backend.call(Call::new(0).tenant(format!("{thread}"))));
                                    // Every third is polled once and dropped, if it is not done by then.
                                    if number % 3 == task % 3 {
                                        std::future::poll_fn(|cx| {
                                            let _ = call.as_mut().poll(cx);
                                            std::task::Poll::Ready(())
                                        })
                                        .await;
                                        continue;
                                    }
                                    assert!(call.await.is_ok_and(|most| most <= 3));
                                }
                            })
                        })
                        .collect();
                    for task in tasks {
                        task.await.expect("it does not panic");
                    }
                });
            });
        }
    });
    let figures = backend.snapshot();
    assert_eq!((figures.in_flight, figures.queued), (0, 0));
}
