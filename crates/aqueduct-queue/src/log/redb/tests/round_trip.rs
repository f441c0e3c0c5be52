use redb::ReadableTable;

use super::super::tables;
use super::*;
use crate::error::OpenError;

#[test]
fn everything_is_there_after_reopening() {
    let (_folder, path) = place();
    let mut walk = Walk::new(1);
    let mut openings = Vec::new();
    for _ in 0..6 {
        let (log, loaded) = open(&path);
        assert_eq!(Model::of(&loaded), walk.model);
        assert!(loaded.heads.is_sorted_by_key(|head| head.id));
        openings.push(loaded.opening);
        assert_eq!(read_all(&log, &walk.model), Vec::<u64>::new());
        for _ in 0..40 {
            put(&log, walk.step()).expect("written");
        }
        // From the memory of what was just written, and from the file.
        assert_eq!(read_all(&log, &walk.model), Vec::<u64>::new());
        log.close().expect("closed");
        log.close().expect("closed before");
    }
    assert!(openings.is_sorted_by(|one, next| one < next), "{openings:?}");
}

#[test]
fn a_number_is_never_given_again() {
    let (_folder, path) = place();
    let (log, loaded) = open(&path);
    assert_eq!(loaded.next_id, 1);
    put(&log, vec![insert(41)]).expect("written");
    put(&log, vec![Change::Remove(MessageId(41))]).expect("written");
    drop(log);
    let (_log, loaded) = open(&path);
    assert_eq!(loaded.heads, []);
    assert_eq!(loaded.next_id, 42);
}

#[test]
fn writes_of_many_threads_are_all_there_and_done_in_their_order() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..50 {
                    put(log, vec![insert(1 + thread * 1000 + number)]).expect("written");
                }
            });
        }
    });
    let (tell, told) = crossbeam_channel::bounded(500);
    for id in 10_000..10_500 {
        let tell = tell.clone();
        let done = Box::new(move |result: Result<(), Broken>| {
            result.expect("written");
            Tell::new(move || tell.send(id).expect("there is room"), None)
        });
        log.submit(Write { changes: vec![insert(id)], done });
    }
    // Closing writes what is queued.
    log.close().expect("closed");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), (10_000..10_500).collect::<Vec<_>>());
    let (_log, loaded) = open(&path);
    assert_eq!(loaded.heads.len(), 900);
}

#[test]
fn a_closed_log_refuses_and_hangs_nobody() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    put(&log, vec![insert(1)]).expect("written");
    log.close().expect("closed");
    assert_eq!(put(&log, vec![insert(2)]), Err(Broken::Closed));
    assert_eq!(log.read(MessageId(1)), Err(ReadError::Broken(Broken::Closed)));
    assert_eq!(log.begin(&[(MessageId(1), 1)]), Err(Broken::Closed));
}

#[test]
fn a_caller_that_panics_takes_nobody_with_it() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    log.submit(Write { changes: vec![insert(1)], done: Box::new(|_| panic!("on purpose")) });
    put(&log, vec![insert(2)]).expect("written");
    drop(log);
    assert_eq!(open(&path).1.heads.len(), 2);
}

#[test]
fn a_second_opening_is_refused_while_the_first_lasts() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    let error = try_open(&path, &clock()).expect_err("it is open");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let error = crate::verify(&path).expect_err("it is open");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    put(&log, vec![insert(1)]).expect("the first one goes on");
    drop(log);
    assert_eq!(open(&path).1.heads.len(), 1);
}

#[test]
fn files_of_something_else_are_refused_and_left_alone() {
    let (folder, path) = place();
    let other = folder.path().join("other");
    std::fs::write(&path, b"a letter to somebody").expect("written");
    let database = redb::Database::create(&other).expect("a database");
    let transaction = database.begin_write().expect("begun");
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("numbers")).expect("a table");
    transaction.commit().expect("committed");
    drop(database);
    for path in [&path, &other, &folder.path().to_owned()] {
        let error = try_open(path, &clock()).expect_err("it is not ours");
        assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
    }
    assert_eq!(std::fs::read(&path).expect("there"), b"a letter to somebody");
}

#[test]
fn a_missing_file_whose_neighbour_tells_of_commits_is_not_made_anew() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    put(&log, vec![insert(1)]).expect("written");
    drop(log);
    for remove in [false, true] {
        std::fs::write(&path, b"").expect("emptied");
        if remove {
            std::fs::remove_file(&path).expect("removed");
        }
        let error = try_open(&path, &clock()).expect_err("it had a message");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert_eq!(std::fs::metadata(&path).map_or(0, |file| file.len()), 0, "a file was made");
    }
}

#[test]
fn a_process_that_died_while_it_made_the_file_is_no_hindrance() {
    for left in [&b""[..], b"redb", &[0; 8192]] {
        let (_folder, path) = place();
        std::fs::write(path.with_file_name("queues.new"), left).expect("written");
        let (log, _) = open(&path);
        put(&log, vec![insert(1)]).expect("written");
        drop(log);
        assert_eq!(open(&path).1.heads.len(), 1);
    }
}

#[test]
fn remembered_ids_go_when_their_time_is_over() {
    let (_folder, path) = place();
    let (clock, hands) = Clock::manual(START);
    let (log, _) = try_open(&path, &clock).expect("opens");
    let (soon, late) = (Timestamp(START.0 + 1000), Timestamp(START.0 + 100_000));
    put(&log, (0..300).map(|id| remember(id, if id < 200 { soon } else { late })).collect())
        .expect("written");
    hands.advance(Duration::from_secs(10));
    // Each commit looks at a few.
    for id in 1..200 {
        put(&log, vec![insert(id)]).expect("written");
    }
    drop(log);
    // The clock of this one stands before both, so that only the commits have removed any.
    let (log, loaded) = open(&path);
    assert_eq!(loaded.remembered.len(), 100);
    drop(log);
    hands.advance(Duration::from_secs(100));
    let (_log, loaded) = try_open(&path, &clock).expect("opens");
    assert_eq!(loaded.remembered, []);
}

#[test]
fn a_large_file_with_little_in_it_is_made_small_when_it_is_opened() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    let large = |id| {
        let body = Body { body: vec![7; 1024 * 1024].into(), topic: None, headers: Vec::new() };
        Change::Insert { head: Head { bytes: 1024 * 1024, ..head(id) }, body }
    };
    for id in 1..=40 {
        put(&log, vec![large(id)]).expect("written");
    }
    // What is left is spread over the file, so that its end is not free.
    let gone = (1..=40_u64).filter(|id| !id.is_multiple_of(8));
    put(&log, gone.map(|id| Change::Remove(MessageId(id))).collect()).expect("written");
    drop(log);
    let bytes = || std::fs::metadata(&path).expect("there").len();
    let before = bytes();
    assert!(before > 30 * 1024 * 1024, "{before}");
    let (log, loaded) = open(&path);
    assert_eq!(loaded.heads.len(), 5);
    drop(log);
    assert!(bytes() < before / 2, "{} of {before}", bytes());
    let (log, loaded) = open(&path);
    assert_eq!(loaded.heads.len(), 5);
    assert_eq!(log.read(MessageId(40)).map(|body| body.body.len()), Ok(1024 * 1024));
}

#[test]
fn the_end_of_a_write_may_be_the_last_to_let_go() {
    let (_folder, path) = place();
    let log = std::sync::Arc::new(open(&path).0);
    let (go, may_go) = crossbeam_channel::bounded::<()>(0);
    let (tell, told) = crossbeam_channel::bounded(1);
    let last = std::sync::Arc::clone(&log);
    let done = Box::new(move |result| {
        may_go.recv().expect_err("the other one has let go");
        drop(last);
        Tell::new(move || tell.send(result).expect("somebody waits"), None)
    });
    log.submit(Write { changes: vec![insert(1)], done });
    drop(log);
    drop(go);
    assert_eq!(end(&told), Ok(()));
}

#[test]
fn a_file_of_a_later_format_is_refused_by_its_number() {
    let (_folder, path) = place();
    drop(open(&path));
    let database = redb::Database::open(&path).expect("a database");
    let transaction = database.begin_write().expect("begun");
    {
        let mut table = transaction.open_table(tables::META).expect("there");
        let mut later = table.get(tables::META_KEY).expect("read").expect("there").value().to_vec();
        // Behind the name of the application; the checksum is over the table's number and all before it.
        later[14] += 1;
        let end = later.len() - 4;
        let mut sum = crc32fast::Hasher::new();
        sum.update(&[1]);
        sum.update(&later[..end]);
        later[end..].copy_from_slice(&sum.finalize().to_le_bytes());
        table.insert(tables::META_KEY, later.as_slice()).expect("written");
    }
    transaction.commit().expect("committed");
    drop(database);
    let error = try_open(&path, &clock()).expect_err("it is later");
    assert!(matches!(&error, OpenError::NotOurs { found, .. } if found.contains("version 2")), "{error}");
}
