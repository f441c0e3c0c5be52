//! A worker over a queue in memory, on a clock that stands still until it is moved.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, ManualClock, Shutdown};
use aqueduct_processor::{
    Config, RunEnd, RunError, RunReport, Suspects, Work, Worker, WorkerConfig, WorkerHandle,
};
use aqueduct_queue::{Message, Queue, Queues, State};
use aqueduct_retry::{Growth, Schedule};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::{FINAL, Fault, PASSING, SECOND, manual, sized, until};

/// A queue of messages with a lease of three seconds and three attempts.
pub(crate) async fn queue(clock: &Clock, messages: u32) -> Queue {
    let config = aqueduct_queue::Config::builder().lease(SECOND * 3).attempts_max(3).build().unwrap();
    let queue = Queues::memory_with(clock.clone()).declare("work", config).await.unwrap();
    for number in 0..messages {
        queue.publish(Message::new(number.to_string())).await.unwrap();
    }
    queue
}

/// So many slots, a second between attempts.
pub(crate) fn config(size: usize) -> WorkerConfig {
    let second = Schedule::builder(Growth::Constant { delay: SECOND }).retries_max(u32::MAX);
    let retry = second.elapsed_max(Duration::from_secs(3600)).build().unwrap();
    let pool = Config { cancel_grace: SECOND, ..sized(size) };
    WorkerConfig { pool, retry, grace: SECOND * 5, ..WorkerConfig::default() }
}

/// A worker that runs.
pub(crate) struct Running {
    pub(crate) handle: WorkerHandle,
    pub(crate) shutdown: Shutdown,
    task: JoinHandle<Result<RunReport, RunError>>,
}

impl Running {
    pub(crate) fn begin(worker: Worker) -> Self {
        let (shutdown, signal) = Shutdown::new();
        let handle = worker.handle();
        Self { handle, shutdown, task: tokio::spawn(worker.run(signal)) }
    }

    /// Asks it to drain, and waits for it.
    pub(crate) async fn drain(self) -> RunReport {
        self.shutdown.drain();
        self.end().await.unwrap()
    }

    pub(crate) async fn end(self) -> Result<RunReport, RunError> {
        self.task.await.unwrap()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

/// Moves the clock in steps until something is so.
pub(crate) async fn pass(time: &ManualClock, mut so: impl FnMut() -> bool) {
    while !so() {
        // The worker and its pool look at each step before the next one is made.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if so() {
            return;
        }
        time.advance(SECOND / 10);
    }
}

#[tokio::test]
async fn takes_no_more_than_it_has_slots_for_and_settles_in_groups() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 100).await;
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let worker = Worker::io(queue.clone(), config(10), clock, move |_: Work| {
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok::<_, Fault>(())
        }
    })
    .unwrap();
    let running = Running::begin(worker);
    until(|| running.handle.report().pool.running == 10).await;
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.leased, depth.ready), (10, 90));
    gate.add_permits(100);
    until(|| running.handle.report().acked == 100).await;
    let report = running.drain().await;
    assert_eq!((report.taken, report.acked, report.ended), (100, 100, RunEnd::Asked));
    assert!(report.settle_calls <= 50, "{} calls for 100 messages", report.settle_calls);
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased, depth.dead), (0, 0, 0));
}

#[tokio::test]
async fn another_size_counts_at_once() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 20).await;
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let worker = Worker::io(queue.clone(), config(1), clock, move |_: Work| {
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok::<_, Fault>(())
        }
    })
    .unwrap();
    let running = Running::begin(worker);
    until(|| running.handle.report().pool.running == 1).await;
    running.handle.resize(8).unwrap();
    until(|| running.handle.report().pool.running == 8).await;
    running.handle.resize(2).unwrap();
    gate.add_permits(6);
    until(|| running.handle.report().acked == 6).await;
    assert_eq!(running.handle.report().pool.running, 2);
    gate.add_permits(20);
    until(|| running.handle.report().acked == 20).await;
    assert_eq!(running.drain().await.taken, 20);
}

#[tokio::test]
async fn a_failure_in_passing_comes_again_after_its_delay_until_its_attempts_are_used_up() {
    let (clock, time) = manual();
    let queue = queue(&clock, 1).await;
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let (seen, at) = (Arc::clone(&attempts), clock.clone());
    let worker = Worker::io(queue.clone(), config(1), clock, move |work: Work| {
        let second = at.now().elapsed_since_start().as_secs();
        seen.lock().unwrap().push((work.delivered.attempt, second));
        async { Err(PASSING) }
    })
    .unwrap();
    let running = Running::begin(worker);
    pass(&time, || running.handle.report().nacked == 3).await;
    assert_eq!(*attempts.lock().unwrap(), [(1, 0), (2, 1), (3, 2)]);
    let dead = queue.peek(State::Dead, None, 10).await.unwrap();
    assert_eq!(&*dead[0].dead.as_ref().unwrap().reason, "a transient fault");
    let report = running.drain().await;
    assert_eq!((report.taken, report.retries, report.error_ratio()), (3, 2, 1.0));
}

#[tokio::test]
async fn what_cannot_succeed_is_set_aside_with_its_reason_at_once() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 1).await;
    let worker = Worker::io(queue.clone(), config(1), clock, |_: Work| async { Err(FINAL) }).unwrap();
    let running = Running::begin(worker);
    until(|| running.handle.report().dead_lettered == 1).await;
    let dead = queue.peek(State::Dead, None, 10).await.unwrap();
    assert_eq!(&*dead[0].dead.as_ref().unwrap().reason, "a permanent fault");
    assert_eq!(running.drain().await.taken, 1);
}

#[tokio::test]
async fn a_panic_fails_its_attempt_and_the_worker_goes_on() {
    let (clock, time) = manual();
    let queue = queue(&clock, 3).await;
    let worker = Worker::cpu(queue.clone(), config(1), clock, |work: &Work| {
        assert!(work.message().body != "1", "a bad one");
        Ok::<_, Fault>(())
    })
    .unwrap();
    let running = Running::begin(worker);
    pass(&time, || running.handle.report().nacked == 3).await;
    let dead = queue.peek(State::Dead, None, 10).await.unwrap();
    assert_eq!(&*dead[0].dead.as_ref().unwrap().reason, "the handler panicked: a bad one");
    let report = running.drain().await;
    assert_eq!((report.acked, report.nacked), (2, 3));
}

#[tokio::test]
async fn a_lease_is_kept_while_the_handler_runs() {
    let (clock, time) = manual();
    let queue = queue(&clock, 1).await;
    let gate = Arc::new(Semaphore::new(0));
    let (wait, runs) = (Arc::clone(&gate), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&runs);
    let worker = Worker::io(queue.clone(), config(4), clock.clone(), move |_: Work| {
        count.fetch_add(1, Ordering::SeqCst);
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok::<_, Fault>(())
        }
    })
    .unwrap();
    let running = Running::begin(worker);
    // Ten leases long.
    pass(&time, || clock.now().elapsed_since_start() >= SECOND * 30).await;
    assert_eq!(queue.depth().await.unwrap().leased, 1);
    gate.add_permits(1);
    until(|| running.handle.report().acked == 1).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(running.drain().await.stale, 0);
}

#[tokio::test]
async fn a_handler_whose_message_is_somebody_elses_is_cancelled_and_settles_nothing() {
    let (clock, time) = manual();
    let queue = queue(&clock, 1).await;
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    let worker = Worker::io(queue.clone(), config(1), clock, move |work: Work| {
        seen.lock().unwrap().push(work.token());
        std::future::pending::<Result<(), Fault>>()
    })
    .unwrap();
    let running = Running::begin(worker);
    until(|| tokens.lock().unwrap().len() == 1).await;
    let token = tokens.lock().unwrap()[0];
    assert_eq!(queue.discard(&[token.id]).await.unwrap(), 1);
    pass(&time, || running.handle.report().stale == 1).await;
    assert_eq!(running.handle.report().pool.cancelled, 1);
    let report = running.drain().await;
    assert_eq!((report.taken, report.acked, report.released), (1, 0, 0));
}

#[tokio::test]
async fn a_drain_gives_back_what_does_not_finish_in_its_grace_and_no_attempt_is_lost() {
    let (clock, time) = manual();
    let queue = queue(&clock, 5).await;
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let worker = Worker::io(queue.clone(), config(3), clock, move |_: Work| {
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok::<_, Fault>(())
        }
    })
    .unwrap();
    let running = Running::begin(worker);
    until(|| running.handle.report().pool.running == 3).await;
    running.shutdown.drain();
    gate.add_permits(1);
    until(|| running.handle.report().acked == 1).await;
    assert!(!running.is_over());
    pass(&time, || running.is_over()).await;
    let report = running.end().await.unwrap();
    assert_eq!((report.taken, report.acked, report.released, report.unsettled), (3, 1, 2, 0));
    for _ in 0..4 {
        let delivery = queue.try_reserve().await.unwrap().unwrap();
        assert_eq!(delivery.attempt, 1);
        delivery.ack().await.unwrap();
    }
    assert!(queue.try_reserve().await.unwrap().is_none());
}

#[tokio::test]
async fn a_stop_gives_back_at_once() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 2).await;
    let never = |_: Work| std::future::pending::<Result<(), Fault>>();
    let running = Running::begin(Worker::io(queue.clone(), config(2), clock, never).unwrap());
    until(|| running.handle.report().pool.running == 2).await;
    running.shutdown.stop();
    assert_eq!(running.end().await.unwrap().released, 2);
    assert_eq!(queue.depth().await.unwrap().ready, 2);
}

#[tokio::test]
async fn a_handler_that_never_returns_loses_its_slot_and_its_message_comes_again() {
    let (clock, time) = manual();
    let queue = queue(&clock, 1).await;
    let (go, wait) = mpsc::sync_channel::<()>(1);
    let (wait, runs) = (Mutex::new(wait), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&runs);
    let config = WorkerConfig { message_time_max: Some(SECOND * 5), ..config(1) };
    let worker = Worker::cpu(queue.clone(), config, clock.clone(), move |work: &Work| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            // Whatever it is asked to do.
            wait.lock().unwrap().recv().ok();
        }
        assert!(work.delivered.attempt == count.load(Ordering::SeqCst));
        Ok::<_, Fault>(())
    })
    .unwrap();
    let running = Running::begin(worker);
    // A thread needs time of its own, so the clock stands still while one is to begin.
    until(|| runs.load(Ordering::SeqCst) == 1).await;
    pass(&time, || running.handle.report().nacked == 1).await;
    time.advance(SECOND);
    until(|| running.handle.report().acked == 1).await;
    // Its time, the grace, the delay before the next attempt.
    assert!(clock.now().elapsed_since_start() >= SECOND * 7);
    let report = running.handle.report();
    assert_eq!((report.nacked, report.pool.given_up, report.pool.abandoned), (1, 1, 1));
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    go.send(()).unwrap();
    let report = running.drain().await;
    assert_eq!((report.taken, report.acked, report.retries), (2, 1, 1));
}

#[tokio::test]
async fn a_lease_is_not_kept_beyond_the_time_of_a_message() {
    let (clock, time) = manual();
    let queue = queue(&clock, 1).await;
    let (go, wait) = mpsc::sync_channel::<()>(1);
    let (wait, runs) = (Mutex::new(wait), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&runs);
    let mut config = WorkerConfig { message_time_max: Some(SECOND * 5), ..config(1) };
    config.pool.cancel_grace = SECOND * 60;
    let worker = Worker::cpu(queue.clone(), config, clock.clone(), move |_: &Work| {
        count.fetch_add(1, Ordering::SeqCst);
        wait.lock().unwrap().recv().ok();
        Ok::<_, Fault>(())
    })
    .unwrap();
    let running = Running::begin(worker);
    until(|| runs.load(Ordering::SeqCst) == 1).await;
    pass(&time, || clock.now().elapsed_since_start() >= SECOND * 9).await;
    // The worker waits for its handler; the message waits for nobody.
    let again = queue.try_reserve().await.unwrap().unwrap();
    assert_eq!((again.attempt, running.handle.report().pool.running), (2, 1));
    again.ack().await.unwrap();
    go.send(()).unwrap();
    until(|| running.handle.report().stale == 1).await;
    assert_eq!(running.drain().await.acked, 0);
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again_and_health_says_so_meanwhile() {
    let (clock, time) = manual();
    let queues = Queues::memory_with(clock.clone());
    // Nobody has declared it.
    let queue = queues.queue("work");
    let mut config = config(1);
    config.pool.stall_max = SECOND * 30;
    let done = |_: Work| async { Ok::<_, Fault>(()) };
    let running = Running::begin(Worker::io(queue, config, clock, done).unwrap());
    pass(&time, || !running.handle.health().live).await;
    let health = running.handle.health();
    assert!(health.failing.unwrap() > SECOND * 30);
    assert_eq!(
        health.last_error.as_deref(),
        Some("there is no group default of a queue work; declare it first")
    );
    let queue = queues.declare("work", aqueduct_queue::Config::default()).await.unwrap();
    queue.publish(Message::new("a")).await.unwrap();
    pass(&time, || running.handle.report().acked == 1).await;
    assert!(running.handle.health().live);
    assert_eq!(running.handle.health().last_error, None);
    running.drain().await;
}

#[tokio::test]
async fn a_store_that_is_closed_ends_the_run_with_an_error_that_has_the_report() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 1).await;
    let never = |_: Work| std::future::pending::<Result<(), Fault>>();
    let running = Running::begin(Worker::io(queue.clone(), config(2), clock, never).unwrap());
    until(|| running.handle.report().pool.running == 1).await;
    queue.store().close().await.unwrap();
    let error = running.end().await.unwrap_err();
    assert_eq!((error.class(), error.report().ended), (ErrorClass::Cancelled, RunEnd::Closed));
    assert_eq!((error.report().taken, error.report().unsettled), (1, 1));
}

#[tokio::test]
async fn each_start_has_another_name() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 0).await;
    let worker = || {
        let done = |_: Work| async { Ok::<_, Fault>(()) };
        Worker::io(queue.clone(), config(1), clock.clone(), done).unwrap().identity()
    };
    assert_ne!(worker(), worker());
    assert_eq!(worker().to_string().len(), "worker-".len() + 16);
}

#[tokio::test]
async fn health_is_bad_when_all_slots_hang() {
    let (clock, time) = manual();
    let queue = queue(&clock, 3).await;
    let never = |_: Work| std::future::pending::<Result<(), Fault>>();
    let mut config = config(2);
    config.pool.stall_max = SECOND * 30;
    let running = Running::begin(Worker::io(queue, config, clock.clone(), never).unwrap());
    until(|| running.handle.health().stalled.is_some()).await;
    pass(&time, || clock.now().elapsed_since_start() >= SECOND * 30).await;
    assert!(running.handle.health().live);
    time.advance(SECOND);
    assert!(!running.handle.health().live);
    running.handle.resize(3).unwrap();
    until(|| running.handle.report().taken == 3).await;
    assert!(running.handle.health().live);
    running.shutdown.stop();
    assert_eq!(running.end().await.unwrap().released, 3);
}

/// A queue in a file, of messages of which the first was with a process that is gone.
pub(crate) async fn after_crash(clock: &Clock, messages: u32) -> (tempfile::TempDir, Queue) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("work.queue");
    let open = async || {
        let config = aqueduct_queue::Config::builder().lease(SECOND * 3600).attempts_max(3).build().unwrap();
        Queues::open_with(&path, clock.clone()).unwrap().declare("work", config).await.unwrap()
    };
    let queue = open().await;
    for number in 0..messages {
        queue.publish(Message::new(number.to_string())).await.unwrap();
    }
    drop(queue.try_reserve().await.unwrap().unwrap());
    queue.store().close().await.unwrap();
    drop(queue);
    let queue = open().await;
    (folder, queue)
}

#[tokio::test]
async fn a_message_that_may_have_killed_its_process_runs_alone() {
    for (suspects, together, released) in [(Suspects::Alone, 1, 2), (Suspects::Together, 3, 0)] {
        let (clock, _time) = manual();
        let (_folder, queue) = after_crash(&clock, 3).await;
        let (gate, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (wait, count, runs) = (Arc::clone(&gate), Arc::clone(&most), Arc::new(AtomicUsize::new(0)));
        let worker = Worker::io(
            queue.clone(),
            WorkerConfig { suspects, ..config(4) },
            clock.clone(),
            move |work: Work| {
                let (wait, count, runs) = (Arc::clone(&wait), Arc::clone(&count), Arc::clone(&runs));
                async move {
                    let now = runs.fetch_add(1, Ordering::SeqCst) + 1;
                    wait.acquire().await.unwrap().forget();
                    if work.delivered.attempt == 2 {
                        // What ran beside it, at the beginning or at the end.
                        count.fetch_max(now.max(runs.load(Ordering::SeqCst)), Ordering::SeqCst);
                    }
                    runs.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, Fault>(())
                }
            },
        );
        let running = Running::begin(worker.unwrap());
        let report = || running.handle.report();
        until(|| (report().pool.running, report().released) == (together, released)).await;
        gate.add_permits(3);
        until(|| running.handle.report().acked == 3).await;
        assert_eq!(most.load(Ordering::SeqCst), together, "{suspects:?}");
        assert_eq!(running.drain().await.retries, 1);
    }
}

/// Once, each message on a later attempt that its worker had not seen fail was a suspect, and a queue whose workers came and
/// went ran one handler at a time.
#[tokio::test]
async fn messages_that_failed_in_other_workers_run_together() {
    let (clock, time) = manual();
    let queue = queue(&clock, 4).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(queue.try_reserve().await.unwrap().unwrap());
    }
    // The lease of the one that is left runs out.
    for delivery in held.drain(1..) {
        delivery.nack(Duration::ZERO, "in another worker").await.unwrap();
    }
    time.advance(SECOND * 4);
    let never = |_: Work| std::future::pending::<Result<(), Fault>>();
    let running = Running::begin(Worker::io(queue, config(4), clock, never).unwrap());
    until(|| running.handle.report().pool.running == 4).await;
    running.shutdown.stop();
    assert_eq!(running.end().await.unwrap().released, 4);
}

#[tokio::test]
async fn health_is_bad_when_a_suspect_hangs_and_holds_the_others_up() {
    let (clock, time) = manual();
    let (_folder, queue) = after_crash(&clock, 2).await;
    let hangs = |work: Work| async move {
        if work.delivered.attempt == 2 {
            std::future::pending::<()>().await;
        }
        Ok::<_, Fault>(())
    };
    let mut config = config(4);
    config.pool.stall_max = SECOND * 30;
    let running = Running::begin(Worker::io(queue, config, clock, hangs).unwrap());
    pass(&time, || !running.handle.health().live).await;
    assert!(running.handle.health().pool.live);
    running.shutdown.stop();
    assert_eq!(running.end().await.unwrap().unsettled, 0);
}

#[tokio::test]
async fn a_run_that_is_dropped_cancels_its_handlers_also_while_somebody_looks_at_it() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 1).await;
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let worker = Worker::io(queue, config(1), clock, move |_: Work| {
        let inside = Arc::clone(&inside);
        async move {
            std::future::pending::<()>().await;
            drop(inside);
            Ok::<_, Fault>(())
        }
    })
    .unwrap();
    let handle = worker.handle();
    let run = tokio::spawn(worker.run(Shutdown::new().1));
    until(|| Arc::strong_count(&held) == 3).await;
    run.abort();
    until(|| Arc::strong_count(&held) == 1).await;
    assert_eq!(handle.report().pool.cancelled, 1);
    assert!(!handle.health().live);
}

#[test]
fn everything_public_may_go_to_other_threads() {
    fn check<T: Send + Sync>() {}
    check::<Worker>();
    check::<WorkerHandle>();
    check::<aqueduct_processor::IoPool>();
    check::<aqueduct_processor::CpuPool>();
    check::<aqueduct_processor::Pool>();
    check::<aqueduct_processor::Ticket<u8, Fault>>();
    check::<aqueduct_processor::Cancel>();
    check::<aqueduct_processor::Mapped<u8, Fault>>();
}
