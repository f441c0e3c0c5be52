//! Batches that go through phases.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aqueduct_core::{Classified, Clock, ErrorClass, Shutdown, ShutdownSignal};
use aqueduct_processor::{Config, CpuPool, IoPool, Job, JobError, PhaseError, Phases, Pool};
use aqueduct_retry::Ended;
use proptest::prelude::*;
use tokio::sync::Semaphore;

use crate::{FINAL, Fault, PASSING, SECOND, manual, sized, until};

fn pools(clock: &Clock) -> (CpuPool, IoPool) {
    (Pool::cpu(sized(2), clock.clone()).unwrap(), Pool::io(sized(2), clock.clone()).unwrap())
}

/// Adds one, then multiplies by ten. Items that say so fail.
fn sums(clock: &Clock) -> Phases<u64, Fault> {
    let (cpu, io) = pools(clock);
    let add = |item: &u64, _: &_| if *item == 100 { Err(FINAL) } else { Ok(item + 1) };
    let multiply = |item: Arc<u64>, _| async move {
        match *item {
            200 => panic!("two hundred"),
            _ => Ok(*item * 10),
        }
    };
    Phases::new(clock.clone())
        .cpu("add", &cpu, Job::default(), add)
        .unwrap()
        .io("multiply", &io, Job::default(), multiply)
        .unwrap()
}

#[tokio::test]
async fn each_item_goes_through_all_phases_and_results_keep_the_order() {
    let phases = sums(&Clock::system());
    assert_eq!(phases.names().collect::<Vec<_>>(), ["add", "multiply"]);
    let done = phases.run_all((0..50).collect(), ShutdownSignal::never()).await;
    let results: Vec<u64> = done.results.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, (0..50).map(|item| (item + 1) * 10).collect::<Vec<u64>>());
    let named: Vec<_> =
        done.report.phases.iter().map(|phase| (&*phase.name, phase.items, phase.errors)).collect();
    assert_eq!(named, [("add", 50, 0), ("multiply", 50, 0)]);
    assert!(phases.run_all(Vec::new(), ShutdownSignal::never()).await.results.is_empty());
}

#[tokio::test]
async fn one_phase_can_be_run_alone_and_one_that_is_not_there_is_refused_by_name() {
    let phases = sums(&Clock::system());
    let done = phases.run_one("multiply", vec![1, 2], ShutdownSignal::never()).await.unwrap();
    assert_eq!(done.results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [10, 20]);
    assert_eq!(done.report.phases.len(), 1);
    let error = phases.run_one("divide", vec![1], ShutdownSignal::never()).await.unwrap_err();
    assert_eq!(error.to_string(), "find the phase \"divide\" among [\"add\", \"multiply\"]");
    assert_eq!(error.class(), ErrorClass::Invalid);
}

#[tokio::test]
async fn an_item_that_fails_stops_in_its_phase_and_the_others_go_on() {
    let phases = sums(&Clock::system());
    let done = phases.run_all(vec![100, 1, 199, 2], ShutdownSignal::never()).await;
    let [first, second, third, fourth] = done.results.try_into().unwrap();
    let failed = JobError::Failed { error: FINAL, attempts: 1, ended: Ended::Final };
    assert_eq!(first, Err(PhaseError { phase: "add".into(), error: failed }));
    let message = "two hundred".to_owned();
    let panicked =
        PhaseError { phase: "multiply".into(), error: JobError::Panicked { message, attempts: 1 } };
    assert_eq!((second, third, fourth), (Ok(20), Err(panicked), Ok(30)));
    let counted: Vec<_> = done.report.phases.iter().map(|phase| (phase.items, phase.errors)).collect();
    assert_eq!(counted, [(4, 1), (3, 1)]);
}

#[tokio::test]
async fn no_item_waits_for_another_one_at_a_barrier() {
    let clock = Clock::system();
    let (cpu, io) = pools(&clock);
    // The first item stays in the first phase until the second one has left the last.
    let (gate, last) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (wait, open, seen) = (Arc::clone(&gate), Arc::clone(&gate), Arc::clone(&last));
    let phases = Phases::new(clock)
        .io("first", &io, Job::default(), move |item: Arc<u64>, _| {
            let wait = Arc::clone(&wait);
            async move {
                if *item == 1 {
                    wait.acquire().await.unwrap().forget();
                }
                Ok::<_, Fault>(*item)
            }
        })
        .unwrap()
        .cpu("last", &cpu, Job::default(), move |item, _| {
            seen.fetch_add(1, Ordering::SeqCst);
            open.add_permits(1);
            Ok(*item)
        })
        .unwrap();
    let done = phases.run_all(vec![1, 2], ShutdownSignal::never()).await;
    assert_eq!(done.results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(last.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn no_more_items_are_between_the_phases_than_may_be() {
    let Held { phases, gate, io, begun } = held(&Clock::system());
    let run = tokio::spawn(async move { phases.run_all((0..20).collect(), ShutdownSignal::never()).await });
    for ended in 0..=16 {
        until(|| io.figures().done == ended && io.figures().running + io.figures().waiting == 4).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(begun.lock().unwrap().len() as u64, ended + 4);
        gate.add_permits(1);
    }
    gate.add_permits(3);
    assert!(run.await.unwrap().results.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_phase_has_the_retries_of_its_pool_and_the_deadline_of_its_job() {
    let (clock, time) = manual();
    let (cpu, io) = pools(&clock);
    let phases = Phases::new(clock)
        .cpu("tried again", &cpu, Job::default(), |item: &u64, context| match context.attempt {
            1 => Err(PASSING),
            _ => Ok(*item),
        })
        .unwrap()
        .io("in time", &io, Job::default().with_within(SECOND * 3), |item: Arc<u64>, _| async move {
            if *item == 2 {
                std::future::pending::<()>().await;
            }
            Ok(*item)
        })
        .unwrap();
    let run = tokio::spawn(async move { phases.run_all(vec![1, 2], ShutdownSignal::never()).await });
    until(|| cpu.figures().delayed == 2).await;
    time.advance(SECOND);
    until(|| (io.figures().done, io.figures().running) == (1, 1)).await;
    time.advance(SECOND * 3);
    let done = run.await.unwrap();
    let late =
        PhaseError { phase: "in time".into(), error: JobError::Late { attempts: 1, abandoned: false } };
    assert_eq!(done.results, [Ok(1), Err(late)]);
    let [again, in_time] = &*done.report.phases else { panic!("{:?}", done.report) };
    assert_eq!((again.items, again.errors, again.retries), (2, 2, 2));
    assert_eq!((in_time.items, in_time.errors, in_time.retries), (2, 1, 0));
    assert_eq!((in_time.busy, done.report.total), (SECOND * 3, SECOND * 4));
}

/// Phases of which the second one holds every item until it is let go. Four items may be between them.
struct Held {
    phases: Phases<u64, Fault>,
    gate: Arc<Semaphore>,
    io: IoPool,
    begun: Arc<Mutex<Vec<u64>>>,
}

fn held(clock: &Clock) -> Held {
    let (cpu, io) = pools(clock);
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (wait, note) = (Arc::clone(&gate), Arc::clone(&begun));
    let phases = Phases::new(clock.clone())
        .cpu("first", &cpu, Job::default(), move |item: &u64, _| {
            note.lock().unwrap().push(*item);
            Ok::<_, Fault>(*item)
        })
        .unwrap()
        .io("holds", &io, Job::default(), move |item: Arc<u64>, _| {
            let wait = Arc::clone(&wait);
            async move {
                wait.acquire().await.unwrap().forget();
                Ok(*item)
            }
        })
        .unwrap()
        .with_in_flight_max(4)
        .unwrap();
    Held { phases, gate, io, begun }
}

#[tokio::test]
async fn asked_to_drain_it_takes_what_it_has_begun_to_the_end() {
    let Held { phases, gate, io, begun } = held(&Clock::system());
    let (shutdown, signal) = Shutdown::new();
    let run = tokio::spawn(async move { phases.run_all((0..10).collect(), signal).await });
    until(|| io.figures().running == 2 && io.figures().waiting == 2).await;
    shutdown.drain();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(10);
    let done = run.await.unwrap();
    let left =
        PhaseError { phase: "first".into(), error: JobError::Cancelled { attempts: 0, abandoned: false } };
    for (item, result) in done.results.into_iter().enumerate() {
        assert_eq!(result, if item < 4 { Ok(item as u64) } else { Err(left.clone()) });
    }
    begun.lock().unwrap().sort_unstable();
    assert_eq!(*begun.lock().unwrap(), [0, 1, 2, 3]);
}

#[tokio::test]
async fn asked_to_stop_it_cancels_and_each_item_says_where_it_was() {
    let Held { phases, gate: _gate, io, .. } = held(&Clock::system());
    let (shutdown, signal) = Shutdown::new();
    let run = tokio::spawn(async move { phases.run_all((0..6).collect(), signal).await });
    until(|| io.figures().running == 2 && io.figures().waiting == 2).await;
    shutdown.stop();
    let done = run.await.unwrap();
    let mut at = Vec::new();
    for result in done.results {
        let error = result.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Cancelled);
        at.push((error.phase.to_string(), error.error.attempts()));
    }
    at.sort();
    let expected = [("first", 0), ("first", 0), ("holds", 0), ("holds", 0), ("holds", 1), ("holds", 1)];
    assert_eq!(at, expected.map(|(phase, attempts)| (phase.to_owned(), attempts)));
}

#[tokio::test]
async fn a_run_that_is_dropped_cancels_its_jobs() {
    let Held { phases, gate: _gate, io, .. } = held(&Clock::system());
    let run = tokio::spawn(async move { phases.run_all((0..6).collect(), ShutdownSignal::never()).await });
    until(|| io.figures().running == 2 && io.figures().waiting == 2).await;
    run.abort();
    until(|| io.figures().cancelled == 4).await;
    assert_eq!((io.figures().running, io.figures().waiting), (0, 0));
}

#[tokio::test]
async fn a_pool_that_takes_nothing_more_ends_its_items_and_hangs_nobody() {
    let Held { phases, gate, io, .. } = held(&Clock::system());
    io.drain(SECOND).await;
    gate.add_permits(10);
    let done = phases.run_all(vec![1, 2], ShutdownSignal::never()).await;
    for result in done.results {
        let error = result.unwrap_err();
        assert_eq!(
            (&*error.phase, error.error),
            ("holds", JobError::Cancelled { attempts: 0, abandoned: false })
        );
    }
}

#[tokio::test]
async fn phases_that_cannot_be_are_refused() {
    let clock = Clock::system();
    let cpu = Pool::cpu(Config { bytes_max: 100, ..sized(1) }, clock.clone()).unwrap();
    let add = |name: &str, job: Job| {
        let same = |item: &u64, _: &_| Ok::<_, Fault>(*item);
        let phases = Phases::new(clock.clone()).cpu("one", &cpu, Job::default(), same).unwrap();
        phases.cpu(name, &cpu, job, same).map(|phases| phases.names().count())
    };
    assert_eq!(add("two", Job::default()).unwrap(), 2);
    let twice = add("one", Job::default()).unwrap_err();
    assert_eq!((twice.field, &*twice.value), ("name of a phase", "\"one\""));
    assert_eq!(add("", Job::default()).unwrap_err().field, "bytes of the name of a phase");
    assert_eq!(add("two", Job::default().with_bytes(101)).unwrap_err().field, "bytes of the job of a phase");
    let error = Phases::<u64, Fault>::new(clock.clone()).with_in_flight_max(0).unwrap_err();
    assert_eq!(error.field, "in_flight_max");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Next to a plain loop: whatever fails where, each item comes out as if it were alone.
    #[test]
    fn a_batch_comes_out_as_if_each_item_were_alone(
        items in proptest::collection::vec(0..1000_u64, 0..60),
        in_flight in 1..20_usize,
        threads in proptest::collection::vec(any::<bool>(), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let clock = Clock::system();
            let (cpu, io) = pools(&clock);
            // Each phase has items of its own that it fails.
            let step = |phase: u64, item: u64| if item % 7 == phase { Err(FINAL) } else { Ok(item * 3 + phase) };
            let mut phases = Phases::new(clock).with_in_flight_max(in_flight).unwrap();
            for (number, threads) in (0..).zip(&threads) {
                let name = number.to_string();
                phases = if *threads {
                    phases.cpu(&name, &cpu, Job::default(), move |item: &u64, _| step(number, *item)).unwrap()
                } else {
                    let step = move |item: Arc<u64>, _| async move { step(number, *item) };
                    phases.io(&name, &io, Job::default(), step).unwrap()
                };
            }
            let done = phases.run_all(items.clone(), ShutdownSignal::never()).await;
            for (item, result) in items.iter().zip(&done.results) {
                let alone = (0..).zip(&threads).try_fold(*item, |item, (number, _)| {
                    step(number, item).map_err(|_| number.to_string())
                });
                assert_eq!(result.as_ref().copied().map_err(|error| error.phase.to_string()), alone);
            }
            assert_eq!(done.results.len(), items.len());
            let mut come = items.len() as u64;
            for phase in &done.report.phases {
                assert_eq!(phase.items as u64, come);
                come -= phase.errors;
            }
        });
    }
}
