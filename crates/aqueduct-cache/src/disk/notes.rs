use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::invalidations::{Invalidations, Scope};

/// What was invalidated, in a file to whose end each invalidation is written:
///
/// ```text
///  0  8    magic and version
///  8  u64  origin
/// 16  u64  how many bytes of notes follow
/// 24  u32  CRC-32 of the fields above
/// 28       notes: u32 bytes, u32 CRC-32 of origin, place and note; u32 bytes of the namespace, namespace, u64 edition, scope
/// ```
///
/// The number of bytes is written after the note, so a file that was cut, at whatever place, is known to be cut. It is
/// all or nothing: without one of the notes, something invalid would be valid again.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
    file: File,
    origin: u64,
    /// How many bytes of notes there are, and how many of them there were when the file was last written anew.
    bytes: u64,
    bytes_least: u64,
    namespaces: HashMap<Box<str>, Invalidations>,
}

const MAGIC: [u8; 8] = *b"AQNOTES\x01";

const START: usize = 28;

const FILE: &str = "invalidations";

/// What is written beside the file before it takes its place.
const DRAFT: &str = "invalidations.new";

/// Longer tags and prefixes are cut: what they become covers more, which is never wrong, and they take bounded room.
const SCOPE_BYTES_MAX: usize = 1_024;

/// With more, it is time to begin anew.
const NAMESPACES_MAX: usize = 10_000;

/// The file is written anew when it is twice as large as it must be, and not below this.
const SPARE_BYTES: u64 = 1 << 20;

impl Notes {
    /// Reads what is in the folder; `None` when there is nothing, or it is not as it was written.
    pub(super) fn open(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(FILE);
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        if file.read_to_end(&mut bytes).is_err() {
            return Ok(None);
        }
        Ok(decode(&bytes).map(|(origin, namespaces)| {
            let bytes = notes_bytes(&bytes);
            Self { path, file, origin, bytes, bytes_least: bytes, namespaces }
        }))
    }

    pub(super) fn is_there(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// Begins to remember.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        // 0 says that nothing is remembered.
        let origin = RandomState::new().hash_one(folder) | 1;
        let (path, file, bytes) = write_anew(folder, origin, &HashMap::new())?;
        Ok(Self { path, file, origin, bytes, bytes_least: 0, namespaces: HashMap::new() })
    }

    pub(super) fn of(&self, namespace: &str) -> Invalidations {
        let mut found = self.namespaces.get(namespace).cloned().unwrap_or_default();
        found.origin = self.origin;
        found
    }

    pub(super) fn bytes(&self) -> u64 {
        START as u64 + self.bytes
    }

    /// Tells whether there is no room for another namespace.
    pub(super) fn is_full_for(&self, namespace: &str) -> bool {
        self.namespaces.len() >= NAMESPACES_MAX && !self.namespaces.contains_key(namespace)
    }

    /// Writes down an invalidation, in a later edition than every one before; gives it. When this returns, the system
    /// has it.
    pub(super) fn add(&mut self, namespace: &str, scope: &Scope, edition: u64) -> io::Result<u64> {
        let known = self.namespaces.get(namespace).map_or(0, Invalidations::edition);
        let next = known.checked_add(1).ok_or_else(|| io::Error::other("there are no more editions"))?;
        let edition = edition.max(next);
        let scope = cut(scope);
        let note = encode(self.origin, self.bytes, namespace, &scope, edition);
        self.file.write_all_at(&note, START as u64 + self.bytes)?;
        let bytes = self.bytes + note.len() as u64;
        self.file.write_all_at(&start(self.origin, bytes), 0)?;
        self.bytes = bytes;
        self.namespaces.entry(namespace.into()).or_default().add(scope, edition);
        if self.bytes > 2 * self.bytes_least + SPARE_BYTES {
            self.shrink();
        }
        Ok(edition)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Writes the file without what no longer matters. One that cannot be written leaves the old one as it was.
    fn shrink(&mut self) {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        if let Ok((_, file, bytes)) = write_anew(folder, self.origin, &self.namespaces) {
            self.file = file;
            self.bytes = bytes;
        }
        // Tried again only after as many bytes, also where it failed.
        self.bytes_least = self.bytes;
    }
}

fn write_anew(
    folder: &Path,
    origin: u64,
    namespaces: &HashMap<Box<str>, Invalidations>,
) -> io::Result<(PathBuf, File, u64)> {
    let (path, draft) = (folder.join(FILE), folder.join(DRAFT));
    let mut notes = Vec::new();
    for (namespace, invalidations) in namespaces {
        for (scope, edition) in scopes(invalidations) {
            let note = encode(origin, notes.len() as u64, namespace, &scope, edition);
            notes.extend_from_slice(&note);
        }
    }
    let bytes = notes.len() as u64;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&draft)?;
    file.write_all_at(&notes, START as u64)?;
    file.write_all_at(&start(origin, bytes), 0)?;
    std::fs::rename(&draft, &path)?;
    Ok((path, file, bytes))
}

/// Oldest first, so that those that are read make room in the same order as those that were written.
fn scopes(invalidations: &Invalidations) -> Vec<(Scope, u64)> {
    let mut scopes: Vec<_> = invalidations.scopes().collect();
    scopes.sort_by_key(|&(_, edition)| edition);
    scopes
}

fn cut(scope: &Scope) -> Scope {
    match scope {
        Scope::Tag(tag) if tag.len() > SCOPE_BYTES_MAX => Scope::All,
        Scope::Prefix(prefix) if prefix.len() > SCOPE_BYTES_MAX => {
            Scope::Prefix(prefix[..SCOPE_BYTES_MAX].into())
        }
        other => other.clone(),
    }
}

fn start(origin: u64, bytes: u64) -> [u8; START] {
    let mut start = [0; START];
    start[..8].copy_from_slice(&MAGIC);
    start[8..16].copy_from_slice(&origin.to_le_bytes());
    start[16..24].copy_from_slice(&bytes.to_le_bytes());
    let check = crc32fast::hash(&start[..24]);
    start[24..].copy_from_slice(&check.to_le_bytes());
    start
}

fn encode(origin: u64, at: u64, namespace: &str, scope: &Scope, edition: u64) -> Vec<u8> {
    let scope = scope.encode();
    // Both lengths are those of what is in memory and was given by a program: far below 4 GiB, and where not, cut.
    let namespace_bytes = u32::try_from(namespace.len()).unwrap_or(u32::MAX);
    let body =
        [&namespace_bytes.to_le_bytes(), namespace.as_bytes(), &edition.to_le_bytes(), &scope].concat();
    let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let check = checksum(origin, at, &body);
    [&body_bytes.to_le_bytes(), &check.to_le_bytes(), body.as_slice()].concat()
}

fn decode(file: &[u8]) -> Option<(u64, HashMap<Box<str>, Invalidations>)> {
    let found: [u8; START] = *file.first_chunk()?;
    let origin = u64::from_le_bytes(*file[8..].first_chunk()?);
    let bytes = notes_bytes(file);
    if found != start(origin, bytes) {
        return None;
    }
    // What is behind it is a note that was not written to its end.
    let mut notes = file[START..].get(..usize::try_from(bytes).ok()?)?;
    let mut namespaces: HashMap<Box<str>, Invalidations> = HashMap::new();
    let mut at = 0;
    while !notes.is_empty() {
        let (body_bytes, rest) = notes.split_first_chunk()?;
        let (check, rest) = rest.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*body_bytes) as usize)?;
        if checksum(origin, at, body) != u32::from_le_bytes(*check) {
            return None;
        }
        let (namespace_bytes, body) = body.split_first_chunk()?;
        let (namespace, body) = body.split_at_checked(u32::from_le_bytes(*namespace_bytes) as usize)?;
        let (edition, scope) = body.split_first_chunk()?;
        let namespace = std::str::from_utf8(namespace).ok()?;
        let invalidations = namespaces.entry(namespace.into()).or_default();
        invalidations.add(Scope::decode(scope)?, u64::from_le_bytes(*edition));
        at += (notes.len() - rest.len()) as u64;
        notes = rest;
    }
    Some((origin, namespaces))
}

fn notes_bytes(file: &[u8]) -> u64 {
    file.get(16..24).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn checksum(origin: u64, at: u64, body: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&origin.to_le_bytes());
    checksum.update(&at.to_le_bytes());
    checksum.update(body);
    checksum.finalize()
}
