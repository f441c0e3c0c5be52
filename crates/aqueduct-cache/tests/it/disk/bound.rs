use aqueduct_cache::{DiskConfig, Level};
use aqueduct_core::Clock;

use super::{MIB, at, folder_bytes, found, open_with, small, value};

/// The lock, the tag and the file of invalidations.
const SLACK: u64 = 4_096;

#[tokio::test]
async fn ten_times_what_fits_never_takes_more_than_its_bound_and_the_oldest_leave() {
    let folder = tempfile::tempdir().unwrap();
    let (config, clock) = (small(4 * MIB), Clock::system());
    let disk = open_with(folder.path(), config, clock.clone());
    let (mut written, mut number) = (0, 0_u32);
    while written < 40 * MIB {
        let size = [0, 100, 4_000, 70_000, 200_000][number as usize % 5];
        disk.set(at(&number.to_le_bytes()), &value(vec![3; size])).await.unwrap();
        written += size as u64;
        number += 1;
        if number % 50 == 0 {
            let bytes = folder_bytes(folder.path());
            assert!(bytes <= 4 * MIB + SLACK, "{bytes} after {number}");
        }
    }
    let stats = disk.stats();
    assert!(stats.bytes <= 4 * MIB && stats.bytes > 3 * MIB, "{stats:?}");
    assert_eq!(stats.entries as u64 + stats.evicted, u64::from(number));
    let mut first = None;
    for key in 0..number {
        let there = found(&disk, &key.to_le_bytes()).await.is_some();
        assert!(there || first.is_none(), "{key} has left before an older one");
        first = first.or(there.then_some(key));
    }
    assert!(first.is_some_and(|first| first > number / 2));
    drop(disk);
    let disk = open_with(folder.path(), config, clock.clone());
    assert_eq!(disk.opened().entries, stats.entries);
    drop(disk);
    let disk = open_with(folder.path(), small(MIB), clock);
    assert!(disk.stats().bytes <= MIB && disk.stats().entries > 0);
    assert!(folder_bytes(folder.path()) <= MIB + SLACK);
}

#[tokio::test]
async fn what_is_replaced_and_removed_all_the_time_leaves_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_with(folder.path(), small(4 * MIB), Clock::system());
    for round in 0..40_000_u32 {
        disk.set(at(&(round % 100).to_le_bytes()), &value(vec![9; 500])).await.unwrap();
        if round % 3 == 0 {
            disk.remove(at(&(round % 100).to_le_bytes())).await.unwrap();
        }
    }
    let stats = disk.stats();
    assert!(stats.segments <= 3 && stats.evicted == 0 && stats.bytes < MIB / 4, "{stats:?}");
}

#[tokio::test]
async fn there_are_never_more_entries_than_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let config: DiskConfig = small(MIB).with_entries_max(1_000).unwrap();
    let disk = open_with(folder.path(), config, Clock::system());
    for number in 0..5_000_u32 {
        disk.set(at(&number.to_le_bytes()), &value("")).await.unwrap();
        assert!(disk.stats().entries <= 1_000);
    }
    assert!(found(&disk, &4_999_u32.to_le_bytes()).await.is_some());
}

#[test]
fn a_bound_that_cannot_be_is_refused() {
    for bytes in [0, MIB - 1, (1 << 36) + 1] {
        assert!(DiskConfig::default().with_bytes_max(bytes).is_err());
    }
    assert!(DiskConfig::default().with_entries_max(0).is_err());
}
