//! Images of files in which something is not what was written.

use std::fs;
use std::process::Command;

use super::super::attempts::beside;
use super::super::committer::LARGE_BYTES;
use super::attempts::left_by_a_kill;
use super::*;
use crate::error::OpenError;

/// A file of some hundred messages, as a kill left it and as it was closed, and what it must have.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) file: Vec<u8>,
    pub(super) beside: Vec<u8>,
    pub(super) model: Model,
}

pub(super) fn images() -> [Image; 2] {
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
pub(super) fn damage(image: &mut Image, random: &mut Random) -> String {
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

pub(super) fn lay_down(image: &Image) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = place();
    fs::write(&path, &image.file).expect("written");
    fs::write(beside(&path), &image.beside).expect("written");
    (folder, path)
}

/// Opens a damaged image: either it has everything, or it refuses. Says what it did.
fn judge(path: &Path, model: &Model, large_bytes: u64) -> &'static str {
    match try_open_at(path, &clock(), large_bytes) {
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
                    match try_open_at(path, &clock(), large_bytes) {
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

/// The image of a round, and how it was damaged.
fn image_of(whole: &[Image; 2], seed: u64, round: u64) -> (Image, String) {
    let mut image = whole[usize::from(round % 2 == 1)].clone();
    let how = damage(&mut image, &mut Random::seeded(seed << 32 | round));
    (image, how)
}

#[test]
fn no_damaged_image_opens_with_less_than_was_acknowledged() {
    let whole = images();
    let mut outcomes = BTreeMap::<_, usize>::new();
    for round in 0..600 {
        let (image, how) = image_of(&whole, 3, round);
        let (_folder, path) = lay_down(&image);
        let judged = std::panic::catch_unwind(|| judge(&path, &image.model, LARGE_BYTES));
        *outcomes.entry(judged.unwrap_or_else(|_| panic!("round {round}: {how}"))).or_default() += 1;
    }
    println!("{outcomes:?}");
    // Where all pages are looked at, nothing is left to be found later.
    assert_eq!(outcomes.get("corrupt bodies"), None);
    assert!(outcomes["damaged"] > 200 && outcomes["whole"] > 50, "{outcomes:?}");
}

const FOLDER: &str = "AQUEDUCT_QUEUE_TEST_IMAGES";
const ROUND: &str = "AQUEDUCT_QUEUE_TEST_ROUND";
const LARGE_ROUNDS: u64 = 600;

/// The pages of a large file are not looked at when it is opened, and redb can then die of them, process and all. So
/// this one judges in another process, and looks at what that one left.
#[test]
fn no_damaged_image_of_a_large_file_opens_with_less_than_was_acknowledged() {
    let whole = images();
    let folder = tempfile::tempdir().expect("a folder");
    // Both processes make their images of the same files.
    for (number, image) in whole.iter().enumerate() {
        fs::write(folder.path().join(format!("file-{number}")), &image.file).expect("written");
        fs::write(folder.path().join(format!("beside-{number}")), &image.beside).expect("written");
    }
    let mut outcomes = BTreeMap::<String, u64>::new();
    let mut next = 0;
    while next < LARGE_ROUNDS {
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "log::redb::tests::damage::the_process_that_judges",
                "--ignored",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .env(ROUND, next.to_string())
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("a process");
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some((_, outcome)) = line.split_once("judged ") {
                *outcomes.entry(outcome.to_owned()).or_default() += 1;
                next += 1;
            }
        }
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("panic in a destructor during cleanup"), "round {next}: {said}");
            // What it left is refused from then on, and does not kill the next one.
            let error = try_open_at(&folder.path().join("queues"), &clock(), 0).expect_err("it is damaged");
            assert!(matches!(error, OpenError::Damaged { .. }), "round {next}: {error}");
            *outcomes.entry("died".into()).or_default() += 1;
            next += 1;
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes["damaged"] > 100 && outcomes["corrupt bodies"] > 20, "{outcomes:?}");
    // One in some thousands, as it was measured.
    assert!(outcomes.get("died").is_none_or(|died| *died <= 6), "{outcomes:?}");
}

#[test]
#[ignore = "it is the process in which the test above judges"]
fn the_process_that_judges() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let first = std::env::var(ROUND).expect("given").parse().expect("a number");
    let model = images()[0].model.clone();
    let whole = [0, 1].map(|number| Image {
        file: fs::read(folder.join(format!("file-{number}"))).expect("there"),
        beside: fs::read(folder.join(format!("beside-{number}"))).expect("there"),
        model: model.clone(),
    });
    let path = folder.join("queues");
    for round in first..LARGE_ROUNDS {
        let (image, how) = image_of(&whole, 4, round);
        fs::write(&path, &image.file).expect("written");
        fs::write(beside(&path), &image.beside).expect("written");
        let judged = std::panic::catch_unwind(|| judge(&path, &image.model, 0));
        println!("judged {}", judged.unwrap_or_else(|_| panic!("round {round}: {how}")));
    }
}

#[test]
fn a_large_file_is_checked_when_its_last_opening_never_ended() {
    let [_, mut image] = images();
    // A body that is damaged in every page that has it.
    let id = *image.model.heads.keys().next().expect("there are some");
    let written = record::body(MessageId(id), &body(id));
    let places: Vec<usize> = image
        .file
        .windows(written.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == written)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for place in places {
        image.file[place] ^= 1;
    }
    let (_folder, path) = lay_down(&image);
    assert_eq!(judge(&path, &image.model, 0), "corrupt bodies");

    let (_folder, path) = lay_down(&image);
    let note = path.with_file_name("queues.opening");
    fs::write(&note, b"").expect("written");
    assert_eq!(judge(&path, &image.model, 0), "damaged");
    assert!(!note.exists(), "it is said once");
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
        match try_open(&path, &clock()) {
            Ok((_, loaded)) => assert_eq!(Model::of(&loaded), killed.model, "page {page}"),
            Err(OpenError::Damaged { what, .. }) => {
                // Both commits are still there for a repair, but for flags in the header.
                assert!(
                    fs::read(&path).expect("there")[64..] == image.file[64..],
                    "page {page}: it was changed"
                );
                if what.contains("its last 1 commits") {
                    refused += 1;
                    // What the last one does not give is in the one before; a write has at most five messages.
                    let to = path.with_file_name("repaired");
                    let report = crate::repair(&path, &to).expect("repaired");
                    let right = report.messages - report.half.len() as u64;
                    assert!(right + 5 >= killed.model.heads.len() as u64, "page {page}: {right}");
                }
            }
            Err(error) => panic!("page {page}: {error}"),
        }
    }
    assert!(refused > 0);
}
