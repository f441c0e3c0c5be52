use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::record::{self, HEADER, MORTAL, Reading, Spot};

/// One file of records. It is only written to at its end, but for the records in it that are removed, and leaves as a whole.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    path: PathBuf,
    file: File,
    /// How long it is. Written under the writer's lock; read by statistics as well, which may be late.
    bytes: AtomicU64,
    /// How many of its records the index points to. The same.
    live: AtomicU64,
    /// When the last of its records expires. The same.
    until: AtomicI64,
}

/// The first bytes of a segment; the last of them is the version. The number of the segment comes after them.
const MAGIC: [u8; 8] = *b"AQCACHE\x01";

const START: usize = 16;

/// How much is read at once when a segment is scanned.
const READ_BYTES: usize = 1 << 18;

impl Segment {
    pub(super) fn create(folder: &Path, number: u32) -> io::Result<Self> {
        let path = path(folder, number);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        if let Err(error) = file.write_all_at(&start(number), 0) {
            // A file without its start is left out at the next opening as well.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self::of(number, path, file, START as u64))
    }

    /// Opens one that is there; `None` when it is not one of this version.
    pub(super) fn open(folder: &Path, number: u32) -> io::Result<Option<Self>> {
        let path = path(folder, number);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut found = [0; START];
        if file.read_exact_at(&mut found, 0).is_err() || found != start(number) {
            return Ok(None);
        }
        let bytes = file.metadata()?.len();
        Ok(Some(Self::of(number, path, file, bytes)))
    }

    fn of(number: u32, path: PathBuf, file: File, bytes: u64) -> Self {
        let (live, until) = (AtomicU64::new(0), AtomicI64::new(i64::MIN));
        Self { number, path, file, bytes: AtomicU64::new(bytes), live, until }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Tells whether nobody finds anything in it any more.
    pub(super) fn is_spent(&self, now: i64) -> bool {
        self.live.load(Ordering::Relaxed) == 0 || self.until.load(Ordering::Relaxed) <= now
    }

    /// Counts a record that the index points to from now on.
    pub(super) fn gained(&self, until: i64) {
        self.live.fetch_add(1, Ordering::Relaxed);
        self.until.fetch_max(until, Ordering::Relaxed);
    }

    /// Counts one that it no longer points to.
    pub(super) fn lost(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, at: u32, record: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(record, u64::from(at))
    }

    /// Writes a record at the end. When that fails, the end is where it was.
    pub(super) fn append(&self, record: &[u8]) -> io::Result<()> {
        let end = self.bytes();
        self.file.write_all_at(record, end).inspect_err(|_| {
            // What was written of it is cut off here, or overwritten by the next, or left out at the next opening.
            let _ = self.file.set_len(end);
        })?;
        self.bytes.store(end + record.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Makes sure that nobody finds the record at `at` again, this process or a later one.
    pub(super) fn kill(&self, at: u32) -> io::Result<()> {
        self.file.write_all_at(&[0; MORTAL.end - MORTAL.start], u64::from(at) + MORTAL.start as u64)
    }

    /// Makes sure that nobody finds anything in it again.
    pub(super) fn delete(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.file.set_len(0),
            _ => Ok(()),
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives each record in turn, and cuts off what is behind the last that can be found. Tells whether there was something.
    pub(super) fn scan(&self, mut each: impl FnMut(Spot, u32, Reading)) -> io::Result<bool> {
        let end = self.bytes();
        let mut file = BufReader::with_capacity(READ_BYTES, &self.file);
        file.seek(SeekFrom::Start(START as u64))?;
        let mut record = Vec::new();
        let mut at = START as u64;
        while let Some(read) = self.next(&mut file, &mut record, at, end) {
            let (spot, bytes) = read;
            each(spot, bytes, record::read(&record, spot));
            at += u64::from(bytes);
        }
        if at == end {
            return Ok(false);
        }
        self.file.set_len(at)?;
        self.bytes.store(at, Ordering::Relaxed);
        Ok(true)
    }

    fn next(&self, file: &mut impl Read, record: &mut Vec<u8>, at: u64, end: u64) -> Option<(Spot, u32)> {
        let spot = Spot { segment: self.number, at: u32::try_from(at).ok()? };
        let mut header = [0; HEADER];
        file.read_exact(&mut header).ok()?;
        let bytes = record::bytes(&header, spot)?;
        // Looked at before anything is allocated: the length may be damaged in a way that its checksum does not see.
        if at + u64::from(bytes) > end {
            return None;
        }
        record.clear();
        record.extend_from_slice(&header);
        record.resize(bytes as usize, 0);
        file.read_exact(&mut record[HEADER..]).ok()?;
        Some((spot, bytes))
    }
}

/// The numbers of the segments in a folder, oldest first.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let name = file?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

const SUFFIX: &str = ".segment";

pub(super) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:010}{SUFFIX}"))
}

fn start(number: u32) -> [u8; START] {
    let mut start = [0; START];
    start[..8].copy_from_slice(&MAGIC);
    start[8..12].copy_from_slice(&number.to_le_bytes());
    start
}
