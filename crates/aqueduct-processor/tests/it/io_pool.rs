//! A pool for work that waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, Shutdown};
use aqueduct_processor::{Config, IoPool, Job, JobError, Pool, StartError, SubmitError};
use aqueduct_queue::Priority;
use aqueduct_retry::{Ended, Limit};
use tokio::sync::Semaphore;

use crate::{FINAL, Fault, PASSING, SECOND, manual, sized, until};

fn pool(config: Config) -> IoPool {
    Pool::io(config, Clock::system()).unwrap()
}

/// A pool of one, and the gate behind which its one worker stands until it is opened. Then it does `then` jobs.
async fn blocked(config: Config) -> (IoPool, Arc<Semaphore>) {
    let pool = Pool::io(Config { size: 1, ..config }, Clock::system()).unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let _detached = pool
        .try_submit(Job::default(), move |_| {
            let wait = Arc::clone(&wait);
            async move {
                wait.acquire().await.unwrap().forget();
                Ok::<_, Fault>(())
            }
        })
        .unwrap();
    until(|| pool.figures().running == 1).await;
    (pool, gate)
}

/// Submits a job that notes its number.
fn note(pool: &IoPool, job: Job, number: u32, notes: &Arc<Mutex<Vec<u32>>>) {
    let notes = Arc::clone(notes);
    let _detached = pool
        .try_submit(job, move |_| {
            notes.lock().unwrap().push(number);
            async { Ok::<_, Fault>(()) }
        })
        .unwrap();
}

#[tokio::test]
async fn runs_no_more_at_once_than_its_size_and_as_many() {
    let pool = pool(sized(3));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let mut tickets = Vec::new();
    for _ in 0..20 {
        let (now, most, gate) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&gate));
        let work = move |_| {
            let (now, most, gate) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&gate));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Fault>(())
            }
        };
        tickets.push(pool.submit(Job::default(), work).await.unwrap());
    }
    until(|| most.load(Ordering::SeqCst) == 3).await;
    assert_eq!((pool.figures().running, pool.figures().waiting), (3, 17));
    gate.add_permits(20);
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(pool.figures().done, 20);
}

#[tokio::test]
async fn refuses_when_full_or_waits_for_room() {
    let (pool, gate) = blocked(Config { jobs_max: 2, ..sized(1) }).await;
    let quick = |_| async { Ok::<_, Fault>(7) };
    let waits = pool.try_submit(Job::default(), quick).unwrap();
    let refused = pool.try_submit(Job::default(), quick).unwrap_err();
    assert_eq!(refused, SubmitError::Full { jobs_max: 2 });
    assert!(refused.is_refusal());
    let within = pool.submit_within(Job::default(), Duration::ZERO, quick).await.unwrap_err();
    assert_eq!(within, SubmitError::Full { jobs_max: 2 });
    let later = pool.clone();
    let submitted = tokio::spawn(async move { later.submit(Job::default(), quick).await.unwrap().await });
    gate.add_permits(1);
    assert_eq!(submitted.await.unwrap(), Ok(7));
    assert_eq!(waits.await, Ok(7));
}

#[tokio::test]
async fn a_failure_in_passing_is_tried_again_after_its_delay_and_any_other_is_not() {
    let (clock, time) = manual();
    let pool = Pool::io(sized(2), clock).unwrap();
    let ticket = pool
        .try_submit(Job::default(), |context| async move {
            if context.attempt < 3 { Err(PASSING) } else { Ok(context.attempt) }
        })
        .unwrap();
    for retry in 1..=2 {
        until(|| (pool.figures().delayed, pool.figures().retries) == (1, retry)).await;
        // Not before its time.
        time.advance(SECOND / 2);
        tokio::task::yield_now().await;
        assert_eq!((pool.figures().delayed, pool.figures().retries), (1, retry));
        time.advance(SECOND / 2);
    }
    assert_eq!(ticket.await, Ok(3));

    let failed = pool.try_submit(Job::default(), |_| async { Err::<(), _>(FINAL) }).unwrap().await;
    assert_eq!(failed, Err(JobError::Failed { error: FINAL, attempts: 1, ended: Ended::Final }));

    let ticket = pool.try_submit(Job::default(), |_| async { Err::<(), _>(PASSING) }).unwrap();
    for retry in 3..=4 {
        until(|| (pool.figures().delayed, pool.figures().retries) == (1, retry)).await;
        time.advance(SECOND);
    }
    let ended = Ended::Limit(Limit::Retries);
    assert_eq!(ticket.await, Err(JobError::Failed { error: PASSING, attempts: 3, ended }));
}

#[tokio::test]
async fn a_panic_is_the_failure_of_its_job_and_of_nothing_else() {
    let pool = pool(sized(1));
    let panics = pool.try_submit(Job::default(), |_| async { panic!("out of {}", "paper") }).unwrap();
    let panics = panics as aqueduct_processor::Ticket<(), Fault>;
    let message = "out of paper".to_owned();
    assert_eq!(panics.await, Err(JobError::Panicked { message, attempts: 1 }));
    let early = pool.try_submit(Job::default(), |_| -> std::future::Ready<Result<(), Fault>> {
        panic!("before the future")
    });
    assert!(matches!(early.unwrap().await, Err(JobError::Panicked { .. })));
    assert_eq!(pool.try_submit(Job::default(), |_| async { Ok::<_, Fault>(1) }).unwrap().await, Ok(1));
    assert_eq!(pool.figures().panicked, 2);
}

#[tokio::test]
async fn a_future_is_dropped_at_its_deadline_and_one_that_waits_never_runs() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (clock, time) = manual();
    let pool = Pool::io(sized(1), clock).unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let job = Job::default().with_within(SECOND);
    let runs = pool
        .try_submit(job.clone(), move |_| {
            let guard = Dropped(Arc::clone(&count));
            async move {
                std::future::pending::<()>().await;
                drop(guard);
                Ok::<_, Fault>(())
            }
        })
        .unwrap();
    let waits =
        pool.try_submit(job, |_| -> std::future::Ready<Result<(), Fault>> { unreachable!() }).unwrap();
    until(|| pool.figures().running == 1).await;
    time.advance(SECOND);
    assert_eq!(waits.await, Err(JobError::Late { attempts: 0, abandoned: false }));
    let late = runs.await.unwrap_err();
    assert_eq!(late, JobError::Late { attempts: 1, abandoned: false });
    assert_eq!(late.class(), ErrorClass::Transient);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_retry_that_would_come_after_the_deadline_is_not_waited_for() {
    let (clock, _time) = manual();
    let pool = Pool::io(sized(1), clock).unwrap();
    let job = Job::default().with_within(SECOND / 2);
    let failed = pool.try_submit(job, |_| async { Err::<(), _>(PASSING) }).unwrap().await;
    let ended = Ended::Limit(Limit::Deadline);
    assert_eq!(failed, Err(JobError::Failed { error: PASSING, attempts: 1, ended }));
}

#[tokio::test]
async fn the_most_urgent_goes_first_and_equals_go_in_order() {
    let (pool, gate) = blocked(sized(1)).await;
    let notes = Arc::new(Mutex::new(Vec::new()));
    for (number, priority) in
        [Priority::Low, Priority::Normal, Priority::Critical, Priority::Normal, Priority::High]
            .into_iter()
            .enumerate()
    {
        note(&pool, Job::default().with_priority(priority), u32::try_from(number).unwrap(), &notes);
    }
    gate.add_permits(1);
    until(|| pool.figures().done == 6).await;
    assert_eq!(*notes.lock().unwrap(), [2, 4, 1, 3, 0]);
}

#[tokio::test]
async fn what_has_waited_long_goes_before_what_is_more_urgent_and_came_later() {
    let (clock, time) = manual();
    let pool = Pool::io(Config { ageing: Some(SECOND), ..sized(1) }, clock).unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let _detached = pool.try_submit(Job::default(), move |_| {
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok::<_, Fault>(())
        }
    });
    let notes = Arc::new(Mutex::new(Vec::new()));
    note(&pool, Job::default().with_priority(Priority::Low), 0, &notes);
    time.advance(SECOND * 4);
    note(&pool, Job::default().with_priority(Priority::Critical), 1, &notes);
    note(&pool, Job::default().with_priority(Priority::Low), 2, &notes);
    gate.add_permits(1);
    until(|| pool.figures().done == 4).await;
    assert_eq!(*notes.lock().unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn jobs_of_one_key_run_one_after_the_other_and_hold_up_nobody_else() {
    let pool = pool(sized(4));
    let gate = Arc::new(Semaphore::new(0));
    let submit = |key: &str| {
        let gate = Arc::clone(&gate);
        let _detached = pool
            .try_submit(Job::default().with_key(key), move |_| {
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    Ok::<_, Fault>(())
                }
            })
            .unwrap();
    };
    for key in ["a", "a", "a", "b", "b"] {
        submit(key);
    }
    until(|| pool.figures().running == 2).await;
    assert_eq!(pool.figures().waiting, 3);
    gate.add_permits(5);
    until(|| pool.figures().done == 5).await;
}

#[tokio::test]
async fn a_parked_job_that_is_cancelled_does_not_hold_up_its_key() {
    let (pool, gate) = blocked(Config { per_key_max: 1, ..sized(1) }).await;
    let quick = |_| async { Ok::<_, Fault>(()) };
    let job = || Job::default().with_key("a");
    let tickets: Vec<_> = (0..3).map(|_| pool.try_submit(job(), quick).unwrap()).collect();
    tickets[0].cancel();
    tickets[1].cancel();
    gate.add_permits(1);
    let mut ends = Vec::new();
    for ticket in tickets {
        ends.push(ticket.await.is_ok());
    }
    assert_eq!(ends, [false, false, true]);
}

#[tokio::test]
async fn a_job_that_is_cancelled_when_its_key_has_let_it_go_lets_the_next_one_of_the_key_go() {
    let pool = pool(sized(2));
    let submit = |job: Job| {
        let gate = Arc::new(Semaphore::new(0));
        let wait = Arc::clone(&gate);
        let ticket = pool.try_submit(job, move |_| {
            let wait = Arc::clone(&wait);
            async move {
                wait.acquire().await.unwrap().forget();
                Ok::<_, Fault>(())
            }
        });
        (ticket.unwrap(), gate)
    };
    let keyed = || Job::default().with_key("a");
    // The first one runs, and the line finds that the next two may not.
    let (first, first_gate) = submit(keyed());
    let (second, _second_gate) = submit(keyed());
    let (third, third_gate) = submit(keyed());
    let (beside, beside_gate) = submit(Job::default());
    until(|| pool.figures().running == 2).await;
    // One that goes before them takes the place of the first.
    let (urgent, urgent_gate) = submit(Job::default().with_priority(Priority::Critical));
    first_gate.add_permits(1);
    first.await.unwrap();
    assert_eq!((pool.figures().running, pool.figures().waiting), (2, 2));
    second.cancel();
    for gate in [beside_gate, urgent_gate, third_gate] {
        gate.add_permits(1);
    }
    for ticket in [beside, urgent, third] {
        ticket.await.unwrap();
    }
    second.await.unwrap_err();
}

#[tokio::test]
async fn the_bytes_of_jobs_that_run_are_bounded_and_a_large_one_is_not_passed() {
    let pool = pool(Config { bytes_max: 100, ..sized(8) });
    let gate = Arc::new(Semaphore::new(0));
    let submit = |bytes: u64| {
        let gate = Arc::clone(&gate);
        pool.try_submit(Job::default().with_bytes(bytes), move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, Fault>(())
            }
        })
    };
    assert_eq!(submit(101).unwrap_err(), SubmitError::TooLarge { bytes: 101, bytes_max: 100 });
    for bytes in [60, 90, 10] {
        let _detached = submit(bytes).unwrap();
    }
    until(|| pool.figures().running == 1).await;
    assert_eq!((pool.figures().bytes, pool.figures().waiting), (60, 2));
    gate.add_permits(1);
    until(|| pool.figures().bytes == 100).await;
    gate.add_permits(2);
    until(|| pool.figures().done == 3).await;
    assert_eq!((pool.figures().bytes, pool.figures().bytes_high), (0, 100));
}

#[tokio::test]
async fn another_size_counts_at_once_and_what_runs_is_finished() {
    let pool = pool(sized(1));
    let gate = Arc::new(Semaphore::new(0));
    for _ in 0..10 {
        let gate = Arc::clone(&gate);
        let _detached = pool.try_submit(Job::default(), move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, Fault>(())
            }
        });
    }
    until(|| pool.figures().running == 1).await;
    pool.resize(4).unwrap();
    until(|| pool.figures().running == 4).await;
    pool.resize(2).unwrap();
    gate.add_permits(2);
    until(|| pool.figures().done == 2).await;
    assert_eq!(pool.figures().running, 2);
    gate.add_permits(8);
    until(|| pool.figures().done == 10).await;
    assert_eq!(pool.resize(0).unwrap_err().field, "size");
}

#[tokio::test]
async fn a_drain_takes_nothing_new_finishes_in_its_grace_and_tells_what_is_left() {
    let (clock, time) = manual();
    let pool = Pool::io(sized(1), clock).unwrap();
    let gate = Arc::new(Semaphore::new(1));
    let tickets: Vec<_> = (0..3)
        .map(|_| {
            let gate = Arc::clone(&gate);
            let work = move |_| {
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    Ok::<_, Fault>(())
                }
            };
            pool.try_submit(Job::default(), work).unwrap()
        })
        .collect();
    let (ask, signal) = Shutdown::new();
    let drained = pool.clone();
    let drain = tokio::spawn(async move { drained.drain_on(signal, SECOND * 10).await });
    ask.drain();
    until(|| pool.figures().done == 1 && time.waiting() == 1).await;
    let refused = pool.try_submit(Job::default(), |_| async { Ok::<_, Fault>(()) }).unwrap_err();
    assert_eq!(refused, SubmitError::Closed);
    time.advance(SECOND * 10);
    let drained = drain.await.unwrap();
    assert_eq!((drained.cancelled, drained.abandoned), (2, 0));
    let mut ends = Vec::new();
    for ticket in tickets {
        ends.push(ticket.await.map_err(|error| error.attempts()));
    }
    assert_eq!(ends, [Ok(()), Err(1), Err(0)]);
}

#[tokio::test]
async fn the_last_handle_cancels_what_is_left() {
    let (pool, _gate) = blocked(sized(1)).await;
    let waits = pool.try_submit(Job::default(), |_| async { Ok::<_, Fault>(()) }).unwrap();
    drop(pool);
    assert_eq!(waits.await, Err(JobError::Cancelled { attempts: 0, abandoned: false }));
}

#[test]
fn a_runtime_that_ends_ends_its_jobs() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (pool, tickets) = runtime.block_on(async {
        let pool = pool(sized(2));
        let never = |_| std::future::pending::<Result<(), Fault>>();
        let tickets: Vec<_> = (0..1000).map(|_| pool.try_submit(Job::default(), never).unwrap()).collect();
        until(|| pool.figures().running == 2).await;
        (pool, tickets)
    });
    drop(runtime);
    let after = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for ticket in tickets {
        assert!(matches!(after.block_on(ticket), Err(JobError::Cancelled { .. })));
    }
    assert!(!pool.health().live);
    let late = pool.try_submit(Job::default(), |_| async { Ok::<_, Fault>(()) });
    assert_eq!(late.unwrap_err(), SubmitError::Closed);
}

#[tokio::test]
async fn health_is_bad_when_work_waits_and_nothing_is_taken() {
    let (clock, time) = manual();
    let pool = Pool::io(Config { stall_max: SECOND * 5, ..sized(1) }, clock).unwrap();
    let gate = Arc::new(Semaphore::new(0));
    for _ in 0..2 {
        let gate = Arc::clone(&gate);
        let _detached = pool.try_submit(Job::default(), move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, Fault>(())
            }
        });
    }
    time.advance(SECOND * 5);
    assert!(pool.health().live);
    time.advance(SECOND);
    assert_eq!((pool.health().live, pool.health().stalled), (false, SECOND * 6));
    gate.add_permits(1);
    until(|| pool.figures().done == 1).await;
    assert!(pool.health().live);
    // One that runs long while nobody waits stalls nothing.
    time.advance(SECOND * 60);
    assert!(pool.health().live);
    gate.add_permits(1);
    until(|| pool.figures().done == 2).await;
}

#[tokio::test]
async fn a_setting_that_cannot_be_is_named() {
    for (config, field) in [
        (Config { size: 0, ..Config::default() }, "size"),
        (Config { size: 11, jobs_max: 10, ..Config::default() }, "size"),
        (Config { jobs_max: 0, ..Config::default() }, "jobs_max"),
        (Config { per_key_max: 0, ..Config::default() }, "per_key_max"),
        (Config { bytes_max: 0, ..Config::default() }, "bytes_max"),
        (Config { ageing: Some(Duration::ZERO), ..Config::default() }, "ageing"),
        (Config { cancel_grace: SECOND * 3601, ..Config::default() }, "cancel_grace"),
        (Config { abandoned_max: 1025, ..Config::default() }, "abandoned_max"),
        (Config { stall_max: Duration::ZERO, ..Config::default() }, "stall_max"),
        (Config { name: "".into(), ..Config::default() }, "bytes of the name"),
    ] {
        let Err(StartError::Config(error)) = Pool::io(config, Clock::system()) else { panic!("{field}") };
        assert_eq!(error.field, field);
    }
}

#[test]
fn a_pool_outside_of_a_runtime_is_refused() {
    assert!(matches!(Pool::io(sized(1), Clock::system()), Err(StartError::NoRuntime)));
}

#[tokio::test]
async fn a_job_that_waits_for_bytes_and_is_cancelled_holds_nobody_up_any_more() {
    let pool = Pool::io(Config { bytes_max: 100, ..sized(4) }, Clock::system()).unwrap();
    let never = |_: _| std::future::pending::<Result<(), Fault>>();
    let _runs = pool.try_submit(Job::default().with_bytes(60), never).unwrap();
    let large = pool.try_submit(Job::default().with_bytes(90), never).unwrap();
    let small = pool.try_submit(Job::default().with_bytes(10), |_| async { Ok::<_, Fault>(1) }).unwrap();
    // The keeper has had its first look, and has no reason for another.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!((pool.figures().running, pool.figures().waiting), (1, 2));
    large.cancel();
    assert_eq!(small.await, Ok(1));
}
