//! What share of the requests does the cache in memory answer, whatever is asked of it?
//!
//! Workload: six recorded traces (benches/data/traces), at 20 capacities in all: a loop, programs that take turns, a vault,
//! a shop, a database and a disk. Each request looks, and inserts what is not there. One shard, default settings, the
//! same for all; the adaptive order with as many shards as it has by default, too.
//!
//! A good answer: a mean of 47.5 at least, corda@512 at least 32.0 and loop@512 at least 48.9, and nowhere more than one
//! point below LRU. The fixed orders have the figures of the textbook algorithms, which stand beside them, within 0.1.

use std::io::Read;
use std::path::Path;

use aqueduct_cache::{Config, Eviction, Memory};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A capacity, and what a simulator of our own has there for LRU, FIFO, S3-FIFO and SIEVE.
pub(crate) type Cell = (u64, [f64; 4]);

pub(crate) const CELLS: [(&str, &[Cell]); 6] = [
    ("loop", &[(256, [0.0, 0.0, 0.0, 0.0]), (512, [0.0, 0.0, 0.0, 0.0]), (900, [0.0, 0.0, 78.60, 0.0])]),
    (
        "multi3",
        &[
            (400, [27.38, 20.11, 35.37, 29.31]),
            (1_000, [37.70, 32.97, 45.37, 39.16]),
            (2_000, [44.59, 39.65, 55.23, 46.69]),
        ],
    ),
    (
        "corda",
        &[
            (512, [33.33, 33.33, 33.33, 0.38]),
            (1_000, [33.33, 33.33, 33.33, 0.74]),
            (5_000, [33.33, 33.33, 33.33, 3.68]),
        ],
    ),
    (
        "web12",
        &[
            (100, [36.22, 34.52, 36.27, 35.86]),
            (500, [55.78, 52.38, 60.85, 59.11]),
            (1_000, [64.73, 60.82, 69.08, 68.23]),
            (3_000, [76.48, 72.99, 78.62, 78.18]),
        ],
    ),
    (
        "OLTP",
        &[
            (250, [16.47, 15.06, 21.70, 11.81]),
            (1_000, [32.83, 28.53, 40.84, 32.56]),
            (2_000, [42.47, 37.44, 47.01, 41.19]),
            (5_000, [53.65, 49.68, 55.88, 51.89]),
            (15_000, [64.63, 61.42, 66.04, 65.10]),
        ],
    ),
    ("P3", &[(38_127, [4.33, 4.58, 19.41, 12.01]), (152_508, [50.29, 44.45, 53.44, 47.41])]),
];

const FIXED: [Eviction; 4] = [Eviction::Lru, Eviction::Fifo, Eviction::S3Fifo, Eviction::Sieve];

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn main() -> Result<(), Failure> {
    println!(
        "{:14} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "adaptive", "LRU", "FIFO", "S3-FIFO", "SIEVE", "LFU", "shards"
    );
    let (mut sums, mut cells) = ([0.0; 7], 0.0);
    let (mut worst, mut furthest) = (f64::INFINITY, 0.0_f64);
    for (name, capacities) in CELLS {
        let trace = trace(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/traces"), name)?;
        for (capacity, textbook) in capacities {
            let adaptive = hit_percent(&trace, *capacity, Eviction::Adaptive, Some(1))?;
            let mut row = vec![adaptive];
            for (eviction, expected) in FIXED.into_iter().zip(textbook) {
                let ours = hit_percent(&trace, *capacity, eviction, Some(1))?;
                furthest = furthest.max((ours - expected).abs());
                row.push(ours);
            }
            row.push(hit_percent(&trace, *capacity, Eviction::Lfu, Some(1))?);
            let by_default = hit_percent(&trace, *capacity, Eviction::Adaptive, None)?;
            row.push(by_default);
            worst = worst.min(adaptive.min(by_default) - row[1]);
            for (sum, figure) in sums.iter_mut().zip(&row) {
                *sum += figure;
            }
            cells += 1.0;
            let figures: String = row.iter().map(|figure| format!(" {figure:9.2}")).collect();
            println!("{:14}{figures}", format!("{name}@{capacity}"));
        }
    }
    let means: String = sums.iter().map(|sum| format!(" {:9.2}", sum / cells)).collect();
    println!("{:14}{means}", "mean");
    println!("adaptive over LRU, at least: {worst:.2} points (wanted -1)");
    println!("fixed orders and the textbook, furthest: {furthest:.2} points (wanted 0.1)");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "millions")]
fn hit_percent(
    trace: &[u64],
    capacity: u64,
    eviction: Eviction,
    shards: Option<usize>,
) -> Result<f64, Failure> {
    let mut config = Config::builder().capacity(capacity).eviction(eviction);
    if let Some(shards) = shards {
        config = config.shards(shards);
    }
    let cache = Memory::new(config.build()?);
    for key in trace {
        if cache.get(key).is_none() {
            cache.insert(*key, ());
        }
    }
    Ok(cache.stats().hits as f64 / trace.len() as f64 * 100.0)
}

/// The keys of a trace in this folder, in their order. The comparison with peers has it from here.
pub(crate) fn trace(folder: &Path, name: &str) -> Result<Vec<u64>, Failure> {
    let file = match name {
        "loop" => "lirs-loop.trace.gz",
        "multi3" => "lirs-multi3.trace.gz",
        "corda" => "corda-vaultservice.trace.gz",
        "web12" => "cache2k-web12.trace.zst",
        "OLTP" => "arc-OLTP.lis.zst",
        _ => "arc-P3.lis.zst",
    };
    let packed = std::fs::read(folder.join(file))?;
    let mut bytes = Vec::new();
    if file.ends_with(".gz") {
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut bytes)?;
    } else {
        bytes = zstd::decode_all(&*packed)?;
    }
    match name {
        "corda" => Ok(bytes.as_chunks().0.iter().map(|key| u64::from_be_bytes(*key)).collect()),
        "web12" => Ok(bytes.as_chunks().0.iter().map(|key| u64::from(u32::from_be_bytes(*key))).collect()),
        "loop" | "multi3" => {
            let text = String::from_utf8(bytes)?;
            let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "*");
            Ok(keys.map(str::parse).collect::<Result<_, _>>()?)
        }
        // A line stands for so many blocks from the first one on.
        _ => {
            let mut keys = Vec::new();
            for line in String::from_utf8(bytes)?.lines() {
                let mut fields = line.split_whitespace().map(str::parse::<u64>);
                let (Some(first), Some(count)) = (fields.next(), fields.next()) else { continue };
                let first = first?;
                keys.extend(first..first + count?);
            }
            Ok(keys)
        }
    }
}
