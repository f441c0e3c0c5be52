use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aqueduct_cache::{Disk, DiskConfig, DiskError, Level, Scope};
use aqueduct_core::Clock;

use super::{at, found, open, value};

/// In the environment of this program when it is to be the other process: the folder that it opens.
const FOLDER: &str = "AQUEDUCT_CACHE_TEST_FOLDER";

/// What the other process does until it is killed: it says what it has done after it has done it.
#[tokio::test]
async fn plays_the_other_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let disk = open(Path::new(&folder));
    for round in 0_u32.. {
        let key = (round % 1_000).to_le_bytes();
        disk.set(at(&key), &value(round.to_le_bytes())).await.unwrap();
        println!("\nset {round}");
        if round % 7 == 3 {
            let edition = disk.invalidate("test", &Scope::Tag("t".into()), 0).await.unwrap();
            println!("\ninvalidated {edition}");
        }
        if round % 5 == 2 {
            disk.remove(at(&key)).await.unwrap();
            println!("\nremoved {round}");
        }
    }
}

fn start(folder: &Path) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "disk::processes::plays_the_other_process", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    (child, lines)
}

#[tokio::test]
async fn what_a_killed_process_was_told_is_done_is_done() {
    for kills in [1, 10, 500, 3_000] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, lines) = start(folder.path());
        let (mut killed, mut seen) = (false, 0);
        let mut last = std::collections::HashMap::new();
        let (mut edition, mut newest) = (0, 0);
        for line in lines {
            let Some((what, number)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            match what {
                "set" => drop(last.insert(number % 1_000, Some(number))),
                "removed" => drop(last.insert(number % 1_000, None)),
                "invalidated" => edition = u64::from(number),
                _ => continue,
            }
            newest = number.max(if what == "invalidated" { 0 } else { newest.max(number) });
            seen += 1;
            if seen == kills && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        assert!(killed && !child.wait().unwrap().success());
        let disk = open(folder.path());
        assert!(!disk.opened().forgotten);
        assert!(disk.invalidations("test").await.unwrap().edition() >= edition && edition * 12 + 40 > seen);
        // The two operations after the last that was told may have been done: they are about these keys.
        let untold = [newest % 1_000, (newest + 1) % 1_000];
        for (key, value) in last.iter().filter(|(key, _)| !untold.contains(key)) {
            let expected = value.map(|value| value.to_le_bytes().to_vec());
            assert_eq!(found(&disk, &key.to_le_bytes()).await, expected, "{key}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_another_process_has_open_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, mut lines) = start(folder.path());
    assert!(lines.any(|line| line.starts_with("set ")));
    let error = Disk::open(folder.path(), DiskConfig::default(), Clock::system()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, DiskError::InUse { .. }), "{text}");
    assert!(text.contains(&format!("by process {}", child.id())), "{text}");
    assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(open(folder.path()).opened().entries > 0);
}

#[test]
fn a_folder_is_refused_while_this_process_has_it_open_and_not_after() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    let error = Disk::open(folder.path(), DiskConfig::default(), Clock::system()).unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }));
    drop(disk);
    open(folder.path());
}

#[test]
fn a_folder_with_other_files_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "all of it").unwrap();
    let error = Disk::open(folder.path(), DiskConfig::default(), Clock::system()).unwrap_err();
    assert!(matches!(error, DiskError::NotACache { .. }));
    assert_eq!(super::files(folder.path()), [folder.path().join("thesis.txt")]);
    let file = Disk::open(folder.path().join("thesis.txt"), DiskConfig::default(), Clock::system());
    assert!(matches!(file.unwrap_err(), DiskError::Folder { .. }));
}
