use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use aqueduct_core::failpoint;
use aqueduct_store::FileMark;
use serde::Serialize;

use super::Opening;
use crate::error::SinkError;
use crate::guarantee::Guarantee;
use crate::source::Framing;

/// How large a part of a folder grows before the next one is begun: large enough that a folder of a terabyte
/// has a few thousand parts, small enough to be moved about.
const PART_BYTES: u64 = 256 * 1024 * 1024;

/// How much is gathered for one write: batches are small, and with several sinks each of them is smaller still.
const WRITE_BYTES: usize = 256 * 1024;

const MANIFEST: &str = "manifest.json";

/// The manifest while it is written.
const MANIFEST_NEW: &str = "manifest.json.new";

/// The files of a sink: one file when the path has the ending of its format, else a folder of parts.
///
/// The ledger knows the committed length of each file. What is beyond it is cut off at the next start; a file
/// that the ledger does not know is refused. A folder has a `manifest.json` that lists its parts and their
/// committed lengths; it is derived from the ledger and rebuilt at each start.
#[derive(Debug)]
pub(super) struct Parts {
    path: PathBuf,
    /// The format, which is the ending of its files.
    ending: &'static str,
    /// How its records end, for a tail that is kept.
    framing: Framing,
    part_bytes: u64,
    name: String,
    /// What is committed or sealed, part by part.
    marks: Vec<FileMark>,
    open: Option<OpenPart>,
    /// The folder or the file, locked for this process until the run ends.
    lock: Option<File>,
}

#[derive(Debug)]
struct OpenPart {
    file: File,
    path: PathBuf,
    /// What was appended and not written yet; the mark counts it.
    unwritten: Vec<u8>,
    /// Whether anything was appended since the last sync.
    dirty: bool,
}

impl OpenPart {
    /// Takes bytes, and writes what has gathered once it is worth a call.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.unwritten.len() + bytes.len() > WRITE_BYTES {
            self.write()?;
        }
        if bytes.len() > WRITE_BYTES {
            return self.file.write_all(bytes);
        }
        self.unwritten.extend_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.unwritten)?;
        self.unwritten.clear();
        Ok(())
    }
}

impl Parts {
    /// Writes to `path`.
    pub(super) fn new(path: PathBuf, ending: &'static str, framing: Framing) -> Self {
        Self {
            path,
            ending,
            framing,
            part_bytes: PART_BYTES,
            name: String::new(),
            marks: Vec::new(),
            open: None,
            lock: None,
        }
    }

    /// Sets how large a part grows before the next one is begun.
    pub(super) fn set_part_bytes(&mut self, bytes: u64) {
        self.part_bytes = bytes.max(1);
    }

    /// Sees whether the file or the folder could be written, and is not somebody else's.
    pub(super) fn connect(&self, opening: &Opening<'_>) -> Result<(), SinkError> {
        // As it would be when it is opened, and nothing of that is kept.
        let mut opened = Self::new(self.path.clone(), self.ending, self.framing);
        opened.name = opening.sink.to_owned();
        opened.marks = opening.marks.to_vec();
        crate::connect::can_write(&self.path).map_err(|source| opened.io(&self.path, source))?;
        opened.refuse_unknown()
    }

    pub(super) fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The file, or the first part of the folder.
    pub(super) fn first_path(&self) -> PathBuf {
        self.part_path(&self.part_name(0))
    }

    /// The first file that has committed bytes, and how many.
    pub(super) fn written(&self) -> Option<(PathBuf, u64)> {
        let mark = self.marks.iter().find(|mark| mark.bytes > 0)?;
        Some((self.part_path(&mark.part), mark.bytes))
    }

    fn is_folder(&self) -> bool {
        self.path.extension().is_none_or(|extension| extension != self.ending)
    }

    fn part_name(&self, number: usize) -> String {
        if self.is_folder() {
            format!("part-{number:05}.{}", self.ending)
        } else {
            self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
    }

    fn part_path(&self, part: &str) -> PathBuf {
        if self.is_folder() { self.path.join(part) } else { self.path.clone() }
    }

    fn new_mark(&self) -> FileMark {
        FileMark { sink: self.name.clone(), part: self.part_name(self.marks.len()), bytes: 0, items: 0 }
    }

    fn io(&self, path: &Path, source: io::Error) -> SinkError {
        SinkError::Io { sink: self.name.clone(), path: path.to_owned(), source }
    }

    /// Locks the folder or the file, if it is there and not locked by us already.
    ///
    /// The fence of the ledger cannot stop an older run from appending; the system's lock can, and lets go when
    /// the process dies. Folders can be opened, and so locked, on Unix only.
    fn hold(&mut self) -> Result<(), SinkError> {
        if self.lock.is_some() || (self.is_folder() && !cfg!(unix)) {
            return Ok(());
        }
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.io(&self.path, error)),
        };
        match file.try_lock() {
            Ok(()) => {
                self.lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => {
                Err(SinkError::InUse { sink: self.name.clone(), path: self.path.clone() })
            }
            Err(TryLockError::Error(error)) => Err(self.io(&self.path, error)),
        }
    }

    /// Refuses files that look like ours and are not in the ledger.
    fn refuse_unknown(&self) -> Result<(), SinkError> {
        let unknown = |path: PathBuf| SinkError::Unknown { sink: self.name.clone(), path };
        if !self.is_folder() {
            let known = !self.marks.is_empty();
            return if !known && self.path.exists() { Err(unknown(self.path.clone())) } else { Ok(()) };
        }
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.io(&self.path, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| self.io(&self.path, error))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // A manifest is derived, and half of one is what a kill leaves behind.
            let manifest = !self.marks.is_empty() && (name == MANIFEST || name == MANIFEST_NEW);
            let ours = manifest || self.marks.iter().any(|mark| mark.part == name);
            if !ours {
                return Err(unknown(entry.path()));
            }
        }
        Ok(())
    }

    /// Cuts each file back to what is committed.
    fn cut_tails(&self, guarantee: Guarantee) -> Result<(), SinkError> {
        for mark in &self.marks {
            let path = self.part_path(&mark.part);
            let io = |error| self.io(&path, error);
            let found = match std::fs::metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(io(error)),
            };
            if found < mark.bytes {
                return Err(SinkError::Shorter {
                    sink: self.name.clone(),
                    path,
                    found,
                    committed: mark.bytes,
                });
            }
            if found > mark.bytes {
                let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(io)?;
                let keep = if guarantee == Guarantee::AtLeastOnce {
                    self.last_record_end(&mut file, mark.bytes).map_err(io)?
                } else {
                    mark.bytes
                };
                file.set_len(keep).map_err(io)?;
                sync(&self.name, &path, &file)?;
            }
        }
        Ok(())
    }

    /// Opens the part that the next bytes go to, and makes its folder entry durable.
    fn open_part(&mut self) -> Result<&mut OpenPart, SinkError> {
        let part = self.marks.last().map(|mark| mark.part.clone()).unwrap_or_default();
        let path = self.part_path(&part);
        let stale = self.open.as_ref().is_none_or(|open| open.path != path);
        if stale {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(|error| self.io(&path, error))?;
            sync_folder(&self.name, &path)?;
            // A single file may have been made just now.
            self.hold()?;
            self.open = Some(OpenPart { file, path, unwritten: Vec::new(), dirty: false });
        }
        Ok(self.open.as_mut().expect("opened just above"))
    }

    /// Writes the list of parts: to a file beside, synced, then renamed over the old one.
    fn write_manifest(&self) -> Result<(), SinkError> {
        #[derive(Serialize)]
        struct Part<'a> {
            part: &'a str,
            bytes: u64,
            items: u64,
        }
        #[derive(Serialize)]
        struct Manifest<'a> {
            format: u32,
            parts: Vec<Part<'a>>,
        }
        if !self.is_folder() {
            return Ok(());
        }
        let io = |error| self.io(&self.path, error);
        failpoint::hit("manifest-before").map_err(|error| io(io::Error::other(error)))?;
        let manifest = Manifest {
            format: 1,
            parts: self
                .marks
                .iter()
                .map(|m| Part { part: &m.part, bytes: m.bytes, items: m.items })
                .collect(),
        };
        let mut text =
            serde_json::to_string_pretty(&manifest).expect("a struct of numbers and texts is always JSON");
        text.push('\n');
        let beside = self.path.join(MANIFEST_NEW);
        std::fs::write(&beside, text).map_err(io)?;
        std::fs::rename(&beside, self.path.join(MANIFEST)).map_err(io)?;
        failpoint::hit("manifest-after").map_err(|error| io(io::Error::other(error)))
    }

    /// Finds the end of the last whole record behind `from`, where one begins.
    fn last_record_end(&self, file: &mut File, from: u64) -> io::Result<u64> {
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut tail)?;
        Ok(from + self.framing.whole(&tail) as u64)
    }

    // What a sink does

    pub(super) fn describe(&self) -> String {
        let kind = if self.is_folder() { "folder" } else { "file" };
        format!("{} {kind} {}", self.ending, self.path.display())
    }

    pub(super) fn guarantee(&self) -> (Guarantee, String) {
        (
            Guarantee::ExactlyOnce,
            "the ledger commits the length of each file together with the position, and what is beyond it is cut off \
             at the next start"
                .to_owned(),
        )
    }

    pub(super) fn reserve(&mut self, sink: &str) -> Result<(), SinkError> {
        self.name = sink.to_owned();
        self.hold()
    }

    pub(super) fn open(&mut self, opening: &Opening<'_>) -> Result<Vec<FileMark>, SinkError> {
        self.name = opening.sink.to_owned();
        self.marks = opening.marks.to_vec();
        self.refuse_unknown()?;
        let folder = if self.is_folder() { Some(self.path.as_path()) } else { self.path.parent() };
        if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
            std::fs::create_dir_all(folder).map_err(|error| self.io(folder, error))?;
            sync_folder(&self.name, folder)?;
        }
        // It may have come since the reservation, from another run or from us.
        self.hold()?;
        self.cut_tails(opening.guarantee)?;
        if self.marks.is_empty() {
            let mark = self.new_mark();
            self.marks.push(mark);
        } else {
            self.write_manifest()?;
        }
        if opening.guarantee == Guarantee::AtLeastOnce {
            // What an earlier run wrote and did not commit stays, and counts as written.
            for at in 0..self.marks.len() {
                let path = self.part_path(&self.marks[at].part);
                self.marks[at].bytes =
                    std::fs::metadata(&path).map_or(self.marks[at].bytes, |found| found.len());
            }
        }
        Ok(self.marks.clone())
    }

    /// Appends to the open part, behind `header` where it begins.
    pub(super) fn append(&mut self, header: &[u8], encoded: &[u8], items: u64) -> Result<(), SinkError> {
        if encoded.is_empty() {
            return Ok(());
        }
        let begins = self.marks.last().is_some_and(|mark| mark.bytes == 0);
        if begins && !header.is_empty() {
            return self.append(&[], &[header, encoded].concat(), items);
        }
        failpoint::hit("file-append-before").map_err(|error| self.io(&self.path, io::Error::other(error)))?;
        let open = self.open_part()?;
        open.dirty = true;
        let half = encoded.len() / 2;
        let written = if failpoint_armed() {
            // Two writes, so that a kill between them leaves half a batch behind.
            open.file
                .write_all(&encoded[..half])
                .and_then(|()| failpoint::hit("file-append-half").map_err(io::Error::other))
                .and_then(|()| open.file.write_all(&encoded[half..]))
        } else {
            open.append(encoded)
        };
        if let Err(error) = written {
            let path = open.path.clone();
            return Err(self.io(&path, error));
        }
        let mark = self.marks.last_mut().expect("open makes the first mark");
        mark.bytes += encoded.len() as u64;
        mark.items += items;
        Ok(())
    }

    pub(super) fn seal(&mut self) -> Result<Vec<FileMark>, SinkError> {
        let Some(open) = self.open.as_mut().filter(|open| open.dirty) else { return Ok(Vec::new()) };
        if let Err(error) = open.write() {
            let path = open.path.clone();
            return Err(self.io(&path, error));
        }
        sync(&self.name, &open.path, &open.file)?;
        open.dirty = false;
        let mut changed = vec![self.marks.last().expect("open makes the first mark").clone()];
        // The next part is known to the ledger before its first byte is written.
        if self.is_folder() && changed[0].bytes >= self.part_bytes {
            let next = self.new_mark();
            changed.push(next.clone());
            self.marks.push(next);
        }
        Ok(changed)
    }

    pub(super) fn committed(&mut self) -> Result<(), SinkError> {
        self.write_manifest()
    }
}

/// Tells whether this build has fail points at all.
fn failpoint_armed() -> bool {
    cfg!(feature = "failpoints")
}

fn sync(sink: &str, path: &Path, file: &File) -> Result<(), SinkError> {
    let failed = |source| SinkError::Sync { sink: sink.to_owned(), path: path.to_owned(), source };
    failpoint::hit("file-sync-before").map_err(|error| failed(io::Error::other(error)))?;
    match file.sync_data() {
        Err(_) if failpoint::sabotaged("fsync-error-ignored") => {}
        synced => synced.map_err(failed)?,
    }
    failpoint::hit("file-sync-after").map_err(|error| failed(io::Error::other(error)))
}

/// A new file or folder is there for good only when the folder around it is synced too.
fn sync_folder(sink: &str, path: &Path) -> Result<(), SinkError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| SinkError::Sync {
        sink: sink.to_owned(),
        path: folder.to_owned(),
        source,
    })
}

impl Drop for Parts {
    /// Lets go of the lock at once, as the data folder's is.
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            let _ = lock.unlock();
        }
    }
}
