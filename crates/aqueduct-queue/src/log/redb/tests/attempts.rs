use super::super::attempts::beside;
use super::*;

/// The attempts of all messages after the file was left as by a kill.
fn after_kill(path: &Path) -> BTreeMap<u64, u32> {
    let (_folder, copy) = left_by_a_kill(path);
    open(&copy).1.heads.iter().map(|head| (head.id.0, head.attempts)).collect()
}

/// Both files as a kill at this moment would leave them.
pub(super) fn left_by_a_kill(path: &Path) -> (tempfile::TempDir, PathBuf) {
    let (folder, copy) = place();
    std::fs::copy(path, &copy).expect("copied");
    std::fs::copy(beside(path), beside(&copy)).expect("copied");
    (folder, copy)
}

#[test]
fn an_attempt_that_began_counts_after_a_kill() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    put(&log, (1..=4).map(insert).collect()).expect("written");
    log.begin(&[(MessageId(1), 1), (MessageId(2), 1), (MessageId(99), 3)]).expect("noted");
    log.begin(&[(MessageId(1), 2)]).expect("noted");
    assert_eq!(after_kill(&path), BTreeMap::from([(1, 2), (2, 1), (3, 0), (4, 0)]));
    // What is settled is in the file itself, and counts as often as that says.
    put(&log, vec![Change::Update(Head { attempts: 2, ..head(1) })]).expect("written");
    put(&log, vec![Change::Update(Head { attempts: 0, ..head(2) })]).expect("written");
    put(&log, vec![Change::Remove(MessageId(4))]).expect("written");
    log.begin(&[(MessageId(3), 1)]).expect("noted");
    assert_eq!(after_kill(&path), BTreeMap::from([(1, 2), (2, 0), (3, 1)]));
    // A dead letter that begins anew begins at nothing.
    put(&log, vec![Change::Update(Head { attempts: 0, ..head(1) })]).expect("written");
    assert_eq!(after_kill(&path), BTreeMap::from([(1, 0), (2, 0), (3, 1)]));
    // And over openings that write nothing of it.
    let (_folder, copy) = left_by_a_kill(&path);
    for _ in 0..3 {
        assert_eq!(open(&copy).1.heads[2].attempts, 1);
    }
}

#[test]
fn a_long_file_of_attempts_is_written_anew_with_those_that_count() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    put(&log, (1..=3).map(insert).collect()).expect("written");
    log.begin(&[(MessageId(2), 7), (MessageId(3), 9)]).expect("noted");
    put(&log, vec![Change::Update(Head { attempts: 9, ..head(3) })]).expect("written");
    let mut longest = 0;
    for attempt in 1..=200_000 {
        log.begin(&[(MessageId(1), attempt)]).expect("noted");
        if attempt % 1000 == 0 {
            longest = longest.max(std::fs::metadata(beside(&path)).expect("there").len());
        }
    }
    assert!(longest <= 1024 * 1024 + 16_000, "{longest}");
    assert_eq!(after_kill(&path), BTreeMap::from([(1, 200_000), (2, 7), (3, 9)]));
    // Commits go on to be told of in the new file.
    put(&log, vec![insert(4)]).expect("written");
    assert_eq!(after_kill(&path).len(), 4);
}

#[test]
fn a_damaged_record_of_an_attempt_costs_that_attempt_alone() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    put(&log, (1..=5).map(insert).collect()).expect("written");
    for id in 1..=5 {
        log.begin(&[(MessageId(id), 1)]).expect("noted");
    }
    let (_folder, copy) = left_by_a_kill(&path);
    let side = beside(&copy);
    let mut bytes = std::fs::read(&side).expect("there");
    assert_eq!(bytes.len(), 32 + 5 * 16);
    bytes[32 + 2 * 16 + 3] ^= 4;
    bytes.truncate(bytes.len() - 1);
    std::fs::write(&side, bytes).expect("written");
    let attempts: Vec<_> = open(&copy).1.heads.iter().map(|head| head.attempts).collect();
    assert_eq!(attempts, [1, 1, 0, 1, 0]);
}
