use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};
use bytes::Bytes;

use super::config::DiskConfig;
use super::error::DiskError;
use super::folder::Folder;
use super::index::{Index, Loaded, Slot};
use super::notes::Notes;
use super::record::{self, Digest, HEADER, Reading, Spot};
use super::segment::{self, Segment};
use super::{DiskStats, Opened};
use crate::invalidations::{Invalidations, Scope};
use crate::stored::Stored;

/// Segments, and an index in memory of what is in them. Everything in here may wait for the disk.
///
/// At most one record of a key on disk is alive: which one is the answer is then never a matter of what can be read.
#[derive(Debug)]
pub(super) struct Store {
    config: DiskConfig,
    clock: Clock,
    index: Index,
    /// By number, and so by age. Nobody waits for the disk under it.
    segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// Taken by whoever changes what is on disk, for as long as that takes. Taken before the two above.
    writer: Mutex<Writer>,
    counts: Counts,
    folder: Folder,
}

#[derive(Debug)]
struct Writer {
    notes: Notes,
    /// The segment that records are appended to.
    active: Option<Arc<Segment>>,
    /// The greatest number that a segment ever had.
    number: u32,
    /// How long all segments are.
    bytes: u64,
    /// The segment that was looked at last for whether it is spent.
    hand: u32,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    damaged: AtomicU64,
    evicted: AtomicU64,
    expired: AtomicU64,
}

/// How often a look is repeated when the record was replaced under it. Whoever loses so often has seen a key that changes
/// all the time, and misses.
const LOOKS: usize = 4;

/// So many records go into the index at once: 1.5 MiB.
const LOADED_MAX: usize = 1 << 16;

/// So many records tell how long one is.
const FIRST: u64 = 1_000;

impl Store {
    pub(super) fn open(path: &Path, config: DiskConfig, clock: Clock) -> Result<(Self, Opened), DiskError> {
        let folder = Folder::take(path)?;
        let failed = |source| DiskError::Folder { path: path.to_owned(), source };
        let numbers = segment::numbers(path).map_err(failed)?;
        let notes = Notes::open(path).map_err(failed)?;
        let forgotten = notes.is_none() && (!numbers.is_empty() || Notes::is_there(path));
        let number = numbers.last().copied().unwrap_or(0);
        let notes = match notes {
            Some(notes) => notes,
            None => {
                // What was invalidated is not known any more, so nothing that is stored is known to be valid.
                for number in &numbers {
                    std::fs::remove_file(segment::path(path, *number)).map_err(failed)?;
                }
                Notes::create(path).map_err(failed)?
            }
        };
        let writer = Writer { notes, active: None, number, bytes: 0, hand: 0 };
        let store = Self {
            config,
            clock,
            index: Index::new(),
            segments: RwLock::default(),
            writer: Mutex::new(writer),
            counts: Counts::default(),
            folder,
        };
        if !forgotten {
            store.load(&numbers).map_err(failed)?;
        }
        let entries = store.index.len();
        let damaged = store.counts.damaged.load(Ordering::Relaxed);
        Ok((store, Opened { entries, damaged, forgotten }))
    }

    /// Reads all segments, oldest first.
    fn load(&self, numbers: &[u32]) -> io::Result<()> {
        let now = self.clock.wall().0;
        let mut writer = self.writer();
        let lengths = numbers.iter().map(|&number| segment::path(&self.folder.path, number).metadata());
        let total: u64 = lengths.map(|length| length.map_or(0, |length| length.len())).sum();
        let mut first = (0_u64, 0_u64);
        let mut loaded = Vec::new();
        for &number in numbers {
            let Some(segment) = Segment::open(&self.folder.path, number)? else {
                add(&self.counts.damaged, 1);
                std::fs::remove_file(segment::path(&self.folder.path, number))?;
                continue;
            };
            let segment = Arc::new(segment);
            self.segments_mut().insert(number, Arc::clone(&segment));
            let mut dead = Vec::new();
            let cut = segment.scan(|spot, bytes, reading| match reading {
                Reading::Dead => {}
                Reading::Damaged => add(&self.counts.damaged, 1),
                Reading::Live { until, .. } if until <= now => {
                    add(&self.counts.expired, 1);
                    segment.gained(until);
                    // Otherwise it would be there again after the clock has gone back, whatever came after it.
                    dead.push(spot);
                }
                Reading::Live { digest, until } => {
                    segment.gained(until);
                    first = (first.0 + 1, first.1 + u64::from(bytes));
                    if first.0 == FIRST {
                        // The rest is like the first of them, more or less: the index need not grow step by step.
                        self.index.reserve(total / (first.1 / FIRST).max(1), self.config.entries_max);
                    }
                    loaded.push(Loaded::new(&digest, Slot::new(&digest, spot, bytes)));
                    if loaded.len() == LOADED_MAX {
                        dead.extend(self.index.insert_all(&mut loaded).iter().map(Slot::spot));
                    }
                }
            });
            dead.extend(self.index.insert_all(&mut loaded).iter().map(Slot::spot));
            writer.bytes += segment.bytes();
            match cut {
                Ok(cut) => {
                    add(&self.counts.damaged, u64::from(cut));
                    writer.active = Some(segment);
                }
                Err(_) => {
                    add(&self.counts.damaged, 1);
                    self.drop_segment(&mut writer, &segment)?;
                }
            }
            for spot in dead {
                self.release(&mut writer, spot)?;
            }
        }
        let spent: Vec<_> =
            self.segments().values().filter(|segment| segment.is_spent(now)).cloned().collect();
        for segment in spent {
            self.drop_segment(&mut writer, &segment)?;
        }
        self.make_room(&mut writer, 0, 0)?;
        self.counts.bytes.store(writer.bytes + writer.notes.bytes(), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Stored> {
        for _ in 0..LOOKS {
            let slot = self.index.find(digest)?;
            let spot = slot.spot();
            let segment = self.segments().get(&spot.segment).cloned();
            let mut bytes = vec![0; slot.bytes as usize];
            let read = segment.is_some_and(|segment| segment.read(spot.at, &mut bytes).is_ok());
            let reading = if read { record::read(&bytes, spot) } else { Reading::Damaged };
            match reading {
                Reading::Live { digest: found, .. } if found == *digest => {
                    let Some(stored) = Stored::decode(Bytes::from(bytes).slice(HEADER..)) else {
                        self.forget(digest, slot, &self.counts.damaged);
                        return None;
                    };
                    if self.is_over(&stored) {
                        self.forget(digest, slot, &self.counts.expired);
                        return None;
                    }
                    return Some(stored);
                }
                // Another key with the same tag.
                Reading::Live { .. } => return None,
                Reading::Dead | Reading::Damaged => {
                    if self.index.find(digest) == Some(slot) {
                        self.forget(digest, slot, &self.counts.damaged);
                        return None;
                    }
                    // It was replaced or left since; what is there now?
                }
            }
        }
        None
    }

    /// Tells whether an entry has expired. One from the future gets its time again while the clock has gone back by less
    /// than that time; otherwise it would be held for as long as the clock has gone back.
    fn is_over(&self, stored: &Stored) -> bool {
        let now = self.clock.wall();
        let ahead = Duration::from_millis(u64::try_from(stored.at.0.saturating_sub(now.0)).unwrap_or(0));
        stored.held.is_some_and(|held| ahead > held) || stored.held_still(now) == Some(Duration::ZERO)
    }

    /// Stores a record, whose first [`HEADER`] bytes are room; does nothing when `cancelled` before its turn.
    pub(super) fn set(
        &self,
        digest: &Digest,
        mut record: Vec<u8>,
        until: i64,
        cancelled: &AtomicBool,
    ) -> io::Result<()> {
        let mut writer = self.writer();
        if cancelled.load(Ordering::Acquire) {
            return Ok(());
        }
        let written = self.append(&mut writer, digest, &mut record, until);
        let old = match &written {
            Ok((segment, slot)) => {
                segment.gained(until);
                self.index.insert(digest, *slot)
            }
            // The value that was there has been replaced, as far as the caller knows.
            Err(_) => self.index.remove(digest),
        };
        let killed = old.map_or(Ok(()), |old| self.release(&mut writer, old.spot()));
        self.sweep(&mut writer);
        written.map(drop).and(killed)
    }

    pub(super) fn remove(&self, digest: &Digest, cancelled: &AtomicBool) -> io::Result<()> {
        let mut writer = self.writer();
        if cancelled.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.index.remove(digest) {
            Some(old) => self.release(&mut writer, old.spot()),
            None => Ok(()),
        }
    }

    pub(super) fn invalidations(&self, namespace: &str) -> Invalidations {
        self.writer().notes.of(namespace)
    }

    pub(super) fn invalidate(
        &self,
        namespace: &str,
        scope: &Scope,
        edition: u64,
        cancelled: &AtomicBool,
    ) -> io::Result<u64> {
        let mut writer = self.writer();
        if cancelled.load(Ordering::Acquire) {
            return Ok(0);
        }
        if writer.notes.is_full_for(namespace) {
            // To forget what was invalidated is to drop what is stored.
            while let Some(oldest) = self.oldest() {
                self.evict(&mut writer, &oldest)?;
            }
            writer.notes = Notes::create(&self.folder.path)?;
        }
        let added = writer.notes.add(namespace, scope, edition);
        match (added, self.oldest()) {
            // An invalidation is worth more than the oldest entries; without them there may be room for it.
            (Err(_), Some(oldest)) => {
                self.evict(&mut writer, &oldest)?;
                writer.notes.add(namespace, scope, edition)
            }
            (added, _) => added,
        }
    }

    /// Tells whether the folder is still there.
    pub(super) fn ping(&self) -> io::Result<()> {
        std::fs::metadata(&self.folder.path).map(drop)
    }

    /// Writes everything through to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        let writer = self.writer();
        let segments: Vec<_> = self.segments().values().cloned().collect();
        segments.iter().try_for_each(|segment| segment.sync())?;
        writer.notes.sync()
    }

    pub(super) fn stats(&self) -> DiskStats {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DiskStats {
            entries: self.index.len(),
            bytes: count(&self.counts.bytes),
            bytes_max: self.config.bytes_max,
            segments: self.segments().len(),
            damaged: count(&self.counts.damaged),
            evicted: count(&self.counts.evicted),
            expired: count(&self.counts.expired),
        }
    }

    fn append(
        &self,
        writer: &mut Writer,
        digest: &Digest,
        record: &mut [u8],
        until: i64,
    ) -> io::Result<(Arc<Segment>, Slot)> {
        let bytes = record.len() as u64;
        if bytes > self.config.record_bytes_max() {
            let max = self.config.record_bytes_max();
            let text = format!("the value takes {bytes} bytes, and the largest may take {max}");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        self.make_room(writer, bytes, 1)?;
        let segment = self.active(writer, bytes)?;
        let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let at = u32::try_from(segment.bytes()).map_err(too_long)?;
        let spot = Spot { segment: segment.number, at };
        record::seal(record, spot, digest, until).ok_or(io::ErrorKind::FileTooLarge)?;
        segment.append(record)?;
        writer.bytes += bytes;
        self.counts.bytes.store(writer.bytes + writer.notes.bytes(), Ordering::Relaxed);
        let slot = Slot::new(digest, spot, u32::try_from(bytes).map_err(too_long)?);
        Ok((segment, slot))
    }

    /// Gives the segment in which there is room for so many bytes, or in which they are alone.
    fn active(&self, writer: &mut Writer, bytes: u64) -> io::Result<Arc<Segment>> {
        if let Some(active) = &writer.active
            && active.bytes() + bytes <= self.config.segment_bytes()
        {
            return Ok(Arc::clone(active));
        }
        let number =
            writer.number.checked_add(1).ok_or_else(|| io::Error::other("there are no more segments"))?;
        let segment = Arc::new(Segment::create(&self.folder.path, number)?);
        writer.number = number;
        writer.bytes += segment.bytes();
        writer.active = Some(Arc::clone(&segment));
        self.segments_mut().insert(number, Arc::clone(&segment));
        Ok(segment)
    }

    /// Lets segments go until there is room for so many bytes and entries: those in which nothing is left, then the oldest.
    fn make_room(&self, writer: &mut Writer, bytes: u64, entries: usize) -> io::Result<()> {
        // The start of a segment, in case one is begun for it.
        let bytes = bytes + 64;
        let is_full = |writer: &Writer| writer.bytes + bytes > self.config.bytes_max;
        if is_full(writer) {
            let now = self.clock.wall().0;
            let spent: Vec<_> =
                self.segments().values().filter(|segment| segment.is_spent(now)).cloned().collect();
            for segment in spent {
                self.drop_segment(writer, &segment)?;
            }
        }
        while is_full(writer) || self.index.len() + entries > self.config.entries_max {
            let Some(oldest) = self.oldest() else { break };
            self.evict(writer, &oldest)?;
        }
        Ok(())
    }

    /// Looks at one segment, each time the next, and lets it go when nothing in it is left.
    fn sweep(&self, writer: &mut Writer) {
        let next = {
            let segments = self.segments();
            let after = segments.range(writer.hand.saturating_add(1)..).next();
            after.or_else(|| segments.first_key_value()).map(|(_, segment)| Arc::clone(segment))
        };
        let Some(next) = next else { return };
        writer.hand = next.number;
        if writer.active.as_ref().is_some_and(|active| active.number == next.number) {
            return;
        }
        if next.is_spent(self.clock.wall().0) {
            // One that cannot be deleted is looked at again the next time.
            let _ = self.drop_segment(writer, &next);
        }
    }

    fn oldest(&self) -> Option<Arc<Segment>> {
        self.segments().first_key_value().map(|(_, segment)| Arc::clone(segment))
    }

    fn evict(&self, writer: &mut Writer, segment: &Segment) -> io::Result<()> {
        let left = self.drop_segment(writer, segment)?;
        add(&self.counts.evicted, left);
        Ok(())
    }

    /// Lets a segment go with all that is in it; gives how much of it had not expired.
    fn drop_segment(&self, writer: &mut Writer, segment: &Segment) -> io::Result<u64> {
        // First the file: what is not in the index must not be on the disk either.
        segment.delete()?;
        if self.segments_mut().remove(&segment.number).is_none() {
            return Ok(0);
        }
        writer.bytes -= segment.bytes();
        self.counts.bytes.store(writer.bytes + writer.notes.bytes(), Ordering::Relaxed);
        if writer.active.as_ref().is_some_and(|active| active.number == segment.number) {
            writer.active = None;
        }
        let now = self.clock.wall().0;
        let expired = segment.is_spent(now);
        let left = self.index.remove_segment(segment.number) as u64;
        if expired {
            add(&self.counts.expired, left);
            return Ok(0);
        }
        Ok(left)
    }

    /// Takes a record that the index no longer points to off the disk.
    fn release(&self, writer: &mut Writer, spot: Spot) -> io::Result<()> {
        let segment = self.segments().get(&spot.segment).cloned();
        let Some(segment) = segment else { return Ok(()) };
        segment.lost();
        match segment.kill(spot.at) {
            Ok(()) => Ok(()),
            // Rather all of the segment than one value that comes back.
            Err(_) => self.evict(writer, &segment),
        }
    }

    /// Takes out what cannot be used, unless something else has taken its place.
    fn forget(&self, digest: &Digest, slot: Slot, count: &AtomicU64) {
        let mut writer = self.writer();
        if self.index.remove_if(digest, |found| *found == slot).is_some() {
            add(count, 1);
            // What cannot be deleted either is left out by its checksum or its time at the next opening.
            let _ = self.release(&mut writer, slot.spot());
        }
    }

    /// What is under it is put right before anything in it can fail.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments(&self) -> RwLockReadGuard<'_, BTreeMap<u32, Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<u32, Arc<Segment>>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// When what is stored expires, in milliseconds since 1970; the greatest number for never.
pub(super) fn until(stored: &Stored) -> i64 {
    let Timestamp(at) = stored.at;
    stored
        .held
        .map_or(i64::MAX, |held| at.saturating_add(i64::try_from(held.as_millis()).unwrap_or(i64::MAX)))
}
