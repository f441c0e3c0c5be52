//! The files of a source: one by its path, or all that a pattern matches.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aqueduct_core::{PartitionId, Position};
use bytes::Bytes;
use glob::{MatchOptions, Pattern};

use super::cutter::{Cutter, Cutting, LINE_BYTES_MAX};
use super::framing::Framing;
use super::input::{ExpansionLimits, Input, Packing, io_error};
use super::position::{FilePosition, digest};
use super::{Chunk, Decoded};
use crate::error::{DecodeError, SourceError};
use crate::paths::same_file_key;

/// `*` stays inside a folder, and hidden files, which editors and other runs leave behind, are not meant by it.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Files that are read one after the other, each a partition.
#[derive(Debug)]
pub(super) struct Files {
    /// What they are, in words: `jsonl`.
    what: &'static str,
    path: PathBuf,
    name: String,
    manner: Manner,
    files: Vec<Listed>,
    /// What is left to read; `None` when a compressed file is among them, whose content has any size.
    left: Option<u64>,
    names: Arc<Names>,
    cutter: Option<Cutter>,
}

/// How each of the files is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    framing: Framing,
    line_bytes_max: usize,
    limits: ExpansionLimits,
}

impl Manner {
    /// Opens a file and cuts it from its beginning.
    pub(super) fn begin(self, path: &Path, partition: PartitionId) -> Result<Cutter, SourceError> {
        let input = Input::open(path, self.limits)?;
        // A mark in front of JSON is part of the first line, and its item is at 0.
        let drops_mark = self.framing != Framing::Lines;
        let cutting = Cutting {
            partition,
            framing: self.framing,
            limit: self.line_bytes_max,
            offset: 0,
            line: 1,
            drops_mark,
        };
        Ok(Cutter::new(Box::new(input), cutting, Vec::new()))
    }
}

/// One file, as it was found.
#[derive(Debug)]
struct Listed {
    path: PathBuf,
    name: String,
    bytes: u64,
}

/// The names of the files that are being read, for errors. Only a source of several files needs them.
///
/// The lock guards a map that the reader adds to when it opens a file, and that workers look into.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<HashMap<PartitionId, String>>);

impl Names {
    /// Says in each error which file it is about, where that is not clear.
    pub(super) fn place(&self, chunk: &Chunk, items: &mut [Decoded]) {
        if items.iter().all(|item| item.record.is_ok()) {
            return;
        }
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = names.get(&chunk.partition) else { return };
        for item in items {
            if let Err(error) = &mut item.record {
                let inner = std::mem::replace(error, DecodeError::Columns);
                *error = DecodeError::InFile { file: file.clone(), source: Box::new(inner) };
            }
        }
    }
}

impl Files {
    pub(super) fn new(what: &'static str, framing: Framing, path: PathBuf) -> Self {
        let name = path.display().to_string();
        Self {
            what,
            path,
            name,
            manner: Manner { framing, line_bytes_max: LINE_BYTES_MAX, limits: ExpansionLimits::default() },
            files: Vec::new(),
            left: None,
            names: Arc::default(),
            cutter: None,
        }
    }

    pub(super) fn set_name(&mut self, name: String) {
        self.name = name;
    }

    pub(super) fn set_framing(&mut self, framing: Framing) {
        self.manner.framing = framing;
    }

    pub(super) fn set_line_bytes_max(&mut self, bytes: usize) {
        self.manner.line_bytes_max = bytes.max(1);
    }

    pub(super) fn limits_mut(&mut self) -> &mut ExpansionLimits {
        &mut self.manner.limits
    }

    pub(super) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    pub(super) fn describe(&self) -> String {
        format!("{} {}", self.what, self.name)
    }

    /// Finds the files, and sees whether each can be opened.
    pub(super) fn connect(&mut self) -> Result<(), SourceError> {
        self.list()?;
        for file in &self.files {
            std::fs::File::open(&file.path).map_err(|error| io_error(&file.path, error))?;
        }
        Ok(())
    }

    /// Finds the files, in the order of their names.
    pub(super) fn list(&mut self) -> Result<Vec<String>, SourceError> {
        self.files = match listed(&self.path, self.name.clone()) {
            Err(SourceError::Missing { .. }) if is_pattern(&self.name) => self.matches()?,
            single => vec![single?],
        };
        let plain = self.files.iter().all(|file| Packing::of(&file.path) == Packing::None);
        self.left = plain.then(|| self.files.iter().map(|file| file.bytes).sum());
        Ok(self.files.iter().map(|file| file.name.clone()).collect())
    }

    /// What stands in front of the name, and the pattern. The name is the end of the path, as the pipeline file has
    /// it; what stands in front of it is a folder and no pattern, whatever is in its name.
    fn pattern(&self) -> (String, String) {
        let path = self.path.display().to_string();
        let base = path.strip_suffix(&self.name).unwrap_or_default();
        (base.to_owned(), format!("{}{}", Pattern::escape(base), &path[base.len()..]))
    }

    /// Whether `path` is one of the files, or the pattern matches it, whether it is there yet or not.
    pub(super) fn would_read(&self, path: &Path) -> bool {
        let key = same_file_key(path);
        if self.files.iter().any(|file| same_file_key(&file.path) == key) {
            return true;
        }
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let pattern = absolute(Path::new(&self.pattern().1)).display().to_string();
        is_pattern(&self.name)
            && Pattern::new(&pattern)
                .is_ok_and(|pattern| pattern.matches_path_with(&absolute(path), MATCHING))
    }

    /// What a pattern matches.
    fn matches(&self) -> Result<Vec<Listed>, SourceError> {
        let (base, pattern) = self.pattern();
        let wrong = |error: glob::PatternError| SourceError::Pattern {
            pattern: self.name.clone(),
            message: error.msg.to_owned(),
        };
        let mut files = Vec::new();
        for found in glob::glob_with(&pattern, MATCHING).map_err(wrong)? {
            let path = found.map_err(|error| {
                let path = error.path().to_owned();
                io_error(&path, error.into())
            })?;
            // With nothing in front of it a found path is as the pattern began.
            let name = path.strip_prefix(&base).unwrap_or(&path).display().to_string();
            match listed(&path, name) {
                Ok(file) => files.push(file),
                Err(SourceError::Folder { .. } | SourceError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if files.is_empty() {
            return Err(SourceError::NoMatch { pattern: self.name.clone() });
        }
        Ok(files)
    }

    /// Opens the file of this index and cuts it from its beginning.
    pub(super) fn begin(&self, index: usize, partition: PartitionId) -> Result<Cutter, SourceError> {
        self.manner.begin(&self.files[index].path, partition)
    }

    /// Opens the file of this index and goes on behind a position.
    pub(super) fn resume(
        &self,
        index: usize,
        partition: PartitionId,
        read: &FilePosition,
    ) -> Result<Cutter, SourceError> {
        let path = &self.files[index].path;
        let mut input = Input::open(path, self.manner.limits)?;
        let (skipped, leftover) = check_same(&mut input, path, read)?;
        let cutting = Cutting {
            partition,
            framing: self.manner.framing,
            limit: self.manner.line_bytes_max,
            offset: read.offset + skipped,
            line: read.line + u64::from(skipped > 0),
            drops_mark: false,
        };
        Ok(Cutter::new(Box::new(input), cutting, leftover))
    }

    /// Takes over the file that is read from now on.
    pub(super) fn reads(
        &mut self,
        index: usize,
        id: PartitionId,
        cutter: Cutter,
        position: Option<&FilePosition>,
    ) {
        if let (Some(left), Some(position)) = (&mut self.left, position) {
            *left = left.saturating_sub(position.offset);
        }
        if self.files.len() > 1 || is_pattern(&self.name) {
            let name = self.files[index].name.clone();
            self.names.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, name);
        }
        self.cutter = Some(cutter);
    }

    /// Opens a file of a format without a header.
    pub(super) fn open(
        &mut self,
        index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        let read = position.map(FilePosition::read).transpose()?;
        let cutter = match &read {
            None => self.begin(index, id)?,
            Some(read) => self.resume(index, id, read)?,
        };
        self.reads(index, id, cutter, read.as_ref());
        Ok(())
    }

    pub(super) fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        self.cutter.as_mut().map_or(Ok(None), |cutter| cutter.next(items_max))
    }

    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }

    /// How the files are read, and which they are.
    pub(super) fn listing(&self) -> (Manner, Vec<PathBuf>) {
        (self.manner, self.files.iter().map(|file| file.path.clone()).collect())
    }

    pub(super) fn name_of(&self, index: usize) -> &str {
        &self.files[index].name
    }

    pub(super) fn path_of(&self, index: usize) -> &Path {
        &self.files[index].path
    }

    /// Reads `bytes` bytes at `offset` of the file with this name once more.
    pub(super) fn reread(&mut self, partition: &str, offset: u64, bytes: u64) -> Result<Bytes, SourceError> {
        if self.files.is_empty() {
            self.list()?;
        }
        let no_reread = || SourceError::NoReread {
            source_name: self.describe(),
            partition: partition.to_owned(),
            offset,
        };
        let file = self.files.iter().find(|file| file.name == partition).ok_or_else(no_reread)?;
        let mut input = Input::open(&file.path, self.manner.limits)?;
        let mut item = Vec::new();
        let there = input.skip_to(offset)?;
        while there && (item.len() as u64) < bytes {
            let left = bytes - item.len() as u64;
            if input.take(&mut item, left)? == 0 {
                break;
            }
        }
        if (item.len() as u64) < bytes {
            return Err(no_reread());
        }
        Ok(item.into())
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

fn listed(path: &Path, name: String) -> Result<Listed, SourceError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SourceError::Missing { path: path.to_owned() });
        }
        Err(error) => return Err(io_error(path, error)),
    };
    if metadata.is_dir() {
        return Err(SourceError::Folder { path: path.to_owned() });
    }
    // Opening a pipe waits for somebody to write, and a device may have no end.
    if !metadata.is_file() {
        return Err(SourceError::Special { path: path.to_owned() });
    }
    Ok(Listed { path: path.to_owned(), name, bytes: metadata.len() })
}

/// Checks that the file still begins with what was read, and moves behind it. Gives the length of the line end
/// that somebody added behind a last record that had none, and what was read behind that on the way.
fn check_same(input: &mut Input, path: &Path, read: &FilePosition) -> Result<(u64, Vec<u8>), SourceError> {
    let changed = |how: &'static str| SourceError::Changed { path: path.to_owned(), how, bytes: read.offset };
    let covered = read.tail_bytes();
    if !input.skip_to(read.offset - covered)? {
        return Err(changed("it is shorter now"));
    }
    let mut tail = Vec::new();
    take_all(input, &mut tail, covered)?;
    if (tail.len() as u64) < covered {
        return Err(changed("it is shorter now"));
    }
    if digest(&tail) != read.tail {
        return Err(changed("what stands in front of that place is different now"));
    }
    if !read.unterminated {
        return Ok((0, Vec::new()));
    }
    let mut next = Vec::new();
    take_all(input, &mut next, 2)?;
    match next.as_slice() {
        [] => Ok((0, Vec::new())),
        [b'\n', rest @ ..] => Ok((1, rest.to_vec())),
        b"\r\n" => Ok((2, Vec::new())),
        _ => Err(changed("its last line had no line end and has grown")),
    }
}

fn take_all(input: &mut Input, bytes: &mut Vec<u8>, count: u64) -> Result<(), SourceError> {
    let end = bytes.len() as u64 + count;
    while (bytes.len() as u64) < end {
        if input.take(bytes, end - bytes.len() as u64)? == 0 {
            return Ok(());
        }
    }
    Ok(())
}
