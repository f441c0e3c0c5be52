use std::time::Duration;

use aqueduct_cache::{Disk, DiskConfig, Level, LevelError, Place, Scope, Stored};
use aqueduct_core::{Clock, Timestamp};

use super::{MIB, at, found, held, open, open_with, small, value};

const MINUTE: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp(1_763_740_800_000);

#[test]
fn everything_can_be_sent_between_threads() {
    fn check<T: Send + Sync + std::fmt::Debug>() {}
    check::<Disk>();
    check::<DiskConfig>();
    check::<aqueduct_cache::DiskError>();
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _time) = Clock::manual(NOW);
    let whole = Stored {
        value: Some("{\"id\":1}\n".into()),
        at: NOW,
        fresh: Some(MINUTE),
        held: Some(2 * MINUTE),
        edition: 7,
        session: 3,
        tags: vec!["a".into(), "b c".into()],
    };
    let absent = Stored { value: None, at: NOW, ..Stored::default() };
    let disk = open_with(folder.path(), DiskConfig::default(), clock.clone());
    disk.set(at(b"whole"), &whole).await.unwrap();
    disk.set(at(b"absent"), &absent).await.unwrap();
    disk.set(at(b"replaced"), &value("old")).await.unwrap();
    disk.set(at(b"replaced"), &value("new")).await.unwrap();
    disk.set(at(b"removed"), &value("gone")).await.unwrap();
    disk.remove(at(b"removed")).await.unwrap();
    for restart in 0..3 {
        let disk = if restart == 0 { &disk } else { &reopen(folder.path(), &clock, restart) };
        assert_eq!(disk.get(at(b"whole")).await.unwrap().as_ref(), Some(&whole));
        assert_eq!(disk.get(at(b"absent")).await.unwrap().as_ref(), Some(&absent));
        assert_eq!(found(disk, b"replaced").await, Some(b"new".to_vec()));
        assert_eq!(found(disk, b"removed").await, None);
        assert_eq!(disk.get(Place { namespace: "other", key: b"whole" }).await.unwrap(), None);
        let many = disk.get_many("test", &[b"absent", b"nobody", b"whole"]).await.unwrap();
        assert_eq!(many, [Some(absent.clone()), None, Some(whole.clone())]);
        disk.ping().await.unwrap();
        disk.close().await;
        if restart == 0 {
            std::fs::create_dir(folder.path().join("1")).unwrap();
            copy(folder.path(), &folder.path().join("1"));
            std::fs::create_dir(folder.path().join("2")).unwrap();
            copy(folder.path(), &folder.path().join("2"));
        }
    }
}

/// Another copy of the files for each restart, as the first is still held.
fn reopen(folder: &std::path::Path, clock: &Clock, restart: usize) -> Disk {
    let disk = open_with(&folder.join(restart.to_string()), DiskConfig::default(), clock.clone());
    assert_eq!((disk.opened().entries, disk.opened().damaged, disk.opened().forgotten), (3, 0, false));
    disk
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for file in super::files(from).iter().filter(|file| file.is_file()) {
        std::fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
    }
}

#[tokio::test]
async fn an_entry_expires_at_its_time_whether_the_process_was_there_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, time) = Clock::manual(NOW);
    let disk = open_with(folder.path(), DiskConfig::default(), clock.clone());
    disk.set(at(b"short"), &held("s", NOW, MINUTE)).await.unwrap();
    disk.set(at(b"long"), &held("l", NOW, 3 * MINUTE)).await.unwrap();
    disk.set(at(b"ever"), &value("e")).await.unwrap();
    time.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(found(&disk, b"short").await, Some(b"s".to_vec()));
    time.advance(Duration::from_millis(1));
    assert_eq!(found(&disk, b"short").await, None);
    assert_eq!((disk.stats().expired, disk.stats().entries), (1, 2));
    drop(disk);
    let disk = open_with(folder.path(), DiskConfig::default(), clock.clone());
    assert_eq!(found(&disk, b"long").await, Some(b"l".to_vec()));
    drop(disk);
    time.advance(2 * MINUTE);
    let disk = open_with(folder.path(), DiskConfig::default(), clock);
    assert_eq!((found(&disk, b"long").await, found(&disk, b"ever").await), (None, Some(b"e".to_vec())));
    assert_eq!((disk.opened().entries, disk.opened().damaged, disk.stats().expired), (1, 0, 1));
}

#[tokio::test]
async fn segments_in_which_all_has_expired_leave_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, time) = Clock::manual(NOW);
    let disk = open_with(folder.path(), small(4 * MIB), clock);
    for number in 0..1_000_u32 {
        disk.set(at(&number.to_le_bytes()), &held(vec![7; 2_000], NOW, MINUTE)).await.unwrap();
    }
    let before = disk.stats();
    assert!(before.segments > 10 && before.entries == 1_000, "{before:?}");
    time.advance(MINUTE);
    for _ in 0..before.segments {
        disk.set(at(b"one"), &value("1")).await.unwrap();
    }
    let after = disk.stats();
    // The one that is written to holds an entry that does not expire.
    assert!(after.segments <= 2 && after.bytes < MIB / 4 && after.expired > 900, "{after:?}");
}

#[tokio::test]
async fn a_clock_that_goes_back_neither_brings_back_nor_keeps_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, time) = Clock::manual(NOW);
    let disk = open_with(folder.path(), DiskConfig::default(), clock.clone());
    disk.set(at(b"over"), &held("o", NOW, MINUTE)).await.unwrap();
    disk.set(at(b"kept"), &held("k", NOW, 60 * MINUTE)).await.unwrap();
    time.advance(MINUTE);
    assert_eq!(found(&disk, b"over").await, None);
    time.set_wall(Timestamp(NOW.0 - 1_000));
    assert_eq!(found(&disk, b"over").await, None, "it has left");
    assert_eq!(found(&disk, b"kept").await, Some(b"k".to_vec()));
    disk.set(at(b"over"), &held("again", clock.wall(), MINUTE)).await.unwrap();
    disk.remove(at(b"over")).await.unwrap();
    drop(disk);
    let disk = open_with(folder.path(), DiskConfig::default(), clock.clone());
    assert_eq!(found(&disk, b"over").await, None, "nor is it on the disk");
    assert_eq!(found(&disk, b"kept").await, Some(b"k".to_vec()));
    time.set_wall(Timestamp(0));
    assert_eq!(found(&disk, b"kept").await, None, "55 years are not an hour");
    disk.set(at(b"new"), &held("n", Timestamp(i64::MIN), Duration::MAX)).await.unwrap();
    disk.set(at(b"far"), &held("f", Timestamp(i64::MAX), Duration::MAX)).await.unwrap();
    found(&disk, b"new").await;
    found(&disk, b"far").await;
}

#[tokio::test]
async fn keys_of_any_bytes_and_values_of_any_size_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [
        vec![],
        vec![0],
        vec![0; 65_536],
        vec![1; 65_536],
        b"../../etc/passwd".to_vec(),
        vec![0xff, 0, b'/', b'\n'],
        b"test".to_vec(),
    ];
    let disk = open(folder.path());
    for (number, key) in keys.iter().enumerate() {
        disk.set(at(key), &value(vec![u8::try_from(number).unwrap(); number * 1_000_000])).await.unwrap();
    }
    disk.set(Place { namespace: "te", key: b"st" }, &value("in another namespace")).await.unwrap();
    disk.set(Place { namespace: "", key: b"testtest" }, &value("in none")).await.unwrap();
    drop(disk);
    let disk = open(folder.path());
    for (number, key) in keys.iter().enumerate() {
        let expected = vec![u8::try_from(number).unwrap(); number * 1_000_000];
        assert!(found(&disk, key).await == Some(expected), "{number}");
    }
    let other = disk.get(Place { namespace: "te", key: b"st" }).await.unwrap().unwrap();
    assert_eq!(other.value.as_deref(), Some(&b"in another namespace"[..]));
}

#[tokio::test]
async fn a_value_that_is_too_large_is_refused_and_the_old_one_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_with(folder.path(), small(MIB), Clock::system());
    disk.set(at(b"a"), &value("small")).await.unwrap();
    disk.set(at(b"b"), &value("small")).await.unwrap();
    let error = disk.set(at(b"a"), &value(vec![0; 65_536])).await.unwrap_err();
    assert!(matches!(error, LevelError::Refused { level: "disk", .. }), "{error:?}");
    assert_eq!((found(&disk, b"a").await, found(&disk, b"b").await), (None, Some(b"small".to_vec())));
    disk.set(at(b"a"), &value(vec![1; 65_536 - 200])).await.unwrap();
    assert_eq!(found(&disk, b"a").await, Some(vec![1; 65_536 - 200]));
}

#[tokio::test]
async fn invalidations_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    assert_eq!(disk.invalidations("a").await.unwrap().edition(), 0);
    assert_eq!(disk.invalidate("a", &Scope::Tag("t".into()), 0).await.unwrap(), 1);
    assert_eq!(disk.invalidate("a", &Scope::Prefix(b"p\xff".as_slice().into()), 10).await.unwrap(), 10);
    assert_eq!(disk.invalidate("a", &Scope::All, 3).await.unwrap(), 11);
    assert_eq!(disk.invalidate("a", &Scope::Tag("u".into()), 0).await.unwrap(), 12);
    assert_eq!(disk.invalidate("b", &Scope::All, 0).await.unwrap(), 1);
    let before = disk.invalidations("a").await.unwrap();
    assert!(before.origin != 0 && before.edition() == 12);
    drop(disk);
    let disk = open(folder.path());
    assert_eq!(disk.invalidations("a").await.unwrap(), before);
    assert_eq!(disk.invalidations("b").await.unwrap().edition(), 1);
    assert_eq!(disk.invalidate("a", &Scope::All, 0).await.unwrap(), 13);
    let other = tempfile::tempdir().unwrap();
    assert_ne!(open(other.path()).invalidations("a").await.unwrap().origin, before.origin);
}

#[tokio::test]
async fn long_scopes_cover_more_and_never_less() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    disk.invalidate("a", &Scope::Prefix(vec![5; 65_536].into()), 0).await.unwrap();
    let known = disk.invalidations("a").await.unwrap();
    assert!(!known.is_valid(0, &[5; 70_000], []) && known.is_valid(0, &[5, 6], []));
    disk.invalidate("a", &Scope::Tag("x".repeat(65_536).into()), 0).await.unwrap();
    assert!(!disk.invalidations("a").await.unwrap().is_valid(1, &[5, 6], ["x".repeat(65_536).as_str()]));
}

#[tokio::test]
async fn a_million_invalidations_of_the_same_take_bounded_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    let mut edition = 0;
    for _ in 0..60_000 {
        edition = disk.invalidate("a", &Scope::Tag("the same tag".into()), 0).await.unwrap();
    }
    let bytes = super::folder_bytes(folder.path());
    assert!(bytes < MIB + 4_096, "{bytes}");
    drop(disk);
    assert_eq!(open(folder.path()).invalidations("a").await.unwrap().edition(), edition);
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_not_carried_out_later() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    for round in 0..500_u32 {
        let key = round.to_le_bytes();
        let stored = value("late");
        {
            let mut set = disk.set(at(&key), &stored);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            drop(set.as_mut().poll(&mut context));
        }
        disk.remove(at(&key)).await.unwrap();
        assert_eq!(found(&disk, &key).await, None);
    }
    drop(disk);
    assert_eq!(open(folder.path()).opened().entries, 0);
}

#[test]
fn outside_of_a_runtime_it_works_where_it_is_polled() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    let stored = value("v");
    let mut set = disk.set(at(b"k"), &stored);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(set.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(()))));
}

#[tokio::test]
async fn how_much_there_is_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let before = {
        let disk = open(folder.path());
        disk.set(at(b"k"), &value("v".repeat(1_000))).await.unwrap();
        disk.close().await;
        disk.stats()
    };
    let after = open(folder.path()).stats();
    assert_eq!((after.entries, after.bytes), (1, before.bytes));
    assert!(after.bytes > 1_000, "{after:?}");
}
