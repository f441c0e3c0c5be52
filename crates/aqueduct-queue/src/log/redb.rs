//! A log in one file: redb underneath, one thread that writes, and a small file beside it.
//!
//! # What it promises
//!
//! A write is done once redb has synced the transaction that it is a part of. No file opens with less than was done: the
//! counts of all tables, the checksum of each record, the number of the last commit that was safe (in the file beside
//! it) and, up to [`LARGE_BYTES`], the checksums of all pages are held against what is found, and a file that fails is
//! refused as damaged; [`repair`] takes out what can be read. After one failed write or sync nothing
//! more is written: the log is broken until it is opened again.
//!
//! # What it does not
//!
//! The file beside is not synced, so after the power went, and only until the next commit has come to the disk, damage
//! to the very last commit looks like a commit that was never finished. The pages of a larger file are not checked when
//! it is opened: damage to a body is found when it is read, and a damaged list of free pages can end the process inside
//! redb; the next opening refuses the file then.
//!
//! # What it costs
//!
//! A commit is one sync, however many writes are in it; it waits 200 us at most for those who were just told and tend to come back,
//! and ever more rarely where they do not. Opening reads all heads and, up to [`LARGE_BYTES`], the whole
//! file. What is free in it is used again; closing cuts off what is free at its end, and an opening that finds little in
//! a large file makes it small.

mod attempts;
mod committer;
mod company;
mod failure;
mod opened;
mod overlay;
mod recent;
mod record;
mod salvage;
mod tables;
#[cfg(test)]
mod tests;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;

use aqueduct_core::Clock;
use bytes::Bytes;
use crossbeam_channel::{Sender, TrySendError};
use redb::{Builder, Database, ReadableDatabase};

use crate::error::{Broken, OpenError};
use crate::log::{Body, Found, Head, Log, Numbers, ReadError, WRITES_MAX, Write};
use crate::message::MessageId;

use attempts::Attempts;
use committer::{Committer, LARGE_BYTES};
use company::Pending;
use failure::{Failure, caught};
use opened::Opened;
use recent::Recent;
use tables::{Read, Row};

pub use verify::{Damage, RepairReport, VerifyReport, repair, verify};

/// The log of one file. Closed when it is dropped, which waits for what is under way.
#[derive(Debug)]
pub(crate) struct RedbLog {
    shared: Arc<Shared>,
    /// The way to the committer; none once it was closed.
    writes: RwLock<Option<Sender<Pending>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// What callers and the committer both use.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Held for reading by whoever uses the database, and for writing by its end.
    database: RwLock<Option<Database>>,
    recent: Mutex<Recent>,
    attempts: Mutex<Attempts>,
    /// What broke the log, once something has.
    broken: OnceLock<Broken>,
    /// See [`LARGE_BYTES`].
    large_bytes: u64,
}

/// Memory for the pages of the file. redb takes a gibibyte if it is let; the page cache of the system stands behind it.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A file below this size is not worth making smaller.
const COMPACT_BYTES_MIN: u64 = 16 * 1024 * 1024;

impl RedbLog {
    /// Opens the file at `path`, or makes it, and tells what it has. One process has it at a time.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; what was told counts for nothing then. A file that is refused is left as it is, but for what redb
    /// does after a crash.
    pub(crate) fn open(
        path: &Path,
        clock: &Clock,
        tell: &mut dyn FnMut(Found),
    ) -> Result<(Self, Numbers), OpenError> {
        Self::open_with(path, clock, LARGE_BYTES, tell)
    }

    /// As [`open`](Self::open), with another size at which a file is large.
    fn open_with(
        path: &Path,
        clock: &Clock,
        large_bytes: u64,
        tell: &mut dyn FnMut(Found),
    ) -> Result<(Self, Numbers), OpenError> {
        let failed = |what| move |failure: Failure| failure.opening(path, what);
        let opening = Opening::begin(path, large_bytes).map_err(failed("opening"))?;
        let opened = open_database(path, opening.checks).map_err(failed("opening"))?;
        // From here on no other process changes either file.
        Self::start(opened, path, clock, large_bytes, tell).map_err(failed("reading"))
    }

    /// Tells what a database has and starts the thread.
    fn start(
        mut opened: Opened,
        path: &Path,
        clock: &Clock,
        large_bytes: u64,
        tell: &mut dyn FnMut(Found),
    ) -> Result<(Self, Numbers), Failure> {
        let (left, now) = (Attempts::left(path)?, clock.wall());
        // What began when the last process died was an attempt.
        let mut begun = Vec::new();
        let unknown = |head: &Head| {
            let attempt = *left.attempts.get(&head.id.0).filter(|attempt| **attempt > head.attempts)?;
            begun.push((head.id.0, attempt));
            Some(attempt)
        };
        let Read { mut meta, live_bytes } =
            opened.with(|database| tables::read(database, now, unknown, tell))?;
        hold_against(meta.sequence, left.safe)?;

        let file_bytes = std::fs::metadata(path).map_or(0, |file| file.len());
        if file_bytes > COMPACT_BYTES_MIN && live_bytes < file_bytes / 4 {
            // Costs as much as what is in the file, which is little.
            opened.with(|database| Ok(database.compact()?))?;
        }

        meta.opening = meta
            .opening
            .checked_add(1)
            .ok_or_else(|| Failure::Damaged("it was opened more often than there are numbers".into()))?;
        opened.with(|database| {
            let transaction = database.begin_write()?;
            if meta.remembered > 0 {
                // All that are over.
                let items = usize::try_from(meta.remembered).unwrap_or(usize::MAX);
                tables::sweep(&transaction, &[], items, now, &mut meta)?;
            }
            tables::advance(&transaction, &mut meta)?;
            Ok(transaction.commit()?)
        })?;

        let numbers = Numbers { next_id: meta.next_id, opening: meta.opening };
        let attempts = Attempts::create(path, meta.sequence, begun.into_iter())?;

        let shared = Arc::new(Shared {
            path: path.to_owned(),
            database: RwLock::new(opened.accept()),
            recent: Mutex::default(),
            attempts: Mutex::new(attempts),
            broken: OnceLock::new(),
            large_bytes,
        });
        let committer = Committer {
            shared: Arc::clone(&shared),
            clock: clock.clone(),
            meta,
            swept: Vec::new(),
            added: 0,
        };
        let (writes, queue) = crossbeam_channel::bounded(WRITES_MAX);
        let committer = std::thread::Builder::new()
            .name("aqueduct-queue-log".into())
            .spawn(move || committer.run(&queue))
            .map_err(Failure::from)?;
        let log = Self { shared, writes: RwLock::new(Some(writes)), committer: Mutex::new(Some(committer)) };
        Ok((log, numbers))
    }
}

impl Drop for RedbLog {
    fn drop(&mut self) {
        // Who wants to know calls `close`.
        let _ = self.close();
    }
}

impl Log for RedbLog {
    fn submit(&self, write: Write) {
        let rows: Vec<Row> = write.changes.iter().map(Row::of).collect();
        let bytes = rows.iter().map(Row::bytes).sum();
        let pending = Pending { rows, bytes, done: write.done };
        let writes = self.writes.read().unwrap_or_else(PoisonError::into_inner);
        let (refused, broken) = match writes.as_ref() {
            Some(writes) => match writes.try_send(pending) {
                Ok(()) => return,
                // Its callers promise that this cannot be. To wait could be to wait for ourselves.
                Err(TrySendError::Full(refused)) => {
                    let cause = format!("more than {WRITES_MAX} writes are under way");
                    (refused, Broken::Write { what: "a commit", cause })
                }
                Err(TrySendError::Disconnected(refused)) => {
                    (refused, self.shared.broken().unwrap_or(Broken::Closed))
                }
            },
            None => (pending, self.shared.broken().unwrap_or(Broken::Closed)),
        };
        drop(writes);
        (refused.done)(Err(broken)).now();
    }

    fn at_hand(&self, id: MessageId) -> Option<Body> {
        let recent = lock(&self.shared.recent).get(id.0)?;
        // What is not what was written is read again, and told by the one who does.
        record::read_body(id, &recent).ok()
    }

    fn read(&self, id: MessageId) -> Result<Body, ReadError> {
        if let Some(broken) = self.shared.broken() {
            return Err(broken.into());
        }
        let recent = lock(&self.shared.recent).get(id.0);
        let record = match recent {
            Some(record) => record,
            None => self.shared.read(id)?,
        };
        record::read_body(id, &record).map_err(|bad| ReadError::Corrupt(bad.0))
    }

    fn begin(&self, attempts: &[(MessageId, u32)]) -> Result<(), Broken> {
        if let Some(broken) = self.shared.broken() {
            return Err(broken);
        }
        let noted = self.shared.attempts().begin(attempts.iter().map(|(id, attempt)| (id.0, *attempt)));
        noted
            .map_err(|error| self.shared.break_with("a write beside", Failure::from(error).text().to_owned()))
    }

    /// Does nothing the second time. It blocks its thread for as long as a few commits take.
    fn close(&self) -> Result<(), Broken> {
        drop(self.writes.write().unwrap_or_else(PoisonError::into_inner).take());
        let committer = lock(&self.committer).take();
        if let Some(committer) = committer
            // The last one to let go may be the end of a write, on that thread; it closes the file when it is done.
            && committer.thread().id() != std::thread::current().id()
            && committer.join().is_err()
        {
            self.shared.break_with("closing", "the thread that writes has died".into());
        }
        match self.shared.broken() {
            Some(Broken::Closed) | None => Ok(()),
            Some(broken) => Err(broken),
        }
    }
}

// --- shared ---

impl Shared {
    fn broken(&self) -> Option<Broken> {
        self.broken.get().cloned()
    }

    /// Breaks the log. What broke it first is what it says from now on.
    fn break_with(&self, what: &'static str, cause: String) -> Broken {
        self.broken.get_or_init(|| Broken::Write { what, cause }).clone()
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        lock(&self.attempts)
    }

    fn with_database<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Some(database) => work(database),
            None => Err(Failure::System("the file is closed".into())),
        }
    }

    /// Whether redb is to write what it needs for a quick opening after a crash.
    fn is_large(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|file| file.len() > self.large_bytes)
    }

    /// Keeps what was written for who reads next.
    fn remember<'r>(&self, rows: impl Iterator<Item = &'r Row>) {
        let mut recent = lock(&self.recent);
        for row in rows {
            match row {
                Row::Insert { id, body, .. } => recent.insert(*id, body.clone()),
                Row::Remove(id) => recent.remove(*id),
                _ => {}
            }
        }
    }

    /// Reads the record of a body from the file.
    fn read(&self, id: MessageId) -> Result<Bytes, ReadError> {
        let found = self.with_database(|database| {
            caught(|| {
                let table = database.begin_read()?.open_table(tables::BODIES)?;
                Ok(table.get(id.0)?.map(|record| Bytes::copy_from_slice(record.value())))
            })
        });
        match found {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(ReadError::Corrupt("its body is missing".into())),
            Err(Failure::Damaged(what)) => Err(ReadError::Corrupt(what)),
            Err(failure) => Err(self.break_with("a read", failure.text().to_owned()).into()),
        }
    }

    fn close_file(&self) {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(database) = database else { return };
        match caught(|| Ok(database.close()?)) {
            // A file that is not closed well is looked through when it is opened again, and nothing is lost.
            Err(failure) => drop(self.break_with("closing", failure.text().to_owned())),
            Ok(()) => drop(self.broken.set(Broken::Closed)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is whole after each step of its own.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// --- opening ---

/// An opening under way. That of a large file leaves a note while it lasts: redb takes the list of free pages of such a
/// file on trust, and a damaged list can make it panic while it cleans up after a panic, which ends the process. An
/// opening that finds the note of one that never ended checks all pages, and refuses.
struct Opening {
    checks: bool,
    note: Option<PathBuf>,
}

impl Opening {
    fn begin(path: &Path, large_bytes: u64) -> Result<Self, Failure> {
        let mut note = path.as_os_str().to_owned();
        note.push(".opening");
        let note = PathBuf::from(note);
        let is_large = std::fs::metadata(path).is_ok_and(|file| file.len() > large_bytes);
        let has_died = note.try_exists()?;
        if is_large {
            std::fs::write(&note, b"")?;
        }
        Ok(Self { checks: !is_large || has_died, note: (is_large || has_died).then_some(note) })
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(note) = &self.note {
            // One that stays makes the next opening slow, and nothing worse.
            let _ = std::fs::remove_file(note);
        }
    }
}

fn builder(check: bool) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(check);
    builder
}

/// A file that lacks commits that were safe is damaged, however sound it looks.
fn hold_against(sequence: u64, safe: u64) -> Result<(), Failure> {
    match safe.checked_sub(sequence) {
        None | Some(0) => Ok(()),
        Some(lost) => Err(Failure::Damaged(format!(
            "its last {lost} commits cannot be read, though they were safe (says the file beside it, .attempts)"
        ))),
    }
}

/// The first bytes of every redb database.
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

fn open_database(path: &Path, check: bool) -> Result<Opened, Failure> {
    let bytes = match std::fs::metadata(path) {
        Ok(file) if file.is_file() => file.len(),
        Ok(_) => return Err(Failure::NotOurs("no file".into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    if bytes == 0 {
        return Ok(Opened::of(create(path)?));
    }
    check_magic(path)?;

    // redb takes the commit before the last one where the last one does not verify, as after a crash in the middle of
    // it. Whether that was a crash is ours to know, and is asked before anything is changed.
    let asked = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&asked);
    let first = Opened::file(path, |file| {
        let mut builder = builder(check);
        builder.set_repair_callback(move |repair| {
            // It is called with 0.0 before anything, and with 0.3 only when the last commit does not verify.
            if (0.2..0.5).contains(&repair.progress()) {
                told.store(true, Ordering::Relaxed);
                repair.abort();
            }
        });
        caught(|| Ok(builder.create_with_backend(file)?))
    });
    if !asked.load(Ordering::Relaxed) {
        return first;
    }
    let left = Attempts::left(path)?;
    let before = caught(|| {
        let database = builder(check).create_with_backend(overlay::Overlay::over(path)?)?;
        Ok(tables::meta(&database.begin_read()?)?.sequence)
    })?;
    hold_against(before, left.safe)?;
    Opened::file(path, |file| caught(|| Ok(builder(check).create_with_backend(file)?)))
}

fn check_magic(path: &Path) -> Result<(), Failure> {
    let mut first = [0; MAGIC.len()];
    let read = std::io::Read::read_exact(&mut std::fs::File::open(path)?, &mut first);
    match read {
        Ok(()) if first == *MAGIC => Ok(()),
        Ok(()) => Err(Failure::NotOurs("it does not begin as a redb database does".into())),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Failure::NotOurs("it is shorter than any".into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a new file: under another name until it is whole, so that a crash in between leaves none behind.
fn create(path: &Path) -> Result<Database, Failure> {
    let left = Attempts::left(path)?;
    if left.safe > 0 {
        return Err(Failure::Damaged(
            "it is missing or empty, though the file beside it, .attempts, tells of commits; remove that one, too, to \
             begin anew"
                .into(),
        ));
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // A half-made file of a process that died; one that is being made is locked, and its maker finds ours in its place.
    let made = caught(|| {
        let database = builder(false).create(&new)?;
        Ok(database)
    });
    let database = match made {
        Ok(database) => database,
        Err(Failure::Damaged(_) | Failure::NotOurs(_)) => {
            std::fs::remove_file(&new)?;
            caught(|| Ok(builder(false).create(&new)?))?
        }
        Err(failure) => return Err(failure),
    };
    // Another process may have made it between our look and our lock.
    if std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
        return Err(Failure::InUse);
    }
    if caught(|| tables::meta(&database.begin_read()?)).is_err() {
        caught(|| tables::create(&database))?;
    }
    std::fs::rename(&new, path)?;
    sync_folder(path)?;
    Ok(database)
}

/// Makes the name of a new file as safe as its content.
#[cfg(unix)]
fn sync_folder(path: &Path) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Ok(std::fs::File::open(folder)?.sync_all()?)
}

/// Other systems keep names with their files.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> Result<(), Failure> {
    Ok(())
}
