//! Systems that refuse.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::super::committer::LARGE_BYTES;
use super::super::failure::Failure;
use super::super::opened::Opened;
use super::super::tables;
use super::*;

/// A file that fails from one write, sync or growth on.
#[derive(Debug)]
struct Failing {
    file: FileBackend,
    left: Arc<AtomicI64>,
    error: io::ErrorKind,
}

impl Failing {
    fn check(&self) -> io::Result<()> {
        match self.left.fetch_sub(1, Ordering::Relaxed) {
            ..=0 => Err(self.error.into()),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // A full disk takes a part of it.
        self.check().inspect_err(|_| drop(self.file.write(offset, &data[..data.len() / 2])))?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

#[test]
fn a_write_that_fails_breaks_the_log_and_answers_everybody() {
    for (round, error) in
        [io::ErrorKind::StorageFull, io::ErrorKind::Other].into_iter().cycle().take(40).enumerate()
    {
        let (_folder, path) = place();
        drop(open(&path));
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opens");
        let file = FileBackend::new(file).expect("a file");
        let backend = Failing { file, left: Arc::clone(&left), error };
        let database = redb::Builder::new().create_with_backend(backend).expect("opens");
        let (log, _) =
            RedbLog::start(Opened::of(database), &path, &clock(), LARGE_BYTES, &mut drop).expect("starts");
        put(&log, vec![insert(1)]).expect("written");
        put(&log, vec![Change::Update(Head { attempts: 1, ..head(1) })]).expect("written");
        left.store(i64::try_from(round * 3).expect("small"), Ordering::Relaxed);

        let told: Vec<_> = (2..=60).map(|id| hand_in(&log, vec![insert(id)])).collect();
        let results: Vec<_> = told.iter().map(end).collect();
        let acknowledged = results.iter().take_while(|result| result.is_ok()).count();
        for result in &results[acknowledged..] {
            assert!(matches!(result, Err(Broken::Write { .. })), "{result:?}");
        }
        if acknowledged < results.len() {
            // It stays broken, when the disk has room again, too.
            left.store(i64::MAX, Ordering::Relaxed);
            let error = put(&log, vec![insert(100)]).expect_err("it is broken");
            assert_eq!(log.begin(&[(MessageId(1), 1)]), Err(error.clone()));
            assert_eq!(log.read(MessageId(1)), Err(ReadError::Broken(error.clone())));
            assert_eq!(log.close(), Err(error));
        }
        drop(log);

        let (log, loaded) = open(&path);
        let there = loaded.heads.len() - 1;
        assert!(there >= acknowledged && there <= results.len(), "{there} of {acknowledged}");
        let ids: Vec<_> = loaded.heads.iter().map(|head| head.id.0).collect();
        assert_eq!(ids, (1..=there as u64 + 1).collect::<Vec<_>>());
        assert_eq!(read_all(&log, &Model::of(&loaded)), Vec::<u64>::new());
    }
}

#[test]
fn a_change_of_a_message_that_is_not_there_breaks_the_log() {
    let missing = [
        Change::Remove(MessageId(2)),
        Change::Update(head(2)),
        Change::Bury(MessageId(2), dead(2)),
        Change::Unbury(MessageId(1)),
        insert(1),
    ];
    for change in missing {
        let (_folder, path) = place();
        let (log, _) = open(&path);
        put(&log, vec![insert(1)]).expect("written");
        let error = put(&log, vec![insert(3), change.clone()]).expect_err("it is not there");
        assert!(matches!(error, Broken::Write { .. }), "{change:?}: {error}");
        assert_eq!(put(&log, vec![insert(4)]), Err(error), "it goes on");
        drop(log);
        // Nothing of it was written.
        assert_eq!(open(&path).1.heads, [head(1)]);
    }
}

#[test]
fn a_record_that_vanished_whole_is_missed() {
    let (_folder, sound) = place();
    let (log, _) = open(&sound);
    let group = Change::Group(group(0, false));
    let written = vec![
        insert(1),
        insert(2),
        Change::Bury(MessageId(2), dead(2)),
        remember(1, Timestamp(i64::MAX)),
        group,
    ];
    put(&log, written).expect("written");
    drop(log);
    let remove: [fn(&redb::WriteTransaction); 5] = [
        |file| {
            drop(file.open_table(tables::HEADS).expect("there").remove(1).expect("there"));
            drop(file.open_table(tables::BODIES).expect("there").remove(1).expect("there"));
        },
        |file| drop(file.open_table(tables::BODIES).expect("there").remove(1).expect("there")),
        |file| drop(file.open_table(tables::DEAD).expect("there").remove(2).expect("there")),
        |file| drop(file.open_table(tables::REMEMBERED).expect("there").pop_first().expect("there")),
        |file| drop(file.open_table(tables::GROUPS).expect("there").remove(0).expect("there")),
    ];
    for (number, remove) in remove.into_iter().enumerate() {
        let (_folder, path) = place();
        std::fs::copy(&sound, &path).expect("copied");
        let database = redb::Database::open(&path).expect("a database");
        let transaction = database.begin_write().expect("begun");
        remove(&transaction);
        transaction.commit().expect("committed");
        drop(database);
        let error = try_open(&path, &clock()).expect_err("something is missing");
        assert!(matches!(error, crate::error::OpenError::Damaged { .. }), "{number}: {error}");
        assert_ne!(crate::verify(&path).expect("looked through").damaged, [], "{number}");
    }
}

#[test]
fn a_refused_database_writes_nothing_at_its_end() {
    let (_folder, path) = place();
    let (log, _) = open(&path);
    put(&log, vec![insert(1)]).expect("written");
    drop(log);
    let opened =
        Opened::file(&path, |file| Ok(redb::Builder::new().create_with_backend(file)?)).expect("opens");
    let before = std::fs::read(&path).expect("there");
    drop(opened);
    assert!(std::fs::read(&path).expect("there") == before, "it was changed");
    // And has let go.
    assert_eq!(open(&path).1.heads, [head(1)]);
}

#[test]
fn a_page_behind_the_end_is_no_error_of_the_file() {
    let (_folder, path) = place();
    drop(open(&path));
    let read = Opened::file(&path, |file| {
        let mut page = [1; 8];
        file.read(file.len()?, &mut page)?;
        assert_eq!(page, [0; 8]);
        Err(Failure::InUse)
    });
    assert_eq!(read.map(drop), Err(Failure::InUse));
}

#[test]
fn a_file_of_which_the_tables_are_missing_is_damaged() {
    let (_folder, path) = place();
    drop(open(&path));
    let database = redb::Database::open(&path).expect("a database");
    let transaction = database.begin_write().expect("begun");
    transaction.delete_table(tables::DEAD).expect("there");
    transaction.commit().expect("committed");
    drop(database);
    let error = try_open(&path, &clock()).expect_err("a table is missing");
    assert!(matches!(error, crate::error::OpenError::Damaged { .. }), "{error}");
}
