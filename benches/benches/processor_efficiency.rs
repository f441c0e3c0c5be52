//! How much of the workers' time is work?
//!
//! Workload: a pool for computing with as many workers as cores does jobs that compute for 10 ms, 1 ms and 50 us; both
//! pools do jobs that do nothing, and a worker messages of a queue in memory, from their reservation to their
//! acknowledgement; a pool for waiting does jobs that wait for 10 ms, from 1 to 1,024 at once.
//!
//! A good answer: efficiency = busy / (workers x wall) of at least 0.95, 0.90 and 0.60; at most 5 us for a job that does
//! nothing, and 25 us for a message; as many times the rate of one in flight as there are in flight, nearly. Each figure is
//! the median of five.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::convert::Infallible;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, Shutdown};
use aqueduct_processor::{Config, Figures, Job, Pool, Work, Worker, WorkerConfig};
use aqueduct_queue::{Message, Queues};

/// How often each figure is taken.
const TIMES: usize = 5;

/// Nothing in here fails.
#[derive(Debug)]
struct Never(Infallible);

impl Classified for Never {
    fn class(&self) -> ErrorClass {
        match self.0 {}
    }
}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    runtime.block_on(async {
        println!("computing, {cores} workers");
        for (work, jobs) in [
            (Duration::from_millis(10), 100),
            (Duration::from_millis(1), 1000),
            (Duration::from_micros(50), 20_000),
        ] {
            let mut efficiencies = Vec::new();
            for _ in 0..TIMES {
                efficiencies.push(computing(cores, work, jobs).await);
            }
            println!("  {work:>6.0?} a job: efficiency {:.3}", median(efficiencies));
        }
        println!("jobs that do nothing");
        let (mut threads, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            threads.push(nothing_on_threads(cores).await);
            tasks.push(nothing_in_tasks().await);
        }
        println!("  threads: {:.2} us a job", median(threads) * 1e6);
        println!("  tasks: {:.2} us a job", median(tasks) * 1e6);
        let mut messages = Vec::new();
        for _ in 0..TIMES {
            messages.push(nothing_over_a_queue().await);
        }
        println!("  messages: {:.2} us each", median(messages) * 1e6);
        println!("waiting for 10 ms");
        let mut alone = 0.0;
        for in_flight in [1, 4, 16, 64, 256, 1024] {
            let mut rates = Vec::new();
            for _ in 0..TIMES {
                rates.push(waiting(in_flight).await);
            }
            let rate = median(rates);
            if in_flight == 1 {
                alone = rate;
            }
            let times = rate / alone;
            println!(
                "  {in_flight:>4} in flight: {times:.1} times the rate of one ({:.2} of linear)",
                times / in_flight as f64
            );
        }
    });
}

fn config(size: usize, jobs_max: usize) -> Config {
    Config { size, jobs_max, ..Config::default() }
}

/// The share of the workers' time in which jobs ran, from the first job to the last.
async fn computing(cores: usize, work: Duration, jobs: usize) -> f64 {
    let clock = Clock::system();
    let pool = Pool::cpu(config(cores, jobs), clock.clone()).expect("a pool");
    let before: Figures = pool.figures();
    let mut tickets = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        let clock = clock.clone();
        let spin = move |_: &_| {
            let until = clock.now().after(work);
            while clock.now() < until {
                std::hint::spin_loop();
            }
            Ok::<_, Never>(())
        };
        tickets.push(pool.try_submit(Job::default(), spin).expect("room"));
    }
    for ticket in tickets {
        ticket.await.expect("a result");
    }
    let after = pool.figures();
    // What was asked for, and not what it took: a thread that is put aside in the middle of a job has worked no more.
    (work * u32::try_from(jobs).unwrap_or(u32::MAX)).as_secs_f64()
        / (after.capacity - before.capacity).as_secs_f64()
}

const NOTHINGS: usize = 100_000;

async fn nothing_on_threads(cores: usize) -> f64 {
    let clock = Clock::system();
    let pool = Pool::cpu(config(cores, NOTHINGS), clock.clone()).expect("a pool");
    let began = clock.now();
    let tickets: Vec<_> = (0..NOTHINGS)
        .map(|_| pool.try_submit(Job::default(), |_| Ok::<_, Never>(())).expect("room"))
        .collect();
    for ticket in tickets {
        ticket.await.expect("a result");
    }
    clock.now().since(began).as_secs_f64() / NOTHINGS as f64
}

async fn nothing_in_tasks() -> f64 {
    let clock = Clock::system();
    let pool = Pool::io(config(64, NOTHINGS), clock.clone()).expect("a pool");
    let began = clock.now();
    let tickets: Vec<_> = (0..NOTHINGS)
        .map(|_| pool.try_submit(Job::default(), |_| async { Ok::<_, Never>(()) }).expect("room"))
        .collect();
    for ticket in tickets {
        ticket.await.expect("a result");
    }
    clock.now().since(began).as_secs_f64() / NOTHINGS as f64
}

async fn nothing_over_a_queue() -> f64 {
    const MESSAGES: u64 = 50_000;
    let clock = Clock::system();
    let declared =
        aqueduct_queue::Config::builder().items_max(MESSAGES).build().expect("it is within the ranges");
    let queue = Queues::memory().declare("bench", declared).await.expect("a queue");
    let messages = (0..MESSAGES).map(|_| Message::new("nothing")).collect();
    queue.publish_all(messages, Duration::ZERO).await.expect("room");
    let config = WorkerConfig { pool: config(64, 64), ..WorkerConfig::default() };
    let worker = Worker::io(queue, config, clock.clone(), |_: Work| async { Ok::<_, Never>(()) });
    let worker = worker.expect("a worker");
    let (handle, (shutdown, signal)) = (worker.handle(), Shutdown::new());
    let began = clock.now();
    let run = tokio::spawn(worker.run(signal));
    while handle.report().acked < MESSAGES {
        clock.sleep(Duration::from_millis(1)).await;
    }
    let took = clock.now().since(began);
    shutdown.stop();
    run.await.expect("no panic").expect("a report");
    took.as_secs_f64() / MESSAGES as f64
}

/// Jobs a second.
async fn waiting(in_flight: usize) -> f64 {
    let clock = Clock::system();
    let jobs = in_flight * 30;
    let pool = Pool::io(config(in_flight, jobs), clock.clone()).expect("a pool");
    let began = clock.now();
    let tickets: Vec<_> = (0..jobs)
        .map(|_| {
            let clock = clock.clone();
            let wait = move |_| {
                let clock = clock.clone();
                async move {
                    clock.sleep(Duration::from_millis(10)).await;
                    Ok::<_, Never>(())
                }
            };
            pool.try_submit(Job::default(), wait).expect("room")
        })
        .collect();
    for ticket in tickets {
        ticket.await.expect("a result");
    }
    jobs as f64 / clock.now().since(began).as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
