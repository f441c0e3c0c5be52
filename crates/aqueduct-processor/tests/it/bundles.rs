//! Handlers that get several messages at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aqueduct_core::{Clock, ErrorClass};
use aqueduct_processor::{Config, StartError, Work, Worker, WorkerConfig};
use aqueduct_queue::{Message, Priority, Queue, Settlement, State, Token};
use tokio::sync::Semaphore;

use crate::worker::{Running, after_crash, config, pass, queue};
use crate::{FINAL, Fault, PASSING, SECOND, manual, until};

fn bundles(slots: usize, bundle_max: usize) -> WorkerConfig {
    WorkerConfig { bundle_max, ..config(slots) }
}

fn number(work: &Work) -> u32 {
    std::str::from_utf8(&work.message().body).unwrap().parse().unwrap()
}

/// Notes the size of each bundle and holds it until it is let go.
struct Gated {
    sizes: Arc<Mutex<Vec<usize>>>,
    tokens: Arc<Mutex<Vec<Token>>>,
    gate: Arc<Semaphore>,
    running: Running,
}

fn gated(queue: &Queue, config: WorkerConfig, clock: Clock) -> Gated {
    let (sizes, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
    let (note, wait) = (Arc::clone(&sizes), Arc::clone(&gate));
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let leases = Arc::clone(&tokens);
    let worker = Worker::io_bundles(queue.clone(), config, clock, move |works: Vec<Work>| {
        note.lock().unwrap().push(works.len());
        leases.lock().unwrap().extend(works.iter().map(Work::token));
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok(works.iter().map(|_| Ok::<_, Fault>(())).collect())
        }
    });
    Gated { sizes, tokens, gate, running: Running::begin(worker.unwrap()) }
}

#[tokio::test]
async fn a_bundle_is_what_there_is_up_to_its_most_and_no_more_are_taken_than_slots_hold() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 75).await;
    let Gated { sizes, gate, running, .. } = gated(&queue, bundles(2, 30), clock);
    until(|| running.handle.report().pool.running == 2).await;
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.leased, depth.ready), (60, 15));
    gate.add_permits(1);
    until(|| running.handle.report().acked == 30).await;
    until(|| sizes.lock().unwrap().len() == 3).await;
    gate.add_permits(2);
    until(|| running.handle.report().acked == 75).await;
    // One that comes alone does not wait for others.
    queue.publish(Message::new("one")).await.unwrap();
    gate.add_permits(1);
    until(|| running.handle.report().acked == 76).await;
    assert_eq!(*sizes.lock().unwrap(), [30, 30, 15, 1]);
    let report = running.drain().await;
    assert!(report.settle_calls <= 4, "each bundle in one write: {}", report.settle_calls);
}

#[tokio::test]
async fn each_message_of_a_bundle_has_an_answer_of_its_own() {
    let (clock, time) = manual();
    let queue = queue(&clock, 9).await;
    let worker = Worker::cpu_bundles(queue.clone(), bundles(1, 100), clock, |works: &[Work]| {
        let answer = |work: &Work| match (number(work) % 3, work.delivered.attempt) {
            (1, 1) => Err(PASSING),
            (2, _) => Err(FINAL),
            _ => Ok(()),
        };
        Ok::<_, Fault>(works.iter().map(answer).collect())
    });
    let running = Running::begin(worker.unwrap());
    pass(&time, || running.handle.report().acked == 6).await;
    let report = running.drain().await;
    assert_eq!((report.taken, report.nacked, report.dead_lettered, report.retries), (12, 3, 3, 3));
    let dead = queue.peek(State::Dead, None, 10).await.unwrap();
    assert!(dead.iter().all(|dead| &*dead.dead.as_ref().unwrap().reason == "a permanent fault"));
}

#[tokio::test]
async fn a_bundle_that_fails_as_a_whole_fails_for_each_of_its_messages() {
    for (how, reason) in [
        (0, "a transient fault"),
        (1, "the handler panicked: as it was told"),
        (2, "the handler gave 1 answers for 4 messages"),
        (3, "the handler took longer than 1s"),
    ] {
        let (clock, time) = manual();
        let queue = queue(&clock, 4).await;
        let config = WorkerConfig { message_time_max: Some(SECOND), ..bundles(1, 10) };
        let worker = Worker::io_bundles(queue.clone(), config, clock, move |_: Vec<Work>| async move {
            match how {
                0 => Err(PASSING),
                1 => panic!("as it was told"),
                2 => Ok(vec![Ok(())]),
                _ => std::future::pending().await,
            }
        });
        let running = Running::begin(worker.unwrap());
        // All of the attempts that a message has.
        pass(&time, || running.handle.report().nacked == 12).await;
        let report = running.drain().await;
        assert_eq!((report.taken, report.acked, report.retries), (12, 0, 8));
        let dead = queue.peek(State::Dead, None, 10).await.unwrap();
        assert_eq!(dead.len(), 4);
        for dead in dead {
            assert_eq!(&*dead.dead.unwrap().reason, reason);
        }
    }
}

#[tokio::test]
async fn a_drain_gives_a_bundle_that_is_not_done_back_without_an_attempt() {
    let (clock, time) = manual();
    let queue = queue(&clock, 5).await;
    let Gated { running, .. } = gated(&queue, bundles(1, 3), clock);
    until(|| running.handle.report().taken == 3).await;
    running.shutdown.drain();
    pass(&time, || running.is_over()).await;
    let report = running.end().await.unwrap();
    assert_eq!((report.taken, report.released, report.unsettled), (3, 3, 0));
    assert_eq!(queue.depth().await.unwrap().ready, 5);
    assert_eq!(queue.try_reserve().await.unwrap().unwrap().attempt, 1);
}

#[tokio::test]
async fn a_suspect_is_a_bundle_by_itself() {
    let (clock, _time) = manual();
    let (_folder, queue) = after_crash(&clock, 5).await;
    let Gated { sizes, gate, running, .. } = gated(&queue, bundles(2, 10), clock);
    let report = || running.handle.report();
    until(|| (report().pool.running, report().released) == (1, 4)).await;
    gate.add_permits(2);
    until(|| running.handle.report().acked == 5).await;
    assert_eq!(*sizes.lock().unwrap(), [1, 4]);
    running.drain().await;
}

#[tokio::test]
async fn a_suspect_ends_the_bundle_before_it() {
    let (clock, _time) = manual();
    let (_folder, queue) = after_crash(&clock, 1).await;
    for urgent in ["7", "8", "9"] {
        queue.publish(Message::new(urgent).with_priority(Priority::High)).await.unwrap();
    }
    let Gated { sizes, gate, running, .. } = gated(&queue, bundles(2, 10), clock);
    gate.add_permits(2);
    until(|| running.handle.report().acked == 4).await;
    assert_eq!(*sizes.lock().unwrap(), [3, 1]);
    running.drain().await;
}

#[tokio::test]
async fn a_message_that_is_somebody_elses_takes_its_bundle_not_with_it() {
    let (clock, time) = manual();
    let queue = queue(&clock, 3).await;
    let Gated { tokens, gate, running, .. } = gated(&queue, bundles(1, 10), clock);
    until(|| running.handle.report().pool.running == 1).await;
    until(|| tokens.lock().unwrap().len() == 3).await;
    // Somebody else settles it; the worker learns that when it extends the lease.
    let lost = tokens.lock().unwrap()[1];
    assert_eq!(queue.settle(vec![(lost, Settlement::Ack)]).await, [Ok(())]);
    time.advance(SECOND);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    pass(&time, || running.handle.report().acked == 2).await;
    let report = running.drain().await;
    assert_eq!((report.taken, report.stale, report.released), (3, 1, 0));
}

#[tokio::test]
async fn every_message_is_done_once_in_bundles_over_many_sizes() {
    for (slots, bundle_max) in [(1, 1), (1, 1000), (3, 7), (8, 2)] {
        let (clock, _time) = manual();
        let queue = queue(&clock, 500).await;
        let done: Arc<Vec<AtomicUsize>> = Arc::new((0..500).map(|_| AtomicUsize::new(0)).collect());
        let count = Arc::clone(&done);
        let config = WorkerConfig { bundle_max, ..config(slots) };
        let worker = Worker::cpu_bundles(queue, config, clock, move |works: &[Work]| {
            assert!(works.len() <= bundle_max);
            for work in works {
                count[number(work) as usize].fetch_add(1, Ordering::SeqCst);
            }
            Ok(works.iter().map(|_| Ok::<_, Fault>(())).collect())
        });
        let running = Running::begin(worker.unwrap());
        until(|| running.handle.report().acked == 500).await;
        running.drain().await;
        assert!(done.iter().all(|times| times.load(Ordering::SeqCst) == 1));
    }
}

#[tokio::test]
async fn a_bundle_of_none_or_of_too_many_is_refused() {
    let (clock, _time) = manual();
    let queue = queue(&clock, 0).await;
    for bundle_max in [0, 1001] {
        let config = WorkerConfig { pool: Config::default(), ..bundles(1, bundle_max) };
        let none = |_: &[Work]| Err::<Vec<Result<(), Fault>>, _>(Fault(ErrorClass::Internal));
        let error = Worker::cpu_bundles(queue.clone(), config, clock.clone(), none).unwrap_err();
        assert!(matches!(error, StartError::Config(error) if error.field == "bundle_max"));
    }
}
