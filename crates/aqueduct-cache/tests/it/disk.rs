//! The level in a folder, with real files, real processes and real damage.

mod bound;
mod damage;
mod full;
mod processes;
mod round_trip;

use std::path::Path;
use std::time::Duration;

use aqueduct_cache::{Disk, DiskConfig, Level, Place, Stored};
use aqueduct_core::{Clock, Timestamp};

const MIB: u64 = 1 << 20;

fn open(folder: &Path) -> Disk {
    open_with(folder, DiskConfig::default(), Clock::system())
}

fn open_with(folder: &Path, config: DiskConfig, clock: Clock) -> Disk {
    Disk::open(folder, config, clock).unwrap()
}

fn small(bytes_max: u64) -> DiskConfig {
    DiskConfig::default().with_bytes_max(bytes_max).unwrap()
}

fn at(key: &[u8]) -> Place<'_> {
    Place { namespace: "test", key }
}

fn value(bytes: impl Into<Vec<u8>>) -> Stored {
    Stored { value: Some(bytes.into().into()), ..Stored::default() }
}

fn held(bytes: impl Into<Vec<u8>>, now: Timestamp, held: Duration) -> Stored {
    Stored { at: now, held: Some(held), ..value(bytes) }
}

async fn found(disk: &Disk, key: &[u8]) -> Option<Vec<u8>> {
    disk.get(at(key)).await.unwrap().and_then(|stored| stored.value).map(|value| value.to_vec())
}

/// How long all files are together.
fn folder_bytes(folder: &Path) -> u64 {
    files(folder).iter().map(|file| file.metadata().unwrap().len()).sum()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}
