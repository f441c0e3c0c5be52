//! The power goes: what was written since the last sync is there in part, or not at all.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::super::attempts::{Attempts, beside};
use super::super::committer::LARGE_BYTES;
use super::super::opened::Opened;
use super::super::tables;
use super::*;

/// What was done to a disk, in order.
#[derive(Clone, Debug)]
enum Did {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// A disk that remembers what was done to it.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, Vec<Did>)>>);

impl Disk {
    fn syncs(&self) -> usize {
        self.0.lock().expect("whole").1.iter().filter(|did| matches!(did, Did::Sync)).count()
    }
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

fn do_to(disk: &mut Vec<u8>, did: &Did) {
    match did {
        Did::Write(offset, data) => {
            let range = bytes(*offset)..bytes(*offset) + data.len();
            if disk.len() < range.end {
                disk.resize(range.end, 0);
            }
            disk[range].copy_from_slice(data);
        }
        Did::SetLen(len) => disk.resize(bytes(*len), 0),
        Did::Sync => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("whole").0.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().expect("whole");
        out.copy_from_slice(&disk.0[bytes(offset)..bytes(offset) + out.len()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.keep(Did::SetLen(len));
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.keep(Did::Sync);
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.keep(Did::Write(offset, data.to_vec()));
        Ok(())
    }
}

impl Disk {
    fn keep(&self, did: Did) {
        let mut disk = self.0.lock().expect("whole");
        do_to(&mut disk.0, &did);
        disk.1.push(did);
    }
}

/// What became of the writes since the last sync.
#[derive(Clone, Copy, Debug)]
enum Fate {
    None,
    All,
    /// Some of them, whatever their order.
    Some,
    /// Some sectors of some of them.
    Torn,
}

/// Power losses at each sync of a walk through everything, and what must be there then.
fn lose_power_at_each_sync(seed: u64, large_bytes: u64) {
    let disk = Disk::default();
    let database = redb::Builder::new().create_with_backend(disk.clone()).expect("made");
    tables::create(&database).expect("made");
    let (_folder, path) = place();
    let (log, _) =
        RedbLog::start(Opened::of(database), &path, &clock(), large_bytes, &mut drop).expect("starts");
    // How many syncs there were when a write was acknowledged, what there was then, and the file beside it.
    let mut acknowledged =
        vec![(disk.syncs(), Model { next_id: 1, ..Model::default() }, fs_read(&beside(&path)))];
    let mut walk = Walk::new(seed);
    for _ in 0..60 {
        put(&log, walk.step()).expect("written");
        // The file beside is written before the answer.
        acknowledged.push((disk.syncs(), walk.model.clone(), fs_read(&beside(&path))));
    }
    // From the first write on; before it the file has another name.
    let from = acknowledged[0].0;
    log.close().expect("closed");
    acknowledged.push((disk.syncs(), walk.model.clone(), fs_read(&beside(&path))));

    let done = disk.0.lock().expect("whole").1.clone();
    let mut random = Random::seeded(seed);
    let mut synced = Vec::new();
    let mut images = 0;
    let (mut syncs, mut since) = (0, 0);
    for (index, did) in done.iter().enumerate() {
        if !matches!(did, Did::Sync) {
            continue;
        }
        if syncs >= from {
            for fate in [Fate::None, Fate::All, Fate::Some, Fate::Some, Fate::Torn, Fate::Torn] {
                let mut image: Vec<u8> = synced.clone();
                for did in &done[since..index] {
                    befall(&mut image, did, fate, &mut random);
                }
                check(&image, syncs, &acknowledged, large_bytes, fate);
                images += 1;
            }
        }
        for did in &done[since..=index] {
            do_to(&mut synced, did);
        }
        (syncs, since) = (syncs + 1, index + 1);
    }
    assert!(images > 300, "{images}");
}

fn fs_read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("there")
}

fn befall(image: &mut Vec<u8>, did: &Did, fate: Fate, random: &mut Random) {
    match (fate, did) {
        (Fate::None, _) => {}
        (Fate::All, did) => do_to(image, did),
        // A length is one change of the file system; a write may make it longer, too.
        (Fate::Some | Fate::Torn, Did::SetLen(_)) | (Fate::Some, Did::Write(..)) => {
            if random.below(2) == 0 {
                do_to(image, did);
            }
        }
        (Fate::Torn, Did::Write(offset, data)) => {
            for (index, sector) in data.chunks(512).enumerate() {
                if random.below(2) == 0 {
                    do_to(image, &Did::Write(offset + 512 * index as u64, sector.to_vec()));
                }
            }
        }
        (_, Did::Sync) => {}
    }
}

/// Opens what the power left: it has everything that was acknowledged before the last sync, and of the write that was
/// under way all or nothing.
fn check(image: &[u8], syncs: usize, acknowledged: &[(usize, Model, Vec<u8>)], large_bytes: u64, fate: Fate) {
    let safe = acknowledged.iter().rposition(|(by, ..)| *by <= syncs).expect("the first one is");
    let (_, model, side) = &acknowledged[safe];
    let next = acknowledged.get(safe + 1).map(|(_, model, _)| model);
    // The file beside it came to the disk by itself, or did not.
    for side in [None, Some(side)] {
        let (_folder, path) = place();
        std::fs::write(&path, image).expect("written");
        if let Some(side) = side {
            std::fs::write(beside(&path), side).expect("written");
            // A commit that was never finished is no damage.
            let found = crate::verify(&path).expect("looked through");
            assert_eq!(found.damaged, [], "{fate:?} after {syncs} syncs");
        }
        let (log, loaded) = try_open_at(&path, &clock(), large_bytes)
            .unwrap_or_else(|error| panic!("{fate:?} after {syncs} syncs: {error}"));
        let found = Model::of(&loaded);
        assert!(found == *model || Some(&found) == next, "{fate:?} after {syncs} syncs");
        assert_eq!(read_all(&log, &found), Vec::<u64>::new());
    }
}

#[test]
fn power_that_goes_takes_nothing_that_was_acknowledged() {
    lose_power_at_each_sync(6, LARGE_BYTES);
}

#[test]
fn power_that_goes_takes_nothing_of_a_large_file() {
    lose_power_at_each_sync(7, 0);
}

#[test]
fn a_file_beside_that_came_to_the_disk_as_zeroes_says_nothing() {
    let (_folder, path) = place();
    std::fs::write(beside(&path), [0; 4096]).expect("written");
    assert_eq!(Attempts::left(&path).expect("read"), super::super::attempts::Left::default());
}
