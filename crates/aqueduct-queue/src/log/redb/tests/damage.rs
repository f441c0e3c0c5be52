//! Images of files in which something is not what was written.

use std::fs;

use super::super::attempts::beside;
use super::super::committer::LARGE_BYTES;
use super::attempts::left_by_a_kill;
use super::*;
use crate::error::OpenError;

/// A file of some hundred messages, as a kill left it and as it was closed, and what it must have.
struct Image {
    file: Vec<u8>,
    beside: Vec<u8>,
    model: Model,
}

fn images() -> [Image; 2] {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    let mut walk = Walk::new(2);
    while walk.model.heads.len() < 300 {
        put(&log, walk.step()).expect("written");
    }
    let (_folder, killed) = left_by_a_kill(&path);
    log.close().expect("closed");
    let read = |path: &Path| Image {
        file: fs::read(path).expect("there"),
        beside: fs::read(beside(path)).expect("there"),
        model: walk.model.clone(),
    };
    [read(&killed), read(&path)]
}

const SECTOR: u64 = 512;
const PAGE: u64 = 4096;

fn at(bytes: u64) -> usize {
    usize::try_from(bytes).expect("small")
}

/// Damages an image in one of the ways in which disks and copies do, and says how.
fn damage(image: &mut Image, random: &mut Random) -> String {
    let bytes = image.file.len() as u64;
    let pages = bytes / PAGE;
    // Most of a file is free; damage to that says little.
    let mut used = || loop {
        let page = random.below(pages);
        let range = at(page * PAGE)..at((page + 1) * PAGE);
        if image.file[range].iter().any(|byte| *byte != 0) {
            return page;
        }
    };
    let (page, other) = (used(), used());
    match random.below(10) {
        0..4 => {
            let byte = page * PAGE + random.below(PAGE);
            let bit = random.below(8);
            image.file[at(byte)] ^= 1 << bit;
            format!("bit {bit} of byte {byte}")
        }
        4 => {
            let byte = random.below(320);
            image.file[at(byte)] ^= 1 << random.below(8);
            format!("a bit of byte {byte}")
        }
        5 => {
            let start = page * PAGE + random.below(PAGE / SECTOR) * SECTOR;
            image.file[at(start)..at(start + SECTOR)].fill(0);
            format!("no sector at {start}")
        }
        6 => {
            image.file[at(page * PAGE)..at((page + 1) * PAGE)].fill(0);
            format!("no page {page}")
        }
        7 => {
            let end = random.below(bytes);
            let end = if random.below(2) == 0 { end } else { end / PAGE * PAGE };
            image.file.truncate(at(end));
            format!("nothing behind {end}")
        }
        8 => {
            for byte in 0..PAGE {
                image.file.swap(at(page * PAGE + byte), at(other * PAGE + byte));
            }
            format!("pages {page} and {other} for each other")
        }
        _ => {
            let byte = random.below(image.beside.len() as u64);
            image.beside[at(byte)] ^= 1 << random.below(8);
            format!("a bit of byte {byte} beside")
        }
    }
}

fn lay_down(image: &Image) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = place();
    fs::write(&path, &image.file).expect("written");
    fs::write(beside(&path), &image.beside).expect("written");
    (folder, path)
}

/// Opens a damaged image: either it has everything, or it refuses. Says what it did.
fn judge(path: &Path, model: &Model, large_bytes: u64) -> &'static str {
    match RedbLog::open_with(path, &clock(), large_bytes) {
        Ok((log, loaded)) => {
            let mut found = Model::of(&loaded);
            // An attempt too few may be counted, where the note of it is damaged; there are none here.
            assert_eq!(found, *model);
            let corrupt = read_all(&log, &found);
            // It goes on as if nothing had been, or says that it cannot.
            let next = found.next_id;
            match put(&log, vec![insert(next)]) {
                Ok(()) => {
                    found.apply(&[insert(next)]);
                    assert_eq!(log.read(MessageId(next)), Ok(body(next)));
                    drop(log);
                    match RedbLog::open_with(path, &clock(), large_bytes) {
                        Ok((_, loaded)) => assert_eq!(Model::of(&loaded), found),
                        Err(error) => assert!(matches!(error, OpenError::Damaged { .. }), "{error}"),
                    }
                }
                Err(error) => assert!(matches!(error, Broken::Write { .. }), "{error}"),
            }
            if corrupt.is_empty() { "whole" } else { "corrupt bodies" }
        }
        Err(OpenError::Damaged { .. }) => "damaged",
        Err(OpenError::NotOurs { .. }) => "not ours",
        Err(OpenError::System { .. }) => "system",
        Err(error) => panic!("{error}"),
    }
}

/// What was found, and how often.
fn run(seed: u64, rounds: usize, large_bytes: u64) -> BTreeMap<&'static str, usize> {
    let images = images();
    let mut random = Random::seeded(seed);
    let mut outcomes = BTreeMap::new();
    for round in 0..rounds {
        let whole = &images[round % 2];
        let mut image =
            Image { file: whole.file.clone(), beside: whole.beside.clone(), model: whole.model.clone() };
        let how = damage(&mut image, &mut random);
        let (_folder, path) = lay_down(&image);
        let judged = std::panic::catch_unwind(|| judge(&path, &image.model, large_bytes));
        let outcome = judged.unwrap_or_else(|_| panic!("seed {seed}, round {round}: {how}"));
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}");
    outcomes
}

#[test]
fn no_damaged_image_opens_with_less_than_was_acknowledged() {
    let outcomes = run(3, 600, LARGE_BYTES);
    // Where all pages are looked at, nothing is left to be found later.
    assert_eq!(outcomes.get("corrupt bodies"), None);
    assert!(outcomes["damaged"] > 200 && outcomes["whole"] > 50, "{outcomes:?}");
}

#[test]
fn no_damaged_image_of_a_large_file_opens_with_less_than_was_acknowledged() {
    let outcomes = run(4, 600, 0);
    assert!(outcomes["damaged"] > 100 && outcomes["corrupt bodies"] > 20, "{outcomes:?}");
}

#[test]
fn a_lost_last_commit_is_not_taken_for_one_that_was_never_finished() {
    let [killed, _] = images();
    // Each page that the last commit may have written, as if it had never come to the disk.
    let mut refused = 0;
    for page in 1..killed.file.len() as u64 / PAGE {
        let range = at(page * PAGE)..at((page + 1) * PAGE);
        if killed.file[range.clone()].iter().all(|byte| *byte == 0) {
            continue;
        }
        let mut image =
            Image { file: killed.file.clone(), beside: killed.beside.clone(), model: Model::default() };
        image.file[range].fill(0);
        let (_folder, path) = lay_down(&image);
        match RedbLog::open(&path, &clock()) {
            Ok((_, loaded)) => assert_eq!(Model::of(&loaded), killed.model, "page {page}"),
            Err(OpenError::Damaged { what, .. }) => {
                refused += usize::from(what.contains("its last 1 commits"))
            }
            Err(error) => panic!("page {page}: {error}"),
        }
    }
    assert!(refused > 0);
}
