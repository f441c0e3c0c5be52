//! How long does a cache in a folder take to open again, and what do a look and a change cost?
//!
//! Workload: 1,000,000 entries with keys of 16 bytes and values of 100, stored one after the other; 200,000 looks at random
//! keys, one by one and 100 at a time; the folder opened again; 200,000 removals. Files are in the temporary folder, and in
//! the page cache: nothing here measures a disk.
//!
//! A good answer: it is open again in less than a second.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::time::Duration;

use aqueduct_cache::{Disk, DiskConfig, Level, Place, Stored};
use aqueduct_core::{Clock, Random};

type Failure = Box<dyn std::error::Error>;

const ENTRIES: u64 = 1_000_000;
const LOOKS: u64 = 200_000;
const BATCH: usize = 100;

fn main() -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let clock = Clock::system();
    let open = || Disk::open(folder.path(), DiskConfig::default(), clock.clone());
    let disk = open()?;
    let value = Stored { value: Some(vec![b'v'; 100].into()), at: clock.wall(), ..Stored::default() };

    let memory = resident_bytes();
    let begun = clock.now();
    for key in 0..ENTRIES {
        disk.set(at(&bytes(key)), &value).await?;
    }
    tell("set", clock.now().since(begun), ENTRIES);
    let stats = disk.stats();
    println!("{:>20} {:9} bytes on disk for an entry", "", stats.bytes / ENTRIES);
    println!(
        "{:>20} {:9} bytes of memory for an entry",
        "",
        resident_bytes().saturating_sub(memory) / ENTRIES
    );

    let mut random = Random::seeded(7);
    let begun = clock.now();
    for _ in 0..LOOKS {
        found(disk.get(at(&bytes(random.below(ENTRIES)))).await?)?;
    }
    tell("get", clock.now().since(begun), LOOKS);

    let begun = clock.now();
    for _ in 0..LOOKS / BATCH as u64 {
        let keys: Vec<_> = (0..BATCH).map(|_| bytes(random.below(ENTRIES))).collect();
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 16]>::as_slice).collect();
        for one in disk.get_many("bench", &keys).await? {
            found(one)?;
        }
    }
    tell("get_many of 100", clock.now().since(begun), LOOKS);

    drop(disk);
    let begun = clock.now();
    let disk = open()?;
    let took = clock.now().since(begun);
    println!("{:>20} {took:9.3?} for {} entries", "open again", disk.opened().entries);

    let begun = clock.now();
    for key in 0..LOOKS {
        disk.remove(at(&bytes(key))).await?;
    }
    tell("remove", clock.now().since(begun), LOOKS);
    let good = disk.stats().entries as u64 == ENTRIES - LOOKS && took < Duration::from_secs(1);
    println!("{}", if good { "good" } else { "NOT GOOD" });
    Ok(())
}

fn at(key: &[u8]) -> Place<'_> {
    Place { namespace: "bench", key }
}

fn bytes(key: u64) -> [u8; 16] {
    (u128::from(key) << 64 | u128::from(key)).to_le_bytes()
}

fn found(stored: Option<Stored>) -> Result<(), Failure> {
    stored.map(drop).ok_or_else(|| "an entry is missing".into())
}

fn tell(what: &str, took: Duration, times: u64) {
    println!("{what:>20} {:9.2} us", took.as_secs_f64() * 1e6 / times as f64);
}

/// How much memory the process has, where the system says so.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}
