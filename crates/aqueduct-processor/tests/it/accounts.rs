//! Whatever is done to a pool, each job ends once, and its work runs as often as it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aqueduct_processor::{Config, CpuPool, IoPool, Job, JobError, Pool, SubmitError, Ticket};
use aqueduct_queue::Priority;
use proptest::prelude::*;

use crate::{FINAL, Fault, PASSING, SECOND, manual, sized, until};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Succeeds,
    FailsOnce,
    Fails,
    Panics,
    NeverEnds,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit { kind: Kind, priority: u8, key: u8, bytes: u64, within: Option<u64> },
    Cancel(usize),
    Resize(usize),
    Advance(u64),
    Yield(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        4 => Just(Kind::Succeeds),
        2 => Just(Kind::FailsOnce),
        1 => Just(Kind::Fails),
        1 => Just(Kind::Panics),
        1 => Just(Kind::NeverEnds)
    ];
    let submit = (kind, 0..4_u8, 0..4_u8, 0..60_u64, proptest::option::of(1..8_u64))
        .prop_map(|(kind, priority, key, bytes, within)| Step::Submit { kind, priority, key, bytes, within });
    let step = prop_oneof![
        8 => submit,
        2 => (0..100_usize).prop_map(Step::Cancel),
        1 => (1..6_usize).prop_map(Step::Resize),
        2 => (1..3_u64).prop_map(Step::Advance),
        2 => (1..20_u8).prop_map(Step::Yield),
    ];
    proptest::collection::vec(step, 1..120)
}

enum Either {
    Io(IoPool),
    Cpu(CpuPool),
}

impl Either {
    fn pool(&self) -> &Pool {
        match self {
            Self::Io(pool) => pool,
            Self::Cpu(pool) => pool,
        }
    }

    fn submit(&self, job: Job, kind: Kind, ran: Arc<AtomicU32>) -> Result<Ticket<u32, Fault>, SubmitError> {
        let result = move |attempt: u32| match kind {
            Kind::FailsOnce if attempt == 1 => Err(PASSING),
            Kind::Fails => Err(FINAL),
            Kind::Panics => panic!("as it was told"),
            _ => Ok(attempt),
        };
        match self {
            Self::Io(pool) => pool.try_submit(job, move |context| {
                let ran = Arc::clone(&ran);
                async move {
                    ran.fetch_add(1, Ordering::SeqCst);
                    if matches!(kind, Kind::NeverEnds) {
                        std::future::pending::<()>().await;
                    }
                    tokio::task::yield_now().await;
                    result(context.attempt)
                }
            }),
            Self::Cpu(pool) => pool.try_submit(job, move |context| {
                ran.fetch_add(1, Ordering::SeqCst);
                if matches!(kind, Kind::NeverEnds) {
                    while !context.cancel.is_cancelled() {
                        std::thread::yield_now();
                    }
                    return Err(PASSING);
                }
                result(context.attempt)
            }),
        }
    }
}

fn check(steps: Vec<Step>, threads: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let (clock, time) = manual();
        let config = Config { jobs_max: 50, bytes_max: 100, per_key_max: 2, ..sized(3) };
        let pool = if threads {
            Either::Cpu(Pool::cpu(config, clock).unwrap())
        } else {
            Either::Io(Pool::io(config, clock).unwrap())
        };
        let mut jobs = Vec::new();
        for step in steps {
            match step {
                Step::Submit { kind, priority, key, bytes, within } => {
                    let mut job = Job::default().with_bytes(bytes);
                    job.priority = Priority::ALL[usize::from(priority)];
                    job.key = (key > 0).then(|| key.to_string().into());
                    job.within = within.map(|seconds| SECOND * u32::try_from(seconds).unwrap());
                    let ran = Arc::new(AtomicU32::new(0));
                    match pool.submit(job, kind, Arc::clone(&ran)) {
                        Ok(ticket) => jobs.push((ticket, ran)),
                        Err(error) => assert_eq!(error, SubmitError::Full { jobs_max: 50 }),
                    }
                }
                Step::Cancel(index) if !jobs.is_empty() => jobs[index % jobs.len()].0.cancel(),
                Step::Cancel(_) => {}
                Step::Resize(size) => pool.pool().resize(size).unwrap(),
                Step::Advance(seconds) => time.advance(SECOND * u32::try_from(seconds).unwrap()),
                Step::Yield(times) => {
                    for _ in 0..times {
                        tokio::task::yield_now().await;
                    }
                }
            }
            let figures = pool.pool().figures();
            assert!(figures.bytes <= 100);
        }
        let drained = pool.pool().clone();
        let drain = tokio::spawn(async move { drained.drain(SECOND * 5).await });
        until(|| {
            time.advance(SECOND / 10);
            drain.is_finished()
        })
        .await;
        let drained = drain.await.unwrap();
        let figures = pool.pool().figures();
        assert_eq!((figures.waiting, figures.delayed, figures.running), (0, 0, 0));
        // Whoever was slow on a thread comes back in its own time.
        until(|| pool.pool().figures().abandoned == 0).await;
        let (submitted, mut cancelled) = (jobs.len() as u64, 0);
        for (ticket, ran) in jobs {
            let (attempts, given_up) = match ticket.await {
                Ok(attempt) => (attempt, false),
                Err(error) => {
                    cancelled += u64::from(matches!(error, JobError::Cancelled { .. }));
                    let dropped = matches!(error, JobError::Cancelled { .. } | JobError::Late { .. });
                    (error.attempts(), dropped)
                }
            };
            let ran = ran.load(Ordering::SeqCst);
            // A future that was cancelled before its first poll has not run.
            assert!(ran == attempts || (given_up && !threads && ran + 1 == attempts), "{ran} of {attempts}");
        }
        assert_eq!(pool.pool().figures().ended(), submitted);
        assert_eq!(pool.pool().figures().cancelled, cancelled);
        assert!(drained.cancelled <= cancelled);
        assert_eq!((figures.bytes, figures.replaced), (0, 0));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_future_is_lost_or_run_twice(steps in steps()) {
        check(steps, false);
    }

    #[test]
    fn no_work_on_a_thread_is_lost_or_run_twice(steps in steps()) {
        check(steps, true);
    }
}

/// Threads that submit, cancel and resize at once, on the clock of the machine: a wake-up that is lost hangs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_at_once_lose_nothing() {
    const EACH: u32 = 3000;
    let config = || Config { jobs_max: 64, per_key_max: 2, bytes_max: 100, ..sized(4) };
    let pools = [
        Either::Cpu(Pool::cpu(config(), aqueduct_core::Clock::system()).unwrap()),
        Either::Io(Pool::io(config(), aqueduct_core::Clock::system()).unwrap()),
    ];
    for pool in pools {
        let pool = Arc::new(pool);
        let submitters: Vec<_> = (0..4_u32)
            .map(|caller| {
                let pool = Arc::clone(&pool);
                tokio::spawn(async move {
                    let (mut done, mut cancelled) = (0, 0);
                    let (mut number, mut tickets) = (0, Vec::new());
                    while number < EACH {
                        let job = Job::default().with_key((number % 5).to_string()).with_bytes(30);
                        let ran = Arc::new(AtomicU32::new(0));
                        let Ok(ticket) = pool.submit(job, Kind::Succeeds, Arc::clone(&ran)) else {
                            tokio::task::yield_now().await;
                            continue;
                        };
                        number += 1;
                        if number % 7 == caller {
                            ticket.cancel();
                        }
                        if number % 500 == 0 {
                            pool.pool().resize(1 + usize::try_from(number / 500 % 6).unwrap()).unwrap();
                        }
                        tickets.push((ticket, ran));
                    }
                    for (ticket, ran) in tickets {
                        match ticket.await {
                            Ok(_) => done += u64::from(ran.load(Ordering::SeqCst)),
                            Err(JobError::Cancelled { .. }) => cancelled += 1,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    (done, cancelled)
                })
            })
            .collect();
        let (mut done, mut cancelled) = (0, 0);
        for submitter in submitters {
            let (more_done, more_cancelled) = submitter.await.unwrap();
            (done, cancelled) = (done + more_done, cancelled + more_cancelled);
        }
        let figures = pool.pool().figures();
        assert_eq!(done + cancelled, u64::from(EACH * 4));
        assert_eq!((figures.done, figures.cancelled), (done, cancelled));
        assert_eq!((figures.running, figures.waiting, figures.bytes), (0, 0, 0));
        assert!(figures.bytes_high <= 100);
    }
}
