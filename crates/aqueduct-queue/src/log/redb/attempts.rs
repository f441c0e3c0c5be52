//! The file beside the file: which attempts have begun, and how far the commits have come.
//!
//! What is written here is not synced. It survives the end of the process, whose page cache the system keeps, and not
//! the end of the machine; the workers are gone with that one, too. It is 16 bytes an attempt where a commit would be a
//! sync.
//!
//! It begins with the number of the last commit that is safe, in two places that are written in turn. redb writes a
//! commit with one sync, tells by its checksums whether it was finished when the power went, and takes the one before if
//! not. So a page of the last commit that goes bad later looks to it like a commit that was never finished. The number
//! knows better. It is never ahead of the disk, as it is written after the sync.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::tables::Row;

/// The file beside the file.
#[derive(Debug)]
pub(super) struct Attempts {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// The last commit that is safe.
    safe: u64,
    /// At this length it is written anew, with what still counts.
    bytes_max: u64,
    /// The last record of each message in the file whose message is there.
    begun: HashMap<u64, Begun>,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    attempt: u32,
    /// The head of the message says as much, and is safe.
    settled: bool,
}

/// What an earlier process left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// The number of a commit that is safe; 0 where nothing is known.
    pub(super) safe: u64,
    /// The last attempt that began of each message.
    pub(super) attempts: HashMap<u64, u32>,
}

/// Below this length the file is not written anew: 65,536 attempts, a millisecond of work for each time.
const BYTES_MAX: u64 = 1024 * 1024;

const RECORD: usize = 16;
/// Two places for the number of the last safe commit.
const HEADER: usize = 2 * RECORD;

/// What distinguishes the checksums of commits and of attempts from each other, and from zeroes.
const COMMIT: u8 = b'C';
const ATTEMPT: u8 = b'A';

/// Where the file beside `path` is.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".attempts");
    name.into()
}

impl Attempts {
    /// What is there; nothing where there is no file. Records that are not what was written are left out, each for
    /// itself: at the worst an attempt is not counted.
    pub(super) fn left(path: &Path) -> io::Result<Left> {
        let mut bytes = Vec::new();
        match File::open(beside(path)) {
            Ok(mut file) => file.read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Left::default()),
            Err(error) => return Err(error),
        };
        let mut left = Left::default();
        let (records, _torn) = bytes.as_chunks::<RECORD>();
        for (index, record) in records.iter().enumerate() {
            if index < HEADER / RECORD {
                left.safe = left.safe.max(unsealed(COMMIT, record).map_or(0, |(sequence, _)| sequence));
            } else if let Some((id, attempt)) = unsealed(ATTEMPT, record) {
                left.attempts.insert(id, attempt);
            }
        }
        Ok(left)
    }

    /// Begins a file with those attempts that the heads do not know of, in the place of the one that is there.
    pub(super) fn create(
        path: &Path,
        safe: u64,
        attempts: impl Iterator<Item = (u64, u32)>,
    ) -> io::Result<Self> {
        let begun: HashMap<u64, Begun> =
            attempts.map(|(id, attempt)| (id, Begun { attempt, settled: false })).collect();
        let path = beside(path);
        let (file, bytes) = written(&path, safe, &begun)?;
        Ok(Self { path, file, bytes, safe, bytes_max: bound(bytes), begun })
    }

    /// Notes that attempts begin.
    pub(super) fn begin(&mut self, attempts: impl Iterator<Item = (u64, u32)>) -> io::Result<()> {
        let mut records = Vec::new();
        for (id, attempt) in attempts {
            records.extend_from_slice(&sealed(ATTEMPT, id, attempt));
            self.begun.insert(id, Begun { attempt, settled: false });
        }
        self.append(&records)?;
        if self.bytes > self.bytes_max {
            self.begun.retain(|_, begun| !begun.settled);
            (self.file, self.bytes) = written(&self.path, self.safe, &self.begun)?;
            self.bytes_max = bound(self.bytes);
        }
        Ok(())
    }

    /// Notes that a commit is safe, and what it did to messages.
    pub(super) fn committed<'r>(&mut self, safe: u64, rows: impl Iterator<Item = &'r Row>) -> io::Result<()> {
        let mut lowered = Vec::new();
        for row in rows {
            match row {
                Row::Remove(id) => {
                    self.begun.remove(id);
                }
                Row::Update { id, attempts, .. } => {
                    if let Some(begun) = self.begun.get_mut(id) {
                        // The last record counts. Attempts that did not count after all must not come back.
                        if begun.attempt > *attempts {
                            begun.attempt = *attempts;
                            lowered.extend_from_slice(&sealed(ATTEMPT, *id, *attempts));
                        }
                        begun.settled = begun.attempt <= *attempts;
                    }
                }
                _ => {}
            }
        }
        self.append(&lowered)?;
        self.safe = safe;
        self.file.seek(SeekFrom::Start(place(safe)))?;
        self.file.write_all(&sealed(COMMIT, safe, 0))
    }

    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        // Behind a record that was cut by a full disk the next ones would be out of step.
        self.file.seek(SeekFrom::Start(self.bytes))?;
        self.file.write_all(records)?;
        self.bytes += records.len() as u64;
        Ok(())
    }
}

/// How long the file may become when it begins with so many bytes.
fn bound(bytes: u64) -> u64 {
    BYTES_MAX.max(bytes * 2)
}

/// Where the number of a commit stands: each second one in the same place, so that one of the last two is whole.
fn place(safe: u64) -> u64 {
    safe % 2 * RECORD as u64
}

/// Writes a file in full and puts it in the place of the one that is there: a kill finds the one or the other.
fn written(path: &Path, safe: u64, begun: &HashMap<u64, Begun>) -> io::Result<(File, u64)> {
    let mut bytes = vec![0; HEADER];
    let place = if place(safe) == 0 { 0..RECORD } else { RECORD..HEADER };
    bytes[place].copy_from_slice(&sealed(COMMIT, safe, 0));
    for (id, begun) in begun {
        bytes.extend_from_slice(&sealed(ATTEMPT, *id, begun.attempt));
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&new)?;
    file.write_all(&bytes)?;
    std::fs::rename(&new, path)?;
    Ok((file, bytes.len() as u64))
}

fn sealed(kind: u8, number: u64, attempt: u32) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&number.to_le_bytes());
    record[8..12].copy_from_slice(&attempt.to_le_bytes());
    let sum = checksum(kind, &record[..12]);
    record[12..].copy_from_slice(&sum.to_le_bytes());
    record
}

fn unsealed(kind: u8, record: &[u8; RECORD]) -> Option<(u64, u32)> {
    let (content, sum) = record.split_last_chunk::<4>()?;
    if checksum(kind, content) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (number, attempt) = content.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), u32::from_le_bytes(attempt.try_into().ok()?)))
}

fn checksum(kind: u8, content: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&[kind]);
    sum.update(content);
    sum.finalize()
}
