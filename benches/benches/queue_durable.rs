//! What does a queue cost whose receipt means a synced disk?
//!
//! Workload: messages of 256 bytes in a file in the temporary folder. 64 callers publish one message at a time, then ten at
//! a time, each waiting for its receipt; beside them, in turns, 64 callers of a bare redb that puts the same records into
//! one table by group commit (whatever waits is in the next transaction). Then 64 callers publish, reserve and
//! acknowledge. Every transaction is synced, in both. Then files with 1,000,000 and 10,000,000 messages waiting are opened
//! again.
//!
//! A good answer: at least 0.8 of the bare rate one at a time, and a full cycle at 0.4 of the rate of publishing;
//! receipts within five syncs of the disk at the 99th percentile, both measured in turns; a million open again within
//! 2 s, ten million within 1 GiB at any time of the opening; nothing used while idle.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aqueduct_core::Clock;
use aqueduct_queue::{Config, Message, Queue, Queues, State};
use bytes::Bytes;
use hdrhistogram::Histogram;
use redb::{Database, TableDefinition};
use tokio::sync::{mpsc, oneshot};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const CALLERS: usize = 64;
const BODY: usize = 256;
const ROUNDS: usize = 11;
const ROUND: Duration = Duration::from_secs(2);
const PENDING: [u64; 2] = [1_000_000, 10_000_000];

/// Operations a second, and how long each took.
struct Measured {
    rate: f64,
    took: Histogram<u64>,
}

fn main() -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    for batch in [1, 10] {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        let (mut syncs, mut receipts, mut bare_receipts) = (histogram()?, histogram()?, histogram()?);
        for round in 0..ROUNDS {
            sync(&folder.path().join("sync"), &mut syncs)?;
            let one = bare_redb(&folder.path().join(format!("bare-{batch}-{round}")), batch).await?;
            let other = publish(&folder.path().join(format!("ours-{batch}-{round}")), batch).await?;
            receipts.add(&other.took)?;
            bare_receipts.add(&one.took)?;
            bare.push(one.rate);
            ours.push(other.rate);
        }
        println!(
            "publish, {CALLERS} callers of {batch}: {:.0}/s, bare redb {:.0}/s, ratio {:.2} (rounds {:.2} to {:.2})",
            median(&ours),
            median(&bare),
            median(&ratios(&ours, &bare)),
            least(&ratios(&ours, &bare)),
            most(&ratios(&ours, &bare)),
        );
        for (what, took) in
            [("one sync", syncs), ("receipt", receipts), ("receipt of bare redb", bare_receipts)]
        {
            let at = |quantile| took.value_at_quantile(quantile);
            println!("  {what}: p50 {} us, p90 {} us, p99 {} us", at(0.5), at(0.9), at(0.99));
        }
    }
    let (mut published, mut cycled) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        published.push(publish(&folder.path().join(format!("only-{round}")), 1).await?.rate);
        cycled.push(cycle(&folder.path().join(format!("cycle-{round}"))).await?);
    }
    println!(
        "full cycle, {CALLERS} callers of 1: {:.0}/s, {:.2} of publishing alone",
        median(&cycled),
        median(&ratios(&cycled, &published))
    );
    alone(&folder.path().join("alone")).await?;
    for messages in PENDING {
        pending(&folder.path().join(format!("pending-{messages}")), messages).await?;
    }
    Ok(())
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new(3)?)
}

/// How long a write and its sync take on this disk.
fn sync(path: &Path, took: &mut Histogram<u64>) -> Result<(), Failure> {
    let clock = Clock::system();
    let mut file = std::fs::File::create(path)?;
    for _ in 0..500 {
        let begun = clock.now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        took.record(micros(clock.now().since(begun)))?;
    }
    Ok(())
}

async fn queue(path: &Path) -> Result<Queue, Failure> {
    let config = Config::builder().items_max(100_000_000).bytes_max(1 << 40).build()?;
    Ok(Queues::open(path)?.declare("work", config).await?)
}

/// Runs so many callers for a round.
async fn callers<F, R>(call: F) -> Result<Measured, Failure>
where
    F: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = Result<u64, Failure>> + Send,
{
    let (clock, stop) = (Clock::system(), Arc::new(AtomicBool::new(false)));
    let begun = clock.now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (call, stop, clock) = (call.clone(), Arc::clone(&stop), clock.clone());
            tokio::spawn(async move {
                let (mut done, mut took) = (0, Histogram::<u64>::new(3)?);
                while !stop.load(Ordering::Relaxed) {
                    let begun = clock.now();
                    done += call().await?;
                    took.record(micros(clock.now().since(begun)))?;
                }
                Ok::<_, Failure>((done, took))
            })
        })
        .collect();
    clock.sleep(ROUND).await;
    stop.store(true, Ordering::Relaxed);
    let (mut all, mut took) = (0, Histogram::new(3)?);
    for task in tasks {
        let (done, one) = task.await??;
        all += done;
        took.add(&one)?;
    }
    Ok(Measured { rate: all as f64 / clock.now().since(begun).as_secs_f64(), took })
}

fn message() -> Message {
    Message::new(Bytes::from_static(&[b'x'; BODY]))
}

async fn publish(path: &Path, batch: usize) -> Result<Measured, Failure> {
    let queue = queue(path).await?;
    let publisher = queue.clone();
    let measured = callers(move || {
        let queue = publisher.clone();
        async move {
            let messages = (0..batch).map(|_| message()).collect();
            Ok(queue.publish_all(messages, Duration::ZERO).await?.len() as u64)
        }
    })
    .await?;
    queue.store().close().await?;
    Ok(measured)
}

async fn cycle(path: &Path) -> Result<f64, Failure> {
    let queue = queue(path).await?;
    let worker = queue.clone();
    let measured = callers(move || {
        let queue = worker.clone();
        async move {
            queue.publish(message()).await?;
            queue.reserve().await?.ack().await?;
            Ok(1)
        }
    })
    .await?;
    queue.store().close().await?;
    Ok(measured.rate)
}

/// The least that a durable queue on redb could do: a thread that commits whatever waits.
async fn bare_redb(path: &Path, batch: usize) -> Result<Measured, Failure> {
    const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
    let database = Database::create(path)?;
    let (sender, mut receiver) = mpsc::channel::<(usize, oneshot::Sender<()>)>(4096);
    let committer = std::thread::spawn(move || -> Result<(), redb::Error> {
        let mut next = 0_u64;
        while let Some(first) = receiver.blocking_recv() {
            let mut waiting = vec![first];
            while let Ok(more) = receiver.try_recv() {
                waiting.push(more);
            }
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(MESSAGES)?;
                for (batch, _) in &waiting {
                    for _ in 0..*batch {
                        table.insert(next, &[b'x'; BODY][..])?;
                        next += 1;
                    }
                }
            }
            transaction.commit()?;
            for (_, done) in waiting {
                // The callers wait for it.
                let _ = done.send(());
            }
        }
        Ok(())
    });
    let measured = callers(move || {
        let sender = sender.clone();
        async move {
            let (done, safe) = oneshot::channel();
            sender.send((batch, done)).await?;
            safe.await?;
            Ok(batch as u64)
        }
    })
    .await?;
    committer.join().map_err(|_| "the committer has died")??;
    Ok(measured)
}

/// One caller, and then nobody.
async fn alone(path: &Path) -> Result<(), Failure> {
    let clock = Clock::system();
    let queue = queue(path).await?;
    let mut took = Histogram::<u64>::new(3)?;
    for _ in 0..200 {
        let begun = clock.now();
        queue.publish(message()).await?;
        took.record(micros(clock.now().since(begun)))?;
    }
    println!("one caller: p50 {} us, which is one sync and the way to it", took.value_at_quantile(0.5));
    queue.purge(&[State::Ready]).await?;
    let waiting = {
        let queue = queue.clone();
        tokio::spawn(async move { queue.reserve_within(Duration::from_secs(3)).await })
    };
    let before = cpu();
    waiting.await??;
    println!(
        "idle for 3 s with a worker that waits: {:.1} ms of CPU",
        (cpu().saturating_sub(before)).as_secs_f64() * 1e3
    );
    queue.store().close().await?;
    Ok(())
}

/// How long a file takes to open whose messages all wait, and what they take in memory.
async fn pending(path: &Path, messages: u64) -> Result<(), Failure> {
    let clock = Clock::system();
    let filled = queue(path).await?;
    for _ in 0..messages / 10_000 {
        let messages = (0..10_000).map(|_| message()).collect();
        filled.publish_all(messages, Duration::ZERO).await?;
    }
    filled.store().close().await?;
    drop(filled);
    let memory = memory_kib("VmRSS")?;
    // From here on the system notes the most that the process has in memory anew.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let begun = clock.now();
    let opened = queue(path).await?;
    let took = clock.now().since(begun);
    let depth = opened.depth().await?;
    let (most, now) = (memory_kib("VmHWM")?, memory_kib("VmRSS")?);
    println!(
        "open again with {} waiting: {:.2} s, {} MiB of memory, at most {} MiB while it opened ({} MiB before)",
        depth.ready,
        took.as_secs_f64(),
        now.saturating_sub(memory) / 1024,
        most.saturating_sub(memory) / 1024,
        memory / 1024,
    );
    opened.store().close().await?;
    Ok(())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What Linux says of the process's memory under that name.
fn memory_kib(name: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the system does not say it")?;
    Ok(line.split_whitespace().nth(1).ok_or("the system does not say it")?.parse()?)
}

fn ratios(ones: &[f64], others: &[f64]) -> Vec<f64> {
    ones.iter().zip(others).map(|(one, other)| one / other).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
