use std::path::Path;
use std::process::Command;

use aqueduct_cache::{Level, LevelError, Scope};
use aqueduct_core::Clock;

use super::{MIB, at, found, open_with, small, value};

/// In the environment of this program when it runs with files that can be no longer than [`LIMIT`].
const FOLDER: &str = "AQUEDUCT_CACHE_TEST_LIMITED";

/// A segment of this cache may be 1 MiB; the system allows half of it.
const BLOCKS: u64 = 1_024;
const BYTES_MAX: u64 = 64 * MIB;

/// The system refuses to write here: not by permission but in the middle of a file, as a full disk does.
#[tokio::test]
async fn plays_the_process_without_room() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let disk = open_with(Path::new(&folder), small(BYTES_MAX), Clock::system());
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for key in 0..200_u32 {
        match disk.set(at(&key.to_le_bytes()), &value(vec![u8::try_from(key).unwrap(); 10_000])).await {
            Ok(()) => kept.push(key),
            Err(LevelError::Refused { .. }) => refused.push(key),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(kept.len() > 40 && refused.len() > 100, "{} and {}", kept.len(), refused.len());
    assert_eq!(disk.stats().entries, kept.len());
    for key in &kept {
        assert_eq!(found(&disk, &key.to_le_bytes()).await, Some(vec![u8::try_from(*key).unwrap(); 10_000]));
    }
    let replaced = disk.set(at(&kept[0].to_le_bytes()), &value(vec![255; 10_000])).await;
    assert!(matches!(replaced, Err(LevelError::Refused { .. })));
    assert_eq!(found(&disk, &kept[0].to_le_bytes()).await, None, "rather none than the old one");
    disk.remove(at(&kept[1].to_le_bytes())).await.unwrap();
    disk.invalidate("test", &Scope::All, 0).await.unwrap();
    println!("\nkept {}", kept.len());
}

#[tokio::test]
async fn a_full_disk_refuses_and_damages_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A process that goes over its limit is sent a signal, and told of the error only if it ignores the signal.
    let output = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f {BLOCKS} || exit 9; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "disk::full::plays_the_process_without_room", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let kept = said.lines().find_map(|line| line.strip_prefix("kept ")?.parse::<usize>().ok());
    let disk = open_with(folder.path(), small(BYTES_MAX), Clock::system());
    assert_eq!(Some(disk.opened().entries + 2), kept);
    assert_eq!((disk.opened().damaged, disk.opened().forgotten), (0, false));
    assert_eq!(disk.invalidations("test").await.unwrap().edition(), 1);
    disk.set(at(b"again"), &value(vec![1; 10_000])).await.unwrap();
    assert_eq!(found(&disk, b"again").await, Some(vec![1; 10_000]));
}
