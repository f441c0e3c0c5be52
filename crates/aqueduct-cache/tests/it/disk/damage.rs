use std::path::Path;

use aqueduct_cache::{Level, Scope};
use aqueduct_core::Clock;
use proptest::prelude::*;

use super::{MIB, at, files, found, open, open_with, small, value};

const KEYS: u32 = 120;

/// What is the answer for a key: its last value, or none. Every fourth was replaced, every fifth removed.
fn expected(key: u32) -> Option<Vec<u8>> {
    let size = [0, 10, 300, 5_000][key as usize % 4];
    (!key.is_multiple_of(5)).then(|| format!("value {key} {}", "x".repeat(size)).into_bytes())
}

async fn fill(folder: &Path) -> u64 {
    let disk = open_with(folder, small(MIB), Clock::system());
    for key in 0..KEYS {
        if key % 4 == 0 || key % 5 == 0 {
            disk.set(at(&key.to_le_bytes()), &value(format!("stale {key}"))).await.unwrap();
        }
    }
    for key in 0..KEYS {
        match expected(key) {
            Some(bytes) => disk.set(at(&key.to_le_bytes()), &value(bytes)).await.unwrap(),
            None => disk.remove(at(&key.to_le_bytes())).await.unwrap(),
        }
    }
    for number in 0..10 {
        disk.invalidate("test", &Scope::Tag(format!("tag {number}").into()), 0).await.unwrap();
    }
    assert!(disk.stats().segments >= 2);
    disk.invalidations("test").await.unwrap().origin
}

/// Opens what is left; whatever is found must be right. Takes and gives the origin and the edition.
async fn check(folder: &Path, (origin, edition): (u64, u64)) -> (u64, u64) {
    let disk = open_with(folder, small(MIB), Clock::system());
    let known = disk.invalidations("test").await.unwrap();
    if known.origin == origin {
        assert!(!disk.opened().forgotten);
        assert_eq!(known.edition(), edition, "an invalidation was lost");
    } else {
        assert!(disk.opened().forgotten && disk.opened().entries == 0 && known.edition() == 0);
    }
    for key in 0..KEYS {
        let found = found(&disk, &key.to_le_bytes()).await;
        assert!(found.is_none() || found == expected(key), "a wrong value for {key}: {found:?}");
    }
    disk.set(at(b"after"), &value("it goes on")).await.unwrap();
    assert_eq!(super::found(&disk, b"after").await, Some(b"it goes on".to_vec()));
    (known.origin, known.edition())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[derive(Clone, Debug)]
enum Harm {
    Flip { file: prop::sample::Index, at: prop::sample::Index, bit: u8 },
    Overwrite { file: prop::sample::Index, at: prop::sample::Index, with: Vec<u8> },
    Cut { file: prop::sample::Index, at: prop::sample::Index },
    Delete { file: prop::sample::Index },
    Swap { one: prop::sample::Index, other: prop::sample::Index },
}

fn harm() -> impl Strategy<Value = Harm> {
    let index = any::<prop::sample::Index>;
    let bytes = prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 1..200);
    prop_oneof![
        4 => (index(), index(), 0..8_u8).prop_map(|(file, at, bit)| Harm::Flip { file, at, bit }),
        2 => (index(), index(), bytes).prop_map(|(file, at, with)| Harm::Overwrite { file, at, with }),
        2 => (index(), index()).prop_map(|(file, at)| Harm::Cut { file, at }),
        1 => index().prop_map(|file| Harm::Delete { file }),
        1 => (index(), index()).prop_map(|(one, other)| Harm::Swap { one, other }),
    ]
}

fn inflict(folder: &Path, harm: &Harm) {
    let files = files(folder);
    let change = |file: &prop::sample::Index, change: &dyn Fn(&mut Vec<u8>)| {
        let path = file.get(&files);
        let Ok(mut bytes) = std::fs::read(path) else { return };
        if !bytes.is_empty() {
            change(&mut bytes);
        }
        std::fs::write(path, bytes).unwrap();
    };
    match harm {
        Harm::Flip { file, at, bit } => change(file, &|bytes| {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }),
        Harm::Overwrite { file, at, with } => change(file, &|bytes| {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + with.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }),
        Harm::Cut { file, at } => change(file, &|bytes| bytes.truncate(at.index(bytes.len()))),
        Harm::Delete { file } => drop(std::fs::remove_file(file.get(&files))),
        Harm::Swap { one, other } => {
            let (one, other, aside) = (one.get(&files), other.get(&files), folder.join("aside"));
            if one.exists() && other.exists() && one != other {
                std::fs::rename(one, &aside).unwrap();
                std::fs::rename(other, one).unwrap();
                std::fs::rename(&aside, other).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_to_any_file_never_gives_a_wrong_value(harms in prop::collection::vec(harm(), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        run(async {
            let origin = fill(folder.path()).await;
            for harm in &harms {
                inflict(folder.path(), harm);
            }
            // Nobody takes a folder without its tag for a cache.
            std::fs::write(folder.path().join("CACHEDIR.TAG"), "").unwrap();
            let after = check(folder.path(), (origin, 10)).await;
            assert_eq!(check(folder.path(), after).await, after);
        });
    }

    #[test]
    fn damage_while_it_is_open_never_gives_a_wrong_value(harms in prop::collection::vec(harm(), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        run(async {
            fill(folder.path()).await;
            let disk = open_with(folder.path(), small(MIB), Clock::system());
            // What is deleted or swapped by name is not what is open.
            for harm in harms.iter().filter(|harm| !matches!(harm, Harm::Delete { .. } | Harm::Swap { .. })) {
                inflict(folder.path(), harm);
            }
            for key in 0..KEYS {
                let found = found(&disk, &key.to_le_bytes()).await;
                assert!(found.is_none() || found == expected(key), "a wrong value for {key}: {found:?}");
            }
        });
    }
}

#[tokio::test]
async fn one_flipped_bit_costs_one_entry() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    for key in 0..100_u32 {
        disk.set(at(&key.to_le_bytes()), &value(vec![b'v'; 1_000])).await.unwrap();
    }
    drop(disk);
    let segment =
        files(folder.path()).into_iter().find(|file| file.extension().is_some_and(|end| end == "segment"));
    let segment = segment.unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let disk = open(folder.path());
    assert_eq!((disk.opened().entries, disk.opened().damaged, disk.opened().forgotten), (99, 1, false));
}

#[tokio::test]
async fn invalidations_that_cannot_be_read_empty_the_cache() {
    for cut in [0, 1, 20, 27, 28, 40, usize::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let origin = fill(folder.path()).await;
        let file = folder.path().join("invalidations");
        let bytes = std::fs::read(&file).unwrap();
        if cut == usize::MAX {
            std::fs::remove_file(&file).unwrap();
        } else {
            std::fs::write(&file, &bytes[..cut]).unwrap();
        }
        let disk = open_with(folder.path(), small(MIB), Clock::system());
        assert!(disk.opened().forgotten && disk.opened().entries == 0 && disk.stats().entries == 0);
        assert_ne!(disk.invalidations("test").await.unwrap().origin, origin);
    }
}
