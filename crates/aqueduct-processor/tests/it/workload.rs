//! A partitioned workload and its report.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use aqueduct_core::{Clock, Shutdown, ShutdownSignal};
use aqueduct_processor::{
    Config, Job, JobError, Limit, Limits, MapError, Mapped, Partition, Pool, Workload, WorkloadReport,
};

use crate::adaptive::shrinks_to;
use crate::worker::pass;
use crate::{FINAL, Fault, PASSING, SECOND, manual, sized, until};

fn data(items: u64) -> Arc<[u64]> {
    (0..items).collect()
}

fn parts(partitions: usize) -> Workload {
    Workload { partitions, ..Workload::default() }
}

#[tokio::test]
async fn each_item_is_in_one_part_and_results_come_in_order() {
    let pool = Pool::cpu(sized(3), Clock::system()).unwrap();
    for (items, partitions, expected) in [(10, 4, 4), (3, 8, 3), (1000, 7, 7), (0, 5, 0), (5, 1, 1)] {
        let firsts = |part: Partition<u64>| {
            assert_eq!(part.items.first().copied(), Some(part.first as u64));
            Ok::<_, Fault>((part.index, part.items.to_vec()))
        };
        let mapped =
            pool.map(data(items), &parts(partitions), ShutdownSignal::never(), firsts).await.unwrap();
        assert_eq!(mapped.results.len(), expected);
        let mut all = Vec::new();
        for (index, result) in mapped.results.into_iter().enumerate() {
            let (said, items) = result.unwrap();
            assert_eq!(said, index);
            all.extend(items);
        }
        assert_eq!(all, (0..items).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_part_that_fails_in_passing_is_tried_again_and_one_that_fails_for_good_fails_alone() {
    let (clock, time) = manual();
    let pool = Pool::cpu(sized(2), clock).unwrap();
    let handle = pool.clone();
    let run = tokio::spawn(async move {
        let function = |part: Partition<u64>| match (part.index, part.attempt) {
            (1, 1) => Err(PASSING),
            (2, _) => Err(FINAL),
            (3, _) => panic!("three"),
            (_, attempt) => Ok(attempt),
        };
        handle.map(data(50), &parts(5), ShutdownSignal::never(), function).await
    });
    until(|| pool.figures().delayed == 1 && pool.figures().ended() == 4).await;
    time.advance(SECOND);
    let Mapped { results, report } = run.await.unwrap().unwrap();
    let mut ends = Vec::new();
    for result in &results {
        ends.push(result.as_ref().map_err(|error| (error.items.clone(), error.error.attempts())));
    }
    assert_eq!(ends, [Ok(&1), Ok(&2), Err((20..30, 1)), Err((30..40, 1)), Ok(&1)]);
    assert!(matches!(&results[3], Err(error) if matches!(error.error, JobError::Panicked { .. })));
    assert_eq!((report.errors, report.retries, report.limit), (vec![0, 1, 1, 1, 0], 1, None));
}

#[tokio::test]
async fn the_report_says_where_the_time_went() {
    let (clock, time) = manual();
    let pool = Pool::cpu(sized(2), clock).unwrap();
    let (begun, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(3)));
    let (count, wait, handle) = (Arc::clone(&begun), Arc::clone(&go), pool.clone());
    let run = tokio::spawn(async move {
        let function = move |_: Partition<u64>| {
            count.fetch_add(1, Ordering::SeqCst);
            wait.wait();
            wait.wait();
            Ok::<_, Fault>(())
        };
        handle.map(data(300), &parts(3), ShutdownSignal::never(), function).await
    });
    // Two at once for a second, then the third alone for three: the barrier stands in for the worker that idles.
    until(|| begun.load(Ordering::SeqCst) == 2).await;
    let (outside, barrier) = (tokio::runtime::Handle::current(), Arc::clone(&go));
    outside.spawn_blocking(move || barrier.wait()).await.unwrap();
    time.advance(SECOND);
    let barrier = Arc::clone(&go);
    outside.spawn_blocking(move || barrier.wait()).await.unwrap();
    until(|| begun.load(Ordering::SeqCst) == 3 && pool.figures().done == 2).await;
    for step in 0..2 {
        // Two stand in for the workers that idle.
        let barriers = [Arc::clone(&go), Arc::clone(&go)];
        let waits = barriers.map(|barrier| outside.spawn_blocking(move || barrier.wait()));
        for wait in waits {
            wait.await.unwrap();
        }
        if step == 0 {
            time.advance(SECOND * 3);
        }
    }
    let WorkloadReport { total, busy, capacity, queue_wait_p50, queue_wait_p99, skew, bytes_high, .. } =
        run.await.unwrap().unwrap().report;
    assert_eq!((total, busy, capacity), (SECOND * 4, SECOND * 5, SECOND * 8));
    assert_eq!((queue_wait_p50, queue_wait_p99), (std::time::Duration::ZERO, SECOND));
    assert!((skew - 1.8).abs() < 1e-9, "{skew}");
    assert_eq!(bytes_high, 2 * 100 * 8);
}

#[tokio::test]
async fn max_retries_ends_it_and_says_so() {
    let (clock, time) = manual();
    let pool = Pool::cpu(sized(1), clock).unwrap();
    let workload = Workload { partitions: 10, limits: Limits { retries_max: Some(1), ..Limits::default() } };
    let handle = pool.clone();
    let run = tokio::spawn(async move {
        let fails = |_: Partition<u64>| Err::<(), _>(PASSING);
        handle.map(data(10), &workload, ShutdownSignal::never(), fails).await
    });
    until(|| {
        time.advance(SECOND);
        run.is_finished()
    })
    .await;
    let Mapped { results, report } = run.await.unwrap().unwrap();
    assert_eq!((report.limit, report.retries), (Some(Limit::Retries(1)), 1));
    assert_eq!(results.len(), 10);
    assert!(results.iter().all(Result::is_err));
    let made: u32 = results.iter().map(|result| result.as_ref().unwrap_err().error.attempts()).sum();
    assert_eq!(made, report.errors.iter().sum::<u32>());
}

#[tokio::test]
async fn max_processing_time_asks_what_runs_to_end_and_leaves_the_rest_out() {
    let (clock, time) = manual();
    let pool = Pool::cpu(sized(1), clock.clone()).unwrap();
    let workload = Workload { partitions: 5, limits: Limits { time_max: Some(SECOND), ..Limits::default() } };
    let (begun, handle) = (Arc::new(AtomicUsize::new(0)), pool.clone());
    let count = Arc::clone(&begun);
    let run = tokio::spawn(async move {
        let until_asked = move |part: Partition<u64>| {
            count.fetch_add(1, Ordering::SeqCst);
            while !part.cancel.is_cancelled() {
                std::thread::yield_now();
            }
            Err::<(), _>(PASSING)
        };
        handle.map(data(5), &workload, ShutdownSignal::never(), until_asked).await
    });
    until(|| begun.load(Ordering::SeqCst) == 1).await;
    pass(&time, || clock.now().elapsed_since_start() >= SECOND).await;
    let Mapped { results, report } = run.await.unwrap().unwrap();
    assert_eq!(report.limit, Some(Limit::Time(SECOND)));
    let attempts: Vec<u32> =
        results.iter().map(|result| result.as_ref().unwrap_err().error.attempts()).collect();
    assert_eq!(attempts, [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn asked_to_drain_it_finishes_what_has_begun() {
    let pool = Pool::cpu(sized(1), Clock::system()).unwrap();
    let (ask, signal) = Shutdown::new();
    let asking = ask.clone();
    let function = move |part: Partition<u64>| {
        asking.drain();
        Ok::<_, Fault>(part.index)
    };
    let Mapped { results, report } = pool.map(data(100), &parts(100), signal, function).await.unwrap();
    let done = results.iter().filter(|result| result.is_ok()).count();
    // One that ran when it was asked, and what had been handed to the pool.
    assert!((1..=3).contains(&done), "{done}");
    assert_eq!((results.len(), report.limit), (100, None));
    drop(ask);
}

#[tokio::test]
async fn a_workload_that_cannot_be_is_refused() {
    let pool = Pool::cpu(sized(1), Clock::system()).unwrap();
    let done = |_: Partition<u64>| Ok::<_, Fault>(());
    let error = pool.map(data(1), &parts(0), ShutdownSignal::never(), done).await.unwrap_err();
    assert!(matches!(error, MapError::Config(error) if error.field == "partitions"));
    pool.drain(SECOND).await;
    let error = pool.map(data(1), &parts(1), ShutdownSignal::never(), done).await.unwrap_err();
    assert!(matches!(error, MapError::Submit(_)));
}

#[tokio::test]
async fn parts_that_wait_run_as_futures_with_the_same_report() {
    let (clock, time) = manual();
    let pool = Pool::io(sized(10), clock.clone()).unwrap();
    let handle = pool.clone();
    let run = tokio::spawn(async move {
        let function = move |part: Partition<u64>| {
            let clock = clock.clone();
            async move {
                clock.sleep(SECOND).await;
                match (part.index, part.attempt) {
                    (1, 1) => Err(PASSING),
                    (2, _) => Err(FINAL),
                    (3, _) => panic!("three"),
                    _ => Ok(part.items.iter().sum::<u64>()),
                }
            }
        };
        handle.map(data(50), &parts(5), ShutdownSignal::never(), function).await
    });
    // All of them wait at once; then one does so again, a second after it has failed.
    for waiting in [5, 1, 1] {
        until(|| time.waiting() == waiting).await;
        time.advance(SECOND);
    }
    let Mapped { results, report } = run.await.unwrap().unwrap();
    let sums: Vec<_> = results.iter().map(|result| result.as_ref().ok().copied()).collect();
    assert_eq!(sums, [Some(45), Some(145), None, None, Some(445)]);
    assert_eq!((report.total, report.busy), (SECOND * 3, SECOND * 6));
    assert_eq!((report.capacity, report.workers_high), (SECOND * 30, 10));
    assert_eq!((report.errors, report.retries), (vec![0, 1, 1, 1, 0], 1));
    assert_eq!(report.bytes_high, 50 * 8);
}

#[tokio::test]
async fn the_most_workers_are_those_of_the_run() {
    let (clock, time) = manual();
    let pool = Pool::cpu(Config { size_min: Some(0), ..sized(4) }, clock).unwrap();
    let both = Arc::new(Barrier::new(2));
    for partitions in [2, 1] {
        let both = Arc::clone(&both);
        let function = move |_: Partition<u64>| {
            if partitions == 2 {
                both.wait();
            }
            Ok::<_, Fault>(())
        };
        let mapped = pool.map(data(2), &parts(partitions), ShutdownSignal::never(), function).await.unwrap();
        assert_eq!(mapped.report.workers_high, partitions);
        shrinks_to(&pool, &time, 0).await;
    }
    assert_eq!(pool.figures().present_high, 2);
}

#[tokio::test]
async fn a_workload_waits_for_room_in_a_pool_that_others_have_filled() {
    let pool = Pool::io(Config { jobs_max: 1, ..sized(1) }, Clock::system()).unwrap();
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let mut wait = Some(wait);
    let other = pool.try_submit(Job::default(), move |_| {
        let wait = wait.take();
        async move {
            if let Some(wait) = wait {
                wait.await.unwrap();
            }
            Ok::<_, Fault>(())
        }
    });
    let handle = pool.clone();
    let run = tokio::spawn(async move {
        let function = |part: Partition<u64>| async move { Ok::<_, Fault>(part.index) };
        handle.map(data(5), &parts(5), ShutdownSignal::never(), function).await
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((run.is_finished(), pool.figures().ended()), (false, 0));
    go.send(()).unwrap();
    other.unwrap().await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().results.len(), 5);
    assert_eq!(pool.figures().done, 6);
}
