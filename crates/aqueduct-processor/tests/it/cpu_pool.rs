//! A pool for work that computes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use aqueduct_core::Clock;
use aqueduct_processor::{Config, CpuPool, Job, JobError, Pool, Ticket};

use crate::{Fault, PASSING, SECOND, manual, sized, until};

/// Work on a thread that returns when the test says so, whatever it is asked to do.
pub(crate) fn stuck(pool: &CpuPool, job: Job) -> (Ticket<(), Fault>, mpsc::SyncSender<()>) {
    let (go, wait) = mpsc::sync_channel::<()>(1);
    let ticket = pool.try_submit(job, move |_| {
        wait.recv().ok();
        Ok(())
    });
    (ticket.unwrap(), go)
}

#[tokio::test]
async fn jobs_run_on_threads_of_the_pool_that_have_its_name() {
    let pool = Pool::cpu(Config { name: "thumbs".into(), ..sized(2) }, Clock::system()).unwrap();
    // Both threads must be in it at once.
    let both = Arc::new(Barrier::new(2));
    let tickets: Vec<_> = (0..2)
        .map(|_| {
            let both = Arc::clone(&both);
            let work = move |_: &_| {
                both.wait();
                Ok::<_, Fault>(std::thread::current().name().map(str::to_owned))
            };
            pool.try_submit(Job::default(), work).unwrap()
        })
        .collect();
    for ticket in tickets {
        assert_eq!(ticket.await.unwrap().as_deref(), Some("thumbs-worker"));
    }
}

#[tokio::test]
async fn a_job_is_tried_again_and_takes_no_thread_in_between() {
    let (clock, time) = manual();
    let pool = Pool::cpu(sized(1), clock).unwrap();
    let again =
        pool.try_submit(
            Job::default(),
            |context| {
                if context.attempt < 3 { Err(PASSING) } else { Ok(context.attempt) }
            },
        );
    let again = again.unwrap();
    for retry in 1..=2 {
        until(|| (pool.figures().delayed, pool.figures().retries) == (1, retry)).await;
        assert_eq!(pool.try_submit(Job::default(), |_| Ok::<_, Fault>(1)).unwrap().await, Ok(1));
        time.advance(SECOND);
    }
    assert_eq!(again.await, Ok(3));
}

#[tokio::test]
async fn late_work_on_a_thread_is_asked_to_end() {
    let (clock, time) = manual();
    let pool = Pool::cpu(sized(1), clock).unwrap();
    let ticket = pool
        .try_submit(Job::default().with_within(SECOND), |context| {
            while !context.cancel.is_cancelled() {
                std::thread::yield_now();
            }
            Err::<(), _>(PASSING)
        })
        .unwrap();
    until(|| pool.figures().running == 1).await;
    time.advance(SECOND);
    assert_eq!(ticket.await, Err(JobError::Late { attempts: 1, abandoned: false }));
    assert_eq!(pool.figures().given_up, 0);
}

#[tokio::test]
async fn work_that_does_not_return_loses_its_thread_and_another_takes_its_place() {
    let (clock, time) = manual();
    let config = Config { cancel_grace: SECOND, abandoned_max: 1, jobs_max: 1, ..sized(1) };
    let pool = Pool::cpu(config, clock).unwrap();
    let (first, free_first) = stuck(&pool, Job::default().with_within(SECOND));
    until(|| pool.figures().running == 1).await;
    time.advance(SECOND);
    // It is asked to end, and does not.
    until(|| time.waiting() == 1).await;
    assert_eq!(pool.figures().given_up, 0);
    time.advance(SECOND);
    assert_eq!(first.await, Err(JobError::Late { attempts: 1, abandoned: true }));
    assert_eq!(pool.try_submit(Job::default(), |_| Ok::<_, Fault>(1)).unwrap().await, Ok(1));
    assert_eq!((pool.figures().abandoned, pool.health().workers), (1, 1));

    // Only so many are made up for; then the pool gets smaller and says so.
    let (second, free_second) = stuck(&pool, Job::default().with_within(SECOND));
    until(|| pool.figures().running == 1).await;
    time.advance(SECOND);
    until(|| time.waiting() == 1).await;
    time.advance(SECOND);
    assert_eq!(second.await, Err(JobError::Late { attempts: 1, abandoned: true }));
    assert_eq!((pool.figures().abandoned, pool.health().workers, pool.health().live), (2, 0, false));
    let waits = pool.try_submit(Job::default(), |_| Ok::<_, Fault>(2)).unwrap();
    assert_eq!(pool.figures().waiting, 1);

    // What comes back after all makes room again, and has no result.
    free_second.send(()).unwrap();
    assert_eq!(waits.await, Ok(2));
    free_first.send(()).unwrap();
    until(|| pool.figures().abandoned == 0).await;
    assert_eq!((pool.health().workers, pool.figures().ended()), (1, 4));
}

#[tokio::test]
async fn a_panic_is_the_failure_of_its_job_and_the_thread_goes_on() {
    let pool = Pool::cpu(sized(1), Clock::system()).unwrap();
    let name = |_: &_| Ok::<_, Fault>(std::thread::current().id());
    let before = pool.try_submit(Job::default(), name).unwrap().await.unwrap();
    let panics: Ticket<(), Fault> = pool.try_submit(Job::default(), |_| panic!("no")).unwrap();
    assert_eq!(panics.await, Err(JobError::Panicked { message: "no".to_owned(), attempts: 1 }));
    assert_eq!(pool.try_submit(Job::default(), name).unwrap().await, Ok(before));
    assert_eq!(pool.figures().replaced, 0);
}

#[tokio::test]
async fn a_thread_that_dies_is_replaced_and_counted_and_its_job_ends() {
    /// What is thrown panics once more when it is let go, which no thread survives.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("once more");
        }
    }
    let pool = Pool::cpu(sized(1), Clock::system()).unwrap();
    // By the end of this one the pool's keeper has had its first look, and has no reason for another.
    assert_eq!(pool.try_submit(Job::default(), |_| Ok::<_, Fault>(0)).unwrap().await, Ok(0));
    until(|| pool.figures().running == 0).await;
    let (go, wait) = mpsc::sync_channel(1);
    let kills: Ticket<(), Fault> = pool
        .try_submit(Job::default(), move |_| {
            wait.recv().unwrap();
            std::panic::panic_any(Bomb)
        })
        .unwrap();
    // It waits before the thread dies: nothing else tells the pool to look at its threads.
    let waits = pool.try_submit(Job::default(), |_| Ok::<_, Fault>(1)).unwrap();
    go.send(()).unwrap();
    assert!(matches!(kills.await, Err(JobError::Panicked { attempts: 1, .. })));
    assert_eq!(waits.await, Ok(1));
    assert_eq!((pool.figures().replaced, pool.health().workers), (1, 1));
}

#[tokio::test]
async fn a_closure_whose_drop_panics_takes_nobody_with_it() {
    struct Spiteful;
    impl Drop for Spiteful {
        fn drop(&mut self) {
            panic!("on the way out");
        }
    }
    let pool = Pool::cpu(sized(1), Clock::system()).unwrap();
    let spiteful = Spiteful;
    let ticket = pool.try_submit(Job::default(), move |_| {
        let _held = &spiteful;
        Ok::<_, Fault>(1)
    });
    assert_eq!(ticket.unwrap().await, Ok(1));
    assert_eq!(pool.try_submit(Job::default(), |_| Ok::<_, Fault>(2)).unwrap().await, Ok(2));
}

#[tokio::test]
async fn threads_come_and_go_with_the_size() {
    let pool = Pool::cpu(sized(1), Clock::system()).unwrap();
    pool.resize(3).unwrap();
    let (all, done) = (Arc::new(Barrier::new(3)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..3 {
        let (all, done) = (Arc::clone(&all), Arc::clone(&done));
        let _detached = pool.try_submit(Job::default(), move |_| {
            all.wait();
            done.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Fault>(())
        });
    }
    until(|| done.load(Ordering::SeqCst) == 3 && pool.figures().done == 3).await;
    assert_eq!(pool.health().workers, 3);
    pool.resize(1).unwrap();
    let (stuck_one, go) = stuck(&pool, Job::default());
    let (stuck_two, go_two) = stuck(&pool, Job::default());
    until(|| pool.figures().running == 1).await;
    assert_eq!(pool.figures().waiting, 1);
    go.send(()).unwrap();
    go_two.send(()).unwrap();
    stuck_one.await.unwrap();
    stuck_two.await.unwrap();
}

#[tokio::test]
async fn a_drain_asks_what_runs_to_end_and_gives_up_what_does_not() {
    let (clock, time) = manual();
    let pool = Pool::cpu(Config { cancel_grace: SECOND, ..sized(2) }, clock).unwrap();
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let polite = pool
        .try_submit(Job::default(), move |context| {
            while !context.cancel.is_cancelled() {
                std::thread::yield_now();
            }
            seen.store(true, Ordering::SeqCst);
            Err::<(), _>(PASSING)
        })
        .unwrap();
    let (rude, go) = stuck(&pool, Job::default());
    until(|| pool.figures().running == 2).await;
    let drained = pool.clone();
    let drain = tokio::spawn(async move { drained.drain(SECOND).await });
    until(|| time.waiting() == 1).await;
    time.advance(SECOND);
    assert_eq!(polite.await, Err(JobError::Cancelled { attempts: 1, abandoned: false }));
    until(|| time.waiting() == 1).await;
    time.advance(SECOND);
    assert_eq!(rude.await, Err(JobError::Cancelled { attempts: 1, abandoned: true }));
    let drained = drain.await.unwrap();
    assert_eq!((drained.finished, drained.cancelled, drained.abandoned), (0, 2, 1));
    assert!(asked.load(Ordering::SeqCst));
    go.send(()).unwrap();
    until(|| pool.figures().abandoned == 0).await;
}
