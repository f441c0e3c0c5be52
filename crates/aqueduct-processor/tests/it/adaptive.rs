//! A pool for computing whose threads come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aqueduct_core::{Clock, ManualClock};
use aqueduct_metrics::Registry;
use aqueduct_processor::{Config, CpuPool, Job, JobError, Metrics, Pool, StartError, Ticket};
use proptest::prelude::*;

use crate::cpu_pool::stuck;
use crate::{Fault, PASSING, SECOND, manual, sized, until};

/// From `min` to `max` threads, each of which may find nothing for ten seconds.
fn between(min: usize, max: usize) -> Config {
    Config { size_min: Some(min), idle_max: SECOND * 10, ..sized(max) }
}

/// Lets a second pass after another until so many threads are there.
pub(crate) async fn shrinks_to(pool: &CpuPool, time: &ManualClock, present: usize) {
    until(|| {
        time.advance(SECOND);
        pool.figures().present == present
    })
    .await;
}

#[tokio::test]
async fn a_thread_is_begun_when_a_job_waits_and_none_is_free_up_to_the_most() {
    let pool = Pool::cpu(between(1, 3), Clock::system()).unwrap();
    assert_eq!((pool.figures().present, pool.health().present, pool.health().workers), (1, 1, 3));
    let mut jobs = Vec::new();
    for present in [1, 2, 3, 3, 3] {
        jobs.push(stuck(&pool, Job::default()));
        until(|| pool.figures().running == present).await;
        assert_eq!(pool.figures().present, present);
    }
    assert_eq!((pool.figures().waiting, pool.figures().present_high), (2, 3));
    for (ticket, go) in jobs {
        go.send(()).unwrap();
        ticket.await.unwrap();
    }
}

#[tokio::test]
async fn a_thread_that_found_nothing_for_long_ends_down_to_the_least() {
    let (clock, time) = manual();
    let pool = Pool::cpu(between(1, 4), clock).unwrap();
    let jobs: Vec<_> = (0..4).map(|_| stuck(&pool, Job::default())).collect();
    until(|| pool.figures().running == 4).await;
    for (ticket, go) in jobs {
        go.send(()).unwrap();
        ticket.await.unwrap();
    }
    // A second before its time nobody ends: the keeper waits for just that moment.
    until(|| time.waiting() == 1).await;
    time.advance(SECOND * 9);
    assert_eq!(pool.figures().present, 4);
    shrinks_to(&pool, &time, 1).await;
    for _ in 0..100 {
        time.advance(SECOND * 10);
        tokio::task::yield_now().await;
    }
    assert_eq!((pool.figures().present, pool.figures().present_high), (1, 4));
    assert_eq!(pool.try_submit(Job::default(), |_| Ok::<_, Fault>(1)).unwrap().await, Ok(1));
}

/// Light work that goes around all threads would keep every one of them, were it counted by thread.
#[tokio::test]
async fn work_for_one_keeps_one() {
    let (clock, time) = manual();
    let pool = Pool::cpu(between(0, 4), clock).unwrap();
    let jobs: Vec<_> = (0..4).map(|_| stuck(&pool, Job::default())).collect();
    until(|| pool.figures().running == 4).await;
    for (ticket, go) in jobs {
        go.send(()).unwrap();
        ticket.await.unwrap();
    }
    until(|| {
        time.advance(SECOND);
        if pool.figures().running == 0 {
            drop(pool.try_submit(Job::default(), |_| Ok::<_, Fault>(1)).unwrap());
        }
        pool.figures().present == 1
    })
    .await;
    shrinks_to(&pool, &time, 0).await;
    assert!(pool.health().live, "it has no thread, and would begin one");
    assert_eq!(pool.try_submit(Job::default(), |_| Ok::<_, Fault>(1)).unwrap().await, Ok(1));
}

#[tokio::test]
async fn another_size_moves_the_most_and_the_least_goes_no_higher() {
    let (clock, time) = manual();
    let pool = Pool::cpu(between(3, 4), clock).unwrap();
    assert_eq!(pool.figures().present, 3);
    pool.resize(2).unwrap();
    until(|| pool.figures().present == 2).await;
    pool.resize(5).unwrap();
    assert_eq!(pool.figures().present, 3, "the least, as configured");
    let jobs: Vec<_> = (0..6).map(|_| stuck(&pool, Job::default())).collect();
    until(|| pool.figures().running == 5).await;
    assert_eq!((pool.figures().present, pool.figures().waiting), (5, 1));
    for (ticket, go) in jobs {
        go.send(()).unwrap();
        ticket.await.unwrap();
    }
    shrinks_to(&pool, &time, 3).await;
    // A number that is fixed is moved as a whole.
    let fixed = Pool::cpu(sized(2), Clock::system()).unwrap();
    fixed.resize(4).unwrap();
    assert_eq!(fixed.figures().present, 4);
}

#[tokio::test]
async fn the_capacity_is_the_time_of_those_who_were_there() {
    let (clock, time) = manual();
    let registry = Registry::new(aqueduct_metrics::Config::default()).unwrap();
    let metrics = Metrics::register(&registry, "parse").unwrap();
    let pool = Pool::cpu(Config { metrics: Some(metrics), ..between(1, 4) }, clock).unwrap();
    let shown = |present: usize| {
        let line = format!("aqueduct_processor_workers{{pool=\"parse\"}} {present}\n");
        registry.snapshot().to_text().contains(&line)
    };
    assert!(shown(1));
    let jobs: Vec<_> = (0..2).map(|_| stuck(&pool, Job::default())).collect();
    until(|| pool.figures().running == 2).await;
    assert!(shown(2));
    time.advance(SECOND * 3);
    for (ticket, go) in jobs {
        go.send(()).unwrap();
        ticket.await.unwrap();
    }
    until(|| time.waiting() == 1).await;
    time.advance(SECOND * 10);
    until(|| pool.figures().present == 1).await;
    assert!(shown(1));
    time.advance(SECOND * 4);
    let figures = pool.figures();
    assert_eq!((figures.busy, figures.capacity), (SECOND * 6, SECOND * (2 * 13 + 4)));
    assert!((figures.efficiency() - 0.2).abs() < 1e-9);
    drop(pool);
    until(|| shown(0)).await;
}

#[tokio::test]
async fn a_thread_that_is_lost_while_the_pool_grows_is_made_up_for() {
    let (clock, time) = manual();
    let pool = Pool::cpu(Config { cancel_grace: SECOND, abandoned_max: 1, ..between(0, 2) }, clock).unwrap();
    let (lost, free) = stuck(&pool, Job::default().with_within(SECOND));
    let (kept, go) = stuck(&pool, Job::default());
    let waits = pool.try_submit(Job::default(), |_| Ok::<_, Fault>(1)).unwrap();
    let panics: Ticket<(), Fault> = pool.try_submit(Job::default(), |_| panic!("no")).unwrap();
    until(|| pool.figures().running == 2).await;
    time.advance(SECOND);
    until(|| time.waiting() == 1).await;
    time.advance(SECOND);
    assert_eq!(lost.await, Err(JobError::Late { attempts: 1, abandoned: true }));
    assert_eq!(waits.await, Ok(1));
    assert!(matches!(panics.await, Err(JobError::Panicked { attempts: 1, .. })));
    assert_eq!(pool.figures().present, 2);
    free.send(()).unwrap();
    go.send(()).unwrap();
    kept.await.unwrap();
    until(|| pool.figures().abandoned == 0).await;
}

#[tokio::test]
async fn a_drain_waits_for_what_threads_are_still_begun_for() {
    let pool = Pool::cpu(between(0, 4), Clock::system()).unwrap();
    let (first, go) = stuck(&pool, Job::default());
    let more: Vec<_> = (0..50)
        .map(|number| pool.try_submit(Job::default(), move |_| Ok::<_, Fault>(number)).unwrap())
        .collect();
    let draining = pool.clone();
    let drain = tokio::spawn(async move { draining.drain(SECOND * 60).await });
    for (number, ticket) in more.into_iter().enumerate() {
        assert_eq!(ticket.await, Ok(number));
    }
    go.send(()).unwrap();
    first.await.unwrap();
    let drained = drain.await.unwrap();
    assert_eq!((drained.cancelled, drained.abandoned), (0, 0));
    until(|| pool.figures().present == 0).await;
}

#[tokio::test]
async fn bounds_that_cannot_be_are_refused() {
    for (config, field) in [
        (between(4, 3), "size_min"),
        (Config { idle_max: std::time::Duration::ZERO, ..between(1, 2) }, "idle_max"),
    ] {
        let error = Pool::cpu(config, Clock::system()).unwrap_err();
        assert!(matches!(error, StartError::Config(error) if error.field == field));
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Jobs at once: of so many keys, every so many-th of them panics.
    Submit(u8),
    Resize(usize),
    Advance(u64),
    Yield(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..12_u8).prop_map(Step::Submit),
        1 => (1..7_usize).prop_map(Step::Resize),
        4 => (1..8_u64).prop_map(Step::Advance),
        3 => (1..30_u8).prop_map(Step::Yield),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_job_is_lost_or_run_twice_while_threads_come_and_go(steps in steps(), min in 0..3_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let (clock, time) = manual();
            let config = Config { per_key_max: 2, idle_max: SECOND * 3, ..between(min, 4) };
            let pool = Pool::cpu(config, clock).unwrap();
            let (mut jobs, mut size, mut size_high) = (Vec::new(), 4, 4);
            for step in steps {
                match step {
                    Step::Submit(count) => for number in 0..count {
                        let ran = Arc::new(AtomicU32::new(0));
                        let count = Arc::clone(&ran);
                        let ticket = pool.try_submit(Job::default().with_key((number % 3).to_string()), move |context| {
                            count.fetch_add(1, Ordering::SeqCst);
                            match (number % 5, context.attempt) {
                                (3, _) => panic!("as it was told"),
                                (4, 1) => Err(PASSING),
                                _ => Ok(context.attempt),
                            }
                        });
                        jobs.push((number % 5, ran, ticket.unwrap()));
                    },
                    Step::Resize(other) => {
                        pool.resize(other).unwrap();
                        (size, size_high) = (other, size_high.max(other));
                    }
                    Step::Advance(seconds) => time.advance(SECOND * u32::try_from(seconds).unwrap()),
                    Step::Yield(times) => for _ in 0..times {
                        tokio::task::yield_now().await;
                    },
                }
                assert!(pool.figures().present <= size_high);
            }
            until(|| {
                time.advance(SECOND);
                pool.figures().ended() == jobs.len() as u64
            }).await;
            for (kind, ran, ticket) in jobs {
                let ran = ran.load(Ordering::SeqCst);
                match ticket.await {
                    Ok(attempt) => assert_eq!((ran, attempt), if kind == 4 { (2, 2) } else { (1, 1) }),
                    // The clock runs away meanwhile, so there may be no time for a second attempt.
                    Err(error) => assert_eq!((ran, error.attempts(), kind > 2), (1, 1, true)),
                }
            }
            shrinks_to(&pool, &time, min.min(size)).await;
            let figures = pool.figures();
            assert_eq!((figures.waiting, figures.delayed, figures.running, figures.replaced), (0, 0, 0, 0));
        });
    }
}

/// On the clock of the machine, with threads that end at once: a wake-up that is lost hangs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_end_all_the_time_miss_no_job() {
    let config = Config { size_min: Some(0), idle_max: SECOND / 1000, jobs_max: 8, ..sized(4) };
    let pool = Pool::cpu(config, Clock::system()).unwrap();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for number in 0..2000_u32 {
                    let ticket = pool.submit(Job::default(), move |_| Ok::<_, Fault>(number)).await.unwrap();
                    assert_eq!(ticket.await, Ok(number));
                    if number % 100 == 0 {
                        until(|| pool.figures().present < 4).await;
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    until(|| pool.figures().present == 0).await;
    assert_eq!(pool.figures().done, 8000);
}
