//! Question: what do checkpoints cost, and what does it take to know which of ten billion items are finished?
//!
//! Workload: batches of 50 numbers through a chunk function that takes 10 ms, eight at once, as a service would; and one
//! that takes no time, where nothing hides what a commit costs. With a checkpoint every 10 batches, and with the same
//! commits and none. In turns, 15 pairs; the fastest of each, since others work on the machine. Then 10,000,000,000 numbers
//! in leases of 1,000, held by 1,000 workers that end in any order, one number in 10,000 never finished and the first one
//! neither, so that the frontier cannot move: in one sequence, and in 64 partitions of their own. Seeded.
//!
//! A good answer: at most 2 % where a call takes time; at most 100 MB, alike for both layouts. The memory is that of the
//! whole process, so the set has less.

use std::path::Path;
use std::time::Duration;

use aqueduct_batch::{Batch, Every, FinishedSet};
use aqueduct_core::{Clock, Random};
use aqueduct_stream::{JsonlSink, Options, StageError};
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error>;

#[derive(Serialize, Deserialize)]
struct Number {
    n: u64,
}

#[expect(clippy::print_stdout, reason = "a bench prints its result")]
fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{:<66} {:>12}", "promise", "figure");
    for (name, items, work) in [
        ("% that checkpoints cost, calls of 10 ms, at most 2", 30_000, Duration::from_millis(10)),
        ("% that checkpoints cost, calls of no time, for comparison", 60_000, Duration::ZERO),
    ] {
        let mut ratios = Vec::new();
        let mut fastest = [Duration::MAX; 2];
        for pair in 0..15 {
            let mut both = [Duration::ZERO; 2];
            // Which goes first changes from pair to pair.
            for turn in [pair % 2, 1 - pair % 2] {
                let folder = tempfile::tempdir()?;
                both[turn] = runtime.block_on(once(folder.path(), items, work, turn == 0))?;
            }
            for (fastest, one) in fastest.iter_mut().zip(both) {
                *fastest = one.min(*fastest);
            }
            ratios.push(both[0].as_secs_f64() / both[1].as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        let (low, middle, high) = (ratios[3], ratios[ratios.len() / 2], ratios[11]);
        let percent = |ratio: f64| 100.0 * (ratio - 1.0);
        println!("{name:<66} {:>12.2}", percent(fastest[0].as_secs_f64() / fastest[1].as_secs_f64()));
        println!("{:<66} {:>12.2}", "  the median of the pairs", percent(middle));
        println!("{:<66} {:>5.1} .. {:.1}", "  the middle half of the pairs", percent(low), percent(high));
    }
    for (name, partitions) in [("one sequence", 1), ("64 partitions", 64)] {
        let clock = Clock::system();
        let started = clock.now();
        let set = finish(10_000_000_000, partitions);
        let resident = resident_bytes()?;
        let encoded = set.encode();
        println!("{:<66} {:>12}", format!("numbers finished of ten billion, {name}"), set.len());
        println!("{:<66} {:>12.1}", "  MB of memory, at most 100", mb(resident));
        println!("{:<66} {:>12.1}", "  MB encoded", mb(encoded.len()));
        println!("{:<66} {:>12.1}", "  s for all of it", clock.now().since(started).as_secs_f64());
        assert!(FinishedSet::decode(&encoded)? == set);
    }
    Ok(())
}

/// One run over so many items; gives how long it took.
async fn once(folder: &Path, items: u64, work: Duration, checkpoints: bool) -> Result<Duration, Failure> {
    let clock = Clock::system();
    let batch = Batch::named("bench")
        .items(move || (0..items).map(|n| Number { n }))
        .dir(folder.join("data"))
        .chunk("work", move |some: Vec<Number>| {
            let clock = clock.clone();
            async move {
                if !work.is_zero() {
                    clock.sleep(work).await;
                }
                Ok::<_, StageError>(some)
            }
        })
        .sink("out", JsonlSink::new(folder.join("out.jsonl")));
    // The same window and the same largest commit, so that nothing but the checkpoints differs.
    let batch = if checkpoints {
        batch.options(Options { epoch_batches: 10, ..Options::default() })
    } else {
        let options = Options { epoch_batches: 10, window_items: 500, ..Options::default() };
        batch.checkpoint(Every::Batches(1 << 40)).options(options)
    };
    let report = batch.run().await?;
    assert_eq!(report.run.counts.delivered, items);
    assert_eq!(report.run.checkpoints > 0, checkpoints);
    Ok(report.run.elapsed)
}

/// What is finished when 1,000 workers have taken leases of 1,000 numbers, in this many partitions of the sequence.
fn finish(numbers: u64, partitions: u64) -> FinishedSet {
    const LEASE: u64 = 1_000;
    const WORKERS: usize = 1_000;
    let mut random = Random::seeded(7);
    let mut set = FinishedSet::new();
    let leases = numbers / LEASE / partitions;
    // Each partition gives its leases in order; workers ask the partitions in turn.
    let lease = |number: u64| (number % partitions) * leases * LEASE + (number / partitions) * LEASE;
    let mut held: Vec<u64> = Vec::with_capacity(WORKERS);
    for number in 0..leases * partitions {
        if held.len() < WORKERS {
            held.push(lease(number));
            continue;
        }
        let ended = usize::try_from(random.below(WORKERS as u64)).unwrap_or(0);
        let from = std::mem::replace(&mut held[ended], lease(number));
        end(&mut set, from, from + LEASE, &mut random);
    }
    for from in held {
        end(&mut set, from, from + LEASE, &mut random);
    }
    set
}

/// One lease has ended; one number in 10,000 of it is not finished.
fn end(set: &mut FinishedSet, from: u64, to: u64, random: &mut Random) {
    let hole = match from {
        0 => Some(0),
        _ => Some(from + random.below(10_000)).filter(|hole| *hole < to),
    };
    set.insert_range(from..hole.unwrap_or(to));
    if let Some(hole) = hole {
        set.insert_range(hole + 1..to);
    }
}

fn resident_bytes() -> Result<usize, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).ok_or("no resident pages")?.parse()?;
    Ok(pages * PAGE_BYTES)
}

/// That of every Linux that the benches run on.
const PAGE_BYTES: usize = 4096;

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
