//! A run ends at its first limit, with everything settled or given back, and says which one it was.

use std::time::Duration;

use aqueduct_processor::{Limit, Limits, RunEnd, StartError, Work, Worker, WorkerConfig};

use crate::worker::{Running, config, pass, queue};
use crate::{Fault, PASSING, SECOND, manual};

#[tokio::test]
async fn max_processing_time_ends_the_run() {
    let (clock, time) = manual();
    let queue = queue(&clock, 3).await;
    let limits = Limits { time_max: Some(SECOND * 60), ..Limits::default() };
    let never = |_: Work| std::future::pending::<Result<(), Fault>>();
    let worker = Worker::io(queue.clone(), WorkerConfig { limits, ..config(2) }, clock.clone(), never);
    let running = Running::begin(worker.unwrap());
    pass(&time, || running.is_over()).await;
    let report = running.end().await.unwrap();
    assert_eq!(report.ended, RunEnd::Limit(Limit::Time(SECOND * 60)));
    assert_eq!((report.taken, report.released), (2, 2));
    assert_eq!(report.total, SECOND * 65, "the grace is for what runs");
    assert_eq!(queue.depth().await.unwrap().ready, 3);
}

#[tokio::test]
async fn max_memory_ends_the_run() {
    let (clock, time) = manual();
    let queue = queue(&clock, 3).await;
    // No process has so little.
    let limits = Limits { memory_bytes_max: Some(4096), ..Limits::default() };
    let done = |_: Work| async { Ok::<_, Fault>(()) };
    let worker = Worker::io(queue.clone(), WorkerConfig { limits, ..config(2) }, clock, done).unwrap();
    let running = Running::begin(worker);
    pass(&time, || running.is_over()).await;
    let report = running.end().await.unwrap();
    let RunEnd::Limit(limit @ Limit::Memory { bytes, bytes_max: 4096 }) = report.ended else {
        panic!("{:?}", report.ended)
    };
    assert!(bytes > 4096 && report.memory_high.unwrap() >= bytes);
    assert!(limit.to_string().starts_with("max_memory_mb: "));
    let depth = queue.depth().await.unwrap();
    assert_eq!(depth.ready + report.acked, 3);
}

#[tokio::test]
async fn max_retries_ends_the_run_and_the_message_keeps_its_attempt() {
    let (clock, time) = manual();
    let queue = queue(&clock, 1).await;
    let limits = Limits { retries_max: Some(1), ..Limits::default() };
    let fails = |_: Work| async { Err(PASSING) };
    let worker = Worker::io(queue.clone(), WorkerConfig { limits, ..config(2) }, clock, fails).unwrap();
    let running = Running::begin(worker);
    pass(&time, || running.is_over()).await;
    let report = running.end().await.unwrap();
    assert_eq!(report.ended, RunEnd::Limit(Limit::Retries(1)));
    assert_eq!((report.taken, report.nacked, report.released, report.retries), (3, 2, 1, 1));
    assert_eq!(queue.try_reserve().await.unwrap().unwrap().attempt, 3);
}

#[tokio::test]
async fn a_limit_that_cannot_be_is_named() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 0).await;
    let start = |config: WorkerConfig| {
        let done = |_: Work| async { Ok::<_, Fault>(()) };
        match Worker::io(queue.clone(), config, clock.clone(), done) {
            Err(StartError::Config(error)) => error.field,
            other => panic!("{other:?}"),
        }
    };
    let limits = |limits| WorkerConfig { limits, ..config(1) };
    assert_eq!(start(limits(Limits { time_max: Some(Duration::ZERO), ..Limits::default() })), "time_max");
    let none = Limits { memory_bytes_max: Some(0), ..Limits::default() };
    assert_eq!(start(limits(none)), "memory_bytes_max");
    let short = WorkerConfig { message_time_max: Some(Duration::ZERO), ..config(1) };
    assert_eq!(start(short), "message_time_max");
    assert_eq!(start(WorkerConfig { grace: SECOND * 3601, ..config(1) }), "grace");
}
