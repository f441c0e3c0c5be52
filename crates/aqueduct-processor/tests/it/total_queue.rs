//! The checker of total queues (Jepsen's `total-queue`): what was published, against what came of it, after workers that
//! come and go and handlers that misbehave in every way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aqueduct_core::{ErrorClass, ManualClock};
use aqueduct_processor::{Work, Worker, WorkerConfig};
use aqueduct_queue::{Message, Queue, Queues, State};

use crate::worker::{Running, config, pass};
use crate::{Fault, SECOND, manual};

/// What became of the messages that were published.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    /// Neither done nor set aside.
    lost: Vec<u32>,
    /// Done more than once.
    duplicated: Vec<u32>,
    /// Done and never published.
    unexpected: Vec<u32>,
    /// Done on a later attempt.
    recovered: u32,
}

/// How often each message succeeded, and on which attempt first.
type Done = Arc<Mutex<BTreeMap<u32, (u32, u32)>>>;

const MESSAGES: u32 = 400;

/// A handler, which has so many seconds, by the number of its message: most succeed, others fail in each of the ways that there are.
fn worker(queue: &Queue, size: usize, seconds: u32, clock: &aqueduct_core::Clock, done: &Done) -> Worker {
    let done = Arc::clone(done);
    let config = WorkerConfig { message_time_max: Some(SECOND * seconds), ..config(size) };
    Worker::io(queue.clone(), config, clock.clone(), move |work: Work| {
        let number: u32 = std::str::from_utf8(&work.message().body).unwrap().parse().unwrap();
        let (attempt, done) = (work.delivered.attempt, Arc::clone(&done));
        async move {
            tokio::task::yield_now().await;
            match (number % 20, attempt) {
                (1, _) => return Err(Fault(ErrorClass::Permanent)),
                (2, _) => panic!("always"),
                (3, 1) => panic!("once"),
                (4, 1) => return Err(Fault(ErrorClass::Transient)),
                (5, 1) => return Err(Fault(ErrorClass::Overload)),
                (6, 1) => return Err(Fault(ErrorClass::Cancelled)),
                // It hangs until its time is over.
                (7, 1) => std::future::pending::<()>().await,
                _ => {}
            }
            done.lock().unwrap().entry(number).or_insert((0, attempt)).0 += 1;
            Ok(())
        }
    })
    .unwrap()
}

/// Runs workers over the queue, each for a while, until it is empty; then accounts.
async fn run(queue: &Queue, clock: &aqueduct_core::Clock, time: &ManualClock) -> (Account, Vec<u32>) {
    for number in 0..MESSAGES {
        queue.publish(Message::new(number.to_string())).await.unwrap();
    }
    let done: Done = Arc::default();
    for generation in 0.. {
        let workers: Vec<_> =
            (1..=3).map(|size| Running::begin(worker(queue, size * 5, 4, clock, &done))).collect();
        let until = clock.now().after(SECOND * 5);
        pass(time, || clock.now() >= until).await;
        for (index, running) in workers.into_iter().enumerate() {
            // Some are asked nicely.
            if (index + generation) % 2 == 0 {
                running.shutdown.drain()
            } else {
                running.shutdown.stop()
            }
            pass(time, || running.is_over()).await;
            let report = running.end().await.unwrap();
            let settled = report.acked + report.nacked + report.dead_lettered + report.released;
            assert_eq!(report.taken, settled + report.stale + report.unsettled);
            assert_eq!(report.unsettled, 0);
        }
        let depth = queue.depth().await.unwrap();
        if depth.ready + depth.delayed + depth.leased == 0 {
            break;
        }
        assert!(generation < 20, "{depth:?}");
    }
    let dead = queue.peek(State::Dead, None, 1000).await.unwrap();
    let dead: Vec<u32> = dead
        .iter()
        .map(|peeked| std::str::from_utf8(&peeked.message.as_ref().unwrap().body).unwrap().parse().unwrap())
        .collect();
    let done = done.lock().unwrap();
    let mut account = Account::default();
    for number in 0..MESSAGES {
        match done.get(&number) {
            None if !dead.contains(&number) => account.lost.push(number),
            Some((times, _)) if *times > 1 => account.duplicated.push(number),
            Some((_, attempt)) if *attempt > 1 => account.recovered += 1,
            _ => {}
        }
    }
    account.unexpected = done.keys().copied().filter(|number| *number >= MESSAGES).collect();
    (account, dead)
}

async fn check(queues: Queues, clock: aqueduct_core::Clock, time: ManualClock) {
    let config = aqueduct_queue::Config::builder().lease(SECOND * 3).attempts_max(3).build().unwrap();
    let queue = queues.declare("work", config).await.unwrap();
    let (account, mut dead) = run(&queue, &clock, &time).await;
    dead.sort_unstable();
    let always: Vec<u32> = (0..MESSAGES).filter(|number| matches!(number % 20, 1 | 2)).collect();
    assert_eq!(dead, always);
    assert_eq!(account, Account { recovered: MESSAGES / 20 * 5, ..Account::default() });
}

#[tokio::test]
async fn nothing_is_lost_or_done_twice_over_a_queue_in_memory() {
    let (clock, time) = manual();
    check(Queues::memory_with(clock.clone()), clock, time).await;
}

/// The same on the clock of the machine, in a file that is closed and opened again in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_over_a_file_that_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("work.queue");
    let clock = aqueduct_core::Clock::system();
    let declared = || aqueduct_queue::Config::builder().attempts_max(3).build().unwrap();
    let done: Done = Arc::default();
    for life in 0..3 {
        let queues = Queues::open_with(&path, clock.clone()).unwrap();
        let queue = queues.declare("work", declared()).await.unwrap();
        if life == 0 {
            let messages = (0..MESSAGES).map(|number| Message::new(number.to_string())).collect();
            queue.publish_all(messages, SECOND).await.unwrap();
        }
        let running = Running::begin(worker(&queue, 8, 1, &clock, &done));
        loop {
            let depth = queue.depth().await.unwrap();
            let left = depth.ready + depth.delayed + depth.leased;
            if left <= [200, 100, 0][life] {
                break;
            }
            tokio::task::yield_now().await;
        }
        running.shutdown.stop();
        let report = running.end().await.unwrap();
        assert_eq!((report.unsettled, report.stale), (0, 0));
        if life == 2 {
            let depth = queue.depth().await.unwrap();
            assert_eq!(depth.dead, u64::from(MESSAGES / 20 * 2));
        }
        queues.close().await.unwrap();
    }
    let done = done.lock().unwrap();
    assert!(done.iter().all(|(number, (times, _))| *number < MESSAGES && *times == 1), "{done:?}");
    assert_eq!(done.len(), usize::try_from(MESSAGES / 20 * 18).unwrap());
}
